/* The initiating functions under their plain names, for other languages and for function pointers:
 * in C the macros of the same names stand before them and add the call site. */
#define PRO_NO_SITES
#include <proactor/datagram.h>
#include <proactor/memory.h>
#include <proactor/net.h>
#include <proactor/unix.h>

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

void pro_send_zerocopy(pro_op *op, pro_socket *s, const void *buf, size_t len, pro_handler *done)
{
    pro_send_zerocopy_at(no_site, op, s, buf, len, done);
}

void pro_sendv_zerocopy(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                        pro_handler *done)
{
    pro_sendv_zerocopy_at(no_site, op, s, vecs, count, done);
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

void pro_recv_from(pro_op *op, pro_datagram *d, void *buf, size_t len, pro_address *from,
                   pro_handler *done)
{
    pro_recv_from_at(no_site, op, d, buf, len, from, done);
}

void pro_send_to(pro_op *op, pro_datagram *d, const void *buf, size_t len, const pro_address *to,
                 pro_handler *done)
{
    pro_send_to_at(no_site, op, d, buf, len, to, done);
}

void pro_recvv_from(pro_op *op, pro_datagram *d, const pro_vec *vecs, size_t count,
                    pro_address *from, pro_handler *done)
{
    pro_recvv_from_at(no_site, op, d, vecs, count, from, done);
}

void pro_sendv_to(pro_op *op, pro_datagram *d, const pro_vec *vecs, size_t count,
                  const pro_address *to, pro_handler *done)
{
    pro_sendv_to_at(no_site, op, d, vecs, count, to, done);
}

void pro_recv_batch(pro_op *op, pro_datagram *d, pro_message *messages, size_t count,
                    pro_handler *done)
{
    pro_recv_batch_at(no_site, op, d, messages, count, done);
}

void pro_send_batch(pro_op *op, pro_datagram *d, pro_message *messages, size_t count,
                    pro_handler *done)
{
    pro_send_batch_at(no_site, op, d, messages, count, done);
}

void pro_datagram_close(pro_op *op, pro_datagram *d, pro_handler *done)
{
    pro_datagram_close_at(no_site, op, d, done);
}

void pro_connect_unix(pro_op *op, pro_socket *s, const char *name, pro_handler *done)
{
    pro_connect_unix_at(no_site, op, s, name, done);
}

void pro_send_handles(pro_op *op, pro_socket *s, const void *buf, size_t len,
                      const intptr_t *descriptors, size_t count, pro_handler *done)
{
    pro_send_handles_at(no_site, op, s, buf, len, descriptors, count, done);
}

void pro_recv_handles(pro_op *op, pro_socket *s, void *buf, size_t len, pro_handler *done)
{
    pro_recv_handles_at(no_site, op, s, buf, len, done);
}

void pro_send_to_unix(pro_op *op, pro_datagram *d, const void *buf, size_t len, const char *name,
                      pro_handler *done)
{
    pro_send_to_unix_at(no_site, op, d, buf, len, name, done);
}
