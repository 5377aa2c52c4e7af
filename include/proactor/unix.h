/* Unix sockets: between processes of one machine, by name; with handles and who is there.
 *
 * A name is text.  "/run/demo" is a path: a file, which stays when its socket is closed; who binds removes
 * what an earlier run has left.  "@demo" is an abstract name (Linux): no file, and gone with its last
 * socket.  (A path that begins with an "@" is "./@...".)
 *
 * A connected socket is a pro_socket like one of TCP, a listener a pro_listener, a datagram socket a
 * pro_datagram: all of net.h and datagram.h holds, only that addresses are names, and that datagrams
 * neither get lost nor overtake each other.  A pro_address of one has no family.
 *
 * Where there are none, or the engine has none, all of it says PRO_ENOTSUP. */
#ifndef PROACTOR_UNIX_H
#define PROACTOR_UNIX_H

#include <proactor/base.h>
#include <proactor/datagram.h>
#include <proactor/net.h>
#include <proactor/op.h>
#include <proactor/scope.h>

PRO_BEGIN_DECLS

/* Room for any name, with its NUL. */
#define PRO_UNIX_NAME_MAX 112

/* ---- Streams -------------------------------------------------------------------------------- */

/* Bind a name and listen; of the options the backlog counts.  As pro_listen.  Errors: PRO_EADDRINUSE (also
 * for a file that is there), PRO_EINVAL (empty, too long), PRO_ENOENT (no such directory), PRO_EACCES,
 * PRO_EMFILE, PRO_ENOTSUP, PRO_ECANCELED for a closing scope. */
PRO_API int pro_listen_unix(pro_listener *l, pro_loop *loop, pro_scope *scope, const char *name,
                            const pro_listen_options *options);

/* Connect, as pro_connect.  The name is copied.  Errors: PRO_ENOENT (no such file), PRO_ECONNREFUSED
 * (nobody listens there, it is no socket, or the backlog is full), PRO_EACCES, PRO_EINVAL, PRO_ENOTSUP
 * (it is one for datagrams), ... */
PRO_API void pro_connect_unix(pro_op *op, pro_socket *s, const char *name, pro_handler *done);

/* The name of the socket, and of the one that it is connected with, as text; empty: it has none.  A buf
 * of PRO_UNIX_NAME_MAX is always enough.  Returns PRO_OK or an error. */
PRO_API int pro_socket_name(const pro_socket *s, char *buf, size_t size);
PRO_API int pro_socket_peer_name(const pro_socket *s, char *buf, size_t size);
PRO_API int pro_listener_name(const pro_listener *l, char *buf, size_t size);

/* Who was there when the connection was made: the process, and its effective user and group. */
typedef struct pro_credentials {
    int64_t pid;
    int64_t user;
    int64_t group;
} pro_credentials;

/* Of the other side: of one that listened, from listening; of one that connected, from connecting; of a
 * pair, from making it.  Returns PRO_OK, PRO_ENOTCONN, PRO_ENOTSUP or another error. */
PRO_API int pro_socket_credentials(const pro_socket *s, pro_credentials *who);

/* ---- Handles -------------------------------------------------------------------------------- */

/* Over streams only, which say who is there before anything is taken from them.  A datagram comes from whoever
 * knows the name, and its handles would be in this process before it is known from whom: who wants that polls
 * the datagram's descriptor (poll.h) and calls recvmsg for himself; a plain receive never takes any. */

/* The most that go with one send. */
#define PRO_HANDLES_MAX 16

/* Send all of it, and with its first byte copies of count descriptors, which stay the sender's (and open,
 * until the handler; the array is copied).  len is not 0.  PRO_OK with value len, or an error with the
 * bytes that went; with the first of them went the descriptors.  Errors, beside those of pro_send_all:
 * PRO_EINVAL (count of 0 or too many, len of 0), PRO_EBADF. */
PRO_API void pro_send_handles(pro_op *op, pro_socket *s, const void *buf, size_t len,
                              const intptr_t *descriptors, size_t count, pro_handler *done);

/* Receive up to len bytes as pro_recv does, and descriptors that come with them: inside the handler
 * pro_received_take has them.  PRO_TRUNCATED in op->flags: more came than there is room for, and they are
 * closed.  (A plain receive takes the bytes alone; the system closes the rest.) */
PRO_API void pro_recv_handles(pro_op *op, pro_socket *s, void *buf, size_t len, pro_handler *done);

/* Inside that handler, before op is used again: the next descriptor, close-on-exec, the caller's from now
 * on; -1: no more.  What is not taken when the handler returns is closed by the library. */
PRO_API intptr_t pro_received_take(pro_op *op);

/* ---- Datagrams ------------------------------------------------------------------------------ */

/* For a pro_datagram that was opened with PRO_UNIX: as pro_datagram_bind, _connect (NULL: none any more).
 * Who wants answers binds.  Errors as for listening and connecting. */
PRO_API int pro_datagram_bind_unix(pro_datagram *d, const char *name);
PRO_API int pro_datagram_connect_unix(pro_datagram *d, const char *name);

/* Send one datagram to a name, which is copied, as pro_send_to; to the peer that is a pro_send_to without
 * an address, which waits while the receiver is full.  This one cannot wait for that: PRO_ENOBUFS. */
PRO_API void pro_send_to_unix(pro_op *op, pro_datagram *d, const void *buf, size_t len,
                              const char *name, pro_handler *done);

/* Inside a handler of a pro_recv_from, pro_recvv_from or pro_recv_from_multi that was given a from, before op is used
 * again: the name of who sent, as text; empty: it has none.  Returns PRO_OK, or PRO_EINVAL elsewhere. */
PRO_API int pro_received_name(const pro_op *op, char *buf, size_t size);

/* ---- Sites ---------------------------------------------------------------------------------- */

/* Each initiating function with the call site given: for macros and other languages. */
PRO_API void pro_connect_unix_at(const char *site, pro_op *op, pro_socket *s, const char *name,
                                 pro_handler *done);
PRO_API void pro_send_handles_at(const char *site, pro_op *op, pro_socket *s, const void *buf,
                                 size_t len, const intptr_t *descriptors, size_t count,
                                 pro_handler *done);
PRO_API void pro_recv_handles_at(const char *site, pro_op *op, pro_socket *s, void *buf, size_t len,
                                 pro_handler *done);
PRO_API void pro_send_to_unix_at(const char *site, pro_op *op, pro_datagram *d, const void *buf,
                                 size_t len, const char *name, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_connect_unix(...) pro_connect_unix_at(PRO_SITE, __VA_ARGS__)
#define pro_send_handles(...) pro_send_handles_at(PRO_SITE, __VA_ARGS__)
#define pro_recv_handles(...) pro_recv_handles_at(PRO_SITE, __VA_ARGS__)
#define pro_send_to_unix(...) pro_send_to_unix_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
