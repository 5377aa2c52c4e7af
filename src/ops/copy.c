/* Copying a file to a socket: a send that the system makes from its cache.
 *
 *     head --> attempt --> (the socket is full) --> step of readiness --> attempt ...
 *                 |  not in the cache
 *                 +---> job of the pool: the same attempt, which may wait for the disk
 *
 * Each attempt is of one chunk at most, and behind each one the loop turns, so that others come in.
 *
 * Invariant:  pri_job is in flight  ==>  its thread may be using the socket's descriptor; the operation
 *             stays STARTED, whatever is wished, until the job is back */
#define PRO_NO_SITES
#include <proactor/blocking.h>
#include <proactor/copy.h>

#include "os/copy.h"
#include "ops.h"

enum { CHUNK = 1 << 20 };

/* In place of an error, which is negative: the socket takes no more.  Not PRO_EAGAIN, which is also what a
 * pool says that has no thread and gets none. */
enum { FULL = 1 };
static const int64_t FULL_IN_JOB = INT64_MAX;

static int error_of(int64_t n)
{
    return pri_os_error((int)n) == PRO_EAGAIN ? FULL : pri_os_error((int)n);
}

static pro_copy *copy_of(const pro_op *op) { return (void *)(uintptr_t)op->pri_kernel_step.len; }

static size_t chunk_of(const pro_copy *copy)
{
    uint64_t left = copy->len - copy->copied; /* of PRO_COPY_ALL always more than there can be */
    return left < CHUNK ? (size_t)left : CHUNK;
}

/* This was the result of an attempt: n bytes, or an error. */
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
    } else if (!error || error == FULL) { /* behind the others, when there is room again */
        op->pri_kernel_step.kind = PRI_STEP_POLL_OUT;
        pri_op_start(op);
        return;
    }
    pri_handle_finish(op, error, (int64_t)copy->copied);
}

static int64_t in_job(void *arg)
{
    pro_copy *copy = arg;
    int64_t   n = pri_os_send_file(copy->pri_op->pri_kernel_step.handle->pri_fd, copy->file,
                                   copy->offset + copy->copied, chunk_of(copy));
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
    size_t      len = chunk_of(copy);
    op->pri_kernel_step.kind = PRI_STEP_NONE;
    pri_op_wait(op);
    int64_t n = pri_os_fault(&op->pri_loop->env, "sendfile");
    if (n || pri_os_is_cached(copy->file, at, len)) {
        if (!n) n = pri_os_send_file(handle->pri_fd, copy->file, at, len);
        attempted(op, n < 0 ? 0 : n, n < 0 ? error_of(n) : PRO_OK);
        return;
    }
    copy->pri_job.user = copy;
    copy->pri_job.scope = op->scope ? op->scope : handle->pri_scope;
    pro_run_blocking_wait_at(op->pri_site, &copy->pri_job, op->pri_loop, in_job, copy, on_job);
}

static void copy_head(pro_op *op)
{
    pro_copy   *copy = copy_of(op);
    pro_handle *handle = op->pri_kernel_step.handle;
    int         error = pri_leave_slot(handle);
    copy->copied = 0;
    if (error)
        pri_handle_finish(op, error, 0);
    else if (handle->pri_fd < 0)
        pri_handle_finish(op, PRO_ENOTCONN, 0);
    else if (handle->pri_flags & (PRI_HANDLE_HOLE | PRI_HANDLE_SHUT))
        pri_handle_finish(op, PRO_EPIPE, 0);
    else if (copy->len == 0)
        pri_handle_finish(op, PRO_OK, 0);
    else
        attempt(op);
}

static void copy_record(pro_op *op, const pri_record *record)
{
    if (op->pri_cause || record->error)
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
    if (!(handle->pri_loop->engine->caps & PRI_CAPS_POLL)) {
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
