/* Initiating in a scope that has ended.
 *
 * where: asan debug
 * says: {violated}: timer in a scope that has ended: its on_drained has begun
 */
#include "misuse.h"

static pro_scope scope;
static pro_op    op = {.scope = &scope};

static void on_drained(pro_scope *over)
{
    pro_sleep(&op, over->user, PRO_MSEC, ignore); /* violated */
}

int main(void)
{
    pro_loop *loop = make_loop();
    scope.user = loop;
    pro_scope_init(&scope, loop, NULL, on_drained);
    pro_scope_close(&scope);
    pro_loop_run(loop);
    return 0;
}
