/* Calls: a function that runs on another loop and completes here.
 *
 * A call travels as one operation, posted there and posted back; so it needs no memory, keeps the
 * order of posts, and carries the correlation id of the handler that made it.  While it is away it
 * holds the loop to which it returns. */
#include <proactor/runtime.h>

static void came_back(pro_op *op)
{
    pro_call *call = pro_container_of(op, pro_call, op);
    pro_loop_release(call->pri_here);
    op->value = call->pri_value;
    if (op->error == PRO_OK) op->error = call->pri_error;
    call->pri_done(op);
}

static void arrived(pro_op *op)
{
    pro_call *call = pro_container_of(op, pro_call, op);
    call->pri_error = op->error;
    if (op->error == PRO_OK) call->pri_value = call->pri_fn(call, op->pri_loop);
    pro_post_at(op->pri_site, op, call->pri_here, came_back);
}

void pro_call_on_at(const char *site, pro_call *call, pro_loop *here, pro_loop *there,
                    pro_call_fn *fn, pro_handler *done)
{
    call->pri_fn = fn;
    call->pri_done = done;
    call->pri_here = here;
    call->pri_value = 0;
    pro_loop_hold(here);
    call->pri_error = there ? PRO_OK : PRO_ECANCELED;
    if (there)
        pro_post_at(site, &call->op, there, arrived);
    else
        pro_post_at(site, &call->op, here, came_back);
}

void(pro_call_on)(pro_call *call, pro_loop *here, pro_loop *there, pro_call_fn *fn,
                  pro_handler *done)
{
    pro_call_on_at("?", call, here, there, fn, done);
}

/* One answer of a broadcast: the first call gathers them, the last one to answer ends it. */
static void answered(pro_op *op)
{
    pro_call *calls = pro_container_of(op, pro_call, op)->pri_first, *first = calls;
    if (--first->pri_left > 0) return;
    int64_t sum = 0;
    int     error = PRO_OK;
    for (unsigned i = 0; i < pro_runtime_shards(pro_runtime_of(first->pri_here)); i++) {
        sum += calls[i].op.value;
        if (error == PRO_OK) error = calls[i].op.error;
    }
    first->op.value = sum;
    first->op.error = error;
    first->pri_all_done(&first->op);
}

void pro_broadcast_at(const char *site, pro_call *calls, pro_loop *here, pro_call_fn *fn, void *arg,
                      pro_handler *done)
{
    const pro_runtime *runtime = pro_runtime_of(here);
    unsigned           count = pro_runtime_shards(runtime);
    if (count == 0) { /* no runtime */
        calls[0].arg = arg;
        pro_call_on_at(site, &calls[0], here, NULL, fn, done);
        return;
    }
    calls[0].pri_left = count;
    calls[0].pri_all_done = done;
    for (unsigned i = 0; i < count; i++) {
        calls[i].pri_first = &calls[0];
        calls[i].arg = arg;
        pro_call_on_at(site, &calls[i], here, pro_runtime_loop(runtime, i), fn, answered);
    }
}

void(pro_broadcast)(pro_call *calls, pro_loop *here, pro_call_fn *fn, void *arg, pro_handler *done)
{
    pro_broadcast_at("?", calls, here, fn, arg, done);
}
