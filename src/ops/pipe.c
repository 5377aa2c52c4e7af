/* Pipes, pairs, standard streams: descriptors that are made here and are streams from then on. */
#include <proactor/pipe.h>

#include "ops.h"

/* Two handles of a new pair. */
static int make(pro_handle *a, pro_handle *b, pri_handle_kind kind, int what, pro_loop *loop,
                pro_scope *scope)
{
    const pri_net *net = pri_net_of(loop);
    intptr_t       fds[2];
    if (!net->pair) return PRO_ENOTSUP;
    if (pri_is_closing(loop, scope)) return PRO_ECANCELED;
    int error = net->pair(&loop->env, what, loop->engine->nonblocking, fds);
    if (error) return pri_os_error(error);
    pri_handle_init(a, kind, loop, scope, fds[0]);
    pri_handle_init(b, kind, loop, scope, fds[1]);
    if (what == PRI_OS_PIPE) {
        pri_be_plain(a, PRI_PLAIN_NO_WRITE);
        pri_be_plain(b, PRI_PLAIN_NO_READ);
    }
    return PRO_OK;
}

int pro_pipe_pair(pro_socket *reader, pro_socket *writer, pro_loop *loop, pro_scope *scope)
{
    PRI_CHECKED_CALLER();
    return make(&reader->handle, &writer->handle, PRI_SOCKET, PRI_OS_PIPE, loop, scope);
}

int pro_socket_pair(pro_socket *a, pro_socket *b, pro_loop *loop, pro_scope *scope)
{
    PRI_CHECKED_CALLER();
    return make(&a->handle, &b->handle, PRI_SOCKET, PRI_OS_STREAM_PAIR, loop, scope);
}

int pro_datagram_pair(pro_datagram *a, pro_datagram *b, pro_loop *loop, pro_scope *scope)
{
    PRI_CHECKED_CALLER();
    return make(&a->handle, &b->handle, PRI_DATAGRAM, PRI_OS_DATAGRAM_PAIR, loop, scope);
}

int pro_socket_standard(pro_socket *s, pro_loop *loop, pro_scope *scope, pro_standard which)
{
    PRI_CHECKED_CALLER();
    const pri_net *net = pri_net_of(loop);
    if ((int)which < PRO_STDIN || which > PRO_STDERR) return PRO_EINVAL;
    if (!net->standard) return PRO_ENOTSUP;
    if (pri_is_closing(loop, scope)) return PRO_ECANCELED;
    int      is_shared;
    intptr_t fd = net->standard(&loop->env, (int)which, &is_shared);
    if (fd < 0) return pri_os_error((int)fd);
    int error = pri_take_descriptor(&s->handle, PRI_SOCKET, loop, scope, fd);
    if (error)
        net->close(&loop->env, fd, 0);
    else if (is_shared)
        s->handle.pri_family |= PRI_PLAIN_SHARED;
    return error;
}
