/* Initiating on a thread that is not the loop's; pro_post is the way.
 *
 * where: asan debug
 * says: {violated}: recv on another thread than the one its loop belongs to
 */
#include "misuse.h"

#include <pthread.h>

static pro_socket a, b;

static void *other(void *arg)
{
    static char buf[64];
    pro_recv(arg, &a, buf, sizeof buf, ignore); /* violated */
    return NULL;
}

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0};
    pthread_t thread;
    make_pair(loop, &a, &b);
    if (pthread_create(&thread, NULL, other, &recv) != 0) return 1;
    pthread_join(thread, NULL);
    return 0;
}
