/* Initiating with an operation that was never zeroed.
 *
 * where: asan debug
 * says: {violated}: timer with an operation that was never zeroed
 */
#include "misuse.h"

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    op;
    memset(&op, 0x5a, sizeof op);    /* what is in new memory may be anything */
    pro_sleep(&op, loop, 0, ignore); /* violated */
    return 0;
}
