/* bench/many: does a connection, a timer, a coroutine cost more when there are many of them?  At most half as
 * much again from the fewest to the most is the goal.  See lib/many.h; bench/growth.py draws it. */
#include "lib/many.h"

int main(int argc, char **argv)
{
    return many_main("many",
                     "raw-uring,lib-uring,leases-uring,raw-epoll,lib-epoll,timer-rearm,timer-hot,"
                     "timer-expire,coroutine",
                     argc, argv);
}
