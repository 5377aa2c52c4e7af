/* Calls; see call.h. */
#include "core/call.h"

#include <proactor/file.h>

#include <string.h>

#include "core/list.h"

static const char *const names[] = {"thread",
#define NAME(what, name) name,
                                    PRI_CALLS(NAME)
#undef NAME
};

pri_call *pri_call_new(pro_op *op, size_t count,
                       void (*record)(pro_op *op, const pri_record *record))
{
    pro_loop   *loop = op->pri_loop;
    pri_step   *step = &op->pri_kernel_step;
    pro_handle *handle = step->handle;
    pri_side   *side = loop->engine->call ? pri_side_take(loop, count) : NULL;
    if (!side) {
        pri_op_finish(op, loop->engine->call ? PRO_ENOMEM : PRO_ENOTSUP, 0);
        return NULL;
    }
    memset(&side->call, 0, sizeof side->call);
    side->call.record = record;
    side->call.fd = handle ? handle->pri_fd : -1;
    step->kind = PRI_STEP_CALL;
    step->data = side;
    step->flags |= PRI_STEP_SIDE;
    pri_list_init(&op->pri_queue);
    if (handle) pri_queue_append(&handle->pri_queue[PRI_READ], &op->pri_queue);
    return &side->call;
}

void pri_call_start(pro_op *op, pri_call_what what)
{
    pri_call_of(op)->what = (uint8_t)what;
    /* Not of a close, which would leak. */
    int fault = what == PRI_CALL_FILE_CLOSE ? 0 : pri_os_fault(&op->pri_loop->env, names[what]);
    if (fault)
        pri_job_refuse(op, pri_os_error(fault));
    else
        pri_job_start_step(op);
}

void pri_call_finish(pro_op *op, int error, int64_t value)
{
    pri_op_unqueue(op);
    pri_op_complete(op, error, value);
}

int pri_call_error(const pro_op *op, const pri_record *record)
{
    return record->error && op->pri_cause ? -(int)op->pri_cause : record->error;
}

/* ---- Closing -------------------------------------------------------------------------------- */

/* The operation that closes is the library's own: it lives in the room for vectors of the side object
 * that was put by as the file was opened, so that closing needs no memory. */
static pro_op *closing_op(pri_side *side) { return (pro_op *)(void *)side->vecs; }

_Static_assert(sizeof(pro_op) <= PRI_SIDE_SMALL * sizeof(pro_vec), "it has room");

/* The last that is done with its memory. */
static void closed(pro_op *op) { pri_side_give(op->pri_loop, pri_call_side(op)); }

static void close_record(pro_op *op, const pri_record *record)
{
    pri_call *call = pri_call_of(op);
    pri_handle_ended(call->out, record->error);
    pri_call_finish(op, PRO_OK, 0);
}

void pri_call_close(pro_handle *handle)
{
    pro_file *file = pro_container_of(handle, pro_file, handle);
    pri_side *side = file->pri_side;
    pro_op   *op = closing_op(side);
    file->pri_side = NULL;
    memset(op, 0, sizeof *op);
    side->call = (pri_call){.fd = handle->pri_fd, .out = handle, .record = close_record};
    handle->pri_fd = -1;
    op->scope = handle->pri_scope;
    pri_op_prepare(op, NULL, op->scope, PRI_STEP_CALL, PRI_OP_CLOSE, file->pri_site, closed);
    op->pri_kernel_step.data = side;
    pri_list_init(&op->pri_queue);
    pri_call_start(op, PRI_CALL_FILE_CLOSE);
}
