/* Using a copy of a socket: it has one address as long as it is open.
 *
 * where: asan debug
 * says: {violated}: send on memory that is no socket or listener of the library's: a copy of one
 */
#include "misuse.h"

static pro_socket a, b;

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    send = {0};
    make_pair(loop, &a, &b);
    pro_socket copy = a;
    pro_send(&send, &copy, "x", 1, ignore); /* violated */
    pro_loop_run_once(loop);
    return 0;
}
