/* bench/copy: what does copying a file to a socket cost, beside sendfile by hand?  With --stream: copying from a
 * socket to a socket, beside splice by hand?
 *
 * A file that is in the page cache goes over a TCP connection of the loopback to a process that throws it
 * away (MSG_TRUNC).  By hand: a blocking socket and a loop around sendfile, the least there is.  Each round
 * is the whole file once for each lane.  What counts is the CPU time of all that take part: on a loopback the
 * kernel does the receiving in whoever is there just then, sender or receiver, and so does not tell their
 * costs apart.  They share a CPU, so that where each one runs makes no difference either.
 *
 * A stream: a process writes as fast as it can; by hand: poll, and splice into a pipe and out of it until that
 * is empty.
 *
 *   bench/copy [--stream] [--mib 1024] [--rounds 20] [--parts 2] [--json FILE] */
#include "lib/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <proactor.h>

static uint64_t file_len;
static int      file;
static bool     is_stream;

enum { TUBE = 256 << 10 }; /* what the library asks for, too */

struct connection {
    uint64_t (*go)(struct connection *c, uint64_t window_ns); /* returns MiB */
    int        fd;
    pid_t      drain;
    pro_loop  *loop; /* NULL: by hand */
    pro_socket sock;
    pro_op     op;
    pro_copy   copy;

    /* Of a stream. */
    int        from, tube[2];
    pid_t      spring;
    pro_socket source;
    pro_flow   flow;
};

/* ---- The other side ---------------------------------------------------------------------------- */

static _Noreturn void drain(int fd)
{
    static char buf[1 << 20];
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, MSG_TRUNC);
        if (n == 0 || (n < 0 && errno != EINTR)) _exit(0);
    }
}

/* Writes until it is killed; what nobody takes stays with it. */
static _Noreturn void spring(int fd)
{
    static char buf[1 << 20];
    for (;;)
        if (write(fd, buf, sizeof buf) < 0 && errno != EINTR) _exit(0);
}

/* A connection to a process that does this; our end. */
static int connect_to(void (*fn)(int fd), pid_t *pid)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof at;
    int                listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, len) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&at, &len))
        bench_die_errno("listen");
    *pid = fork();
    if (*pid < 0) bench_die_errno("fork");
    if (*pid == 0) fn(accept(listener, NULL, NULL));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, len)) bench_die_errno("connect");
    close(listener);
    return fd;
}

/* ---- The lanes --------------------------------------------------------------------------------- */

/* The whole file, or to get warm (bench_rounds: a fifth of the window) a part of it. */
static uint64_t len_of(uint64_t window_ns)
{
    const uint64_t part = 32 << 20;
    return window_ns || file_len < part ? file_len : part;
}

static uint64_t by_hand(struct connection *c, uint64_t window_ns)
{
    off_t    at = 0;
    uint64_t len = len_of(window_ns);
    while ((uint64_t)at < len) {
        ssize_t n = sendfile(c->fd, file, &at, len - (uint64_t)at);
        if (n <= 0 && errno != EINTR) bench_die_errno("sendfile");
    }
    return len >> 20;
}

static void on_copied(pro_op *op)
{
    if (op->error != PRO_OK) bench_die("copy: %s", pro_error_text(op->error));
}

static uint64_t by_library(struct connection *c, uint64_t window_ns)
{
    c->copy.file = file;
    c->copy.len = len_of(window_ns);
    pro_copy_file(&c->op, &c->sock, &c->copy, on_copied);
    pro_loop_run(c->loop);
    if (c->copy.copied != c->copy.len) bench_die("not all of it was copied");
    return c->copy.len >> 20;
}

static void wait_for(int fd, short events)
{
    struct pollfd look = {.fd = fd, .events = events};
    poll(&look, 1, -1);
}

static size_t splice_some(int from, int to, int fd, short events, uint64_t len)
{
    for (;;) {
        ssize_t n = splice(from, NULL, to, NULL, (size_t)len, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n > 0) return (size_t)n;
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) bench_die_errno("splice");
        wait_for(fd, events);
    }
}

static uint64_t stream_by_hand(struct connection *c, uint64_t window_ns)
{
    uint64_t len = len_of(window_ns), left = len;
    while (left > 0) {
        size_t in = splice_some(c->from, c->tube[1], c->from, POLLIN, left < TUBE ? left : TUBE);
        for (size_t held = in; held > 0;)
            held -= splice_some(c->tube[0], c->fd, c->fd, POLLOUT, held);
        left -= in;
    }
    return len >> 20;
}

static uint64_t stream_by_library(struct connection *c, uint64_t window_ns)
{
    c->flow.max = len_of(window_ns);
    pro_copy_stream(&c->op, &c->source, &c->sock, &c->flow, on_copied);
    pro_loop_run(c->loop);
    if (c->flow.copied != c->flow.max) bench_die("not all of it was copied");
    return c->flow.max >> 20;
}

static uint64_t cpu_of(pid_t pid)
{
    clockid_t       clock;
    struct timespec now = {0};
    if (pid && (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &now)))
        bench_die_errno("clock of a process");
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_of_all(const struct connection *c)
{
    return bench_process_cpu_ns() + cpu_of(c->drain) + cpu_of(c->spring);
}

static void measure(void *state, uint64_t window_ns, double ns_per_mib[BENCH_CLOCKS])
{
    struct connection *c = state;
    c->go(c, window_ns / 5);
    uint64_t wall = bench_now_ns(), cpu = cpu_of_all(c);
    uint64_t mib = c->go(c, window_ns);
    ns_per_mib[BENCH_CPU] = (double)(cpu_of_all(c) - cpu) / (double)mib;
    ns_per_mib[BENCH_WALL] = (double)(bench_now_ns() - wall) / (double)mib;
}

static const struct {
    const char *name;
    pro_engine  engine; /* PRO_ENGINE_AUTO: by hand */
} kinds[] = {{"by hand", PRO_ENGINE_AUTO},
             {"by hand, A/A", PRO_ENGINE_AUTO},
             {"lib-uring", PRO_ENGINE_URING},
             {"lib-epoll", PRO_ENGINE_EPOLL}};
enum { LANES = sizeof kinds / sizeof kinds[0] };

static void begin(struct connection *c, pro_engine engine)
{
    bool is_by_hand = engine == PRO_ENGINE_AUTO;
    if (is_stream)
        c->go = is_by_hand ? stream_by_hand : stream_by_library;
    else
        c->go = is_by_hand ? by_hand : by_library;
    c->fd = connect_to(drain, &c->drain);
    if (is_stream) c->from = connect_to(spring, &c->spring);
    if (is_by_hand && is_stream) {
        if (fcntl(c->from, F_SETFL, O_NONBLOCK) || fcntl(c->fd, F_SETFL, O_NONBLOCK) ||
            pipe(c->tube))
            bench_die_errno("stream");
        fcntl(c->tube[1], F_SETPIPE_SZ, TUBE);
    }
    if (is_by_hand) return;
    pro_loop_options options;
    pro_loop_options_init(&options);
    options.engine = engine;
    int error = pro_loop_new(&c->loop, &options);
    if (error == PRO_OK) error = pro_socket_adopt(&c->sock, c->loop, NULL, c->fd);
    if (error == PRO_OK && is_stream) error = pro_socket_adopt(&c->source, c->loop, NULL, c->from);
    if (error != PRO_OK) bench_die("loop: %s", pro_error_text(error));
}

static void end(struct connection *c)
{
    if (c->loop) {
        pro_scope_close(pro_loop_scope(c->loop));
        pro_loop_run(c->loop);
        if (pro_loop_free(c->loop) != PRO_OK) bench_die("something is left in the loop");
    } else {
        close(c->fd);
        if (is_stream) close(c->from), close(c->tube[0]), close(c->tube[1]);
    }
    kill(c->drain, SIGKILL); /* other drains have copies of this end */
    waitpid(c->drain, NULL, 0);
    if (is_stream) kill(c->spring, SIGKILL), waitpid(c->spring, NULL, 0);
    memset(c, 0, sizeof *c);
}

static void make_file(void)
{
    char        path[] = "/tmp/bench-copy-XXXXXX";
    static char block[1 << 20];
    file = mkstemp(path);
    if (file < 0) bench_die_errno(path);
    unlink(path);
    for (uint64_t at = 0; at < file_len; at += sizeof block)
        if (write(file, block, sizeof block) != (ssize_t)sizeof block) bench_die_errno("write");
}

int main(int argc, char **argv)
{
    static struct connection connections[LANES];
    struct bench_lane        lanes[LANES], *all[LANES];
    unsigned                 mib = 1024, rounds = 20, parts = 2;
    struct bench_json        json = {0};
    for (int i = 1; i < argc; i++) {
        const char *v;
        if (strcmp(argv[i], "--stream") == 0)
            is_stream = true;
        else if ((v = bench_option("--mib", argc, argv, &i)))
            mib = bench_number("--mib", v, 1, 65536);
        else if ((v = bench_option("--rounds", argc, argv, &i)))
            rounds = bench_number("--rounds", v, 2, 10000);
        else if ((v = bench_option("--parts", argc, argv, &i)))
            parts = bench_number("--parts", v, 1, 100);
        else if ((v = bench_option("--json", argc, argv, &i)))
            json.out = fopen(v, "a");
        else
            bench_die(
                "usage: bench/copy [--stream] [--mib N] [--rounds N] [--parts N] [--json FILE]");
    }
    file_len = (uint64_t)mib << 20;
    signal(SIGPIPE, SIG_IGN);
    bench_pin(0);
    if (!is_stream) make_file();
    for (int i = 0; i < LANES; i++) {
        lanes[i] = (struct bench_lane){.state = &connections[i], .measure = measure};
        bench_lane_init(&lanes[i], rounds);
        all[i] = &lanes[i];
    }
    for (unsigned part = 0; part < parts; part++) {
        for (int i = 0; i < LANES; i++) begin(&connections[i], kinds[i].engine);
        bench_rounds(all, LANES, 1, rounds * part / parts, rounds * (part + 1) / parts);
        for (int i = 0; i < LANES; i++) end(&connections[i]);
    }
    struct bench_host host;
    bench_host_get(&host);
    const char *from = is_stream ? "a socket" : "the page cache";
    printf("copy: %u MiB from %s to a socket, %u rounds; %s\n", mib, from, rounds, host.commit);
    printf("  %-16s %10s  %s\n", "lane", "us/MiB CPU", "CPU / by hand");
    for (int i = 0; i < LANES; i++) {
        struct bench_interval ratio = bench_ratio(&lanes[i], &lanes[0], BENCH_CPU, rounds);
        double                us = bench_median(lanes[i].ns_per_unit[BENCH_CPU], rounds) / 1000;
        printf("  %-16s %10.1f  %.3f [%.3f .. %.3f]\n", kinds[i].name, us, ratio.mid, ratio.lo,
               ratio.hi);
        bench_json_begin(&json, json.out, is_stream ? "copy_stream" : "copy", &host);
        bench_json_str(&json, "lane", kinds[i].name);
        bench_json_int(&json, "mib", mib);
        bench_json_num(&json, "us_per_mib_cpu", us);
        bench_json_interval(&json, "cpu_ratio", ratio);
        bench_json_end(&json);
    }
    struct bench_interval aa = bench_ratio(&lanes[1], &lanes[0], BENCH_CPU, rounds);
    if (!bench_aa_holds(aa)) puts("  VOID: two equal lanes differ by more than 1.5%");
    for (int i = 0; i < LANES; i++) bench_lane_fini(&lanes[i]);
    return 0;
}
