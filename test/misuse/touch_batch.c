/* Reading a buffer that a batch of receives is to fill.
 *
 * where: asan
 * says: belongs to a buffer \(64 bytes\) of recv_batch, initiated at {initiated}
 * says: AddressSanitizer: use-after-poison
 * says: #0 .* in on_tick .*{violated}
 */
#include "misuse.h"

static pro_datagram a, b;
static char         bufs[2][64];
static pro_message  messages[2] = {{.buf = bufs[0], .len = 64}, {.buf = bufs[1], .len = 64}};

static void on_tick(pro_op *op)
{
    const char *bytes = op->user;
    printf("%d\n", bytes[8]); /* violated */
}

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0}, tick = {.user = bufs[1]};
    if (pro_datagram_pair(&a, &b, loop, NULL) != PRO_OK) return 1;
    pro_recv_batch(&recv, &a, messages, 2, ignore); /* initiated */
    pro_sleep(&tick, loop, 0, on_tick);
    pro_loop_run_once(loop);
    return 0;
}
