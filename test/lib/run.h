/* Inside the runner: the sentence that runs. */
#ifndef TEST_LIB_RUN_H
#define TEST_LIB_RUN_H

#include "lib/os.h"
#include "lib/test.h"

#include <setjmp.h>
#include <stdatomic.h>

enum { T_RUNNING, T_PASSED, T_FAILED, T_SKIPPED };

#define T_LOOPS_MAX 16

typedef struct t_piece t_piece; /* of t_alloc */

typedef struct t_run_state {
    const t_test *test;
    pro_engine    engine;
    const char   *mask;
    uint64_t      random;
    t_event      *over;
    atomic_int    outcome;
    atomic_bool   told; /* why was written */
    jmp_buf       skip;
    char          why[600];
    char          notes[4000];
    int           descriptors; /* open before */

    _Atomic(pro_loop *)  loops[T_LOOPS_MAX];
    atomic_uint_fast64_t clock_ahead_ns;
    atomic_long          memory_live, memory_asked, memory_left; /* of the loops' environment */
    _Atomic(t_piece *)   pieces;

    atomic_int completions; /* seen by t_done */
} t_run_state;

/* Of this thread: the sentence it is a part of. */
extern _Thread_local t_run_state *t_current;

/* On the sentence's thread, at its end: free the loops, look for what is left over. */
void t_run_finish(void);

/* From the runner: after that, all of it. */
void t_run_free(t_run_state *run);

#endif
