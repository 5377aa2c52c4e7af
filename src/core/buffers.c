/* Pools of buffers: who picks one, who has it, when it comes back.
 *
 * Two ways to the same lease, both only when there are bytes:
 *   native  (uring)       the pool's free buffers are with the kernel, which picks; a record names its choice
 *   late    (the others)  the engine takes one from the free list, and names it
 *
 * The happy path of a multishot receive: a record with bytes and a lease makes the handler run while
 * loop->leased says what it may take; what it leaves goes back to the pool.
 *
 * A peer that sends a lot must not have all of a pool wait for handlers, so there is a bound of records that are not
 * delivered.  Whoever picks, the kernel or the engine, is lent no more buffers than that; the others are spare, and as
 * a turn begins they take the places of those that handlers kept.  Of those that are lent some are free, and the others on
 * the way to handlers in records.  Who finds none that is free, though not all are leased, goes on soon:
 *   native   What says that there was none stands behind the records that name the others, so as it is read these
 *            are delivered, and the step is simply tried again.
 *   late     The step pauses, in a list of the loop, until handlers ran or a spare one was lent.
 *
 * Invariants:
 *   available + leased == count
 *   lent = available - spare <= undelivered_max;  as a turn begins less only if spare == 0
 *   stack <= lent, the difference on the way;  native  ==>  stack == 0
 *   is_odd  <==  undelivered_max < count, or somebody waits */
#include "core/buffers.h"

#include <string.h>

#include "core/op.h"

enum { SIZE_MAX_BYTES = 1 << 30, IDLE_TURNS_MAX = 3 };

static pro_op *op_of_queue(pri_link *link) { return pro_container_of(link, pro_op, pri_queue); }

/* ---- Pools ---------------------------------------------------------------------------------- */

static bool is_odd(const pro_buffers *buffers)
{
    return buffers->undelivered_max < buffers->count || !pri_list_empty(&buffers->waiters);
}

/* Of a pool that is not native. */
static void put_on_stack(pro_buffers *buffers, uint32_t id)
{
    buffers->free[buffers->stack++] = (uint16_t)id;
}

int pro_buffers_new(pro_buffers **out, pro_loop *loop, uint32_t count, uint32_t size)
{
    const pro_env *env = &loop->env;
    if (count == 0 || count > PRO_BUFFERS_MAX || size == 0 || size > SIZE_MAX_BYTES)
        return PRO_EINVAL;
    if (!(loop->engine->caps & PRI_CAPS_LEASE)) return PRO_ENOTSUP;
    if (size > SIZE_MAX / count) return PRO_ENOMEM;
    pro_buffers *buffers = pri_env_realloc(env, NULL, sizeof *buffers);
    if (!buffers) return PRO_ENOMEM;
    *buffers = (pro_buffers){
        .loop = loop, .size = size, .count = count, .undelivered_max = loop->undelivered_max};
    pri_list_init(&buffers->waiters);
    buffers->memory = pri_env_realloc(env, NULL, (size_t)size * count);
    if (!buffers->memory) goto free_pool;

    buffers->free = pri_env_realloc(env, NULL, count * sizeof buffers->free[0]);
    if (!buffers->free) goto free_memory;
    for (uint32_t i = 0; i < count; i++) buffers->free[i] = (uint16_t)i;

    const pri_engine *engine = loop->engine;
    uint32_t          lent = count < buffers->undelivered_max ? count : buffers->undelivered_max;
    buffers->is_native = engine->buffers_lend && engine->buffers_lend(loop, buffers, lent) == 0;
    buffers->give = buffers->is_native ? engine->buffers_give : put_on_stack;
    buffers->stack = buffers->is_native ? 0 : lent;
    buffers->spare = count - lent;
    buffers->is_odd = is_odd(buffers);
    if (buffers->spare > 0) loop->has_bound = true;
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
    pri_env_realloc(env, buffers->free, 0);
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
            if (pri_step_is_leased(step) && step->data == buffers) return true;
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
PRI_APART void give_to_waiter(pro_buffers *buffers)
{
    pro_op *op = op_of_queue(buffers->waiters.next);
    pri_list_unlink(&op->pri_queue);
    pri_op_finish(op, PRO_OK, 0);
    buffers->is_odd = is_odd(buffers);
    buffers->idle_turns = 0;
}

/* Who was served may take none: its stream has ended, or it is closed.  Its handler runs in one turn, what that initiates
 * in the next one or two; a buffer that is still free then is so because nobody came for it. */
bool pri_buffers_serve(pro_loop *loop)
{
    bool is_owed = false;
    for (pri_link *link = loop->pools.next; link != &loop->pools; link = link->next) {
        pro_buffers *buffers = pro_container_of(link, pro_buffers, of_loop);
        uint32_t     left = buffers->available;
        if (left == 0) buffers->idle_turns = 0;
        if (left == 0 || pri_list_empty(&buffers->waiters)) continue;
        is_owed = true;
        if (++buffers->idle_turns <= IDLE_TURNS_MAX) continue;
        while (left-- > 0 && !pri_list_empty(&buffers->waiters)) give_to_waiter(buffers);
    }
    return is_owed;
}

PRI_APART void give_odd(pro_buffers *buffers, uint32_t id)
{
    if (!pri_list_empty(&buffers->waiters)) give_to_waiter(buffers);
    uint32_t lent = buffers->available++ - buffers->spare;
    if (lent < buffers->undelivered_max)
        buffers->give(buffers, id);
    else
        buffers->free[buffers->count - ++buffers->spare] = (uint16_t)id;
}

PRI_IN_PLACE void give(pro_buffers *buffers, uint32_t id)
{
    if (PRI_RARELY(buffers->is_odd)) {
        give_odd(buffers, id);
        return;
    }
    buffers->available++;
    buffers->give(buffers, id);
}

void pri_buffers_give(pro_buffers *buffers, uint32_t id) { give(buffers, id); }

bool pri_buffers_see_to(pro_loop *loop)
{
    for (pri_link *link = loop->pools.next; link != &loop->pools; link = link->next) {
        pro_buffers *buffers = pro_container_of(link, pro_buffers, of_loop);
        while (buffers->spare > 0 &&
               buffers->available - buffers->spare < buffers->undelivered_max) {
            buffers->give(buffers, buffers->free[buffers->count - buffers->spare--]);
            loop->paused_at = UINT64_MAX; /* not what pri_loop_ran says */
        }
    }
    return !pri_list_empty(&loop->paused) && loop->paused_at != pri_loop_ran(loop);
}

/* ---- Leases --------------------------------------------------------------------------------- */

void *pro_lease_peek(const pro_op *op)
{
    const pro_loop *loop = op->pri_loop;
    if (!loop || loop->leased.op != op) return NULL;
    return pri_buffers_at(loop->leased.buffers, loop->leased.id) + loop->leased.head;
}

int pro_lease_take(pro_op *op, pro_lease *lease)
{
    pro_loop *loop = op->pri_loop;
    if (!loop || loop->leased.op != op) return PRO_EINVAL;
    pro_buffers *buffers = loop->leased.buffers;
    *lease = (pro_lease){.data = pri_buffers_at(buffers, loop->leased.id) + loop->leased.head,
                         .len = (size_t)op->value,
                         .pri_buffers = buffers,
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

/* The handler is about to run, with a buffer that it may take. */
static void lease(pro_loop *loop, const pro_op *op, pro_buffers *buffers, uint32_t id)
{
    buffers->available--;
    loop->leased.op = op;
    loop->leased.buffers = buffers;
    loop->leased.id = id;
}

/* It has run; what it left goes back. */
static void take_back(pro_loop *loop, pro_buffers *buffers, uint32_t id)
{
    if (!loop->leased.op) return;
    loop->leased.op = NULL;
    pri_buffers_give(buffers, id);
}

void pri_buffers_record(pro_loop *loop, pro_op *op, const pri_record *record)
{
    pro_buffers *buffers = op->pri_kernel_step.data;
    if (record->value >
        0) { /* of an operation that is complete nothing is touched after its handler */
        uint32_t id = record->lease;
        lease(loop, op, buffers, id);
        if (record->flags & PRI_RECORD_MORE)
            pri_op_complete_more(op, record->value, PRO_MORE);
        else
            pri_handle_complete(op, PRO_OK, record->value);
        take_back(loop, buffers, id);
        return;
    }
    pro_handle *handle = op->pri_kernel_step.handle;
    int         error = pri_handle_recv_error(record->error);
    pri_handle_heard(handle, error);
    if (!error) error = pri_handle_stream_end(handle);
    pri_handle_complete(op, op->pri_cause ? -(int)op->pri_cause : error, 0);
}

/* The sender stands in the buffer, in the system's form; it may be asked for as long as the handler runs. */
static void read_head(pro_loop *loop, const pro_op *op, const char *buffer)
{
    const pri_os_head *head = NULL;
    pro_address       *from = (pro_address *)(uintptr_t)op->pri_kernel_step.len;
    uint32_t           name_len;
    memcpy(&name_len, buffer, sizeof name_len);
    if (!from) return;
    if (name_len > sizeof head->name) name_len = sizeof head->name;
    *from = (pro_address){.family = PRO_FAMILY_NONE};
    const char *name = buffer + offsetof(pri_os_head, name);
    if (name_len > 0) pri_os_address_in(from, name);
    loop->received.op = op;
    loop->received.side = NULL;
    loop->received.name = name;
    loop->received.name_len = name_len;
}

void pri_buffers_datagram(pro_loop *loop, pro_op *op, const pri_record *record)
{
    pro_buffers *buffers = op->pri_kernel_step.data;
    uint32_t     id = record->lease;
    if (record->error) {
        pri_handle_complete(op, op->pri_cause ? -(int)op->pri_cause : record->error, 0);
        return;
    }
    read_head(loop, op, pri_buffers_at(buffers, id));
    lease(loop, op, buffers, id);
    loop->leased.head = PRO_DATAGRAM_HEAD;
    bool is_truncated = record->flags & PRI_RECORD_TRUNCATED;
    pri_op_complete_more(op, record->value, is_truncated ? PRO_MORE | PRO_TRUNCATED : PRO_MORE);
    loop->leased.head = 0;
    loop->received.op = NULL;
    take_back(loop, buffers, id);
}
