/* Freeing a loop inside its own handler.
 *
 * where: release debug asan
 * says: a loop is freed inside its own handler
 */
#include "misuse.h"

static void on_tick(pro_op *op) { pro_loop_free(op->user); }

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    op = {.user = loop};
    pro_sleep(&op, loop, 0, on_tick);
    pro_loop_run(loop);
    return 0;
}
