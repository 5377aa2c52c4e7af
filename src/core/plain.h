/* The plain way: a receive or a send over one buffer, with no deadline, on an open socket with nothing odd
 * about it, of which all goes well.  That is what nearly every operation is, so it has a way of its own
 * through the core and the engine, without lists to go through, records, or looks at what is not there:
 *
 *     begin (ops/net.c) --start_plain--> the engine ... run_plain --pri_op_run_plain--> the handler
 *
 * Nothing new is promised here, and nothing less: the contract is that of the general way (op.c,
 * handle.c), on which every operation goes on as soon as anything happens to it.  pri_step_unplain is
 * the switch, and the bit PRI_STEP_PLAIN says which way it is on.
 *
 * It is found where it must be, alone in its queue, and nowhere else: its own links are written when another one
 * comes to stand behind it (PRI_STEP_FOLLOWED: it ends on the general way), it stands in no list of its scope,
 * and neither the scope nor the handle counts it.  That is enough as long as nobody asks how much is left:
 * its handle, which is counted, stands in the list of the scope, and a scope that is open does not end.  As
 * soon as a scope begins to end, all in it goes on on the general way, and nothing new is plain
 * (PRI_HANDLE_ENDING).
 *
 * Invariants, of a step with the bit:
 *   STARTED; alone in its queue, or FOLLOWED at its head; its scope is its handle's, and open
 *   no deadline, no cause, no side object, no byte moved; the engine's words were not written
 *   op->value, op->error and op->flags are not written before its end, or before it loses the bit */
#ifndef PRI_PLAIN_H
#define PRI_PLAIN_H

#include <string.h>

#include "core/buffers.h"
#include "core/op.h"

_Static_assert(offsetof(pro_op, pri_cause) == offsetof(pro_op, error) + 7,
               "error, flags, priority (reserved) and cause are one word");

/* An open one that has had nothing happen to it: one look at two bytes. */
static inline bool pri_handle_is_plain(const pro_handle *handle)
{
    return handle->pri_state == PRI_HANDLE_OPEN && handle->pri_flags == 0;
}

/* IDLE -> STARTED, alone in its queue.  Handler, site, data and length are there.  Returns its loop. */
PRI_IN_PLACE pro_loop *pri_op_begin_plain(pro_op *op, pro_handle *handle, pri_direction direction,
                                          pri_op_kind kind)
{
    pri_step *step = &op->pri_kernel_step;
    pro_loop *loop = handle->pri_loop;
    step->kind = direction == PRI_WRITE ? PRI_STEP_SEND : PRI_STEP_RECV;
    step->flags = 0;
    step->op_state = PRI_STARTED | PRI_STEP_PLAIN;
    step->op_kind = (uint8_t)kind;
    step->generation++;
    step->handle = handle;
    op->pri_loop = loop;
    memcpy(&op->pri_correlation, (const char *)loop + offsetof(pro_loop, correlation), 16);
    if (PRI_RARELY(loop->correlation == 0)) op->pri_correlation = ++loop->correlation_last;
    loop->initiated++;
    PRI_CHECKED(begun, op, handle->pri_scope);
    handle->pri_queue[direction] = &op->pri_queue;
    PRI_CHECKED(buffers, op);
    return loop;
}

/* To the general way; by the engine, which alone knows what its words are to say. */
static inline void pri_step_unplain(pri_step *step)
{
    pro_op *op = pro_container_of(step, pro_op, pri_kernel_step);
    if (!(step->op_state & PRI_STEP_FOLLOWED)) pri_list_init(&op->pri_queue);
    step->op_state = PRI_STARTED;
    op->value = 0;
    step->handle->pri_live++;
    pri_list_append(&step->handle->pri_scope->pri_ops, &op->pri_scope);
    pri_scope_count(step->handle->pri_scope);
}

/* Does this result of a plain step make the operation complete?  What is asked first is true most often. */
static inline bool pri_step_is_over(const pri_step *step, int64_t value)
{
    return (size_t)value == step->len || (value > 0 && step->op_kind == PRI_OP_RECV);
}

/* A plain step moved all its bytes, or is a pro_recv with some: its end, and its handler. */
PRI_IN_PLACE void pri_op_run_plain(pro_loop *loop, pri_step *step, pri_direction direction,
                                   int64_t value)
{
    pro_op     *op = pro_container_of(step, pro_op, pri_kernel_step);
    pro_handle *handle = step->handle;
    pro_scope  *scope = handle->pri_scope;
    (void)scope; /* for the checks */
    PRI_CHECKED(recorded, op);
    handle->pri_queue[direction] = NULL;
    op->value = value;
    memset(&op->error, 0, 8);
    PRI_CHECKED(delivered, op);
    step->op_state = PRI_IDLE;
    loop->completed++;
    loop->correlation = op->pri_correlation;
    PRI_CHECKED(runs, op);
    loop->plain = handle;
    op->pri_done(
        op); /* no count is held for it: an open scope does not end before this turn does */
    PRI_CHECKED(ran, loop);
    PRI_CHECKED(left, scope);
}

/* A multishot receive goes on: so many bytes are in a buffer that its handler may take.  It is
 * no plain operation, only one of which nearly every completion is like this. */
PRI_IN_PLACE void pri_op_run_leased(pro_loop *loop, pri_step *step, uint32_t id, int64_t value)
{
    pro_op      *op = pro_container_of(step, pro_op, pri_kernel_step);
    pro_buffers *buffers = step->data;
    PRI_CHECKED(recorded, op);
    buffers->available--;
    loop->leased.buffers = buffers;
    loop->leased.id = id;
    loop->leased.op = op;
    loop->plain = NULL;
    op->value = value;
    op->error = PRO_OK;
    op->flags = PRO_MORE;
    loop->others++;
    loop->correlation = op->pri_correlation;
    PRI_CHECKED(runs, op);
    op->pri_done(op);
    PRI_CHECKED(ran, loop);
    if (!loop->leased.op) return;
    loop->leased.op = NULL;
    pri_buffers_give(loop->leased.buffers, loop->leased.id);
}

#endif
