/* Canceling on a thread that is not the loop's.
 *
 * where: asan debug
 * says: canceled on another thread than its loop's: an operation in flight: recv, initiated at {initiated}
 * asan says: {violated}: canceled on another thread
 */
#include "misuse.h"

#include <pthread.h>

static pro_socket a, b;
static char       buf[64];

static void *other(void *arg)
{
    pro_cancel(arg); /* violated */
    return NULL;
}

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0};
    pthread_t thread;
    make_pair(loop, &a, &b);
    pro_recv(&recv, &a, buf, sizeof buf, ignore); /* initiated */
    if (pthread_create(&thread, NULL, other, &recv) != 0) return 1;
    pthread_join(thread, NULL);
    return 0;
}
