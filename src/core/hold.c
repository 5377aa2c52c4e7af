/* Zero-copy sends: what goes on between "the bytes went" and "the memory is free".
 *
 * The happy path: a record with MORE says that the bytes went and the kernel still reads them.  The send is
 * HELD, and stays where it is at the front of its queue; the next one may start behind it, if it is of this
 * kind too.  A record without a value says that the memory is free, and completes it.
 *
 * What can come between:
 *   - the memory of a later one is free first: its result stands, and waits for those before it, so that
 *     handlers run in the order of initiation;
 *   - the system took a part only: the rest goes when that part is free;
 *   - the engine copied after all, or the system did not want to: one record, without MORE;
 *   - a cause: nothing frees that memory but the peer's acknowledgement, or a reset.  Waiting for the peer
 *     would make a close, a deadline and a cancel last as long as a peer likes; so it is the reset.
 *
 * Invariants:
 *   pri_held == so many at the front of the write queue that are HELD, but for one with a rest to send
 *   HELD                     ==>  kind == SEND_ZEROCOPY
 *   HELD, step->kind SEND   <==>  the engine owes it a record without a value
 *   HELD, step->kind NONE   <==>  its result stands, and one before it has none yet */
#include "core/op.h"

static pro_op *first_of(const pro_handle *handle)
{
    return pro_container_of(handle->pri_queue[PRI_WRITE], pro_op, pri_queue);
}

static int cause_of(const pro_op *op) { return op->pri_cause ? -(int)op->pri_cause : PRO_OK; }

/* The connection ends here and now, whatever stands in its buffers; its descriptor stays. */
static void reset(pro_handle *handle)
{
    pro_loop *loop = handle->pri_loop;
    handle->pri_flags |= PRI_HANDLE_HOLE | PRI_HANDLE_LOST;
    loop->net->associate(&loop->env, handle->pri_fd, NULL);
}

/* One of those in pri_held has its result.  If it is the first, it completes, and so do those behind it that
 * waited for it. */
static void stands(pro_op *op, int error)
{
    pro_handle *handle = op->pri_kernel_step.handle;
    pri_handle_sent(handle, error, op->value);
    op->error = error;
    op->pri_kernel_step.kind = PRI_STEP_NONE;
    if (first_of(handle) != op) return;
    /* At once, all of them, as any send completes: what starts behind them may be over in this turn, too.  As
     * long as there is another one the handle is there, whatever its handler does. */
    for (bool is_last = false; !is_last;) {
        op = first_of(handle);
        pri_op_unqueue(op);
        handle->pri_held--;
        is_last = handle->pri_held == 0 || first_of(handle)->pri_kernel_step.kind != PRI_STEP_NONE;
        if (is_last) pri_handle_start(handle, PRI_WRITE);
        pri_op_complete(op, op->error, op->value);
    }
}

void pri_hold_record(pro_op *op, const pri_record *record)
{
    pri_step   *step = &op->pri_kernel_step;
    pro_handle *handle = step->handle;
    if (pri_op_state_of(op) == PRI_HELD && step->len == 0) {
        stands(op, cause_of(op));
        return;
    }
    pri_handle_heard(handle, record->error);
    op->value += record->value;
    if (record->value > 0) pri_step_advance(step, (size_t)record->value);
    step->op_state = PRI_HELD;
    if (record->flags & PRI_RECORD_MORE) {
        if (op->pri_cause) reset(handle);
        if (step->len > 0) return;
        handle->pri_held++;
        pri_handle_start(handle, PRI_WRITE);
        return;
    }
    int error = op->pri_cause ? cause_of(op) : record->error;
    if (step->len > 0 && !error) {
        pri_op_start(op);
        return;
    }
    handle->pri_held++;
    stands(op, step->len > 0 ? error : PRO_OK);
}

void pri_hold_canceled(pro_op *op) { reset(op->pri_kernel_step.handle); }
