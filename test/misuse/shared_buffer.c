/* One buffer for two connections.
 *
 * where: asan
 * says: {violated}: recv with memory that is a buffer \(64 bytes\) of recv, initiated at {initiated}
 */
#include "misuse.h"

static pro_socket a, b;
static char       buf[64];

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    one = {0}, two = {0};
    make_pair(loop, &a, &b);
    pro_recv(&one, &a, buf, sizeof buf, ignore); /* initiated */
    pro_recv(&two, &b, buf, sizeof buf, ignore); /* violated */
    pro_loop_run(loop);
    return 0;
}
