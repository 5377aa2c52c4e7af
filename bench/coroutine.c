/* bench/coroutine: what do coroutines cost?
 *
 *   switch    one way, from the loop to a coroutine or back: registers, stack, nothing else
 *   spawn     pro_go of an empty function, its start, its end, its stack back in the pool
 *   yield     pro_yield and coming back: two switches, and an operation through the ready queue
 *   await     pro_await of a timer that is due, a hundred coroutines in turn
 *   callback  the same with plain handlers: what coroutines add is await - callback
 *
 * and how much memory an idle one takes: the resident size of a process with 10,000 that sleep, without
 * and with a local buffer of 4 KiB, less that of the same process before.
 *
 * Every lane runs twice, as two lanes: the A/A interval is that of their ratio. */
#include "lib/bench.h"

#include <proactor.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- switch: the primitive itself, which is no part of the interface -------------------------- */

typedef struct pri_context {
    void *at;
} pri_context;
extern void pri_context_make(pri_context *context, void *low, size_t size, void (*entry)(void *arg),
                             void *arg);
extern void pri_context_switch(pri_context *from, const pri_context *to);

struct lane {
    struct bench_lane lane;
    pro_loop         *loop;
    pri_context       here, there;
    void             *stack;
    pro_op            op;
    uint64_t          count, until;
};

enum { STACK = 64 << 10, BATCH = 1000 };

static void bounce(void *arg)
{
    struct lane *l = arg;
    for (;;) pri_context_switch(&l->there, &l->here);
}

static uint64_t run_switch(void *state, uint64_t window_ns)
{
    struct lane *l = state;
    uint64_t     end = bench_now_ns() + window_ns, count = 0;
    do {
        for (int i = 0; i < BATCH; i++) pri_context_switch(&l->here, &l->there);
        count += 2 * BATCH;
    } while (bench_now_ns() < end);
    return count;
}

/* ---- spawn ----------------------------------------------------------------------------------- */

static void nothing(void *arg) { (void)arg; }

static uint64_t run_spawn(void *state, uint64_t window_ns)
{
    struct lane *l = state;
    pro_scope   *scope = pro_loop_scope(l->loop);
    uint64_t     end = bench_now_ns() + window_ns, count = 0;
    do {
        /* So many at once that the loop's turn is a small part, and few enough for the cache. */
        for (int batch = 0; batch < 10; batch++) {
            for (int i = 0; i < BATCH / 10; i++)
                if (pro_go(scope, nothing, NULL, NULL) != PRO_OK) bench_die("pro_go failed");
            pro_loop_poll(l->loop);
        }
        count += BATCH;
    } while (bench_now_ns() < end);
    return count;
}

/* ---- yield, callback --------------------------------------------------------------------------- */

enum { TOGETHER = 100 };

static void yield_until(void *arg)
{
    struct lane *l = arg;
    while (l->count < l->until) {
        l->count++;
        pro_yield();
    }
}

static void call_back(pro_op *op)
{
    struct lane *l = op->user;
    if (l->count >= l->until) return;
    l->count++;
    pro_timer_start(op, l->loop, 1, call_back); /* past: the next turn */
}

static void sleep_until(void *arg)
{
    struct lane *l = arg;
    while (l->count < l->until) {
        l->count++;
        pro_await_timer_start(1);
    }
}

static pro_op calls[TOGETHER];

static uint64_t run_many(struct lane *l, uint64_t window_ns, pro_go_fn *fn)
{
    uint64_t end = bench_now_ns() + window_ns, begin = l->count;
    do {
        l->until = l->count + 10 * BATCH;
        for (int i = 0; i < TOGETHER; i++) {
            if (fn) {
                if (pro_go(pro_loop_scope(l->loop), fn, l, NULL) != PRO_OK)
                    bench_die("pro_go failed");
            } else {
                calls[i].user = l;
                call_back(&calls[i]);
            }
        }
        pro_loop_run(l->loop);
    } while (bench_now_ns() < end);
    return l->count - begin;
}

static uint64_t run_yield(void *state, uint64_t ns) { return run_many(state, ns, yield_until); }
static uint64_t run_await(void *state, uint64_t ns) { return run_many(state, ns, sleep_until); }
static uint64_t run_callback(void *state, uint64_t ns) { return run_many(state, ns, NULL); }

/* ---- time ------------------------------------------------------------------------------------ */

static const struct kind {
    const char *name, *unit;
    uint64_t (*run_for)(void *state, uint64_t window_ns);
} kinds[] = {
    {"switch", "one way", run_switch},
    {"spawn", "start, run, end", run_spawn},
    {"yield", "and back", run_yield},
    {"await", "a timer that is due", run_await},
    {"callback", "a timer that is due", run_callback},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* Two instances of one program differ for as long as they live: so many rounds, then new ones. */
enum { ROUNDS_A_LIFE = 10 };

static void lane_open(struct lane *l)
{
    if (pro_loop_new(&l->loop, NULL) != PRO_OK) bench_die("no loop");
    l->stack = aligned_alloc(64, STACK);
    if (!l->stack) bench_die("out of memory");
    pri_context_make(&l->there, l->stack, STACK, bounce, l);
}

static void lane_close(struct lane *l)
{
    if (pro_loop_free(l->loop) != PRO_OK) bench_die("a loop is still busy");
    free(l->stack);
}

static void measure_times(unsigned rounds, uint64_t window_ns, FILE *out,
                          const struct bench_host *host)
{
    static struct lane lanes[KINDS][2];
    struct bench_lane *at[2 * KINDS];
    for (size_t i = 0; i < 2 * KINDS; i++) {
        struct lane *l = &lanes[i / 2][i % 2];
        l->lane = (struct bench_lane){.state = l, .run_for = kinds[i / 2].run_for};
        bench_lane_init(&l->lane, rounds);
        at[i] = &l->lane;
    }
    for (unsigned from = 0; from < rounds; from += ROUNDS_A_LIFE) {
        bool backwards = from / ROUNDS_A_LIFE % 2 == 1; /* no twin always gets the better memory */
        for (size_t i = 0; i < 2 * KINDS; i++)
            lane_open(at[backwards ? 2 * KINDS - 1 - i : i]->state);
        bench_rounds(at, 2 * KINDS, window_ns, from,
                     from + ROUNDS_A_LIFE < rounds ? from + ROUNDS_A_LIFE : rounds);
        for (size_t i = 0; i < 2 * KINDS; i++) lane_close(at[i]->state);
    }
    printf("  %-10s %8s  %-20s %-26s %s\n", "", "ns", "95%", "A/A", "of");
    for (size_t k = 0; k < KINDS; k++) {
        const struct bench_lane *lane = &lanes[k][0].lane;
        struct bench_interval    ns = bench_median_interval(lane->ns_per_unit[BENCH_CPU], rounds);
        struct bench_interval    aa = bench_ratio(&lanes[k][1].lane, lane, BENCH_CPU, rounds);
        printf("  %-10s %8.1f  [%.1f .. %.1f]%*s %.3f [%.3f .. %.3f]%s  %s\n", kinds[k].name,
               ns.mid, ns.lo, ns.hi, 4, "", aa.mid, aa.lo, aa.hi, bench_aa_holds(aa) ? "" : " VOID",
               kinds[k].unit);
        struct bench_json json;
        bench_json_begin(&json, out, "coroutine", host);
        bench_json_str(&json, "what", kinds[k].name);
        bench_json_interval(&json, "cpu_ns", ns);
        bench_json_interval(&json, "aa", aa);
        bench_json_bool(&json, "void", !bench_aa_holds(aa));
        bench_json_end(&json);
    }
    for (size_t i = 0; i < 2 * KINDS; i++) bench_lane_fini(at[i]);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void idle(void *arg)
{
    (void)arg;
    pro_await_sleep(PRO_SEC);
}

static void idle_with_buffer(void *arg)
{
    char buf[4096];
    memset(buf, 1, sizeof buf); /* as if something had been received */
    __asm__ volatile("" : : "r"(buf) : "memory");
    idle(arg);
    __asm__ volatile("" : : "r"(buf) : "memory");
}

static uint64_t resident_bytes(void)
{
    unsigned long total, resident = 0;
    FILE         *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2) bench_die("no /proc/self/statm");
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void measure_memory(const char *name, pro_go_fn *fn, unsigned count, FILE *out,
                           const struct bench_host *host)
{
    pro_loop    *loop;
    pro_co_stats stats;
    if (pro_loop_new(&loop, NULL) != PRO_OK) bench_die("no loop");
    pro_loop_poll(loop);
    uint64_t before = resident_bytes();
    for (unsigned i = 0; i < count; i++)
        if (pro_go(pro_loop_scope(loop), fn, NULL, NULL) != PRO_OK) bench_die("pro_go failed");
    pro_loop_poll(loop);
    double each = (double)(resident_bytes() - before) / count;
    pro_co_stats_get(loop, &stats);
    if (stats.live != count) bench_die("%u are idle, want %u", stats.live, count);
    printf("  %-34s %8.0f bytes each, deepest stack %zu\n", name, each, stats.stack_used_max);
    struct bench_json json;
    bench_json_begin(&json, out, "coroutine", host);
    bench_json_str(&json, "what", name);
    bench_json_int(&json, "count", count);
    bench_json_num(&json, "bytes_each", each);
    bench_json_end(&json);
    pro_scope_close(pro_loop_scope(loop));
    pro_loop_run(loop);
    pro_loop_free(loop);
}

int main(int argc, char **argv)
{
    unsigned    rounds = 120, count = 10000, window_ms = 10;
    const char *json = NULL;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--rounds", argc, argv, &i)))
            rounds = bench_number("--rounds", v, 7, 100000);
        else if ((v = bench_option("--window-ms", argc, argv, &i)))
            window_ms = bench_number("--window-ms", v, 1, 10000);
        else if ((v = bench_option("--count", argc, argv, &i)))
            count = bench_number("--count", v, 1, 10000000);
        else if ((v = bench_option("--json", argc, argv, &i)))
            json = v;
        else if (strcmp(argv[i], "--quick") == 0)
            rounds = 20, window_ms = 5;
        else {
            fputs(
                "usage: bench/coroutine [--rounds 120] [--window-ms 10] [--count 10000] [--quick]\n"
                "                       [--json FILE]\n",
                stderr);
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        }
    }
    struct bench_host host;
    FILE             *out = json ? fopen(json, "a") : NULL;
    if (json && !out) bench_die_errno(json);
    bench_host_get(&host);
    int cpu = bench_pin(BENCH_CPU_LAST);
    printf("coroutine: %s, %d CPUs (pinned to %d), Linux %s, commit %s\n", host.machine, host.cpus,
           cpu, host.kernel, host.commit);
    printf("\nCPU time, %u rounds of %u ms, interleaved\n", rounds, window_ms);
    measure_times(rounds, window_ms * UINT64_C(1000000), out, &host);
    printf("\nresident memory of idle coroutines, %u at once\n", count);
    measure_memory("asleep", idle, count, out, &host);
    measure_memory("asleep, with a 4 KiB local buffer", idle_with_buffer, count, out, &host);
    if (out) fclose(out);
    return 0;
}
