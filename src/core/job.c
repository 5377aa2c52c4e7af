/* Jobs; see job.h. */
#include "core/job.h"

#include <proactor/file.h>

/* Which bit of loop->native says that the engine does it.  Opening for direct I/O asks for alignments
 * too, opening a temporary file may take several attempts: the one function that knows has it. */
static uint64_t native_bit(const pri_step *step)
{
    if (step->kind == PRI_STEP_JOB) return PRI_NATIVE_JOB;
    const pri_side *side = step->data;
    const pri_call *call = &side->call;
    bool            is_long = call->flags & (PRO_FILE_DIRECT | PRI_FILE_TEMPORARY);
    if (call->what == PRI_CALL_FILE_OPEN && is_long) return PRI_NATIVE_LONG_OPEN;
    return UINT64_C(1) << call->what;
}

void pri_job_start_step(pro_op *op)
{
    pro_loop *loop = op->pri_loop;
    pri_step *step = &op->pri_kernel_step;
    if (loop->native & native_bit(step)) {
        pri_op_start(op);
        return;
    }
    pri_job_start_pooled(op);
}

void pri_job_start_pooled(pro_op *op)
{
    pri_step *step = &op->pri_kernel_step;
    if (op->pri_loop->native & PRI_NATIVE_JOB) {
        pri_op_start(op);
        return;
    }
    step->op_state = PRI_STARTED;
    step->flags |= PRI_STEP_POOLED;
    pri_pool_start(op->pri_loop, step);
}

void pri_job_start(pro_op *op, pri_job_fn *fn, void *arg)
{
    pri_step *step = &op->pri_kernel_step;
    step->kind = PRI_STEP_JOB;
    step->data = arg;
    step->len = (size_t)(uintptr_t)fn;
    pri_job_start_step(op);
}

void pri_job_refuse(pro_op *op, int error)
{
    pri_step *step = &op->pri_kernel_step;
    step->op_state = PRI_STARTED;
    step->flags |= PRI_STEP_POOLED;
    *pri_job_of(step) = (pri_job){.state = PRI_JOB_DONE, .result = error};
    pri_job_done(op->pri_loop, step);
}

/* A receive or a send on a stream that is a file. */
static int64_t transfer(const pri_engine *engine, const pri_step *step)
{
    bool           in = step->kind == PRI_STEP_RECV;
    const pro_vec  whole = {step->data, step->len};
    pri_side      *side = step->flags & PRI_STEP_VECTORS ? step->data : NULL;
    const pro_vec *vecs = side ? &side->vecs[side->first] : &whole;
    size_t         count = side ? side->count - side->first : 1;
    pri_call       call = {.what = in ? PRI_CALL_FILE_READ : PRI_CALL_FILE_WRITE,
                           .fd = step->handle->pri_fd,
                           .offset = PRI_CALL_AT_POSITION};
    return engine->call(&call, vecs, count);
}

int64_t pri_job_run(pri_step *step)
{
    if (step->kind == PRI_STEP_JOB) return ((pri_job_fn *)(uintptr_t)step->len)(step->data);
    const pri_engine *engine = pro_container_of(step, pro_op, pri_kernel_step)->pri_loop->engine;
    pri_side         *side = step->data;
    int64_t           result =
        step->kind == PRI_STEP_CALL
                      ? engine->call(&side->call, &side->vecs[side->first], side->count - side->first)
                      : transfer(engine, step);
    if (result >= 0) return result;
    pri_job_of(step)->system = (int32_t)-result;
    return pri_os_error((int)result);
}

void pri_job_run_done(pro_loop *loop)
{
    pri_link *next;
    for (pri_link *link = pri_loop_take(&loop->jobs); link; link = next) {
        next = link->next; /* before the record, after which the operation may be anything */
        pri_step  *step = pri_step_of_job(link);
        int64_t    result = pri_job_of(step)->result;
        pri_record record = {.step = step, .value = result > 0 ? result : 0};
        if (result < 0) record.error = (int32_t)result;
        record.system = pri_job_of(step)->system;
        step->flags &= (uint8_t)~PRI_STEP_POOLED;
        pri_op_run_records(loop, &record, 1);
    }
}

/* Only a job that was never begun says canceled by itself: then why is the first cause. */
void pri_job_record(pro_op *op, const pri_record *record)
{
    if (op->pri_kernel_step.kind == PRI_STEP_CALL) {
        const pri_side *side = op->pri_kernel_step.data;
        side->call.record(op, record);
        return;
    }
    const pri_part *part = pri_op_part(op);
    if (part) {
        part->record(op, record);
        return;
    }
    int error = record->error;
    if (error == PRO_ECANCELED && op->pri_cause) error = -(int)op->pri_cause;
    pri_op_complete(op, error, record->value);
}
