/* Names: entries of directories, the paths that lead to them, and which of their changes the medium has.
 *
 * A directory is an array of entries, ordered by their places: a hash of the name in which the seed has a
 * part, so that no program learns to count on an order.  Two names of one place stand beside each other.
 *
 * Each change of names is logged with what was there before.  A sync of a directory takes those out of the
 * log that are in it, and what they build upon; the oldest goes by itself when the log is long, as a
 * system writes back what is old.  What is in the log when the machine goes down may be undone (crash.c). */
#include <string.h>

#include "engine/sim/disk.h"

enum { LINKS_MAX = 40, CHANGES_MAX = 512 };

/* ---- Inodes --------------------------------------------------------------------------------- */

int64_t pri_sim_disk_time(const sim_disk *d)
{
    return PRI_SIM_EPOCH_NS + (int64_t)pri_sim_node_now(d->node, d->node->world->now_ns);
}

sim_inode *pri_sim_inode_new(sim_disk *d, pro_file_type type, uint32_t mode)
{
    sim_inode *inode = pri_sim_realloc(NULL, sizeof *inode);
    int64_t    now = pri_sim_disk_time(d);
    *inode = (sim_inode){
        .before = d->last,
        .number = d->next_number++,
        .type = type,
        .mode = mode & 07777u & ~022u,
        .modified_ns = now,
        .changed_ns = now,
        .accessed_ns = now,
        .created_ns = now,
    };
    *(d->last ? &d->last->next : &d->first) = inode;
    d->last = inode;
    return inode;
}

void pri_sim_inode_let_go(sim_disk *d, sim_inode *inode)
{
    if (inode->links || inode->opens || inode->kept) return;
    *(inode->before ? &inode->before->next : &d->first) = inode->next;
    *(inode->next ? &inode->next->before : &d->last) = inode->before;
    pri_sim_content_free(d, inode);
    for (size_t i = 0; i < inode->entries_count; i++) pri_sim_realloc(inode->entries[i].name, 0);
    if (inode->entries) pri_sim_realloc(inode->entries, 0);
    if (inode->target) pri_sim_realloc(inode->target, 0);
    pri_sim_realloc(inode, 0);
}

/* ---- Entries -------------------------------------------------------------------------------- */

static uint64_t place_of(const sim_disk *d, const char *name)
{
    uint64_t hash = d->salt ^ UINT64_C(14695981039346656037);
    for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    hash = (hash ^ (hash >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return hash ^ (hash >> 32);
}

size_t pri_sim_entry_from(const sim_inode *dir, uint64_t place)
{
    size_t low = 0, high = dir->entries_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (dir->entries[middle].place < place)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Its index, or where it would be; true: it is there. */
static bool find(const sim_inode *dir, uint64_t place, const char *name, size_t *at)
{
    for (*at = pri_sim_entry_from(dir, place);
         *at < dir->entries_count && dir->entries[*at].place == place; ++*at)
        if (strcmp(dir->entries[*at].name, name) == 0) return true;
    return false;
}

static char *copy_of(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(pri_sim_realloc(NULL, size), text, size);
}

static void insert(sim_inode *dir, size_t at, sim_entry entry)
{
    if (dir->entries_count == dir->entries_room) {
        dir->entries_room = dir->entries_room ? dir->entries_room * 2 : 8;
        dir->entries = pri_sim_realloc(dir->entries, dir->entries_room * sizeof *dir->entries);
    }
    sim_entry *entries = dir->entries;
    memmove(entries + at + 1, entries + at, (dir->entries_count++ - at) * sizeof *entries);
    entries[at] = entry;
}

void pri_sim_set_entry(sim_disk *d, sim_inode *dir, uint64_t place, const char *name,
                       sim_inode *inode)
{
    size_t     at;
    bool       is_there = find(dir, place, name, &at);
    sim_inode *before = is_there ? dir->entries[at].inode : NULL;
    if (inode == before) return;
    if (inode) {
        inode->links++;
        if (inode->type == PRO_TYPE_DIRECTORY) inode->parent = dir;
        if (!is_there) insert(dir, at, (sim_entry){.place = place, .name = copy_of(name)});
        dir->entries[at].inode = inode;
    } else {
        pri_sim_realloc(dir->entries[at].name, 0);
        sim_entry *entry = dir->entries + at;
        memmove(entry, entry + 1, (--dir->entries_count - at) * sizeof *entry);
    }
    int64_t now = pri_sim_disk_time(d);
    dir->modified_ns = dir->changed_ns = now;
    if (inode) inode->changed_ns = now;
    if (!before) return;
    before->changed_ns = now;
    before->links--;
    pri_sim_inode_let_go(d, before);
}

/* ---- The log -------------------------------------------------------------------------------- */

/* The next one, empty. */
static sim_change *new_change(sim_disk *d)
{
    if (d->changes_count == CHANGES_MAX) {
        d->changes[0].is_marked = true;
        pri_sim_changes_forget(d, true);
    }
    if (d->changes_count == d->changes_room) {
        d->changes_room = d->changes_room ? d->changes_room * 2 : 16;
        d->changes = pri_sim_realloc(d->changes, d->changes_room * sizeof *d->changes);
    }
    sim_change *c = &d->changes[d->changes_count++];
    *c = (sim_change){.count = 0};
    return c;
}

static void keep(sim_inode *inode)
{
    if (inode) inode->kept++;
}

static void give_up(sim_disk *d, sim_inode *inode)
{
    if (!inode) return;
    inode->kept--;
    pri_sim_inode_let_go(d, inode);
}

/* That this entry becomes inode. */
static void note(sim_change *c, const sim_place *at, sim_inode *inode)
{
    int i = c->count++;
    c->at[i].dir = at->dir;
    c->at[i].before = at->inode;
    c->at[i].after = inode;
    c->at[i].place = at->place;
    c->at[i].name = copy_of(at->name);
    keep(at->dir);
    keep(at->inode);
    keep(inode);
}

void pri_sim_changes_forget(sim_disk *d, bool only_marked)
{
    size_t left = 0;
    for (size_t i = 0; i < d->changes_count; i++) {
        sim_change *c = &d->changes[i];
        if (only_marked && !c->is_marked) {
            d->changes[left++] = *c;
            continue;
        }
        for (int k = 0; k < c->count; k++) {
            pri_sim_realloc(c->at[k].name, 0);
            give_up(d, c->at[k].before);
            give_up(d, c->at[k].after);
            give_up(d, c->at[k].dir);
        }
    }
    d->changes_count = left;
}

bool pri_sim_builds_upon(const sim_change *later, const sim_change *earlier)
{
    for (int i = 0; i < later->count; i++)
        for (int k = 0; k < earlier->count; k++) {
            if (later->at[i].dir == earlier->at[k].dir &&
                later->at[i].place == earlier->at[k].place &&
                strcmp(later->at[i].name, earlier->at[k].name) == 0)
                return true;
        }
    /* Something is moved, and this may have led to where it went. */
    if (later->count == 2 && earlier->is_way) return true;
    /* A directory goes only when what was in it is where it went. */
    const sim_inode *gone = later->at[later->count - 1].before;
    for (int k = 0; k < earlier->count; k++)
        if (gone && gone == earlier->at[k].dir) return true;
    return false;
}

void pri_sim_names_sync(sim_disk *d, const sim_inode *dir)
{
    for (size_t i = 0; i < d->changes_count; i++) {
        sim_change *c = &d->changes[i];
        c->is_marked = c->at[0].dir == dir || (c->count > 1 && c->at[1].dir == dir);
    }
    for (size_t i = d->changes_count; i-- > 0;) {
        if (!d->changes[i].is_marked) continue;
        for (size_t k = 0; k < i; k++)
            d->changes[k].is_marked |= pri_sim_builds_upon(&d->changes[i], &d->changes[k]);
    }
    pri_sim_changes_forget(d, true);
}

void pri_sim_name(sim_disk *d, const sim_place *at, sim_inode *inode)
{
    note(new_change(d), at, inode);
    pri_sim_set_entry(d, at->dir, at->place, at->name, inode);
}

/* Something is moved to a directory: the changes by which it, and those around it, came to where they are.  It is
 * not asked later to which of the renamings one belongs. */
static void mark_way(sim_disk *d, const sim_inode *dir)
{
    for (; dir != d->root; dir = dir->parent)
        for (size_t i = 0; i < d->changes_count; i++) {
            sim_change *c = &d->changes[i];
            c->is_way |= c->at[c->count - 1].after == dir;
        }
}

void pri_sim_rename(sim_disk *d, const sim_place *from, const sim_place *to)
{
    mark_way(d, to->dir);
    sim_change *c = new_change(d);
    sim_inode  *inode = from->inode;
    note(c, from, NULL);
    note(c, to, inode);
    pri_sim_set_entry(d, from->dir, from->place, from->name, NULL);
    pri_sim_set_entry(d, to->dir, to->place, to->name, inode);
}

/* ---- Paths ---------------------------------------------------------------------------------- */

/* In place of the link whose name ended at rest: what it points to, and what stood behind it. */
static int expand(sim_disk *d, const char *target, const char *rest)
{
    size_t len = strlen(target), rest_len = strlen(rest);
    if (len == 0) return PRO_ENOENT;
    if (len + rest_len > PRI_SIM_PATH_MAX) return PRO_ENAMETOOLONG;
    memmove(d->text + len, rest, rest_len + 1);
    memcpy(d->text, target, len);
    return PRO_OK;
}

/* One name of the path, which is not the last, or is a link to follow: the directory behind it.  at and text
 * go on. */
static int step_into(sim_disk *d, const sim_place *where, sim_inode **at, char **text, int *links)
{
    sim_inode *inode = where->inode;
    if (!inode) return PRO_ENOENT;
    if (inode->type != PRO_TYPE_SYMLINK) {
        *at = inode;
        return inode->type == PRO_TYPE_DIRECTORY ? PRO_OK : PRO_ENOTDIR;
    }
    if (++*links > LINKS_MAX) return PRO_ELOOP;
    int error = expand(d, inode->target, *text);
    *text = d->text;
    *at = d->text[0] == '/' ? d->root : where->dir;
    return error;
}

int pri_sim_walk(sim_disk *d, const char *path, bool follow, sim_place *where)
{
    size_t     path_len = strlen(path);
    sim_inode *at = d->root;
    char      *text = d->text;
    int        links = 0, error;
    if (path_len == 0) return PRO_ENOENT;
    if (path_len >= PRI_SIM_PATH_MAX) return PRO_ENAMETOOLONG;
    memcpy(text, path, path_len + 1);
    for (;;) {
        text += strspn(text, "/");
        size_t len = strcspn(text, "/");
        *where = (sim_place){.inode = at};
        if (len == 0) return PRO_OK;
        if (len > PRI_SIM_NAME_MAX) return PRO_ENAMETOOLONG;
        memcpy(where->name, text, len);
        text += len;
        where->is_slashed = *text == '/';
        if (strcmp(where->name, ".") == 0) continue;
        if (strcmp(where->name, "..") == 0) {
            at = at->parent;
            continue;
        }
        size_t i;
        where->dir = at;
        where->place = place_of(d, where->name);
        where->inode = find(at, where->place, where->name, &i) ? at->entries[i].inode : NULL;
        if (text[strspn(text, "/")] == '\0') { /* the last one */
            bool is_link = where->inode && where->inode->type == PRO_TYPE_SYMLINK;
            bool is_file = where->inode && where->inode->type == PRO_TYPE_REGULAR;
            if (is_file && where->is_slashed) return PRO_ENOTDIR;
            if (!is_link || !(follow || where->is_slashed)) return PRO_OK;
        }
        error = step_into(d, where, &at, &text, &links);
        /* A link at the end may lead to a file. */
        if (error) return error;
    }
}
