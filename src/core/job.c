/* Jobs; see job.h. */
#include "core/job.h"

/* Which bit of loop->native says that the engine does it. */
static uint64_t native_bit(const pri_step *step)
{
    (void)step;
    return PRI_NATIVE_JOB;
}

void pri_job_start_step(pro_op *op)
{
    pro_loop *loop = op->pri_loop;
    pri_step *step = &op->pri_kernel_step;
    if (loop->native & native_bit(step)) {
        pri_op_start(op);
        return;
    }
    step->op_state = PRI_STARTED;
    step->flags |= PRI_STEP_POOLED;
    pri_pool_start(loop, step);
}

void pri_job_start(pro_op *op, pri_job_fn *fn, void *arg)
{
    pri_step *step = &op->pri_kernel_step;
    step->kind = PRI_STEP_JOB;
    step->data = arg;
    step->len = (size_t)(uintptr_t)fn;
    pri_job_start_step(op);
}

int64_t pri_job_run(pri_step *step) { return ((pri_job_fn *)(uintptr_t)step->len)(step->data); }

void pri_job_run_done(pro_loop *loop)
{
    pri_link *next;
    for (pri_link *link = pri_loop_take(&loop->jobs); link; link = next) {
        next = link->next; /* before the record, after which the operation may be anything */
        pri_step  *step = pri_step_of_job(link);
        int64_t    result = pri_job_of(step)->result;
        pri_record record = {.step = step, .value = result > 0 ? result : 0};
        if (result < 0) record.error = (int32_t)result;
        step->flags &= (uint8_t)~PRI_STEP_POOLED;
        pri_op_record(loop, &record);
    }
}

/* Only a job that was never begun says canceled by itself: then why is the first cause. */
void pri_job_record(pro_op *op, const pri_record *record)
{
    const pri_part *part = pri_op_part(op);
    if (part) {
        part->record(op, record);
        return;
    }
    int error = record->error;
    if (error == PRO_ECANCELED && op->pri_cause) error = -(int)op->pri_cause;
    pri_op_complete(op, error, record->value);
}
