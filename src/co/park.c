/* Awaiting: what the forms of await.c have in common, and pro_await for operations of one's own.
 *
 * The forms use the operation inside the coroutine, so an await zeroes nothing and its frames are
 * small.  A plain one (co.h) costs a few instructions beside the two switches; what else there can be
 * takes the long way here: the coroutine was canceled (the await yields and gives PRO_ECANCELED), it is
 * shielded (the operation counts in the root scope), there is a deadline, or the handle lives in
 * another scope (guard.c). */
#include "co/co.h"

/* ---- The forms ------------------------------------------------------------------------------ */

void pri_await_pass(pri_co *co, const char *site, int result)
{
    pro_op *op = &co->op;
    if (pri_op_begin(op, co->home->loop, NULL, PRI_OP_YIELD, site, pri_co_awake))
        pri_op_finish(op, result, 0);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    if (a == PRO_NEVER) return b;
    return b == PRO_NEVER || a < b ? a : b;
}

pri_co *pri_await_begin(const char *site, const char *what, const pro_handle *handle,
                        uint64_t deadline_ns)
{
    pri_co *co = pri_co_running(site, what);
    pro_op *op = &co->op;
    if (pri_co_is_canceled(co)) {
        co->is_refused = true;
        op->scope = co->scope;
        pri_await_pass(co, site, PRO_ECANCELED);
        return co;
    }
    op->deadline_ns = earlier(deadline_ns, co->deadline_ns);
    if (co->shields > 0) {
        op->scope = pro_loop_scope(co->home->loop);
    } else if (handle) {
        op->scope = NULL;
        if (handle->pri_state == PRI_HANDLE_OPEN) pri_guard_look_after(co, handle->pri_scope);
    } else {
        op->scope = co->scope;
    }
    return co;
}

pri_co *pri_await_begin_close(const char *site, const char *what)
{
    pri_co *co = pri_co_running(site, what);
    co->op.scope = NULL;
    return co;
}

int64_t pri_await_end(pri_co *co)
{
    const pro_op *op = &co->op;
    if (op->pri_loop != co->home->loop)
        pri_abort("%s: %s of another loop than the coroutine's: %s, started at %s", pro_op_site(op),
                  pro_op_name(op), co->name, co->site);
    int64_t result = pri_await_plain(co);
    co->is_refused = co->is_foreign = false;
    return result;
}

int pri_await_error(pri_co *co)
{
    /* Its scope closed the handle: for a coroutine that is canceled, not closed. */
    if (co->op.error == PRO_ECLOSED && pri_co_is_canceled(co)) co->op.error = PRO_ECANCELED;
    return co->op.error;
}

size_t pri_await_handles(pri_co *co, intptr_t *descriptors, size_t room)
{
    size_t count = 0;
    for (; count < room; count++)
        if ((descriptors[count] = pro_received_take(&co->op)) < 0) break;
    return count;
}

int pro_yield_at(const char *site)
{
    pri_co *co = pri_co_running(site, "pro_yield");
    co->op.scope = co->scope;
    pri_await_pass(co, site, pri_co_is_canceled(co) ? PRO_ECANCELED : PRO_OK);
    return (int)pri_await_end(co);
}

int(pro_yield)(void) { return pro_yield_at("?"); }

/* ---- Operations of one's own ---------------------------------------------------------------- */

void pro_awake(pro_op *op)
{
    pri_co *co = op->user;
    if (!co) return; /* over before anybody waited for it */
    op->user = NULL;
    pri_co_resume(co);
}

/* Where it counts; NULL: in no scope. */
static const pro_scope *scope_of(const pro_op *op)
{
    const pri_step *step = &op->pri_kernel_step;
    if (pri_op_kind_of(op) == PRI_OP_POST) return NULL;
    if (step->flags & PRI_STEP_UNCOUNTED) return step->data;
    if (op->scope) return op->scope;
    return step->handle ? step->handle->pri_scope : pro_loop_scope(op->pri_loop);
}

static void must_be_awaitable(const pri_co *co, const char *site, const pro_op *op)
{
    const char *wrong = NULL;
    if (op->pri_done != pro_awake)
        wrong = "was not initiated with pro_awake";
    else if (op->user)
        wrong = "is awaited already, or has a user pointer";
    else if (op->pri_loop != co->home->loop)
        wrong = "is of another loop than the coroutine's";
    if (wrong)
        pri_abort("%s: pro_await of an operation that %s: %s, initiated at %s", site, wrong,
                  pro_op_name(op), pro_op_site(op));
}

int64_t pro_await_at(const char *site, pro_op *op)
{
    pri_co *co = pri_co_running(site, "pro_await");
    if (pro_op_in_flight(op)) {
        must_be_awaitable(co, site, op);
        const pro_scope *scope = scope_of(op);
        if (pri_co_is_canceled(co))
            pro_cancel(op);
        else if (co->shields == 0 && scope && scope != co->scope)
            pri_guard_look_after(co, scope);
        op->user = co;
        co->awaited = op;
        pri_co_park(co);
        co->awaited = NULL;
        co->is_foreign = false;
    }
    co->op.value = op->value; /* for pro_co_value */
    co->op.flags = op->flags;
    return op->error ? op->error : op->value;
}

int64_t(pro_await)(pro_op *op) { return pro_await_at("?", op); }
