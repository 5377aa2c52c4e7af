/* The world of a sentence on sim: two machines and the network between them.
 *
 * The sentence itself is the main function of one machine; its threads (os.h) are others of the world;
 * its peers (peer.h) are on the other machine where it connects to them, and on its own where they connect
 * to it.  So the same sentences run, on virtual time, and a seed decides. */
#ifndef TEST_LIB_SIM_H
#define TEST_LIB_SIM_H

#include "lib/run.h"

typedef struct t_world {
    pro_sim         *sim;
    pro_sim_node    *machine, *far;
    pro_loop        *near_loop, *far_loop; /* of the peers */
    pro_loop        *clock;                /* never run: it has the time of the machine */
    struct sim_peer *peers;
    struct sim_file *files; /* world_sim.c: open ones, and how many paths were made up */
    unsigned         paths;
    pro_socket       last; /* takes the last descriptor: t_descriptors_exhaust */
    bool             is_exhausted;
    void (*body)(void *arg);
    void *arg;
} t_world;

/* The world of the sentence that runs, or NULL. */
t_world *t_world_here(void);

/* On the sentence's thread: make its world, with faults of these kinds, and run body(arg) in it.  When it
 * is over, or has failed, the world is taken apart; what that finds fails the sentence. */
void t_world_run(t_run_state *run, uint32_t faults, void (*body)(void *arg), void *arg);

/* In it: let so much time pass. */
void t_world_sleep(uint64_t ns);

/* Has the weather of its plan struck already? */
bool t_world_was_struck(void);

/* A loop of the machine whose code runs. */
pro_loop *t_world_loop(void);

/* Block for good. */
_Noreturn void t_world_park(void);

/* peer_sim.c: the end of what is left. */
void t_world_close_peers(t_world *w);

#endif
