/* TCP over IPv4 and IPv6: addresses, sockets, listeners.
 *
 * A socket or a listener is the caller's memory at a stable address, zeroed or freshly initialised;
 * it is the library's from then until it is closed (its close has completed, or the scope it lives
 * in has drained).
 *
 * Order: receives run one after the other in the order of initiation, and so do sends; the two
 * directions are independent.  connect occupies both, shutdown queues behind the sends, close
 * overtakes all.  Accepts of one listener run in order too.
 *
 * The write side: a send that was cut short by a cancel, a deadline or an error leaves a hole, so
 * the write side is over: what is queued behind and what comes later completes PRO_EPIPE with value
 * 0.  A send canceled before its first byte leaves none.
 *
 * Length zero completes on the next turn with PRO_OK and 0, without the kernel.  PRO_EOF comes only
 * from receives with a length.
 *
 * Common to all initiating functions (those that take an operation and a handler):
 *   Ours until the handler: op and the buffers.  Arrays of vectors and addresses are copied: the
 *   caller's again when the call returns.
 *   Thread: the loop's.  Never completes inside.
 *   Errors, beside those named: PRO_ECANCELED, PRO_ETIMEDOUT (deadline), PRO_ECLOSED (the handle is
 *   closed or closing), PRO_ENOTCONN (never opened), PRO_ENOMEM, PRO_ENOBUFS, PRO_EIO.
 * A broken connection never raises SIGPIPE. */
#ifndef PROACTOR_NET_H
#define PROACTOR_NET_H

#include <proactor/base.h>
#include <proactor/op.h>
#include <proactor/scope.h>

PRO_BEGIN_DECLS

/* ---- Addresses ---------------------------------------------------------------------------- */

/* PRO_UNIX is that of sockets with names (unix.h); a pro_address has no such. */
typedef enum pro_family { PRO_FAMILY_NONE, PRO_IPV4, PRO_IPV6, PRO_UNIX } pro_family;

/* An address of our own, so that no system header is needed. */
typedef struct pro_address {
    uint16_t family;    /* pro_family */
    uint16_t port;      /* host byte order */
    uint32_t scope_id;  /* IPv6 link-local: the interface; else 0 */
    uint8_t  bytes[16]; /* network byte order; IPv4 uses the first four */
} pro_address;

/* Read "127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80" (RFC 5952, RFC 4007 with a numeric zone); no
 * names.  Returns PRO_OK or PRO_EINVAL, and then leaves *address alone.  Any thread. */
PRO_API int pro_address_parse(pro_address *address, const char *text);

/* The reverse of parse, in the canonical form of RFC 5952.  size of PRO_ADDRESS_TEXT_MAX is always
 * enough.  Returns the length without the NUL, as snprintf does.  Any thread. */
#define PRO_ADDRESS_TEXT_MAX 64
PRO_API size_t pro_address_format(const pro_address *address, char *buf, size_t size);

/* 127.0.0.1 or ::1, and 0.0.0.0 or ::, with a port. */
PRO_API pro_address pro_address_loopback(pro_family family, uint16_t port);
PRO_API pro_address pro_address_any(pro_family family, uint16_t port);

/* 1 if both name the same family, bytes, port and zone, else 0. */
PRO_API int pro_address_equal(const pro_address *a, const pro_address *b);

/* ---- Handles ------------------------------------------------------------------------------ */

/* Internal: what sockets and listeners have in common. */
struct pro_handle {
    pro_loop  *pri_loop;
    pro_scope *pri_scope;
    intptr_t   pri_fd;       /* a descriptor, a SOCKET, or a slot (loop.h, fixed_slots) */
    pri_link   pri_of_scope; /* of the open handles of its scope */
    pri_link  *pri_queue[2]; /* operations by direction: the first one, in the kernel; or NULL */
    pri_link  *pri_closers;  /* the first of the closes that wait for the end, a circle; or NULL */
    uint64_t   pri_engine[3];
    uint32_t   pri_live;       /* operations until their handlers began */
    uint16_t   pri_connecting; /* connects not yet completed: reads wait */
    uint8_t    pri_state;
    uint8_t    pri_flags;
    uint8_t    pri_kind;
    uint8_t    pri_family; /* pro_family; none for what was adopted and is neither */
    uint32_t   pri_held;   /* zero-copy sends whose memory is not yet free */
};

typedef struct pro_socket {
    pro_handle handle;
} pro_socket;

typedef struct pro_listener {
    pro_handle handle;
} pro_listener;

/* ---- Sockets ------------------------------------------------------------------------------ */

/* Make s a socket of the loop, in scope (NULL: the loop's root), without a descriptor as yet:
 * pro_connect opens one of the address's family.  No system call.  Thread: the loop's. */
PRO_API void pro_socket_init(pro_socket *s, pro_loop *loop, pro_scope *scope);

/* The same, with a descriptor of the family at once, so that options can be set and a local address
 * bound before connecting.  Returns PRO_OK, or an error (PRO_EMFILE, PRO_EAFNOSUPPORT, PRO_ECANCELED
 * for a closing scope, ...), and then s is still the caller's. */
PRO_API int pro_socket_open(pro_socket *s, pro_loop *loop, pro_scope *scope, pro_family family);

/* The same for a connected stream socket that was made elsewhere (a socket pair, an inherited one), or
 * another stream of bytes: an end of a pipe, a FIFO, a terminal, a character device, a file (pipe.h).
 * The descriptor is the library's if PRO_OK comes back; its blocking mode, which it shares with its
 * copies in other processes, is changed as needed: for the standard streams use pro_socket_standard.
 * With an error both are still the caller's. */
PRO_API int pro_socket_adopt(pro_socket *s, pro_loop *loop, pro_scope *scope, intptr_t descriptor);

/* Bind an open, unconnected socket to a local address.  Returns PRO_OK or an error. */
PRO_API int pro_socket_bind(pro_socket *s, const pro_address *address);

/* The local and the remote address.  Returns PRO_OK or an error. */
PRO_API int pro_socket_local(const pro_socket *s, pro_address *address);
PRO_API int pro_socket_peer(const pro_socket *s, pro_address *address);

typedef enum pro_option {
    PRO_OPT_NODELAY,     /* 0 or 1: TCP_NODELAY (RFC 1122 4.2.3.4); accepted and new ones: 0 */
    PRO_OPT_KEEPALIVE,   /* 0, or seconds before the first probe (RFC 1122 4.2.3.6) */
    PRO_OPT_SEND_BUFFER, /* bytes in the kernel; reading gives what is in force */
    PRO_OPT_RECV_BUFFER,
    PRO_OPT_REUSE_ADDRESS, /* 0 or 1, before bind */

    /* Of datagram sockets only (datagram.h). */
    PRO_OPT_REUSE_PORT,     /* 0 or 1, before bind: several sockets share an address */
    PRO_OPT_V6ONLY,         /* 0 or 1, before bind: an IPv6 socket has no IPv4; a new one: 0 */
    PRO_OPT_BROADCAST,      /* 0 or 1: sending to broadcast addresses is allowed; a new one: 0 */
    PRO_OPT_HOPS,           /* 1 to 255: the time to live of what is sent */
    PRO_OPT_MULTICAST_HOPS, /* 0 to 255: the same, to groups; a new one: 1 */
    PRO_OPT_MULTICAST_LOOP, /* 0 or 1: this machine hears what it sends; a new one: 1 */
    PRO_OPT_MULTICAST_INTERFACE /* the index of the interface to send to groups by; only set */
} pro_option;

/* Set and read an option.  Returns PRO_OK; PRO_EINVAL; PRO_ENOTCONN or PRO_ECLOSED without a
 * descriptor; or what the system says. */
PRO_API int pro_socket_set(pro_socket *s, pro_option option, int value);
PRO_API int pro_socket_get(const pro_socket *s, pro_option option, int *value);

/* The descriptor (or SOCKET), still the library's; -1 if there is none. */
PRO_API intptr_t pro_socket_descriptor(const pro_socket *s);

/* Connect, opening a descriptor if there is none.  Receives and sends initiated behind it wait, and
 * fail with it.  A failure does not close the socket; connecting again is allowed where the system
 * allows it.  Errors: PRO_ECONNREFUSED, PRO_EAFNOSUPPORT, PRO_ENETUNREACH, PRO_EHOSTUNREACH, PRO_EADDRNOTAVAIL,
 * PRO_EISCONN, PRO_EMFILE, ...; PRO_ECONNRESET: the peer was there, and aborted the connection before this saw it. */
PRO_API void pro_connect(pro_op *op, pro_socket *s, const pro_address *address, pro_handler *done);

/* Receive up to len bytes: completes with value > 0 bytes, as soon as there are any; PRO_EOF when
 * the peer has ended its side, and all it sent has come; PRO_ECONNRESET, also instead of an end that
 * is found after a reset was told to another operation. */
PRO_API void pro_recv(pro_op *op, pro_socket *s, void *buf, size_t len, pro_handler *done);

/* Receive len bytes, no less: PRO_OK with value len, or an error with value the bytes that came. */
PRO_API void pro_recv_exactly(pro_op *op, pro_socket *s, void *buf, size_t len, pro_handler *done);

/* Send up to len bytes.  PRO_OK with value > 0, short only when nothing is queued behind it.
 * Errors: PRO_EPIPE, PRO_ECONNRESET; value says how many bytes went before. */
PRO_API void pro_send(pro_op *op, pro_socket *s, const void *buf, size_t len, pro_handler *done);

/* Send all of it: PRO_OK with value len, or an error with value the bytes that went. */
PRO_API void pro_send_all(pro_op *op, pro_socket *s, const void *buf, size_t len,
                          pro_handler *done);

/* A piece of memory in a vectored operation. */
typedef struct pro_vec {
    void  *base;
    size_t len;
} pro_vec;

/* The most vectors in one operation; more is PRO_EINVAL at the handler. */
#define PRO_VECS_MAX 1024

/* The same four over count pieces, in their order.  The array is the caller's when the call returns;
 * the pieces are ours until the handler. */
PRO_API void pro_recvv(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                       pro_handler *done);
PRO_API void pro_recvv_exactly(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                               pro_handler *done);
PRO_API void pro_sendv(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                       pro_handler *done);
PRO_API void pro_sendv_all(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                           pro_handler *done);

/* End the sending side, behind what is queued; the peer sees the end of the stream.  Sends initiated
 * later complete PRO_EPIPE.  Again: PRO_OK. */
PRO_API void pro_shutdown(pro_op *op, pro_socket *s, pro_handler *done);

/* After a connect was canceled or timed out, close: the system may still be connecting.
 *
 * Close.  Cancels what is in flight on the socket; each of those completes first (PRO_ECANCELED,
 * with its bytes so far, or its result), then this, with PRO_OK.  A second close completes after the
 * first.  The socket is the caller's again when the first close's handler begins; using it as it is
 * gives PRO_ECLOSED as long as its scope lives.  A deadline and
 * cancel have no effect: it always completes soon. */
PRO_API void pro_close(pro_op *op, pro_socket *s, pro_handler *done);

/* The same, and the peer gets a reset (RFC 9293 3.10.7.4) in place of an orderly end. */
PRO_API void pro_close_abort(pro_op *op, pro_socket *s, pro_handler *done);

/* Cancel every operation in flight on the socket, closes excepted; it stays open. */
PRO_API void pro_socket_cancel(pro_socket *s);

/* ---- Listeners ---------------------------------------------------------------------------- */

typedef struct pro_listen_options {
    int backlog;    /* 0: the system's maximum */
    int reuse_port; /* 1: several listeners on one address share its connections */
    int v6only;     /* 1: an IPv6 listener takes no IPv4 connections; 0: it does */

    /* With reuse_port, n > 0: a connection goes to the listener of number (CPU that received it) mod
     * n, in the order in which they began to listen (Linux 4.5, a classic BPF program); PRO_ENOTSUP
     * where the system cannot.  0: the system spreads them by a hash. */
    int steer_by_cpu;
} pro_listen_options;

/* Bind and listen.  SO_REUSEADDR is set on POSIX.  options may be NULL: all zero.  Port 0 takes a
 * free one: see pro_listener_local.  l is the library's if PRO_OK comes back, until closed.
 * Errors: PRO_EADDRINUSE, PRO_EACCES, PRO_EADDRNOTAVAIL, PRO_EAFNOSUPPORT, PRO_EINVAL, PRO_EMFILE,
 * PRO_ECANCELED for a closing scope. */
PRO_API int pro_listen(pro_listener *l, pro_loop *loop, pro_scope *scope,
                       const pro_address *address, const pro_listen_options *options);

PRO_API int      pro_listener_local(const pro_listener *l, pro_address *address);
PRO_API intptr_t pro_listener_descriptor(const pro_listener *l);

/* Accept one connection: PRO_OK, and inside the handler pro_accept_take has it.
 * Errors: PRO_EMFILE, PRO_ENFILE: no handles left; the connection stays in the backlog, the listener
 * stays well.  PRO_ECONNABORTED is retried inside. */
PRO_API void pro_accept(pro_op *op, pro_listener *l, pro_handler *done);

/* Accept until canceled: one completion with PRO_OK and PRO_MORE for each connection, then one
 * without PRO_MORE, PRO_ECANCELED or another error (as for pro_accept: accept again later). */
PRO_API void pro_accept_multi(pro_op *op, pro_listener *l, pro_handler *done);

/* Inside the handler of an accept that completed PRO_OK, before op is used again: make s the
 * connection, in scope (NULL: the loop's root).  What is not taken when the handler returns is
 * closed by the library.  Returns PRO_OK; PRO_EINVAL if there is nothing to take; PRO_ECANCELED if
 * the scope is closing, or PRO_ENOMEM, PRO_ENOBUFS: then the connection is closed. */
PRO_API int pro_accept_take(pro_op *op, pro_socket *s, pro_scope *scope);

/* Who it is, before it is taken: to refuse, or to choose where the connection shall live.  Returns
 * PRO_OK; PRO_EINVAL if there is nothing to take; or what the system says. */
PRO_API int pro_accept_peer(const pro_op *op, pro_address *address);

/* Take it for another loop: the descriptor is the caller's, who hands it over (pro_call_on) for
 * pro_socket_adopt there.  -1 if there is nothing to take. */
PRO_API intptr_t pro_accept_take_descriptor(pro_op *op);

/* Close a descriptor that is the caller's, because nobody could adopt it.  Thread: the loop's, of the
 * same engine as the one it was taken from. */
PRO_API void pro_descriptor_close(pro_loop *loop, intptr_t descriptor);

/* Make l a listener of a descriptor that listens already (inherited, or handed over).  As
 * pro_socket_adopt. */
PRO_API int pro_listener_adopt(pro_listener *l, pro_loop *loop, pro_scope *scope,
                               intptr_t descriptor);

PRO_API void pro_listener_close(pro_op *op, pro_listener *l, pro_handler *done);
PRO_API void pro_listener_cancel(pro_listener *l);

/* ---- Sites -------------------------------------------------------------------------------- */

/* Each initiating function with the call site given: for macros and other languages. */
PRO_API void pro_connect_at(const char *site, pro_op *op, pro_socket *s, const pro_address *address,
                            pro_handler *done);
PRO_API void pro_recv_at(const char *site, pro_op *op, pro_socket *s, void *buf, size_t len,
                         pro_handler *done);
PRO_API void pro_recv_exactly_at(const char *site, pro_op *op, pro_socket *s, void *buf, size_t len,
                                 pro_handler *done);
PRO_API void pro_send_at(const char *site, pro_op *op, pro_socket *s, const void *buf, size_t len,
                         pro_handler *done);
PRO_API void pro_send_all_at(const char *site, pro_op *op, pro_socket *s, const void *buf,
                             size_t len, pro_handler *done);
PRO_API void pro_recvv_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                          size_t count, pro_handler *done);
PRO_API void pro_recvv_exactly_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                                  size_t count, pro_handler *done);
PRO_API void pro_sendv_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                          size_t count, pro_handler *done);
PRO_API void pro_sendv_all_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                              size_t count, pro_handler *done);
PRO_API void pro_shutdown_at(const char *site, pro_op *op, pro_socket *s, pro_handler *done);
PRO_API void pro_close_at(const char *site, pro_op *op, pro_socket *s, pro_handler *done);
PRO_API void pro_close_abort_at(const char *site, pro_op *op, pro_socket *s, pro_handler *done);
PRO_API void pro_accept_at(const char *site, pro_op *op, pro_listener *l, pro_handler *done);
PRO_API void pro_accept_multi_at(const char *site, pro_op *op, pro_listener *l, pro_handler *done);
PRO_API void pro_listener_close_at(const char *site, pro_op *op, pro_listener *l,
                                   pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_connect(...) pro_connect_at(PRO_SITE, __VA_ARGS__)
#define pro_recv(...) pro_recv_at(PRO_SITE, __VA_ARGS__)
#define pro_recv_exactly(...) pro_recv_exactly_at(PRO_SITE, __VA_ARGS__)
#define pro_send(...) pro_send_at(PRO_SITE, __VA_ARGS__)
#define pro_send_all(...) pro_send_all_at(PRO_SITE, __VA_ARGS__)
#define pro_recvv(...) pro_recvv_at(PRO_SITE, __VA_ARGS__)
#define pro_recvv_exactly(...) pro_recvv_exactly_at(PRO_SITE, __VA_ARGS__)
#define pro_sendv(...) pro_sendv_at(PRO_SITE, __VA_ARGS__)
#define pro_sendv_all(...) pro_sendv_all_at(PRO_SITE, __VA_ARGS__)
#define pro_shutdown(...) pro_shutdown_at(PRO_SITE, __VA_ARGS__)
#define pro_close(...) pro_close_at(PRO_SITE, __VA_ARGS__)
#define pro_close_abort(...) pro_close_abort_at(PRO_SITE, __VA_ARGS__)
#define pro_accept(...) pro_accept_at(PRO_SITE, __VA_ARGS__)
#define pro_accept_multi(...) pro_accept_multi_at(PRO_SITE, __VA_ARGS__)
#define pro_listener_close(...) pro_listener_close_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
