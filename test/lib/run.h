/* Inside the runner: the sentence that runs. */
#ifndef TEST_LIB_RUN_H
#define TEST_LIB_RUN_H

#include "lib/os.h"
#include "lib/test.h"

#include <setjmp.h>
#include <stdatomic.h>

/* CUT: a check failed after the weather of a plan had struck. */
enum { T_RUNNING, T_PASSED, T_FAILED, T_SKIPPED, T_CUT };

#define T_LOOPS_MAX 16

typedef struct t_piece t_piece; /* of t_alloc */

typedef struct t_run_state {
    const t_test *test;
    pro_engine    engine;
    const char   *mask;
    uint32_t      slots;
    uint64_t      random;
    t_os_event   *over; /* the runner's: set once, when the outcome is there */
    atomic_int    outcome;
    atomic_bool   told; /* why was written */
    jmp_buf       skip;
    char          why[600];
    char          notes[4000];
    int           descriptors; /* open before; -1: not to be compared */
    bool          in_crowd; /* others run at the same time: what is the process's is not its own */

    _Atomic(pro_loop *)  loops[T_LOOPS_MAX];
    atomic_uint_fast64_t clock_ahead_ns;
    atomic_long          memory_live, memory_asked, memory_left; /* of the loops' environment */
    _Atomic(t_piece *)   pieces;

    atomic_int completions; /* seen by t_done */

    struct t_world *world;                  /* on sim; see sim.h */
    bool            is_parked, has_threads; /* in it: a check failed; others run its loops */
    bool            is_ended;               /* what was cut short */
    bool            is_struck;              /* the weather struck in its world */
    bool            is_over;                /* in it: the sentence has returned */
    int             idle_turns;
    int             verdict; /* what becomes the outcome, if nothing fails */
} t_run_state;

/* Of this thread: the sentence it is a part of. */
extern _Thread_local t_run_state *t_current;

/* Where sentences run (place.c): each on a thread of its own, or, with shards, each in a handler of a
 * shard, so many at once.  Made, used and freed by the runner.
 * new: false, and *error, if the shards cannot be had.  start: run begins to run there, in a place where
 * none runs.  end: it is over, and was not left behind.  free: nothing runs any more, nothing was left behind. */
typedef struct t_place t_place;

t_place *t_places_new(unsigned shards, pro_engine engine, const char *mask, int *error);
void     t_place_start(t_place *places, unsigned i, t_run_state *run);
void     t_place_end(t_place *places, unsigned i);
int      t_places_free(t_place *places);

/* Is a handler of the sentence on the stack? (net.c) */
bool t_in_handler(void);
void t_no_handler(void); /* what was on it is gone */

/* Run the sentence, look back, say that it is over. */
void t_run_sentence(t_run_state *run);

/* On the sentence's thread, at its end: free the loops, look for what is left over. */
void t_run_finish(void);

/* From the runner: after that, all of it. */
void t_run_free(t_run_state *run);

#endif
