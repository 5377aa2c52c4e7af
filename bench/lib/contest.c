/* See contest.h, and bench.h for the method.
 *
 * Each server is a process, pinned to the last CPU, and has a load generator of its own.  All are alive at
 * once, and all but one asleep: they take turns in short windows, in a new order each round.  The server by
 * which the others are divided (--base) runs a second time, as the A/A control: where the interval of its
 * ratio leaves 1.5%, the shape is void.
 *
 * A turn is two windows.  In the first the generator is on the server's CPU: neither ever waits for another
 * CPU to wake, which costs more than all else here, and would be counted to who wakes.
 *
 *     CPU     CPU time of the server's process in the window / messages that came back in it
 *
 * In the second it has the first CPU for itself:
 *
 *     wall    length of the window / messages that came back in it
 *     p50...  of a message, seen by the generator; the median over the rounds of each round's
 *
 * The window grows with the connections: each must have its turn several times in one, and once in the fifth
 * of one that warms up.  With a single
 * connection both CPUs would halt between two messages: processes of idle priority keep them awake.
 *
 * Servers live for a part of the rounds, since two processes of one program differ for as long as they live. */
#include "contest.h"

#include "bench.h"
#include "load.h"
#include "servers.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIST_MAX = 16, LANES_MAX = 32, PARTS = 4 };

struct list {
    unsigned at[LIST_MAX], len;
};

struct options {
    const struct contest *contest;
    unsigned              rounds, window_us, parts;
    struct list           connections, sizes, depths;
    const char           *only, *base, *json;
    int                   server_cpu, load_cpu;
};

enum latency { P50, P99, P999, LATENCIES };

struct lane {
    const struct server *server;
    bool                 control, here;
    struct server_run    run;
    pid_t                generator;
    int                  ask, answer; /* pipes to and from the generator */
    struct bench_lane    lane;
    int                  cpus[2];       /* of its server, and the other */
    double              *us[LATENCIES]; /* [rounds] */
    unsigned             seen;          /* rounds so far */
};

/* What a generator is asked for. */
struct request {
    uint64_t warm_ns, window_ns;
    int      cpu;
};

/* ---- options -------------------------------------------------------------------------------- */

static struct list parse_list(const char *name, const char *text, unsigned max)
{
    struct list list = {.len = 0};
    char        copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, ","); word; word = strtok(NULL, ",")) {
        if (list.len == LIST_MAX) bench_die("%s: at most %d values", name, LIST_MAX);
        list.at[list.len++] = bench_number(name, word, 1, max);
    }
    if (list.len == 0) bench_die("%s: no values", name);
    return list;
}

static void usage(const struct contest *c, FILE *to)
{
    fprintf(
        to,
        "usage: bench/%s [--rounds N] [--window-us N] [--parts N] [--connections N,...]\n"
        "                [--size BYTES,...] [--depth N,...] [--only SERVER,...] [--base SERVER]\n"
        "                [--json FILE] [--quick]\n"
        "defaults: 40 rounds of 50 ms in %d parts, connections %s, size %s, depth %s, base epoll\n"
        "--quick:  3 rounds of 10 ms: for a look, not for a claim\n"
        "--depth:  messages in flight on each connection\n",
        c->name, PARTS, c->connections, c->sizes, c->depths);
    servers_list(to);
}

static void parse_lists(struct options *o, const char *connections, const char *sizes,
                        const char *depths)
{
    o->connections = parse_list("--connections", connections, 15000);
    o->sizes = parse_list("--size", sizes, 1 << 20);
    o->depths = parse_list("--depth", depths, 4096);
}

static struct options parse(const struct contest *c, int argc, char **argv)
{
    struct options o = {
        .contest = c, .rounds = 40, .window_us = 50000, .parts = PARTS, .base = "epoll"};
    parse_lists(&o, c->connections, c->sizes, c->depths);
    for (int i = 1; i < argc; i++) {
        const char *v;
        if (strcmp(argv[i], "--quick") == 0) {
            o.rounds = 3;
            o.window_us = 10000;
            o.parts = 1;
            parse_lists(&o, c->quick_connections, c->quick_sizes, c->quick_depths);
        } else if ((v = bench_option("--rounds", argc, argv, &i)))
            o.rounds = bench_number("--rounds", v, 1, 1000);
        else if ((v = bench_option("--window-us", argc, argv, &i)))
            o.window_us = bench_number("--window-us", v, 1000, 10000000);
        else if ((v = bench_option("--parts", argc, argv, &i)))
            o.parts = bench_number("--parts", v, 1, 1000);
        else if ((v = bench_option("--connections", argc, argv, &i)))
            o.connections = parse_list("--connections", v, 15000);
        else if ((v = bench_option("--size", argc, argv, &i)))
            o.sizes = parse_list("--size", v, 1 << 20);
        else if ((v = bench_option("--depth", argc, argv, &i)))
            o.depths = parse_list("--depth", v, 4096);
        else if ((v = bench_option("--only", argc, argv, &i)))
            o.only = v;
        else if ((v = bench_option("--base", argc, argv, &i)))
            o.base = v;
        else if ((v = bench_option("--json", argc, argv, &i)))
            o.json = v;
        else {
            usage(c, stderr);
            exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
        }
    }
    if (!server_find(o.base)) bench_die("--base: there is no server %s", o.base);
    return o;
}

/* ---- a generator as a process ----------------------------------------------------------------- */

static void read_whole(int fd, void *to, size_t size, const char *who)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = read(fd, (char *)to + at, size - at);
        if (got <= 0) bench_die("%s has ended", who);
        at += (size_t)got;
    }
}

static void write_whole(int fd, const void *from, size_t size)
{
    if (write(fd, from, size) != (ssize_t)size) bench_die_errno("a generator's pipe");
}

static _Noreturn void generate(const struct load_shape *shape, const struct server_run *run,
                               int cpu, int ask, int answer)
{
    struct request     request;
    struct load_result result = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(cpu);
    struct load *load = load_open(shape, run->port, run->pid);
    load_count(load, 1, &result); /* each connection has been accepted */
    write_whole(answer, &result, sizeof result);
    while (read(ask, &request, sizeof request) == sizeof request) {
        bench_pin(request.cpu);
        load_run(load, request.warm_ns, request.window_ns, &result);
        write_whole(answer, &result, sizeof result);
    }
    _exit(0);
}

static void start_generator(struct lane *lane, const struct load_shape *shape, int cpu)
{
    int ask[2], answer[2];
    if (pipe2(ask, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0) bench_die_errno("pipe");
    fflush(stdout);
    lane->generator = fork();
    if (lane->generator < 0) bench_die_errno("fork");
    if (lane->generator == 0) {
        close(ask[1]);
        close(answer[0]);
        generate(shape, &lane->run, cpu, ask[0], answer[1]);
    }
    close(ask[0]);
    close(answer[1]);
    lane->ask = ask[1];
    lane->answer = answer[0];
}

static struct load_result ask_for(struct lane *lane, uint64_t warm_ns, uint64_t window_ns, int cpu)
{
    struct load_result result;
    struct request     request = {warm_ns, window_ns, cpu};
    write_whole(lane->ask, &request, sizeof request);
    read_whole(lane->answer, &result, sizeof result, lane->server->name);
    if (result.messages == 0) bench_die("%s: no message in a window", lane->server->name);
    return result;
}

static uint64_t run_for(void *state, uint64_t window_ns)
{
    struct lane *lane = state;
    return ask_for(lane, 0, window_ns, lane->cpus[0]).messages;
}

static void measure(void *state, uint64_t window_ns, double ns_per_unit[BENCH_CLOCKS])
{
    struct lane       *lane = state;
    struct load_result near = ask_for(lane, window_ns / 5, window_ns, lane->cpus[0]),
                       far = ask_for(lane, window_ns / 5, window_ns, lane->cpus[1]);
    ns_per_unit[BENCH_CPU] = (double)near.cpu_ns / (double)near.messages;
    ns_per_unit[BENCH_WALL] = (double)far.wall_ns / (double)far.messages;
    lane->us[P50][lane->seen] = far.p50_us;
    lane->us[P99][lane->seen] = far.p99_us;
    lane->us[P999][lane->seen++] = far.p999_us;
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static void allocate_lane(struct lane *lane, unsigned rounds)
{
    lane->lane = (struct bench_lane){.state = lane, .run_for = run_for, .measure = measure};
    bench_lane_init(&lane->lane, rounds);
    for (int i = 0; i < LATENCIES; i++) lane->us[i] = calloc(rounds, sizeof(double));
}

static void free_lane(struct lane *lane)
{
    bench_lane_fini(&lane->lane);
    for (int i = 0; i < LATENCIES; i++) free(lane->us[i]);
}

static void open_lane(struct lane *lane, const struct load_shape *shape, const struct options *o)
{
    unsigned buffer = shape->size > 4096 ? shape->size : 4096;
    if (shape->depth > 1 && buffer < 16384) buffer = 16384;
    lane->cpus[0] = o->server_cpu;
    lane->cpus[1] = o->load_cpu;
    lane->here =
        server_start(&lane->run, lane->server, o->server_cpu, buffer, shape->connections) == 0;
    if (lane->here) start_generator(lane, shape, o->load_cpu);
}

static void wait_open(struct lane *lane)
{
    struct load_result result;
    if (lane->here) read_whole(lane->answer, &result, sizeof result, lane->server->name);
}

/* The generator first: the connections end by its reset. */
static void close_lane(struct lane *lane)
{
    if (!lane->here) return;
    end_child(lane->generator);
    close(lane->ask);
    close(lane->answer);
    server_stop(&lane->run);
}

static size_t list_lanes(struct lane *lanes, const struct options *o)
{
    size_t len = 0;
    for (const struct server *s = servers; s->name; s++)
        if (!o->only || bench_in_list(o->only, s->name) || strcmp(s->name, o->base) == 0)
            lanes[len++] = (struct lane){.server = s};
    lanes[len++] = (struct lane){.server = server_find(o->base), .control = true};
    return len;
}

/* ---- processors kept awake ------------------------------------------------------------------ */

static pid_t spin_on(int cpu)
{
    pid_t child = fork();
    if (child != 0) return child;
    struct sched_param param = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(cpu);
    if (sched_setscheduler(0, SCHED_IDLE, &param) != 0) _exit(1);
    for (volatile int i = 0;; i++) {}
}

/* ---- results -------------------------------------------------------------------------------- */

struct summary {
    double                cpu_ns, per_s, us[LATENCIES];
    struct bench_interval cpu, wall;
};

static struct summary summarise(const struct lane *lane, const struct lane *base, unsigned rounds)
{
    struct summary s = {
        .cpu_ns = bench_median(lane->lane.ns_per_unit[BENCH_CPU], rounds),
        .per_s = 1e9 / bench_median(lane->lane.ns_per_unit[BENCH_WALL], rounds),
        .cpu = bench_ratio(&lane->lane, &base->lane, BENCH_CPU, rounds),
        .wall = bench_ratio(&lane->lane, &base->lane, BENCH_WALL, rounds),
    };
    for (int i = 0; i < LATENCIES; i++) s.us[i] = bench_median(lane->us[i], rounds);
    return s;
}

static void print(const struct lane *lane, const struct summary *s, bool is_void)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", lane->server->name, lane->control ? " (A/A)" : "");
    printf("  %-20s %7.0f  %.3f [%.3f .. %.3f]  %9.0f %8.1f %8.1f %8.1f%s\n", name, s->cpu_ns,
           s->cpu.mid, s->cpu.lo, s->cpu.hi, s->per_s, s->us[P50], s->us[P99], s->us[P999],
           is_void ? "  VOID" : "");
}

static void write_json(const struct lane *lane, const struct summary *s, bool is_void,
                       const struct load_shape *shape, const struct options *o, FILE *out,
                       const struct bench_host *host)
{
    struct bench_json json;
    bench_json_begin(&json, out, o->contest->name, host);
    bench_json_str(&json, "server", lane->server->name);
    bench_json_str(&json, "base", o->base);
    bench_json_bool(&json, "control", lane->control);
    bench_json_bool(&json, "void", is_void);
    bench_json_int(&json, "connections", shape->connections);
    bench_json_int(&json, "size", shape->size);
    bench_json_int(&json, "depth", shape->depth);
    bench_json_int(&json, "rounds", o->rounds);
    bench_json_num(&json, "cpu_ns", s->cpu_ns);
    bench_json_interval(&json, "cpu_ratio", s->cpu);
    bench_json_interval(&json, "wall_ratio", s->wall);
    bench_json_num(&json, "messages_per_s", s->per_s);
    bench_json_num(&json, "p50_us", s->us[P50]);
    bench_json_num(&json, "p99_us", s->us[P99]);
    bench_json_num(&json, "p999_us", s->us[P999]);
    bench_json_end(&json);
}

static void report(const struct lane *lanes, size_t len, const struct load_shape *shape,
                   const struct options *o, FILE *out, const struct bench_host *host)
{
    const struct lane *base = NULL, *control = &lanes[len - 1];
    for (size_t i = 0; i + 1 < len; i++)
        if (strcmp(lanes[i].server->name, o->base) == 0) base = &lanes[i];
    bool is_void = !bench_aa_holds(bench_ratio(&control->lane, &base->lane, BENCH_CPU, o->rounds));
    printf("  %-20s %7s  %-23s  %9s %8s %8s %8s\n", "server", "CPU ns", "CPU / base  [95%]",
           "msg/s", "p50 us", "p99", "p99.9");
    for (size_t i = 0; i < len; i++) {
        if (!lanes[i].here) {
            printf("  %-20s not built: ./dev deps has its package\n", lanes[i].server->name);
            continue;
        }
        struct summary s = summarise(&lanes[i], base, o->rounds);
        print(&lanes[i], &s, is_void);
        write_json(&lanes[i], &s, is_void, shape, o, out, host);
    }
    fflush(stdout);
}

static void measure_shape(const struct load_shape *shape, const struct options *o, FILE *out,
                          const struct bench_host *host)
{
    static struct lane lanes[LANES_MAX];
    uint64_t           window_ns = o->window_us * UINT64_C(1000);
    size_t             len = list_lanes(lanes, o);
    pid_t              spinners[2] = {0, 0};
    if (window_ns < shape->connections * UINT64_C(80000))
        window_ns = shape->connections * UINT64_C(80000);
    printf("\n%u connection%s, %u bytes, %u in flight on each, windows of %.0f ms\n",
           shape->connections, shape->connections == 1 ? "" : "s", shape->size, shape->depth,
           (double)window_ns / 1e6);
    fflush(stdout);
    for (size_t i = 0; i < len; i++) allocate_lane(&lanes[i], o->rounds);
    if (shape->connections == 1) {
        spinners[0] = spin_on(o->server_cpu);
        spinners[1] = spin_on(o->load_cpu);
    }
    unsigned life = (o->rounds + o->parts - 1) / o->parts;
    for (unsigned from = 0; from < o->rounds; from += life) {
        struct bench_lane *at[LANES_MAX];
        size_t             here = 0;
        /* One after the other: they would take each other's time, and a backlog is finite. */
        for (size_t i = 0; i < len; i++) {
            struct lane *lane = &lanes[from / life % 2 == 1 ? len - 1 - i : i];
            open_lane(lane, shape, o);
            wait_open(lane);
        }
        for (size_t i = 0; i < len; i++)
            if (lanes[i].here) at[here++] = &lanes[i].lane;
        bench_rounds(at, here, window_ns, from, from + life < o->rounds ? from + life : o->rounds);
        for (size_t i = 0; i < len; i++) close_lane(&lanes[i]);
    }
    for (int i = 0; i < 2; i++)
        if (spinners[i] > 0) end_child(spinners[i]);
    report(lanes, len, shape, o, out, host);
    for (size_t i = 0; i < len; i++) free_lane(&lanes[i]);
}

int contest_main(const struct contest *contest, int argc, char **argv)
{
    struct options    o = parse(contest, argc, argv);
    struct bench_host host;
    FILE             *out = o.json ? fopen(o.json, "a") : NULL;
    if (o.json && !out) bench_die_errno(o.json);
    bench_host_get(&host);
    bench_raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    o.server_cpu = bench_pin(BENCH_CPU_LAST);
    o.load_cpu = o.server_cpu > 0 ? 0 : o.server_cpu;
    bench_pin(o.load_cpu);
    printf("%s: %s, %d CPUs (servers on %d, load on %d), Linux %s, commit %s\n", contest->name,
           host.machine, host.cpus, o.server_cpu, o.load_cpu, host.kernel, host.commit);
    printf("%u rounds, interleaved; void is decided on the servers' CPU time\n", o.rounds);
    for (unsigned d = 0; d < o.depths.len; d++)
        for (unsigned s = 0; s < o.sizes.len; s++)
            for (unsigned c = 0; c < o.connections.len; c++)
                measure_shape(&(struct load_shape){.connections = o.connections.at[c],
                                                   .size = o.sizes.at[s],
                                                   .depth = o.depths.at[d]},
                              &o, out, &host);
    if (out) fclose(out);
    return 0;
}
