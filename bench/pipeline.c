/* bench/pipeline: and with many messages in flight on each connection?
 *
 * The same servers and the same measure as bench/tcp.  A server sees a stream: it takes what has come, many
 * messages at once, so a receive and a send are shared by them, and what is left is how well each does
 * the same large steps. */
#include "lib/contest.h"

int main(int argc, char **argv)
{
    static const struct contest pipeline = {
        .name = "pipeline",
        .connections = "1,10,100",
        .sizes = "64,1024",
        .depths = "4,16,64",
        .quick_connections = "10",
        .quick_sizes = "64",
        .quick_depths = "16",
    };
    return contest_main(&pipeline, argc, argv);
}
