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

size_t t_form_zerocopy_min(void) { return form == T_FORM_ZEROCOPY ? 1 : 0; }

/* ---- What awaits in place of an operation ---------------------------------------------------- */

struct job {
    t_call        call;
    const t_call *begun; /* with its arguments: until the first await */
    pro_task      task;
    pro_scope    *scope;
    pro_op       *awaits_for; /* in the form of await.h, until it has completed */
    struct job   *next, **at;
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
    int64_t result = job->call.await(job->begun);
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
    job->call.call(job->begun, pro_awake);
    int64_t result = pro_await_at(job->call.site, op);
    op->user = user;
    CHECK_EQ(result, op->error < 0 ? op->error : op->value);
}

static void run_job(void *arg)
{
    struct job *job = arg;
    pro_op     *op = job->call.op;
    if (form == T_FORM_OWN || job->call.await == NULL)
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
    loop->initiated--;
    PRI_CHECKED(left, op->scope);
    pri_scope_uncount(op->scope); /* the coroutine holds it too */

    pri_context context = home->context;
    pri_fiber   fiber = home->fiber;
    pri_runs    runs = home->runs;
    pri_runs   *here = pri_runs_here;
    pri_runs_here = &home->runs; /* as if the loop were run */
    op->pri_done(op);
    pri_runs_here = here;
    home->runs = runs;
    home->context = context;
    home->fiber = fiber;
    return co;
}

/* In which scope: where the operation counts.  Every other call on a handle is awaited by a coroutine in
 * the loop's root scope, as by a coroutine of no connection; an await takes another way then (park.c). */
static pro_scope *scope_of(const t_call *c, pro_loop *loop)
{
    static _Thread_local int calls;
    if (c->op->scope != NULL) return c->op->scope;
    return c->handle != NULL && ++calls % 2 ? c->handle->pri_scope : pro_loop_scope(loop);
}

static bool starts(const t_call *call)
{
    pro_loop *loop = call->handle != NULL ? call->handle->pri_loop : call->loop;
    if (loop == NULL) return false; /* neither a handle nor a loop tells it: a pool of buffers */
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) abort();
    job->call = *call;
    job->begun = call;
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
    const pro_op *awaited = pri_co_awaited(begin_now(loop));
    job->begun = NULL;
    if (awaited != op) {
        op->pri_site = pro_op_site(awaited);
        op->pri_correlation = pro_op_correlation(awaited);
    }
    return true;
}

void t_initiate(const t_call *call)
{
    if (form == T_FORM_ZEROCOPY && call->zerocopy != NULL)
        call->zerocopy(call, call->done);
    else if (form == T_FORM_CALLBACK || form == T_FORM_ZEROCOPY || !starts(call))
        call->call(call, call->done);
}
