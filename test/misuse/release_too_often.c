/* Releasing a loop more often than it was held.
 *
 * where: release debug asan
 * says: a loop is released more often than held
 */
#include "misuse.h"

int main(void)
{
    pro_loop *loop = make_loop();
    pro_loop_hold(loop);
    pro_loop_release(loop);
    pro_loop_release(loop);
    return 0;
}
