/* bench/tcp: what does a message cost over TCP?
 *
 * An echo server by each model, by the library in each of its styles, by hand, and by its peers (peers/),
 * under a closed loop with one message in flight on each connection (lib/load.h).  The measure is CPU time of
 * the server by that of a level-triggered epoll loop, in the same round; throughput and latency are of a
 * generator that has the other CPU and is often the slower of the two.  `bench/tcp --help` for options. */
#include "lib/contest.h"

int main(int argc, char **argv)
{
    static const struct contest tcp = {
        .name = "tcp",
        .connections = "1,10,100,1000",
        .sizes = "64,1024,16384",
        .depths = "1",
        .quick_connections = "1,10",
        .quick_sizes = "64",
        .quick_depths = "1",
    };
    return contest_main(&tcp, argc, argv);
}
