/* Freeing a scope in which something lives.
 *
 * where: asan
 * says: bytes are freed, and in them is a scope in which 1 live, timer initiated at {initiated} among them
 * says: #\d .* in main .*{violated}
 */
#include "misuse.h"

int main(void)
{
    pro_loop  *loop = make_loop();
    pro_scope *scope = calloc(1, sizeof *scope);
    pro_op     op = {.scope = scope};
    pro_scope_init(scope, loop, NULL, NULL);
    pro_sleep(&op, loop, PRO_SEC, ignore); /* initiated */
    free(scope);                           /* violated */
    return 0;
}
