/* Clearing an operation that is in flight.
 *
 * where: asan debug
 * says: its memory was cleared while it was the library's: an operation in flight: recv, initiated at {initiated}
 * says: noticed after the handler of timer, initiated at {tick}
 */
#include "misuse.h"

static pro_socket a, b;
static char       buf[64];

static void on_tick(pro_op *op) { memset(op->user, 0, sizeof(pro_op)); /* violated */ }

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0}, tick = {.user = &recv};
    make_pair(loop, &a, &b);
    pro_recv(&recv, &a, buf, sizeof buf, ignore); /* initiated */
    pro_sleep(&tick, loop, 0, on_tick);           /* tick */
    pro_loop_run_once(loop);
    return 0;
}
