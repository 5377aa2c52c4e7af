/* Blocking work: functions that wait or compute for long run on threads beside the loop, and complete
 * on the loop like any other operation.
 *
 * Each loop has a pool of such threads, made as they are needed and ended when they idle for some
 * seconds; how many at most is an option of the loop (pool_threads_max).  Functions start in the order
 * of initiation.  What waits for a thread is bounded by another option (pool_queue_max): beyond it
 * pro_run_blocking completes with PRO_EBUSY, and pro_run_blocking_wait waits all the same.  The library
 * runs work of its own there, too: what an engine cannot do without waiting.
 *
 * Canceled, timed out or in a closing scope while it waits for its thread, a function is not run, and
 * the operation completes with the cause.  Once it runs it is never cut: the operation completes when
 * the function has returned, with its result, whatever was wished in between; a scope waits for it.
 *
 * In a simulated world there are no threads: the function runs on the loop's thread, as an event of the
 * world, at a time that the seed decides. */
#ifndef PROACTOR_BLOCKING_H
#define PROACTOR_BLOCKING_H

#include <proactor/base.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* What is to be done.  Runs once, on a thread of the pool: it may wait, and must touch nothing of the
 * loop but pro_post.  What was written before the initiation is visible in it, and what it writes is
 * visible in the handler.  Its result: a value >= 0, or one of error.h (< 0). */
typedef int64_t pro_blocking_fn(void *arg);

/* Run fn(arg) on a thread of the loop's pool.  Completes once: with PRO_OK and what fn returned; with
 * what fn returned as the error, if that is negative; or without fn having run: PRO_EBUSY (the queue is
 * full), PRO_ECANCELED, PRO_ETIMEDOUT (see above), PRO_EAGAIN and the like (not one thread could be
 * had).  Ours until the handler: op; arg and what it refers to are fn's.
 * Thread: the loop's.  Never completes inside. */
PRO_API void pro_run_blocking(pro_op *op, pro_loop *loop, pro_blocking_fn *fn, void *arg,
                              pro_handler *done);

/* The same, however many wait already: it waits behind them.  Their number is up to the caller. */
PRO_API void pro_run_blocking_wait(pro_op *op, pro_loop *loop, pro_blocking_fn *fn, void *arg,
                                   pro_handler *done);

/* The same two with the call site given: for macros and other languages. */
PRO_API void pro_run_blocking_at(const char *site, pro_op *op, pro_loop *loop, pro_blocking_fn *fn,
                                 void *arg, pro_handler *done);
PRO_API void pro_run_blocking_wait_at(const char *site, pro_op *op, pro_loop *loop,
                                      pro_blocking_fn *fn, void *arg, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_run_blocking(...) pro_run_blocking_at(PRO_SITE, __VA_ARGS__)
#define pro_run_blocking_wait(...) pro_run_blocking_wait_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
