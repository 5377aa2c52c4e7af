/* lib/form.h: a sentence's call in a coroutine of its own.
 *
 * A coroutine begins on a turn of its loop, which for a call that a sentence has made would be too late:
 * its next line may cancel, close, or use the array of vectors again.  So this is the one file of the
 * test library that sees the inside: it lets the coroutine begin at once (begin_now), also in a
 * handler, which may itself be running in such a coroutine.  From its first await on everything is as
 * it is for any coroutine.
 *
 * Invariants:  a job is in the list           <==>  its coroutine has not ended
 *              job->awaits_for == op != NULL  ==>   the coroutine awaits in its place; op itself is idle */
#include "lib/form.h"

#include "lib/test.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "co/co.h"

static t_form form;

void t_form_set(t_form chosen) { form = chosen; }

/* ---- The calls ------------------------------------------------------------------------------- */

static void call_back(const t_call *c, pro_handler *done)
{
    const char *site = c->site;
    switch (c->kind) {
    case T_CONNECT: pro_connect_at(site, c->op, c->s, c->address, done); break;
    case T_RECV: pro_recv_at(site, c->op, c->s, c->in, c->len, done); break;
    case T_RECV_EXACTLY: pro_recv_exactly_at(site, c->op, c->s, c->in, c->len, done); break;
    case T_SEND: pro_send_at(site, c->op, c->s, c->out, c->len, done); break;
    case T_SEND_ALL: pro_send_all_at(site, c->op, c->s, c->out, c->len, done); break;
    case T_RECVV: pro_recvv_at(site, c->op, c->s, c->vecs, c->len, done); break;
    case T_RECVV_EXACTLY: pro_recvv_exactly_at(site, c->op, c->s, c->vecs, c->len, done); break;
    case T_SENDV: pro_sendv_at(site, c->op, c->s, c->vecs, c->len, done); break;
    case T_SENDV_ALL: pro_sendv_all_at(site, c->op, c->s, c->vecs, c->len, done); break;
    case T_SHUTDOWN: pro_shutdown_at(site, c->op, c->s, done); break;
    case T_CLOSE: pro_close_at(site, c->op, c->s, done); break;
    case T_CLOSE_ABORT: pro_close_abort_at(site, c->op, c->s, done); break;
    case T_ACCEPT: pro_accept_at(site, c->op, c->l, done); break;
    case T_LISTENER_CLOSE: pro_listener_close_at(site, c->op, c->l, done); break;
    case T_RECV_FROM: pro_recv_from_at(site, c->op, c->d, c->in, c->len, c->from, done); break;
    case T_SEND_TO: pro_send_to_at(site, c->op, c->d, c->out, c->len, c->address, done); break;
    case T_RECVV_FROM: pro_recvv_from_at(site, c->op, c->d, c->vecs, c->len, c->from, done); break;
    case T_SENDV_TO: pro_sendv_to_at(site, c->op, c->d, c->vecs, c->len, c->address, done); break;
    case T_RECV_BATCH: pro_recv_batch_at(site, c->op, c->d, c->messages, c->len, done); break;
    case T_SEND_BATCH: pro_send_batch_at(site, c->op, c->d, c->messages, c->len, done); break;
    case T_DATAGRAM_CLOSE: pro_datagram_close_at(site, c->op, c->d, done); break;
    case T_POLL: pro_poll_at(site, c->op, c->p, c->what, done); break;
    case T_POLLABLE_CLOSE: pro_pollable_close_at(site, c->op, c->p, done); break;
    case T_TIMER_START: pro_timer_start_at(site, c->op, c->loop, c->ns, done); break;
    case T_SLEEP: pro_sleep_at(site, c->op, c->loop, c->ns, done); break;
    case T_SIGNAL_WAIT: pro_signal_wait_at(site, c->op, c->loop, c->number, done); break;
    }
}

static int64_t await(const t_call *c)
{
    const char *site = c->site;
    uint64_t    by = c->op->deadline_ns;
    switch (c->kind) {
    case T_CONNECT: return pro_await_connect_by_at(site, c->s, c->address, by);
    case T_RECV: return pro_await_recv_by_at(site, c->s, c->in, c->len, by);
    case T_RECV_EXACTLY: return pro_await_recv_exactly_by_at(site, c->s, c->in, c->len, by);
    case T_SEND: return pro_await_send_by_at(site, c->s, c->out, c->len, by);
    case T_SEND_ALL: return pro_await_send_all_by_at(site, c->s, c->out, c->len, by);
    case T_RECVV: return pro_await_recvv_by_at(site, c->s, c->vecs, c->len, by);
    case T_RECVV_EXACTLY: return pro_await_recvv_exactly_by_at(site, c->s, c->vecs, c->len, by);
    case T_SENDV: return pro_await_sendv_by_at(site, c->s, c->vecs, c->len, by);
    case T_SENDV_ALL: return pro_await_sendv_all_by_at(site, c->s, c->vecs, c->len, by);
    case T_SHUTDOWN: return pro_await_shutdown_by_at(site, c->s, by);
    case T_CLOSE: return pro_await_close_by_at(site, c->s, by);
    case T_CLOSE_ABORT: return pro_await_close_abort_by_at(site, c->s, by);
    case T_LISTENER_CLOSE: return pro_await_listener_close_by_at(site, c->l, by);
    case T_RECV_FROM: return pro_await_recv_from_by_at(site, c->d, c->in, c->len, c->from, by);
    case T_SEND_TO: return pro_await_send_to_by_at(site, c->d, c->out, c->len, c->address, by);
    case T_RECVV_FROM: return pro_await_recvv_from_by_at(site, c->d, c->vecs, c->len, c->from, by);
    case T_SENDV_TO: return pro_await_sendv_to_by_at(site, c->d, c->vecs, c->len, c->address, by);
    case T_RECV_BATCH: return pro_await_recv_batch_by_at(site, c->d, c->messages, c->len, by);
    case T_SEND_BATCH: return pro_await_send_batch_by_at(site, c->d, c->messages, c->len, by);
    case T_DATAGRAM_CLOSE: return pro_await_datagram_close_by_at(site, c->d, by);
    case T_POLL: return pro_await_poll_by_at(site, c->p, c->what, by);
    case T_POLLABLE_CLOSE: return pro_await_pollable_close_by_at(site, c->p, by);
    case T_TIMER_START: return pro_await_timer_start_by_at(site, c->ns, by);
    case T_SLEEP: return pro_await_sleep_by_at(site, c->ns, by);
    case T_SIGNAL_WAIT: return pro_await_signal_wait_by_at(site, c->number, by);
    case T_ACCEPT: break;
    }
    FAIL("no form awaits call %d", (int)c->kind);
}

static const pro_handle *handle_of(const t_call *c)
{
    if (c->s != NULL) return &c->s->handle;
    if (c->p != NULL) return &c->p->handle;
    if (c->d != NULL) return &c->d->handle;
    return c->l != NULL ? &c->l->handle : NULL;
}

/* ---- What awaits in place of an operation ---------------------------------------------------- */

struct job {
    t_call      call;
    pro_task    task;
    pro_scope  *scope;
    pro_op     *awaits_for; /* in the form of await.h, until it has completed */
    struct job *next, **at;
};

#define BUCKETS 65536 /* by the address of the operation: there are sentences with 100,000 */

static struct job *jobs[BUCKETS];
static atomic_flag jobs_lock = ATOMIC_FLAG_INIT;

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&jobs_lock, memory_order_acquire)) {}
}

static void unlock(void) { atomic_flag_clear_explicit(&jobs_lock, memory_order_release); }

static struct job **bucket_of(const pro_op *op)
{
    return &jobs[((uintptr_t)op >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 48];
}

static void enter(struct job *job)
{
    struct job **bucket = bucket_of(job->call.op);
    lock();
    job->next = *bucket;
    job->at = bucket;
    if (*bucket != NULL) (*bucket)->at = &job->next;
    *bucket = job;
    unlock();
}

static void await_for(struct job *job, pro_op *op)
{
    lock();
    job->awaits_for = op;
    unlock();
}

static void leave(struct job *job)
{
    lock();
    *job->at = job->next;
    if (job->next != NULL) job->next->at = job->at;
    unlock();
}

static struct job *job_of(const pro_op *op)
{
    lock();
    struct job *job = *bucket_of(op);
    while (job != NULL && job->awaits_for != op) job = job->next;
    unlock();
    return job;
}

void t_cancel(pro_op *op)
{
    struct job *job = job_of(op);
    if (job != NULL)
        pro_task_cancel(&job->task);
    else
        (pro_cancel)(op);
}

int t_in_flight(const pro_op *op) { return (pro_op_in_flight)(op) || job_of(op) != NULL; }

/* Without the coroutines that are here instead of the sentence's callbacks. */
uint32_t t_scope_live(const pro_scope *scope)
{
    uint32_t live = (pro_scope_live)(scope);
    lock();
    for (int i = 0; i < BUCKETS; i++)
        for (const struct job *job = jobs[i]; job != NULL; job = job->next)
            live -= job->scope == scope;
    unlock();
    return live;
}

/* ---- The coroutine --------------------------------------------------------------------------- */

/* By the form of the function: the operation is the coroutine's, and what came out is told as a handler
 * would find it. */
static void await_in_place(struct job *job)
{
    pro_op *op = job->call.op;
    await_for(job, op);
    int64_t result = await(&job->call);
    await_for(job, NULL);
    op->error = result < 0 ? (int32_t)result : PRO_OK;
    op->value = pro_co_value();
    if (result >= 0) CHECK_EQ(op->value, result);
    op->flags = pro_co_flags();
    op->deadline_ns = PRO_NEVER;
}

static void await_own(const struct job *job)
{
    pro_op *op = job->call.op;
    void   *user = op->user;
    op->user = NULL;
    call_back(&job->call, pro_awake);
    int64_t result = pro_await_at(job->call.site, op);
    op->user = user;
    CHECK_EQ(result, op->error < 0 ? op->error : op->value);
}

static void run_job(void *arg)
{
    struct job *job = arg;
    pro_op     *op = job->call.op;
    if (form == T_FORM_OWN || job->call.kind == T_ACCEPT)
        await_own(job);
    else
        await_in_place(job);
    pro_task_detach(&job->task);
    job->call.done(op); /* which may have freed it */
    leave(job);
    free(job);
}

/* What pro_go made ready on this thread as the last thing runs now, without being a handler.  If a coroutine
 * runs, it is a handler that initiates: then it, not the loop, is where this one goes back to. */
static pri_co *begin_now(pro_loop *loop)
{
    pro_op      *op = pro_container_of(loop->ready.prev, pro_op, pri_queue);
    pri_co      *co = pro_container_of(op, pri_co, op);
    pri_co_home *home = loop->co;
    pri_list_unlink(&op->pri_queue);
    PRI_CHECKED(delivered, op);
    pri_list_unlink(&op->pri_scope);
    op->pri_kernel_step.op_state = PRI_IDLE;
    loop->live_ops--;
    PRI_CHECKED(left, op->scope);
    pri_scope_uncount(op->scope); /* the coroutine holds it too */

    pri_context context = home->context;
    pri_fiber   fiber = home->fiber;
    op->pri_done(op);
    home->context = context;
    home->fiber = fiber;
    return co;
}

/* In which scope: where the operation counts.  Every other call on a handle is awaited by a coroutine in
 * the loop's root scope, as by a coroutine of no connection; an await takes another way then (park.c). */
static pro_scope *scope_of(const t_call *c, pro_loop *loop)
{
    static _Thread_local int calls;
    const pro_handle        *handle = handle_of(c);
    if (c->op->scope != NULL) return c->op->scope;
    return handle != NULL && ++calls % 2 ? handle->pri_scope : pro_loop_scope(loop);
}

static bool starts(const t_call *call)
{
    const pro_handle *handle = handle_of(call);
    pro_loop         *loop = handle != NULL ? handle->pri_loop : call->loop;
    struct job       *job = calloc(1, sizeof *job);
    if (job == NULL) abort();
    job->call = *call;
    job->scope = scope_of(call, loop);
    pro_op        *op = call->op;
    pro_go_options options = {.name = "sentence", .task = &job->task};
    int            error = pro_go_at(call->site, "sentence", job->scope, run_job, job, &options);
    if (error != PRO_OK) {
        CHECK_ERROR(error, PRO_ENOMEM);
        free(job);
        return false;
    }
    enter(job);
    const pri_co *co = begin_now(loop);
    if (co->awaited != op) {
        op->pri_site = pro_op_site(co->awaited);
        op->pri_correlation = pro_op_correlation(co->awaited);
    }
    return true;
}

void t_initiate(const t_call *call)
{
    if (form == T_FORM_CALLBACK || !starts(call)) call_back(call, call->done);
}
