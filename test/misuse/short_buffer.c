/* A length that is more than there is: the kernel would write behind the end, where no sanitizer sees
 * it.
 *
 * where: asan
 * says: {violated}: recv with a buffer of 100 bytes, of which byte 64 is no memory of the program
 */
#include "misuse.h"

static pro_socket a, b;

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0};
    char     *buf = malloc(64);
    make_pair(loop, &a, &b);
    pro_recv(&recv, &a, buf, 100, ignore); /* violated */
    pro_loop_run_once(loop);
    free(buf);
    return 0;
}
