/* Datagrams: as net.c, for what is sent and received whole.  A name beside the data goes through a
 * side object; without one, and over one buffer, the step is that of a stream. */
#include <proactor/datagram.h>

#include "ops.h"

/* ---- Making them ---------------------------------------------------------------------------- */

int pro_datagram_open(pro_datagram *d, pro_loop *loop, pro_scope *scope, pro_family family)
{
    PRI_CHECKED_CALLER();
    int error = pri_open_handle(&d->handle, PRI_DATAGRAM, loop, scope, family);
    if (error || family != PRO_IPV6) return error;
    /* The same everywhere, whatever the system's setting; only a system without it refuses. */
    pri_net_of(loop)->set(&loop->env, d->handle.pri_fd, PRI_OPT_V6ONLY, 0);
    return PRO_OK;
}

int pro_datagram_adopt(pro_datagram *d, pro_loop *loop, pro_scope *scope, intptr_t descriptor)
{
    PRI_CHECKED_CALLER();
    return pri_adopt_handle(&d->handle, PRI_DATAGRAM, loop, scope, descriptor);
}

int pro_datagram_bind(pro_datagram *d, const pro_address *address)
{
    int error = pri_has_descriptor(&d->handle);
    if (error) return error;
    pro_loop *loop = d->handle.pri_loop;
    return pri_os_error(pri_net_of(loop)->bind(&loop->env, d->handle.pri_fd, address));
}

int pro_datagram_connect(pro_datagram *d, const pro_address *address)
{
    int error = pri_has_descriptor(&d->handle);
    if (error) return error;
    pro_loop *loop = d->handle.pri_loop;
    if (!pri_net_of(loop)->associate) return PRO_ENOTSUP;
    return pri_os_error(pri_net_of(loop)->associate(&loop->env, d->handle.pri_fd, address));
}

int pro_datagram_local(const pro_datagram *d, pro_address *address)
{
    return pri_local_of(&d->handle, address);
}

int pro_datagram_peer(const pro_datagram *d, pro_address *address)
{
    return pri_peer_of(&d->handle, address);
}

intptr_t pro_datagram_descriptor(const pro_datagram *d) { return pri_descriptor_of(&d->handle); }

/* ---- Options -------------------------------------------------------------------------------- */

/* As the network knows it; -1: none that datagrams have. */
static int option_of(const pro_handle *handle, pro_option option)
{
    int of_family = handle->pri_family == PRO_IPV6 ? PRI_OPT_OF_IPV6 : 0;
    switch (option) {
    case PRO_OPT_SEND_BUFFER:
    case PRO_OPT_RECV_BUFFER:
    case PRO_OPT_REUSE_ADDRESS:
    case PRO_OPT_BROADCAST: return (int)option;
    case PRO_OPT_REUSE_PORT: return PRI_OPT_REUSE_PORT;
    case PRO_OPT_V6ONLY: return PRI_OPT_V6ONLY;
    case PRO_OPT_HOPS:
    case PRO_OPT_MULTICAST_HOPS:
    case PRO_OPT_MULTICAST_LOOP:
    case PRO_OPT_MULTICAST_INTERFACE: return of_family + (int)option;
    default: return -1;
    }
}

int pro_datagram_set(pro_datagram *d, pro_option option, int value)
{
    int error = pri_has_descriptor(&d->handle);
    if (error) return error;
    int number = option_of(&d->handle, option);
    if (number < 0 || value < 0) return PRO_EINVAL;
    pro_loop *loop = d->handle.pri_loop;
    return pri_os_error(pri_net_of(loop)->set(&loop->env, d->handle.pri_fd, number, value));
}

int pro_datagram_get(const pro_datagram *d, pro_option option, int *value)
{
    int error = pri_has_descriptor(&d->handle);
    if (error) return error;
    int number = option_of(&d->handle, option);
    if (number < 0) return PRO_EINVAL;
    pro_loop *loop = d->handle.pri_loop;
    return pri_os_error(pri_net_of(loop)->get(&loop->env, d->handle.pri_fd, number, value));
}

static int group(const pro_datagram *d, int join, const pro_address *of, const pro_address *source,
                 uint32_t interface_index)
{
    int error = pri_has_descriptor(&d->handle);
    if (error) return error;
    pro_loop *loop = d->handle.pri_loop;
    if (!pri_net_of(loop)->group) return PRO_ENOTSUP;
    return pri_os_error(
        pri_net_of(loop)->group(&loop->env, d->handle.pri_fd, join, of, source, interface_index));
}

int pro_datagram_join(pro_datagram *d, const pro_address *address, const pro_address *source,
                      uint32_t interface_index)
{
    return group(d, 1, address, source, interface_index);
}

int pro_datagram_leave(pro_datagram *d, const pro_address *address, const pro_address *source,
                       uint32_t interface_index)
{
    return group(d, 0, address, source, interface_index);
}

/* ---- Receiving and sending ------------------------------------------------------------------ */

static void begun(pro_op *op, pri_step_kind kind, uint8_t flags, void *data, size_t len)
{
    pri_step     *step = &op->pri_kernel_step;
    pri_direction direction = kind == PRI_STEP_SEND ? PRI_WRITE : PRI_READ;
    step->kind = (uint8_t)kind;
    step->flags |= flags;
    step->data = data;
    step->len = len;
    if (len == 0 && direction == PRI_READ) {
        pri_handle_nothing(op, direction);
        return;
    }
    PRI_CHECKED(buffers, op);
    pri_handle_queue(op, step->handle, direction, true);
}

static void receive(const char *site, pro_op *op, pro_datagram *d, const pro_vec *vecs,
                    size_t count, pro_address *from, pro_handler *done)
{
    pri_handle_must_be_made(&d->handle, site);
    pro_loop *loop = d->handle.pri_loop;
    size_t    total;
    int       error;
    if (!pri_op_begin(op, loop, &d->handle, PRI_OP_RECV_FROM, site, done)) return;
    pri_side *side = pri_side_of_vectors(loop, vecs, count, &total, &error);
    if (!side) {
        pri_op_finish(op, error, 0);
        return;
    }
    side->from = from;
    side->message.name_len = from ? sizeof side->message.name : 0;
    side->message.control_len = 0;
    begun(op, PRI_STEP_RECV, PRI_STEP_VECTORS | PRI_STEP_MESSAGE | PRI_STEP_SIDE, side, total);
}

static void send(const char *site, pro_op *op, pro_datagram *d, const pro_vec *vecs, size_t count,
                 const pro_address *to, pro_handler *done)
{
    pri_handle_must_be_made(&d->handle, site);
    pro_loop *loop = d->handle.pri_loop;
    size_t    total;
    int       error;
    if (!pri_op_begin(op, loop, &d->handle, PRI_OP_SEND_TO, site, done)) return;
    pri_side *side = pri_side_of_vectors(loop, vecs, count, &total, &error);
    if (!side) {
        pri_op_finish(op, error, 0);
        return;
    }
    side->message.name_len = 0;
    side->message.control_len = 0;
    side->message.never_waits = 0;
    side->address = (pro_address){.family = PRO_FAMILY_NONE};
    if (to) {
        side->address = *to;
        side->message.name_len = (uint32_t)pri_os_address_out(to, side->message.name);
        if (side->message.name_len == 0) {
            pri_side_give(loop, side);
            pri_op_finish(op, PRO_EAFNOSUPPORT, 0);
            return;
        }
    }
    begun(op, PRI_STEP_SEND, PRI_STEP_VECTORS | PRI_STEP_MESSAGE | PRI_STEP_SIDE, side, total);
}

void pro_recv_from_at(const char *site, pro_op *op, pro_datagram *d, void *buf, size_t len,
                      pro_address *from, pro_handler *done)
{
    receive(site, op, d, &(pro_vec){buf, len}, 1, from, done);
}

void pro_recvv_from_at(const char *site, pro_op *op, pro_datagram *d, const pro_vec *vecs,
                       size_t count, pro_address *from, pro_handler *done)
{
    receive(site, op, d, vecs, count, from, done);
}

void pro_send_to_at(const char *site, pro_op *op, pro_datagram *d, const void *buf, size_t len,
                    const pro_address *to, pro_handler *done)
{
    send(site, op, d, &(pro_vec){(void *)(uintptr_t)buf, len}, 1, to, done);
}

void pro_sendv_to_at(const char *site, pro_op *op, pro_datagram *d, const pro_vec *vecs,
                     size_t count, const pro_address *to, pro_handler *done)
{
    send(site, op, d, vecs, count, to, done);
}

/* ---- Batches -------------------------------------------------------------------------------- */

static void batch(const char *site, pro_op *op, pro_datagram *d, pri_op_kind kind,
                  pro_message *messages, size_t count, pro_handler *done)
{
    pri_handle_must_be_made(&d->handle, site);
    bool is_send = kind == PRI_OP_SEND_BATCH;
    if (!pri_op_begin(op, d->handle.pri_loop, &d->handle, kind, site, done)) return;
    if (count > PRO_BATCH_MAX) {
        pri_op_finish(op, PRO_EINVAL, 0);
        return;
    }
    if (count == 0) {
        pri_handle_nothing(op, is_send ? PRI_WRITE : PRI_READ);
        return;
    }
    begun(op, is_send ? PRI_STEP_SEND : PRI_STEP_RECV, PRI_STEP_BY_CALL, messages, count);
}

void pro_recv_batch_at(const char *site, pro_op *op, pro_datagram *d, pro_message *messages,
                       size_t count, pro_handler *done)
{
    batch(site, op, d, PRI_OP_RECV_BATCH, messages, count, done);
}

void pro_send_batch_at(const char *site, pro_op *op, pro_datagram *d, pro_message *messages,
                       size_t count, pro_handler *done)
{
    batch(site, op, d, PRI_OP_SEND_BATCH, messages, count, done);
}

/* ---- Closing, canceling --------------------------------------------------------------------- */

void pro_datagram_close_at(const char *site, pro_op *op, pro_datagram *d, pro_handler *done)
{
    pri_handle_close_op(site, op, &d->handle, false, done);
}

void pro_datagram_cancel(pro_datagram *d)
{
    if (d->handle.pri_state == PRI_HANDLE_OPEN) pri_handle_cancel(&d->handle, PRO_ECANCELED);
}
