/* Datagrams: UDP over IPv4 and IPv6.
 *
 * A datagram is a message of its own: it is sent whole or not at all, and received whole or truncated.
 * There is no end of the stream and no hole: an empty datagram is PRO_OK with value 0, and what failed
 * says nothing about the next one.  It may get lost, come twice, or overtake another.
 *
 * Order: sends go to the system in the order of initiation; receives are served in theirs.  The two
 * directions are independent, close overtakes all.
 *
 * A pro_datagram is the caller's memory, as a socket is; what net.h says of all initiating functions
 * holds here.  A send of length 0 sends an empty datagram; a receive of length 0 completes on the next
 * turn with PRO_OK and 0, and takes none.
 *
 * Dual stack: an IPv6 socket bound to :: also has IPv4, whose addresses are mapped there, as in
 * "::ffff:127.0.0.1".
 *
 * Unreachable: where the system hears that nobody listens at a port (ICMP), a connected socket's next
 * operation completes PRO_ECONNREFUSED, and did nothing else.  Some systems never say so: use a
 * deadline. */
#ifndef PROACTOR_DATAGRAM_H
#define PROACTOR_DATAGRAM_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>
#include <proactor/scope.h>

PRO_BEGIN_DECLS

typedef struct pro_datagram {
    pro_handle handle;
} pro_datagram;

/* ---- Making them ---------------------------------------------------------------------------- */

/* Make d a datagram socket of the family, in scope (NULL: the loop's root), not bound to an address:
 * the first send takes a free port.  Returns PRO_OK, and d is the library's until closed; or PRO_EMFILE,
 * PRO_EAFNOSUPPORT, PRO_ENOTSUP (the engine has no datagrams), PRO_ECANCELED for a closing scope, ...
 * Thread: the loop's, for all functions here. */
PRO_API int pro_datagram_open(pro_datagram *d, pro_loop *loop, pro_scope *scope, pro_family family);

/* The same for a datagram socket that was made elsewhere.  The descriptor is the library's if PRO_OK
 * comes back; with an error both are still the caller's. */
PRO_API int pro_datagram_adopt(pro_datagram *d, pro_loop *loop, pro_scope *scope,
                               intptr_t descriptor);

/* Bind to a local address; port 0 takes a free one.  Returns PRO_OK, PRO_EADDRINUSE,
 * PRO_EADDRNOTAVAIL, PRO_EACCES, ... */
PRO_API int pro_datagram_bind(pro_datagram *d, const pro_address *address);

/* Fix the peer: sends without an address go to it, and only its datagrams are received.  Nothing is
 * sent, so this is no operation.  Again: another peer; NULL: none any more (with the peer, a system may
 * take back a port of its own choice).  Returns PRO_OK or an error. */
PRO_API int pro_datagram_connect(pro_datagram *d, const pro_address *address);

/* The local address, and the peer's (PRO_ENOTCONN without one).  Returns PRO_OK or an error. */
PRO_API int pro_datagram_local(const pro_datagram *d, pro_address *address);
PRO_API int pro_datagram_peer(const pro_datagram *d, pro_address *address);

/* Set and read one of the two buffers, PRO_OPT_REUSE_ADDRESS or an option for datagrams.  Returns
 * PRO_OK; PRO_EINVAL; PRO_ECLOSED; or what the system says. */
PRO_API int pro_datagram_set(pro_datagram *d, pro_option option, int value);
PRO_API int pro_datagram_get(const pro_datagram *d, pro_option option, int *value);

/* Receive what is sent to a multicast group too, or no longer.  On the interface of that index; 0: the
 * system's choice.  source: only what comes from there (RFC 4607); NULL: from everywhere.  The socket is
 * bound to the group's port.  Returns PRO_OK; PRO_EADDRINUSE (joined already), PRO_EADDRNOTAVAIL (not
 * joined), PRO_EINVAL (not a group), PRO_ENOENT (no such interface), ... */
PRO_API int pro_datagram_join(pro_datagram *d, const pro_address *group, const pro_address *source,
                              uint32_t interface_index);
PRO_API int pro_datagram_leave(pro_datagram *d, const pro_address *group, const pro_address *source,
                               uint32_t interface_index);

/* The descriptor (or SOCKET), still the library's; -1 if there is none. */
PRO_API intptr_t pro_datagram_descriptor(const pro_datagram *d);

/* ---- Receiving and sending ------------------------------------------------------------------ */

/* Receive one datagram: PRO_OK with value its bytes, 0 for an empty one; PRO_TRUNCATED in op->flags if
 * it was longer than len, and what did not fit is lost.  *from (it may be NULL) is who sent it, written
 * before the handler and ours until then.  Errors: PRO_ECONNREFUSED, ... */
PRO_API void pro_recv_from(pro_op *op, pro_datagram *d, void *buf, size_t len, pro_address *from,
                           pro_handler *done);

/* Send one datagram of len bytes to an address, or (NULL) to the peer: PRO_OK with value len.  PRO_OK
 * says that the system has it, not that it arrives.  Errors: PRO_EMSGSIZE (too long for one),
 * PRO_ENOTCONN (no address, no peer), PRO_EACCES (broadcast: PRO_OPT_BROADCAST), PRO_ECONNREFUSED,
 * PRO_ENETUNREACH, PRO_EHOSTUNREACH, PRO_EINVAL (port 0), PRO_EAFNOSUPPORT, PRO_ENOBUFS, ... */
PRO_API void pro_send_to(pro_op *op, pro_datagram *d, const void *buf, size_t len,
                         const pro_address *to, pro_handler *done);

/* The same over count pieces (PRO_VECS_MAX), in their order: still one datagram. */
PRO_API void pro_recvv_from(pro_op *op, pro_datagram *d, const pro_vec *vecs, size_t count,
                            pro_address *from, pro_handler *done);
PRO_API void pro_sendv_to(pro_op *op, pro_datagram *d, const pro_vec *vecs, size_t count,
                          const pro_address *to, pro_handler *done);

/* ---- Batches -------------------------------------------------------------------------------- */

/* One datagram of many. */
typedef struct pro_message {
    void  *buf;
    size_t len; /* room there, or bytes to send */
    pro_address
             address; /* set by a receive: who sent it; of a send: where to, no family: the peer */
    size_t   size;    /* set: bytes that came, or went */
    uint32_t flags;   /* set: PRO_TRUNCATED */
    uint32_t reserved;
} pro_message;

/* The most messages in one batch; more is PRO_EINVAL at the handler. */
#define PRO_BATCH_MAX 64

/* Receive as many datagrams as are there, one at least and count at most, each into its message: PRO_OK
 * with value = how many.  Ours until the handler: the messages and their buffers.  One system call for
 * all of them where the system has one.  count 0: as a receive of length 0. */
PRO_API void pro_recv_batch(pro_op *op, pro_datagram *d, pro_message *messages, size_t count,
                            pro_handler *done);

/* Send all of them, in their order: PRO_OK with value = count, or an error with value = how many went
 * before the one that failed.  As pro_recv_batch. */
PRO_API void pro_send_batch(pro_op *op, pro_datagram *d, pro_message *messages, size_t count,
                            pro_handler *done);

/* ---- Closing, canceling --------------------------------------------------------------------- */

/* As pro_close and pro_socket_cancel. */
PRO_API void pro_datagram_close(pro_op *op, pro_datagram *d, pro_handler *done);
PRO_API void pro_datagram_cancel(pro_datagram *d);

/* ---- Sites ---------------------------------------------------------------------------------- */

/* Each initiating function with the call site given: for macros and other languages. */
PRO_API void pro_recv_from_at(const char *site, pro_op *op, pro_datagram *d, void *buf, size_t len,
                              pro_address *from, pro_handler *done);
PRO_API void pro_send_to_at(const char *site, pro_op *op, pro_datagram *d, const void *buf,
                            size_t len, const pro_address *to, pro_handler *done);
PRO_API void pro_recvv_from_at(const char *site, pro_op *op, pro_datagram *d, const pro_vec *vecs,
                               size_t count, pro_address *from, pro_handler *done);
PRO_API void pro_sendv_to_at(const char *site, pro_op *op, pro_datagram *d, const pro_vec *vecs,
                             size_t count, const pro_address *to, pro_handler *done);
PRO_API void pro_recv_batch_at(const char *site, pro_op *op, pro_datagram *d, pro_message *messages,
                               size_t count, pro_handler *done);
PRO_API void pro_send_batch_at(const char *site, pro_op *op, pro_datagram *d, pro_message *messages,
                               size_t count, pro_handler *done);
PRO_API void pro_datagram_close_at(const char *site, pro_op *op, pro_datagram *d,
                                   pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_recv_from(...) pro_recv_from_at(PRO_SITE, __VA_ARGS__)
#define pro_send_to(...) pro_send_to_at(PRO_SITE, __VA_ARGS__)
#define pro_recvv_from(...) pro_recvv_from_at(PRO_SITE, __VA_ARGS__)
#define pro_sendv_to(...) pro_sendv_to_at(PRO_SITE, __VA_ARGS__)
#define pro_recv_batch(...) pro_recv_batch_at(PRO_SITE, __VA_ARGS__)
#define pro_send_batch(...) pro_send_batch_at(PRO_SITE, __VA_ARGS__)
#define pro_datagram_close(...) pro_datagram_close_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
