/* Making a socket in the memory of one that is open: its descriptor would be lost.
 *
 * where: asan debug
 * says: made again is a socket that is open, last used by recv at {initiated}
 * asan says: {violated}: made again
 */
#include "misuse.h"

static pro_socket a, b;

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0};
    char      buf[64];
    make_pair(loop, &a, &b);
    pro_recv(&recv, &a, buf, sizeof buf, ignore); /* initiated */
    pro_cancel(&recv);
    pro_loop_run(loop);
    memset(&a, 0, sizeof a);
    pro_socket_init(&a, loop, NULL); /* violated */
    return 0;
}
