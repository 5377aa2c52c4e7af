/* Pools of buffers: who picks one, who has it, when it comes back.
 *
 * Two ways to the same lease, both only when there are bytes:
 *   native  (uring)       the pool's free buffers are with the kernel, which picks; a record names its choice
 *   late    (the others)  the engine takes one from the free list, and names it
 *
 * The happy path of a multishot receive: a record with bytes and a lease makes the handler run while
 * loop->leased says what it may take; what it leaves goes back to the pool.
 *
 * Invariants:
 *   available + leased + with records not yet delivered == count
 *   is_native  ==>  free == NULL */
#include "core/buffers.h"

#include "core/op.h"

enum { SIZE_MAX_BYTES = 1 << 30 };

static pro_op *op_of_queue(pri_link *link) { return pro_container_of(link, pro_op, pri_queue); }

/* It is counted already. */
static void give_to_stack(pro_buffers *buffers, uint32_t id)
{
    buffers->free[buffers->available - 1] = (uint16_t)id;
}

/* ---- Pools ---------------------------------------------------------------------------------- */

int pro_buffers_new(pro_buffers **out, pro_loop *loop, uint32_t count, uint32_t size)
{
    const pro_env *env = &loop->env;
    if (count == 0 || count > PRO_BUFFERS_MAX || size == 0 || size > SIZE_MAX_BYTES)
        return PRO_EINVAL;
    if (!(loop->engine->caps & PRI_CAPS_LEASE)) return PRO_ENOTSUP;
    if (size > SIZE_MAX / count) return PRO_ENOMEM;
    pro_buffers *buffers = pri_env_realloc(env, NULL, sizeof *buffers);
    if (!buffers) return PRO_ENOMEM;
    *buffers = (pro_buffers){.loop = loop, .size = size, .count = count};
    pri_list_init(&buffers->waiters);
    buffers->memory = pri_env_realloc(env, NULL, (size_t)size * count);
    if (!buffers->memory) goto free_pool;

    const pri_engine *engine = loop->engine;
    int               error = engine->buffers_lend ? engine->buffers_lend(loop, buffers) : -1;
    buffers->is_native = error == 0;
    buffers->give = buffers->is_native ? engine->buffers_give : give_to_stack;
    if (!buffers->is_native) {
        buffers->free = pri_env_realloc(env, NULL, count * sizeof buffers->free[0]);
        if (!buffers->free) goto free_memory;
        for (uint32_t i = 0; i < count; i++) buffers->free[i] = (uint16_t)(count - 1 - i);
    }
    buffers->available = count;
    pri_list_append(&loop->pools, &buffers->of_loop);
    *out = buffers;
    return PRO_OK;

free_memory:
    pri_env_realloc(env, buffers->memory, 0);
free_pool:
    pri_env_realloc(env, buffers, 0);
    return PRO_ENOMEM;
}

static void free_pool(pro_buffers *buffers)
{
    const pro_env *env = &buffers->loop->env;
    if (buffers->is_native) buffers->loop->engine->buffers_back(buffers->loop, buffers);
    pri_list_remove(&buffers->of_loop);
    if (buffers->free) pri_env_realloc(env, buffers->free, 0);
    pri_env_realloc(env, buffers->memory, 0);
    pri_env_realloc(env, buffers, 0);
}

/* Is an operation to take one of them, or was, and has not yet been told how it ended? */
static bool is_used(const pro_buffers *buffers)
{
    const pro_scope *root = &buffers->loop->root;
    for (pro_scope *s = &buffers->loop->root; s; s = pri_scope_next(root, s)) {
        for (const pri_link *l = s->pri_ops.next; l != &s->pri_ops; l = l->next) {
            const pro_op   *op = pro_container_of((pri_link *)(uintptr_t)l, pro_op, pri_scope);
            const pri_step *step = &op->pri_kernel_step;
            if (step->kind == PRI_STEP_RECV_LEASED && step->data == buffers) return true;
        }
    }
    return false;
}

int pro_buffers_free(pro_buffers *buffers)
{
    if (!buffers) return PRO_OK;
    if (buffers->available < buffers->count || !pri_list_empty(&buffers->waiters) ||
        is_used(buffers))
        return PRO_EBUSY;
    free_pool(buffers);
    return PRO_OK;
}

void pri_buffers_end(pro_loop *loop)
{
    while (!pri_list_empty(&loop->pools))
        free_pool(pro_container_of(loop->pools.next, pro_buffers, of_loop));
}

uint32_t pro_buffers_available(const pro_buffers *buffers) { return buffers->available; }

/* One who waits is told that there is one. */
PRI_APART void give_and_tell(pro_buffers *buffers, uint32_t id)
{
    pro_op *op = op_of_queue(buffers->waiters.next);
    buffers->give(buffers, id);
    pri_list_unlink(&op->pri_queue);
    pri_op_finish(op, PRO_OK, 0);
}

PRI_IN_PLACE void give(pro_buffers *buffers, uint32_t id)
{
    buffers->available++;
    if (PRI_RARELY(!pri_list_empty(&buffers->waiters))) {
        give_and_tell(buffers, id);
        return;
    }
    buffers->give(buffers, id);
}

void pri_buffers_give(pro_buffers *buffers, uint32_t id) { give(buffers, id); }

/* ---- Leases --------------------------------------------------------------------------------- */

void *pro_lease_peek(const pro_op *op)
{
    const pro_loop *loop = op->pri_loop;
    return loop && loop->leased.op == op ? pri_buffers_at(loop->leased.buffers, loop->leased.id)
                                         : NULL;
}

int pro_lease_take(pro_op *op, pro_lease *lease)
{
    pro_loop *loop = op->pri_loop;
    if (!loop || loop->leased.op != op) return PRO_EINVAL;
    *lease = (pro_lease){.data = pri_buffers_at(loop->leased.buffers, loop->leased.id),
                         .len = (size_t)op->value,
                         .pri_buffers = loop->leased.buffers,
                         .pri_id = loop->leased.id};
    loop->leased.op = NULL;
    return PRO_OK;
}

void pro_lease_give(pro_lease *lease)
{
    pro_buffers *buffers = lease->pri_buffers;
    if (!buffers) return;
    PRI_CHECKED_CALLER();
    lease->pri_buffers = NULL;
    lease->data = NULL;
    lease->len = 0;
    give(buffers, lease->pri_id);
}

/* ---- Receiving ------------------------------------------------------------------------------ */

/* Run the handler with a buffer that it may take; what it leaves goes back.  Of an operation that is
 * complete nothing is touched afterwards. */
static void deliver(pro_loop *loop, pro_op *op, pro_buffers *buffers, uint32_t id, int64_t value,
                    bool more)
{
    loop->leased.op = op;
    loop->leased.buffers = buffers;
    loop->leased.id = id;
    if (more)
        pri_op_complete_more(op, value);
    else
        pri_handle_complete(op, PRO_OK, value);
    if (!loop->leased.op) return;
    loop->leased.op = NULL;
    pri_buffers_give(buffers, id);
}

void pri_buffers_record(pro_loop *loop, pro_op *op, const pri_record *record)
{
    pro_buffers *buffers = op->pri_kernel_step.data;
    if (record->value > 0) {
        if (buffers->is_native) buffers->available--;
        deliver(loop, op, buffers, record->lease, record->value, record->flags & PRI_RECORD_MORE);
        return;
    }
    pro_handle *handle = op->pri_kernel_step.handle;
    int         error = pri_handle_recv_error(record->error);
    pri_handle_heard(handle, error);
    if (!error) error = pri_handle_stream_end(handle);
    pri_handle_complete(op, op->pri_cause ? -(int)op->pri_cause : error, 0);
}
