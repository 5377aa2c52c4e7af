/* bench/zerocopy: from which size on does a send that is not copied cost less?
 *
 * Sends of one size, a MiB of them at a time and four at least (with less in flight the notifications wait for
 * acknowledgements that the other side delays), go over a TCP connection to a process that throws the bytes away
 * (MSG_TRUNC): pro_send_all, twice, beside pro_send_zerocopy; a unit is a MiB, what counts is CPU time of
 * this process.  Over the loopback the kernel copies in any case.  With --veth it is a pair of virtual devices
 * between two network namespaces, made here and gone with us (root only); whether the kernel copied there is
 * in the table.
 *
 *   bench/zerocopy [--veth] [--rounds 20] [--json FILE] */
#include "lib/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proactor.h>

enum { DEPTH = 256, LANES = 3, MIB = 1 << 20 };

static const size_t sizes[] = {4096, 16384, 32768, 65536, 131072, 262144, 1048576};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static const char *const names[LANES] = {"copied", "copied, A/A", "zero-copy"};

struct connection {
    int        fd;
    pid_t      sink;
    pro_loop  *loop;
    pro_socket sock;
    pro_op     ops[DEPTH];
    char      *memory[DEPTH];
    size_t     size;
    int        depth;
    bool       zerocopy;
    int64_t    left; /* bytes to initiate */
};

static bool           veth;
static struct in_addr here; /* where the sinks connect to */

/* ---- The other side ---------------------------------------------------------------------------- */

static void run(const char *command)
{
    if (system(command) != 0) bench_die("failed: %s", command);
}

/* Two namespaces: ours, new, and that of a process which only waits; all sinks live there. */
static void make_veth(void)
{
    char line[200];
    int  ready[2], told[2];
    char byte = 0;
    if (unshare(CLONE_NEWNET) || pipe(ready) || pipe(told)) bench_die_errno("namespaces (root?)");
    pid_t other = fork();
    if (other < 0) bench_die_errno("fork");
    if (other == 0) {
        if (unshare(CLONE_NEWNET) || write(ready[1], &byte, 1) != 1) _exit(1);
        close(told[1]);
        _exit(read(told[0], &byte, 1) != 0); /* as long as we live */
    }
    if (read(ready[0], &byte, 1) != 1) bench_die("no second namespace");
    snprintf(line, sizeof line, "ip link add va type veth peer name vb netns %d", (int)other);
    run(line);
    run("ip addr add 10.9.8.1/24 dev va && ip link set va up");
    snprintf(line, sizeof line,
             "nsenter -t %d -n sh -c 'ip addr add 10.9.8.2/24 dev vb && ip link set vb up'",
             (int)other);
    run(line);
    snprintf(line, sizeof line, "/proc/%d/ns/net", (int)other);
    setenv("BENCH_SINK_NS", line, 1);
    here.s_addr = inet_addr("10.9.8.1");
}

static _Noreturn void sink(struct sockaddr_in at)
{
    static char buf[MIB];
    int         fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at)) _exit(1);
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, MSG_TRUNC);
        if (n == 0 || (n < 0 && errno != EINTR)) _exit(0);
    }
}

/* The sink connects, since it is the one that changes its namespace. */
static void connect_to_sink(struct connection *c)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = here};
    socklen_t          len = sizeof at;
    int                listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, len) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&at, &len))
        bench_die_errno("listen");
    c->sink = fork();
    if (c->sink < 0) bench_die_errno("fork");
    if (c->sink == 0) {
        const char *path = getenv("BENCH_SINK_NS");
        FILE       *ns = path ? fopen(path, "r") : NULL;
        if (path && (!ns || setns(fileno(ns), CLONE_NEWNET))) _exit(1);
        sink(at);
    }
    c->fd = accept(listener, NULL, NULL);
    if (c->fd < 0) bench_die_errno("accept");
    close(listener);
}

/* ---- The lanes --------------------------------------------------------------------------------- */

static void on_sent(pro_op *op);

static void send_next(struct connection *c, pro_op *op)
{
    if (c->left <= 0) return;
    c->left -= (int64_t)c->size;
    char *buf = c->memory[op - c->ops];
    if (c->zerocopy)
        pro_send_zerocopy(op, &c->sock, buf, c->size, on_sent);
    else
        pro_send_all(op, &c->sock, buf, c->size, on_sent);
}

static void on_sent(pro_op *op)
{
    if (op->error != PRO_OK) bench_die("send: %s", pro_error_text(op->error));
    send_next(op->user, op);
}

static uint64_t go(void *state, uint64_t window_ns)
{
    struct connection *c = state;
    int64_t            len = window_ns > 1000000 ? 64 * MIB : 8 * MIB;
    c->left = len;
    for (int i = 0; i < c->depth; i++) send_next(c, &c->ops[i]);
    pro_loop_run(c->loop);
    return (uint64_t)len / MIB;
}

static void begin(struct connection *c, size_t size, bool zerocopy)
{
    connect_to_sink(c);
    pro_loop_options options = {
        .version = PRO_VERSION, .engine = PRO_ENGINE_URING, .zerocopy_min = 1};
    int error = pro_loop_new(&c->loop, &options);
    if (error == PRO_OK) error = pro_socket_adopt(&c->sock, c->loop, NULL, c->fd);
    if (error != PRO_OK) bench_die("loop: %s", pro_error_text(error));
    c->size = size;
    c->zerocopy = zerocopy;
    c->depth = size * 4 < MIB ? (int)(MIB / size) : 4;
    for (int i = 0; i < c->depth; i++) {
        c->ops[i] = (pro_op){.user = c};
        c->memory[i] = aligned_alloc(4096, size);
        if (!c->memory[i]) bench_die("no memory");
        memset(c->memory[i], i, size);
    }
}

static void on_closed(pro_op *op) { (void)op; }

static void end(struct connection *c, pro_loop_stats *stats)
{
    pro_loop_stats_get(c->loop, stats);
    pro_close(&c->ops[0], &c->sock, on_closed);
    pro_loop_run(c->loop);
    if (pro_loop_free(c->loop) != PRO_OK) bench_die("something is left in the loop");
    for (int i = 0; i < c->depth; i++) free(c->memory[i]);
    kill(c->sink, SIGKILL);
    waitpid(c->sink, NULL, 0);
    memset(c, 0, sizeof *c);
}

int main(int argc, char **argv)
{
    unsigned          rounds = 20;
    struct bench_json json = {0};
    struct bench_host host;
    here.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 1; i < argc; i++) {
        const char *v;
        if (strcmp(argv[i], "--veth") == 0)
            veth = true;
        else if ((v = bench_option("--rounds", argc, argv, &i)))
            rounds = bench_number("--rounds", v, 2, 10000);
        else if ((v = bench_option("--json", argc, argv, &i)))
            json.out = fopen(v, "a");
        else
            bench_die("usage: bench/zerocopy [--veth] [--rounds N] [--json FILE]");
    }
    signal(SIGPIPE, SIG_IGN);
    if (veth) make_veth();
    bench_host_get(&host);
    printf("zerocopy: sends over %s, %u rounds; %s\n", veth ? "a veth pair" : "the loopback",
           rounds, host.commit);
    printf("  %-8s %-14s %10s  %-24s %s\n", "bytes", "lane", "us/MiB CPU", "CPU / copied",
           "copied by the kernel");
    for (int s = 0; s < SIZES; s++) {
        static struct connection connections[LANES];
        struct bench_lane        lanes[LANES], *all[LANES];
        pro_loop_stats           stats[LANES];
        for (int i = 0; i < LANES; i++) {
            lanes[i] =
                (struct bench_lane){.state = &connections[i], .run_for = go, .has_threads = true};
            bench_lane_init(&lanes[i], rounds);
            all[i] = &lanes[i];
            begin(&connections[i], sizes[s], i == LANES - 1);
        }
        bench_rounds(all, LANES, 10000000, 0, rounds);
        for (int i = 0; i < LANES; i++) end(&connections[i], &stats[i]);
        for (int i = 0; i < LANES; i++) {
            struct bench_interval ratio = bench_ratio(&lanes[i], &lanes[0], BENCH_CPU, rounds);
            double                us = bench_median(lanes[i].ns_per_unit[BENCH_CPU], rounds) / 1000;
            printf("  %-8zu %-14s %10.1f  %.3f [%.3f .. %.3f]    %llu of %llu\n", sizes[s],
                   names[i], us, ratio.mid, ratio.lo, ratio.hi,
                   (unsigned long long)stats[i].zerocopy_copied,
                   (unsigned long long)stats[i].zerocopy_sends);
            bench_json_begin(&json, json.out, "zerocopy", &host);
            bench_json_str(&json, "lane", names[i]);
            bench_json_int(&json, "veth", veth);
            bench_json_int(&json, "bytes", sizes[s]);
            bench_json_num(&json, "us_per_mib_cpu", us);
            bench_json_interval(&json, "cpu_ratio", ratio);
            bench_json_end(&json);
        }
        struct bench_interval aa = bench_ratio(&lanes[1], &lanes[0], BENCH_CPU, rounds);
        if (!bench_aa_holds(aa)) puts("  VOID: two equal lanes differ by more than 1.5%");
        for (int i = 0; i < LANES; i++) bench_lane_fini(&lanes[i]);
    }
    return 0;
}
