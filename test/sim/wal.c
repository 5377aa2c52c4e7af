/* A store whose power is cut again and again: what it called safe must be there.  And if it has a bug, that
 * is found. */
#include "sim/wal.h"

#include "scenario.h"

void scenario_wal(pro_sim *world) { wal_world(world); }

static void hear_nothing(void *arg, const char *line) { (void)arg, (void)line; }

static bool fails(uint64_t seed)
{
    pro_sim_options options = {.version = PRO_VERSION,
                               .seed = seed,
                               .faults = PRO_SIM_ALL_FAULTS,
                               .survive = 1,
                               .tell = hear_nothing};
    pro_sim        *world;
    if (pro_sim_new(&world, &options) != PRO_OK) abort();
    wal_world(world);
    return pro_sim_free(world) > 0;
}

bool wal_bugs_are_found(void)
{
    enum { SEEDS = 60 };
    bool are_found = true;
    for (wal_bug = WAL_RIGHT + 1; wal_bug < WAL_BUGS; wal_bug++) {
        uint64_t seed = 1;
        while (seed <= SEEDS && !fails(seed)) seed++;
        are_found &= seed <= SEEDS;
    }
    wal_bug = WAL_RIGHT;
    return are_found;
}
