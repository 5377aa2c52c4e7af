/* Random programs over all kinds of operations, each handler held against a shadow model of the
 * contract (test/random): what each may see, in which order, with which bytes.
 * Covers clauses 1 to 13 and 15 of the contract, all at once, on any engine; the same programs for
 * the same seed.
 *
 *     --count=N    how many actions in all; 400 make a program */
#include <stdlib.h>

#include "lib/test.h"
#include "random/drive.h"

static void fail(void *arg, const char *what)
{
    (void)arg;
    FAIL("%s", what);
}

static void advance(void *arg, uint64_t ns)
{
    (void)arg;
    t_clock_advance(ns);
}

CONFORM(a_random_program_sees_what_the_contract_allows)
{
    enum { ACTIONS = 400 };
    int programs = t_count(4 * ACTIONS) / ACTIONS;
    for (int i = 0; i < programs || i == 0; i++) {
        pro_loop     *loops[PROGRAM_HOSTS];
        program_world world = {
            .seed = t_random(),
            .actions = ACTIONS,
            .unit_ns = 100 * PRO_USEC,
            .reset_is_end = getenv("PROACTOR_TEST_RESET_IS_END") != NULL, /* scripts/wine.py */
            .fail = fail,
        };
        for (int n = 0; n < PROGRAM_HOSTS; n++) loops[n] = t_loop_clocked();
        program_drive(loops, &world, advance, NULL);
        for (int n = 0; n < PROGRAM_HOSTS; n++) t_loop_free(loops[n]);
    }
    t_note("  %llu completions, %llu bytes\n", (unsigned long long)program_completed,
           (unsigned long long)program_bytes);
}
