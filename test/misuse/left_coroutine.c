/* A coroutine that returns with an operation in its frame.  Its stack is one of ours here, and the hook
 * is called as whoever ends a stack has to: so this one looks inside.
 *
 * where: asan debug
 * debug says: a coroutine, started at {started} has returned, and in its frames is an operation in flight: timer, initiated at {initiated}
 * asan says: belongs to an operation in flight: timer, initiated at {initiated}
 * asan says: AddressSanitizer: stack-use-after-return
 */
#include "misuse.h"

#include <ucontext.h>

#include "core/checked.h"

static char       stack[256 << 10];
static ucontext_t here, there;
static pro_loop  *loop;

static __attribute__((noinline)) void wait_a_little(void)
{
    pro_op op = {0};
    pro_sleep(&op, loop, PRO_MSEC, ignore); /* initiated */
}

static void coroutine(void) { wait_a_little(); } /* violated */

int main(void)
{
    loop = make_loop();
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof stack;
    there.uc_link = &here;
    makecontext(&there, coroutine, 0);
    const char *site = PRO_SITE; /* started */
    swapcontext(&here, &there);
    PRI_CHECKED(stack_ends, stack, stack + sizeof stack, NULL, site);
    (void)site;
    pro_loop_run(loop);
    return 0;
}
