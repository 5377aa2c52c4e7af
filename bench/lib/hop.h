/* The hop: one receive and one send of a message, the smallest thing an I/O library is for.
 *
 * N socket pairs, one message on each, both ends in one thread. Whoever receives the whole
 * message sends it back, so exactly N messages are in flight for ever, the thread never
 * sleeps, and nothing but the library and the kernel's socket calls is in the figure. A hop is
 * counted when a message has arrived whole and has been handed to send.
 *
 * A variant is one way to write this program. The raw ones are what a good programmer writes
 * by hand for one engine; a library variant is compared to the raw one of its own engine. All
 * of them keep a buffer per end, as any program with state per connection does: a raw epoll
 * loop could share one, and would then measure the cache instead of the library. */
#ifndef BENCH_HOP_H
#define BENCH_HOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum hop_transport { HOP_UNIX, HOP_TCP };

struct hop_shape {
    enum hop_transport transport;
    unsigned           pairs;
    unsigned           size; /* bytes a message */
};

struct hop_variant {
    const char *name;
    const char *raw;  /* the hand-written one of the same engine; itself, if it is that one */
    const char *what; /* one line for the list of variants */

    /* Connects the pairs and puts a message on each. NULL, with the reason in why, if this
     * machine cannot. */
    void *(*setup)(const struct hop_shape *shape, char *why, size_t why_size);
    uint64_t (*run)(void *state, uint64_t hops_min); /* at least hops_min hops; returns how many */
    void (*teardown)(void *state);
};

extern const struct hop_variant *const hop_variants[]; /* ends with NULL */
const struct hop_variant              *hop_variant_find(const char *name);
void                                   hop_variants_list(FILE *to); /* for people: a usage text */

/* Tries the set-up and says on standard output why it fails, where it does. */
bool hop_possible(const struct hop_variant *variant, const struct hop_shape *shape);

/* A set-up variant on its shape: what bench_lane runs. */
struct hop_run {
    const struct hop_variant *variant;
    void                     *state;
    uint64_t                  chunk; /* hops between two looks at the clock */
};

/* Sets up, and runs until every connection has settled. 0, or -1 with the reason in why. */
int hop_run_init(struct hop_run *run, const struct hop_variant *variant,
                 const struct hop_shape *shape, char *why, size_t why_size);

uint64_t hop_run_for(void *run, uint64_t window_ns);
void     hop_run_fini(struct hop_run *run);

const char *hop_transport_name(enum hop_transport transport);

/* ---- for variants: the sockets and their memory -------------------------------------------- */

struct hop_wire {
    struct hop_shape shape;
    unsigned         ends_len; /* 2 * pairs; ends 2i and 2i + 1 are connected */
    int             *fd;       /* non-blocking; -1 once given away, then no longer ours to close */
    unsigned char   *memory;
    size_t           stride;
};

int hop_wire_init(struct hop_wire *wire, const struct hop_shape *shape, char *why, size_t why_size);
unsigned char *hop_wire_buf(const struct hop_wire *wire, unsigned end);
void           hop_wire_kick(const struct hop_wire *wire); /* each end 2i sends its first message */
void           hop_wire_fini(struct hop_wire *wire);

extern const struct hop_variant hop_raw_epoll, hop_raw_uring, hop_lib_epoll, hop_lib_uring,
    hop_co_epoll, hop_co_uring, hop_leases_epoll, hop_leases_uring;

#endif
