/* An operation whose scope belongs to another loop than its socket.
 *
 * where: asan debug
 * says: {violated}: recv in a scope of another loop than its own
 */
#include "misuse.h"

static pro_socket a, b;
static pro_scope  scope;

int main(void)
{
    pro_loop *loop = make_loop(), *other = make_loop();
    pro_op    recv = {.scope = &scope};
    char      buf[64];
    make_pair(loop, &a, &b);
    pro_scope_init(&scope, other, NULL, NULL);
    pro_recv(&recv, &a, buf, sizeof buf, ignore); /* violated */
    pro_loop_run_once(loop);
    return 0;
}
