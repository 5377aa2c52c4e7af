/* A function that returns with an operation in its frame.
 *
 * where: asan debug
 * asan says: its frame was left, while it was the library's: an operation in flight: timer, initiated at {initiated}
 * debug says: its memory was written over while it was the library's: an operation in flight: timer, initiated at {initiated}
 * says: noticed outside of any handler
 */
#include "misuse.h"

static __attribute__((noinline)) void wait_a_little(pro_loop *loop)
{
    pro_op op = {0};
    pro_sleep(&op, loop, PRO_MSEC, ignore); /* initiated */
} /* violated */

static __attribute__((noinline)) int use_the_stack(void)
{
    volatile char other[4096];
    for (size_t i = 0; i < sizeof other; i++) other[i] = 0x5a;
    return other[7];
}

int main(void)
{
    pro_loop *loop = make_loop();
    wait_a_little(loop);
    use_the_stack();
    pro_loop_run(loop);
    return 0;
}
