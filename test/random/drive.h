/* The random program on two loops of one thread, turned by hand, on a clock moved by hand: on any
 * engine, the real ones among them. */
#ifndef TEST_RANDOM_DRIVE_H
#define TEST_RANDOM_DRIVE_H

#include "random/program.h"

/* Run it to its end, or to the first failure, which world->fail has heard of; the loops stay.
 * advance moves the clock of both. */
void program_drive(pro_loop *const loops[PROGRAM_HOSTS], const program_world *world,
                   void (*advance)(void *arg, uint64_t ns), void             *arg);

#endif
