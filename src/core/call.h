/* Calls: kernel steps beside the queues of a handle.  Operations of files are of this kind: any number
 * of one handle may be started at once, and end in any order.
 *
 * An operation fills the pri_call of its side object and starts it; the result is handed to call->record,
 * which finishes the operation or starts its next step.  While it lives it stands in the read queue of
 * its handle, if it has one, for who cancels all of them. */
#ifndef PRI_CALL_H
#define PRI_CALL_H

#include "core/job.h"

/* The call of a begun operation, in a side object with room for count vectors that is given back when
 * its result stands.  NULL: it is finished already (PRO_ENOTSUP, PRO_ENOMEM). */
pri_call *pri_call_new(pro_op *op, size_t count,
                       void (*record)(pro_op *op, const pri_record *record));

/* QUEUED or STARTED -> STARTED: what the call says, on the engine or a thread. */
void pri_call_start(pro_op *op, pri_call_what what);

/* From call->record, as the last thing: the result, and the handler. */
void pri_call_finish(pro_op *op, int error, int64_t value);

/* The usual end of a single call: its error, or the first cause if that ended it. */
int pri_call_error(const pro_op *op, const pri_record *record);

static inline pri_side *pri_call_side(const pro_op *op) { return op->pri_kernel_step.data; }
static inline pri_call *pri_call_of(const pro_op *op) { return &pri_call_side(op)->call; }

/* A file closes, and nothing of it is in flight: close its descriptor, then end the handle. */
void pri_call_close(pro_handle *handle);

#endif
