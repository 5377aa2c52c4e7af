/* The loop: one turn after the other.
 *
 * A turn waits in the engine (unless something is ready already), reads the clock, then runs, in this
 * order: posts, jobs that are done, the engine's records, what is due by time, operations whose result stood without the kernel, and
 * what scopes have to say.  Each handler runs to its end before the next begins; whatever it
 * initiates, cancels or closes has its consequence on a later line of the turn, or on a later turn.
 * So a record that came before a deadline was seen wins over it, and an operation whose deadline is
 * already past when it is initiated still has one attempt in the kernel: it is not due before the
 * turn after. */
#include "core/loop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buffers.h"
#include "core/job.h"
#include "core/plain.h"

void pri_abort(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("proactor: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

/* ---- Memory --------------------------------------------------------------------------------- */

void *pri_env_realloc(const pro_env *env, void *ptr, size_t size)
{
    return env->realloc(env->ctx, ptr, size);
}

/* The loop's own environment is the given one, and counts. */
static void *counted_realloc(void *ctx, void *ptr, size_t size)
{
    pro_loop *loop = ctx;
    if (size) loop->stats.allocations++;
    return loop->given.realloc(loop->given.ctx, ptr, size);
}

static int given_fault(void *ctx, const char *call)
{
    pro_loop *loop = ctx;
    return loop->given.fault(loop->given.ctx, call);
}

static uint64_t given_clock_ns(void *ctx)
{
    pro_loop *loop = ctx;
    return loop->given.clock_ns(loop->given.ctx);
}

static void given_random(void *ctx, void *buf, size_t len)
{
    pro_loop *loop = ctx;
    loop->given.random(loop->given.ctx, buf, len);
}

/* Of an engine that has a time of its own. */
static uint64_t engine_clock_ns(void *ctx)
{
    pro_loop *loop = ctx;
    return loop->engine->clock_ns(loop);
}

static void engine_random(void *ctx, void *buf, size_t len)
{
    pro_loop *loop = ctx;
    loop->engine->random(loop, buf, len);
}

/* ---- Making and freeing --------------------------------------------------------------------- */

static void update_now(pro_loop *loop)
{
    uint64_t now = loop->env.clock_ns(loop);
    if (now > loop->now_ns) loop->now_ns = now;
}

/* Of an engine without a plain way. */
static void start_any(pro_loop *loop, pri_step *step, pro_handle *handle, void *data, size_t len)
{
    (void)handle, (void)data, (void)len;
    pri_step_unplain(step);
    loop->engine->start(loop, step);
}

int pri_loop_create(pro_loop **out, const pri_engine *engine, const pri_engine_options *options,
                    const pri_why *why)
{
    const pro_env *given = options->env;
    pro_loop      *loop = pri_env_realloc(given, NULL, sizeof *loop + 64);
    if (!loop) return PRO_ENOMEM;
    void *memory = loop; /* realloc promises 16 bytes of alignment; a line of its own needs 64 */
    loop = (pro_loop *)(((uintptr_t)memory + 64) & ~(uintptr_t)63);
    memset(loop, 0, sizeof *loop);
    ((void **)loop)[-1] = memory;

    loop->engine = engine;
    loop->net = engine->net;
    for (int d = PRI_READ; d <= PRI_WRITE; d++)
        loop->start_plain[d] = engine->start_plain[d] ? engine->start_plain[d] : start_any;
    loop->given = *given;
    loop->env = (pro_env){.ctx = loop,
                          .clock_ns = given_clock_ns,
                          .random = given_random,
                          .realloc = counted_realloc,
                          .fault = given->fault ? given_fault : NULL};
    loop->clock_is_system = given->clock_ns == pri_os_clock_ns;
    if (engine->clock_ns && loop->clock_is_system) loop->env.clock_ns = engine_clock_ns;
    if (engine->random && given->random == pri_os_random) loop->env.random = engine_random;
    loop->thread = pri_os_thread_self();
    loop->generation = pri_os_generation();
    loop->accepted.fd = -1;
    loop->runs = &pri_nobody;
    loop->batch_max = (int)options->batch_max;
    loop->pool_threads_max = options->pool_threads_max;
    loop->pool_queue_max = options->pool_queue_max;
    loop->why = *why;
    pri_list_init(&loop->ready);
    pri_list_init(&loop->telling);
    pri_list_init(&loop->pools);
    pri_list_init(&loop->paused);
    loop->zerocopy_min = options->zerocopy_min;
    loop->undelivered_max = options->undelivered_max;
    update_now(loop);
    pri_wheel_init(&loop->timers, loop->now_ns, pri_op_before);
    pri_wheel_init(&loop->drains, loop->now_ns, NULL);
    pri_scope_init_root(loop);

    int error = PRO_ENOMEM;
    loop->records = pri_env_realloc(&loop->env, NULL, options->batch_max * sizeof(pri_record));
    if (!loop->records) goto free_loop;
    pri_engine_options mine = *options;
    mine.env = &loop->env;
    error = pri_os_error(engine->init(loop, &mine, &loop->why));
    if (error) goto free_records;
    *out = loop;
    return PRO_OK;

free_records:
    pri_env_realloc(&loop->env, loop->records, 0);
free_loop:
    pri_env_realloc(given, memory, 0);
    return error;
}

/* Nothing refers to it any more. */
static void end_memory(pro_loop *loop)
{
    if (loop->root.pri_live > 0)
        pri_abort("a leftover post brought a loop to life that is being freed");
    /* Whoever posted last may not have come out of pro_post yet: a few instructions. */
    while (atomic_load(&loop->posting) > 0) {}
    if (loop->signals_end) loop->signals_end(loop, true);
    if (loop->co_end) loop->co_end(loop);
    if (loop->vessels_end) loop->vessels_end(loop);
    pri_pool_end(loop);
    pri_buffers_end(loop);
    loop->engine->fini(loop);
    pri_memory_end(loop);
    pri_sides_free(loop);
    pri_env_realloc(&loop->env, loop->records, 0);
    pro_env given = loop->given;
    pri_env_realloc(&given, ((void **)loop)[-1], 0);
}

/* What the parent's loop has of the system is the parent's alone: a ring, threads. */
static void must_be_ours(const pro_loop *loop, const char *what)
{
    if (PRI_RARELY(loop->generation != pri_os_generation()))
        pri_abort("a loop is %s in a child of fork, which has none of its parent's", what);
}

int pro_loop_free(pro_loop *loop)
{
    if (!loop) return PRO_OK;
    must_be_ours(loop, "freed");
    if (loop->running) pri_abort("a loop is freed inside its own handler");
    if (loop->root.pri_live > 0 || loop->holds > 0) return PRO_EBUSY;

    /* What the handlers of leftover posts initiate is refused, and completes here too. */
    pro_scope_close(&loop->root);
    if (loop->signals_end) loop->signals_end(loop, false);
    loop->running = true;
    while (atomic_load(&loop->posts) || !pri_list_empty(&loop->ready) ||
           !pri_list_empty(&loop->telling)) {
        pri_op_run_posts(loop, PRO_ECANCELED);
        pri_op_run_ready(loop);
        loop->correlation = 0;
        pri_scope_tell(loop);
    }
    end_memory(loop);
    return PRO_OK;
}

void pri_loop_abandon(pro_loop *loop)
{
    if (loop->signals_end) loop->signals_end(loop, false);
    for (pro_scope *s = &loop->root; s; s = pri_scope_next(&loop->root, s)) {
        for (pri_link *l = s->pri_ops.next, *next; l != &s->pri_ops; l = next) {
            next = l->next;
            pri_op_abandon(pro_container_of(l, pro_op, pri_scope));
        }
        for (pri_link *l = s->pri_handles.next, *next; l != &s->pri_handles; l = next) {
            pro_handle *handle = pro_container_of(l, pro_handle, pri_of_scope);
            next = l->next;
            for (int d = PRI_READ; d <= PRI_WRITE; d++) {
                pro_op *op = pri_handle_plain_op(handle, (pri_direction)d);
                if (op) pri_op_abandon(op);
            }
            pri_handle_abandon(handle);
        }
    }
    while (atomic_load(&loop->posts)) {
        pro_op *op = pro_container_of(atomic_load(&loop->posts), pro_op, pri_queue);
        atomic_store(&loop->posts, op->pri_queue.next);
        pri_op_abandon(op);
    }
    loop->root.pri_live = 0; /* all of it is gone */
    end_memory(loop);
}

/* ---- Turning -------------------------------------------------------------------------------- */

static bool is_work_left(pro_loop *loop)
{
    return loop->initiated != loop->completed || loop->holds > 0 || loop->closing > 0 ||
           !pri_list_empty(&loop->telling) ||
           atomic_load_explicit(&loop->posts, memory_order_relaxed) ||
           !pri_wheel_empty(&loop->drains);
}

static void end_drains(pro_loop *loop)
{
    if (pri_wheel_idle(&loop->drains)) return;
    pri_link due;
    pri_list_init(&due);
    pri_wheel_expire(&loop->drains, loop->now_ns, &due);
    while (!pri_list_empty(&due)) {
        pri_link *link = pri_list_pop(&due);
        link->next = NULL;
        pro_scope_close(pro_container_of(link, pro_scope, pri_drain));
    }
}

/* How long this turn may wait.  Once "asleep" is up, whoever posts or stops will wake the engine;
 * whoever did so before is seen by the second look. */
static uint64_t wait_until(pro_loop *loop)
{
    if (!pri_list_empty(&loop->ready) || !pri_list_empty(&loop->telling)) return PRI_TURN_POLL;
    atomic_store(&loop->asleep, true);
    if (atomic_load(&loop->posts) || atomic_load(&loop->jobs) || atomic_load(&loop->stopping))
        return PRI_TURN_POLL;
    if (pri_wheel_idle(&loop->timers) && pri_wheel_idle(&loop->drains)) return PRI_TURN_FOREVER;
    uint64_t timer = pri_wheel_next(&loop->timers), drain = pri_wheel_next(&loop->drains);
    uint64_t until = timer < drain ? timer : drain;
    return until <= loop->now_ns ? PRI_TURN_POLL : until;
}

static int64_t turn(pro_loop *loop, bool may_wait)
{
    uint64_t before = loop->completed + loop->others;
    if (PRI_RARELY(loop->has_bound) && pri_buffers_serve(loop)) may_wait = false;
    uint64_t until = may_wait ? wait_until(loop) : PRI_TURN_POLL;
    int      count = loop->engine->turn(loop, until, loop->records, loop->batch_max);
    if (may_wait) atomic_store_explicit(&loop->asleep, false, memory_order_relaxed);
    update_now(loop);
    loop->stats.turns++;

    /* Taken before any handler runs: what they initiate is not due before the next turn. */
    pri_link due;
    pri_list_init(&due);
    if (!pri_wheel_idle(&loop->timers)) pri_wheel_expire(&loop->timers, loop->now_ns, &due);

    if (atomic_load_explicit(&loop->posts, memory_order_relaxed)) pri_op_run_posts(loop, PRO_OK);
    if (atomic_load_explicit(&loop->jobs, memory_order_relaxed)) pri_job_run_done(loop);
    if (count > 0) pri_op_run_records(loop, loop->records, count);
    if (loop->engine->run_plain) {
        loop->engine->run_plain(loop, loop->batch_max);
        loop->plain = NULL;
    }
    pri_op_expire(&due);
    end_drains(loop);
    if (!pri_list_empty(&loop->ready)) pri_op_run_ready(loop);
    loop->correlation = 0;
    if (!pri_list_empty(&loop->telling)) pri_scope_tell(loop);
    if (count < 0) return pri_os_error(count);
    return (int64_t)(loop->completed + loop->others - before);
}

static int enter(pro_loop *loop)
{
    if (loop->running) pri_abort("a loop is run inside its own handler");
    must_be_ours(loop, "run");
    uintptr_t self = pri_os_thread_self();
    if (!loop->bound) {
        int error = loop->engine->bind(loop);
        if (error) return pri_os_error(error);
        loop->bound = true;
        loop->thread = self;
    } else if (loop->thread != self) {
        pri_abort("a loop is run on another thread than the one it is bound to");
    }
    loop->running = true;
    loop->outer = pri_op_set_current_loop(loop);
    return PRO_OK;
}

static void leave(pro_loop *loop)
{
    loop->running = false;
    pri_op_set_current_loop(loop->outer);
}

int64_t pro_loop_run(pro_loop *loop)
{
    int64_t result = enter(loop);
    if (result < 0) return result;
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire) && is_work_left(loop)) {
        int64_t handlers = turn(loop, true);
        if (handlers < 0) {
            result = handlers;
            break;
        }
        result += handlers;
    }
    atomic_store(&loop->stopping, false);
    leave(loop);
    return result;
}

static int64_t run_one(pro_loop *loop, bool may_wait)
{
    int64_t result = enter(loop);
    if (result < 0) return result;
    if (!atomic_exchange(&loop->stopping, false) && (is_work_left(loop) || !may_wait))
        result = turn(loop, may_wait);
    atomic_store(&loop->stopping, false);
    leave(loop);
    return result;
}

int64_t pro_loop_run_once(pro_loop *loop) { return run_one(loop, true); }

int64_t pro_loop_poll(pro_loop *loop) { return run_one(loop, false); }

void pro_loop_stop(pro_loop *loop)
{
    atomic_fetch_add(&loop->posting, 1);
    atomic_store(&loop->stopping, true);
    pri_loop_wake(loop);
    atomic_fetch_sub(&loop->posting, 1);
}

/* Push by compare-and-swap, take all by exchange.  The loop says "asleep"
 * before it looks at the stack for the last time, who pushes looks at "asleep" after that, both
 * sequentially consistent: at least one of them sees the other, so no wake-up is lost.  One poster
 * takes the flag down and wakes; the others find it down. */
void pri_loop_push(pro_loop *loop, _Atomic(pri_link *) *stack, pri_link *link)
{
    /* Once it is pushed the loop may run it, and its handler free the loop: it waits for us to leave. */
    atomic_fetch_add(&loop->posting, 1);
    pri_link *newest = atomic_load_explicit(stack, memory_order_relaxed);
    do link->next = newest;
    while (!atomic_compare_exchange_weak_explicit(stack, &newest, link, memory_order_seq_cst,
                                                  memory_order_relaxed));
    pri_loop_wake(loop);
    atomic_fetch_sub(&loop->posting, 1);
}

pri_link *pri_loop_take(_Atomic(pri_link *) *stack)
{
    pri_link *newest = atomic_exchange_explicit(stack, NULL, memory_order_acquire);
    pri_link *oldest = NULL;
    for (pri_link *link = newest, *next; link; link = next) {
        next = link->next;
        link->next = oldest;
        oldest = link;
    }
    return oldest;
}

void pri_loop_wake(pro_loop *loop)
{
    if (!atomic_load(&loop->asleep)) return; /* most find it so, and take the line from nobody */
    if (!atomic_exchange(&loop->asleep, false)) return;
    atomic_fetch_add_explicit(&loop->wakes, 1, memory_order_relaxed);
    loop->engine->wake(loop);
}

void pro_loop_hold(pro_loop *loop) { loop->holds++; }

void pro_loop_release(pro_loop *loop)
{
    if (loop->holds == 0) pri_abort("a loop is released more often than held");
    loop->holds--;
}

/* ---- What engines and users ask ------------------------------------------------------------- */

void *pri_loop_engine_state(const pro_loop *loop) { return loop->engine_state; }

void pri_loop_set_engine_state(pro_loop *loop, void *state) { loop->engine_state = state; }

const pro_env *pri_loop_env(const pro_loop *loop) { return &loop->env; }

void pri_loop_set_native(pro_loop *loop, uint64_t native) { loop->native = native; }

void pri_loop_set_slots(pro_loop *loop, const pri_net *net, uint32_t max)
{
    loop->net = net;
    loop->stats.slots = max;
}

void pri_loop_count_slots(pro_loop *loop, int used, int closing)
{
    loop->stats.slots_used += (uint32_t)used;
    loop->closing += (uint32_t)closing;
}

void pri_loop_count_system_call(pro_loop *loop) { loop->stats.system_calls++; }

void pri_loop_count_zerocopy(pro_loop *loop, bool was_copied)
{
    loop->stats.zerocopy_sends++;
    loop->stats.zerocopy_copied += was_copied;
}

void pri_loop_count_registered(pro_loop *loop) { loop->stats.registered_transfers++; }

uint64_t pri_loop_system_time(const pro_loop *loop, uint64_t loop_ns)
{
    if (loop->clock_is_system) return loop_ns;
    uint64_t now = pri_os_clock_ns(NULL);
    uint64_t mine = loop->given.clock_ns(loop->given.ctx);
    uint64_t left = loop_ns > mine ? loop_ns - mine : 0;
    return left > UINT64_MAX - now ? UINT64_MAX : now + left;
}

uint64_t pro_loop_now(const pro_loop *loop)
{
    if (!loop->running)
        update_now((pro_loop *)(uintptr_t)loop); /* no turn: nothing to hold it for */
    return loop->now_ns;
}

pro_scope *pro_loop_scope(pro_loop *loop) { return &loop->root; }

const char *pro_loop_engine(const pro_loop *loop) { return loop->engine->name; }

int pro_loop_system_error(const pro_loop *loop) { return loop->system_error; }

void pro_loop_stats_get(const pro_loop *loop, pro_loop_stats *stats)
{
    *stats = loop->stats;
    stats->completed = loop->completed;
    stats->initiated = loop->initiated;
    stats->handlers = loop->completed + loop->others;
    stats->wakes = atomic_load_explicit(&loop->wakes, memory_order_relaxed);
    stats->live_ops = pri_loop_live_ops(loop);
    stats->live_handles = loop->live_handles;
}
