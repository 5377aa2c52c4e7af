/* The context switch: leave one stack, go on with another.
 *
 * A context that does not run is one pointer into its own stack, where everything else lies that a
 * function may expect to find again when a call returns.  Three implementations: assembly
 * (switch_x86_64.S, some 6 ns; switch_win64.S, which moves the thread's stack limits as well) and the system's ucontext (switch_ucontext.c, everywhere, some 200 ns;
 * on x86-64 with -DPROACTOR_CO_UCONTEXT).  Each file sees for itself whether it is the one.
 *
 * Saved: the registers that a call preserves, and where to go on.  NOT saved, hence of the thread and
 * shared by its contexts: the floating-point control words (rounding, exceptions unmasked), thread-local
 * storage, errno.  A context that changes rounding changes it back before it switches away: saving
 * the control words would cost every switch for what next to nobody does. */
#ifndef PRI_SWITCH_H
#define PRI_SWITCH_H

#include <stddef.h>

typedef struct pri_context {
    void *at; /* the gdb script reads it too */
} pri_context;

/* Prepare a context that will call entry(arg) on the stack low .. low + size; entry must not return.
 * low + size is aligned to 16. */
void pri_context_make(pri_context *context, void *low, size_t size, void (*entry)(void *arg),
                      void *arg);

/* Leave this context in *from and go on with to.  Returns when somebody switches back to from. */
void pri_context_switch(pri_context *from, const pri_context *to);

#endif
