/* Interleaved rounds: one short window of each lane, in an order that is new each round.
 *
 * A fixed order has a bias of its own, and reversing it each round only moves it: the lanes at
 * both ends then run twice in a row and find the caches and the kernel's free lists as they
 * left them. With 512 sockets and windows of 5 ms that was worth 6 to 13% to them, and the A/A
 * control showed it. So the order is shuffled, and no lane follows itself. Before each window
 * the lane also runs a fifth of one uncounted.
 *
 * Two clocks are read round each window. Wall time is what a user feels; the thread's CPU time
 * forgets what other processes took from us, and hides nothing as long as the lane never
 * sleeps. */
#include "bench.h"

#include <stdlib.h>

static uint64_t cpu_ns(const struct bench_lane *lane)
{
    return lane->has_threads ? bench_process_cpu_ns() : bench_thread_cpu_ns();
}

static void measure(struct bench_lane *lane, uint64_t window_ns, unsigned round)
{
    if (lane->measure) {
        double ns[BENCH_CLOCKS];
        lane->measure(lane->state, window_ns, ns);
        for (int clock = 0; clock < BENCH_CLOCKS; clock++)
            lane->ns_per_unit[clock][round] = ns[clock];
        return;
    }
    lane->run_for(lane->state, window_ns / 5);
    uint64_t wall = bench_now_ns(), cpu = cpu_ns(lane);
    uint64_t units = lane->run_for(lane->state, window_ns);
    cpu = cpu_ns(lane) - cpu;
    wall = bench_now_ns() - wall;
    if (units == 0) bench_die("a lane did no work in its window");
    lane->ns_per_unit[BENCH_WALL][round] = (double)wall / (double)units;
    lane->ns_per_unit[BENCH_CPU][round] = (double)cpu / (double)units;
}

void bench_lane_init(struct bench_lane *lane, unsigned rounds)
{
    for (int clock = 0; clock < BENCH_CLOCKS; clock++) {
        lane->ns_per_unit[clock] = calloc(rounds, sizeof(double));
        if (!lane->ns_per_unit[clock]) bench_die("out of memory for %u rounds", rounds);
    }
}

static void shuffle_once(size_t *order, size_t len)
{
    static uint64_t x = UINT64_C(0x9e3779b97f4a7c15); /* a fixed seed: any run can be repeated */
    for (size_t i = len; i > 1; i--) {
        x ^= x << 13; /* xorshift64 */
        x ^= x >> 7;
        x ^= x << 17;
        size_t j = x % i, swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}

/* Invariant: the first of the new order is not the last of the old one (where there is a
 * choice). */
static void shuffle(size_t *order, size_t len)
{
    size_t last = order[len - 1];
    do shuffle_once(order, len);
    while (len > 1 && order[0] == last);
}

/* First touch, pools, buffer sizes of the kernel. */
static void warm_up(const struct bench_lane *lane, uint64_t window_ns)
{
    double ns[BENCH_CLOCKS];
    if (lane->run_for)
        lane->run_for(lane->state, window_ns);
    else
        lane->measure(lane->state, window_ns, ns);
}

void bench_rounds(struct bench_lane *const *lanes, size_t lanes_len, uint64_t window_ns,
                  unsigned from, unsigned to)
{
    size_t *order = malloc(lanes_len * sizeof *order);
    if (lanes_len == 0 || !order) bench_die("rounds of no lanes");
    for (size_t i = 0; i < lanes_len; i++) {
        order[i] = i;
        warm_up(lanes[i], window_ns);
    }
    for (unsigned round = from; round < to; round++) {
        shuffle(order, lanes_len);
        for (size_t i = 0; i < lanes_len; i++) measure(lanes[order[i]], window_ns, round);
    }
    free(order);
}

void bench_lane_fini(struct bench_lane *lane)
{
    for (int clock = 0; clock < BENCH_CLOCKS; clock++) {
        free(lane->ns_per_unit[clock]);
        lane->ns_per_unit[clock] = NULL;
    }
}

struct bench_interval bench_ratio(const struct bench_lane *lane, const struct bench_lane *base,
                                  enum bench_clock clock, unsigned rounds)
{
    double *ratio = malloc(rounds * sizeof *ratio);
    if (!ratio) bench_die("out of memory for %u ratios", rounds);
    for (unsigned i = 0; i < rounds; i++)
        ratio[i] = lane->ns_per_unit[clock][i] / base->ns_per_unit[clock][i];
    struct bench_interval out = bench_median_interval(ratio, rounds);
    free(ratio);
    return out;
}
