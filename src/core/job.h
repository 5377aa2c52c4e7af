/* Jobs: steps that wait or compute, and so are not done on the loop's thread.
 *
 * A job is done where the engine does it by itself (pri_loop_set_native), else by a thread of the
 * loop's pool (src/shard/pool.c).  Either way its operation is STARTED, and its result is a record:
 *
 *     pri_job_start --> [pool: queued --> running] --> loop->jobs, the second stack beside the posts
 *                                                      --> pri_job_run_done --> pri_job_record
 *
 * Invariants, of a job on the pool (its words):
 *   state == JOB_QUEUED   <==>  it stands in the pool's queue; guarded by the pool's monitor
 *   state == JOB_RUNNING   ==>  a thread has it, and will push it to loop->jobs; nothing cuts that
 *   it is pushed to loop->jobs exactly once: by its thread, or by the cancel that found it queued */
#ifndef PRI_JOB_H
#define PRI_JOB_H

#include "core/op.h"

/* A value >= 0, or one of our errors. */
typedef int64_t pri_job_fn(void *arg);

typedef enum pri_job_state { PRI_JOB_QUEUED, PRI_JOB_RUNNING, PRI_JOB_DONE } pri_job_state;

/* What a step keeps in its engine words while the pool has it. */
typedef struct __attribute__((may_alias)) pri_job {
    pri_link      link;   /* of the pool's queue; next also of loop->jobs */
    int64_t       result; /* a value, or one of our errors */
    pri_job_state state;
    int32_t       system; /* the system's number behind the error */
} pri_job;

_Static_assert(sizeof(pri_job) <= sizeof(((pri_step *)NULL)->engine), "a step has room for it");

static inline pri_job *pri_job_of(pri_step *step) { return (pri_job *)step->engine; }

static inline pri_step *pri_step_of_job(pri_link *link)
{
    return (pri_step *)((char *)link - offsetof(pri_step, engine) - offsetof(pri_job, link));
}

/* Start a begun operation as fn(arg): QUEUED -> STARTED.  It completes with what fn returned (a
 * negative one is the error), or without a run of fn if it was canceled before.  With PRI_STEP_PART
 * set, arg begins with a pri_part, whose record sees the result to its end. */
void pri_job_start(pro_op *op, pri_job_fn *fn, void *arg);

/* Start a begun operation whose step is filled, and is a job: JOB or CALL. */
void pri_job_start_step(pro_op *op);

/* Start an operation whose step the pool is to do, whatever the engine can; but one that does jobs by itself
 * does this one, too: a receive or a send on a stream that is a file. */
void pri_job_start_pooled(pro_op *op);

/* The same without doing it: this is its result. */
void pri_job_refuse(pro_op *op, int error);

/* On the thread that does it: what the step is about.  A value, or one of our errors. */
int64_t pri_job_run(pri_step *step);

/* Take what is done and record it. */
void pri_job_run_done(pro_loop *loop);

/* A record of a job, wherever it was done. */
void pri_job_record(pro_op *op, const pri_record *record);

/* From any thread: this job has its result. */
static inline void pri_job_done(pro_loop *loop, pri_step *step)
{
    pri_loop_push(loop, &loop->jobs, &pri_job_of(step)->link);
}

/* src/shard/pool.c ------------------------------------------------------------------------------ */

/* The step goes to a thread, when one is free.  Never fails: an error is its result. */
void pri_pool_start(pro_loop *loop, pri_step *step);

/* If it still waits for a thread it will be recorded as canceled; else nothing happens. */
void pri_pool_cancel(pro_loop *loop, pri_step *step);

/* No job is left, and the threads end. */
void pri_pool_end(pro_loop *loop);

#endif
