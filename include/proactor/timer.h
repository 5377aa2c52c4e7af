/* Timers.  They are operations like all others: canceled, given a scope, completed once.
 *
 * Time is the loop's clock: monotonic, in nanoseconds, read once a turn (pro_loop_now).  A handler
 * never runs before its time; those due in one turn run in the order of their times, then of
 * initiation. */
#ifndef PROACTOR_TIMER_H
#define PROACTOR_TIMER_H

#include <proactor/base.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* Complete with PRO_OK at when_ns on the loop's clock, or on the next turn if that is past.
 * UINT64_MAX is a time like any other, some 584 years away.  A deadline on the operation that comes
 * earlier ends it with PRO_ETIMEDOUT.
 * Ours until the handler: op.  Thread: the loop's.  Errors: PRO_ECANCELED, PRO_ETIMEDOUT. */
PRO_API void pro_timer_start(pro_op *op, pro_loop *loop, uint64_t when_ns, pro_handler *done);

/* The same, delay_ns from now; a sum beyond the largest time is the largest time. */
PRO_API void pro_sleep(pro_op *op, pro_loop *loop, uint64_t delay_ns, pro_handler *done);

/* The same two with the call site given: for macros and other languages. */
PRO_API void pro_timer_start_at(const char *site, pro_op *op, pro_loop *loop, uint64_t when_ns,
                                pro_handler *done);
PRO_API void pro_sleep_at(const char *site, pro_op *op, pro_loop *loop, uint64_t delay_ns,
                          pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_timer_start(...) pro_timer_start_at(PRO_SITE, __VA_ARGS__)
#define pro_sleep(...) pro_sleep_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
