/* Files: opening, closing, reading, writing and all that is asked of an open one.  Each fills a call
 * (core/call.h) and starts it; its record function sees it through.  Names: path.c. */
#include <proactor/file.h>

#include "core/call.h"

enum { VECS_MAX = 1024 }; /* that a system takes at once */

/* ---- Opening, closing ----------------------------------------------------------------------- */

/* f is the caller's again: nothing to close. */
static void not_opened(pro_op *op, int error)
{
    pro_handle *handle = op->pri_kernel_step.handle;
    if (handle->pri_state != PRI_HANDLE_CLOSED) pri_handle_ended(handle, PRO_OK);
    pri_call_finish(op, error, 0);
}

/* Open it is even if it closes already: then the end of this operation closes the descriptor. */
static void opened(pro_op *op, const pri_record *record)
{
    pro_file *f = pro_container_of(op->pri_kernel_step.handle, pro_file, handle);
    pri_side *side = pri_call_side(op);
    if (record->error) {
        not_opened(op, pri_call_error(op, record));
        return;
    }
    f->handle.pri_fd = (intptr_t)record->value;
    f->handle.pri_flags = 0;
    for (int i = 0; i < 2; i++) f->pri_align[i] = side->call.align[i] ? side->call.align[i] : 1;
    f->pri_side = side; /* kept for the close */
    op->pri_kernel_step.flags &= (uint8_t)~PRI_STEP_SIDE;
    pri_call_finish(op, PRO_OK, 0);
}

static void open_file(const char *site, pro_op *op, pro_file *f, pro_loop *loop, pro_scope *scope,
                      const pri_call *how, pro_handler *done)
{
    pro_scope *in = scope ? scope : &loop->root;
    if (pro_scope_closing(in)) { /* f is not even made */
        in = pri_op_prepare(op, NULL, in, PRI_STEP_NONE, PRI_OP_FILE_OPEN, site, done);
        pri_op_refuse(op, in, PRO_ECANCELED);
        return;
    }
    pri_handle_init(&f->handle, PRI_FILE, loop, scope, -1);
    f->pri_side = NULL;
    f->pri_site = site;
    f->pri_align[0] = f->pri_align[1] = 1;
    bool      is_begun = pri_op_begin(op, loop, &f->handle, PRI_OP_FILE_OPEN, site, done);
    pri_call *call = is_begun ? pri_call_new(op, 0, opened) : NULL;
    if (!call) { /* it has its result, and there is nothing to close */
        pri_handle_ended(&f->handle, PRO_OK);
        return;
    }
    call->flags = how->flags;
    call->mode = how->mode;
    call->offset = how->offset;
    call->path = how->path;
    pri_call_start(op, PRI_CALL_FILE_OPEN);
}

void pro_file_open_at(const char *site, pro_op *op, pro_file *f, pro_loop *loop, pro_scope *scope,
                      const char *path, uint32_t flags, uint32_t mode, pro_handler *done)
{
    PRI_CHECKED_CALLER();
    open_file(site, op, f, loop, scope,
              &(pri_call){.path = path, .flags = flags & 0xffff, .mode = mode}, done);
}

void pro_file_open_temporary_at(const char *site, pro_op *op, pro_file *f, pro_loop *loop,
                                pro_scope *scope, const char *directory, pro_handler *done)
{
    PRI_CHECKED_CALLER();
    uint32_t flags = PRO_FILE_READ | PRO_FILE_WRITE | PRI_FILE_TEMPORARY;
    pri_call how = {.path = directory, .flags = flags, .mode = 0600};
    loop->env.random(loop, &how.offset, sizeof how.offset);
    open_file(site, op, f, loop, scope, &how, done);
}

void pro_file_close_at(const char *site, pro_op *op, pro_file *f, pro_handler *done)
{
    pri_handle_close_op(site, op, &f->handle, false, done);
}

void pro_file_cancel(pro_file *f)
{
    if (f->handle.pri_state == PRI_HANDLE_OPEN) pri_handle_cancel(&f->handle, PRO_ECANCELED);
}

void pro_file_alignment(const pro_file *f, uint32_t *memory, uint32_t *offset)
{
    *memory = f->pri_align[0];
    *offset = f->pri_align[1];
}

intptr_t pro_file_descriptor(const pro_file *f)
{
    return f->handle.pri_state == PRI_HANDLE_OPEN ? f->handle.pri_fd : -1;
}

/* ---- Reading, writing ----------------------------------------------------------------------- */

/* A call on an open file, begun; NULL: it has its result. */
static pri_call *begin(const char *site, pro_op *op, pro_file *f, pri_op_kind kind, size_t vecs,
                       void (*record)(pro_op *op, const pri_record *record), pro_handler *done)
{
    pro_handle *handle = &f->handle;
    pri_handle_must_be_made(handle, site);
    if (!pri_op_begin(op, handle->pri_loop, handle, kind, site, done)) return NULL;
    if (handle->pri_fd < 0) { /* its open is still under way */
        pri_op_finish(op, PRO_EBADF, 0);
        return NULL;
    }
    return pri_call_new(op, vecs, record);
}

/* How much the system was asked for: no more than so many pieces. */
static size_t asked(const pri_side *side)
{
    size_t len = 0;
    for (uint32_t i = side->first; i < side->count && i < side->first + VECS_MAX; i++)
        len += side->vecs[i].len;
    return len;
}

/* Complete is what has all its bytes; of a plain read also what the system gave less for than asked. */
static void transferred(pro_op *op, const pri_record *record)
{
    pri_step   *step = &op->pri_kernel_step;
    pri_call   *call = pri_call_of(op);
    pri_op_kind kind = pri_op_kind_of(op);
    int         error = record->error;
    if (record->value > 0) {
        bool is_short = (size_t)record->value < asked(pri_call_side(op));
        op->value += record->value;
        call->offset += (uint64_t)record->value;
        pri_step_advance(step, (size_t)record->value);
        if (step->len == 0 || (is_short && kind == PRI_OP_FILE_READ)) {
            pri_call_finish(op, PRO_OK, op->value);
            return;
        }
    } else if (!error && kind == PRI_OP_FILE_READ && op->value > 0) {
        pri_call_finish(op, PRO_OK, op->value); /* the end, after a part that was full */
        return;
    } else if (!error) {
        error = kind == PRI_OP_FILE_WRITE ? PRO_EIO : PRO_EOF;
    }
    if (op->pri_cause)
        pri_call_finish(op, -(int)op->pri_cause, op->value);
    else if (error)
        pri_call_finish(op, error, op->value);
    else
        pri_call_start(op, call->what);
}

static void transfer(const char *site, pro_op *op, pro_file *f, pri_op_kind kind,
                     const pro_vec *vecs, size_t count, uint64_t offset, pro_handler *done)
{
    size_t total = 0, pieces = 0;
    for (size_t i = 0; i < count; i++) {
        total += vecs[i].len;
        pieces += vecs[i].len > 0;
    }
    pri_call *call = begin(site, op, f, kind, pieces, transferred, done);
    if (!call) return;
    pri_side *side = pri_call_side(op);
    pri_step *step = &op->pri_kernel_step;
    for (size_t i = 0, at = 0; i < count; i++)
        if (vecs[i].len > 0) side->vecs[at++] = vecs[i];
    step->len = total;
    if (total == 0) {
        pri_op_unqueue(op);
        pri_op_finish(op, PRO_OK, 0);
        return;
    }
    if (offset > INT64_MAX - total) {
        pri_op_unqueue(op);
        pri_op_finish(op, PRO_EINVAL, 0);
        return;
    }
    step->flags |= PRI_STEP_VECTORS;
    call->offset = offset;
    PRI_CHECKED(buffers, op);
    pri_call_start(op, kind == PRI_OP_FILE_WRITE ? PRI_CALL_FILE_WRITE : PRI_CALL_FILE_READ);
}

void pro_file_read_at(const char *site, pro_op *op, pro_file *f, void *buf, size_t len,
                      uint64_t offset, pro_handler *done)
{
    transfer(site, op, f, PRI_OP_FILE_READ, &(pro_vec){buf, len}, 1, offset, done);
}

void pro_file_read_exactly_at(const char *site, pro_op *op, pro_file *f, void *buf, size_t len,
                              uint64_t offset, pro_handler *done)
{
    transfer(site, op, f, PRI_OP_FILE_READ_EXACTLY, &(pro_vec){buf, len}, 1, offset, done);
}

void pro_file_write_at(const char *site, pro_op *op, pro_file *f, const void *buf, size_t len,
                       uint64_t offset, pro_handler *done)
{
    pro_vec vec = {(void *)(uintptr_t)buf, len};
    transfer(site, op, f, PRI_OP_FILE_WRITE, &vec, 1, offset, done);
}

void pro_file_readv_at(const char *site, pro_op *op, pro_file *f, const pro_vec *vecs, size_t count,
                       uint64_t offset, pro_handler *done)
{
    transfer(site, op, f, PRI_OP_FILE_READ, vecs, count, offset, done);
}

void pro_file_readv_exactly_at(const char *site, pro_op *op, pro_file *f, const pro_vec *vecs,
                               size_t count, uint64_t offset, pro_handler *done)
{
    transfer(site, op, f, PRI_OP_FILE_READ_EXACTLY, vecs, count, offset, done);
}

void pro_file_writev_at(const char *site, pro_op *op, pro_file *f, const pro_vec *vecs,
                        size_t count, uint64_t offset, pro_handler *done)
{
    transfer(site, op, f, PRI_OP_FILE_WRITE, vecs, count, offset, done);
}

/* ---- Single calls --------------------------------------------------------------------------- */

static void over(pro_op *op, const pri_record *record)
{
    pri_call_finish(op, pri_call_error(op, record), 0);
}

static void listed(pro_op *op, const pri_record *record)
{
    int error = pri_call_error(op, record);
    if (!error && record->value == 0) error = PRO_EOF;
    pri_call_finish(op, error, error ? 0 : record->value);
}

void pro_file_sync_at(const char *site, pro_op *op, pro_file *f, pro_handler *done)
{
    if (begin(site, op, f, PRI_OP_FILE_SYNC, 0, over, done)) pri_call_start(op, PRI_CALL_FILE_SYNC);
}

void pro_file_datasync_at(const char *site, pro_op *op, pro_file *f, pro_handler *done)
{
    if (begin(site, op, f, PRI_OP_FILE_DATASYNC, 0, over, done))
        pri_call_start(op, PRI_CALL_FILE_DATASYNC);
}

void pro_file_allocate_at(const char *site, pro_op *op, pro_file *f, uint64_t offset, uint64_t len,
                          pro_handler *done)
{
    pri_call *call = begin(site, op, f, PRI_OP_FILE_ALLOCATE, 0, over, done);
    if (!call) return;
    call->offset = offset;
    call->size = len;
    pri_call_start(op, PRI_CALL_FILE_ALLOCATE);
}

void pro_file_truncate_at(const char *site, pro_op *op, pro_file *f, uint64_t size,
                          pro_handler *done)
{
    pri_call *call = begin(site, op, f, PRI_OP_FILE_TRUNCATE, 0, over, done);
    if (!call) return;
    call->size = size;
    pri_call_start(op, PRI_CALL_FILE_TRUNCATE);
}

void pro_file_advise_at(const char *site, pro_op *op, pro_file *f, uint64_t offset, uint64_t len,
                        pro_advice advice, pro_handler *done)
{
    pri_call *call = begin(site, op, f, PRI_OP_FILE_ADVISE, 0, over, done);
    if (!call) return;
    call->offset = offset;
    call->size = len;
    call->mode = advice;
    pri_call_start(op, PRI_CALL_FILE_ADVISE);
}

void pro_file_stat_at(const char *site, pro_op *op, pro_file *f, pro_stat *stat, pro_handler *done)
{
    pri_call *call = begin(site, op, f, PRI_OP_FILE_STAT, 0, over, done);
    if (!call) return;
    call->out = stat;
    pri_call_start(op, PRI_CALL_FILE_STAT);
}

void pro_file_list_at(const char *site, pro_op *op, pro_file *f, void *buf, size_t len,
                      pro_handler *done)
{
    pri_call *call = begin(site, op, f, PRI_OP_FILE_LIST, 0, listed, done);
    if (!call) return;
    call->out = buf;
    call->size = len;
    pri_call_start(op, PRI_CALL_FILE_LIST);
}
