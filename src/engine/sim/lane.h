/* Lanes: see lane.c. */
#ifndef PRI_SIM_LANE_H
#define PRI_SIM_LANE_H

#include "co/co.h"
#include "engine/sim/world.h"
#include "os/thread.h"

enum { PRI_SIM_CPUS = 4 }; /* of every node */

/* Counts; lanes wait for it. */
typedef struct sim_gate {
    pro_sim  *world;
    uint64_t  count;
    sim_lane *waiting; /* in the order in which they came */
} sim_gate;

typedef enum sim_lane_state { LANE_READY, LANE_RUNNING, LANE_WAITING, LANE_ENDED } sim_lane_state;

struct sim_lane {
    sim_lane      *next; /* of the world, newest last */
    pro_sim       *world;
    pro_sim_node  *node;
    sim_lane_state state;
    bool           is_main; /* nobody joins it; its loops are the world's when it has returned */
    uint32_t       id;
    uint32_t       events; /* the LANE event that counts */
    int            cpu;
    char           name[24];
    uint64_t       stream;
    void (*run)(void *arg);
    void *arg;

    char              *low; /* its stack; NULL: given back */
    unsigned           valgrind_id;
    pri_context        context; /* while it does not run */
    const pri_context *back;    /* who resumed it */
    pri_fiber          fiber, *back_fiber;
    pro_loop          *current_loop; /* what is of the thread, while it does not run */

    sim_gate  over; /* opens once, at its end */
    sim_gate *gate; /* at which it waits, or NULL */
    uint64_t  at_least;
    sim_lane *next_waiting;
};

/* One that is READY, and has no event as yet. */
sim_lane *pri_sim_lane_start(pro_sim *w, pro_sim_node *node, const char *name,
                             void (*run)(void *arg), void *arg, bool is_main);

/* Run it until it waits, or ends. */
void pri_sim_lane_resume(sim_lane *lane);

/* On it: wait to be resumed. */
void pri_sim_lane_wait(sim_lane *lane);

/* Resume it after a while. */
void pri_sim_lane_soon(sim_lane *lane, uint64_t delay_ns);
void pri_sim_lane_event(pro_sim *w, const sim_event *e);

/* How long it takes from one thread to another: a choice. */
uint64_t pri_sim_handover(pro_sim *w, uint64_t *stream);

void pri_sim_gate_open(sim_gate *gate);

/* Is one of its lanes on the stack? */
bool pri_sim_runs_on(const pro_sim_node *node);

/* Those of a node, or all: gone without a word; and what they own. Their loops have gone before. */
void pri_sim_lanes_abandon(pro_sim *w, const pro_sim_node *node);

/* One that is not over, of a node that is no service; NULL: none.  At the end it is a failure. */
const sim_lane *pri_sim_lane_left(const pro_sim *w);
void            pri_sim_lanes_check(pro_sim *w);

void pri_sim_lanes_hurry(pro_sim *w, const pro_sim_node *node); /* its pause is over */
void pri_sim_lanes_tell(pro_sim *w);                            /* which ones wait */

extern const pri_threads pri_sim_threads;

#endif
