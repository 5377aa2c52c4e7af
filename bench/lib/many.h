/* Programs that hold many of something and do one small thing to one of them at a time.
 *
 * What a connection, a timer or a coroutine costs should not depend on how many there are.  A subject is such
 * a program for any number of them; a unit is one such thing (below).  It runs in a process of its own (the
 * ends of 9,900 pairs are all the descriptors that a process gets here), in turn with the other sizes, and is
 * told over a pipe when to run for a window.
 *
 *     raw-ENGINE, lib-ENGINE,       a hop (hop.h), by hand and by the library; each of the pairs has a message
 *     leases-ENGINE                 under way
 *     timer-rearm                   cancel a random timer; its handler starts it anew
 *     timer-hot                     the same, of sixteen of them
 *     timer-expire                  a timer that is due: its handler starts it anew
 *     uv-rearm, uv-hot              uv_timer_start of a live timer of libuv's, where it is installed
 *     coroutine                     pro_yield and coming back, each in its turn
 *
 * The timers' loop has a clock of the program's own: time passes as fast as its timers can be run. */
#ifndef BENCH_MANY_H
#define BENCH_MANY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct many_subject {
    const char *name, *unit;
    unsigned    sizes[8]; /* measured by default; ends with 0 */

    /* NULL, with the reason in why, if this machine cannot. */
    void *(*setup)(const struct many_subject *subject, unsigned size, char *why, size_t why_size);
    uint64_t (*run)(void *state, uint64_t units_min); /* how many it did */
};

extern const struct many_subject many_subjects[]; /* ends with a name NULL */
const struct many_subject       *many_find(const char *name);
void                             many_list(FILE *to);

/* A subject of this size in a process of its own. */
struct many_child;
struct many_child *many_child_start(const struct many_subject *subject, unsigned size, char *why,
                                    size_t why_size);
void               many_child_end(struct many_child *child);

/* As bench_lane.measure. */
void many_child_measure(void *child, uint64_t window_ns, double ns_per_unit[]);

/* The whole program: options, rounds, table, JSON.  Returns its exit status. */
int many_main(const char *name, const char *subjects, int argc, char **argv);

#endif
