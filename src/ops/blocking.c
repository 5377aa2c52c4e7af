/* Functions of the program's, on the loop's pool. */
#include <proactor/blocking.h>

#include "core/job.h"

void pro_run_blocking_wait_at(const char *site, pro_op *op, pro_loop *loop, pro_blocking_fn *fn,
                              void *arg, pro_handler *done)
{
    if (pri_op_begin(op, loop, NULL, PRI_OP_BLOCKING, site, done)) pri_job_start(op, fn, arg);
}

void pro_run_blocking_at(const char *site, pro_op *op, pro_loop *loop, pro_blocking_fn *fn,
                         void *arg, pro_handler *done)
{
    if (!pri_op_begin(op, loop, NULL, PRI_OP_BLOCKING, site, done)) return;
    if (atomic_load_explicit(&loop->jobs_queued, memory_order_relaxed) >= loop->pool_queue_max)
        pri_op_finish(op, PRO_EBUSY, 0);
    else
        pri_job_start(op, fn, arg);
}

void(pro_run_blocking)(pro_op *op, pro_loop *loop, pro_blocking_fn *fn, void *arg,
                       pro_handler *done)
{
    pro_run_blocking_at("?", op, loop, fn, arg, done);
}

void(pro_run_blocking_wait)(pro_op *op, pro_loop *loop, pro_blocking_fn *fn, void *arg,
                            pro_handler *done)
{
    pro_run_blocking_wait_at("?", op, loop, fn, arg, done);
}
