/* Sockets and listeners inside: one queue of operations for each direction, one kernel step at a time
 * in each, composed operations, holes, close.
 *
 * The head of a queue is the operation that runs; it leaves when its result stands, and the next one
 * is started before the handler is called.  connect stands in the write queue; while there is one the
 * read queue waits.  shutdown and the others that need no kernel step finish when they reach the head.
 *
 * Invariants:
 *   at most the head of a queue is STARTED or HELD
 *   pri_live     = operations of this handle that are counted and not yet delivered
 *   pri_closers  is not NULL   ==>  state == CLOSING
 *   state == CLOSING           ==>  pri_live > 0 (the last one to be delivered ends the handle) */
#include "core/buffers.h"
#include "core/call.h"
#include "core/job.h"

static pro_op *op_of_queue(pri_link *link) { return pro_container_of(link, pro_op, pri_queue); }

static pri_direction direction_of(const pro_op *op)
{
    return pri_op_is_write(pri_op_kind_of(op)) ? PRI_WRITE : PRI_READ;
}

void pri_handle_init(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                     intptr_t fd)
{
    PRI_CHECKED(handle_new, handle, loop, scope);
    if (handle->pri_state == PRI_HANDLE_CLOSING)
        pri_abort("a handle is made again while it closes");
    *handle = (pro_handle){
        .pri_loop = loop,
        .pri_scope = scope ? scope : &loop->root,
        .pri_fd = fd,
        .pri_kind = (uint8_t)kind,
        .pri_state = PRI_HANDLE_OPEN,
        .pri_flags = fd < 0 ? PRI_HANDLE_BARE : 0,
    };
    if (pro_scope_draining(handle->pri_scope)) handle->pri_flags |= PRI_HANDLE_ENDING;
    if (pro_scope_closing(handle->pri_scope)) { /* nobody would close it any more */
        handle->pri_state = PRI_HANDLE_CLOSED;
        return;
    }
    pri_list_append(&handle->pri_scope->pri_handles, &handle->pri_of_scope);
    handle->pri_scope->pri_idle++;
    pri_scope_count(handle->pri_scope);
    loop->live_handles++;
    PRI_CHECKED(handle_open, handle);
}

void pri_handle_must_be_made(const pro_handle *handle, const char *site)
{
    if (!handle->pri_loop) pri_abort("%s: a handle that was never initialised", site);
}

/* What stands behind it in its queue, or NULL. */
static pri_link *behind(const pro_handle *handle, pri_direction direction, const pro_op *op)
{
    unsigned state = op->pri_kernel_step.op_state;
    if ((state & (PRI_STEP_PLAIN | PRI_STEP_FOLLOWED)) == PRI_STEP_PLAIN) return NULL;
    return pri_queue_next(&handle->pri_queue[direction], &op->pri_queue);
}

/* ---- Starting ------------------------------------------------------------------------------- */

static bool may_start(const pro_handle *handle, pri_direction direction)
{
    return direction == PRI_WRITE || handle->pri_connecting == 0;
}

/* The wrong end of a pipe would never be ready. */
static bool has_direction(const pro_handle *handle, pri_direction direction)
{
    unsigned missing = direction == PRI_READ ? PRI_PLAIN_NO_READ : PRI_PLAIN_NO_WRITE;
    return !(handle->pri_flags & PRI_HANDLE_PLAIN) || !(handle->pri_family & missing);
}

/* What is no socket has no half: the end of what is only written to is its close. */
static int shut_down_plain(pro_loop *loop, pro_handle *handle)
{
    if (!(handle->pri_family & PRI_PLAIN_NO_READ)) return PRO_ENOTSUP;
    if (handle->pri_queue[PRI_READ]) return PRO_EBUSY; /* how senseless */
    loop->engine->detach(loop, handle);
    loop->net->close(&loop->env, handle->pri_fd, 0);
    handle->pri_fd = -1;
    handle->pri_flags |= PRI_HANDLE_SHUT;
    return PRO_OK;
}

/* End the sending side; again is no error.  PRO_OK or one of ours. */
static int shut_down(pro_handle *handle)
{
    pro_loop *loop = handle->pri_loop;
    if (handle->pri_flags & PRI_HANDLE_SHUT) return PRO_OK;
    if (handle->pri_flags & PRI_HANDLE_PLAIN) return shut_down_plain(loop, handle);
    int error = loop->net->shutdown(&loop->env, handle->pri_fd);
    if (!error) handle->pri_flags |= PRI_HANDLE_SHUT;
    return pri_os_error(error);
}

int pri_handle_refusal(const pro_handle *handle, pri_op_kind kind, pri_direction direction)
{
    bool is_over = handle->pri_flags & (PRI_HANDLE_HOLE | PRI_HANDLE_SHUT);
    if (!has_direction(handle, direction)) return PRO_EBADF;
    if (pri_op_is_send(kind) && is_over) return PRO_EPIPE;
    return handle->pri_fd < 0 && !is_over ? PRO_ENOTCONN : PRO_OK;
}

/* To the engine; or to the pool, what might wait and never says so. */
static inline void start_step(pro_op *op)
{
    const pri_step *step = &op->pri_kernel_step;
    if (PRI_RARELY(step->flags & PRI_STEP_BY_CALL) && step->handle->pri_kind == PRI_SOCKET &&
        step->handle->pri_family & PRI_PLAIN_FILE)
        pri_job_start_pooled(op);
    else
        pri_op_start(op);
}

void pri_handle_start_step(pro_op *op) { start_step(op); }

/* Behind zero-copy sends whose memory is not yet free (hold.c): the next one, if it is of that kind and would
 * not fail, since handlers are to run in order.  All others wait. */
static pro_op *next_behind_held(pro_handle *handle)
{
    pri_link *const *queue = &handle->pri_queue[PRI_WRITE];
    pri_link        *link = *queue;
    for (uint32_t i = 0; i < handle->pri_held && link; i++) link = pri_queue_next(queue, link);
    if (!link) return NULL;
    pro_op *op = op_of_queue(link);
    bool    may =
        pri_op_kind_of(op) == PRI_OP_SEND_ZEROCOPY && !(handle->pri_flags & ~PRI_HANDLE_ENDING);
    return may ? op : NULL;
}

void pri_handle_start(pro_handle *handle, pri_direction direction)
{
    pri_link *const *queue = &handle->pri_queue[direction];
    while (*queue && may_start(handle, direction)) {
        pro_op *op = op_of_queue(*queue);
        if (PRI_RARELY(handle->pri_held > 0) && direction == PRI_WRITE)
            op = next_behind_held(handle);
        if (!op || pri_op_state_of(op) >= PRI_STARTED) return;

        const pri_part *part = pri_op_part(op);
        if (part && op->pri_kernel_step.kind == PRI_STEP_NONE) {
            part->head(op); /* it stands or has left */
            continue;
        }
        pri_op_kind kind = pri_op_kind_of(op);
        int         error = pri_handle_refusal(handle, kind, direction);
        if (!error && kind != PRI_OP_SHUTDOWN) {
            if (handle->pri_flags & PRI_HANDLE_PLAIN) op->pri_kernel_step.flags |= PRI_STEP_BY_CALL;
            start_step(op);
            return;
        }
        if (!error) error = handle->pri_flags & PRI_HANDLE_HOLE ? PRO_EPIPE : shut_down(handle);
        pri_op_unqueue(op);
        pri_op_finish(op, error, 0);
    }
}

void pri_handle_connecting(pro_handle *handle)
{
    handle->pri_connecting++;
    handle->pri_flags |= PRI_HANDLE_CONNECTING;
}

/* One connect fewer; true if it was the last one, so that the reads may go. */
static bool connected(pro_handle *handle)
{
    if (--handle->pri_connecting > 0) return false;
    handle->pri_flags &= (uint8_t)~PRI_HANDLE_CONNECTING;
    return true;
}

void pri_handle_nothing(pro_op *op, pri_direction direction)
{
    const pro_handle *handle = op->pri_kernel_step.handle;
    bool              over = handle->pri_flags & (PRI_HANDLE_HOLE | PRI_HANDLE_SHUT);
    int               error = PRO_OK;
    if (handle->pri_fd < 0) error = PRO_ENOTCONN;
    if (direction == PRI_WRITE && over) error = PRO_EPIPE;
    pri_op_finish(op, error, 0);
}

/* ---- Records -------------------------------------------------------------------------------- */

/* A connection attempt is over: what waited for it runs, or fails with it.  One that found the socket
 * connected does no harm to the others; a receive that was with the kernel before stays there. */
static void connect_over(pro_handle *handle, int error)
{
    bool is_last = connected(handle);
    if (!error || error == PRO_EISCONN || error == PRO_EBUSY) {
        if (is_last) pri_handle_start(handle, PRI_READ);
        return;
    }
    while (handle->pri_queue[PRI_WRITE]) {
        pro_op *op = op_of_queue(handle->pri_queue[PRI_WRITE]);
        if (pri_op_is_connect(pri_op_kind_of(op))) return; /* the reads wait for this one */
        pri_op_unqueue(op);
        pri_op_finish(op, error, 0);
    }
    for (pri_link *link = handle->pri_queue[PRI_READ], *next; link; link = next) {
        pro_op *op = op_of_queue(link);
        next = behind(handle, PRI_READ, op);
        if (pri_op_state_of(op) == PRI_STARTED) continue;
        pri_op_unqueue(op);
        pri_op_finish(op, error, 0);
    }
}

/* The connection takes no more bytes of ours; what the system says to a later send differs. */
static bool is_broken(int error)
{
    return error == PRO_EPIPE || error == PRO_ECONNRESET || error == PRO_ECONNABORTED;
}

/* The stream of which this was a part has a hole now; there is none between datagrams. */
static bool leaves_hole(const pro_handle *handle, int error, int64_t value)
{
    return handle->pri_kind != PRI_DATAGRAM && error && (value > 0 || is_broken(error));
}

/* The connection is gone, and not by an end of the peer's.  Systems tell this once, to whoever asks
 * first, perhaps to a send that is being canceled; a receive after it would see the end of a stream
 * that was cut. */
static bool is_lost(int error)
{
    return error == PRO_ECONNRESET || error == PRO_ECONNABORTED || error == PRO_ETIMEDOUT ||
           error == PRO_EHOSTUNREACH || error == PRO_ENETUNREACH || error == PRO_ENETDOWN;
}

void pri_handle_heard(pro_handle *handle, int error)
{
    if (is_lost(error)) handle->pri_flags |= PRI_HANDLE_LOST;
}

/* An operation left its queue with this result: let the next one start. */
static void go_on(pro_handle *handle, pri_op_kind kind, int error, int64_t value)
{
    pri_direction direction = pri_op_is_write(kind) ? PRI_WRITE : PRI_READ;
    if (pri_op_is_connect(kind))
        connect_over(handle, error);
    else if (direction == PRI_WRITE && leaves_hole(handle, error, value))
        handle->pri_flags |= PRI_HANDLE_HOLE;
    if (handle->pri_queue[direction]) pri_handle_start(handle, direction);
}

/* Its result stands: leave the queue and let the next one start. */
static void leave(pro_op *op, int error, int64_t value)
{
    pri_op_unqueue(op);
    go_on(op->pri_kernel_step.handle, pri_op_kind_of(op), error, value);
}

static void complete(pro_op *op, int error, int64_t value)
{
    leave(op, error, value);
    pri_op_complete(op, error, value);
}

static bool is_message(pri_op_kind kind)
{
    return kind == PRI_OP_RECV_HANDLES || kind == PRI_OP_RECV_FROM || kind == PRI_OP_RECV_BATCH ||
           kind == PRI_OP_SEND_TO || kind == PRI_OP_SEND_BATCH;
}

void pri_handle_complete(pro_op *op, int error, int64_t value) { complete(op, error, value); }

void pri_handle_sent(pro_handle *handle, int error, int64_t value)
{
    if (leaves_hole(handle, error, value)) handle->pri_flags |= PRI_HANDLE_HOLE;
}

void pri_handle_finish(pro_op *op, int error, int64_t value)
{
    pro_handle *handle = op->pri_kernel_step.handle;
    pri_op_unqueue(op);
    pri_op_finish(op, error, value); /* before those behind it, whose handlers may need it again */
    go_on(handle, pri_op_kind_of(op), error, value);
}

void pri_step_advance(pri_step *step, size_t bytes)
{
    step->len -= bytes;
    if (step->flags & PRI_STEP_MESSAGE) /* what stood beside the data went with the first of it */
        ((pri_side *)step->data)->message.control_len = 0;
    if (!(step->flags & PRI_STEP_VECTORS)) {
        step->data = (char *)step->data + bytes;
        return;
    }
    pri_side *side = step->data;
    while (bytes > 0) {
        pro_vec *vec = &side->vecs[side->first];
        size_t   part = bytes < vec->len ? bytes : vec->len;
        vec->base = (char *)vec->base + part;
        vec->len -= part;
        bytes -= part;
        if (vec->len == 0) side->first++;
    }
    while (side->first < side->count && side->vecs[side->first].len == 0) side->first++;
}

/* Do these bytes make the operation complete? */
static bool is_complete(const pro_op *op)
{
    const pri_step *step = &op->pri_kernel_step;
    if (step->len == 0) return true;
    switch (pri_op_kind_of(op)) {
    case PRI_OP_RECV: return true;
    case PRI_OP_SEND: /* short only if nothing waits behind it, and nobody wanted it to end */
        return !op->pri_cause && !behind(step->handle, PRI_WRITE, op);
    default: return false;
    }
}

/* A receive or a send: PRO_OK if it is complete, else the first cause, else the error, else on. */
static void transferred(pro_op *op, const pri_record *record)
{
    pri_step *step = &op->pri_kernel_step;
    int       error = record->error;
    if (direction_of(op) == PRI_READ) error = pri_handle_recv_error(error);
    pri_handle_heard(step->handle, error);
    if (record->value > 0) {
        op->value += record->value;
        pri_step_advance(step, (size_t)record->value);
        if (is_complete(op)) {
            complete(op, PRO_OK, op->value);
            return;
        }
    } else if (!error && direction_of(op) == PRI_READ) {
        error = pri_handle_stream_end(step->handle);
    }
    if (op->pri_cause)
        complete(op, -(int)op->pri_cause, op->value);
    else if (error)
        complete(op, error, op->value);
    else
        start_step(op); /* between two steps of a composed operation */
}

/* A message with what stands beside it: the handler may ask for that; what it leaves is closed.  After the
 * handler only the loop may be touched. */
static void received(pro_loop *loop, pro_op *op, pri_side *side)
{
    bool is_end = pri_op_kind_of(op) == PRI_OP_RECV_HANDLES && op->value == 0;
    int  error = is_end ? pri_handle_stream_end(op->pri_kernel_step.handle) : PRO_OK;
    if (is_end && op->pri_cause) error = -(int)op->pri_cause;
    if (side->from) *side->from = side->address;
    op->pri_kernel_step.flags &= (uint8_t)~PRI_STEP_SIDE;
    loop->received.op = op;
    loop->received.side = side;
    loop->received.name = side->from ? side->message.name : NULL;
    loop->received.name_len = side->message.name_len;
    leave(op, error, op->value);
    pri_op_complete_flagged(op, error, op->value, side->message.is_truncated ? PRO_TRUNCATED : 0);
    loop->received.op = NULL;
    for (intptr_t fd; (fd = pri_os_control_take(&side->message)) >= 0;)
        loop->net->close(&loop->env, fd, 0);
    pri_side_give(loop, side);
}

/* A message, or some of a batch: whole or not at all.  PRO_OK if that is what was wanted, else the first
 * cause, else the error, else on with the rest of the batch. */
static void messaged(pro_op *op, const pri_record *record)
{
    pri_step   *step = &op->pri_kernel_step;
    pri_op_kind kind = pri_op_kind_of(op);
    op->value += record->value;
    if (kind == PRI_OP_RECV_HANDLES) pri_handle_heard(step->handle, record->error);
    if (kind == PRI_OP_SEND_BATCH && record->value > 0) {
        step->data = (pro_message *)step->data + record->value;
        step->len -= (size_t)record->value;
        if (step->len > 0 && !op->pri_cause && !record->error) {
            pri_op_start(op);
            return;
        }
    }
    bool is_complete = kind == PRI_OP_SEND_BATCH ? step->len == 0 : !record->error;
    if (!is_complete) {
        complete(op, op->pri_cause ? -(int)op->pri_cause : record->error, op->value);
        return;
    }
    if (kind == PRI_OP_RECV_FROM || kind == PRI_OP_RECV_HANDLES)
        received(op->pri_loop, op, step->data);
    else
        complete(op, PRO_OK, op->value);
}

/* A connection: the handler may take it; what it leaves is closed.  After the handler only the loop
 * may be touched. */
static void accepted(pro_loop *loop, pro_op *op, const pri_record *record)
{
    loop->accepted.op = op;
    loop->accepted.fd = (intptr_t)record->value;
    loop->accepted.family = op->pri_kernel_step.handle->pri_family;
    if (record->flags & PRI_RECORD_MORE) {
        op->pri_correlation = ++loop->correlation_last; /* the root of a story of its own */
        pri_op_complete_more(op, 0, PRO_MORE);
    } else {
        complete(op, PRO_OK, 0);
    }
    loop->accepted.op = NULL;
    if (loop->accepted.fd >= 0) {
        loop->net->close(&loop->env, loop->accepted.fd, 0);
        loop->accepted.fd = -1;
    }
}

void pri_handle_record(pro_loop *loop, pro_op *op, const pri_record *record)
{
    pri_op_kind kind = pri_op_kind_of(op);
    if (pri_op_is_transfer(kind)) {
        transferred(op, record);
        return;
    }
    if (kind == PRI_OP_RECV_LEASED || kind == PRI_OP_RECV_MULTI) {
        pri_buffers_record(loop, op, record);
        return;
    }
    if (is_message(kind)) {
        messaged(op, record);
        return;
    }
    if (kind == PRI_OP_RECV_FROM_MULTI) {
        pri_buffers_datagram(loop, op, record);
        return;
    }
    if (kind == PRI_OP_SEND_ZEROCOPY) {
        pri_hold_record(op, record);
        return;
    }
    const pri_part *part = pri_op_part(op);
    if (part) {
        part->record(op, record);
        return;
    }
    if (kind == PRI_OP_CONNECT || kind == PRI_OP_POLL_IN || kind == PRI_OP_POLL_OUT) {
        int error = record->error;
        if (error && op->pri_cause) error = -(int)op->pri_cause;
        complete(op, error, error ? 0 : record->value);
        return;
    }
    if (!record->error) {
        accepted(loop, op, record);
    } else if (op->pri_cause) {
        complete(op, -(int)op->pri_cause, 0);
    } else if (record->error == PRO_ECONNABORTED) {
        pri_op_start(op); /* a connection that was gone before it was taken is no news */
    } else {
        complete(op, record->error, 0);
    }
}

/* ---- Cancel, close -------------------------------------------------------------------------- */

void pri_handle_left(pro_op *op)
{
    pro_handle *handle = op->pri_kernel_step.handle;
    if (pri_op_is_connect(pri_op_kind_of(op)) && connected(handle))
        pri_handle_start(handle, PRI_READ);
}

void pri_handle_cancel(pro_handle *handle, int cause)
{
    for (int direction = PRI_READ; direction <= PRI_WRITE; direction++) {
        pri_link *const *queue = &handle->pri_queue[direction];
        for (pri_link *link = *queue; link;) {
            pro_op *op = op_of_queue(link);
            pri_op_cancel(op, cause);
            /* What is with the engine stays.  What leaves may take those behind it along. */
            link = pri_op_state_of(op) == PRI_READY ? *queue
                                                    : behind(handle, (pri_direction)direction, op);
        }
    }
}

void pri_handle_unplain(pro_handle *handle)
{
    pro_loop *loop = handle->pri_loop;
    handle->pri_flags |= PRI_HANDLE_ENDING;
    for (int direction = PRI_READ; direction <= PRI_WRITE; direction++) {
        pro_op *op = pri_handle_plain_op(handle, (pri_direction)direction);
        if (op) loop->engine->unplain(loop, &op->pri_kernel_step);
    }
}

void pri_handle_take(pro_handle *to, pro_handle *from)
{
    pro_loop *loop = to->pri_loop;
    if (loop->engine->move) loop->engine->move(from, to);
    loop->engine->detach(loop, from);
    to->pri_fd = from->pri_fd;
    to->pri_family = from->pri_family;
    to->pri_flags &= (uint8_t)~PRI_HANDLE_BARE;
    from->pri_fd = -1;
    from->pri_flags |= PRI_HANDLE_BARE;
}

void pri_handle_abandon(pro_handle *handle)
{
    PRI_CHECKED(handle_ended, handle);
    handle->pri_state = PRI_HANDLE_NONE;
}

/* What a file's descriptor takes to close nobody knows, so there it is a step. */
void pri_handle_end(pro_handle *handle)
{
    pro_loop *loop = handle->pri_loop;
    if (handle->pri_fd >= 0 && handle->pri_kind >= PRI_WATCHER) {
        if (handle->pri_kind == PRI_FILE) {
            pri_call_close(handle);
            return;
        }
        loop->engine->detach(loop, handle);
        pri_os_watch_close(&loop->env, handle->pri_fd);
        handle->pri_fd = -1;
    }
    if (handle->pri_fd >= 0) {
        bool abortive = handle->pri_flags & PRI_HANDLE_ABORTIVE;
        loop->engine->detach(loop, handle);
        if (pri_is_slot(handle->pri_fd)) {
            if (loop->engine->close(loop, handle, abortive)) return;
        } else {
            loop->net->close(&loop->env, handle->pri_fd, abortive);
        }
        handle->pri_fd = -1;
    }
    pri_handle_ended(handle, PRO_OK);
}

void pri_handle_ended(pro_handle *handle, int error)
{
    pro_scope *scope = handle->pri_scope;
    PRI_CHECKED(handle_ended, handle);
    handle->pri_state = PRI_HANDLE_CLOSED;
    pri_list_remove(&handle->pri_of_scope);
    handle->pri_loop->live_handles--;
    for (pri_link *first; (first = handle->pri_closers); error = PRO_OK) {
        pri_queue_remove(&handle->pri_closers, first);
        pri_op_finish(op_of_queue(first), error, 0);
    }
    scope->pri_idle--;
    pri_scope_uncount(scope);
}

void pri_handle_close(pro_handle *handle, pro_op *op, bool abortive)
{
    if (handle->pri_state == PRI_HANDLE_CLOSED) {
        if (op) pri_op_finish(op, PRO_OK, 0);
        return;
    }
    if (op) pri_queue_append(&handle->pri_closers, &op->pri_queue);
    if (abortive) handle->pri_flags |= PRI_HANDLE_ABORTIVE;
    if (handle->pri_state == PRI_HANDLE_CLOSING) return;
    handle->pri_state = PRI_HANDLE_CLOSING;
    pri_handle_cancel(handle, PRO_ECANCELED);
    if (handle->pri_live == 0) pri_handle_end(handle);
}

void pri_handle_close_op(const char *site, pro_op *op, pro_handle *handle, bool abortive,
                         pro_handler *done)
{
    pri_handle_must_be_made(handle, site);
    pri_op_begin_close(op, handle, site, done);
    pri_handle_close(handle, op, abortive);
}
