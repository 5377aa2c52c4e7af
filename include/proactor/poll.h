/* Readiness: an operation that completes when a descriptor can be read or written, so that a library
 * with a reactor's shape (one that says "call me when this socket is readable") runs on a loop.
 *
 * Prefer the operations of net.h where the descriptor is your own: they do the work and need no second
 * system call.  This is for descriptors that others read and write.
 *
 * A pollable does not own the descriptor it is made of and changes nothing about it, its blocking mode
 * included.  It holds a duplicate, so the owner may close his at any time, and the same descriptor may
 * be in several pollables; what is polled stays open in the system until the pollable is closed. */
#ifndef PROACTOR_POLL_H
#define PROACTOR_POLL_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* What to wait for: one of the first two; and what a poll may say, several of them. */
#define PRO_POLL_IN 1u  /* a read would not block: data, the end, a connection to accept */
#define PRO_POLL_OUT 2u /* a write would not block */
#define PRO_POLL_HUP 4u /* the other side is gone; only said */
#define PRO_POLL_ERR 8u /* an error is pending; only said */

typedef struct pro_pollable {
    pro_handle handle;
} pro_pollable;

/* Make p a pollable of the loop, in scope (NULL: the loop's root).  The descriptor stays the caller's.
 * Returns PRO_OK and p is the library's until closed; or an error (PRO_EBADF, PRO_EMFILE, PRO_ECANCELED for
 * a closing scope, PRO_ENOTSUP where the engine has no readiness: the simulator), and then p is still the
 * caller's.  On Windows it is for sockets only, anything else is PRO_EBADF.  Thread: the loop's. */
PRO_API int pro_pollable_open(pro_pollable *p, pro_loop *loop, pro_scope *scope,
                              intptr_t descriptor);

/* Complete as soon as the descriptor is ready for `what`, PRO_POLL_IN or PRO_POLL_OUT: at once if it is
 * ready now.  Value: the PRO_POLL_ bits that hold.  Once: poll again for more.  It is a hint, as always
 * with readiness: who reads on another thread may have been quicker.  Files are always ready.
 * On io_uring a poll for writing also completes, with PRO_POLL_IN and without PRO_POLL_OUT, when the other
 * side of a full socket has shut its sending down; the kernel does not wait for less.
 * Those for one `what` complete in the order of initiation; the two are independent.
 * Ours until the handler: op.  Thread: the loop's.  Never completes inside.
 * Errors: PRO_EINVAL (another `what`), PRO_ECANCELED, PRO_ETIMEDOUT, PRO_ECLOSED, PRO_ENOMEM. */
PRO_API void pro_poll(pro_op *op, pro_pollable *p, uint32_t what, pro_handler *done);

/* Close: polls in flight complete first, PRO_ECANCELED, then this, PRO_OK.  The caller's descriptor is
 * not closed.  As pro_close. */
PRO_API void pro_pollable_close(pro_op *op, pro_pollable *p, pro_handler *done);

/* Cancel all polls in flight; it stays open. */
PRO_API void pro_pollable_cancel(pro_pollable *p);

/* The same with the call site given: for macros and other languages. */
PRO_API void pro_poll_at(const char *site, pro_op *op, pro_pollable *p, uint32_t what,
                         pro_handler *done);
PRO_API void pro_pollable_close_at(const char *site, pro_op *op, pro_pollable *p,
                                   pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_poll(...) pro_poll_at(PRO_SITE, __VA_ARGS__)
#define pro_pollable_close(...) pro_pollable_close_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
