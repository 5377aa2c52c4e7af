/* Signals as operations: a minimal source, enough for a graceful end. */
#ifndef PROACTOR_SIGNAL_H
#define PROACTOR_SIGNAL_H

#include <proactor/base.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* Complete with PRO_OK when the process gets the signal; value = how many came since the last
 * completion.  From the first wait for a signal on a loop until the loop is freed the signal is
 * caught by the library (its former disposition comes back then), and one that comes while no wait
 * is in flight completes the next wait.  Several waits on one loop all complete; several loops all
 * hear it.  At most 64 pairs of loop and signal in a process: beyond it PRO_EBUSY.
 * On Windows: SIGINT and SIGTERM stand for console control events.
 * Ours until the handler: op.  Thread: the loop's.
 * Errors: PRO_EINVAL (no such signal, or one that cannot be caught), PRO_EBUSY, PRO_ECANCELED. */
PRO_API void pro_signal_wait(pro_op *op, pro_loop *loop, int signal_number, pro_handler *done);
PRO_API void pro_signal_wait_at(const char *site, pro_op *op, pro_loop *loop, int signal_number,
                                pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_signal_wait(...) pro_signal_wait_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
