/* Setting the deadline of an operation that is in flight already.
 *
 * where: asan debug
 * says: its deadline was set while it was the library's: an operation in flight: recv, initiated at {initiated}
 */
#include "misuse.h"

static pro_socket a, b;
static char       buf[64];

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0};
    make_pair(loop, &a, &b);
    pro_recv(&recv, &a, buf, sizeof buf, ignore);    /* initiated */
    recv.deadline_ns = pro_loop_now(loop) + PRO_SEC; /* violated */
    pro_loop_run(loop);
    return 0;
}
