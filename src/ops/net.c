/* TCP: check the arguments, fill the operation, queue it.  Everything that waits goes through
 * pri_op_begin and pri_handle_queue; the rest are synchronous calls of the engine's network. */
#include <proactor/memory.h>
#include <proactor/net.h>

#include <string.h>

#include "core/plain.h"
#include "ops.h"

/* ---- Sockets -------------------------------------------------------------------------------- */

void pro_socket_init(pro_socket *s, pro_loop *loop, pro_scope *scope)
{
    PRI_CHECKED_CALLER();
    pri_handle_init(&s->handle, PRI_SOCKET, loop, scope, -1);
}

/* A descriptor for a handle that has none.  0, or a negated system number. */
static int open_descriptor(pro_loop *loop, int family, pri_handle_kind kind, intptr_t *fd)
{
    /* A listener is asked for much as it begins and for nothing later: no slot is worth it. */
    const pri_net *net = kind == PRI_LISTENER ? loop->engine->net : loop->net;
    *fd = net->open(&loop->env, family, kind == PRI_DATAGRAM, loop->engine->nonblocking);
    return *fd < 0 ? (int)*fd : 0;
}

int pri_open_handle(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                    int family)
{
    intptr_t fd;
    if (pri_is_closing(loop, scope)) return PRO_ECANCELED;
    int error = open_descriptor(loop, family, kind, &fd);
    if (error) return pri_os_error(error);
    pri_handle_init(handle, kind, loop, scope, fd);
    handle->pri_family = family == PRO_UNIX ? PRO_FAMILY_NONE : (uint8_t)family;
    return PRO_OK;
}

int pro_socket_open(pro_socket *s, pro_loop *loop, pro_scope *scope, pro_family family)
{
    PRI_CHECKED_CALLER();
    return pri_open_handle(&s->handle, PRI_SOCKET, loop, scope, family);
}

int pro_socket_bind(pro_socket *s, const pro_address *address)
{
    int error = pri_has_descriptor(&s->handle);
    if (error) return error;
    pro_loop *loop = s->handle.pri_loop;
    return pri_os_error(pri_net_of(loop)->bind(&loop->env, s->handle.pri_fd, address));
}

int pri_leave_slot(pro_handle *handle)
{
    pro_loop *loop = handle->pri_loop;
    if (!pri_is_slot(handle->pri_fd)) return PRO_OK;
    intptr_t fd = loop->net->duplicate(&loop->env, handle->pri_fd);
    if (fd < 0) return pri_os_error((int)fd);
    loop->net->close(&loop->env, handle->pri_fd, 0);
    handle->pri_fd = fd;
    return PRO_OK;
}

intptr_t pri_descriptor_of(const pro_handle *handle)
{
    pro_handle *own = (pro_handle *)(uintptr_t)handle; /* where its descriptor is, is no news */
    if (pri_has_descriptor(handle) || pri_leave_slot(own)) return -1;
    return handle->pri_fd;
}

int pri_local_of(const pro_handle *handle, pro_address *address)
{
    int error = pri_has_descriptor(handle);
    if (error) return error;
    pro_loop *loop = handle->pri_loop;
    return pri_os_error(pri_net_of(loop)->local(&loop->env, handle->pri_fd, address));
}

int pri_peer_of(const pro_handle *handle, pro_address *address)
{
    int error = pri_has_descriptor(handle);
    if (error) return error;
    pro_loop *loop = handle->pri_loop;
    return pri_os_error(pri_net_of(loop)->peer(&loop->env, handle->pri_fd, address));
}

int pro_socket_local(const pro_socket *s, pro_address *address)
{
    return pri_local_of(&s->handle, address);
}

int pro_socket_peer(const pro_socket *s, pro_address *address)
{
    return pri_peer_of(&s->handle, address);
}

int pro_socket_set(pro_socket *s, pro_option option, int value)
{
    int error = pri_has_descriptor(&s->handle);
    if (error) return error;
    if ((int)option < 0 || option > PRO_OPT_REUSE_ADDRESS || value < 0) return PRO_EINVAL;
    pro_loop *loop = s->handle.pri_loop;
    return pri_os_error(pri_net_of(loop)->set(&loop->env, s->handle.pri_fd, (int)option, value));
}

int pro_socket_get(const pro_socket *s, pro_option option, int *value)
{
    int error = pri_has_descriptor(&s->handle);
    if (error) return error;
    if ((int)option < 0 || option > PRO_OPT_REUSE_ADDRESS) return PRO_EINVAL;
    pro_loop *loop = s->handle.pri_loop;
    return pri_os_error(pri_net_of(loop)->get(&loop->env, s->handle.pri_fd, (int)option, value));
}

intptr_t pro_socket_descriptor(const pro_socket *s) { return pri_descriptor_of(&s->handle); }

/* ---- Connecting ----------------------------------------------------------------------------- */

void pri_connect(const char *site, pro_op *op, pro_handle *handle, pro_family family,
                 pri_fill_name *fill, const void *to, pro_handler *done)
{
    pri_handle_must_be_made(handle, site);
    pro_loop *loop = handle->pri_loop;
    if (!pri_op_begin(op, loop, handle, PRI_OP_CONNECT, site, done)) return;

    pri_side *side = pri_side_take(loop, 0);
    int       error = side ? fill(loop, side, to) : PRO_ENOMEM;
    if (handle->pri_flags & PRI_HANDLE_PLAIN) error = PRO_EBADF;
    if (!error && handle->pri_fd < 0) {
        intptr_t fd;
        error = pri_os_error(open_descriptor(loop, family, PRI_SOCKET, &fd));
        if (!error) {
            handle->pri_fd = fd;
            handle->pri_family = family == PRO_UNIX ? PRO_FAMILY_NONE : (uint8_t)family;
            handle->pri_flags &= (uint8_t)~PRI_HANDLE_BARE;
        }
    }
    if (error) {
        if (side) pri_side_give(loop, side);
        pri_op_finish(op, error, 0);
        return;
    }
    pri_step *step = &op->pri_kernel_step;
    step->kind = PRI_STEP_CONNECT;
    step->flags |= PRI_STEP_SIDE;
    step->data = side;
    step->len = 0;
    pri_handle_connecting(handle);
    pri_handle_queue(op, handle, PRI_WRITE, true);
}

static int fill_address(pro_loop *loop, pri_side *side, const void *to)
{
    const pro_address *address = to;
    (void)loop;
    if (address->family != PRO_IPV4 && address->family != PRO_IPV6) return PRO_EAFNOSUPPORT;
    side->address = *address;
    side->message.name_len = (uint32_t)pri_os_address_out(address, side->message.name);
    return PRO_OK;
}

void pro_connect_at(const char *site, pro_op *op, pro_socket *s, const pro_address *address,
                    pro_handler *done)
{
    pro_family family = (pro_family)address->family;
    pri_connect(site, op, &s->handle, family, fill_address, address, done);
}

/* ---- Receiving and sending ------------------------------------------------------------------ */

/* On an open socket with nothing odd about it, on which nothing runs in this direction. */
PRI_IN_PLACE bool is_plain(const pro_handle *handle, pri_direction direction, size_t len)
{
    return pri_handle_is_plain(handle) && !handle->pri_queue[direction] && len > 0;
}

PRI_IN_PLACE void start_plain(pro_op *op, pro_handle *handle, pri_op_kind kind, void *buf,
                              size_t len)
{
    pri_direction direction = kind >= PRI_OP_SEND ? PRI_WRITE : PRI_READ;
    pro_loop     *loop = pri_op_begin_plain(op, handle, direction, kind);
    loop->start_plain[direction](loop, &op->pri_kernel_step, handle, buf, len);
}

/* Everything but the plain case: it is no plain socket, there is a deadline, or the operation names its scope;
 * the handle's own one goes without saying, and does no harm. */
PRI_APART void transfer_other(const char *site, pro_op *op, pro_handle *handle, pri_op_kind kind)
{
    pri_step     *step = &op->pri_kernel_step;
    pri_direction direction = kind >= PRI_OP_SEND ? PRI_WRITE : PRI_READ;
    pri_step_kind step_kind = direction == PRI_WRITE ? PRI_STEP_SEND : PRI_STEP_RECV;
    if (is_plain(handle, direction, step->len) && op->deadline_ns == PRO_NEVER &&
        op->scope == handle->pri_scope && kind != PRI_OP_SEND_ZEROCOPY) {
        start_plain(op, handle, kind, step->data, step->len);
        return;
    }
    pri_handle_must_be_made(handle, site);
    if (!pri_op_admit(
            op, pri_op_prepare(op, handle, handle->pri_scope, step_kind, kind, site, op->pri_done)))
        return;
    if (kind == PRI_OP_SEND_ZEROCOPY && step->len >= op->pri_loop->zerocopy_min)
        step->flags |= PRI_STEP_HOLDS;
    if (step->len > 0) {
        PRI_CHECKED(buffers, op);
        pri_handle_queue(op, handle, direction, true);
    } else {
        pri_handle_nothing(op, direction);
    }
}

/* The way of every receive and send; that it calls nothing on the plain way saves it a frame.  Whom it calls
 * otherwise takes its arguments in the same places. */
PRI_IN_PLACE void transfer(const char *site, pro_op *op, pro_socket *s, pri_op_kind kind, void *buf,
                           size_t len, pro_handler *done)
{
    pro_handle   *handle = &s->handle;
    pri_direction direction = kind >= PRI_OP_SEND ? PRI_WRITE : PRI_READ;
    pri_step     *step = &op->pri_kernel_step;
    PRI_CHECKED(may_transfer, op, handle, site, kind);
    if (PRI_RARELY(step->op_state != PRI_IDLE)) pri_op_abort_in_flight(site, op, kind);
    op->pri_done = done;
    op->pri_site = site;
    step->data = buf;
    step->len = len;
    if (PRI_RARELY(!is_plain(handle, direction, len) ||
                   (op->deadline_ns | (uintptr_t)op->scope) != 0)) { /* one question for both */
        transfer_other(site, op, handle, kind);
        return;
    }
    start_plain(op, handle, kind, buf, len);
}

pri_side *pri_side_of_vectors(pro_loop *loop, const pro_vec *vecs, size_t count, size_t *total,
                              int *error)
{
    *error = count > PRO_VECS_MAX ? PRO_EINVAL : PRO_ENOMEM;
    pri_side *side = count > PRO_VECS_MAX ? NULL : pri_side_take(loop, count);
    if (!side) return NULL;
    *total = 0;
    side->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (vecs[i].len == 0) continue;
        if (vecs[i].len > (size_t)INT64_MAX - *total) { /* no memory is so large: a broken length */
            pri_side_give(loop, side);
            *error = PRO_EINVAL;
            return NULL;
        }
        *total += vecs[i].len;
        side->vecs[side->count++] = vecs[i];
    }
    return side;
}

/* The same over vectors: the array is copied. */
static void transfer_vectors(const char *site, pro_op *op, pro_socket *s, pri_op_kind kind,
                             const pro_vec *vecs, size_t count, pro_handler *done)
{
    pri_handle_must_be_made(&s->handle, site);
    pro_loop *loop = s->handle.pri_loop;
    size_t    total;
    int       error;
    if (!pri_op_begin(op, loop, &s->handle, kind, site, done)) return;
    pri_side *side = pri_side_of_vectors(loop, vecs, count, &total, &error);
    if (!side) {
        pri_op_finish(op, error, 0);
        return;
    }
    pri_direction direction = kind >= PRI_OP_SEND ? PRI_WRITE : PRI_READ;
    pri_step     *step = &op->pri_kernel_step;
    step->kind = direction == PRI_WRITE ? PRI_STEP_SEND : PRI_STEP_RECV;
    step->flags |= PRI_STEP_VECTORS | PRI_STEP_SIDE;
    if (kind == PRI_OP_SEND_ZEROCOPY && total >= loop->zerocopy_min) step->flags |= PRI_STEP_HOLDS;
    step->data = side;
    step->len = total;
    if (total > 0) PRI_CHECKED(buffers, op);
    if (total > 0)
        pri_handle_queue(op, &s->handle, direction, true);
    else
        pri_handle_nothing(op, direction);
}

void pro_recv_at(const char *site, pro_op *op, pro_socket *s, void *buf, size_t len,
                 pro_handler *done)
{
    transfer(site, op, s, PRI_OP_RECV, buf, len, done);
}

void pro_recv_exactly_at(const char *site, pro_op *op, pro_socket *s, void *buf, size_t len,
                         pro_handler *done)
{
    transfer(site, op, s, PRI_OP_RECV_EXACTLY, buf, len, done);
}

void pro_send_at(const char *site, pro_op *op, pro_socket *s, const void *buf, size_t len,
                 pro_handler *done)
{
    transfer(site, op, s, PRI_OP_SEND, (void *)(uintptr_t)buf, len, done);
}

void pro_send_all_at(const char *site, pro_op *op, pro_socket *s, const void *buf, size_t len,
                     pro_handler *done)
{
    transfer(site, op, s, PRI_OP_SEND_ALL, (void *)(uintptr_t)buf, len, done);
}

void pro_recvv_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                  pro_handler *done)
{
    transfer_vectors(site, op, s, PRI_OP_RECV, vecs, count, done);
}

void pro_recvv_exactly_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                          size_t count, pro_handler *done)
{
    transfer_vectors(site, op, s, PRI_OP_RECV_EXACTLY, vecs, count, done);
}

void pro_sendv_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                  pro_handler *done)
{
    transfer_vectors(site, op, s, PRI_OP_SEND, vecs, count, done);
}

void pro_sendv_all_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                      size_t count, pro_handler *done)
{
    transfer_vectors(site, op, s, PRI_OP_SEND_ALL, vecs, count, done);
}

/* It need not wait for the memory of those before it. */
static void go_on_behind_held(pro_socket *s)
{
    if (s->handle.pri_held > 0) pri_handle_start(&s->handle, PRI_WRITE);
}

void pro_send_zerocopy_at(const char *site, pro_op *op, pro_socket *s, const void *buf, size_t len,
                          pro_handler *done)
{
    if (op->pri_kernel_step.op_state != PRI_IDLE)
        pri_op_abort_in_flight(site, op, PRI_OP_SEND_ZEROCOPY);
    op->pri_done = done;
    op->pri_site = site;
    op->pri_kernel_step.data = (void *)(uintptr_t)buf;
    op->pri_kernel_step.len = len;
    transfer_other(site, op, &s->handle, PRI_OP_SEND_ZEROCOPY);
    go_on_behind_held(s);
}

void pro_sendv_zerocopy_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                           size_t count, pro_handler *done)
{
    transfer_vectors(site, op, s, PRI_OP_SEND_ZEROCOPY, vecs, count, done);
    go_on_behind_held(s);
}

void pro_shutdown_at(const char *site, pro_op *op, pro_socket *s, pro_handler *done)
{
    pri_handle_must_be_made(&s->handle, site);
    if (!pri_op_begin(op, s->handle.pri_loop, &s->handle, PRI_OP_SHUTDOWN, site, done)) return;
    pri_handle_queue(op, &s->handle, PRI_WRITE, false);
}

/* ---- Closing, canceling --------------------------------------------------------------------- */

void pro_close_at(const char *site, pro_op *op, pro_socket *s, pro_handler *done)
{
    pri_handle_close_op(site, op, &s->handle, false, done);
}

void pro_close_abort_at(const char *site, pro_op *op, pro_socket *s, pro_handler *done)
{
    pri_handle_close_op(site, op, &s->handle, true, done);
}

void pro_listener_close_at(const char *site, pro_op *op, pro_listener *l, pro_handler *done)
{
    pri_handle_close_op(site, op, &l->handle, false, done);
}

void pro_socket_cancel(pro_socket *s)
{
    if (s->handle.pri_state == PRI_HANDLE_OPEN) pri_handle_cancel(&s->handle, PRO_ECANCELED);
}

void pro_listener_cancel(pro_listener *l)
{
    if (l->handle.pri_state == PRI_HANDLE_OPEN) pri_handle_cancel(&l->handle, PRO_ECANCELED);
}

/* ---- Listeners ------------------------------------------------------------------------------ */

/* 0, or a negated system number. */
static int bind_and_listen(pro_loop *loop, intptr_t fd, const pro_address *address,
                           const pro_listen_options *options)
{
    const pri_net *net = pri_net_of(loop);
    const pro_env *env = &loop->env;
    int            error = net->set(env, fd, PRO_OPT_REUSE_ADDRESS, 1);
    if (!error && options->reuse_port) error = net->set(env, fd, PRI_OPT_REUSE_PORT, 1);
    if (!error && address->family == PRO_IPV6)
        error = net->set(env, fd, PRI_OPT_V6ONLY, options->v6only != 0);
    if (!error) error = net->bind(env, fd, address);
    if (!error) error = net->listen(env, fd, options->backlog);
    if (!error && options->reuse_port && options->steer_by_cpu > 0)
        error = net->set(env, fd, PRI_OPT_STEER_BY_CPU, options->steer_by_cpu);
    return error;
}

int pro_listen(pro_listener *l, pro_loop *loop, pro_scope *scope, const pro_address *address,
               const pro_listen_options *options)
{
    static const pro_listen_options defaults = {0};
    intptr_t                        fd;
    PRI_CHECKED_CALLER();
    if (pri_is_closing(loop, scope)) return PRO_ECANCELED;
    if (address->family != PRO_IPV4 && address->family != PRO_IPV6) return PRO_EAFNOSUPPORT;
    int error = open_descriptor(loop, address->family, PRI_LISTENER, &fd);
    if (error) return pri_os_error(error);
    error = bind_and_listen(loop, fd, address, options ? options : &defaults);
    if (error) {
        pri_net_of(loop)->close(&loop->env, fd, 0);
        return pri_os_error(error);
    }
    pri_handle_init(&l->handle, PRI_LISTENER, loop, scope, fd);
    l->handle.pri_family = (uint8_t)address->family;
    return PRO_OK;
}

int pri_take_descriptor(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                        intptr_t descriptor)
{
    const pri_net *net = pri_net_of(loop);
    pro_address    local = {.family = PRO_FAMILY_NONE};
    int            what = 0;
    /* A family of ours; or none, then it is a Unix socket or no socket at all. */
    if (net->local(&loop->env, descriptor, &local) != 0 && net->look)
        what = net->look(&loop->env, descriptor);
    if (what < 0) return pri_os_error(what);
    if (what & PRI_OS_PLAIN && kind != PRI_SOCKET) return PRO_EBADF;
    pri_handle_init(handle, kind, loop, scope, descriptor);
    handle->pri_family = (uint8_t)local.family;
    if (what & PRI_OS_PLAIN)
        pri_be_plain(handle, (what & PRI_OS_NO_READ ? PRI_PLAIN_NO_READ : 0) |
                                 (what & PRI_OS_NO_WRITE ? PRI_PLAIN_NO_WRITE : 0) |
                                 (what & PRI_OS_FILE ? PRI_PLAIN_FILE : 0));
    return PRO_OK;
}

int pri_adopt_handle(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                     intptr_t descriptor)
{
    if (pri_is_closing(loop, scope)) return PRO_ECANCELED;
    int error = pri_net_of(loop)->adopt(&loop->env, descriptor, loop->engine->nonblocking);
    if (error) return pri_os_error(error);
    return pri_take_descriptor(handle, kind, loop, scope, descriptor);
}

int pro_socket_adopt(pro_socket *s, pro_loop *loop, pro_scope *scope, intptr_t descriptor)
{
    PRI_CHECKED_CALLER();
    return pri_adopt_handle(&s->handle, PRI_SOCKET, loop, scope, descriptor);
}

int pro_listener_adopt(pro_listener *l, pro_loop *loop, pro_scope *scope, intptr_t descriptor)
{
    PRI_CHECKED_CALLER();
    return pri_adopt_handle(&l->handle, PRI_LISTENER, loop, scope, descriptor);
}

int pro_listener_local(const pro_listener *l, pro_address *address)
{
    return pri_local_of(&l->handle, address);
}

intptr_t pro_listener_descriptor(const pro_listener *l) { return pri_descriptor_of(&l->handle); }

static void accept_some(const char *site, pro_op *op, pro_listener *l, bool multi,
                        pro_handler *done)
{
    pri_handle_must_be_made(&l->handle, site);
    pri_op_kind kind = multi ? PRI_OP_ACCEPT_MULTI : PRI_OP_ACCEPT;
    if (!pri_op_begin(op, l->handle.pri_loop, &l->handle, kind, site, done)) return;
    pri_step *step = &op->pri_kernel_step;
    step->kind = PRI_STEP_ACCEPT;
    if (multi) step->flags |= PRI_STEP_MULTI;
    pri_handle_queue(op, &l->handle, PRI_READ, true);
}

void pro_accept_at(const char *site, pro_op *op, pro_listener *l, pro_handler *done)
{
    accept_some(site, op, l, false, done);
}

void pro_accept_multi_at(const char *site, pro_op *op, pro_listener *l, pro_handler *done)
{
    accept_some(site, op, l, true, done);
}

int pro_accept_take(pro_op *op, pro_socket *s, pro_scope *scope)
{
    pro_loop *loop = op->pri_loop;
    if (!loop || loop->accepted.op != op || loop->accepted.fd < 0) return PRO_EINVAL;
    PRI_CHECKED_CALLER();
    if (pri_is_closing(loop, scope)) return PRO_ECANCELED; /* the loop closes what was not taken */
    pri_handle_init(&s->handle, PRI_SOCKET, loop, scope, loop->accepted.fd);
    s->handle.pri_family = loop->accepted.family;
    loop->accepted.fd = -1;
    return PRO_OK;
}

int pro_accept_peer(const pro_op *op, pro_address *address)
{
    pro_loop *loop = op->pri_loop;
    if (!loop || loop->accepted.op != op || loop->accepted.fd < 0) return PRO_EINVAL;
    return pri_os_error(pri_net_of(loop)->peer(&loop->env, loop->accepted.fd, address));
}

intptr_t pro_accept_take_descriptor(pro_op *op)
{
    pro_loop *loop = op->pri_loop;
    if (!loop || loop->accepted.op != op) return -1;
    intptr_t fd = loop->accepted.fd;
    if (pri_is_slot(fd)) fd = loop->net->duplicate(&loop->env, fd);
    if (fd < 0) return -1; /* what is in a slot is closed as the handler returns */
    if (pri_is_slot(loop->accepted.fd)) loop->net->close(&loop->env, loop->accepted.fd, 0);
    loop->accepted.fd = -1;
    return fd;
}

void pro_descriptor_close(pro_loop *loop, intptr_t descriptor)
{
    pri_net_of(loop)->close(&loop->env, descriptor, 0);
}
