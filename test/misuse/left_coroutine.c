/* A coroutine that returns with an operation in its frame.
 *
 * where: asan debug
 * debug says: sleeper, started at {started} has returned, and in its frames is an operation in flight: timer, initiated at {initiated}
 * asan says: its frame was left, while it was the library's: an operation in flight: timer, initiated at {initiated}
 * asan says: noticed as sleeper, started at {started} returned
 */
#include "misuse.h"

static void sleeper(void *loop)
{
    pro_op op = {0};
    pro_sleep(&op, loop, PRO_MSEC, pro_awake); /* initiated */
} /* violated */

int main(void)
{
    pro_loop *loop = make_loop();
    must(pro_go(pro_loop_scope(loop), sleeper, loop, NULL), "pro_go"); /* started */
    pro_loop_run(loop);
    return 0;
}
