/* bench/shards: do two shards do twice as much as one?
 *
 * Each shard is a thread with a CPU of its own that runs hops (lib/hop.h) among its own
 * connections, both ends of them, so that no load generator takes from the CPUs that are
 * measured. A round has a window of one shard, on the one CPU and on the other, and one of both at
 * once, in an order that changes; one against the other is the A/A control.
 *
 *   wall   hops of both together / hops of one in a window of the same length: what a user sees,
 *          if nobody else wants the CPUs
 *   CPU    the same by CPU time of the threads: what shards cost each other, whoever else is there */
#include "lib/bench.h"
#include "lib/hop.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 2, ROUNDS_MAX = 10000 };
enum window { FIRST, SECOND, BOTH, WINDOWS };

struct shard {
    pthread_t                 thread;
    int                       cpu;
    const struct hop_variant *variant;
    struct hop_shape          shape;
    uint64_t                  window_ns, hops, wall_ns, cpu_ns; /* of the last window */
    bool                      runs;                             /* in this window */
};

static struct shard      shards[SHARDS];
static pthread_barrier_t begin, end;
static bool              over;

static void *shard_main(void *arg)
{
    struct shard  *s = arg;
    struct hop_run run;
    char           why[256];
    bench_pin(s->cpu);
    if (hop_run_init(&run, s->variant, &s->shape, why, sizeof why) != 0)
        bench_die("%s: %s", s->variant->name, why);
    for (;;) {
        pthread_barrier_wait(&begin);
        if (over) break;
        if (s->runs) {
            hop_run_for(&run, s->window_ns / 5);
            uint64_t wall = bench_now_ns(), cpu = bench_thread_cpu_ns();
            s->hops = hop_run_for(&run, s->window_ns);
            s->cpu_ns = bench_thread_cpu_ns() - cpu;
            s->wall_ns = bench_now_ns() - wall;
        }
        pthread_barrier_wait(&end);
    }
    hop_run_fini(&run);
    return NULL;
}

static double rate(const struct shard *s, bool by_cpu)
{
    return (double)s->hops / (double)(by_cpu ? s->cpu_ns : s->wall_ns);
}

/* Hops per nanosecond: [wall, CPU]. */
static void run_window(enum window window, double rates[2])
{
    for (int i = 0; i < SHARDS; i++) shards[i].runs = window == BOTH || window == (enum window)i;
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    for (int clock = 0; clock < 2; clock++) {
        rates[clock] = 0;
        for (int i = 0; i < SHARDS; i++)
            if (shards[i].runs) rates[clock] += rate(&shards[i], clock == 1);
    }
}

static void print_ratio(const char *name, const double *at, unsigned rounds, FILE *out,
                        const char *variant, const struct bench_host *host)
{
    struct bench_interval value = bench_median_interval(at, rounds);
    struct bench_json     json;
    printf("  %-18s %.3f [%.3f .. %.3f]\n", name, value.mid, value.lo, value.hi);
    bench_json_begin(&json, out, "shards", host);
    bench_json_str(&json, "variant", variant);
    bench_json_str(&json, "what", name);
    bench_json_interval(&json, "ratio", value);
    bench_json_end(&json);
}

static void measure(const struct hop_variant *variant, const struct hop_shape *shape,
                    unsigned rounds, uint64_t window_ns, FILE *out, const struct bench_host *host)
{
    static double two[2][ROUNDS_MAX], aa[2][ROUNDS_MAX];
    over = false;
    pthread_barrier_init(&begin, NULL, SHARDS + 1);
    pthread_barrier_init(&end, NULL, SHARDS + 1);
    for (int i = 0; i < SHARDS; i++) {
        shards[i] =
            (struct shard){.cpu = i, .variant = variant, .shape = *shape, .window_ns = window_ns};
        if (pthread_create(&shards[i].thread, NULL, shard_main, &shards[i]) != 0)
            bench_die("no thread");
    }
    for (unsigned round = 0; round < rounds; round++) {
        double rates[WINDOWS][2];
        for (unsigned i = 0; i < WINDOWS; i++) {
            enum window window = (enum window)((i * (1 + round % 2) + round / 2) % WINDOWS);
            run_window(window, rates[window]);
        }
        for (int clock = 0; clock < 2; clock++) {
            double one = (rates[FIRST][clock] + rates[SECOND][clock]) / 2;
            two[clock][round] = rates[BOTH][clock] / one;
            aa[clock][round] = rates[SECOND][clock] / rates[FIRST][clock];
        }
    }
    over = true;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < SHARDS; i++) pthread_join(shards[i].thread, NULL);
    printf("\n%s\n", variant->name);
    print_ratio("2 to 1, CPU", two[1], rounds, out, variant->name, host);
    print_ratio("A/A, CPU", aa[1], rounds, out, variant->name, host);
    print_ratio("2 to 1, wall", two[0], rounds, out, variant->name, host);
    print_ratio("A/A, wall", aa[0], rounds, out, variant->name, host);
}

int main(int argc, char **argv)
{
    struct hop_shape shape = {.transport = HOP_UNIX, .pairs = 16, .size = 64};
    unsigned         rounds = 100, window_ms = 10;
    const char      *only = NULL, *json = NULL;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--rounds", argc, argv, &i)))
            rounds = bench_number("--rounds", v, 7, ROUNDS_MAX);
        else if ((v = bench_option("--window-ms", argc, argv, &i)))
            window_ms = bench_number("--window-ms", v, 1, 10000);
        else if ((v = bench_option("--pairs", argc, argv, &i)))
            shape.pairs = bench_number("--pairs", v, 1, 4096);
        else if ((v = bench_option("--size", argc, argv, &i)))
            shape.size = bench_number("--size", v, 1, 1 << 16);
        else if ((v = bench_option("--only", argc, argv, &i)))
            only = v;
        else if ((v = bench_option("--json", argc, argv, &i)))
            json = v;
        else {
            fputs("usage: bench/shards [--rounds 100] [--window-ms 10] [--pairs 16] [--size 64]\n"
                  "                    [--only NAME,...] [--json FILE]\n",
                  stderr);
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        }
    }
    struct bench_host host;
    FILE             *out = json ? fopen(json, "a") : NULL;
    if (json && !out) bench_die_errno(json);
    bench_host_get(&host);
    bench_raise_descriptor_limit();
    if (host.cpus < SHARDS) bench_die("two shards want two CPUs");
    printf("shards: %s, %d CPUs, Linux %s, commit %s; %u pairs, %u bytes, %u rounds of %u ms\n",
           host.machine, host.cpus, host.kernel, host.commit, shape.pairs, shape.size, rounds,
           window_ms);
    for (size_t i = 0; hop_variants[i]; i++)
        if (!only || bench_in_list(only, hop_variants[i]->name))
            measure(hop_variants[i], &shape, rounds, window_ms * UINT64_C(1000000), out, &host);
    if (out) fclose(out);
    return 0;
}
