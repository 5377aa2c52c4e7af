/* Copying a file to a socket: a send that the system makes from its cache.  One of two ways:
 *
 *     head --> attempt --> (the socket is full) --> step of readiness --> attempt ...
 *                 |  not in the cache
 *                 +---> job of the pool: the same attempt, which may wait for the disk
 *
 *     head --> step that sends a part --> step ...             where the engine does it (PRI_CAPS_SEND_FILE)
 *                 |  it does not do this one
 *                 +---> job of the pool: read a part --> steps that send it --> job ...
 *                         which is where an engine begins that has no readiness (a simulated world)
 *
 * Each attempt or part is of one chunk at most, and behind each one the loop turns, so that others come in.
 *
 * Invariants:
 *   pri_job is in flight  ==>  its thread may be using the socket's descriptor, or pri_vessel; the operation
 *                              stays STARTED, whatever is wished, until the job is back
 *   pri_vessel != NULL   <==>  this copy goes by it */
#define PRO_NO_SITES
#include <proactor/blocking.h>
#include <proactor/copy.h>

#include "ops.h"
#include "os/copy.h"
#include "vessel.h"

/* In place of an error, which is negative: the socket takes no more.  Not PRO_EAGAIN, which is also what a
 * pool says that has no thread and gets none. */
enum { FULL = 1 };
static const int64_t FULL_IN_JOB = INT64_MAX;

static int error_of(int64_t n)
{
    return pri_os_error((int)n) == PRO_EAGAIN ? FULL : pri_os_error((int)n);
}

static const pri_part copy_part;

/* Of a step that sends from memory its side object knows. */
static pro_copy *copy_of(const pro_op *op)
{
    const pri_step *step = &op->pri_kernel_step;
    if (step->flags & PRI_STEP_VECTORS) return ((const pri_side *)step->data)->call.out;
    return pri_copy_of(step);
}

static void go_on(pro_op *op);

/* This was the result of an attempt or a step: n bytes, and perhaps an error; or neither, the file's end. */
static void attempted(pro_op *op, int64_t n, int error)
{
    pro_copy *copy = copy_of(op);
    bool      is_end = !error && n == 0;
    copy->copied += (uint64_t)n;
    pri_handle_heard(op->pri_kernel_step.handle, error);
    if (copy->copied == copy->len || (is_end && copy->len == PRO_COPY_ALL)) {
        error = PRO_OK;
    } else if (op->pri_cause) {
        error = -(int)op->pri_cause;
    } else if (is_end) {
        error = PRO_EOF;
    } else if (!error || error == FULL) {
        go_on(op);
        return;
    }
    if (copy->pri_vessel) pri_vessel_give(op->pri_loop, copy->pri_vessel, true);
    pri_handle_finish(op, error, (int64_t)copy->copied);
}

static void start_job(pro_op *op, int64_t (*fn)(void *), pro_handler *done)
{
    pro_copy *copy = copy_of(op);
    copy->pri_job.user = copy;
    copy->pri_job.scope = op->scope ? op->scope : op->pri_kernel_step.handle->pri_scope;
    pro_run_blocking_wait_at(op->pri_site, &copy->pri_job, op->pri_loop, fn, copy, done);
}

/* ---- By attempts ------------------------------------------------------------------------------ */

static int64_t in_job(void *arg)
{
    pro_copy *copy = arg;
    int64_t   n = pri_os_send_file(copy->pri_op->pri_kernel_step.handle->pri_fd, copy->file,
                                   copy->offset + copy->copied, pri_copy_chunk(copy));
    if (n >= 0) return n;
    return error_of(n) == FULL ? FULL_IN_JOB : error_of(n);
}

static void on_job(pro_op *job)
{
    const pro_copy *copy = job->user;
    if (!job->error && job->value == FULL_IN_JOB)
        attempted(copy->pri_op, 0, FULL);
    else
        attempted(copy->pri_op, job->error ? 0 : job->value, job->error);
}

static void attempt(pro_op *op)
{
    pro_copy   *copy = copy_of(op);
    pro_handle *handle = op->pri_kernel_step.handle;
    uint64_t    at = copy->offset + copy->copied;
    size_t      len = pri_copy_chunk(copy);
    op->pri_kernel_step.kind = PRI_STEP_NONE;
    pri_op_wait(op);
    int64_t n = pri_os_fault(&op->pri_loop->env, "sendfile");
    if (n || pri_os_is_cached(copy->file, at, len)) {
        if (!n) n = pri_os_send_file(handle->pri_fd, copy->file, at, len);
        attempted(op, n < 0 ? 0 : n, n < 0 ? error_of(n) : PRO_OK);
        return;
    }
    start_job(op, in_job, on_job);
}

/* ---- By parts of memory ----------------------------------------------------------------------- */

static int64_t read_in_job(void *arg)
{
    const pro_copy   *copy = arg;
    const pri_vessel *v = copy->pri_vessel;
    const pri_engine *engine = copy->pri_op->pri_loop->engine;
    size_t            len = pri_copy_chunk(copy);
    pro_vec           all = {v->buf, len < PRI_VESSEL_SIZE ? len : PRI_VESSEL_SIZE};
    pri_call          call = {
                 .what = PRI_CALL_FILE_READ, .fd = copy->file, .offset = copy->offset + copy->copied};
    int64_t n = engine->call(&call, &all, 1);
    return n < 0 ? pri_os_error((int)n) : n;
}

/* What is in the vessel goes to the socket, whatever that is. */
static void send_part(pro_op *op, pro_copy *copy)
{
    pri_step         *step = &op->pri_kernel_step;
    const pri_vessel *v = copy->pri_vessel;
    v->side->part = &copy_part;
    v->side->call.out = copy;
    v->side->first = 0;
    v->side->count = 1;
    step->kind = PRI_STEP_SEND;
    step->flags |= PRI_STEP_VECTORS;
    if (step->handle->pri_flags & PRI_HANDLE_PLAIN) step->flags |= PRI_STEP_BY_CALL;
    step->data = v->side;
    step->len = v->side->vecs[0].len;
    pri_handle_start_step(op);
}

static void on_part_read(pro_op *job)
{
    pro_copy *copy = job->user;
    pro_op   *op = copy->pri_op;
    int       error = !job->error && op->pri_cause ? PRO_ECANCELED : job->error;
    if (error || job->value == 0) {
        attempted(op, 0, error);
        return;
    }
    const pri_vessel *v = copy->pri_vessel;
    v->side->vecs[0] = (pro_vec){v->buf, (size_t)job->value};
    send_part(op, copy);
}

static void read_part(pro_op *op)
{
    pro_copy *copy = copy_of(op);
    op->pri_kernel_step.kind = PRI_STEP_NONE;
    pri_op_wait(op);
    if (!copy->pri_vessel) copy->pri_vessel = pri_vessel_buffer(op->pri_loop);
    if (copy->pri_vessel)
        start_job(op, read_in_job, on_part_read);
    else
        attempted(op, 0, PRO_ENOMEM);
}

/* The whole part, or as much as there was room for, or an error behind some of it. */
static void part_sent(pro_op *op, const pri_record *record)
{
    pro_copy *copy = copy_of(op);
    pri_step *step = &op->pri_kernel_step;
    pro_vec  *left = &((pri_vessel *)copy->pri_vessel)->side->vecs[0];
    *left = (pro_vec){(char *)left->base + record->value, left->len - (size_t)record->value};
    step->flags &= (uint8_t) ~(PRI_STEP_VECTORS | PRI_STEP_BY_CALL);
    step->data = (void *)(uintptr_t)&copy_part;
    step->len = (size_t)(uintptr_t)copy;
    if (left->len > 0 && !record->error && !op->pri_cause) {
        copy->copied += (uint64_t)record->value;
        send_part(op, copy);
    } else {
        attempted(op, record->value, record->error);
    }
}

/* ---- One after the other ---------------------------------------------------------------------- */

static bool is_native(const pro_op *op) { return op->pri_loop->engine->caps & PRI_CAPS_SEND_FILE; }

/* Behind the others, when there is room again. */
static void go_on(pro_op *op)
{
    if (copy_of(op)->pri_vessel) {
        read_part(op);
    } else {
        op->pri_kernel_step.kind = is_native(op) ? PRI_STEP_SEND_FILE : PRI_STEP_POLL_OUT;
        pri_op_start(op);
    }
}

static void copy_head(pro_op *op)
{
    pro_copy   *copy = copy_of(op);
    pro_handle *handle = op->pri_kernel_step.handle;
    int         error = pri_handle_refusal(handle, PRI_OP_COPY_FILE, PRI_WRITE);
    copy->copied = 0;
    copy->pri_vessel = NULL;
    if (!error) error = pri_leave_slot(handle);
    if (error || copy->len == 0)
        pri_handle_finish(op, error, 0);
    else if (is_native(op))
        go_on(op);
    else if (op->pri_loop->engine->caps & PRI_CAPS_POLL)
        attempt(op);
    else
        read_part(op);
}

static void copy_record(pro_op *op, const pri_record *record)
{
    pri_step_kind kind = (pri_step_kind)op->pri_kernel_step.kind;
    if (kind == PRI_STEP_SEND)
        part_sent(op, record);
    else if (kind == PRI_STEP_SEND_FILE && record->error == PRO_ENOTSUP && !op->pri_cause)
        read_part(op);
    else if (kind == PRI_STEP_SEND_FILE)
        attempted(op, record->value, record->error);
    else if (op->pri_cause || record->error)
        attempted(op, 0, record->error ? record->error : PRO_ECANCELED);
    else
        attempt(op);
}

/* A job that runs is waited for: its bytes count. */
static bool copy_canceled(pro_op *op)
{
    pri_op_cancel(&copy_of(op)->pri_job, PRO_ECANCELED);
    return false;
}

static const pri_part copy_part = {
    .head = copy_head, .record = copy_record, .canceled = copy_canceled};

void pro_copy_file_at(const char *site, pro_op *op, pro_socket *s, pro_copy *copy,
                      pro_handler *done)
{
    pro_handle *handle = &s->handle;
    pri_handle_must_be_made(handle, site);
    if (!pri_op_begin(op, handle->pri_loop, handle, PRI_OP_COPY_FILE, site, done)) return;
    if (!handle->pri_loop->engine->call) {
        pri_op_finish(op, PRO_ENOTSUP, 0);
        return;
    }
    copy->pri_op = op;
    copy->pri_job = (pro_op){.user = copy};
    op->pri_kernel_step.flags |= PRI_STEP_PART;
    op->pri_kernel_step.data = (void *)(uintptr_t)&copy_part;
    op->pri_kernel_step.len = (size_t)(uintptr_t)copy;
    pri_handle_queue(op, handle, PRI_WRITE, false);
}

void pro_copy_file(pro_op *op, pro_socket *s, pro_copy *copy, pro_handler *done)
{
    pro_copy_file_at("?", op, s, copy, done);
}
