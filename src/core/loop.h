/* The inside of a loop, and what the files of the core offer each other. */
#ifndef PRI_LOOP_H
#define PRI_LOOP_H

#include <proactor/loop.h>
#include <proactor/scope.h>

#include <stdatomic.h>

#include "core/engine.h"
#include "core/memory.h"
#include "core/wheel.h"

/* Which coroutine runs, or NULL: a part of what src/co keeps of a loop. */
typedef struct pri_runs {
    struct pri_co *co;
} pri_runs;

struct pro_loop {
    /* What every turn touches. */
    const pri_engine *engine;
    const pri_net    *net; /* the engine's, or one that knows its slots, too */
    void             *engine_state;
    uint64_t          correlation; /* of the running handler; 0 outside of one */
    uint64_t          now_ns;      /* behind it: an operation begins with a copy of both */
    pri_plain_start  *start_plain[2];
    const pro_handle
        *plain; /* whose plain operation's handler runs, or NULL: it is counted by nobody else */
    uint64_t correlation_last;     /* the newest id given out */
    pri_link ready;                /* operations whose result stands: pri_op_finish */
    pri_link telling;              /* scopes that have something to hear */
    uint64_t initiated, completed; /* operations; posts in both, once they ran */
    uint64_t others; /* handlers and functions that ran and were no completion, or not the last */
    uint32_t live_handles;
    uint32_t holds;
    uint32_t closing; /* slots that the engine gives back */
    int      system_error;
    struct {
        const pro_op *op; /* whose handler may take fd */
        intptr_t      fd; /* -1: nothing, or taken */
        uint8_t       family;
    } accepted;
    struct {
        const pro_op *op;   /* whose handler may ask what came beside its data */
        pri_side     *side; /* where descriptors are, or NULL */
        const void   *name; /* who sent it, or NULL: nobody asked */
        uint32_t      name_len;
    } received;
    struct {
        const pro_op *op; /* whose handler may take the buffer; NULL: none, or taken */
        pro_buffers  *buffers;
        uint32_t      id;
        uint32_t      head; /* bytes before the data: 0 but while the handler of a datagram runs */
    } leased;
    uint32_t undelivered_max; /* of each pool */
    pri_link paused;    /* the engine's: leased receives that wait for others to be delivered */
    uint64_t paused_at; /* pri_loop_ran as the first of them began to wait */
    bool has_bound;    /* spare buffers, something paused, who waits for one: see to it each turn */
    pri_link    pools; /* of buffers */
    size_t      zerocopy_min; /* bytes: a smaller send is copied */
    pri_side   *sides;        /* free side objects */
    pri_record *records;
    int         batch_max;
    bool        running;
    bool        bound;
    uintptr_t   thread;     /* the creator's, then the bound one */
    pro_loop   *outer;      /* in whose handler this one is run, or NULL */
    unsigned    generation; /* of the process that made it: pri_os_generation */

    pro_loop_stats           stats;
    pri_wheel                timers; /* operations: deadlines and timers */
    pri_wheel                drains; /* scopes: the end of a drain */
    pro_scope                root;
    pro_env                  env;
    pro_env                  given; /* env as the caller gave it; env counts what it does */
    bool                     clock_is_system; /* no need to translate times for the engine */
    struct pri_signal_watch *signals;         /* src/ops/signal.c */
    void (*signals_end)(pro_loop *loop, bool free_them);
    pri_memory       memory; /* that is registered */
    pri_why          why;
    struct pri_pool *pool;   /* src/shard/pool.c; NULL before the first job */
    uint64_t         native; /* PRI_NATIVE_*: jobs of the engine's */
    uint32_t         pool_threads_max, pool_queue_max;
    struct pri_vessels
        *vessels; /* src/ops/vessel.c: what streams are copied by; NULL before the first */
    void (*vessels_end)(pro_loop *loop);
    struct pri_co_home *co; /* src/co: coroutines and their stacks; NULL before the first */
    void (*co_end)(pro_loop *loop);
    pri_runs *runs;    /* of those; a loop without any: pri_nobody */
    void     *runtime; /* src/shard/runtime.c: whose shard it is, or NULL */
    unsigned  shard;

    /* Written by other threads: on a line of its own. */
    _Alignas(64) _Atomic(pri_link *) posts; /* newest first, through pri_queue.next */
    _Atomic(pri_link *) jobs;               /* done, newest first, through pri_job.link.next */
    atomic_uint         jobs_queued;        /* that wait to be begun */
    atomic_bool         asleep;             /* the loop is, or is about to be, waiting */
    atomic_bool         stopping;
    atomic_uint posting; /* threads inside pro_post or pro_loop_stop: the loop must outlive them */
    atomic_ullong wakes;
};

/* Operations in flight, posts excepted. */
static inline uint32_t pri_loop_live_ops(const pro_loop *loop)
{
    return (uint32_t)(loop->initiated - loop->completed);
}

/* So many handlers have run. */
static inline uint64_t pri_loop_ran(const pro_loop *loop) { return loop->completed + loop->others; }

/* loop.c: PRO_OK and a loop, or one of our errors and nothing. */
int pri_loop_create(pro_loop **loop, const pri_engine *engine, const pri_engine_options *options,
                    const pri_why *why);

/* Free a loop whose program is gone (a simulated crash): nothing completes, no handler runs.  The
 * memory of operations, handles and scopes must still be there; it is the caller's then. */
void pri_loop_abandon(pro_loop *loop);

/* One messaging primitive for all that comes from other threads: push onto a stack of the loop, and
 * wake it; take all of a stack, the oldest first, linked by next. */
void      pri_loop_push(pro_loop *loop, _Atomic(pri_link *) *stack, pri_link *link);
pri_link *pri_loop_take(_Atomic(pri_link *) *stack);

/* What was posted or wished just now: a loop that sleeps, or is about to, will see it. */
void pri_loop_wake(pro_loop *loop);

/* Misuse, or a bug of ours: one line on standard error, then abort.  In every build. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2), noreturn))
#endif
void pri_abort(const char *format, ...);

/* side.c: so many vectors have room in those that are kept for reuse.  256 bytes, for other things too:
 * an operation, what a kernel knows of a file. */
enum { PRI_SIDE_SMALL = 16 };

/* A side object with room for count vectors; NULL: no memory. */
pri_side *pri_side_take(pro_loop *loop, size_t count);
void      pri_side_give(pro_loop *loop, pri_side *side);
void      pri_sides_free(pro_loop *loop);

/* scope.c */
typedef enum pri_scope_state {
    PRI_SCOPE_OPEN,
    PRI_SCOPE_DRAINING,
    PRI_SCOPE_CLOSING,
    PRI_SCOPE_ENDED
} pri_scope_state;

void       pri_scope_init_root(pro_loop *loop);
pro_scope *pri_scope_next(const pro_scope *root, pro_scope *s); /* in a walk over a tree; or NULL */
void       pri_scope_check(pro_scope *scope); /* it is ending and its count changed: is it over? */
void       pri_scope_tell(pro_loop *loop);    /* run the functions that are due */

/* One thing more lives in it.  2^32 of them do not fit into memory; holds, which need none, are
 * checked. */
static inline void pri_scope_count(pro_scope *scope) { scope->pri_live++; }

/* One less; it may now be over. */
static inline void pri_scope_uncount(pro_scope *scope)
{
    scope->pri_live--;
    if (scope->pri_state != PRI_SCOPE_OPEN) pri_scope_check(scope);
}

/* Is it ours but for the patch?  The second one says so on standard error if it is not. */
bool pri_is_our_version(uint32_t version);
bool pri_accept_version(uint32_t version);

#endif
