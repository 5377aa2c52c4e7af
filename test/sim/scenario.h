/* Scenarios: programs in a world, one seed at a time.  main.c runs them. */
#ifndef TEST_SIM_SCENARIO_H
#define TEST_SIM_SCENARIO_H

#include <proactor.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct scenario {
    const char *name;
    void (*run)(pro_sim *world); /* makes nodes, runs them, checks; the world is freed after it */
    uint32_t faults;
} scenario;

void scenario_echo(pro_sim *world);
void scenario_service(pro_sim *world);
void scenario_torture(pro_sim *world);
void scenario_shards(pro_sim *world);
void scenario_lossy(pro_sim *world);
void scenario_wal(pro_sim *world);
void scenario_disk(pro_sim *world);
void scenario_hand(pro_sim *world);

/* The sweep of errors finds those of a scenario that has some; not inside of a world. */
bool sweep_works(void);

/* Nor this: each of some bugs in a store is found within a few seeds. */
bool wal_bugs_are_found(void);

/* A loop of the node that runs. */
static inline pro_loop *sim_loop_new(void)
{
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_SIM};
    pro_loop        *loop;
    if (pro_loop_new(&loop, &options) != PRO_OK) abort();
    return loop;
}

#endif
