/* Awaiting a call to another loop.
 *
 * The operation is inside the call, travels between two threads, and cannot be canceled: so while it
 * is under way nobody here looks at it, the coroutine awaits no operation but is away, and a cancel
 * waits for the answer. */
#define PRO_NO_SITES
#include <proactor/await.h>

#include "co/co.h"

static void on_answer(pro_op *op)
{
    pri_co *co = op->user;
    pri_co_resume(co);
}

/* Canceled: the await yields, and that is all. */
static int64_t refuse(pri_co *co, const char *site)
{
    co->op.scope = co->scope;
    pri_await_pass(co, site, PRO_ECANCELED);
    return pri_await_end(co);
}

/* A call is made, or a broadcast of which it is the first: wait for the answer. */
static int64_t wait_for(pri_co *co, const char *site, pro_call *call, void *user)
{
    co->away = site;
    pri_co_park(co);
    co->away = NULL;
    call->op.user = user;
    co->op.value = call->op.value; /* for pro_co_value */
    return call->op.error ? call->op.error : call->op.value;
}

int64_t pro_await_call_on_at(const char *site, pro_call *call, pro_loop *there, pro_call_fn *fn)
{
    pri_co *co = pri_co_running(site, "pro_await_call_on");
    if (pri_co_is_canceled(co)) return refuse(co, site);
    void *user = call->op.user;
    call->op.user = co;
    pro_call_on_at(site, call, co->home->loop, there, fn, on_answer);
    return wait_for(co, site, call, user);
}

int64_t pro_await_broadcast_at(const char *site, pro_call *calls, pro_call_fn *fn, void *arg)
{
    pri_co *co = pri_co_running(site, "pro_await_broadcast");
    if (pri_co_is_canceled(co)) return refuse(co, site);
    void *user = calls[0].op.user;
    calls[0].op.user = co;
    pro_broadcast_at(site, calls, co->home->loop, fn, arg, on_answer);
    return wait_for(co, site, calls, user);
}

int64_t pro_await_call_on(pro_call *call, pro_loop *there, pro_call_fn *fn)
{
    return pro_await_call_on_at("?", call, there, fn);
}

int64_t pro_await_broadcast(pro_call *calls, pro_call_fn *fn, void *arg)
{
    return pro_await_broadcast_at("?", calls, fn, arg);
}
