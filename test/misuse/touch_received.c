/* Reading a buffer that a receive is to fill.
 *
 * where: asan
 * says: belongs to a buffer \(64 bytes\) of recv, initiated at {initiated}
 * says: AddressSanitizer: use-after-poison
 * says: #0 .* in on_tick .*{violated}
 */
#include "misuse.h"

static pro_socket a, b;
static char       buf[64];

static void on_tick(pro_op *op)
{
    const char *bytes = op->user;
    printf("%d\n", bytes[8]); /* violated */
}

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0}, tick = {.user = buf};
    make_pair(loop, &a, &b);
    pro_recv(&recv, &a, buf, sizeof buf, ignore); /* initiated */
    pro_sleep(&tick, loop, 0, on_tick);
    pro_loop_run_once(loop);
    return 0;
}
