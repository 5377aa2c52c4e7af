/* Writing into a buffer that is still being sent.
 *
 * where: asan debug
 * says: what is being sent was changed: a buffer \(4096 bytes\) of send_all, initiated at {initiated}
 * says: noticed after the handler of timer, initiated at {tick}
 * asan says: \(on_tick, .*change_sent.c:\d+\)
 */
#include "misuse.h"

static pro_socket a, b;
static char       first[4 << 20], buf[4096];

static void on_tick(pro_op *op)
{
    (void)op;
    buf[100] = 1; /* violated */
}

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    fill = {0}, send = {0}, tick = {0};
    make_pair(loop, &a, &b);
    pro_send_all(&fill, &a, first, sizeof first, ignore); /* nobody reads it: the next one waits */
    pro_send_all(&send, &a, buf, sizeof buf, ignore);     /* initiated */
    pro_sleep(&tick, loop, 0, on_tick);                   /* tick */
    pro_loop_run_once(loop);
    return 0;
}
