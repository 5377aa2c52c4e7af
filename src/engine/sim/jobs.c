/* Jobs in a world: no threads, but their order and their time.
 *
 * A loop has as many lanes as its pool would have threads.  A job in a lane takes a while that the seed
 * decides, then it is done, on the one thread there is, between two events.  What finds no lane free
 * waits, and can be canceled; what is in a lane cannot, as on a thread.
 *
 * Invariants:
 *   lanes_used = jobs in l->running <= pool_threads_max
 *   l->waiting is not empty  ==>  lanes_used == pool_threads_max */
#include "core/job.h"
#include "core/list.h"
#include "engine/sim/world.h"

enum { TAKES_MAX_NS = 2000000 };

/* What a step keeps while it is here. */
typedef struct __attribute__((may_alias)) sim_job {
    pri_link link;
    uint32_t number; /* 0: it waits for a lane */
} sim_job;

static sim_job *job_of(pri_step *step) { return (sim_job *)step->engine; }

static pri_step *step_of(pri_link *link)
{
    return (pri_step *)((char *)link - offsetof(pri_step, engine) - offsetof(sim_job, link));
}

static void begin(sim_loop *l, pri_step *step)
{
    pro_sim *w = l->world;
    l->lanes_used++;
    job_of(step)->number = ++l->job_last;
    pri_list_append(&l->running, &job_of(step)->link);
    uint64_t takes_ns = 1 + pri_sim_long_tail(w, &l->job_stream, TAKES_MAX_NS);
    pri_sim_push(w, w->now_ns + takes_ns, EV_JOB, l->id, 0, job_of(step)->number);
}

void pri_sim_job_start(sim_loop *l, pri_step *step, int error)
{
    if (error) {
        job_of(step)->number = UINT32_MAX; /* nothing to cancel */
        pri_sim_step_record(l, step, error);
        return;
    }
    if (l->lanes_used < l->loop->pool_threads_max) {
        begin(l, step);
        return;
    }
    job_of(step)->number = 0;
    pri_list_append(&l->waiting, &job_of(step)->link);
    atomic_fetch_add_explicit(&l->loop->jobs_queued, 1, memory_order_relaxed);
}

static void no_more_waits(sim_loop *l, pri_step *step)
{
    pri_list_unlink(&job_of(step)->link);
    atomic_fetch_sub_explicit(&l->loop->jobs_queued, 1, memory_order_relaxed);
}

bool pri_sim_job_cancel(sim_loop *l, pri_step *step)
{
    if (job_of(step)->number) return false;
    no_more_waits(l, step);
    return true;
}

void pri_sim_job_over(sim_loop *l, uint32_t number)
{
    pri_link *link = l->running.next;
    while (job_of(step_of(link))->number != number) link = link->next;
    pri_step *step = step_of(link);
    pri_list_unlink(link);
    l->lanes_used--;
    pro_sim_node *before = l->world->here;
    l->world->here = l->node;
    int64_t result = pri_job_run(step);
    l->world->here = before;
    pri_sim_step_record(l, step, result);
    if (pri_list_empty(&l->waiting)) return;
    step = step_of(l->waiting.next);
    no_more_waits(l, step);
    begin(l, step);
}
