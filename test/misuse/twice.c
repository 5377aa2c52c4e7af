/* Initiating with an operation that is in flight.
 *
 * where: release debug asan
 * says: {violated}: send with an operation in flight: recv, initiated at {initiated}
 */
#include "misuse.h"

static pro_socket a, b;

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    op = {0};
    char      buf[64];
    make_pair(loop, &a, &b);
    pro_recv(&op, &a, buf, sizeof buf, ignore); /* initiated */
    pro_send(&op, &a, "x", 1, ignore);          /* violated */
    return 0;
}
