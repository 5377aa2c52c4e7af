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

/* Make one call, or all of a broadcast, of which call is the first; wait for the answer. */
static int64_t make(const char *site, const char *what, pro_call *call, pro_loop *there,
                    pro_call_fn *fn, void *arg)
{
    pri_co *co = pri_co_running(site, what);
    if (pri_co_is_canceled(co)) {
        co->op.scope = co->scope;
        pri_await_pass(co, site, PRO_ECANCELED);
        return pri_await_end(co);
    }
    void *user = call->op.user;
    call->op.user = co;
    if (there)
        pro_call_on_at(site, call, co->home->loop, there, fn, on_answer);
    else
        pro_broadcast_at(site, call, co->home->loop, fn, arg, on_answer);
    co->away = site;
    pri_co_park(co);
    co->away = NULL;
    call->op.user = user;
    co->op.value = call->op.value; /* for pro_co_value */
    return call->op.error ? call->op.error : call->op.value;
}

int64_t pro_await_call_on_at(const char *site, pro_call *call, pro_loop *there, pro_call_fn *fn)
{
    return make(site, "pro_await_call_on", call, there, fn, NULL);
}

int64_t pro_await_broadcast_at(const char *site, pro_call *calls, pro_call_fn *fn, void *arg)
{
    if (!pro_runtime_of(pri_co_running(site, "pro_await_broadcast")->home->loop))
        pri_abort("%s: pro_await_broadcast on a loop that is no shard", site);
    return make(site, "pro_await_broadcast", calls, NULL, fn, arg);
}

int64_t pro_await_call_on(pro_call *call, pro_loop *there, pro_call_fn *fn)
{
    return pro_await_call_on_at("?", call, there, fn);
}

int64_t pro_await_broadcast(pro_call *calls, pro_call_fn *fn, void *arg)
{
    return pro_await_broadcast_at("?", calls, fn, arg);
}
