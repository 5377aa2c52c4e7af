/* The context switch by ucontext: where there is no assembly of ours, and to test that path.
 *
 * A context is the address of a ucontext_t that lies on its own stack: in the frame of the switch that
 * left it, or at the top of a new stack.  So pri_context is one pointer here too.
 *
 * ucontext saves more than we promise: also the floating-point control words and the signal mask.  The
 * former are put back to what the thread has (switch.h: of the thread), so that both implementations
 * mean the same; the latter costs a system call each way, which is why this is not the fast path. */
#include "co/switch.h"

#if !defined(_WIN32) && (!defined(__x86_64__) || defined(PROACTOR_CO_UCONTEXT))

#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

#if defined(__x86_64__)
typedef struct control {
    uint32_t sse;
    uint16_t x87;
} control;

static inline void control_get(control *c)
{
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(c->sse), "=m"(c->x87));
}

static inline void control_set(const control *c)
{
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(c->sse), "m"(c->x87));
}
#else
#include <fenv.h> /* in libm on some systems */
typedef fenv_t control;
#define control_get fegetenv
#define control_set fesetenv
#endif

__attribute__((tls_model(
    "initial-exec"))) static _Thread_local control of_the_thread; /* carried over a switch */

/* For the gdb script: contexts look like this and not like the assembly's. */
extern const int pri_context_is_ucontext;
const int        pri_context_is_ucontext = 1;

/* What makecontext hands over: ints only, so a pointer comes in two halves. */
static void begin(unsigned entry_high, unsigned entry_low, unsigned arg_high, unsigned arg_low)
{
    uintptr_t entry = (uintptr_t)((uint64_t)entry_high << 32 | entry_low);
    uintptr_t arg = (uintptr_t)((uint64_t)arg_high << 32 | arg_low);
    control_set(&of_the_thread);
    ((void (*)(void *))entry)((void *)arg);
    abort(); /* entry returned */
}

void pri_context_make(pri_context *context, void *low, size_t size, void (*entry)(void *arg),
                      void *arg)
{
    uintptr_t   high = ((uintptr_t)low + size - sizeof(ucontext_t)) & ~(uintptr_t)63;
    ucontext_t *u = (ucontext_t *)high;
    if (getcontext(u) != 0) abort();
    u->uc_stack.ss_sp = low;
    u->uc_stack.ss_size = high - (uintptr_t)low;
    u->uc_link = NULL;
    uint64_t e = (uint64_t)(uintptr_t)entry, a = (uint64_t)(uintptr_t)arg;
    makecontext(u, (void (*)(void))begin, 4, (unsigned)(e >> 32), (unsigned)e, (unsigned)(a >> 32),
                (unsigned)a);
    context->at = u;
}

void pri_context_switch(pri_context *from, const pri_context *to)
{
    ucontext_t here;
    from->at = &here;
    control_get(&of_the_thread);
    if (swapcontext(&here, to->at) != 0) abort();
    control_set(&of_the_thread);
}

#else

typedef int pri_not_this_switch; /* an empty file is not C */

#endif
