/* Checked builds (PROACTOR_CHECKED): misuse that a program gets away with today is an abort that names
 * the operation, where it was initiated and where the rule was broken.  In other builds every hook
 * below is nothing, its arguments are not evaluated, and checked.c is not compiled.
 *
 * The hooks stand where memory changes hands: op.h and op.c (operations), handle.c (sockets and
 * listeners), ops/net.c (buffers), and whoever ends a stack (coroutines). */
#ifndef PRI_CHECKED_H
#define PRI_CHECKED_H

#include <proactor/datagram.h>

#ifdef PROACTOR_CHECKED

/* About to be initiated: the right thread, an operation that is the caller's, a handle that is one. */
void pri_checked_may_begin(pro_op *op, pro_loop *loop, const pro_handle *handle, const char *site,
                           unsigned kind);

/* The same, and that handle was made. */
void pri_checked_may_transfer(pro_op *op, const pro_handle *handle, const char *site,
                              unsigned kind);

/* Initiated, to be counted in scope: the library's from now on. */
void pri_checked_begun(const pro_op *op, pro_scope *scope);

/* Its step is filled: its buffers are the library's, too. */
void pri_checked_buffers(const pro_op *op);

/* The engine reported it: it must be as it was. */
void pri_checked_recorded(const pro_op *op);

/* The caller's again, right before its handler; after that its scope lets it go. */
void pri_checked_delivered(const pro_op *op);
void pri_checked_left(pro_scope *scope);

/* The same without a handler: its loop is abandoned. */
void pri_checked_abandoned(const pro_op *op);

/* A handler begins, and has returned: what it may have broken is looked for. */
void pri_checked_runs(const pro_op *op);
void pri_checked_ran(const pro_loop *loop);

/* A run of the loop begins. */
void pri_checked_entered(const pro_loop *loop);

void pri_checked_canceled(const pro_op *op);

/* A handle is about to be made; is open; is closed, or abandoned. */
void pri_checked_handle_new(const pro_handle *handle, const pro_loop *loop, const pro_scope *scope);
void pri_checked_handle_open(const pro_handle *handle);
void pri_checked_handle_ended(const pro_handle *handle);

/* The place of the next call in here that comes without a site: an address in the program. */
void pri_checked_caller(const void *address);

/* Memory from low up to high goes out of use: the stack of a coroutine that returned.  name: what it
 * is, site: where it was started; both may be NULL. */
void pri_checked_stack_ends(const void *low, const void *high, const char *name, const char *site);

#define PRI_CHECKED(hook, ...) pri_checked_##hook(__VA_ARGS__)
#define PRI_CHECKED_CALLER() pri_checked_caller(__builtin_return_address(0))

#else
#define PRI_CHECKED(hook, ...) ((void)0)
#define PRI_CHECKED_CALLER() ((void)0)
#endif

#endif
