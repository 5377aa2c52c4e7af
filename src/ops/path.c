/* Names in the file system, and whole files by name.
 *
 * Reading and replacing a whole file are operations of several calls, one after the other: call->stage
 * says which one is out.  Once something went wrong, or a cause is set, the remaining calls undo: they
 * cannot be canceled any more, since the first cause stands, and the first error is what is reported. */
#include <proactor/file.h>

#include <stdio.h>
#include <string.h>

#include "core/call.h"

/* ---- Single calls --------------------------------------------------------------------------- */

static void over(pro_op *op, const pri_record *record)
{
    pri_call_finish(op, pri_call_error(op, record), 0);
}

/* A call without a handle, begun; NULL: it has its result. */
static pri_call *begin(const char *site, pro_op *op, pro_loop *loop, pri_op_kind kind, size_t room,
                       void (*record)(pro_op *op, const pri_record *record), pro_handler *done)
{
    if (!pri_op_begin(op, loop, NULL, kind, site, done)) return NULL;
    return pri_call_new(op, room, record);
}

static void one(const char *site, pro_op *op, pro_loop *loop, pri_op_kind kind, pri_call_what what,
                const pri_call *how, pro_handler *done)
{
    pri_call *call = begin(site, op, loop, kind, 0, over, done);
    if (!call) return;
    call->path = how->path;
    call->to = how->to;
    call->flags = how->flags;
    call->mode = how->mode;
    call->out = how->out;
    pri_call_start(op, what);
}

void pro_path_stat_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                      uint32_t flags, pro_stat *stat, pro_handler *done)
{
    const pri_call how = {.path = path, .flags = flags, .out = stat};
    one(site, op, loop, PRI_OP_PATH_STAT, PRI_CALL_FILE_STAT, &how, done);
}

void pro_path_rename_at(const char *site, pro_op *op, pro_loop *loop, const char *from,
                        const char *to, pro_handler *done)
{
    const pri_call how = {.path = from, .to = to};
    one(site, op, loop, PRI_OP_PATH_RENAME, PRI_CALL_RENAME, &how, done);
}

void pro_path_link_at(const char *site, pro_op *op, pro_loop *loop, const char *from,
                      const char *to, pro_handler *done)
{
    const pri_call how = {.path = from, .to = to};
    one(site, op, loop, PRI_OP_PATH_LINK, PRI_CALL_LINK, &how, done);
}

void pro_path_symlink_at(const char *site, pro_op *op, pro_loop *loop, const char *target,
                         const char *path, pro_handler *done)
{
    const pri_call how = {.path = target, .to = path};
    one(site, op, loop, PRI_OP_PATH_SYMLINK, PRI_CALL_SYMLINK, &how, done);
}

void pro_path_unlink_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                        pro_handler *done)
{
    const pri_call how = {.path = path};
    one(site, op, loop, PRI_OP_PATH_UNLINK, PRI_CALL_UNLINK, &how, done);
}

void pro_path_mkdir_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                       uint32_t mode, pro_handler *done)
{
    const pri_call how = {.path = path, .mode = mode};
    one(site, op, loop, PRI_OP_PATH_MKDIR, PRI_CALL_MKDIR, &how, done);
}

void pro_path_rmdir_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                       pro_handler *done)
{
    const pri_call how = {.path = path};
    one(site, op, loop, PRI_OP_PATH_RMDIR, PRI_CALL_RMDIR, &how, done);
}

/* ---- Entries -------------------------------------------------------------------------------- */

/* An entry is its length in two bytes, its type in one, and its name, ending in NUL. */
int pro_dir_next(const void *buf, int64_t value, size_t *at, pro_dir_entry *entry)
{
    if (value < 0 || *at >= (size_t)value) return 0;
    const unsigned char *bytes = (const unsigned char *)buf + *at;
    entry->name = (const char *)bytes + 3;
    entry->type = (pro_file_type)bytes[2];
    *at += (size_t)bytes[0] | (size_t)bytes[1] << 8;
    return 1;
}

/* ---- Composed ------------------------------------------------------------------------------- */

/* What went wrong first, if anything did: this call, an earlier one, or a cause. */
static int first_error(pro_op *op, const pri_record *record)
{
    pri_call *call = pri_call_of(op);
    if (!call->error) call->error = pri_call_error(op, record);
    if (!call->error && op->pri_cause) call->error = -(int)op->pri_cause;
    return call->error;
}

static void next(pro_op *op, uint8_t stage, pri_call_what what)
{
    pri_call_of(op)->stage = stage;
    pri_call_of(op)->is_shielded = false;
    pri_call_start(op, what);
}

/* The same for a call that has to be made, whatever cause comes now. */
static void must(pro_op *op, uint8_t stage, pri_call_what what)
{
    pri_call_of(op)->stage = stage;
    pri_call_of(op)->is_shielded = true;
    pri_call_start(op, what);
}

/* ---- Reading a whole file ------------------------------------------------------------------- */

enum { LOAD_OPEN, LOAD_STAT, LOAD_READ, LOAD_CLOSE };

/* What of the file is known beside its call: it lies where the path's text does in a replacement. */
typedef struct load {
    pro_vec    vec; /* vecs[0]: where the next part goes */
    pro_bytes *bytes;
    size_t     size_max;
    size_t     room; /* of bytes->data, but for the byte behind the end */
    pro_stat   stat;
} load;

enum { LOAD_VECS = (sizeof(load) + sizeof(pro_vec) - 1) / sizeof(pro_vec) };

/* A stat may use the room for vectors, so ours is behind that. */
static load *load_of(const pro_op *op)
{
    return (load *)(void *)&pri_call_side(op)->vecs[PRI_SIDE_SMALL];
}

static int grow(pro_op *op, size_t room)
{
    load *x = load_of(op);
    if (room > x->size_max) room = x->size_max + 1; /* one more tells that it is too large */
    void *data = pri_env_realloc(&op->pri_loop->env, x->bytes->data, room + 1);
    if (!data) return PRO_ENOMEM;
    x->bytes->data = data;
    x->room = room;
    return PRO_OK;
}

static void load_part(pro_op *op)
{
    load     *x = load_of(op);
    pri_side *side = pri_call_side(op);
    side->vecs[0] = (pro_vec){(char *)x->bytes->data + x->bytes->len, x->room - x->bytes->len};
    side->first = 0;
    side->count = 1;
    side->call.offset = x->bytes->len;
    op->pri_kernel_step.len = side->vecs[0].len;
    next(op, LOAD_READ, PRI_CALL_FILE_READ);
}

static void load_over(pro_op *op, int error)
{
    load     *x = load_of(op);
    pro_bytes bytes = *x->bytes;
    if (error) {
        pri_env_realloc(&op->pri_loop->env, bytes.data, 0);
        *x->bytes = (pro_bytes){NULL, 0};
    } else {
        ((char *)bytes.data)[bytes.len] = '\0';
    }
    pri_call_finish(op, error, error ? 0 : (int64_t)bytes.len);
}

/* The size that the system tells is a guess: a file grows, and those in /proc say 0. */
static void loaded(pro_op *op, const pri_record *record)
{
    pri_call *call = pri_call_of(op);
    load     *x = load_of(op);
    int       error = first_error(op, record);
    if (call->stage == LOAD_OPEN) {
        if (record->error) {
            load_over(op, error);
            return;
        }
        call->fd = (intptr_t)record->value;
        call->path = NULL;
        call->out = &x->stat;
        if (error)
            must(op, LOAD_CLOSE, PRI_CALL_FILE_CLOSE);
        else
            next(op, LOAD_STAT, PRI_CALL_FILE_STAT);
        return;
    }
    if (call->stage == LOAD_STAT && !error) {
        if (x->stat.size > x->size_max)
            error = PRO_EFBIG;
        else
            error = grow(op, x->stat.size < 4095 ? 4095 : (size_t)x->stat.size + 1);
    }
    bool is_end = call->stage == LOAD_READ && record->value == 0;
    if (call->stage == LOAD_READ && !error) {
        x->bytes->len += (size_t)record->value;
        if (x->bytes->len > x->size_max)
            error = PRO_EFBIG;
        else if (x->bytes->len == x->room)
            error = grow(op, x->room * 2);
    }
    if (call->stage == LOAD_CLOSE) {
        load_over(op, error);
        return;
    }
    call->error = error;
    if (error || is_end)
        must(op, LOAD_CLOSE, PRI_CALL_FILE_CLOSE);
    else
        load_part(op);
}

void pro_path_read_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                      size_t size_max, pro_bytes *bytes, pro_handler *done)
{
    *bytes = (pro_bytes){NULL, 0};
    pri_call *call =
        begin(site, op, loop, PRI_OP_PATH_READ, PRI_SIDE_SMALL + LOAD_VECS, loaded, done);
    if (!call) return;
    load *x = load_of(op);
    x->bytes = bytes;
    x->size_max = size_max < SIZE_MAX / 4 ? size_max : SIZE_MAX / 4;
    call->path = path;
    op->pri_kernel_step.flags |= PRI_STEP_VECTORS;
    next(op, LOAD_OPEN, PRI_CALL_FILE_OPEN);
}

void pro_bytes_free(pro_loop *loop, pro_bytes *bytes)
{
    pri_env_realloc(&loop->env, bytes->data, 0);
    *bytes = (pro_bytes){NULL, 0};
}

/* ---- Replacing a file ----------------------------------------------------------------------- */

enum {
    PUT_OPEN,
    PUT_WRITE,
    PUT_SYNC,
    PUT_CLOSE,
    PUT_RENAME,
    PUT_OPEN_DIR,
    PUT_SYNC_DIR,
    PUT_CLOSE_DIR,
    PUT_UNLINK
};

enum { NAMES_MAX = 8 }; /* attempts to find one that is free */

/* Behind vecs[0], which is what is left to write. */
typedef struct put {
    const char *path;
    size_t      total;
    uint32_t    mode;
    uint32_t    names;   /* that were tried */
    size_t      dir_len; /* of the directory's path in text, with its slash */
    char        text[];  /* the directory's path, NUL, the new file's path, NUL */
} put;

enum { NAME_ROOM = 24 }; /* ".pro-" and 16 digits */

static put *put_of(const pro_op *op) { return (put *)(void *)&pri_call_side(op)->vecs[1]; }

/* The new file gets a name that nobody has, one hopes. */
static void put_open(pro_op *op)
{
    put      *x = put_of(op);
    pri_call *call = pri_call_of(op);
    uint64_t  number;
    op->pri_loop->env.random(op->pri_loop, &number, sizeof number);
    char *name = x->text + x->dir_len + 1;
    memcpy(name, x->text, x->dir_len);
    snprintf(name + x->dir_len, NAME_ROOM, ".pro-%016llx", (unsigned long long)number);
    x->names++;
    call->path = name;
    call->flags = PRO_FILE_WRITE | PRO_FILE_CREATE | PRO_FILE_EXCLUSIVE;
    call->mode = x->mode;
    next(op, PUT_OPEN, PRI_CALL_FILE_OPEN);
}

static void put_over(pro_op *op)
{
    int error = pri_call_of(op)->error;
    pri_call_finish(op, error, error ? 0 : (int64_t)put_of(op)->total);
}

/* The new file is to go: its descriptor first, if it is still open. */
static void put_undo(pro_op *op, bool is_open)
{
    pri_call_of(op)->to = NULL;
    if (is_open)
        must(op, PUT_CLOSE, PRI_CALL_FILE_CLOSE);
    else
        must(op, PUT_UNLINK, PRI_CALL_UNLINK);
}

static void put_written(pro_op *op, const pri_record *record)
{
    pri_call *call = pri_call_of(op);
    if (record->value > 0) {
        call->offset += (uint64_t)record->value;
        pri_step_advance(&op->pri_kernel_step, (size_t)record->value);
    } else if (!call->error) {
        call->error = PRO_EIO;
    }
    if (call->error)
        put_undo(op, true);
    else if (op->pri_kernel_step.len > 0)
        next(op, PUT_WRITE, PRI_CALL_FILE_WRITE);
    else
        next(op, PUT_SYNC, PRI_CALL_FILE_SYNC);
}

static void put_opened(pro_op *op, const pri_record *record)
{
    put      *x = put_of(op);
    pri_call *call = pri_call_of(op);
    if (record->error == PRO_EEXIST && !op->pri_cause && x->names < NAMES_MAX) {
        call->error = PRO_OK;
        put_open(op);
        return;
    }
    if (record->error == PRO_ECANCELED) { /* some systems cut an open that has made its file */
        put_undo(op, false);
        return;
    }
    if (record->error) { /* there is no new file */
        put_over(op);
        return;
    }
    call->fd = (intptr_t)record->value;
    if (call->error)
        put_undo(op, true);
    else if (op->pri_kernel_step.len > 0)
        next(op, PUT_WRITE, PRI_CALL_FILE_WRITE);
    else
        next(op, PUT_SYNC, PRI_CALL_FILE_SYNC);
}

/* The name stands for the new file.  What is left cannot be cut, and is no more than a sync. */
static void put_renamed(pro_op *op, const pri_record *record)
{
    pri_call *call = pri_call_of(op);
    if (record->error && !call->error) call->error = record->error;
    switch (call->stage) {
    case PUT_RENAME:
        call->path = put_of(op)->dir_len > 0 ? put_of(op)->text : ".";
        call->flags = PRO_FILE_READ | PRO_FILE_DIRECTORY;
        must(op, PUT_OPEN_DIR, PRI_CALL_FILE_OPEN);
        return;
    case PUT_OPEN_DIR:
        call->fd = (intptr_t)record->value;
        if (record->error)
            put_over(op);
        else
            must(op, PUT_SYNC_DIR, PRI_CALL_FILE_SYNC);
        return;
    case PUT_SYNC_DIR: must(op, PUT_CLOSE_DIR, PRI_CALL_FILE_CLOSE); return;
    default: put_over(op); return;
    }
}

static void put_recorded(pro_op *op, const pri_record *record)
{
    put      *x = put_of(op);
    pri_call *call = pri_call_of(op);
    bool      is_renamed = call->stage == PUT_RENAME && !record->error;
    if (is_renamed || (call->stage >= PUT_OPEN_DIR && call->stage <= PUT_CLOSE_DIR)) {
        put_renamed(op, record);
        return;
    }
    int error = first_error(op, record);
    switch (call->stage) {
    case PUT_OPEN: put_opened(op, record); return;
    case PUT_WRITE: put_written(op, record); return;
    case PUT_SYNC:
        if (error)
            put_undo(op, true);
        else
            must(op, PUT_CLOSE, PRI_CALL_FILE_CLOSE);
        return;
    case PUT_CLOSE:
        if (error) {
            put_undo(op, false);
            return;
        }
        call->to = x->path;
        next(op, PUT_RENAME, PRI_CALL_RENAME);
        return;
    case PUT_RENAME: put_undo(op, false); return;
    default: put_over(op); return; /* unlinked */
    }
}

void pro_path_replace_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                         const void *buf, size_t len, uint32_t mode, pro_handler *done)
{
    const char *slash = strrchr(path, '/');
    size_t      dir_len = slash ? (size_t)(slash - path) + 1 : 0;
    size_t      room = sizeof(put) + 2 * (dir_len + 1) + NAME_ROOM;
    pri_call   *call = begin(site, op, loop, PRI_OP_PATH_REPLACE, 1 + room / sizeof(pro_vec) + 1,
                             put_recorded, done);
    if (!call) return;
    pri_side *side = pri_call_side(op);
    put      *x = put_of(op);
    *x = (put){.path = path, .total = len, .mode = mode, .dir_len = dir_len};
    memcpy(x->text, path, dir_len);
    x->text[dir_len] = '\0';
    side->vecs[0] = (pro_vec){(void *)(uintptr_t)buf, len};
    side->first = 0;
    side->count = 1;
    op->pri_kernel_step.len = len;
    op->pri_kernel_step.flags |= PRI_STEP_VECTORS;
    if (len > 0) PRI_CHECKED(buffers, op);
    put_open(op);
}
