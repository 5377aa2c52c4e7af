/* The pool of a loop: threads that do its jobs (core/job.h), oldest first.
 *
 * A thread is started when a job finds none idle, up to the loop's limit; one that idles for IDLE_NS
 * ends, and is joined by whoever needs its place, at the latest by the end of the loop.  All of it
 * stands behind one monitor, which is never held while a job runs.
 *
 * Invariants, inside the monitor:
 *   loop->jobs_queued = length of queue
 *   idle             <= live <= threads_max
 *   a thread that is woken and one that begins look at the queue before they wait, so that
 *   jobs_queued > 0   ==>  a thread is on its way to the queue, or all of them are busy
 *
 * Beyond the limits: threads_max, more jobs wait; the queue itself is made of operations and needs no
 * memory, and who must not wait in it asks jobs_queued (ops/blocking.c).  If no thread at all can be
 * had, a job ends with the error; if one is there, jobs wait for it. */
#include <string.h>

#include "core/job.h"
#include "core/list.h"
#include "os/thread.h"

#define IDLE_NS (5 * PRO_SEC)

typedef struct worker {
    struct pri_pool *pool;
    pri_thread      *thread; /* NULL: no thread, or none that is not joined */
    bool             is_over;
} worker;

typedef struct pri_pool {
    pro_loop    *loop;
    pri_monitor *monitor;
    pri_link     queue;
    unsigned     idle, live;
    bool         is_ending;
    worker       workers[];
} pri_pool;

static void count_queued(pro_loop *loop, int change)
{
    atomic_fetch_add_explicit(&loop->jobs_queued, (unsigned)change, memory_order_relaxed);
}

/* ---- The threads ---------------------------------------------------------------------------- */

/* Inside: the next job; NULL: the thread is to end. */
static pri_step *next_job(pri_pool *pool)
{
    while (pri_list_empty(&pool->queue)) {
        if (pool->is_ending) return NULL;
        pool->idle++;
        bool was_woken = pri_os_monitor_wait(pool->monitor, IDLE_NS);
        pool->idle--;
        if (!was_woken && pri_list_empty(&pool->queue)) return NULL;
    }
    pri_step *step = pri_step_of_job(pri_list_pop(&pool->queue));
    count_queued(pool->loop, -1);
    pri_job_of(step)->state = PRI_JOB_RUNNING;
    return step;
}

static void work(void *arg)
{
    worker   *me = arg;
    pri_pool *pool = me->pool;
    pri_step *step;
    pri_os_monitor_enter(pool->monitor);
    while ((step = next_job(pool)) != NULL) {
        pri_os_monitor_leave(pool->monitor);
        pri_job_of(step)->result = pri_job_run(step);
        pri_job_done(pool->loop, step); /* from here on it is the loop's */
        pri_os_monitor_enter(pool->monitor);
    }
    pool->live--;
    me->is_over = true;
    pri_os_monitor_leave(pool->monitor);
}

/* Inside: one more thread, in the place of one that ended if there is such.  0, or a negated number. */
static int start_thread(pri_pool *pool)
{
    worker *w = pool->workers;
    while (w->thread && !w->is_over) w++;
    if (w->thread) pri_os_threads.join(w->thread); /* it has left the monitor for the last time */
    w->thread = NULL;
    w->is_over = false;
    int error = pri_os_fault(&pool->loop->env, "thread");
    if (!error) error = pri_os_threads.start(&w->thread, "blocking", -1, work, w);
    if (!error) pool->live++;
    return error;
}

/* ---- From the loop's thread ----------------------------------------------------------------- */

static pri_pool *pool_of(pro_loop *loop)
{
    if (loop->pool) return loop->pool;
    size_t    size = sizeof(pri_pool) + loop->pool_threads_max * sizeof(worker);
    pri_pool *pool = pri_env_realloc(&loop->env, NULL, size);
    if (!pool) return NULL;
    memset(pool, 0, size);
    pool->loop = loop;
    pri_list_init(&pool->queue);
    for (unsigned i = 0; i < loop->pool_threads_max; i++) pool->workers[i].pool = pool;
    pool->monitor = pri_os_monitor_new();
    if (!pool->monitor) {
        pri_env_realloc(&loop->env, pool, 0);
        return NULL;
    }
    return loop->pool = pool;
}

/* Without having run. */
static void end_job(pro_loop *loop, pri_step *step, int error)
{
    pri_job_of(step)->state = PRI_JOB_DONE;
    pri_job_of(step)->result = error;
    pri_job_done(loop, step);
}

void pri_pool_start(pro_loop *loop, pri_step *step)
{
    pri_pool *pool = pool_of(loop);
    int       error = pool ? PRO_OK : PRO_ENOMEM;
    pri_job_of(step)->system = 0;
    if (pool) {
        pri_os_monitor_enter(pool->monitor);
        pri_job_of(step)->state = PRI_JOB_QUEUED;
        pri_list_append(&pool->queue, &pri_job_of(step)->link);
        count_queued(loop, 1);
        if (loop->jobs_queued > pool->idle && pool->live < loop->pool_threads_max)
            error = pri_os_error(start_thread(pool));
        else
            pri_os_monitor_wake(pool->monitor, false);
        if (pool->live > 0) error = PRO_OK;
        if (error) {
            pri_list_unlink(&pri_job_of(step)->link);
            count_queued(loop, -1);
        }
        pri_os_monitor_leave(pool->monitor);
    }
    if (error) end_job(loop, step, error);
}

void pri_pool_cancel(pro_loop *loop, pri_step *step)
{
    if (!loop->pool) return; /* it ended without one */
    pri_os_monitor_enter(loop->pool->monitor);
    bool is_queued = pri_job_of(step)->state == PRI_JOB_QUEUED;
    if (is_queued) {
        pri_list_unlink(&pri_job_of(step)->link);
        count_queued(loop, -1);
        pri_job_of(step)->state = PRI_JOB_DONE;
    }
    pri_os_monitor_leave(loop->pool->monitor);
    if (is_queued) end_job(loop, step, PRO_ECANCELED);
}

void pri_pool_end(pro_loop *loop)
{
    pri_pool *pool = loop->pool;
    if (!pool) return;
    pri_os_monitor_enter(pool->monitor);
    pool->is_ending = true;
    pri_os_monitor_wake(pool->monitor, true);
    pri_os_monitor_leave(pool->monitor);
    for (unsigned i = 0; i < loop->pool_threads_max; i++)
        if (pool->workers[i].thread) pri_os_threads.join(pool->workers[i].thread);
    pri_os_monitor_free(pool->monitor);
    loop->pool = NULL;
    pri_env_realloc(&loop->env, pool, 0);
}
