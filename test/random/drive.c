/* Neither loop ever waits: what it has to wait for is the other one, or the clock.  While the hosts
 * act the clock moves by about a unit of theirs each round.  Once they drain it moves faster the
 * longer nothing happens, so that the timers of an hour come too; a round in which something happened
 * slows it again, for the network's own pace is not this clock's. */
#include "random/drive.h"

enum { PATIENCE = 64 }; /* rounds without anything before the clock runs */

void program_drive(pro_loop *const loops[PROGRAM_HOSTS], const program_world *world,
                   void (*advance)(void *arg, uint64_t ns), void             *arg)
{
    pro_address   loopback = pro_address_loopback(PRO_IPV4, 0);
    uint64_t      step = world->unit_ns / 4;
    int           quiet = 0;
    program_world mine = *world;
    mine.own_addresses = true;
    program_begin(&mine);
    for (int i = 0; i < PROGRAM_HOSTS; i++) program_host(i, loops[i], &loopback);
    for (int i = 0; i < PROGRAM_HOSTS; i++) program_start(i);
    while (!program_is_over() && !program_has_failed()) {
        int64_t handlers = 0;
        for (int i = 0; i < PROGRAM_HOSTS; i++) {
            int64_t ran = pro_loop_poll(loops[i]);
            if (ran < 0) {
                world->fail(world->arg, pro_error_text((int)ran));
                return;
            }
            handlers += ran;
        }
        quiet = handlers > 0 || !program_is_draining() ? 0 : quiet + 1;
        if (quiet < PATIENCE)
            step = world->unit_ns / 4;
        else if (step < 3600 * PRO_SEC)
            step *= 2;
        advance(arg, step);
    }
    program_end();
}
