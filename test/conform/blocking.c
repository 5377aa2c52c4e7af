/* Blocking work on the pool: 35 of the list, and what surrounds it. */
#include "lib/net.h"
#include "lib/os.h"

typedef struct job {
    t_op     t;
    t_event *began, *may_end; /* NULL: does not wait */
    int      ran, number;
    int64_t  result;
    int      plain[8];
} job;

static int order_of_begin; /* of the sentence with one thread: no lock needed */
static int begun_as[64];

static int64_t run_job(void *arg)
{
    job *x = arg;
    x->ran++;
    if (x->began) t_event_set(x->began);
    if (x->may_end) t_event_wait(x->may_end);
    for (int i = 0; i < 8; i++) x->plain[i] = i * 5;
    return x->result;
}

static job *job_new(int64_t result)
{
    job *x = t_new(job);
    x->result = result;
    return x;
}

static job *job_that_waits(int64_t result)
{
    job *x = job_new(result);
    x->began = t_event_new();
    x->may_end = t_event_new();
    return x;
}

static void job_free(job *x)
{
    if (!x->began) return;
    t_event_free(x->began);
    t_event_free(x->may_end);
}

static pro_loop *loop_with(uint32_t threads_max, uint32_t queue_max)
{
    pro_loop_options options = t_loop_options();
    options.pool_threads_max = threads_max;
    options.pool_queue_max = queue_max;
    return t_loop_with(&options);
}

CONFORM(a_function_runs_and_its_result_completes_the_operation)
{
    pro_loop     *loop = t_loop();
    const int64_t results[] = {0, 1, INT64_C(1) << 40, PRO_EIO, PRO_ENOENT};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        job *x = job_new(results[i]);
        pro_run_blocking(&x->t.op, loop, run_job, x, t_done);
        CHECK_EQ(x->t.done, 0);
        t_run(loop);
        CHECK_DONE(&x->t, results[i] < 0 ? (int)results[i] : PRO_OK,
                   results[i] < 0 ? 0 : results[i]);
        CHECK_EQ(x->ran, 1);
        CHECK_EQ(x->plain[7], 35); /* what it wrote is there; a thread sanitizer looks, too */
    }
}

static _Thread_local char here; /* its address names the thread */
static uintptr_t          thread_of_handler;

static void note_thread(t_op *t)
{
    (void)t;
    thread_of_handler = (uintptr_t)&here;
}

static int64_t note_own_thread(void *arg)
{
    *(uintptr_t *)arg = (uintptr_t)&here;
    return 0;
}

CONFORM(a_function_has_another_thread_and_its_handler_the_loops)
{
    pro_loop  *loop = t_loop();
    job       *x = job_new(0);
    uintptr_t *thread = t_new(uintptr_t);
    x->t.then = note_thread;
    pro_run_blocking(&x->t.op, loop, note_own_thread, thread, t_done);
    t_run(loop);
    CHECK_DONE(&x->t, PRO_OK, 0);
    CHECK_EQ(thread_of_handler, (uintptr_t)&here);
    CHECK(*thread != thread_of_handler);
}

/* The one thread is busy with the first; the second waits for it. */
static void occupy(pro_loop *loop, job *first, job *second)
{
    pro_run_blocking(&first->t.op, loop, run_job, first, t_done);
    t_event_wait(first->began);
    pro_run_blocking(&second->t.op, loop, run_job, second, t_done);
}

CONFORM(a_function_that_is_queued_is_canceled_and_never_runs)
{
    pro_loop *loop = loop_with(1, 0);
    job      *first = job_that_waits(7), *second = job_new(8);
    occupy(loop, first, second);
    pro_cancel(&second->t.op);
    CHECK_EQ(second->t.done, 0); /* never inside */
    t_wait(loop, &second->t);
    CHECK_DONE(&second->t, PRO_ECANCELED, 0);
    CHECK_EQ(second->ran, 0);
    CHECK_EQ(first->t.done, 0);
    t_event_set(first->may_end);
    t_run(loop);
    CHECK_DONE(&first->t, PRO_OK, 7);
    job_free(first);
}

CONFORM(a_function_that_runs_is_never_cut)
{
    pro_loop *loop = loop_with(1, 0);
    job      *first = job_that_waits(7), *second = job_new(8);
    occupy(loop, first, second);
    pro_cancel(&first->t.op);
    CHECK_EQ(t_poll(loop), 0);
    CHECK_EQ(first->t.done, 0);
    t_event_set(first->may_end);
    t_run(loop);
    CHECK_DONE(&first->t, PRO_OK, 7);
    CHECK_DONE(&second->t, PRO_OK, 8);
    job_free(first);
}

CONFORM(a_deadline_ends_a_function_that_is_queued_and_none_that_runs)
{
    pro_loop *loop = loop_with(1, 0);
    job      *first = job_that_waits(7), *second = job_new(8);
    uint64_t  soon = pro_loop_now(loop) + PRO_MSEC;
    first->t.op.deadline_ns = second->t.op.deadline_ns = soon;
    occupy(loop, first, second);
    t_wait(loop, &second->t);
    CHECK_DONE(&second->t, PRO_ETIMEDOUT, 0);
    CHECK_EQ(second->ran, 0);
    CHECK_EQ(first->t.done, 0);
    t_event_set(first->may_end);
    t_run(loop);
    CHECK_DONE(&first->t, PRO_OK, 7);
    job_free(first);
}

static int scope_ended;

static void on_scope_ended(pro_scope *scope)
{
    (void)scope;
    scope_ended = t_completions();
}

CONFORM(a_scope_waits_for_a_function_that_runs)
{
    pro_loop  *loop = loop_with(1, 0);
    job       *first = job_that_waits(7), *second = job_new(8), *late = job_new(9);
    pro_scope *scope = t_new(pro_scope);
    scope_ended = -1;
    pro_scope_init(scope, loop, NULL, on_scope_ended);
    first->t.op.scope = second->t.op.scope = late->t.op.scope = scope;
    occupy(loop, first, second);
    pro_scope_close(scope);
    pro_run_blocking(&late->t.op, loop, run_job, late, t_done);
    while (!late->t.done || !second->t.done) t_turn(loop);
    CHECK_DONE(&late->t, PRO_ECANCELED, 0);
    CHECK_DONE(&second->t, PRO_ECANCELED, 0);
    CHECK_EQ(t_poll(loop), 0);
    CHECK_EQ(scope_ended, -1);
    CHECK_EQ(pro_loop_free(loop), PRO_EBUSY);
    t_event_set(first->may_end);
    t_run(loop);
    CHECK_DONE(&first->t, PRO_OK, 7);
    CHECK_EQ(scope_ended, 3);
    CHECK_EQ(late->ran + second->ran, 0);
    job_free(first);
}

CONFORM(beyond_its_queue_the_pool_is_busy_and_the_waiting_form_waits)
{
    pro_loop *loop = loop_with(1, 2);
    job      *first = job_that_waits(0), *more[5];
    for (int i = 0; i < 5; i++) more[i] = job_new(i + 1);
    occupy(loop, first, more[0]);
    pro_run_blocking(&more[1]->t.op, loop, run_job, more[1], t_done);
    pro_run_blocking(&more[2]->t.op, loop, run_job, more[2], t_done);
    pro_run_blocking_wait(&more[3]->t.op, loop, run_job, more[3], t_done);
    CHECK_EQ(more[2]->t.done, 0); /* never inside */
    t_wait(loop, &more[2]->t);
    CHECK_DONE(&more[2]->t, PRO_EBUSY, 0);
    pro_cancel(&more[3]->t.op); /* three wait, one leaves, and two are the limit */
    t_wait(loop, &more[3]->t);
    pro_run_blocking(&more[4]->t.op, loop, run_job, more[4], t_done);
    t_wait(loop, &more[4]->t);
    CHECK_DONE(&more[4]->t, PRO_EBUSY, 0);
    t_event_set(first->may_end);
    t_run(loop);
    CHECK_DONE(&more[0]->t, PRO_OK, 1);
    CHECK_DONE(&more[1]->t, PRO_OK, 2);
    CHECK_DONE(&more[3]->t, PRO_ECANCELED, 0);
    CHECK_EQ(more[2]->ran + more[3]->ran + more[4]->ran, 0);
    job_free(first);
}

static int64_t note_begin(void *arg)
{
    begun_as[order_of_begin++] = ((job *)arg)->number;
    return 0;
}

CONFORM(functions_begin_in_the_order_of_initiation)
{
    pro_loop *loop = loop_with(1, 0);
    order_of_begin = 0;
    for (int i = 0; i < 64; i++) {
        job *x = job_new(0);
        x->number = i;
        pro_run_blocking(&x->t.op, loop, note_begin, x, t_done);
    }
    t_run(loop);
    CHECK_EQ(order_of_begin, 64);
    for (int i = 0; i < 64; i++) CHECK_EQ(begun_as[i], i);
}

/* As many at once as there are threads: each waits for the last one. */
CONFORM(as_many_functions_run_at_once_as_there_may_be_threads)
{
    enum { THREADS = 3 };
    pro_loop *loop = loop_with(THREADS, 0);
    job      *jobs[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = job_that_waits(i);
        pro_run_blocking(&jobs[i]->t.op, loop, run_job, jobs[i], t_done);
    }
    for (int i = 0; i < THREADS; i++) t_event_wait(jobs[i]->began);
    for (int i = 0; i < THREADS; i++) t_event_set(jobs[i]->may_end);
    t_run(loop);
    for (int i = 0; i < THREADS; i++) {
        CHECK_DONE(&jobs[i]->t, PRO_OK, i);
        job_free(jobs[i]);
    }
}

/* Some are canceled while they wait, some as they run, some when all is over. */
CONFORM(cancel_racing_a_function_completes_it_once)
{
    enum { JOBS = 16 };
    pro_loop *loop = loop_with(2, 0);
    int       ran = 0, canceled = 0;
    for (int round = t_rounds(2000); round > 0; round--) {
        job *jobs[JOBS];
        for (int i = 0; i < JOBS; i++) {
            jobs[i] = job_new(i);
            if (t_below(4) == 0)
                jobs[i]->t.op.deadline_ns = pro_loop_now(loop) + 1 + t_below(20000);
            pro_run_blocking(&jobs[i]->t.op, loop, run_job, jobs[i], t_done);
        }
        for (int i = 0; i < JOBS; i++) {
            if (t_below(4) == 0) t_poll(loop);
            if (t_below(2) == 0) pro_cancel(&jobs[t_below(JOBS)]->t.op);
        }
        t_run(loop);
        for (int i = 0; i < JOBS; i++) {
            CHECK_EQ(jobs[i]->t.done, 1);
            CHECK_EQ(jobs[i]->ran, jobs[i]->t.error == PRO_OK);
            if (jobs[i]->ran) CHECK_EQ(jobs[i]->t.value, i);
            ran += jobs[i]->ran;
            canceled += !jobs[i]->ran;
        }
    }
    CHECK_GT(ran, 0);
    CHECK_GT(canceled, 0);
}

static void post_arrived(pro_op *op) { ((t_op *)op->user)->done++; }

struct poster {
    pro_loop *loop;
    pro_op    post;
};

static int64_t post_from_inside(void *arg)
{
    struct poster *x = arg;
    pro_post(&x->post, x->loop, post_arrived);
    return 0;
}

CONFORM(a_function_may_post_to_its_loop)
{
    pro_loop      *loop = t_loop();
    struct poster *x = t_new(struct poster);
    t_op          *t = t_new_op(), *posted = t_new_op();
    x->loop = loop;
    x->post.user = posted;
    pro_run_blocking(&t->op, loop, post_from_inside, x, t_done);
    t_run(loop);
    CHECK_DONE(t, PRO_OK, 0);
    CHECK_EQ(posted->done, 1);
}

/* A handler initiates the next one with the same operation. */
static void again(t_op *t)
{
    job *x = pro_container_of(t, job, t);
    if (t->error == PRO_OK && t->done < x->number)
        pro_run_blocking(&t->op, t->ctx, run_job, x, t_done);
}

CONFORM(an_operation_is_used_again_for_function_after_function)
{
    pro_loop *loop = t_loop();
    job      *x = job_new(3);
    x->number = t_rounds(1000);
    x->t.then = again;
    x->t.ctx = loop;
    pro_run_blocking(&x->t.op, loop, run_job, x, t_done);
    t_run(loop);
    CHECK_EQ(x->t.done, x->number);
    CHECK_EQ(x->ran, x->number);
}

static int threads_allowed;

static int no_threads(void *ctx, const char *call)
{
    (void)ctx;
    if (strcmp(call, "thread") != 0 || threads_allowed-- > 0) return 0;
    int number = 1;
    while (pro_error_from_system(number) != PRO_ENOMEM) number++;
    return number;
}

CONFORM(without_any_thread_a_function_ends_with_the_error_and_with_one_it_waits)
{
    for (threads_allowed = 0; threads_allowed < 2;) {
        int              allowed = threads_allowed;
        pro_loop_options options = t_loop_options();
        options.env.fault = no_threads;
        pro_loop *loop = t_loop_with(&options);
        job      *first = job_new(1), *second = job_new(2);
        pro_run_blocking(&first->t.op, loop, run_job, first, t_done);
        pro_run_blocking(&second->t.op, loop, run_job, second, t_done);
        t_run(loop);
        CHECK_DONE(&first->t, allowed ? PRO_OK : PRO_ENOMEM, allowed);
        CHECK_DONE(&second->t, allowed ? PRO_OK : PRO_ENOMEM, allowed * 2);
        t_loop_free(loop);
        threads_allowed = allowed + 1;
    }
}
