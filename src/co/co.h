/* The inside of a coroutine, and what the files of this directory offer each other.
 *
 *            pro_go            on_go            function returns
 *     (free) ------> STARTING -------> RUNNING ------------------> (free)
 *                                                  |
 *                                                  +-> LINGERING -> (free)     its guard is in flight
 *
 * RUNNING is one of three: it is the one that runs on its loop (home->runs), or it waits for an operation
 * (pri_co_awaited), or it is away (away != NULL). */
#ifndef PRI_CO_H
#define PRI_CO_H

#include <proactor/co.h>
#include <proactor/unix.h>

#include "co/sanitize.h"
#include "co/stacks.h"
#include "co/switch.h"
#include "core/op.h"

typedef enum pri_co_state { PRI_CO_STARTING, PRI_CO_RUNNING, PRI_CO_LINGERING } pri_co_state;

typedef struct pri_co {
    pri_stack           stack;
    pri_context         context; /* while it does not run */
    struct pri_co_home *home;

    /* What every await touches. */
    const pro_scope
          *plain; /* its scope; NULL: canceled, shielded or with a deadline: the long way */
    pro_op op;    /* of the forms of await.h; before that, of its start */

    /* What special awaits touch. */
    pro_scope *scope;
    pro_op    *awaited;     /* an operation of its own that it waits for, or NULL */
    uint64_t   deadline_ns; /* for all it awaits */
    uint8_t    state;
    uint32_t   shields;
    bool       is_canceled; /* by its task; its scope is another matter */
    bool       is_refused;  /* this await has its result already: PRO_ECANCELED */
    bool is_foreign; /* what it awaits does not end with its scope: the guard looks after it */
    bool is_late;    /* the guard was canceled before this await began */

    /* The rest of its life. */
    const char *name;
    const char *site;
    pro_go_fn  *fn;
    void       *arg;
    int64_t     result;
    pro_task   *task;
    const char *away; /* where it called another loop, and waits for the answer; or NULL */
    pri_link    of_home;
    pri_fiber   fiber;
    pro_op      guard; /* see guard.c */
} pri_co;

_Static_assert(sizeof(pri_co) <= 768, "with colour and frames it is to fit in a page");

/* The coroutines of one loop. */
typedef struct pri_co_home {
    pri_context context; /* of the loop's stack, while a coroutine runs */
    pri_runs    runs;    /* that one; where this thread runs another loop's meanwhile, too */
    pro_loop   *loop;
    pri_fiber   fiber;
    pri_stacks  stacks;
    pri_link    all; /* through of_home; the oldest first */
    uint64_t    started;
    uint32_t    live;
    uint32_t    live_max;
    bool        is_watched; /* overflows on this thread are reported */
    bool        is_begun;   /* the first one ran */
    pri_link    of_process; /* of all homes, for debuggers */
} pri_co_home;

/* The coroutine that runs on this thread, NULL on a loop's own stack. */
static inline pri_co *pri_co_current(void) { return pri_runs_here->co; }

/* The running coroutine; aborts if there is none. */
pri_co *pri_co_running(const char *site, const char *what);

/* On the loop's stack: go on with it until it parks or returns. */
void pri_co_resume(pri_co *co);

/* The handler of co->op. */
void pri_co_awake(pro_op *op);

/* Its deadline, its shields or its cancel changed. */
void pri_co_mind(pri_co *co);

static inline bool pri_co_is_canceled(const pri_co *co)
{
    return co->shields == 0 && (co->is_canceled || co->scope->pri_state >= PRI_SCOPE_CLOSING);
}

/* What it waits for, or NULL. */
static inline pro_op *pri_co_awaited(pri_co *co)
{
    bool waits = co->state == PRI_CO_RUNNING && pro_op_in_flight(&co->op);
    return waits ? &co->op : co->awaited;
}

/* park.c: what a receive of handles left in the operation, at most room of them. */
size_t pri_await_handles(pri_co *co, intptr_t *descriptors, size_t room);

/* task.c: the coroutine begins with this task; it has ended. */
void pri_task_begin(pro_task *task, pri_co *co, const char *site);
void pri_task_end(pri_co *co);

/* guard.c: what co is about to await counts in this scope. */
void pri_guard_look_after(pri_co *co, const pro_scope *scope);

/* guard.c: the coroutine has ended; true: its block is needed a little longer. */
bool pri_guard_end(pri_co *co);

/* report.c: an address that must not be touched was. */
size_t pri_co_describe_fault(uintptr_t address, char *line, size_t size);

/* ---- Awaiting: what the generated forms are made of (await.c, park.c) ------------------------- */

#if defined(__GNUC__)
#define PRI_COLD __attribute__((cold, noinline))
#else
#define PRI_COLD
#endif

/* Leave the running coroutine, until the handler of what it awaits resumes it. */
static inline void pri_co_park(pri_co *co)
{
    pri_co_home *home = co->home;
    home->runs.co = NULL;
    pri_fiber_leave(&co->fiber, &home->fiber);
    pri_context_switch(&co->context, &home->context);
    pri_fiber_arrive(&co->fiber, &home->fiber);
}

/* Nothing special about an await: in a coroutine, not canceled, no deadline, no shield, and (if it is of
 * a handle) in its own scope.  Then co->op is ready to be initiated. */
static inline bool pri_await_is_plain(pri_co *co, uint64_t deadline_ns)
{
    if (!co || !co->plain || deadline_ns != PRO_NEVER) return false;
    co->op.scope = co->scope;
    return true;
}

static inline bool pri_await_is_plain_on(pri_co *co, const pro_handle *handle, uint64_t deadline_ns)
{
    if (!co || handle->pri_scope != co->plain || deadline_ns != PRO_NEVER) return false;
    co->op.scope = NULL;
    return true;
}

/* Wait for co->op. */
PRI_COLD int          pri_await_error(pri_co *co);
static inline int64_t pri_await_plain(pri_co *co)
{
    pri_co_park(co);
    return co->op.error ? pri_await_error(co) : co->op.value;
}

/* Yield, and find this result; in a closing scope it is PRO_ECANCELED. */
void pri_await_pass(pri_co *co, const char *site, int result);

/* The long way: prepare co->op, which must not be initiated if the await is_refused; then wait. */
pri_co *pri_await_begin(const char *site, const char *what, const pro_handle *handle,
                        uint64_t deadline_ns);
int64_t pri_await_end(pri_co *co);

/* For closing, which nothing refuses and no deadline ends. */
pri_co *pri_await_begin_close(const char *site, const char *what);

#endif
