/* Leased receives and waiting for a buffer: check, fill the operation, queue it. */
#include <proactor/buffers.h>

#include "core/buffers.h"
#include "core/op.h"

/* Begun; false: it has its result. */
static bool begin(const char *site, pro_op *op, pro_handle *handle, const pro_buffers *buffers,
                  pri_op_kind kind, pro_handler *done)
{
    pri_handle_must_be_made(handle, site);
    if (buffers->loop != handle->pri_loop)
        pri_abort("%s: a socket of one loop receives into a pool of another", site);
    return pri_op_begin(op, handle->pri_loop, handle, kind, site, done);
}

static void receive(const char *site, pro_op *op, pro_socket *s, pro_buffers *buffers,
                    pri_op_kind kind, pro_handler *done)
{
    pro_handle *handle = &s->handle;
    if (!begin(site, op, handle, buffers, kind, done)) return;
    if (handle->pri_flags & PRI_HANDLE_PLAIN) { /* a pipe, a terminal */
        pri_op_finish(op, PRO_ENOTSUP, 0);
        return;
    }
    pri_step *step = &op->pri_kernel_step;
    step->kind = PRI_STEP_RECV_LEASED;
    if (kind == PRI_OP_RECV_MULTI) step->flags |= PRI_STEP_MULTI;
    step->data = buffers;
    step->len = buffers->size;
    pri_handle_queue(op, handle, PRI_READ, true);
}

void pro_recv_leased_at(const char *site, pro_op *op, pro_socket *s, pro_buffers *buffers,
                        pro_handler *done)
{
    receive(site, op, s, buffers, PRI_OP_RECV_LEASED, done);
}

void pro_recv_multi_at(const char *site, pro_op *op, pro_socket *s, pro_buffers *buffers,
                       pro_handler *done)
{
    receive(site, op, s, buffers, PRI_OP_RECV_MULTI, done);
}

void pro_recv_from_multi_at(const char *site, pro_op *op, pro_datagram *d, pro_buffers *buffers,
                            pro_address *from, pro_handler *done)
{
    if (!begin(site, op, &d->handle, buffers, PRI_OP_RECV_FROM_MULTI, done)) return;
    if (buffers->size <= PRO_DATAGRAM_HEAD) {
        pri_op_finish(op, PRO_EINVAL, 0);
        return;
    }
    pri_step *step = &op->pri_kernel_step;
    step->kind = PRI_STEP_RECV_FROM_LEASED;
    step->flags |= PRI_STEP_MULTI;
    step->data = buffers;
    step->len = (uintptr_t)from; /* core/buffers.c */
    pri_handle_queue(op, &d->handle, PRI_READ, true);
}

void pro_buffers_wait_at(const char *site, pro_op *op, pro_buffers *buffers, pro_handler *done)
{
    if (!pri_op_begin(op, buffers->loop, NULL, PRI_OP_BUFFERS_WAIT, site, done)) return;
    if (buffers->available > 0) {
        pri_op_finish(op, PRO_OK, 0);
        return;
    }
    pri_op_wait(op);
    pri_buffers_wait(buffers, &op->pri_queue);
}

/* ---- Under their plain names ---------------------------------------------------------------- */

void(pro_recv_leased)(pro_op *op, pro_socket *s, pro_buffers *buffers, pro_handler *done)
{
    pro_recv_leased_at("?", op, s, buffers, done);
}

void(pro_recv_multi)(pro_op *op, pro_socket *s, pro_buffers *buffers, pro_handler *done)
{
    pro_recv_multi_at("?", op, s, buffers, done);
}

void(pro_recv_from_multi)(pro_op *op, pro_datagram *d, pro_buffers *buffers, pro_address *from,
                          pro_handler *done)
{
    pro_recv_from_multi_at("?", op, d, buffers, from, done);
}

void(pro_buffers_wait)(pro_op *op, pro_buffers *buffers, pro_handler *done)
{
    pro_buffers_wait_at("?", op, buffers, done);
}
