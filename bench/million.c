/* bench/million: how many connections does one process hold, and what does each cost?
 *
 * A server on the library (lib/crowd_server.c) and as many clients as the limit of descriptors asks for,
 * on this machine, over loopback. All connections are made, each with a first message there and back;
 * then, while all are held, memory is read, and a message goes through each of them again; then all
 * end, and nothing may be left. It succeeds only if every connection was held and echoed.
 *
 *     ./dev bench million                           one million: some 10 GiB, a minute on an idle machine
 *     ./dev bench million --connections 76000
 *     ./dev bench million --by-hand                 the server without the library: the floor
 *
 * What limits it: a process holds as many descriptors as its limit says (ulimit -n), a client so many
 * connections, and the server without fixed slots, too; with them each shard has a table of that size. Memory:
 * see NEED_EACH. What is too much is said in a line before anything begins. It takes a million ports
 * of 127.0.0.0/8, opens nothing to other machines, and changes no setting of the system.
 *
 * Exit status: 0 all held and echoed, and nothing left; 1 not; 2 usage. After SIGINT it closes all it has made,
 * in order, and leaves with 130. */
#include "lib/bench.h"
#include "lib/crowd.h"

#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    NEED_EACH = 2 * 5000 + 500, /* bytes for a connection: the kernel's for two ends, ours */
    NEED_SPARE = 512 << 20,
    DESCRIPTORS_SPARE = 64,
    USER_BYTES_MAX = 320,
    SOCKETS_OF_OTHERS = 2000, /* which other programs may make meanwhile */
    MANY = 50000, /* of fewer, and of shards with fewer, the idle server is much of the memory */
    MANY_A_SHARD = 10000
};

static const char *json;
static bool        is_test, by_descriptors;

/* ---- what came of it --------------------------------------------------------------------------- */

static double per(const struct crowd_run *run, double bytes)
{
    return bytes / run->plan.connections;
}

/* User memory: all that the server's process has more than before it began; or than before the first
 * connection came. */
static double each_in_all(const struct crowd_run *run)
{
    return per(run, (double)run->user_held - (double)run->user_before);
}

static double each_beyond_idle(const struct crowd_run *run)
{
    return per(run, (double)run->user_held - (double)run->user_ready);
}

static const char *kind(const struct crowd_run *run)
{
    return run->plan.by_hand                      ? "fixed slots, by hand"
           : run->plan.slots                      ? "fixed slots"
           : run->plan.engine == PRO_ENGINE_EPOLL ? "epoll, descriptors"
                                                  : "io_uring, descriptors";
}

/* By hand a connection is a number. */
static size_t program_size(const struct crowd_run *run)
{
    return run->plan.by_hand ? 0 : crowd_connection_size();
}

static double kernel_growth(const struct crowd_run *run)
{
    return (double)run->held.slab - (double)run->before.slab + (double)run->held.stacks -
           (double)run->before.stacks + (double)run->held.page_tables -
           (double)run->before.page_tables;
}

static void print_table(const struct crowd_run *run)
{
    const char *begin = is_test ? "report: " : "  ";
    unsigned    n = run->plan.connections;
    double      back = (double)run->after.slab - (double)run->before.slab;
    printf("%s%u connections, %u shards of %u places, %u client processes; %s\n", begin, n,
           run->plan.shards, run->plan.table, run->clients_len, run->engine);
    printf(
        "%sconnected in %.1f s (%.0f a second), echoed in %.1f s (%.0f a second), closed in %.1f s\n",
        begin, run->connect_s, n / run->connect_s, run->echo_s, n / run->echo_s, run->close_s);
    printf(
        "%suser memory: %.1f B a connection in all; %.1f beyond the idle server; the program's own %zu; "
        "the library allocated %.1f\n",
        begin, each_in_all(run), each_beyond_idle(run), program_size(run),
        per(run, (double)run->allocated_held));
    printf("%skernel memory: %.0f B an end; %.1f MiB in all, %.1f MiB when all had ended\n", begin,
           per(run, kernel_growth(run)) / 2, kernel_growth(run) / 1048576, back / 1048576);
    for (size_t i = 0; i < run->caches_len && i < 10 && !is_test; i++)
        if (per(run, (double)run->caches[i].bytes) >= 16)
            printf("    %-24s %7.0f B a connection\n", run->caches[i].name,
                   per(run, (double)run->caches[i].bytes));
    if (run->starved) printf("%s%u receives waited for a buffer\n", begin, run->starved);
}

static void write_json(const struct crowd_run *run)
{
    struct bench_host host;
    struct bench_json object;
    if (!json) return;
    FILE *out = fopen(json, "a");
    if (!out) bench_die_errno(json);
    bench_host_get(&host);
    bench_json_begin(&object, out, "million", &host);
    bench_json_str(&object, "kind", kind(run));
    bench_json_str(&object, "engine", run->engine);
    bench_json_int(&object, "connections", run->plan.connections);
    bench_json_int(&object, "shards", run->plan.shards);
    bench_json_int(&object, "table", run->plan.table);
    bench_json_int(&object, "clients", run->clients_len);
    bench_json_int(&object, "held", run->live_held);
    bench_json_int(&object, "echoed", run->echoed);
    bench_json_num(&object, "connect_s", run->connect_s);
    bench_json_num(&object, "echo_s", run->echo_s);
    bench_json_num(&object, "close_s", run->close_s);
    bench_json_int(&object, "program_bytes_each", program_size(run));
    bench_json_num(&object, "user_bytes", (double)(run->user_held - run->user_before));
    bench_json_num(&object, "user_idle_bytes", (double)(run->user_ready - run->user_before));
    bench_json_num(&object, "library_bytes", (double)run->allocated_held);
    bench_json_num(&object, "kernel_bytes", kernel_growth(run));
    bench_json_num(&object, "kernel_after_bytes",
                   (double)run->after.slab - (double)run->before.slab);
    for (size_t i = 0; i < run->caches_len && i < 12; i++) {
        char key[48];
        snprintf(key, sizeof key, "cache_%s", run->caches[i].name);
        bench_json_int(&object, key, run->caches[i].bytes);
    }
    bench_json_end(&object);
    fclose(out);
}

/* ---- verdict ----------------------------------------------------------------------------------- */

static void check(unsigned counts[2], const char *name, bool is_good, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void check(unsigned counts[2], const char *name, bool is_good, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    counts[!is_good]++;
    if (is_good) {
        printf("ok %s\n", name);
    } else {
        printf("FAIL %s: ", name);
        vprintf(format, args);
        putchar('\n');
    }
    va_end(args);
}

static int skip(const struct crowd_run *run)
{
    printf("skip million: %s\n0 passed, 0 failed, 1 skipped\n", run->why);
    return 0;
}

static int verdict(const struct crowd_run *run, bool went)
{
    unsigned counts[2] = {0, 0}, n = run->plan.connections;
    if (is_test && run->lacks) return skip(run);
    check(counts, "the_run", went && !run->why[0], "%s", run->why);
    if (went) {
        check(counts, "all_are_held", run->live_held == n && run->live_after == n,
              "the server held %u of %u, and %u after the echoes; it refused %u", run->live_held, n,
              run->live_after, run->refused);
        check(counts, "all_are_echoed", run->echoed == n && run->broken == 0,
              "%u of %u came back, %u sends failed", run->echoed, n, run->broken);
        check(counts, "nothing_is_left",
              run->handles_after == 0 && run->slots_after == 0 && run->allocated_after == 0,
              "%u handles, %u slots, %lld bytes of the library", run->handles_after,
              run->slots_after, (long long)run->allocated_after);
        unsigned sockets =
            run->after.sockets > run->before.sockets ? run->after.sockets - run->before.sockets : 0;
        check(counts, "kernel_has_its_sockets_back", sockets < n / 2 + SOCKETS_OF_OTHERS,
              "%u TCP sockets more than before", sockets);
        bool   is_much = n >= MANY && n / run->plan.shards >= MANY_A_SHARD;
        double each = is_much ? each_in_all(run) : each_beyond_idle(run);
        check(counts, "user_memory_is_within_its_goal", n < MANY || each <= USER_BYTES_MAX,
              "%.1f bytes a connection, goal %d", each, USER_BYTES_MAX);
    }
    printf("%u passed, %u failed\n", counts[0], counts[1]);
    return counts[1] != 0;
}

/* After a signal. */
static int ended_early(const struct crowd_run *run, bool went)
{
    unsigned connected = atomic_load(&run->plan.board->connected);
    if (went && run->handles_after == 0 && run->slots_after == 0 && run->allocated_after == 0)
        fprintf(stderr, "million: interrupted; %u were connected, all are closed\n", connected);
    else
        fprintf(stderr, "million: interrupted; %u were connected; %u handles, %u slots left %s\n",
                connected, run->handles_after, run->slots_after, run->why);
    return 128 + run->interrupted;
}

/* ---- what there is room for -------------------------------------------------------------------- */

static unsigned descriptors(void)
{
    struct rlimit limit;
    bench_raise_descriptor_limit();
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) bench_die_errno("getrlimit");
    return limit.rlim_cur > 1u << 20 ? 1u << 20 : (unsigned)limit.rlim_cur;
}

/* Connections are spread over shards by a hash: how many one of n must have place for, six standard
 * deviations above the mean. */
static unsigned places(unsigned connections, unsigned shards)
{
    double mean = (double)connections / shards;
    if (shards == 1) return connections;
    return (unsigned)ceil(mean + 6 * sqrt(mean)) + 8;
}

static unsigned system_number(const char *path, unsigned otherwise)
{
    unsigned value = otherwise;
    FILE    *file = fopen(path, "r");
    if (!file) return otherwise;
    if (fscanf(file, "%u", &value) != 1) value = otherwise;
    fclose(file);
    return value;
}

static bool port_is_free(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool is_free =
        fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0;
    close(fd);
    return is_free;
}

/* How it is to be done; or why it cannot be, in why. */
static bool prepare(struct crowd_run *run)
{
    struct crowd_plan *plan = &run->plan;
    unsigned           n = plan->connections, cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    unsigned           limit = descriptors();
    uint64_t           need = (uint64_t)n * NEED_EACH + NEED_SPARE;
    crowd_kernel_get(&run->before);
    if (limit < 4 * DESCRIPTORS_SPARE)
        return crowd_run_fail(run, "the limit of %u descriptors is too low: ulimit -n", limit);
    if (run->before.available < need)
        return crowd_run_fail(run, "%u connections need some %.1f GiB, %.1f are available", n,
                              (double)need / (1 << 30), (double)run->before.available / (1 << 30));
    if (plan->port && !port_is_free(plan->port))
        return crowd_run_fail(run, "port %u is in use", plan->port);

    plan->slots = plan->engine == PRO_ENGINE_URING && !by_descriptors;
    if (plan->shards == 0)
        for (plan->shards = cpus; plan->slots && places(n, plan->shards) > limit;) plan->shards++;
    plan->table = places(n, plan->shards);
    if (plan->shards > CROWD_SHARDS_MAX)
        return crowd_run_fail(run, "%u connections take more than %d shards: ulimit -n", n,
                              CROWD_SHARDS_MAX);
    if (plan->slots ? plan->table > limit : n + DESCRIPTORS_SPARE + 4 * plan->shards > limit)
        return crowd_run_fail(run, "the limit of %u descriptors is too low for %u connections%s",
                              limit, n, plan->slots ? " on so few shards" : " without fixed slots");

    unsigned each = limit - DESCRIPTORS_SPARE;
    run->clients_len = (n + each - 1) / each;
    if (run->clients_len < run->parallel) run->clients_len = n < run->parallel ? n : run->parallel;
    if (run->clients_len > CROWD_CLIENTS_MAX)
        return crowd_run_fail(run, "%u client processes are more than %d: ulimit -n",
                              run->clients_len, CROWD_CLIENTS_MAX);
    run->clients = calloc(run->clients_len, sizeof *run->clients);
    run->parts = calloc(run->clients_len, sizeof *run->parts);
    if (!run->clients || !run->parts) return crowd_run_fail(run, "no memory");

    /* What is on its way must fit into the backlog of a single listener, for all we know. */
    unsigned batch = system_number("/proc/sys/net/core/somaxconn", 128) / 2 / run->parallel;
    if (batch > 512) batch = 512;
    for (unsigned i = 0; i < run->clients_len; i++) run->parts[i].batch = batch ? batch : 1;
    return true;
}

static void usage(int status)
{
    fputs(
        "usage: bench/million [--connections 1000000] [--engine uring|epoll] [--descriptors]\n"
        "           [--by-hand] [--shards N] [--port P] [--parallel CLIENTS] [--json FILE] [--test]\n",
        stderr);
    exit(status);
}

static void read_options(struct crowd_run *run, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--connections", argc, argv, &i)))
            run->plan.connections = bench_number("--connections", v, 1, CROWD_CONNECTIONS_MAX);
        else if ((v = bench_option("--engine", argc, argv, &i))) {
            bool is_uring = strcmp(v, "uring") == 0;
            if (!is_uring && strcmp(v, "epoll") != 0) usage(2);
            run->plan.engine = is_uring ? PRO_ENGINE_URING : PRO_ENGINE_EPOLL;
        } else if ((v = bench_option("--shards", argc, argv, &i)))
            run->plan.shards = bench_number("--shards", v, 1, CROWD_SHARDS_MAX);
        else if ((v = bench_option("--port", argc, argv, &i)))
            run->plan.port = (uint16_t)bench_number("--port", v, 1, 65535);
        else if ((v = bench_option("--parallel", argc, argv, &i)))
            run->parallel = bench_number("--parallel", v, 1, 256);
        else if ((v = bench_option("--json", argc, argv, &i)))
            json = v;
        else if (strcmp(argv[i], "--descriptors") == 0)
            by_descriptors = true;
        else if (strcmp(argv[i], "--by-hand") == 0)
            run->plan.by_hand = true;
        else if (strcmp(argv[i], "--test") == 0)
            is_test = true;
        else
            usage(strcmp(argv[i], "--help") == 0 ? 0 : 2);
    }
}

int main(int argc, char **argv)
{
    static struct crowd_run run = {.plan = {.connections = 1000000, .engine = PRO_ENGINE_URING}};
    run.parallel = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    read_options(&run, argc, argv);
    if (run.plan.by_hand && (by_descriptors || run.plan.engine != PRO_ENGINE_URING)) usage(2);
    setvbuf(stdout, NULL, _IOLBF, 0); /* our children shall not have it twice */
    run.plan.board = crowd_board_new();
    if (!prepare(&run)) {
        if (is_test) return skip(&run);
        bench_die("million: %s", run.why);
    }
    bool went = crowd_drive(&run);
    if (run.interrupted) return ended_early(&run, went);
    if (went) {
        print_table(&run);
        write_json(&run);
    }
    return verdict(&run, went);
}
