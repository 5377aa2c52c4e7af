/* Freeing a socket that is open.
 *
 * where: asan
 * says: bytes are freed, and in them is a socket that is open, last used by recv at {initiated}
 * says: #\d .* in main .*{violated}
 */
#include "misuse.h"

static pro_socket b;

int main(void)
{
    pro_loop   *loop = make_loop();
    pro_socket *a = calloc(1, sizeof *a);
    pro_op      recv = {0};
    char        buf[64];
    make_pair(loop, a, &b);
    pro_recv(&recv, a, buf, sizeof buf, ignore); /* initiated */
    pro_cancel(&recv);
    pro_loop_run(loop);
    free(a); /* violated */
    return 0;
}
