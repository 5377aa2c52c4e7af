/* The initiating functions under their plain names, for other languages and for function pointers:
 * in C the macros of the same names stand before them and add the call site. */
#define PRO_NO_SITES
#include <proactor/net.h>

static const char no_site[] = "?";

void pro_connect(pro_op *op, pro_socket *s, const pro_address *address, pro_handler *done)
{
    pro_connect_at(no_site, op, s, address, done);
}

void pro_recv(pro_op *op, pro_socket *s, void *buf, size_t len, pro_handler *done)
{
    pro_recv_at(no_site, op, s, buf, len, done);
}

void pro_recv_exactly(pro_op *op, pro_socket *s, void *buf, size_t len, pro_handler *done)
{
    pro_recv_exactly_at(no_site, op, s, buf, len, done);
}

void pro_send(pro_op *op, pro_socket *s, const void *buf, size_t len, pro_handler *done)
{
    pro_send_at(no_site, op, s, buf, len, done);
}

void pro_send_all(pro_op *op, pro_socket *s, const void *buf, size_t len, pro_handler *done)
{
    pro_send_all_at(no_site, op, s, buf, len, done);
}

void pro_recvv(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count, pro_handler *done)
{
    pro_recvv_at(no_site, op, s, vecs, count, done);
}

void pro_recvv_exactly(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                       pro_handler *done)
{
    pro_recvv_exactly_at(no_site, op, s, vecs, count, done);
}

void pro_sendv(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count, pro_handler *done)
{
    pro_sendv_at(no_site, op, s, vecs, count, done);
}

void pro_sendv_all(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count, pro_handler *done)
{
    pro_sendv_all_at(no_site, op, s, vecs, count, done);
}

void pro_shutdown(pro_op *op, pro_socket *s, pro_handler *done)
{
    pro_shutdown_at(no_site, op, s, done);
}

void pro_close(pro_op *op, pro_socket *s, pro_handler *done) { pro_close_at(no_site, op, s, done); }

void pro_close_abort(pro_op *op, pro_socket *s, pro_handler *done)
{
    pro_close_abort_at(no_site, op, s, done);
}

void pro_accept(pro_op *op, pro_listener *l, pro_handler *done)
{
    pro_accept_at(no_site, op, l, done);
}

void pro_accept_multi(pro_op *op, pro_listener *l, pro_handler *done)
{
    pro_accept_multi_at(no_site, op, l, done);
}

void pro_listener_close(pro_op *op, pro_listener *l, pro_handler *done)
{
    pro_listener_close_at(no_site, op, l, done);
}
