/* The guard: an operation in a coroutine's scope that looks after an await outside of it.
 *
 * When a scope closes, or is canceled, the core cancels the operations that count in it and below.
 * What a coroutine awaits nearly always does: then there is nothing to do here.  But it may await an
 * operation that counts elsewhere, on a socket of another connection for instance.  Then an operation
 * of the coroutine's own stands in its scope, waiting for nothing; when the core cancels it, its handler
 * cancels what is awaited.  It stays there for later awaits, until the coroutine ends.
 *
 * Between the cancel and the handler lies part of a turn, in which the coroutine may have gone on to
 * another await; that one must not suffer: is_late.
 *
 * Invariant: co->is_foreign and the await not over  ==>  the guard is in flight. */
#include "co/co.h"

static void arm(pri_co *co);

static void on_guard(pro_op *op)
{
    pri_co *co = pro_container_of(op, pri_co, guard);
    if (co->state == PRI_CO_LINGERING) {
        pri_stack_give(&co->stack);
        return;
    }
    pro_op *awaited = pri_co_awaited(co);
    if (!awaited || !co->is_foreign) return; /* armed again when it is needed */
    if (co->shields == 0 && !co->is_late) pro_cancel(awaited);
    co->is_late = false;
    if (!pro_scope_closing(co->scope)) arm(co);
}

static void arm(pri_co *co)
{
    pro_op *guard = &co->guard;
    guard->scope = co->scope;
    if (!pri_op_begin(guard, co->home->loop, NULL, PRI_OP_GUARD, co->site, on_guard)) return;
    pri_list_init(&guard->pri_queue); /* in no queue: a cancel takes it out of there */
    pri_op_wait(guard);
}

void pri_guard_look_after(pri_co *co, const pro_scope *scope)
{
    while (scope && scope != co->scope) scope = scope->pri_parent;
    co->is_foreign = !scope;
    if (!co->is_foreign) return;
    co->is_late = false;
    if (!pro_op_in_flight(&co->guard))
        arm(co);
    else if (pri_op_state_of(&co->guard) == PRI_READY)
        co->is_late = true;
}

bool pri_guard_end(pri_co *co)
{
    if (!pro_op_in_flight(&co->guard)) return false;
    pro_cancel(&co->guard);
    return true;
}
