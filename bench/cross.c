/* bench/cross: what does a message to another shard cost?
 *
 * Two loops on two threads, each pinned to a CPU of its own, as shards are, and messages between
 * them: pro_post, of which pro_call_on is made. A unit is one message, there or back.
 *
 *   batch       1,000 posts in a row, and one back when all have run: the cost when there is much to
 *               say, one wake-up for many
 *   bounce-64   64 messages on the way at any time, each sent back by its handler
 *   ping-pong   one message: each finds the other loop asleep, so each is a wake-up
 *   eventfd     the same by hand: two threads that write to each other's eventfd and block in a read;
 *               nothing that wakes a sleeping thread is cheaper on this system
 *
 * CPU time is that of both threads together. Each lane runs twice, as two lanes: the A/A interval is
 * that of their ratio. */
#include "lib/bench.h"

#include <proactor.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MESSAGES_MAX = 1000, LOOKS = 64 };

struct message {
    pro_op       op;
    struct lane *lane;
};

struct lane {
    struct bench_lane lane;
    unsigned          messages;
    bool              one_way;
    pro_engine        engine;
    int               cpu;
    pro_loop         *here, *there;
    pthread_t         thread;
    struct message    at[MESSAGES_MAX];
    pro_op            ender;
    unsigned          home;
    uint64_t          count, end_ns;
    int               to, back; /* of the lane by hand */
};

/* ---- two loops ------------------------------------------------------------------------------- */

static void come_back(pro_op *op);

static struct lane *lane_of(pro_op *op) { return pro_container_of(op, struct message, op)->lane; }

/* There. */
static void turn_round(pro_op *op)
{
    struct lane *l = lane_of(op);
    if (l->one_way && op != &l->at[l->messages - 1].op) return; /* the last one answers for all */
    pro_post(op, l->here, come_back);
}

static void send_all(struct lane *l)
{
    for (unsigned i = 0; i < l->messages; i++) pro_post(&l->at[i].op, l->there, turn_round);
}

/* Here. */
static void come_back(pro_op *op)
{
    struct lane *l = lane_of(op);
    l->count += l->one_way ? l->messages : 2;
    if (l->one_way || l->messages == 1 || l->count % LOOKS == 0) {
        if (l->end_ns != 0 && bench_now_ns() >= l->end_ns) l->end_ns = 0;
    }
    if (l->end_ns != 0) {
        if (l->one_way)
            send_all(l);
        else
            pro_post(op, l->there, turn_round);
    } else if (l->one_way || ++l->home == l->messages) {
        pro_loop_release(l->here);
    }
}

static uint64_t run_loops(void *state, uint64_t window_ns)
{
    struct lane *l = state;
    l->count = 0;
    l->home = 0;
    l->end_ns = bench_now_ns() + window_ns;
    pro_loop_hold(l->here);
    send_all(l);
    if (pro_loop_run(l->here) < 0) bench_die("the loop failed");
    return l->count;
}

static void *be_there(void *arg)
{
    struct lane *l = arg;
    bench_pin(l->cpu);
    if (pro_loop_run(l->there) < 0 || pro_loop_free(l->there) != PRO_OK) bench_die("there: failed");
    return NULL;
}

static void end_there(pro_op *op)
{
    struct lane *l = op->user;
    pro_loop_release(l->there);
}

static pro_loop *loop_new(pro_engine engine)
{
    pro_loop_options o;
    pro_loop        *loop;
    pro_loop_options_init(&o);
    o.engine = engine;
    int error = pro_loop_new(&loop, &o);
    if (error != PRO_OK) bench_die("no loop: %s", pro_error_text(error));
    return loop;
}

static void open_loops(struct lane *l)
{
    l->here = loop_new(l->engine);
    l->there = loop_new(l->engine);
    for (unsigned i = 0; i < l->messages; i++) l->at[i].lane = l;
    pro_loop_hold(l->there);
    if (pthread_create(&l->thread, NULL, be_there, l) != 0) bench_die("no thread");
}

static void close_loops(struct lane *l)
{
    l->ender.user = l;
    pro_post(&l->ender, l->there, end_there);
    pthread_join(l->thread, NULL);
    pro_loop_free(l->here);
}

/* ---- by hand --------------------------------------------------------------------------------- */

static void put(int fd, uint64_t value)
{
    if (write(fd, &value, sizeof value) != sizeof value) bench_die_errno("eventfd: write");
}

static uint64_t take(int fd)
{
    uint64_t value;
    if (read(fd, &value, sizeof value) != sizeof value) bench_die_errno("eventfd: read");
    return value;
}

static void *answer(void *arg)
{
    struct lane *l = arg;
    bench_pin(l->cpu);
    while (take(l->to) == 1) put(l->back, 1);
    return NULL;
}

static uint64_t run_by_hand(void *state, uint64_t window_ns)
{
    struct lane *l = state;
    uint64_t     end = bench_now_ns() + window_ns, count = 0;
    do {
        put(l->to, 1);
        take(l->back);
        count += 2;
    } while (bench_now_ns() < end);
    return count;
}

static void open_by_hand(struct lane *l)
{
    l->to = eventfd(0, EFD_CLOEXEC);
    l->back = eventfd(0, EFD_CLOEXEC);
    if (l->to < 0 || l->back < 0) bench_die_errno("eventfd");
    if (pthread_create(&l->thread, NULL, answer, l) != 0) bench_die("no thread");
}

static void close_by_hand(struct lane *l)
{
    put(l->to, 2);
    pthread_join(l->thread, NULL);
    close(l->to);
    close(l->back);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct kind {
    const char *name;
    unsigned    messages; /* 0: by hand */
    bool        one_way;
} kinds[] = {
    {"batch", 1000, true},
    {"bounce-64", 64, false},
    {"ping-pong", 1, false},
    {"eventfd", 0, false},
};
enum { KINDS = sizeof kinds / sizeof kinds[0], BARE = KINDS - 1, ROUNDS_A_LIFE = 10 };

static struct lane *lane_new(const struct kind *kind, pro_engine engine, int cpu, unsigned rounds)
{
    struct lane *l = calloc(1, sizeof *l);
    if (!l) bench_die("out of memory");
    l->lane = (struct bench_lane){
        .state = l, .run_for = kind->messages ? run_loops : run_by_hand, .has_threads = true};
    l->messages = kind->messages;
    l->one_way = kind->one_way;
    l->engine = engine;
    l->cpu = cpu;
    bench_lane_init(&l->lane, rounds);
    return l;
}

static void print_row(const char *engine, const char *name, const struct bench_lane *lane,
                      const struct bench_lane *twin, const struct bench_lane *bare, unsigned rounds,
                      FILE *out, const struct bench_host *host)
{
    struct bench_interval wall = bench_median_interval(lane->ns_per_unit[BENCH_WALL], rounds);
    struct bench_interval cpu = bench_median_interval(lane->ns_per_unit[BENCH_CPU], rounds);
    struct bench_interval aa = bench_ratio(twin, lane, BENCH_WALL, rounds);
    struct bench_interval ratio = bench_ratio(lane, bare, BENCH_WALL, rounds);
    printf("  %-10s %9.1f [%.1f .. %.1f] %9.1f   %.3f [%.3f .. %.3f]   %.3f [%.3f .. %.3f]%s\n",
           name, wall.mid, wall.lo, wall.hi, cpu.mid, ratio.mid, ratio.lo, ratio.hi, aa.mid, aa.lo,
           aa.hi, bench_aa_holds(aa) ? "" : " VOID");
    struct bench_json json;
    bench_json_begin(&json, out, "cross", host);
    bench_json_str(&json, "engine", engine);
    bench_json_str(&json, "what", name);
    bench_json_interval(&json, "wall_ns", wall);
    bench_json_interval(&json, "cpu_ns", cpu);
    bench_json_interval(&json, "wall_to_eventfd", ratio);
    bench_json_interval(&json, "aa", aa);
    bench_json_bool(&json, "void", !bench_aa_holds(aa));
    bench_json_end(&json);
}

static void measure(const char *name, pro_engine engine, int cpu, unsigned rounds,
                    uint64_t window_ns, FILE *out, const struct bench_host *host)
{
    struct lane       *lanes[2 * KINDS];
    struct bench_lane *at[2 * KINDS];
    for (unsigned i = 0; i < 2 * KINDS; i++) {
        lanes[i] = lane_new(&kinds[i / 2], engine, cpu, rounds);
        at[i] = &lanes[i]->lane;
    }
    for (unsigned from = 0; from < rounds; from += ROUNDS_A_LIFE) {
        unsigned to = from + ROUNDS_A_LIFE < rounds ? from + ROUNDS_A_LIFE : rounds;
        for (unsigned i = 0; i < 2 * KINDS; i++)
            (lanes[i]->messages ? open_loops : open_by_hand)(lanes[i]);
        bench_rounds(at, 2 * KINDS, window_ns, from, to);
        for (unsigned i = 0; i < 2 * KINDS; i++)
            (lanes[i]->messages ? close_loops : close_by_hand)(lanes[i]);
    }
    printf("\n%s\n  %-10s %9s %-20s %9s   %-24s %s\n", name, "", "wall ns", "95%", "CPU ns",
           "wall / eventfd", "A/A");
    for (unsigned i = 0; i < KINDS; i++)
        print_row(name, kinds[i].name, at[2 * i], at[2 * i + 1], at[2 * BARE], rounds, out, host);
    for (unsigned i = 0; i < 2 * KINDS; i++) {
        bench_lane_fini(at[i]);
        free(lanes[i]);
    }
}

int main(int argc, char **argv)
{
    unsigned    rounds = 60, window_ms = 20;
    const char *json = NULL;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--rounds", argc, argv, &i)))
            rounds = bench_number("--rounds", v, 7, 100000);
        else if ((v = bench_option("--window-ms", argc, argv, &i)))
            window_ms = bench_number("--window-ms", v, 1, 10000);
        else if ((v = bench_option("--json", argc, argv, &i)))
            json = v;
        else if (strcmp(argv[i], "--quick") == 0)
            rounds = 10, window_ms = 5;
        else {
            fputs("usage: bench/cross [--rounds 60] [--window-ms 20] [--quick] [--json FILE]\n",
                  stderr);
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        }
    }
    struct bench_host host;
    FILE             *out = json ? fopen(json, "a") : NULL;
    if (json && !out) bench_die_errno(json);
    bench_host_get(&host);
    int here = bench_pin(BENCH_CPU_LAST), there = here > 0 ? 0 : BENCH_CPU_ANY;
    printf("cross: %s, %d CPUs (pinned to %d and %d), Linux %s, commit %s; a message, %u rounds of "
           "%u ms\n",
           host.machine, host.cpus, here, there, host.kernel, host.commit, rounds, window_ms);
    measure("io_uring", PRO_ENGINE_URING, there, rounds, window_ms * UINT64_C(1000000), out, &host);
    measure("epoll", PRO_ENGINE_EPOLL, there, rounds, window_ms * UINT64_C(1000000), out, &host);
    if (out) fclose(out);
    return 0;
}
