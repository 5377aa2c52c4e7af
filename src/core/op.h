/* The life of one operation: its state is written here and in op.c, nowhere else.
 *
 *            begin            start             record
 *     IDLE ---------> QUEUED ---------> STARTED ---------> (handler) IDLE
 *       |               |                  | `---> HELD ----^     bytes went, memory is not yet free: hold.c
 *       |               | finish           | finish        a result without the kernel
 *       |               v                  v
 *       |             READY <--------------+ ------------> (handler) IDLE
 *       | posted
 *       +-----------> POSTED ----------------------------> (handler) IDLE
 */
#ifndef PRI_OP_H
#define PRI_OP_H

#include "core/checked.h"
#include "core/layout.h"
#include "core/loop.h"

typedef enum pri_op_state {
    PRI_IDLE,
    PRI_QUEUED,
    PRI_STARTED,
    PRI_HELD,
    PRI_READY,
    PRI_POSTED
} pri_op_state;

/* X(KIND, name).  The order matters to is_write, is_transfer and is_send below. */
#define PRI_OP_KINDS(X)                                                                            \
    X(NONE, "none")                                                                                \
    X(POST, "post")                                                                                \
    X(TIMER, "timer")                                                                              \
    X(SIGNAL, "signal")                                                                            \
    X(GO, "go")                                                                                    \
    X(YIELD, "yield")                                                                              \
    X(JOIN, "join")                                                                                \
    X(GUARD, "coroutine")                                                                          \
    X(BLOCKING, "run_blocking")                                                                    \
    X(FILE_OPEN, "file_open")                                                                      \
    X(FILE_READ, "file_read")                                                                      \
    X(FILE_READ_EXACTLY, "file_read_exactly")                                                      \
    X(FILE_WRITE, "file_write")                                                                    \
    X(FILE_SYNC, "file_sync")                                                                      \
    X(FILE_DATASYNC, "file_datasync")                                                              \
    X(FILE_ALLOCATE, "file_allocate")                                                              \
    X(FILE_TRUNCATE, "file_truncate")                                                              \
    X(FILE_ADVISE, "file_advise")                                                                  \
    X(FILE_STAT, "file_stat")                                                                      \
    X(FILE_LIST, "file_list")                                                                      \
    X(PATH_STAT, "path_stat")                                                                      \
    X(PATH_RENAME, "path_rename")                                                                  \
    X(PATH_LINK, "path_link")                                                                      \
    X(PATH_SYMLINK, "path_symlink")                                                                \
    X(PATH_UNLINK, "path_unlink")                                                                  \
    X(PATH_MKDIR, "path_mkdir")                                                                    \
    X(PATH_RMDIR, "path_rmdir")                                                                    \
    X(PATH_READ, "path_read")                                                                      \
    X(PATH_REPLACE, "path_replace")                                                                \
    X(BUFFERS_WAIT, "buffers_wait")                                                                \
    X(CLOSE, "close")                                                                              \
    X(RESOLVE, "resolve")                                                                          \
    X(ACCEPT, "accept")                                                                            \
    X(ACCEPT_MULTI, "accept_multi")                                                                \
    X(POLL_IN, "poll")                                                                             \
    X(RECV_HANDLES, "recv_handles")                                                                \
    X(RECV_FROM, "recv_from")                                                                      \
    X(RECV_BATCH, "recv_batch")                                                                    \
    X(EXIT, "child")                                                                               \
    X(PROCESS_WAIT, "process_wait")                                                                \
    X(WATCH, "watch")                                                                              \
    X(COPY_STREAM, "copy_stream")                                                                  \
    X(COPY_IN, "copy_stream")                                                                      \
    X(RECV_LEASED, "recv_leased")                                                                  \
    X(RECV_MULTI, "recv_multi")                                                                    \
    X(RECV_FROM_MULTI, "recv_from_multi")                                                          \
    X(RECV, "recv")                                                                                \
    X(RECV_EXACTLY, "recv_exactly")                                                                \
    X(SEND, "send")                                                                                \
    X(SEND_HANDLES, "send_handles")                                                                \
    X(SEND_ALL, "send_all")                                                                        \
    X(SEND_ZEROCOPY, "send_zerocopy")                                                              \
    X(SEND_TO, "send_to")                                                                          \
    X(SEND_BATCH, "send_batch")                                                                    \
    X(COPY_FILE, "copy_file")                                                                      \
    X(COPY_OUT, "copy_stream")                                                                     \
    X(SHUTDOWN, "shutdown")                                                                        \
    X(CONNECT, "connect")                                                                          \
    X(CONNECT_HOST, "connect_host")                                                                \
    X(SPAWN, "spawn")                                                                              \
    X(POLL_OUT, "poll")

typedef enum pri_op_kind {
#define PRI_OP_ENUM(kind, name) PRI_OP_##kind,
    PRI_OP_KINDS(PRI_OP_ENUM)
#undef PRI_OP_ENUM
} pri_op_kind;

typedef enum pri_handle_state {
    PRI_HANDLE_NONE, /* zeroed */
    PRI_HANDLE_OPEN,
    PRI_HANDLE_CLOSING,
    PRI_HANDLE_CLOSED
} pri_handle_state;

/* pri_step.flags that belong to the core. */
#define PRI_STEP_UNCOUNTED 0x10u /* its handle may be gone: data is the scope it counts in */
#define PRI_STEP_SIDE 0x20u      /* data is a side object, ours to give back */
#define PRI_STEP_PART 0x40u      /* data is a pri_part, or a pri_side that names one */
#define PRI_STEP_POOLED 0x80u    /* started, and with the pool: job.h */

/* What the core calls for an operation that a part above it sees through.  Such an operation has no
 * kernel step, or one of readiness, or one that tries, or a transfer of a side object.
 *
 *     head       it is at the head of its queue, and has no step: begin (pri_op_wait) or finish it
 *     attempt    of a step that tries (PRI_STEP_TRY_IN, _OUT): as there
 *     record     its step was reported: finish it, or start it again
 *     canceled   begun without a step, it has a cause now: true, and it finishes with that after this;
 *                false: it will be finished as if it had none, soon
 *
 * All of them finish by pri_handle_finish, so that no handler runs inside. */
typedef struct pri_part {
    pri_attempt *attempt;
    void (*head)(pro_op *op);
    void (*record)(pro_op *op, const pri_record *record);
    bool (*canceled)(pro_op *op);
} pri_part;

static inline pri_op_state pri_op_state_of(const pro_op *op)
{
    return (pri_op_state)(op->pri_kernel_step.op_state & ~(PRI_STEP_PLAIN | PRI_STEP_FOLLOWED));
}

static inline pri_op_kind pri_op_kind_of(const pro_op *op)
{
    return (pri_op_kind)op->pri_kernel_step.op_kind;
}

/* Does it stand in the write queue of its handle?  Does it move bytes? */
static inline bool pri_op_is_write(pri_op_kind kind) { return kind >= PRI_OP_SEND; }

/* Must it be over before reads may start? */
static inline bool pri_op_is_connect(pri_op_kind kind)
{
    return kind >= PRI_OP_CONNECT && kind <= PRI_OP_SPAWN;
}

static inline bool pri_op_is_transfer(pri_op_kind kind)
{
    return kind >= PRI_OP_RECV && kind <= PRI_OP_SEND_ALL;
}

static inline const pri_part *pri_op_part(const pro_op *op)
{
    const pri_step *step = &op->pri_kernel_step;
    if (!(step->flags & PRI_STEP_PART)) return NULL;
    return step->flags & PRI_STEP_VECTORS ? ((const pri_side *)step->data)->part : step->data;
}

/* Does it send data? */
static inline bool pri_op_is_send(pri_op_kind kind)
{
    return kind >= PRI_OP_SEND && kind <= PRI_OP_COPY_OUT;
}

_Noreturn void pri_op_abort_in_flight(const char *site, const pro_op *op, pri_op_kind kind);
_Noreturn void pri_op_abort_completed(const pro_loop *loop, const pro_op *op);

/* IDLE -> QUEUED, with a step of this kind, counted in its scope, which is returned: its own, or home. */
static inline pro_scope *pri_op_prepare(pro_op *op, pro_handle *handle, pro_scope *home,
                                        pri_step_kind step_kind, pri_op_kind kind, const char *site,
                                        pro_handler *done)
{
    pri_step *step = &op->pri_kernel_step;
    pro_loop *loop = home->pri_loop;
    PRI_CHECKED(may_begin, op, loop, handle, site, kind);
    if (PRI_RARELY(step->op_state != PRI_IDLE)) pri_op_abort_in_flight(site, op, kind);
    step->kind = (uint8_t)step_kind;
    step->flags = 0;
    step->op_state = PRI_QUEUED;
    step->op_kind = (uint8_t)kind;
    step->generation++;
    step->handle = handle;
    op->value = 0;
    op->pri_done = done;
    op->pri_loop = loop;
    op->pri_site = site;
    op->pri_correlation = loop->correlation ? loop->correlation : ++loop->correlation_last;
    op->pri_start_ns = loop->now_ns;

    pro_scope *scope = op->scope ? op->scope : home;
    PRI_CHECKED(begun, op, scope);
    pri_list_append(&scope->pri_ops, &op->pri_scope);
    pri_scope_count(scope);
    loop->initiated++;
    return scope;
}

/* It has its result already: a closing scope, a closed handle. */
void pri_op_refuse(pro_op *op, pro_scope *scope, int error);

/* Would it be admitted, and has it no deadline? */
static inline bool pri_op_is_plain(const pro_op *op, const pro_scope *scope)
{
    const pro_handle *handle = op->pri_kernel_step.handle;
    return handle->pri_state == PRI_HANDLE_OPEN && scope->pri_state < PRI_SCOPE_CLOSING &&
           op->deadline_ns == PRO_NEVER;
}

/* A prepared operation: counted on its handle, its deadline on the wheel; or, and then the answer is
 * false, it is refused and has its result. */
static inline bool pri_op_admit(pro_op *op, pro_scope *scope)
{
    pro_handle *handle = op->pri_kernel_step.handle;
    bool        is_closed = handle && handle->pri_state != PRI_HANDLE_OPEN;
    if (is_closed || scope->pri_state >= PRI_SCOPE_CLOSING) {
        pri_op_refuse(op, scope, is_closed ? PRO_ECLOSED : PRO_ECANCELED);
        return false;
    }
    if (handle) handle->pri_live++;
    if (op->deadline_ns != PRO_NEVER) pri_wheel_insert(&op->pri_loop->timers, &op->pri_timer);
    return true;
}

/* Begin the life of an operation: prepare and admit; aborts if it is in flight.  handle may be NULL.
 * false: it was refused and has its result. */
static inline bool pri_op_begin(pro_op *op, pro_loop *loop, pro_handle *handle, pri_op_kind kind,
                                const char *site, pro_handler *done)
{
    pro_scope *home = handle ? handle->pri_scope : &loop->root;
    return pri_op_admit(op, pri_op_prepare(op, handle, home, PRI_STEP_NONE, kind, site, done));
}

/* The same for an operation that ends handles: never refused, no deadline. */
void pri_op_begin_close(pro_op *op, pro_handle *handle, const char *site, pro_handler *done);

/* QUEUED -> STARTED: the step goes to the engine. */
static inline void pri_op_start(pro_op *op)
{
    op->pri_kernel_step.op_state = PRI_STARTED;
    op->pri_loop->engine->start(op->pri_loop, &op->pri_kernel_step);
}

/* QUEUED -> STARTED, with nothing for the engine: a part of the core will finish it. */
static inline void pri_op_wait(pro_op *op) { op->pri_kernel_step.op_state = PRI_STARTED; }

/* QUEUED or STARTED -> READY: this is the result; the handler runs on this or the next turn.  The
 * operation must be in no queue. */
void pri_op_finish(pro_op *op, int error, int64_t value);

/* Records of the engine, each most often the end of its operation.  Their handlers run in here. */
void pri_op_run_records(pro_loop *loop, const pri_record *records, int count);

/* A result that came from the kernel: STARTED -> IDLE, and run the handler, as the last thing. */
void pri_op_complete(pro_op *op, int error, int64_t value);

/* The same with a word on the result in op->flags. */
void pri_op_complete_flagged(pro_op *op, int error, int64_t value, unsigned flags);

/* The same for a completion that is not the last one: PRO_MORE is among the flags. */
void pri_op_complete_more(pro_op *op, int64_t value, unsigned flags);

/* Run the handlers of all operations that are READY now. */
void pri_op_run_ready(pro_loop *loop);

/* Take what was posted and run it, in the order of posting. */
void pri_op_run_posts(pro_loop *loop, int error);

/* Operations whose time has come: finish timers, cancel the others.  due is what the wheel gave; an
 * operation whose result came in the meantime has left it by itself. */
void pri_op_expire(pri_link *due);

/* Accept a cause, if there is none yet and the result does not stand. */
void pri_op_cancel(pro_op *op, int cause);

/* Its loop goes without completing it: the caller's again, and not in flight. */
void pri_op_abandon(pro_op *op);

/* Whose handlers run on this thread from now on, for the correlation of posts; NULL: none.  Returns
 * whose they were. */
pro_loop *pri_op_set_current_loop(pro_loop *loop);
pro_loop *pri_op_current_loop(void);

/* Which coroutine runs on that loop, and so on this thread; never NULL. */
extern PRI_OF_THREAD pri_runs *pri_runs_here;
extern pri_runs                pri_nobody;

/* The loop has coroutines from now on. */
void pri_loop_set_runs(pro_loop *loop, pri_runs *runs);

/* The order of initiation on the wheel. */
bool pri_op_before(const pri_link *a, const pri_link *b);

/* What it is, where, how old, in one line. */
size_t pri_op_describe(const pro_op *op, char *buf, size_t size);

/* handle.c ------------------------------------------------------------------------------------ */

typedef enum pri_direction { PRI_READ, PRI_WRITE } pri_direction;

/* pro_handle.pri_flags; 0: whatever comes to the head of a queue goes straight to the engine. */
#define PRI_HANDLE_HOLE 0x01u       /* a send was cut short: the write side is over */
#define PRI_HANDLE_SHUT 0x02u       /* the sending side was shut down */
#define PRI_HANDLE_ABORTIVE 0x04u   /* close with a reset */
#define PRI_HANDLE_BARE 0x08u       /* no descriptor as yet */
#define PRI_HANDLE_CONNECTING 0x10u /* pri_connecting > 0 */
#define PRI_HANDLE_LOST 0x20u       /* the connection is lost: no end of stream is one */
#define PRI_HANDLE_ENDING 0x80u     /* its scope is draining or closing: plain.h */
#define PRI_HANDLE_PLAIN 0x40u /* its descriptor is no socket; pri_family has PRI_PLAIN_ bits */

/* A handle becomes the library's, in a scope; fd may be -1.  In a closing scope it is closed from the
 * start, and fd is still the caller's. */
void pri_handle_init(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                     intptr_t fd);

/* Run what is at the head of a direction until something is with the kernel or nothing is left. */
void pri_handle_start(pro_handle *handle, pri_direction direction);

/* The step of the head of a queue: to the engine, or to the pool. */
void pri_handle_start_step(pro_op *op);

/* Leave the queue of its handle, or whatever list it stands in. */
static inline void pri_op_unqueue(pro_op *op)
{
    pro_handle *handle = op->pri_kernel_step.handle;
    if (handle)
        pri_queue_remove(&handle->pri_queue[pri_op_is_write(pri_op_kind_of(op))], &op->pri_queue);
    else
        pri_list_unlink(&op->pri_queue);
}

/* Another one is about to stand behind it.  A plain one, which stood in its queue alone, has no links yet. */
static inline void pri_op_follow(pro_op *op)
{
    pri_step *step = &op->pri_kernel_step;
    if ((step->op_state & (PRI_STEP_PLAIN | PRI_STEP_FOLLOWED)) != PRI_STEP_PLAIN) return;
    step->op_state |= PRI_STEP_FOLLOWED;
    pri_list_init(&op->pri_queue);
}

/* Queue a begun operation in a direction; start it if it is the first. */
static inline void pri_handle_queue(pro_op *op, pro_handle *handle, pri_direction direction,
                                    bool has_step)
{
    pri_link **queue = &handle->pri_queue[direction];
    bool       is_first = !*queue;
    if (!is_first) pri_op_follow(pro_container_of(*queue, pro_op, pri_queue));
    pri_queue_append(queue, &op->pri_queue);
    if (!is_first) return;
    if (handle->pri_flags == 0 && has_step)
        pri_op_start(op);
    else
        pri_handle_start(handle, direction);
}

/* A connect is about to be queued: from now on the reads wait. */
void pri_handle_connecting(pro_handle *handle);

/* Move a step past the bytes that were transferred. */
void pri_step_advance(pri_step *step, size_t bytes);

/* A begun transfer of length zero: complete on the next turn without the kernel. */
void pri_handle_nothing(pro_op *op, pri_direction direction);

/* A record that is not simply a whole transfer: a part of one, its end, an accept, a connect. */
void pri_handle_record(pro_loop *loop, pro_op *op, const pri_record *record);

/* Why it cannot even be tried; PRO_OK: it can. */
int pri_handle_refusal(const pro_handle *handle, pri_op_kind kind, pri_direction direction);

/* The head of its queue has its result, from a record: the queue moves on, then its handler runs. */
void pri_handle_complete(pro_op *op, int error, int64_t value);

/* The head of its queue has its result, without a record: the queue moves on, its handler runs on this
 * or the next turn. */
void pri_handle_finish(pro_op *op, int error, int64_t value);

/* What the system said to one operation, perhaps instead of all others: if the connection is lost, the
 * handle remembers it. */
void pri_handle_heard(pro_handle *handle, int error);

/* Linux says EPIPE to a receive for which the reset came right behind the end of the stream. */
static inline int pri_handle_recv_error(int error)
{
    return error == PRO_EPIPE ? PRO_ECONNRESET : error;
}

/* A receive on a stream found nothing and no error: was that its end? */
static inline int pri_handle_stream_end(const pro_handle *handle)
{
    return handle->pri_flags & PRI_HANDLE_LOST ? PRO_ECONNRESET : PRO_EOF;
}

/* A send has this result: does it leave a hole? */
void pri_handle_sent(pro_handle *handle, int error, int64_t value);

/* hold.c: a record of a zero-copy send; a cause that came while it is HELD and has no result. */
void pri_hold_record(pro_op *op, const pri_record *record);
void pri_hold_canceled(pro_op *op);

/* The operation left its queue without a record: it was canceled before it started. */
void pri_handle_left(pro_op *op);

/* Aborts if it was never made. */
void pri_handle_must_be_made(const pro_handle *handle, const char *site);

/* What every close of a user does: an operation that completes when the handle has ended. */
void pri_handle_close_op(const char *site, pro_op *op, pro_handle *handle, bool abortive,
                         pro_handler *done);

/* Close; op, if not NULL, is a begun close that completes at the end. */
void pri_handle_close(pro_handle *handle, pro_op *op, bool abortive);

/* Nothing of a closing handle is in flight any more: give the descriptor back, then it is over. */
void pri_handle_end(pro_handle *handle);

/* (engine.h) pri_handle_ended: its descriptor is given back, if it had one: the closers are over, the
 * first one with the error. */

/* What it is, in a word. */
static inline const char *pri_handle_name(const pro_handle *handle)
{
    static const char *const names[] = {"socket",  "listener", "datagram", "pollable",
                                        "process", "watcher",  "file"};
    return names[handle->pri_kind];
}

/* One operation fewer; of a closing handle the last one ends it. */
static inline void pri_handle_uncount(pro_handle *handle)
{
    if (--handle->pri_live == 0 && handle->pri_state == PRI_HANDLE_CLOSING) pri_handle_end(handle);
}

void pri_handle_cancel(pro_handle *handle, int cause);

/* The plain operation of a direction, or NULL. */
static inline pro_op *pri_handle_plain_op(const pro_handle *handle, pri_direction direction)
{
    pri_link *first = handle->pri_queue[direction];
    if (!first) return NULL;
    pro_op *op = pro_container_of(first, pro_op, pri_queue);
    return op->pri_kernel_step.op_state & PRI_STEP_PLAIN ? op : NULL;
}

/* Its scope begins to end: nothing on it is plain from now on. */
void pri_handle_unplain(pro_handle *handle);

/* The descriptor of from, on which nothing is in flight, is to's, which has none; from has none then. */
void pri_handle_take(pro_handle *to, pro_handle *from);

/* Its loop goes without closing it: as if it had never been made. */
void pri_handle_abandon(pro_handle *handle);

#endif
