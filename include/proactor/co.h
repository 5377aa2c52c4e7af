/* Coroutines: straight-line code over the completion engine.
 *
 *     static void echo(void *arg)
 *     {
 *         pro_socket *sock = arg;
 *         char buf[4096];
 *         for (;;) {
 *             int64_t n = pro_await_recv(sock, buf, sizeof buf);
 *             if (n <= 0 || pro_await_send_all(sock, buf, (size_t)n) < 0) break;
 *         }
 *         pro_await_close(sock);
 *     }
 *     ...
 *     pro_go(scope, echo, sock, NULL);
 *
 * A coroutine is a function with a stack of its own that runs on its loop's thread, between handlers,
 * until it awaits an operation; the handler of that operation goes on with it.  So everything that
 * holds for handlers holds for the code between two awaits: it is never interrupted by another handler
 * or coroutine of its loop, and it must not block.  Await forms of the initiating functions are in
 * await.h; operations of one's own are awaited by pro_await below.  Callbacks, coroutines and the
 * stackless form (stackless.h) mix freely on one loop, and on one socket.
 *
 * Ended by returning only.  A coroutine is never destroyed from outside, only canceled: by its scope
 * closing (or pro_scope_cancel, which stops at what is awaited now), or by pro_task_cancel.  When it is
 * canceled the current await and all later ones give PRO_ECANCELED, each still yielding once; closing
 * handles still works, and what is shielded (pro_co_shield).  So its function always runs to its end,
 * releases what it holds, and finds its arg and its stack alive until then.
 *
 * The scope of a coroutine counts it, from pro_go until it has returned.  Loops run as long as one of
 * their coroutines awaits something.
 *
 * The stack.  64 KiB unless an option says otherwise; memory is used only for what is touched, a page
 * (4 KiB) for an idle coroutine with small frames.  Below it lies a guard of four pages.  A coroutine
 * that overflows ends the process with SIGSEGV, and one line on standard error says its name, where it
 * was started, and how large its stack is (not under AddressSanitizer, which reports by itself).
 *
 * Of the thread, and shared by its coroutines: thread-local variables, errno, the signal mask, the
 * floating-point control words (rounding).  What a coroutine changes there it changes back before it
 * awaits. C++: an exception must not leave the function. */
#ifndef PROACTOR_CO_H
#define PROACTOR_CO_H

#include <proactor/base.h>
#include <proactor/op.h>
#include <proactor/scope.h>

PRO_BEGIN_DECLS

/* ---- Starting ----------------------------------------------------------------------------- */

typedef void pro_go_fn(void *arg);

/* A coroutine seen from outside: for those who want its end, its result, or to cancel it.  Zero it
 * once.  The library's from pro_go until the coroutine has ended (the joins complete after that, and
 * need it no more) or pro_task_detach; then it may be used again, or freed. */
typedef struct pro_task {
    int64_t result; /* what it gave to pro_co_result, or 0; valid once it has ended */

    /* Internal. */
    struct pri_co *pri_co;
    pro_loop      *pri_loop;
    pri_link       pri_joins;
    uint8_t        pri_state;
} pro_task;

typedef struct pro_go_options {
    const char *name;  /* for dumps and reports; kept, not copied.  NULL: the function's name */
    size_t stack_size; /* 0: 64 KiB.  Rounded up to whole pages, 16 KiB at least; at most 1 GiB */
    pro_task *task;    /* tells its end and its result; NULL: nobody asks */
} pro_go_options;

/* Start fn(arg) as a coroutine in scope (NULL, in a coroutine: in that one's scope).  It begins to run
 * on this or the next turn of the loop, never inside this call; in a closing scope it runs too, and
 * finds itself canceled.  If PRO_OK comes back fn will be called once, in any case.
 * Ours until it has ended: arg is only handed on; the name and the task.  options may be NULL, and is
 * not kept.  Stacks are kept for reuse until the loop is freed: in a steady state this allocates nothing.
 * Thread: the loop's.
 * Returns PRO_OK; PRO_EINVAL (stack_size); PRO_ENOMEM (memory, or the system's limit of mappings where
 * each guard takes two: some 32,000 stacks; not on Linux 6.13 and later). */
PRO_API int pro_go(pro_scope *scope, pro_go_fn *fn, void *arg, const pro_go_options *options);
PRO_API int pro_go_at(const char *site, const char *name, pro_scope *scope, pro_go_fn *fn,
                      void *arg, const pro_go_options *options);

/* ---- From outside ------------------------------------------------------------------------- */

/* Complete when the coroutine has ended: PRO_OK, value = its result.  At once (on this or the next
 * turn) if it has already.  Any number of joins.  Misuse, which aborts: a task that was never started;
 * a coroutine that joins itself.
 * Ours until the handler: op.  Thread: the loop's.
 * Errors: PRO_ECANCELED (also when the task is detached, or was), PRO_ETIMEDOUT.  A join that ends so
 * does nothing to the coroutine. */
PRO_API void pro_join(pro_op *op, pro_task *task, pro_handler *done);
PRO_API void pro_join_at(const char *site, pro_op *op, pro_task *task, pro_handler *done);

/* Ask for the coroutine to be over soon: what it awaits is canceled, if it is not shielded, and all it
 * awaits from now on gives PRO_ECANCELED.  A wish: it ends when its function returns.  If it has ended
 * nothing happens.  Never runs it.  Thread: the loop's. */
PRO_API void pro_task_cancel(pro_task *task);

/* Nobody asks any more: the task is the caller's when this returns, and the coroutine runs on.  Joins in
 * flight complete PRO_ECANCELED.  If it has ended nothing happens.  Thread: the loop's. */
PRO_API void pro_task_detach(pro_task *task);

/* 1 from pro_go until the coroutine has ended or was detached, else 0.  Thread: the loop's. */
PRO_API int pro_task_running(const pro_task *task);

/* ---- In a coroutine ----------------------------------------------------------------------- */

/* All of these abort outside of a coroutine, and say where, but for pro_co_running. */

/* Wait until op, which was initiated with the handler pro_awake, has completed; at once, without
 * yielding, if it has.  Returns its value, or its error, which is negative; op has both.  op is the
 * caller's again, on the coroutine's stack too.
 *
 *     pro_op got = {0}, late = {0};
 *     pro_recv(&got, sock, buf, sizeof buf, pro_awake);
 *     pro_sleep(&late, loop, PRO_SEC, pro_awake);      two operations in flight at once
 *     int64_t n = pro_await(&got);
 *     pro_cancel(&late);
 *     pro_await(&late);                                each must be awaited before it leaves scope
 *
 * op.user must be NULL, and is.  Any coroutine of the loop may await it, one at a time.  Not for
 * multishot operations. */
PRO_API int64_t pro_await(pro_op *op);
PRO_API int64_t pro_await_at(const char *site, pro_op *op);

/* The handler for operations that a coroutine will await. */
PRO_API void pro_awake(pro_op *op);

/* Let others run; go on later this turn or on the next.  PRO_OK, or PRO_ECANCELED. */
PRO_API int pro_yield(void);
PRO_API int pro_yield_at(const char *site);

/* The value beside the result of the last await: the bytes that moved before an error. */
PRO_API int64_t pro_co_value(void);

/* The flags beside it: PRO_TRUNCATED, or 0. */
PRO_API uint16_t pro_co_flags(void);

/* A deadline (absolute, PRO_NEVER: none) for all that this coroutine awaits by the forms of await.h from
 * now on, beside their own; the earlier one counts.  Closing has none.  Returns the one before, so that
 * a function can put it back. */
PRO_API uint64_t pro_co_deadline(uint64_t deadline_ns);

/* Between shield and unshield what is awaited is not touched when the coroutine is canceled, or its scope;
 * it counts in the loop's root scope (an operation given to pro_await: where it says), so only the end
 * of that, or of a handle, ends it.  For the last words of a protocol; give them a deadline.  They
 * nest. */
PRO_API void pro_co_shield(void);
PRO_API void pro_co_unshield(void);

/* 1 if awaiting would give PRO_ECANCELED: the coroutine was canceled, or its scope is closing. */
PRO_API int pro_co_canceled(void);

/* The result, for its task: what was said last. */
PRO_API void pro_co_result(int64_t result);

/* Its loop, its scope, its name. */
PRO_API pro_loop   *pro_co_loop(void);
PRO_API pro_scope  *pro_co_scope(void);
PRO_API const char *pro_co_name(void);

/* 1 in a coroutine, 0 elsewhere (in handlers too).  Any thread. */
PRO_API int pro_co_running(void);

/* ---- Seeing ------------------------------------------------------------------------------- */

typedef struct pro_co_stats {
    uint64_t started;      /* since the loop was made */
    uint32_t live;         /* now */
    uint32_t live_max;     /* at once */
    uint32_t stacks;       /* made, those kept for reuse included */
    size_t stack_used_max; /* the deepest that any was used since made or trimmed, in whole pages */
} pro_co_stats;

/* Asks the system which pages have memory: some microseconds for each stack.  Thread: the loop's. */
PRO_API void pro_co_stats_get(pro_loop *loop, pro_co_stats *stats);

/* Give back the memory of the stacks kept for reuse, but for a page each.  Thread: the loop's. */
PRO_API void pro_co_trim(pro_loop *loop);

/* Call fn with one line of text (without line feed) for each coroutine alive: name, where it was
 * started, what it awaits, where and since when, how deep its stack was used.  Returns how many
 * there were.  fn must not start, initiate or await.  Thread: the loop's. */
PRO_API size_t pro_co_dump(pro_loop *loop, void (*fn)(void *arg, const char *line), void *arg);

#ifndef PRO_NO_SITES
#define pro_go(scope, fn, arg, options) pro_go_at(PRO_SITE, #fn, scope, fn, arg, options)
#define pro_join(...) pro_join_at(PRO_SITE, __VA_ARGS__)
#define pro_await(op) pro_await_at(PRO_SITE, op)
#define pro_yield() pro_yield_at(PRO_SITE)
#endif

PRO_END_DECLS

#endif
