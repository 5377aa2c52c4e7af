/* Counting user instructions with valgrind's callgrind: the only figure here that is free of
 * noise, hence fit for a gate. A program is run twice with two lengths; what start-up and
 * tear-down cost is in both and leaves with the difference. */
#ifndef BENCH_CALLGRIND_H
#define BENCH_CALLGRIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct callgrind_function {
    char    *name;
    uint64_t self; /* instructions in the function itself, with what was inlined into it */
};

struct callgrind_profile {
    struct callgrind_function *at;
    size_t                     len;
    uint64_t                   total;
};

/* Runs this program itself with these arguments under callgrind: its profile, and the number that it
 * printed, of what it did.  notes: system calls that this valgrind does not know are named on stderr, since
 * the figure may be of a fall-back.  Dies if that fails. */
uint64_t callgrind_run(struct callgrind_profile *profile, const char *arguments, bool notes);

/* Reads a callgrind output file of one event (Ir). Dies if it cannot: a wrong figure is worse
 * than none. */
void callgrind_read(struct callgrind_profile *profile, const char *path);
void callgrind_subtract(struct callgrind_profile *longer, const struct callgrind_profile *shorter);
void callgrind_sort(struct callgrind_profile *profile); /* the costliest first */
void callgrind_fini(struct callgrind_profile *profile);

#endif
