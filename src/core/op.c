/* The life of one operation; see op.h for the picture.
 *
 * The happy path: an initiating function fills the step and calls pri_op_begin; pri_handle_queue
 * starts it (pri_op_start, engine->start); a later turn hands a record to pri_handle_record, which
 * ends in pri_op_complete and so in the handler.  All other ways to end go through pri_op_finish:
 * they have a result without the kernel and wait on loop->ready, so that no handler ever runs inside
 * the call that caused it.
 *
 * Invariants:
 *   state == IDLE                   <==>  the operation is the caller's
 *   state in QUEUED..READY           ==>  it is in the list of its scope, and counted there
 *   state in QUEUED, STARTED, HELD   ==>  on the timer wheel if and only if it has a deadline
 *   state in IDLE, READY, POSTED     ==>  on no wheel: pri_timer.next == NULL
 *   pri_cause != 0                   ==>  state in QUEUED..READY; written once per life, taken back at its end
 *   the scope's count is given back only after the handler returned */
#include "core/op.h"

#include <stdio.h>

#include "core/job.h"
#include "core/layout.h"

_Static_assert(sizeof(void *) != 8 || sizeof(pro_op) <= 192, "an operation is three cache lines");
_Static_assert(offsetof(pro_op, pri_timer) == offsetof(pro_op, deadline_ns) + 8,
               "the wheel finds the deadline right before the link");
_Static_assert(offsetof(pro_op, pri_start_ns) == offsetof(pro_op, pri_correlation) + 8 &&
                   offsetof(pro_loop, now_ns) == offsetof(pro_loop, correlation) + 8,
               "they are copied together");

static PRI_OF_THREAD pro_loop *current_loop; /* signal handlers post, too */

pri_runs                pri_nobody;
PRI_OF_THREAD pri_runs *pri_runs_here = &pri_nobody;

static const char *const kind_names[] = {
#define KIND_NAME(kind, name) name,
    PRI_OP_KINDS(KIND_NAME)
#undef KIND_NAME
};

static pro_op *op_of_timer(const pri_link *link)
{
    return pro_container_of((pri_link *)(uintptr_t)link, pro_op, pri_timer);
}

static void set_state(pro_op *op, pri_op_state state)
{
    op->pri_kernel_step.op_state = (uint8_t)state;
}

/* Where it counts; asked while it is in flight. */
static pro_scope *scope_of(const pro_op *op)
{
    const pri_step *step = &op->pri_kernel_step;
    if (step->flags & PRI_STEP_UNCOUNTED) return step->data;
    if (op->scope) return op->scope;
    return step->handle ? step->handle->pri_scope : &op->pri_loop->root;
}

/* ---- Beginning ------------------------------------------------------------------------------ */

void pri_op_abort_in_flight(const char *site, const pro_op *op, pri_op_kind kind)
{
    pri_abort("%s: %s with an operation in flight: %s, initiated at %s", site, kind_names[kind],
              kind_names[op->pri_kernel_step.op_kind], op->pri_site);
}

/* From here on the operation must not look at its handle. */
static void uncount_on_handle(pro_op *op, pro_scope *scope)
{
    op->pri_kernel_step.flags |= PRI_STEP_UNCOUNTED;
    op->pri_kernel_step.data = scope;
    op->pri_kernel_step.handle = NULL;
}

void pri_op_refuse(pro_op *op, pro_scope *scope, int error)
{
    uncount_on_handle(op, scope);
    pri_op_finish(op, error, 0);
}

void pri_op_begin_close(pro_op *op, pro_handle *handle, const char *site, pro_handler *done)
{
    uncount_on_handle(
        op, pri_op_prepare(op, handle, handle->pri_scope, PRI_STEP_NONE, PRI_OP_CLOSE, site, done));
}

/* ---- Ending --------------------------------------------------------------------------------- */

/* The result stands: no deadline or cancel can touch it from now on. */
static inline void settle(pro_op *op, int error, int64_t value)
{
    pri_step *step = &op->pri_kernel_step;
    if (pri_wheel_holds(&op->pri_timer)) pri_wheel_remove(&op->pri_timer);
    if (step->flags & PRI_STEP_SIDE) {
        step->flags &= (uint8_t)~PRI_STEP_SIDE;
        pri_side_give(op->pri_loop, step->data);
    }
    op->error = error;
    op->value = value;
}

static inline void run_handler(pro_loop *loop, pro_op *op)
{
    loop->correlation = op->pri_correlation; /* until the next handler, or the end of the turn */
    PRI_CHECKED(runs, op);
    op->pri_done(op);
    PRI_CHECKED(ran, loop);
}

static void count_error(pro_loop *loop, int error)
{
    loop->stats.canceled += error == PRO_ECANCELED;
    loop->stats.timed_out += error == PRO_ETIMEDOUT;
}

/* The caller's again: unlink it everywhere, then call out, then let the scope go. */
static inline void deliver(pro_loop *loop, pro_op *op, pro_scope *scope, pro_handle *handle,
                           unsigned flags)
{
    PRI_CHECKED(delivered, op);
    pri_list_unlink(&op->pri_scope);
    set_state(op, PRI_IDLE);
    op->flags = (uint16_t)flags;
    op->pri_cause = 0;
    op->deadline_ns = PRO_NEVER;
    loop->completed++;
    if (handle) pri_handle_uncount(handle);
    run_handler(loop, op);
    PRI_CHECKED(left, scope);
    pri_scope_uncount(scope);
}

void pri_op_finish(pro_op *op, int error, int64_t value)
{
    settle(op, error, value);
    set_state(op, PRI_READY);
    pri_list_append(&op->pri_loop->ready, &op->pri_queue);
}

void pri_op_complete(pro_op *op, int error, int64_t value)
{
    pri_op_complete_flagged(op, error, value, 0);
}

void pri_op_complete_flagged(pro_op *op, int error, int64_t value, unsigned flags)
{
    settle(op, error, value);
    if (error) count_error(op->pri_loop, error);
    deliver(op->pri_loop, op, scope_of(op), op->pri_kernel_step.handle, flags);
}

void pri_op_abort_completed(const pro_loop *loop, const pro_op *op)
{
    pri_abort("%s: a completion for an operation that is not in flight: %s, initiated at %s",
              loop->engine->name, pro_op_name(op), pro_op_site(op));
}

/* Apart: two states in one comparison would cost the way below. */
PRI_APART void must_be_held(const pro_loop *loop, const pro_op *op)
{
    if (op->pri_kernel_step.op_state != PRI_HELD) pri_op_abort_completed(loop, op);
}

/* The way most completions go, on one screen: a receive with bytes, or all that was left to send or
 * receive, is complete whatever the cause; the queue moves on, then the handler runs. */
PRI_IN_PLACE void take_record(pro_loop *loop, const pri_record *record)
{
    pri_step   *step = record->step;
    pro_op     *op = pro_container_of(step, pro_op, pri_kernel_step);
    pri_op_kind kind = pri_op_kind_of(op);
    PRI_CHECKED(recorded, op);
    if (PRI_RARELY(step->op_state != PRI_STARTED)) must_be_held(loop, op);
    loop->system_error = record->system;
    bool is_whole = (size_t)record->value == step->len;
    if (!pri_op_is_transfer(kind) || record->value <= 0 || !(is_whole || kind == PRI_OP_RECV)) {
        if (step->kind == PRI_STEP_JOB || step->kind == PRI_STEP_CALL)
            pri_job_record(op, record);
        else
            pri_handle_record(loop, op, record);
        return;
    }
    pro_handle   *handle = step->handle;
    pri_direction direction = pri_op_is_write(kind) ? PRI_WRITE : PRI_READ;
    pri_queue_remove(&handle->pri_queue[direction], &op->pri_queue);
    if (PRI_RARELY(handle->pri_queue[direction] != NULL)) pri_handle_start(handle, direction);
    settle(op, PRO_OK, op->value + record->value);
    deliver(loop, op, op->scope ? op->scope : handle->pri_scope, handle, 0);
}

void pri_op_run_records(pro_loop *loop, const pri_record *records, int count)
{
    for (; count > 0; count--) take_record(loop, records++);
    loop->system_error = 0; /* plain handlers have none */
}

void pri_op_complete_more(pro_op *op, int64_t value, unsigned flags)
{
    op->error = PRO_OK;
    op->value = value;
    op->flags = (uint16_t)flags;
    op->pri_loop->others++;
    run_handler(op->pri_loop, op);
}

void pri_op_run_ready(pro_loop *loop)
{
    pri_link now; /* what becomes ready in these handlers waits for the next turn */
    pri_list_init(&now);
    pri_list_splice(&now, &loop->ready);
    loop->system_error = 0;
    while (!pri_list_empty(&now)) {
        pro_op *op = pro_container_of(pri_list_pop(&now), pro_op, pri_queue);
        if (op->error) count_error(loop, op->error);
        deliver(loop, op, scope_of(op), op->pri_kernel_step.handle, 0);
    }
}

/* ---- Causes --------------------------------------------------------------------------------- */

void pri_op_cancel(pro_op *op, int cause)
{
    pri_op_state state = pri_op_state_of(op);
    if (state < PRI_QUEUED || state > PRI_HELD || op->pri_cause) return;
    if (state == PRI_HELD && op->pri_kernel_step.kind == PRI_STEP_NONE) return;
    if (pri_op_kind_of(op) == PRI_OP_CLOSE) return;
    op->pri_cause = (uint8_t)-cause;
    pri_step *step = &op->pri_kernel_step;
    if (state == PRI_HELD) {
        pri_hold_canceled(op);
        return;
    }
    if (step->kind == PRI_STEP_CALL && ((pri_side *)step->data)->call.is_shielded) return;
    if (state == PRI_STARTED && step->kind != PRI_STEP_NONE) {
        if (step->flags & PRI_STEP_POOLED)
            pri_pool_cancel(op->pri_loop, step);
        else
            op->pri_loop->engine->cancel(op->pri_loop, step);
        return;
    }
    pro_handle     *handle = step->handle;
    const pri_part *part = pri_op_part(op);
    if (part && state == PRI_STARTED) {
        if (!part->canceled(op)) return;
        if (handle) { /* it was the head: what stands behind it goes on, or fails with it */
            pri_handle_finish(op, cause, 0);
            return;
        }
    }
    if (pri_op_kind_of(op) != PRI_OP_TIMER) pri_op_unqueue(op);
    if (handle) pri_handle_left(op);
    pri_op_finish(op, cause, 0);
}

void pri_op_expire(pri_link *due)
{
    /* Of many timers each is somewhere else in memory, and so are its neighbours in its scope. */
    for (const pri_link *link = due->next; link != due; link = link->next) {
        PRI_FETCH(op_of_timer(link)->pri_scope.next);
        PRI_FETCH(op_of_timer(link)->pri_scope.prev);
    }
    while (!pri_list_empty(due)) {
        pri_link *link = pri_list_pop(due);
        pro_op   *op = op_of_timer(link);
        link->next = NULL;
        if (pri_op_kind_of(op) == PRI_OP_TIMER && op->pri_kernel_step.len == op->deadline_ns)
            pri_op_finish(op, PRO_OK, 0);
        else
            pri_op_cancel(op, PRO_ETIMEDOUT);
    }
}

bool pri_op_before(const pri_link *a, const pri_link *b)
{
    return op_of_timer(a)->pri_start_ns < op_of_timer(b)->pri_start_ns;
}

void pri_op_abandon(pro_op *op)
{
    PRI_CHECKED(abandoned, op);
    settle(op, PRO_ECANCELED, 0);
    set_state(op, PRI_IDLE);
    op->pri_cause = 0;
    op->deadline_ns = PRO_NEVER;
}

/* ---- Posts ---------------------------------------------------------------------------------- */

void pro_post_at(const char *site, pro_op *op, pro_loop *loop, pro_handler *done)
{
    pri_step *step = &op->pri_kernel_step;
    if (step->op_state != PRI_IDLE) pri_op_abort_in_flight(site, op, PRI_OP_POST);
    step->op_kind = PRI_OP_POST;
    step->kind = PRI_STEP_NONE;
    step->flags = 0;
    step->generation++;
    step->handle = NULL;
    op->pri_done = done;
    op->pri_loop = loop;
    op->pri_site = site;
    op->pri_cause = 0;
    op->pri_correlation = current_loop ? current_loop->correlation : 0;
    set_state(op, PRI_POSTED);
    pri_loop_push(loop, &loop->posts, &op->pri_queue);
}

void(pro_post)(pro_op *op, pro_loop *loop, pro_handler *done) { pro_post_at("?", op, loop, done); }

void pri_op_run_posts(pro_loop *loop, int error)
{
    loop->system_error = 0;
    for (pri_link *link = pri_loop_take(&loop->posts), *next; link; link = next) {
        next = link->next; /* before the handler, which may post or free the operation */
        pro_op *op = pro_container_of(link, pro_op, pri_queue);
        op->value = 0;
        op->error = error;
        op->flags = 0;
        op->deadline_ns = PRO_NEVER;
        op->pri_start_ns = loop->now_ns;
        if (!op->pri_correlation) op->pri_correlation = ++loop->correlation_last;
        set_state(op, PRI_IDLE);
        loop->initiated++;
        loop->completed++;
        run_handler(loop, op);
    }
}

pro_loop *pri_op_set_current_loop(pro_loop *loop)
{
    pro_loop *before = current_loop;
    current_loop = loop;
    pri_runs_here = loop ? loop->runs : &pri_nobody;
    PRI_CHECKED(entered, loop);
    return before;
}

pro_loop *pri_op_current_loop(void) { return current_loop; }

void pri_loop_set_runs(pro_loop *loop, pri_runs *runs)
{
    loop->runs = runs;
    if (loop == current_loop) pri_runs_here = runs;
}

/* ---- What users ask ------------------------------------------------------------------------- */

void pro_cancel(pro_op *op)
{
    PRI_CHECKED_CALLER();
    PRI_CHECKED(canceled, op);
    pri_op_cancel(op, PRO_ECANCELED);
}

int pro_op_in_flight(const pro_op *op) { return op->pri_kernel_step.op_state != PRI_IDLE; }

uint64_t pro_op_correlation(const pro_op *op) { return op->pri_correlation; }

const char *pro_op_site(const pro_op *op)
{
    return op->pri_site ? op->pri_site : "never initiated";
}

const char *pro_op_name(const pro_op *op) { return kind_names[op->pri_kernel_step.op_kind]; }

size_t pri_op_describe(const pro_op *op, char *buf, size_t size)
{
    static const char *const states[] = {"idle", "queued", "started", "held", "ready", "posted"};
    const pri_step          *step = &op->pri_kernel_step;
    uint64_t                 age_us = (op->pri_loop->now_ns - op->pri_start_ns) / 1000;
    int n = snprintf(buf, size, "%s at %s: %s for %llu us, correlation %llu%s%s",
                     kind_names[step->op_kind], op->pri_site, states[pri_op_state_of(op)],
                     (unsigned long long)age_us, (unsigned long long)op->pri_correlation,
                     op->pri_cause ? ", cause " : "",
                     op->pri_cause ? pro_error_name(-(int)op->pri_cause) : "");
    return n < 0 ? 0 : (size_t)n;
}
