/* Pools of buffers, and receives that take theirs from one when there are bytes to put into it.
 *
 * A receive with a buffer of its own holds that memory for as long as it waits: a hundred thousand idle
 * connections hold a hundred thousand buffers.  A leased receive names a pool instead; the kernel
 * (io_uring: a provided-buffer ring) or the engine (epoll, IOCP) picks a free buffer as data arrives.  And since
 * a buffer need not be named beforehand, one operation can go on receiving: pro_recv_multi, and of datagrams
 * pro_recv_from_multi.
 *
 *     pool --a completion--> leased --the handler returns, or pro_lease_give--> pool
 *
 * Inside the handler the bytes are at pro_lease_peek(op), op->value of them.  As the handler returns the
 * buffer goes back by itself, unless pro_lease_take made it the caller's, until pro_lease_give.  A lease
 * belongs to its pool, and outlives cancel, close and the last completion of the operation.
 *
 * All buffers leased: the operation ends with PRO_ENOBUFS.  Nothing is lost, the bytes stay in the socket.
 * Initiating again at once would most likely only say so again: pro_buffers_wait completes when there is
 * one.
 *
 * The bound.  Of one pool no more buffers than undelivered_max (pro_loop_options; by default 1024) ever hold what
 * was received and whose handler has not begun, however much the peers send and however long a handler takes; so
 * after a cancel or a close there come no more than that, either.  At the bound all receives of the pool
 * pause, and go on by themselves as handlers run; what comes meanwhile stays in the sockets.  There a stream waits for its
 * peer, and loses nothing; of datagrams the system drops those for which a socket has no room
 * (PRO_OPT_RECV_BUFFER), and tells nobody.
 *
 * Thread, for all of it: the loop's. */
#ifndef PROACTOR_BUFFERS_H
#define PROACTOR_BUFFERS_H

#include <proactor/base.h>
#include <proactor/datagram.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

typedef struct pro_buffers pro_buffers;

#define PRO_BUFFERS_MAX 32768 /* buffers in one pool */

/* Make a pool of count buffers of size bytes each (size > 0, at most 2^30) for the receives of a loop.
 * Returns PRO_OK; or PRO_EINVAL, PRO_ENOMEM, and then
 * *buffers is untouched.  What is left of pools is freed with the loop. */
PRO_API int pro_buffers_new(pro_buffers **buffers, pro_loop *loop, uint32_t count, uint32_t size);

/* Free a pool.  Returns PRO_OK; PRO_EBUSY as long as a buffer is leased, or an operation in flight is to
 * take one or waits for one: then it is as it was.  NULL: PRO_OK. */
PRO_API int pro_buffers_free(pro_buffers *buffers);

/* How many are free now. */
PRO_API uint32_t pro_buffers_available(const pro_buffers *buffers);

/* A buffer that is the caller's for a while. */
typedef struct pro_lease {
    void        *data; /* the bytes, */
    size_t       len;  /* so many of them; the rest of the buffer may be used as well */
    pro_buffers *pri_buffers;
    uint32_t     pri_id;
} pro_lease;

/* Inside the handler of a leased receive with PRO_OK: the op->value bytes (of an empty datagram none, but its
 * buffer); NULL if there is nothing, or it was taken. */
PRO_API void *pro_lease_peek(const pro_op *op);

/* There as well, before op is used again: the buffer is the caller's.  Returns PRO_OK; PRO_EINVAL if
 * there is none to take. */
PRO_API int pro_lease_take(pro_op *op, pro_lease *lease);

/* Give it back; lease is empty then, and giving an empty one does nothing. */
PRO_API void pro_lease_give(pro_lease *lease);

/* Receive into a buffer of the pool: as pro_recv (order, PRO_EOF, cancel, deadline), with a lease in place
 * of a buffer.  At most as many bytes as a buffer has.
 * Errors: PRO_ENOBUFS; PRO_ENOTSUP for what is no socket (a pipe, a terminal); those of pro_recv. */
PRO_API void pro_recv_leased(pro_op *op, pro_socket *s, pro_buffers *buffers, pro_handler *done);

/* Receive until it ends: one completion with PRO_OK, PRO_MORE and a lease for each piece of the stream, in
 * order; then one without PRO_MORE: PRO_EOF, PRO_ECANCELED, PRO_ETIMEDOUT, PRO_ENOBUFS, or another error.
 * After PRO_ECANCELED, PRO_ETIMEDOUT and PRO_ENOBUFS the stream goes on where it was: nothing was lost.
 * There is no other back-pressure than the pool: who cannot keep up cancels, and receives again later. */
PRO_API void pro_recv_multi(pro_op *op, pro_socket *s, pro_buffers *buffers, pro_handler *done);

/* So many bytes at the beginning of a buffer are where a datagram's sender stands; the rest is for its data, which a
 * lease points to. */
#define PRO_DATAGRAM_HEAD 128

/* Receive datagrams until it ends: one completion with PRO_OK, PRO_MORE and a lease for each of them, in the order in
 * which the system has them; then one without PRO_MORE: PRO_ECANCELED, PRO_ETIMEDOUT, PRO_ENOBUFS,
 * PRO_ECONNREFUSED (the peer's, of a connected socket), or another error; none of these loses any that the
 * system had taken.  value is the length, 0 for an empty one, which has a buffer, too; PRO_TRUNCATED in op->flags: it was
 * longer than a buffer of the pool less PRO_DATAGRAM_HEAD, and what did not fit is lost.
 * *from (it may be NULL) is who sent it, written before each handler; of Unix sockets pro_received_name
 * has the name, if there is a from.
 * Ours until the last handler: op, from.  Errors, beside those of pro_recv_from: PRO_EINVAL, for a pool whose
 * buffers have no room behind the head. */
PRO_API void pro_recv_from_multi(pro_op *op, pro_datagram *d, pro_buffers *buffers,
                                 pro_address *from, pro_handler *done);

/* Complete PRO_OK when a buffer is free: at once if one is now.  Those that wait are served in order, one
 * for each buffer that comes back; another receive may be quicker to take it.  Who is served may take none (its
 * stream has ended, or nothing comes): what is still free some turns later serves the next ones.
 * Ours until the handler: op.  Errors: PRO_ECANCELED, PRO_ETIMEDOUT. */
PRO_API void pro_buffers_wait(pro_op *op, pro_buffers *buffers, pro_handler *done);

/* The same with the call site given: for macros and other languages. */
PRO_API void pro_recv_leased_at(const char *site, pro_op *op, pro_socket *s, pro_buffers *buffers,
                                pro_handler *done);
PRO_API void pro_recv_multi_at(const char *site, pro_op *op, pro_socket *s, pro_buffers *buffers,
                               pro_handler *done);
PRO_API void pro_recv_from_multi_at(const char *site, pro_op *op, pro_datagram *d,
                                    pro_buffers *buffers, pro_address *from, pro_handler *done);
PRO_API void pro_buffers_wait_at(const char *site, pro_op *op, pro_buffers *buffers,
                                 pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_recv_leased(...) pro_recv_leased_at(PRO_SITE, __VA_ARGS__)
#define pro_recv_multi(...) pro_recv_multi_at(PRO_SITE, __VA_ARGS__)
#define pro_recv_from_multi(...) pro_recv_from_multi_at(PRO_SITE, __VA_ARGS__)
#define pro_buffers_wait(...) pro_buffers_wait_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
