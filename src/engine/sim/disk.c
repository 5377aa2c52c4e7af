/* A node's disk as a whole: made when it is first used, told what it is like, looked at from outside; how long
 * a call takes, and which ones fail. */
#include <string.h>

#include "engine/sim/disk.h"
#include "engine/sim/net.h"

/* What a disk is like that nobody said anything about. */
static const pro_sim_disk usual = {
    .size = UINT64_C(16) << 30,
    .delay_ns = 20000,
    .jitter_ns = 80000,
    .sync_ns = 1000000,
};

/* ---- Making --------------------------------------------------------------------------------- */

static sim_disk *new_disk(pro_sim_node *node)
{
    sim_disk *d = pri_sim_realloc(NULL, sizeof *d);
    memset(d, 0, sizeof *d);
    d->node = node;
    d->is = usual;
    d->next_number = 2;
    d->stream = pri_sim_stream(node->world, STREAM_DISK, node->id, 0);
    d->salt = pri_sim_stream(node->world, STREAM_DISK, node->id, 1);
    d->root = pri_sim_inode_new(d, PRO_TYPE_DIRECTORY, 0755);
    d->root->parent = d->root;
    d->root->links = 1;
    sim_place tmp;
    pri_sim_walk(d, "/tmp", false, &tmp);
    pri_sim_set_entry(d, d->root, tmp.place, tmp.name,
                      pri_sim_inode_new(d, PRO_TYPE_DIRECTORY, 0777));
    return d;
}

sim_disk *pri_sim_disk_of(pro_sim_node *node)
{
    if (!node->disk) node->disk = new_disk(node);
    return node->disk;
}

void pri_sim_disk_free(sim_disk *d)
{
    for (sim_inode *inode = d->first, *next; inode; inode = next) {
        next = inode->next;
        inode->links = inode->opens = inode->kept = 0;
        pri_sim_inode_let_go(d, inode);
    }
    for (size_t i = 0; i < d->changes_count; i++)
        for (int k = 0; k < d->changes[i].count; k++) pri_sim_realloc(d->changes[i].at[k].name, 0);
    if (d->changes) pri_sim_realloc(d->changes, 0);
    if (d->opens) pri_sim_realloc(d->opens, 0);
    pri_sim_realloc(d, 0);
}

void pri_sim_disk_move(sim_disk *d, pro_sim_node *node)
{
    d->node = node;
    node->disk = d;
}

bool pri_sim_disk_is_bare(const sim_disk *d) { return d->next_number == 4; }

/* ---- From outside --------------------------------------------------------------------------- */

void pro_sim_disk_set(pro_sim_node *node, const pro_sim_disk *is)
{
    sim_disk *d = pri_sim_disk_of(node);
    d->is = *is;
    if (!d->is.size) d->is.size = usual.size;
}

/* A call that just happens: nothing delays it, and it cannot fail by chance. */
static int64_t now(sim_disk *d, pri_call_what what, pri_call call, const pro_vec *vec)
{
    call.what = (uint8_t)what;
    return pri_sim_do_call(d, &call, vec, vec ? 1 : 0, vec ? vec->len : 0);
}

/* The directories that a path leads through. */
static void make_directories(sim_disk *d, const char *path)
{
    char   part[PRI_SIM_PATH_MAX];
    size_t len = strlen(path);
    for (size_t i = 1; i < len && i < sizeof part; i++) {
        if (path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        now(d, PRI_CALL_MKDIR, (pri_call){.path = part, .mode = 0755}, NULL);
    }
}

int pro_sim_file_put(pro_sim_node *node, const char *path, const void *data, size_t len)
{
    sim_disk *d = pri_sim_disk_of(node);
    pro_vec   vec = {(void *)(uintptr_t)data, len};
    bool      is_read_only = d->is.is_read_only;
    uint32_t  handles_max = node->handles_max, flags = PRO_FILE_WRITE | PRO_FILE_CREATE;
    d->is.is_read_only = 0;
    node->handles_max = 0;
    make_directories(d, path);
    pri_call how = {.path = path, .flags = flags | PRO_FILE_TRUNCATE, .mode = 0644};
    int64_t  fd = now(d, PRI_CALL_FILE_OPEN, how, NULL), n = fd;
    if (fd >= 0) {
        pri_call on = {.fd = (intptr_t)fd};
        n = len > 0 ? now(d, PRI_CALL_FILE_WRITE, on, &vec) : 0;
        if (n >= 0 && (size_t)n < len) n = PRO_ENOSPC;
        now(d, PRI_CALL_FILE_SYNC, on, NULL);
        now(d, PRI_CALL_FILE_CLOSE, on, NULL);
    }
    sim_place where;
    if (pri_sim_walk(d, path, true, &where) == PRO_OK && where.dir)
        for (const sim_inode *dir = where.dir;; dir = dir->parent) {
            pri_sim_names_sync(d, dir);
            if (dir == d->root) break;
        }
    d->is.is_read_only = is_read_only;
    node->handles_max = handles_max;
    return n < 0 ? (int)n : PRO_OK;
}

int64_t pro_sim_file_get(pro_sim_node *node, const char *path, void *buf, size_t size)
{
    sim_disk *d = pri_sim_disk_of(node);
    sim_place where;
    pro_vec   vec = {buf, size};
    int       error = pri_sim_walk(d, path, true, &where);
    if (error || !where.inode) return error ? error : PRO_ENOENT;
    if (where.inode->type == PRO_TYPE_DIRECTORY) return PRO_EISDIR;
    pri_sim_read(where.inode, 0, &vec, 1, size);
    return (int64_t)where.inode->size;
}

/* ---- Time and weather ----------------------------------------------------------------------- */

static bool syncs(const sim_disk *d, const pri_call *call)
{
    uint32_t i = (uint32_t)(call->fd - PRI_SIM_FILES);
    if (call->what == PRI_CALL_FILE_SYNC || call->what == PRI_CALL_FILE_DATASYNC) return true;
    if (call->what != PRI_CALL_FILE_WRITE || call->fd < PRI_SIM_FILES || i >= d->opens_room)
        return false;
    return d->opens[i].flags & (PRO_FILE_SYNC | PRO_FILE_DATASYNC);
}

uint64_t pri_sim_call_takes(sim_disk *d, const pri_call *call, size_t len)
{
    pro_sim *w = d->node->world;
    uint64_t ns = 1 + d->is.delay_ns;
    if (d->is.jitter_ns) ns += pri_sim_bits(w, &d->stream) % d->is.jitter_ns;
    if (d->is.sync_ns && syncs(d, call)) ns += pri_sim_long_tail(w, &d->stream, 2 * d->is.sync_ns);
    if (d->is.bytes_per_s) {
        if (d->free_at < w->now_ns) d->free_at = w->now_ns;
        d->free_at += (uint64_t)len * PRO_SEC / d->is.bytes_per_s;
        ns += d->free_at - w->now_ns;
    }
    if (w->healed) return ns;
    if (pri_sim_strikes(w, &d->stream, PRO_SIM_SLOW))
        ns += pri_sim_long_tail(w, &d->stream, PRO_SEC);
    if (w->policy == PRO_SIM_ADVERSARY && pri_sim_choice(w, &d->stream, 64) == 0)
        ns += pri_sim_long_tail(w, &d->stream, 30 * PRO_SEC);
    return ns;
}

/* Does it want room, or a place for a name? */
static bool wants_room(const pri_call *call)
{
    switch ((pri_call_what)call->what) {
    case PRI_CALL_FILE_OPEN: return call->flags & (PRO_FILE_CREATE | PRI_FILE_TEMPORARY);
    case PRI_CALL_FILE_WRITE:
    case PRI_CALL_FILE_ALLOCATE:
    case PRI_CALL_RENAME:
    case PRI_CALL_LINK:
    case PRI_CALL_SYMLINK:
    case PRI_CALL_MKDIR: return true;
    default: return false;
    }
}

/* A call that fails has done nothing; but a write may have begun, and a sync has written what it could, and
 * will not try the rest again. */
static int64_t fail(sim_disk *d, pri_call *call, const pro_vec *vecs, size_t count, size_t len)
{
    pro_sim *w = d->node->world;
    uint32_t i = (uint32_t)(call->fd - PRI_SIM_FILES);
    bool     is_open = call->fd >= PRI_SIM_FILES && i < d->opens_room && d->opens[i].inode;
    if (call->what == PRI_CALL_FILE_WRITE && len > 1 && pri_sim_choice(w, &d->stream, 2))
        pri_sim_do_call(d, call, vecs, count,
                        1 + pri_sim_choice(w, &d->stream, (uint32_t)(len - 1)));
    if (is_open && syncs(d, call) && d->opens[i].inode->type == PRO_TYPE_REGULAR)
        pri_sim_sync(d, d->opens[i].inode, true);
    return PRO_EIO;
}

int64_t pri_sim_call_in_weather(sim_disk *d, pri_call *call, const pro_vec *vecs, size_t count,
                                size_t len)
{
    pro_sim *w = d->node->world;
    bool     may_fail = call->what != PRI_CALL_FILE_CLOSE && call->what != PRI_CALL_FILE_ADVISE;
    if (may_fail && !w->healed && pri_sim_strikes(w, &d->stream, PRO_SIM_DISK_ERROR))
        return fail(d, call, vecs, count, len);
    if (!w->healed && call->what == PRI_CALL_FILE_OPEN &&
        pri_sim_strikes(w, &d->stream, PRO_SIM_HANDLES))
        return PRO_EMFILE;
    if (!w->healed && wants_room(call) && pri_sim_strikes(w, &d->stream, PRO_SIM_DISK_FULL))
        return PRO_ENOSPC;
    bool          writes = call->what == PRI_CALL_FILE_WRITE;
    pro_sim_fault kind = writes ? PRO_SIM_SHORT_WRITE : PRO_SIM_SHORT_READ;
    bool          moves = writes || call->what == PRI_CALL_FILE_READ;
    if (moves && len > 1 && pri_sim_strikes(w, &d->stream, kind))
        len = 1 + pri_sim_choice(w, &d->stream, len < UINT32_MAX ? (uint32_t)len : UINT32_MAX);
    return pri_sim_do_call(d, call, vecs, count, len);
}

int64_t pri_sim_call(pri_call *call, const pro_vec *vecs, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) len += vecs[i].len;
    sim_disk *d = pri_sim_disk_of(pro_sim_here(pri_sim_current()));
    int64_t   n = pri_sim_call_in_weather(d, call, vecs, count, len);
    return n < 0 ? -pri_sim_system_error((int)n) : n;
}
