/* Child processes: a handle whose descriptor is the child's pidfd, on Windows the handle of the process.
 *
 *     pro_spawn   stands in the write queue, as a connect does, so that waits behind it wait
 *       inner     a job of the pool starts the child; its handler finishes the spawn and becomes
 *       inner     the first of the read queue: a step of readiness, until the child has ended
 *     waits       stand behind it; they have no step, and finish when they come to the head
 *
 * Closing cancels the inner operation, and that kills: it goes on until the child is gone, and the
 * handle ends after it.  Canceled by anything else it just goes on.
 *
 * A system that is short of something may refuse to watch the child.  Then it is asked for now and then, with
 * pauses that grow: the inner operation stands without a step, with a deadline that ends the pause.
 *
 * Invariants:
 *   pri_fd >= 0         <==>  the child was started and not yet reaped
 *                       <==>  inner is an EXIT, in flight
 *   pri_spawner != NULL  <==>  that spawn is STARTED
 *                        <==>  inner is a job, in flight */
#define PRO_NO_SITES
#include <proactor/blocking.h>
#include <proactor/process.h>

#include "core/op.h"
#include "os/child.h"

static pro_process *process_of(const pro_op *op)
{
    return pro_container_of(op->pri_kernel_step.handle, pro_process, handle);
}

/* ---- The end of a child ----------------------------------------------------------------------- */

static void kill_child(pro_process *p)
{
    static const pro_env no_faults = {0}; /* what must happen */
    pri_os_child_signal(&no_faults, p->handle.pri_fd, p->pri_pid, p->pri_group, pri_os_kill_signal);
}

static void on_gone(pro_op *op) { (void)op; }

enum { PAUSE_MIN = PRO_MSEC, PAUSE_MAX = 256 * PRO_MSEC };

/* Nothing is started until then.  op->value: the pause before this one. */
static void pause_until_later(pro_op *op)
{
    op->value = op->value == 0 ? PAUSE_MIN : op->value < PAUSE_MAX ? 2 * op->value : PAUSE_MAX;
    op->deadline_ns = op->pri_loop->now_ns + (uint64_t)op->value;
    op->pri_kernel_step.kind = PRI_STEP_NONE;
    pri_op_wait(op);
    pri_wheel_insert(&op->pri_loop->timers, &op->pri_timer);
}

/* Has it ended?  If not, wait for it, or pause where that was refused. */
static void look(pro_op *op, bool is_refused)
{
    pro_process *p = process_of(op);
    pro_handle  *handle = &p->handle;
    pro_loop    *loop = handle->pri_loop;
    int          error = pri_os_child_reap(handle->pri_fd, p->pri_group, &p->pri_status);
    if (pri_os_error(error) == PRO_EAGAIN) {
        op->pri_cause =
            0; /* a scope's cancel, a close's, the end of a pause: its end is no less awaited */
        if (handle->pri_state == PRI_HANDLE_CLOSING) kill_child(p);
        if (is_refused) {
            pause_until_later(op);
        } else {
            op->pri_kernel_step.kind = PRI_STEP_POLL_IN;
            pri_op_start(op);
        }
        return;
    }
    p->pri_error = error ? PRO_ENOENT : PRO_OK;
    p->pri_pid = 0;
    loop->engine->detach(loop, handle);
    loop->net->close(&loop->env, handle->pri_fd, 0);
    handle->pri_fd = -1;
    handle->pri_flags |= PRI_HANDLE_BARE;
    pri_handle_finish(op, PRO_OK, 0);
}

static void exit_record(pro_op *op, const pri_record *record)
{
    bool is_refused = record->error && record->error != PRO_ECANCELED;
    if (!is_refused) op->value = 0;
    look(op, is_refused);
}

/* In a pause: that is over now, whatever the cause. */
static bool exit_canceled(pro_op *op)
{
    if (pri_wheel_holds(&op->pri_timer)) pri_wheel_remove(&op->pri_timer);
    op->deadline_ns = PRO_NEVER;
    look(op, false);
    return false;
}

static const pri_part exit_part = {.record = exit_record, .canceled = exit_canceled};

/* In a closing scope and on a closing handle as well: there is a child. */
static void await_exit(pro_process *p)
{
    pro_op *op = &p->pri_inner;
    op->scope = NULL;
    pri_op_prepare(op, &p->handle, p->handle.pri_scope, PRI_STEP_POLL_IN, PRI_OP_EXIT, op->pri_site,
                   on_gone);
    p->handle.pri_live++;
    op->pri_kernel_step.flags = PRI_STEP_PART;
    op->pri_kernel_step.data = (void *)(uintptr_t)&exit_part;
    pri_queue_append(&p->handle.pri_queue[PRI_READ], &op->pri_queue);
    p->handle.pri_queue[PRI_READ] = &op->pri_queue; /* before all others */
    pri_op_start(op);
    if (p->handle.pri_state == PRI_HANDLE_CLOSING) kill_child(p);
}

/* ---- Starting --------------------------------------------------------------------------------- */

static int64_t start_child(void *plan)
{
    int error = pri_os_child_start(plan);
    return error ? pri_os_error(error) : 0;
}

static void on_started(pro_op *inner)
{
    pro_process *p = inner->user;
    pro_op      *op = p->pri_spawner;
    int          error = inner->error;
    intptr_t     fd, group;
    int64_t      pid = pri_os_child_end(&p->handle.pri_loop->env, p->pri_plan, &fd, &group);
    p->pri_spawner = NULL;
    p->pri_plan = NULL;
    if (error == PRO_ECANCELED && op->pri_cause) error = -(int)op->pri_cause;
    if (!error) {
        p->handle.pri_fd = fd;
        p->handle.pri_flags &= (uint8_t)~PRI_HANDLE_BARE;
        p->pri_pid = (int32_t)pid;
        p->pri_group = group;
        await_exit(p);
    } else {
        p->pri_error = error;
    }
    pri_handle_finish(op, error, error ? 0 : pid);
}

static void spawn_head(pro_op *op)
{
    pro_process *p = process_of(op);
    pro_loop    *loop = p->handle.pri_loop;
    if (pro_op_in_flight(&p->pri_inner)) { /* there is a child, or its end is just being told */
        pri_handle_finish(op, PRO_EBUSY, 0);
        return;
    }
    const pro_spawn_options *options = (void *)(uintptr_t)op->pri_kernel_step.len;
    pri_os_plan             *plan;
    int                      error = pri_os_child_prepare(&loop->env, options, &plan);
    if (error) {
        p->pri_error = pri_os_error(error);
        pri_handle_finish(op, p->pri_error, 0);
        return;
    }
    pri_op_wait(op);
    p->pri_spawner = op;
    p->pri_plan = plan;
    p->pri_inner.user = p;
    p->pri_inner.scope = p->handle.pri_scope;
    pro_run_blocking_wait_at(op->pri_site, &p->pri_inner, loop, start_child, plan, on_started);
}

/* A job that runs is not cut: then the child is there, and the spawn says so. */
static bool spawn_canceled(pro_op *op)
{
    pri_op_cancel(&process_of(op)->pri_inner, PRO_ECANCELED);
    return false;
}

static const pri_part spawn_part = {.head = spawn_head, .canceled = spawn_canceled};

void pro_process_init(pro_process *p, pro_loop *loop, pro_scope *scope)
{
    PRI_CHECKED_CALLER();
    pri_handle_init(&p->handle, PRI_PROCESS, loop, scope, -1);
    p->pri_inner = (pro_op){.user = p};
    p->pri_spawner = NULL;
    p->pri_plan = NULL;
    p->pri_pid = 0;
    p->pri_error = PRO_ENOENT;
    p->pri_status = 0;
    p->pri_group = 0;
}

void pro_spawn_at(const char *site, pro_op *op, pro_process *p, const pro_spawn_options *options,
                  pro_handler *done)
{
    pro_handle *handle = &p->handle;
    pri_handle_must_be_made(handle, site);
    if (!pri_op_begin(op, handle->pri_loop, handle, PRI_OP_SPAWN, site, done)) return;
    if (!(handle->pri_loop->engine->caps & PRI_CAPS_POLL)) {
        pri_op_finish(op, PRO_ENOTSUP, 0);
        return;
    }
    op->pri_kernel_step.flags |= PRI_STEP_PART;
    op->pri_kernel_step.data = (void *)(uintptr_t)&spawn_part;
    op->pri_kernel_step.len = (size_t)(uintptr_t)options;
    pri_handle_connecting(handle);
    pri_handle_queue(op, handle, PRI_WRITE, false);
}

/* ---- Waiting, signals, closing ---------------------------------------------------------------- */

/* No child runs, since the wait for its end would stand before this. */
static void wait_head(pro_op *op)
{
    const pro_process *p = process_of(op);
    pri_handle_finish(op, p->pri_error, p->pri_error ? 0 : p->pri_status);
}

static const pri_part wait_part = {.head = wait_head};

void pro_process_wait_at(const char *site, pro_op *op, pro_process *p, pro_handler *done)
{
    pri_handle_must_be_made(&p->handle, site);
    if (!pri_op_begin(op, p->handle.pri_loop, &p->handle, PRI_OP_PROCESS_WAIT, site, done)) return;
    op->pri_kernel_step.flags |= PRI_STEP_PART;
    op->pri_kernel_step.data = (void *)(uintptr_t)&wait_part;
    pri_handle_queue(op, &p->handle, PRI_READ, false);
}

int pro_process_kill(pro_process *p, int signal_number)
{
    PRI_CHECKED_CALLER();
    if (p->handle.pri_fd < 0) return PRO_ENOENT;
    int error = pri_os_child_signal(&p->handle.pri_loop->env, p->handle.pri_fd, p->pri_pid,
                                    p->pri_group, signal_number);
    return pri_os_error(error);
}

int64_t pro_process_id(const pro_process *p) { return p->pri_pid; }

void pro_process_close_at(const char *site, pro_op *op, pro_process *p, pro_handler *done)
{
    pri_handle_close_op(site, op, &p->handle, false, done);
}

/* ---- Plain names ------------------------------------------------------------------------------ */

void pro_spawn(pro_op *op, pro_process *p, const pro_spawn_options *options, pro_handler *done)
{
    pro_spawn_at("?", op, p, options, done);
}

void pro_process_wait(pro_op *op, pro_process *p, pro_handler *done)
{
    pro_process_wait_at("?", op, p, done);
}

void pro_process_close(pro_op *op, pro_process *p, pro_handler *done)
{
    pro_process_close_at("?", op, p, done);
}
