/* bench/timers: what do a re-arm and an expiry of a timer cost, of a thousand and of a million, and what does
 * a re-arm cost libuv?  See lib/many.h. */
#include "lib/many.h"

int main(int argc, char **argv)
{
    return many_main("timers", "timer-rearm,timer-hot,timer-expire,uv-rearm,uv-hot", argc, argv);
}
