/* Choices: one function, many streams.
 *
 * A stream is 64 bits of state, seeded from the world's seed, a kind, and the numbers of its owner:
 * each socket, link, loop and node has its own, so that one choice more in one place does not shift
 * those of all the others.  A seed's plan is chosen first: which of the allowed kinds of faults are
 * on (half of them), and how often each strikes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sim/world.h"

uint64_t pri_sim_stream(const pro_sim *w, uint32_t kind, uint32_t a, uint32_t b)
{
    uint64_t z = w->seed * UINT64_C(0x9e3779b97f4a7c15) + kind;
    z = (z ^ (z >> 32)) * UINT64_C(0xd6e8feb86659fd93) + a;
    z = (z ^ (z >> 32)) * UINT64_C(0xd6e8feb86659fd93) + b;
    z = (z ^ (z >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return z ^ (z >> 32);
}

uint64_t pri_sim_long_tail(pro_sim *w, uint64_t *stream, uint64_t max)
{
    uint64_t bits = pri_sim_bits(w, stream);
    unsigned shift = 0;
    while (shift < 12 && (bits >> 52 & (UINT64_C(1) << shift))) shift++; /* 0 mostly */
    uint64_t limit = max >> (12 - shift);
    return limit ? bits % limit : 0;
}

static const struct {
    const char *name;
    uint64_t    rate_min, rate_max; /* one in so many */
} kinds[] = {
    [PRO_SIM_SHORT_READ] = {"short_read", 1, 8},
    [PRO_SIM_SHORT_WRITE] = {"short_write", 1, 8},
    [PRO_SIM_SLOW] = {"slow", 1, 64},
    [PRO_SIM_DELAY] = {"delay", 1, 16},
    [PRO_SIM_CANCEL] = {"cancel", 1, 4},
    [PRO_SIM_ABORTED] = {"aborted", 4, 64},
    [PRO_SIM_NARROW] = {"narrow", 1, 4},
    [PRO_SIM_RESET] = {"reset", 64, 4096},
    [PRO_SIM_REFUSE] = {"refuse", 4, 64},
    [PRO_SIM_LOST_SYN] = {"lost_syn", 4, 64},
    [PRO_SIM_HANDLES] = {"handles", 4, 64},
    [PRO_SIM_CLOG] = {"clog", 1, 8},
    [PRO_SIM_PARTITION] = {"partition", 1, 8},
    [PRO_SIM_PAUSE] = {"pause", 1, 8},
    [PRO_SIM_SKEW] = {"skew", 1, 2},
    [PRO_SIM_CRASH] = {"crash", 1, 8},
    [PRO_SIM_LOSS] = {"loss", 2, 64},
    [PRO_SIM_TWICE] = {"twice", 2, 64},
    [PRO_SIM_OVERTAKE] = {"overtake", 2, 64},
    [PRO_SIM_DISK_ERROR] = {"disk_error", 16, 1024},
    [PRO_SIM_DISK_FULL] = {"disk_full", 16, 1024},
    [PRO_SIM_TORN] = {"torn", 1, 16},
};

/* PROACTOR_PLAN, if set, says which kinds are on, all of them. */
static bool plan_of_environment(uint32_t *faults)
{
    const char *plan = getenv("PROACTOR_PLAN");
    if (!plan || !*plan) return false;
    *faults = 0;
    if (strcmp(plan, "all") == 0) *faults = PRO_SIM_ALL_FAULTS;
    if (strcmp(plan, "mild") == 0) *faults = PRO_SIM_MILD_FAULTS;
    for (int kind = 0; kind < PRO_SIM_FAULT_KINDS; kind++)
        if (pri_masked(plan, kinds[kind].name)) *faults |= PRO_SIM_BIT(kind);
    return true;
}

void pri_sim_make_plan(pro_sim *w, const pro_sim_options *options)
{
    uint64_t stream = pri_sim_stream(w, STREAM_PLAN, 0, 0);
    uint64_t of_datagrams = pri_sim_stream(w, STREAM_PLAN, 1, 0); /* which shift no other choice, */
    uint64_t of_disks = pri_sim_stream(w, STREAM_PLAN, 2, 0);     /* nor do these */
    uint32_t faults = options->faults;
    bool     all_on = plan_of_environment(&faults) || options->every_fault;
    for (int kind = 0; kind < PRO_SIM_FAULT_KINDS; kind++) {
        uint64_t *from = kind < PRO_SIM_LOSS         ? &stream
                         : kind < PRO_SIM_DISK_ERROR ? &of_datagrams
                                                     : &of_disks;
        bool      is_on = pri_sim_choice(w, from, 2) == 0 || all_on;
        uint64_t  low = kinds[kind].rate_min, high = kinds[kind].rate_max;
        uint64_t  rate = low << pri_sim_choice(w, from, 8);
        if (rate > high) rate = high;
        w->rate[kind] = is_on && (faults & PRO_SIM_BIT(kind)) ? rate : 0;
        if (w->rate[kind]) w->stats.faults |= PRO_SIM_BIT(kind);
    }
    uint32_t dice = pri_sim_choice(w, &stream, 4);
    uint32_t latency = pri_sim_choice(w, &stream, 8);
    w->policy = (uint8_t)options->policy;
    if (options->policy == PRO_SIM_BY_SEED)
        w->policy = faults == 0 || dice == 0 ? PRO_SIM_IN_ORDER
                    : dice < 3               ? PRO_SIM_RANDOM
                                             : PRO_SIM_ADVERSARY;
    w->latency_ns = w->policy == PRO_SIM_IN_ORDER ? 0 : 1000u << latency;
    w->victim = PRI_SIM_NONE;
}

size_t pro_sim_plan(const pro_sim *w, char *buf, size_t size)
{
    static const char *const policies[] = {"?", "in order", "random", "adversary"};
    char                     text[512];
    int                      n = snprintf(text, sizeof text, "%s", policies[w->policy]);
    for (int kind = 0; kind < PRO_SIM_FAULT_KINDS; kind++)
        if (w->rate[kind])
            n += snprintf(text + n, sizeof text - (size_t)n, ", %s 1:%u", kinds[kind].name,
                          (unsigned)w->rate[kind]);
    if (size) snprintf(buf, size, "%s", text);
    return (size_t)n;
}

uint32_t pro_sim_choose(pro_sim *w, const char *tag, uint32_t n)
{
    for (uint32_t i = 0; i < w->tags; i++)
        if (w->tag[i] == tag || strcmp(w->tag[i], tag) == 0)
            return pri_sim_choice(w, &w->stream_of_tags[i], n);
    if (w->tags == 64) pri_abort("sim: more than 64 tags of choices");
    uint32_t hash = 2166136261u;
    for (const char *c = tag; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    w->tag[w->tags] = tag;
    w->stream_of_tags[w->tags] = pri_sim_stream(w, STREAM_TAG, hash, 0);
    return pri_sim_choice(w, &w->stream_of_tags[w->tags++], n);
}
