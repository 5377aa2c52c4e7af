/* Copying to a socket without passing through the program's memory: a file, or what another socket receives.
 *
 * A file: where the system can (sendfile, TransmitFile), pages go from its cache to the connection as they are.  What is not in
 * the cache is fetched by a thread of the loop's pool, so that a disk does not hold the loop up.  Files
 * that cannot be sent so (of some special file systems), and those of simulated worlds, go through a buffer.
 *
 * A stream: where the system can (splice), what one socket received goes by a pipe of the kernel's to the
 * other one.  A pipe is taken when there are bytes and given back when they went, so that idle copies hold
 * none.  Where it cannot (simulated worlds, Windows, terminals, no descriptors left) a buffer does it. */
#ifndef PROACTOR_COPY_H
#define PROACTOR_COPY_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* Copy to the end of the file, wherever that is when it is reached. */
#define PRO_COPY_ALL UINT64_MAX

typedef struct pro_copy {
    intptr_t file;   /* a descriptor open for reading; the caller's, who keeps it open */
    uint64_t offset; /* where to begin; the file's own position is not used and not moved */
    uint64_t len;    /* how much, or PRO_COPY_ALL */
    uint64_t
        copied; /* progress: how much the system took; may be read at any time on the loop's thread */

    /* Internal. */
    pro_op  pri_job;
    pro_op *pri_op;
    void   *pri_vessel;
} pro_copy;

/* Send a part of a file, behind what is queued on the socket, and before what comes later.  PRO_OK and how
 * much that was; or an error beside it, as for pro_send_all: a copy that is cut short leaves a hole.
 * The peer may see changes that are made to the file while it is copied.
 * Ours until the handler: op, copy, the file's descriptor.  Thread: the loop's.  Never completes inside.
 * Errors: PRO_EOF (the file ended before len), those of pro_send_all, PRO_EBADF, PRO_EIO, PRO_EAGAIN (no thread
 * to read it), PRO_EINVAL (it has no offsets: a pipe). */
PRO_API void pro_copy_file(pro_op *op, pro_socket *s, pro_copy *copy, pro_handler *done);
PRO_API void pro_copy_file_at(const char *site, pro_op *op, pro_socket *s, pro_copy *copy,
                              pro_handler *done);

typedef enum pro_flow_end {
    PRO_FLOW_WHOLE, /* or a cause: a cancel, a deadline, a close, a scope */
    PRO_FLOW_FROM,  /* the error is that of the source */
    PRO_FLOW_TO     /* of the sink */
} pro_flow_end;

/* One direction, from a source to a sink.  Zeroed, but for what is set before. */
typedef struct pro_flow {
    uint64_t max; /* how much, or PRO_COPY_ALL: to the end of the source's stream */

    /* NULL, or called from the loop when the sink took some: never inside another call.  It may do what a
     * handler may, but for giving up the memory of op and flow. */
    void (*progress)(struct pro_flow *flow);
    void *user; /* the caller's */

    /* May be read at any time on the loop's thread. */
    uint64_t     copied; /* bytes that the sink's system took */
    uint64_t     taken;  /* that were taken from the source; never less */
    pro_flow_end end;    /* at the handler: whose error it is */

    /* Internal. */
    pro_op      pri_in, pri_out;
    pro_op     *pri_op;
    pro_handle *pri_to;
    void       *pri_vessel;
    int32_t     pri_error;
    uint8_t     pri_left, pri_form, pri_is_over;
} pro_flow;

/* Copy what from receives to to, which may be the same socket: TCP, Unix streams, pipes and all else that is
 * a pro_socket (pipe.h).  It stands in two queues as of this call, among the receives of from and among the
 * sends of to, and goes on when it is the head of both; the other directions of the two are free.  It
 * takes no more when the sink takes no more.
 *
 * PRO_OK and how much that was: max bytes, or (PRO_COPY_ALL) all until the source's end.  The sink is not
 * shut down: that is the caller's to choose (pro_shutdown).  Or an error, with value = flow.copied:
 * flow.end says whose it is.  A cancel, a deadline, and a close of either socket (which completes after this)
 * end it.
 *
 * What an end before the end leaves: flow.taken - flow.copied bytes are lost, taken from the source and not given
 * to the sink; at most 256 KiB, none if the sink was keeping up.  If some are, or if max was a number and
 * copied is between 0 and that, then the sink has a hole (net.h); else both sockets go on as they were.
 *
 * Ours until the handler: op, flow.  from and to are of one loop: another one aborts.
 * Thread: the loop's.  Never completes inside.
 * Errors: PRO_EOF (the source ended before max), those of pro_recv and pro_send_all. */
PRO_API void pro_copy_stream(pro_op *op, pro_socket *from, pro_socket *to, pro_flow *flow,
                             pro_handler *done);
PRO_API void pro_copy_stream_at(const char *site, pro_op *op, pro_socket *from, pro_socket *to,
                                pro_flow *flow, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_copy_file(...) pro_copy_file_at(PRO_SITE, __VA_ARGS__)
#define pro_copy_stream(...) pro_copy_stream_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
