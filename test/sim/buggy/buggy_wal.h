/* A store with one bug (WAL_BUG) in a world whose power is cut: see test/sim/wal.h. */
#ifndef BUGGY_WAL_H
#define BUGGY_WAL_H

#include "sim/wal.h"

/* Run seed after seed until one fails; 1 if one did. */
int main(int argc, char **argv)
{
    uint64_t seeds = 10000, only = 0;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seeds=", 8) == 0) seeds = strtoull(argv[i] + 8, NULL, 0);
        if (strncmp(argv[i], "--seed=", 7) == 0) only = strtoull(argv[i] + 7, NULL, 0);
    }
    for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); seed++) {
        pro_sim_options options = {.version = PRO_VERSION,
                                   .seed = seed,
                                   .faults = PRO_SIM_ALL_FAULTS,
                                   .survive = 1,
                                   .tell_events = only != 0};
        pro_sim        *world;
        if (pro_sim_new(&world, &options) != PRO_OK) abort();
        wal_world(world);
        if (pro_sim_free(world) == 0) continue;
        printf("FAIL sim: wal: seed %llu\n", (unsigned long long)seed);
        return 1;
    }
    return 0;
}

#endif
