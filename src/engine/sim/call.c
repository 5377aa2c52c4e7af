/* What each call does to the disk: the answers are those of Linux on a file system of one owner, where
 * nothing is forbidden but what the disk is (read-only, full). */
#include <string.h>

#include "engine/sim/disk.h"

/* The largest file, as that of ext4. */
static const uint64_t FILE_MAX_SIZE = UINT64_C(1) << 44;

/* ---- Descriptors ---------------------------------------------------------------------------- */

sim_open *pri_sim_open_of(const sim_disk *d, intptr_t fd)
{
    if (fd < PRI_SIM_FILES || fd - PRI_SIM_FILES >= (intptr_t)d->opens_room) return NULL;
    sim_open *o = &d->opens[fd - PRI_SIM_FILES];
    return o->inode ? o : NULL;
}

/* The lowest that is free, as everywhere. */
static int64_t new_open(sim_disk *d, sim_inode *inode, uint32_t flags)
{
    uint32_t i = 0;
    while (i < d->opens_room && d->opens[i].inode) i++;
    if (i == d->opens_room) {
        uint32_t room = d->opens_room ? d->opens_room * 2 : 8;
        d->opens = pri_sim_realloc(d->opens, room * sizeof *d->opens);
        memset(d->opens + d->opens_room, 0, (room - d->opens_room) * sizeof *d->opens);
        d->opens_room = room;
    }
    d->opens[i] = (sim_open){.inode = inode, .flags = flags};
    inode->opens++;
    d->node->handles++;
    return PRI_SIM_FILES + (int64_t)i;
}

void pri_sim_close_file(sim_disk *d, uint32_t i)
{
    sim_inode *inode = d->opens[i].inode;
    d->opens[i].inode = NULL;
    d->node->handles--;
    inode->opens--;
    pri_sim_inode_let_go(d, inode);
}

static bool may_write(const sim_open *o) { return o->flags & PRO_FILE_WRITE; }

/* What was opened for writing may have become read-only since. */
static int refuses_writes(const sim_disk *d, const sim_open *o)
{
    if (!may_write(o)) return PRO_EBADF;
    return d->is.is_read_only ? PRO_EROFS : PRO_OK;
}

static bool may_read(const sim_open *o)
{
    return (o->flags & PRO_FILE_READ) || !(o->flags & PRO_FILE_WRITE);
}

/* ---- Opening -------------------------------------------------------------------------------- */

static int64_t open_temporary(sim_disk *d, const pri_call *call)
{
    sim_place where;
    int       error = pri_sim_walk(d, call->path, true, &where);
    if (error) return error;
    if (!where.inode) return PRO_ENOENT;
    if (where.inode->type != PRO_TYPE_DIRECTORY) return PRO_ENOTDIR;
    if (d->is.is_read_only) return PRO_EROFS;
    sim_inode *inode = pri_sim_inode_new(d, PRO_TYPE_REGULAR, call->mode);
    return new_open(d, inode, call->flags);
}

/* What is there, or is made; or an error. */
static int open_inode(sim_disk *d, const pri_call *call, sim_inode **inode)
{
    sim_place where;
    uint32_t  flags = call->flags;
    bool      is_new = (flags & PRO_FILE_CREATE) && (flags & PRO_FILE_EXCLUSIVE);
    bool      follow = !is_new && !(flags & PRO_FILE_NO_FOLLOW);
    int       error = pri_sim_walk(d, call->path, follow, &where);
    if (error) return error;
    *inode = where.inode;
    if (*inode) {
        pro_file_type type = (*inode)->type;
        if (is_new) return PRO_EEXIST;
        if (type == PRO_TYPE_SYMLINK) return PRO_ELOOP;
        if (type != PRO_TYPE_DIRECTORY && flags & PRO_FILE_DIRECTORY) return PRO_ENOTDIR;
        if (type == PRO_TYPE_DIRECTORY && flags & (PRO_FILE_WRITE | PRO_FILE_CREATE))
            return PRO_EISDIR;
        if (d->is.is_read_only && flags & (PRO_FILE_WRITE | PRO_FILE_TRUNCATE)) return PRO_EROFS;
        return PRO_OK;
    }
    if (!(flags & PRO_FILE_CREATE)) return PRO_ENOENT;
    if (where.is_slashed) return PRO_EISDIR;
    if (d->is.is_read_only) return PRO_EROFS;
    *inode = pri_sim_inode_new(d, PRO_TYPE_REGULAR, call->mode);
    pri_sim_name(d, &where, *inode);
    return PRO_OK;
}

static int64_t open_file(sim_disk *d, pri_call *call)
{
    const pro_sim_node *node = d->node;
    sim_inode          *inode;
    if (node->handles_max && node->handles >= node->handles_max) return PRO_EMFILE;
    if (call->flags & PRI_FILE_TEMPORARY) return open_temporary(d, call);
    int error = open_inode(d, call, &inode);
    if (error) return error;
    if (call->flags & PRO_FILE_TRUNCATE && inode->type == PRO_TYPE_REGULAR)
        pri_sim_resize(d, inode, 0);
    if (call->flags & PRO_FILE_DIRECT) call->align[0] = call->align[1] = PRI_SIM_SECTOR;
    return new_open(d, inode, call->flags);
}

/* ---- Reading, writing ----------------------------------------------------------------------- */

/* Past the cache only whole sectors go, from and to where they may lie. */
static bool is_aligned(uint64_t offset, const pro_vec *vecs, size_t count)
{
    uint64_t bits = offset;
    for (size_t i = 0; i < count; i++) bits |= (uintptr_t)vecs[i].base | vecs[i].len;
    return bits % PRI_SIM_SECTOR == 0;
}

static int64_t transfer(sim_disk *d, const sim_open *o, const pri_call *call, uint64_t offset,
                        const pro_vec *vecs, size_t count, uint64_t max)
{
    sim_inode *inode = o->inode;
    bool       writes = call->what == PRI_CALL_FILE_WRITE;
    int        error = writes ? refuses_writes(d, o) : may_read(o) ? PRO_OK : PRO_EBADF;
    if (error) return error;
    if (inode->type == PRO_TYPE_DIRECTORY) return PRO_EISDIR;
    if (o->flags & PRO_FILE_DIRECT) {
        if (!is_aligned(offset, vecs, count)) return PRO_EINVAL;
        max += (uint64_t) - (int64_t)max % PRI_SIM_SECTOR;
    }
    if (!writes) return pri_sim_read(inode, offset, vecs, count, max);
    if (o->flags & PRO_FILE_APPEND) offset = inode->size;
    if (offset >= FILE_MAX_SIZE) return PRO_EFBIG;
    if (max > FILE_MAX_SIZE - offset) max = FILE_MAX_SIZE - offset;
    int64_t n = pri_sim_write(d, inode, offset, vecs, count, max);
    if (o->flags & (PRO_FILE_SYNC | PRO_FILE_DATASYNC)) pri_sim_sync(d, inode, false);
    return n;
}

/* A stream goes on where it stands. */
static int64_t transfer_at(sim_disk *d, sim_open *o, const pri_call *call, const pro_vec *vecs,
                           size_t count, uint64_t max)
{
    if (call->offset != PRI_CALL_AT_POSITION)
        return transfer(d, o, call, call->offset, vecs, count, max);
    int64_t n = transfer(d, o, call, o->position, vecs, count, max);
    if (n > 0) o->position += (uint64_t)n;
    if (n > 0 && o->flags & PRO_FILE_APPEND && call->what == PRI_CALL_FILE_WRITE)
        o->position = o->inode->size;
    return n;
}

static int64_t allocate(sim_disk *d, const sim_open *o, const pri_call *call)
{
    int error = refuses_writes(d, o);
    if (error) return error;
    if (call->size == 0 || call->offset > INT64_MAX || call->size > INT64_MAX) return PRO_EINVAL;
    if (call->offset > FILE_MAX_SIZE || call->size > FILE_MAX_SIZE - call->offset) return PRO_EFBIG;
    return pri_sim_allocate(d, o->inode, call->offset, call->size);
}

static int64_t truncate_file(sim_disk *d, const sim_open *o, const pri_call *call)
{
    if (!may_write(o) || call->size > INT64_MAX) return PRO_EINVAL;
    if (call->size > FILE_MAX_SIZE) return PRO_EFBIG;
    if (d->is.is_read_only) return PRO_EROFS;
    pri_sim_resize(d, o->inode, call->size);
    return 0;
}

static int64_t sync_file(sim_disk *d, const sim_open *o)
{
    if (o->inode->type == PRO_TYPE_DIRECTORY)
        pri_sim_names_sync(d, o->inode);
    else
        pri_sim_sync(d, o->inode, false);
    return 0;
}

/* ---- What is known -------------------------------------------------------------------------- */

/* A directory stands in itself, and in those in it. */
static uint32_t links_of(const sim_inode *inode)
{
    uint32_t links = inode->links;
    if (inode->type != PRO_TYPE_DIRECTORY) return links;
    for (size_t i = 0; i < inode->entries_count; i++)
        links += inode->entries[i].inode->type == PRO_TYPE_DIRECTORY;
    return links + (links > 0);
}

static int64_t stat_inode(const sim_inode *inode, pro_stat *out)
{
    uint64_t size = inode->size;
    if (inode->type == PRO_TYPE_SYMLINK) size = strlen(inode->target);
    if (inode->type == PRO_TYPE_DIRECTORY) size = PRI_SIM_PAGE;
    *out = (pro_stat){
        .size = size,
        .allocated = (uint64_t)inode->live * PRI_SIM_PAGE,
        .inode = inode->number,
        .device = 1,
        .links = links_of(inode),
        .mode = inode->mode,
        .block_size = PRI_SIM_PAGE,
        .type = inode->type,
        .modified_ns = inode->modified_ns,
        .accessed_ns = inode->accessed_ns,
        .changed_ns = inode->changed_ns,
        .created_ns = inode->created_ns,
    };
    return 0;
}

static int64_t stat_call(sim_disk *d, const pri_call *call)
{
    if (!call->path) {
        const sim_open *o = pri_sim_open_of(d, call->fd);
        return o ? stat_inode(o->inode, call->out) : PRO_EBADF;
    }
    sim_place where;
    int       error = pri_sim_walk(d, call->path, !(call->flags & PRO_FILE_NO_FOLLOW), &where);
    if (error) return error;
    return where.inode ? stat_inode(where.inode, call->out) : PRO_ENOENT;
}

static int64_t list(sim_open *o, const pri_call *call)
{
    const sim_inode *dir = o->inode;
    unsigned char   *buf = call->out;
    size_t           len = 0;
    if (dir->type != PRO_TYPE_DIRECTORY) return PRO_ENOTDIR;
    for (size_t i = o->is_begun ? pri_sim_entry_from(dir, o->place) : 0; i < dir->entries_count;
         i++) {
        const sim_entry *entry = &dir->entries[i];
        if (o->is_begun && entry->place == o->place) continue; /* the last one that was told */
        size_t name_len = strlen(entry->name) + 1;
        if (len + 3 + name_len > call->size) return len > 0 ? (int64_t)len : PRO_EINVAL;
        buf[len] = (unsigned char)((3 + name_len) & 255);
        buf[len + 1] = (unsigned char)((3 + name_len) >> 8);
        buf[len + 2] = (unsigned char)entry->inode->type;
        memcpy(buf + len + 3, entry->name, name_len);
        len += 3 + name_len;
        o->is_begun = true;
        o->place = entry->place;
    }
    return (int64_t)len;
}

/* ---- Names ---------------------------------------------------------------------------------- */

static char *target_of(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(pri_sim_realloc(NULL, size), text, size);
}

/* A new entry: a directory, a symbolic link, one more of what is there. */
static int64_t make(sim_disk *d, const pri_call *call)
{
    sim_place   where, old;
    bool        is_dir = call->what == PRI_CALL_MKDIR, is_link = call->what == PRI_CALL_LINK;
    const char *path = is_dir ? call->path : call->to;
    int         error = is_link ? pri_sim_walk(d, call->path, false, &old) : PRO_OK;
    if (!error && is_link && !old.inode) error = PRO_ENOENT;
    if (!error) error = pri_sim_walk(d, path, false, &where);
    if (error) return error;
    if (where.inode) return PRO_EEXIST;
    if (where.is_slashed && !is_dir) return PRO_ENOENT;
    if (is_link && old.inode->type == PRO_TYPE_DIRECTORY) return PRO_EPERM;
    if (!is_dir && !is_link && strlen(call->path) >= PRI_SIM_PATH_MAX) return PRO_ENAMETOOLONG;
    if (d->is.is_read_only) return PRO_EROFS;
    sim_inode *inode = is_link ? old.inode : NULL;
    if (is_dir) inode = pri_sim_inode_new(d, PRO_TYPE_DIRECTORY, call->mode);
    if (!inode) {
        inode = pri_sim_inode_new(d, PRO_TYPE_SYMLINK, 0777);
        inode->target = target_of(call->path);
    }
    pri_sim_name(d, &where, inode);
    return 0;
}

static int64_t take_away(sim_disk *d, const pri_call *call)
{
    sim_place where;
    bool      is_dir = call->what == PRI_CALL_RMDIR;
    int       error = pri_sim_walk(d, call->path, false, &where);
    if (error) return error;
    if (!where.inode) return PRO_ENOENT;
    if (is_dir && where.inode->type != PRO_TYPE_DIRECTORY) return PRO_ENOTDIR;
    if (!is_dir && where.inode->type == PRO_TYPE_DIRECTORY) return PRO_EISDIR;
    if (!where.dir) return where.inode == d->root ? PRO_EBUSY : PRO_EINVAL;
    if (where.inode->entries_count > 0) return PRO_ENOTEMPTY;
    if (d->is.is_read_only) return PRO_EROFS;
    pri_sim_name(d, &where, NULL);
    return 0;
}

static int64_t rename_file(sim_disk *d, const pri_call *call)
{
    sim_place from, to;
    int       error = pri_sim_walk(d, call->path, false, &from);
    if (!error && !from.inode) error = PRO_ENOENT;
    if (!error) error = pri_sim_walk(d, call->to, false, &to);
    if (error) return error;
    if (!from.dir || !to.dir) return PRO_EBUSY;
    bool is_dir = from.inode->type == PRO_TYPE_DIRECTORY;
    if (!is_dir && to.is_slashed) return PRO_ENOTDIR;
    for (const sim_inode *up = to.dir; is_dir; up = up->parent) {
        if (up == from.inode) return PRO_EINVAL; /* into itself */
        if (up == d->root) break;
    }
    if (to.inode == from.inode) return 0;
    if (to.inode) {
        bool replaces_dir = to.inode->type == PRO_TYPE_DIRECTORY;
        if (is_dir && !replaces_dir) return PRO_ENOTDIR;
        if (!is_dir && replaces_dir) return PRO_EISDIR;
        if (to.inode->entries_count > 0) return PRO_ENOTEMPTY;
    }
    if (d->is.is_read_only) return PRO_EROFS;
    pri_sim_rename(d, &from, &to);
    return 0;
}

/* ---- All of them ---------------------------------------------------------------------------- */

static int64_t call_on_open(sim_disk *d, sim_open *o, pri_call *call, const pro_vec *vecs,
                            size_t count, uint64_t max)
{
    switch ((pri_call_what)call->what) {
    case PRI_CALL_FILE_CLOSE: pri_sim_close_file(d, (uint32_t)(call->fd - PRI_SIM_FILES)); return 0;
    case PRI_CALL_FILE_READ:
    case PRI_CALL_FILE_WRITE: return transfer_at(d, o, call, vecs, count, max);
    case PRI_CALL_FILE_SYNC:
    case PRI_CALL_FILE_DATASYNC: return sync_file(d, o);
    case PRI_CALL_FILE_ALLOCATE: return allocate(d, o, call);
    case PRI_CALL_FILE_TRUNCATE: return truncate_file(d, o, call);
    case PRI_CALL_FILE_ADVISE: return call->mode <= PRO_ADVICE_DONT_NEED ? 0 : PRO_EINVAL;
    case PRI_CALL_FILE_LIST: return list(o, call);
    default: return PRO_ENOSYS;
    }
}

int64_t pri_sim_do_call(sim_disk *d, pri_call *call, const pro_vec *vecs, size_t count,
                        uint64_t max)
{
    switch ((pri_call_what)call->what) {
    case PRI_CALL_FILE_OPEN: return open_file(d, call);
    case PRI_CALL_FILE_STAT: return stat_call(d, call);
    case PRI_CALL_MKDIR:
    case PRI_CALL_LINK:
    case PRI_CALL_SYMLINK: return make(d, call);
    case PRI_CALL_UNLINK:
    case PRI_CALL_RMDIR: return take_away(d, call);
    case PRI_CALL_RENAME: return rename_file(d, call);
    default: break;
    }
    sim_open *o = pri_sim_open_of(d, call->fd);
    return o ? call_on_open(d, o, call, vecs, count, max) : PRO_EBADF;
}
