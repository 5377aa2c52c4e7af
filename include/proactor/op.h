/* One asynchronous operation, and the promises that everything else rests on.
 *
 * A pro_op is the caller's memory: part of a session, a static, a local of a coroutine.  Zero it
 * once; then initiate with it, wait for its handler, and use it again.
 *
 *     idle --initiate--> in flight --handler begins--> idle
 *
 * Exactly once   Every initiated operation completes exactly once: also when canceled, timed out,
 *                closed under, or out of memory.  (A multishot one completes any number of times
 *                with PRO_MORE in its flags, then once without.)
 * Never inside   No handler runs inside a call that initiates, cancels or closes.
 * Ownership      From initiation until the handler begins the operation and its buffers are the
 *                library's; canceling does not shorten that.  As the handler begins they are the
 *                caller's: inside it the operation may be initiated again, or freed.
 * Two results    error says why it ended, value how many bytes moved, also beside an error.
 * Precedence     The first cause accepted (cancel, deadline, close, scope) stands.  A complete
 *                result is PRO_OK whatever the cause; an incomplete one reports the cause.
 * Misuse         Initiating an operation that is in flight aborts, in every build, and names both
 *                places in the source. */
#ifndef PROACTOR_OP_H
#define PROACTOR_OP_H

#include <proactor/base.h>
#include <proactor/error.h>

/* pro_op.flags, set as a handler begins. */
#define PRO_MORE 1u      /* a multishot operation: this is not its last completion */
#define PRO_TRUNCATED 2u /* a message was longer than its buffer: the rest of it is lost */

PRO_BEGIN_DECLS

/* Internal: what an engine sees of an operation: one kernel step at a time. */
typedef struct pri_step {
    uint8_t     kind;  /* enum pri_step_kind */
    uint8_t     flags; /* PRI_STEP_* */
    uint8_t     op_state;
    uint8_t     op_kind;
    uint32_t    generation; /* how often the operation was initiated */
    pro_handle *handle;
    void       *data; /* a buffer, or a pri_side with vectors or an address */
    size_t      len;
    uint64_t    engine[4]; /* the engine's own: an OVERLAPPED, a link, a key */
} pri_step;

/* 192 bytes on a 64-bit system: three cache lines, asserted by the library. */
struct pro_op {
    /* Results, valid from the moment the handler begins until the next initiation. */
    int64_t  value; /* bytes, or what the initiating function says */
    int32_t  error; /* PRO_OK or one of error.h */
    uint16_t flags; /* PRO_MORE, PRO_TRUNCATED */

    /* May be set before initiating; priority, user and scope stay, a deadline is consumed. */
    uint8_t    priority;    /* reserved: 0 */
    uint8_t    pri_cause;   /* internal: the first cause accepted, negated; 0 is none */
    void      *user;        /* the caller's */
    pro_scope *scope;       /* where it counts; NULL: its handle's scope, else its loop's */
    uint64_t   deadline_ns; /* absolute, on the loop's clock; PRO_NEVER is none */

    /* Internal. */
    pri_link     pri_timer; /* of a slot on the wheel; stands right behind its deadline */
    pro_handler *pri_done;
    pro_loop    *pri_loop;
    const char  *pri_site;
    uint64_t     pri_correlation;
    uint64_t     pri_start_ns;
    pri_link     pri_queue; /* of its handle and direction; then of what is ready */
    pri_link     pri_scope; /* of the operations of its scope */
    pri_step     pri_kernel_step;
};

/* Ask for an operation to be over soon.
 * If it is in flight and no cause was accepted before, it completes with PRO_ECANCELED, or with its
 * result if that came first: see Precedence above.  If it is not in flight, nothing happens.
 * Never runs a handler.  Thread: the operation's loop's.  (Another thread posts: pro_post.)
 * A posted operation (pro_post) cannot be canceled: it is as good as done. */
PRO_API void pro_cancel(pro_op *op);

/* 1 from initiation until the handler begins (of a multishot one: its last), else 0.
 * Thread: the operation's loop's. */
PRO_API int pro_op_in_flight(const pro_op *op);

/* The correlation id: inherited from the handler in which the operation was initiated, new
 * elsewhere.  0 if it was never initiated.  Valid in flight and in the handler. */
PRO_API uint64_t pro_op_correlation(const pro_op *op);

/* Where it was last initiated, "file.c:12"; static.  What it is, "recv"; static. */
PRO_API const char *pro_op_site(const pro_op *op);
PRO_API const char *pro_op_name(const pro_op *op);

PRO_END_DECLS

#endif
