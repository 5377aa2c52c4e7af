/* The table of variants, and how one is run for a window of time. */
#include "hop.h"

#include "bench.h"

#include <string.h>

const struct hop_variant *const hop_variants[] = {
    &hop_raw_epoll, &hop_raw_uring,    &hop_lib_epoll,    &hop_lib_uring, &hop_co_epoll,
    &hop_co_uring,  &hop_leases_epoll, &hop_leases_uring, NULL,
};

const struct hop_variant *hop_variant_find(const char *name)
{
    for (size_t i = 0; hop_variants[i]; i++)
        if (strcmp(hop_variants[i]->name, name) == 0) return hop_variants[i];
    return NULL;
}

void hop_variants_list(FILE *to)
{
    fputs("variants:\n", to);
    for (size_t i = 0; hop_variants[i]; i++)
        fprintf(to, "  %-14s %s\n", hop_variants[i]->name, hop_variants[i]->what);
}

const char *hop_transport_name(enum hop_transport transport)
{
    return transport == HOP_TCP ? "tcp" : "unix";
}

/* Long enough that entering and leaving a variant costs nothing, short beside a window: some
 * milliseconds. */
enum { CHUNK_MIN = 1024 };

/* What an engine learns of a connection in its first messages is no part of its steady state. */
enum { SETTLING_HOPS_AN_END = 6 };

int hop_run_init(struct hop_run *run, const struct hop_variant *variant,
                 const struct hop_shape *shape, char *why, size_t why_size)
{
    *run = (struct hop_run){.variant = variant,
                            .chunk = shape->pairs * 2 > CHUNK_MIN ? shape->pairs * 2 : CHUNK_MIN};
    run->state = variant->setup(shape, why, why_size);
    if (!run->state) return -1;
    variant->run(run->state, (uint64_t)shape->pairs * 2 * SETTLING_HOPS_AN_END);
    return 0;
}

uint64_t hop_run_for(void *state, uint64_t window_ns)
{
    struct hop_run *run = state;
    uint64_t        end = bench_now_ns() + window_ns, hops = 0;
    do hops += run->variant->run(run->state, run->chunk);
    while (bench_now_ns() < end);
    return hops;
}

void hop_run_fini(struct hop_run *run)
{
    if (run->state) run->variant->teardown(run->state);
    run->state = NULL;
}

bool hop_possible(const struct hop_variant *variant, const struct hop_shape *shape)
{
    char           why[256];
    struct hop_run run;
    if (hop_run_init(&run, variant, shape, why, sizeof why) != 0) {
        printf("  %-14s not on this machine: %s\n", variant->name, why);
        return false;
    }
    hop_run_fini(&run);
    return true;
}
