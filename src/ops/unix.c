/* Unix sockets: as net.c and datagram.c, with names in place of addresses, and descriptors beside data. */
#include <proactor/unix.h>

#include "ops.h"

/* ---- Streams -------------------------------------------------------------------------------- */

int pro_listen_unix(pro_listener *l, pro_loop *loop, pro_scope *scope, const char *name,
                    const pro_listen_options *options)
{
    PRI_CHECKED_CALLER();
    const pri_net *net = pri_net_of(loop);
    if (!net->bind_unix) return PRO_ENOTSUP;
    if (pri_is_closing(loop, scope)) return PRO_ECANCELED;
    intptr_t fd = net->open(&loop->env, PRO_UNIX, 0, loop->engine->nonblocking);
    if (fd < 0) return pri_os_error((int)fd);
    int error = net->bind_unix(&loop->env, fd, name);
    if (!error) error = net->listen(&loop->env, fd, options ? options->backlog : 0);
    if (error) {
        net->close(&loop->env, fd, 0);
        return pri_os_error(error);
    }
    pri_handle_init(&l->handle, PRI_LISTENER, loop, scope, fd);
    return PRO_OK;
}

/* For a side object whose message has this name. */
static int fill_name(pro_loop *loop, pri_side *side, const void *to)
{
    if (!pri_net_of(loop)->bind_unix) return PRO_ENOTSUP;
    side->address = (pro_address){.family = PRO_UNIX};
    side->message.name_len = (uint32_t)pri_os_unix_out(to, side->message.name);
    return side->message.name_len ? PRO_OK : PRO_EINVAL;
}

void pro_connect_unix_at(const char *site, pro_op *op, pro_socket *s, const char *name,
                         pro_handler *done)
{
    pri_connect(site, op, &s->handle, PRO_UNIX, fill_name, name, done);
}

static int name_of(const pro_handle *handle, int peer, char *buf, size_t size)
{
    int error = pri_has_descriptor(handle);
    if (error) return error;
    pro_loop *loop = handle->pri_loop;
    if (!pri_net_of(loop)->unix_name) return PRO_ENOTSUP;
    return pri_os_error(pri_net_of(loop)->unix_name(&loop->env, handle->pri_fd, peer, buf, size));
}

int pro_socket_name(const pro_socket *s, char *buf, size_t size)
{
    return name_of(&s->handle, 0, buf, size);
}

int pro_socket_peer_name(const pro_socket *s, char *buf, size_t size)
{
    return name_of(&s->handle, 1, buf, size);
}

int pro_listener_name(const pro_listener *l, char *buf, size_t size)
{
    return name_of(&l->handle, 0, buf, size);
}

int pro_socket_credentials(const pro_socket *s, pro_credentials *who)
{
    int error = pri_has_descriptor(&s->handle);
    if (error) return error;
    pro_loop *loop = s->handle.pri_loop;
    if (!pri_net_of(loop)->credentials) return PRO_ENOTSUP;
    return pri_os_error(pri_net_of(loop)->credentials(&loop->env, s->handle.pri_fd, who));
}

/* ---- Handles -------------------------------------------------------------------------------- */

/* A begun operation over one buffer goes on with a message.  NULL: it is over. */
static pri_side *begun(pro_op *op, pri_step_kind kind, const void *buf, size_t len)
{
    pri_side *side = pri_side_take(op->pri_loop, 1);
    if (!side) {
        pri_op_finish(op, PRO_ENOMEM, 0);
        return NULL;
    }
    side->vecs[0] = (pro_vec){(void *)(uintptr_t)buf, len};
    side->from = NULL;
    side->message.name_len = 0;
    side->message.control_len = 0;
    side->message.never_waits = 0;
    pri_step *step = &op->pri_kernel_step;
    step->kind = (uint8_t)kind;
    step->flags |= PRI_STEP_VECTORS | PRI_STEP_MESSAGE | PRI_STEP_SIDE;
    step->data = side;
    step->len = len;
    return side;
}

/* Unix sockets have handles; others would lose them without a word. */
static bool has_handles(const pro_handle *handle)
{
    return pri_net_of(handle->pri_loop)->bind_unix && handle->pri_family == PRO_FAMILY_NONE;
}

void pro_send_handles_at(const char *site, pro_op *op, pro_socket *s, const void *buf, size_t len,
                         const intptr_t *descriptors, size_t count, pro_handler *done)
{
    pro_handle *handle = &s->handle;
    pri_handle_must_be_made(handle, site);
    if (!pri_op_begin(op, handle->pri_loop, handle, PRI_OP_SEND_HANDLES, site, done)) return;
    bool is_wrong = len == 0 || count == 0 || count > PRO_HANDLES_MAX;
    if (is_wrong || !has_handles(handle)) {
        pri_op_finish(op, is_wrong ? PRO_EINVAL : PRO_ENOTSUP, 0);
        return;
    }
    pri_side *side = begun(op, PRI_STEP_SEND, buf, len);
    if (!side) return;
    pri_os_control_put(&side->message, descriptors, count);
    PRI_CHECKED(buffers, op);
    pri_handle_queue(op, handle, PRI_WRITE, true);
}

void pro_recv_handles_at(const char *site, pro_op *op, pro_socket *s, void *buf, size_t len,
                         pro_handler *done)
{
    pro_handle *handle = &s->handle;
    pri_handle_must_be_made(handle, site);
    if (!pri_op_begin(op, handle->pri_loop, handle, PRI_OP_RECV_HANDLES, site, done)) return;
    if (!has_handles(handle)) {
        pri_op_finish(op, PRO_ENOTSUP, 0);
        return;
    }
    if (len == 0) {
        pri_handle_nothing(op, PRI_READ);
        return;
    }
    pri_side *side = begun(op, PRI_STEP_RECV, buf, len);
    if (!side) return;
    side->message.control_len = sizeof side->message.control;
    PRI_CHECKED(buffers, op);
    pri_handle_queue(op, handle, PRI_READ, true);
}

intptr_t pro_received_take(pro_op *op)
{
    pro_loop *loop = op->pri_loop;
    if (!loop || loop->received.op != op) return -1;
    pri_side *side = loop->received.side;
    return side ? pri_os_control_take(&side->message) : -1;
}

/* ---- Datagrams ------------------------------------------------------------------------------ */

int pro_datagram_bind_unix(pro_datagram *d, const char *name)
{
    int error = pri_has_descriptor(&d->handle);
    if (error) return error;
    pro_loop *loop = d->handle.pri_loop;
    if (!pri_net_of(loop)->bind_unix) return PRO_ENOTSUP;
    return pri_os_error(pri_net_of(loop)->bind_unix(&loop->env, d->handle.pri_fd, name));
}

int pro_datagram_connect_unix(pro_datagram *d, const char *name)
{
    int error = pri_has_descriptor(&d->handle);
    if (error) return error;
    pro_loop *loop = d->handle.pri_loop;
    if (!pri_net_of(loop)->associate_unix) return PRO_ENOTSUP;
    return pri_os_error(pri_net_of(loop)->associate_unix(&loop->env, d->handle.pri_fd, name));
}

void pro_send_to_unix_at(const char *site, pro_op *op, pro_datagram *d, const void *buf, size_t len,
                         const char *name, pro_handler *done)
{
    pro_handle *handle = &d->handle;
    pri_handle_must_be_made(handle, site);
    if (!pri_op_begin(op, handle->pri_loop, handle, PRI_OP_SEND_TO, site, done)) return;
    pri_side *side = begun(op, PRI_STEP_SEND, buf, len);
    if (!side) return;
    int error = fill_name(handle->pri_loop, side, name);
    if (error) {
        pri_op_finish(op, error, 0); /* which gives the side object back */
        return;
    }
    side->message.never_waits = 1;
    PRI_CHECKED(buffers, op);
    pri_handle_queue(op, handle, PRI_WRITE, true);
}

int pro_received_name(const pro_op *op, char *buf, size_t size)
{
    const pro_loop *loop = op->pri_loop;
    if (!loop || loop->received.op != op || !loop->received.name) return PRO_EINVAL;
    pri_os_unix_in(loop->received.name, loop->received.name_len, buf, size);
    return PRO_OK;
}
