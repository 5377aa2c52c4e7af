/* Clearing an operation in flight, to use it again: the check of every build does not see that.
 *
 * where: asan debug
 * says: {violated}: timer with memory that was cleared or written over while it was an operation in flight: recv, initiated at {initiated}
 */
#include "misuse.h"

static pro_socket a, b;
static char       buf[64];

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    op = {0};
    make_pair(loop, &a, &b);
    pro_recv(&op, &a, buf, sizeof buf, ignore); /* initiated */
    op = (pro_op){0};
    pro_sleep(&op, loop, 0, ignore); /* violated */
    pro_loop_run_once(loop);
    return 0;
}
