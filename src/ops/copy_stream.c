/* Copying from one socket to another: one operation of the caller's, and two inside, one in the queue of
 * each side.
 *
 *     in    among the receives of the source      queued --> stands <--> runs --> over
 *     out   among the sends of the sink           the same
 *
 * When both stand at the heads of their queues one of them runs at a time: in fills a vessel, out empties
 * it.  The vessel (vessel.h) is a pipe where the engine makes attempts of ours (PRI_CAPS_TRY), and splice moves
 * pages through it; else, or where that is refused, a buffer, by plain transfers.  In is an attempt
 * that the engine makes when there is something to read; out is tried at once, since a sink has room most of
 * the time, and goes to the engine only for what is left then.
 *
 * The end: whatever cause comes to one of the three comes to all of them; what runs is heard to its end, then
 * in and out leave their queues, and the handler of the last one completes the operation.  Until then the sink
 * counts the operation too, so that its close is later; the source does anyway.
 *
 * Invariants (f: a flow):
 *   f.copied <= f.taken <= f.max
 *   what is in the vessel  =  f.taken - f.copied
 *   f.pri_vessel is a pipe   ==>  something is in it
 *   at most one of in and out runs; f.pri_left  =  those of them whose handlers did not run yet
 *   f.pri_is_over            ==>  its result stands, and nothing new is started */
#define PRO_NO_SITES
#include <proactor/copy.h>

#include "ops.h"
#include "os/copy.h"
#include "vessel.h"

typedef enum form { UNDECIDED, BY_PIPE, BY_BUFFER } form; /* f.pri_form */

/* What splice says of what it cannot do. */
#define REFUSED PRO_EINVAL

static pro_flow *flow_of(const pro_op *inner) { return inner->user; }

static pro_flow *flow_of_step(pri_step *step)
{
    return flow_of(pro_container_of(step, pro_op, pri_kernel_step));
}

static bool is_started(const pro_op *inner) { return pri_op_state_of(inner) == PRI_STARTED; }

/* The head of its queue, and an engine has it; or nobody. */
static bool runs(const pro_op *inner)
{
    return is_started(inner) && inner->pri_kernel_step.kind != PRI_STEP_NONE;
}

static bool stands(const pro_op *inner)
{
    return is_started(inner) && inner->pri_kernel_step.kind == PRI_STEP_NONE;
}

static uint64_t held(const pro_flow *f) { return f->taken - f->copied; }

/* ---- The vessel ------------------------------------------------------------------------------- */

static void drop_vessel(pro_flow *f)
{
    if (f->pri_vessel) pri_vessel_give(f->pri_op->pri_loop, f->pri_vessel, held(f) == 0);
    f->pri_vessel = NULL;
}

/* Has it a descriptor, and does every call on that know not to wait? */
static bool may_splice(pro_handle *handle)
{
    const pro_loop *loop = handle->pri_loop;
    if (handle->pri_flags & PRI_HANDLE_PLAIN)
        return !(handle->pri_family & (PRI_PLAIN_SHARED | PRI_PLAIN_FILE));
    if (pri_leave_slot(handle) != PRO_OK) return false;
    return loop->engine->nonblocking || loop->net->adopt(&loop->env, handle->pri_fd, 1) == 0;
}

static void decide_form(pro_flow *f)
{
    bool tries = f->pri_op->pri_loop->engine->caps & PRI_CAPS_TRY;
    bool may = tries && may_splice(f->pri_in.pri_kernel_step.handle) &&
               may_splice(f->pri_out.pri_kernel_step.handle);
    f->pri_form = may ? BY_PIPE : BY_BUFFER;
}

/* By a buffer from now on, with what is in the pipe, if there is one. */
static int change_form(pro_flow *f)
{
    pro_loop   *loop = f->pri_op->pri_loop;
    pri_vessel *pipe = f->pri_vessel, *buffer = pri_vessel_buffer(loop);
    f->pri_form = BY_BUFFER;
    if (!buffer) return PRO_ENOMEM;
    f->pri_vessel = buffer;
    if (!pipe) return PRO_OK;
    int64_t n = pri_os_tube_drain(&loop->env, pipe->fds[0], buffer->buf, PRI_VESSEL_SIZE);
    pri_vessel_give(loop, pipe, false);
    if (n < 0 || (uint64_t)n != held(f)) return n < 0 ? pri_os_error((int)n) : PRO_EIO;
    buffer->side->vecs[0] = (pro_vec){buffer->buf, (size_t)n};
    return PRO_OK;
}

/* ---- Attempts --------------------------------------------------------------------------------- */

/* Without a pipe, or by one that stays empty: as if nothing had been. */
static int64_t attempt_in(pri_step *step)
{
    pro_flow   *f = flow_of_step(step);
    pro_loop   *loop = f->pri_op->pri_loop;
    pri_vessel *v = pri_vessel_pipe(loop);
    if (!v) {
        f->pri_form = BY_BUFFER;
        return 0;
    }
    size_t  len = step->len < v->size ? step->len : v->size;
    int64_t n = pri_os_splice_in(&loop->env, step->handle->pri_fd, v->fds[1], len);
    if (n > 0)
        f->pri_vessel = v;
    else
        pri_vessel_give(loop, v, true);
    return n;
}

static int64_t attempt_out(pri_step *step)
{
    const pro_flow   *f = flow_of_step(step);
    const pri_vessel *v = f->pri_vessel;
    return pri_os_splice_out(&f->pri_op->pri_loop->env, v->fds[0], step->handle->pri_fd,
                             (size_t)held(f));
}

/* ---- The end ---------------------------------------------------------------------------------- */

static void end(pro_flow *f, int error, pro_flow_end whose)
{
    if (f->pri_is_over) return;
    f->pri_is_over = true;
    f->pri_error = error;
    f->end = whose;
    pri_op_cancel(&f->pri_in, PRO_ECANCELED); /* where they still wait for their turn */
    pri_op_cancel(&f->pri_out, PRO_ECANCELED);
}

/* It leaves its queue, with a hole behind it where the stream would not be whole without what is lost. */
static void finish_out(pro_flow *f)
{
    bool has_hole = held(f) > 0 || (f->pri_error && f->max != PRO_COPY_ALL && f->copied > 0);
    int  error = f->end == PRO_FLOW_TO ? f->pri_error : has_hole ? PRO_ECANCELED : PRO_OK;
    pri_handle_finish(&f->pri_out, error, has_hole);
}

/* ---- What comes next -------------------------------------------------------------------------- */

static const pri_part in_part, out_part;

static void start(pro_op *inner, const pri_part *part, uint64_t len)
{
    const pro_flow *f = flow_of(inner);
    pri_step       *step = &inner->pri_kernel_step;
    bool            in = part == &in_part;
    step->len = (size_t)len;
    if (f->pri_form == BY_PIPE) {
        step->kind = in ? PRI_STEP_TRY_IN : PRI_STEP_TRY_OUT;
        step->flags |= PRI_STEP_BY_CALL;
    } else {
        const pri_vessel *v = f->pri_vessel;
        v->side->part = part;
        v->side->first = 0;
        v->side->count = 1;
        if (in) v->side->vecs[0] = (pro_vec){v->buf, step->len};
        step->kind = in ? PRI_STEP_RECV : PRI_STEP_SEND;
        step->flags |= PRI_STEP_VECTORS;
        if (step->handle->pri_flags & PRI_HANDLE_PLAIN) step->flags |= PRI_STEP_BY_CALL;
        step->data = v->side;
    }
    pri_handle_start_step(inner);
}

/* Its step is over: it stands again. */
static void stand(pro_op *inner, const pri_part *part)
{
    pri_step *step = &inner->pri_kernel_step;
    step->kind = PRI_STEP_NONE;
    step->flags &= (uint8_t) ~(PRI_STEP_VECTORS | PRI_STEP_BY_CALL);
    step->data = (void *)(uintptr_t)part;
}

/* The first piece by a pipe is no larger than a buffer, since the sink may refuse it. */
static void take(pro_flow *f)
{
    uint64_t left = f->max - f->taken; /* of PRO_COPY_ALL always more than there can be */
    size_t   most = f->pri_form == BY_PIPE && f->copied > 0 ? PRI_OS_TUBE_SIZE : PRI_VESSEL_SIZE;
    if (f->pri_form == BY_BUFFER && !f->pri_vessel) {
        f->pri_vessel = pri_vessel_buffer(f->pri_op->pri_loop);
        if (!f->pri_vessel) {
            end(f, PRO_ENOMEM, PRO_FLOW_WHOLE);
            return;
        }
    }
    start(&f->pri_in, &in_part, left < most ? left : most);
}

static void next(pro_flow *f)
{
    if (runs(&f->pri_in) || runs(&f->pri_out)) return; /* its record comes by */
    if (f->copied == f->max)
        end(f, PRO_OK, PRO_FLOW_WHOLE); /* whatever the cause, as with any transfer */
    else if (f->pri_op->pri_cause)
        end(f, -(int)f->pri_op->pri_cause, PRO_FLOW_WHOLE);
    if (!f->pri_is_over) {
        if (!stands(&f->pri_in) || !stands(&f->pri_out)) return; /* it is not its turn yet */
        if (f->pri_form == UNDECIDED) decide_form(f);
        if (held(f) > 0)
            start(&f->pri_out, &out_part, held(f));
        else
            take(f);
        if (!f->pri_is_over) return;
    }
    if (stands(&f->pri_in)) pri_handle_finish(&f->pri_in, PRO_OK, 0);
    if (stands(&f->pri_out)) finish_out(f);
}

/* This was said to in or out: a cause of its own is one for all three; an error ends it where there is none. */
static void heard(pro_op *inner, int error, pro_flow_end whose)
{
    pro_flow *f = flow_of(inner);
    pri_handle_heard(inner->pri_kernel_step.handle, error);
    if (inner->pri_cause)
        pri_op_cancel(f->pri_op, -(int)inner->pri_cause);
    else if (error && !f->pri_op->pri_cause)
        end(f, error, whose);
}

/* The sink took so much, or said this. */
static void put(pro_flow *f, int64_t n, int error)
{
    if (n > 0) {
        f->copied += (uint64_t)n;
        if (f->pri_form == BY_BUFFER) {
            pro_vec *left = &((pri_vessel *)f->pri_vessel)->side->vecs[0];
            *left = (pro_vec){(char *)left->base + n, left->len - (size_t)n};
        } else if (held(f) == 0) {
            drop_vessel(f);
        }
        if (f->progress) f->progress(f);
    }
    if (error == REFUSED && f->pri_form == BY_PIPE) error = change_form(f);
    heard(&f->pri_out, error, PRO_FLOW_TO);
}

static void out_record(pro_op *out, const pri_record *record)
{
    stand(out, &out_part);
    put(flow_of(out), record->value, record->error);
    next(flow_of(out));
}

/* What was just taken is offered to the sink. */
static void offer(pro_flow *f)
{
    int64_t n = attempt_out(&f->pri_out.pri_kernel_step);
    int     error = n < 0 ? pri_os_error((int)n) : PRO_OK;
    if (error != PRO_EAGAIN) put(f, n < 0 ? 0 : n, error);
}

static void in_record(pro_op *in, const pri_record *record)
{
    pro_flow *f = flow_of(in);
    int       error = record->error;
    bool      was_try = in->pri_kernel_step.kind == PRI_STEP_TRY_IN;
    stand(in, &in_part);
    f->taken += (uint64_t)record->value;
    if (!was_try) ((pri_vessel *)f->pri_vessel)->side->vecs[0].len = (size_t)record->value;
    if (was_try && error == REFUSED)
        error = change_form(f);
    else if (!error && record->value == 0 && !(was_try && f->pri_form == BY_BUFFER))
        error = pri_handle_stream_end(in->pri_kernel_step.handle);
    if (error == PRO_EOF && f->max == PRO_COPY_ALL) end(f, PRO_OK, PRO_FLOW_WHOLE);
    heard(in, error, PRO_FLOW_FROM);
    if (record->value > 0 && f->pri_form == BY_PIPE && !f->pri_is_over) offer(f);
    next(f);
}

/* ---- Beginning, causes ------------------------------------------------------------------------ */

static void inner_head(pro_op *inner, pri_direction direction, pro_flow_end whose)
{
    const pro_handle *handle = inner->pri_kernel_step.handle;
    int               error = pri_handle_refusal(handle, pri_op_kind_of(inner), direction);
    if (!error && handle->pri_fd < 0) error = PRO_ENOTCONN;
    pri_op_wait(inner);
    if (error) end(flow_of(inner), error, whose);
    next(flow_of(inner));
}

static void in_head(pro_op *in) { inner_head(in, PRI_READ, PRO_FLOW_FROM); }
static void out_head(pro_op *out) { inner_head(out, PRI_WRITE, PRO_FLOW_TO); }

static bool inner_canceled(pro_op *inner)
{
    heard(inner, PRO_OK, PRO_FLOW_WHOLE);
    next(flow_of(inner));
    return false;
}

static const pri_part in_part = {
    .attempt = attempt_in, .head = in_head, .record = in_record, .canceled = inner_canceled};
static const pri_part out_part = {
    .attempt = attempt_out, .head = out_head, .record = out_record, .canceled = inner_canceled};

static pro_flow *flow_of_op(const pro_op *op) { return (void *)(uintptr_t)op->pri_kernel_step.len; }

static bool op_canceled(pro_op *op)
{
    pro_flow *f = flow_of_op(op);
    int       cause = -(int)op->pri_cause;
    pri_op_cancel(&f->pri_in, cause);
    pri_op_cancel(&f->pri_out, cause);
    next(f);
    return false;
}

static const pri_part op_part = {.canceled = op_canceled};

/* Of in or out, from the loop. */
static void on_inner(pro_op *inner)
{
    pro_flow *f = flow_of(inner);
    pro_op   *op = f->pri_op;
    if (!f->pri_is_over) pri_op_cancel(op, inner->error); /* refused, or canceled in its queue */
    if (--f->pri_left > 0) {
        next(f);
        return;
    }
    drop_vessel(f);
    pri_handle_uncount(f->pri_to);
    pri_op_complete(op, f->pri_error, (int64_t)f->copied);
}

static void begin(pro_flow *f, pro_op *inner, pro_handle *handle, const pri_part *part,
                  pri_op_kind kind)
{
    pro_op *op = f->pri_op;
    *inner = (pro_op){.user = f, .scope = op->scope};
    if (!pri_op_begin(inner, op->pri_loop, handle, kind, op->pri_site, on_inner)) return;
    inner->pri_kernel_step.flags |= PRI_STEP_PART;
    inner->pri_kernel_step.data = (void *)(uintptr_t)part;
    pri_handle_queue(inner, handle, pri_op_is_write(kind) ? PRI_WRITE : PRI_READ, false);
}

void pro_copy_stream_at(const char *site, pro_op *op, pro_socket *from, pro_socket *to,
                        pro_flow *flow, pro_handler *done)
{
    pro_handle *source = &from->handle, *sink = &to->handle;
    pri_handle_must_be_made(source, site);
    pri_handle_must_be_made(sink, site);
    if (source->pri_loop != sink->pri_loop)
        pri_abort("%s: copy_stream from a socket of one loop to one of another", site);
    flow->copied = flow->taken = 0;
    flow->end = PRO_FLOW_WHOLE;
    if (!pri_op_begin(op, source->pri_loop, source, PRI_OP_COPY_STREAM, site, done)) return;
    if (sink->pri_state != PRI_HANDLE_OPEN || flow->max == 0) {
        pri_op_finish(op, sink->pri_state != PRI_HANDLE_OPEN ? PRO_ECLOSED : PRO_OK, 0);
        return;
    }
    flow->pri_op = op;
    flow->pri_to = sink;
    flow->pri_vessel = NULL;
    flow->pri_left = 2;
    flow->pri_form = UNDECIDED;
    flow->pri_is_over = false;
    sink->pri_live++;
    op->pri_kernel_step.flags |= PRI_STEP_PART;
    op->pri_kernel_step.data = (void *)(uintptr_t)&op_part;
    op->pri_kernel_step.len = (size_t)(uintptr_t)flow;
    pri_op_wait(op);
    begin(flow, &flow->pri_in, source, &in_part, PRI_OP_COPY_IN);
    begin(flow, &flow->pri_out, sink, &out_part, PRI_OP_COPY_OUT);
    if (flow->pri_is_over) pri_op_cancel(&flow->pri_out, PRO_ECANCELED); /* while in began */
}

void pro_copy_stream(pro_op *op, pro_socket *from, pro_socket *to, pro_flow *flow,
                     pro_handler *done)
{
    pro_copy_stream_at("?", op, from, to, flow, done);
}
