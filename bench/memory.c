/* bench/memory: what does an idle connection hold?
 *
 * 10,000 connections, Unix socket pairs of which the library has one end, each waiting to receive,
 * after a message has come through each. Resident memory of the process, per connection, less that
 * of the same process with its sockets and before; each row is a process of its own, twice.
 *
 *   by hand     a descriptor in an epoll set and a pointer: what nobody can do without
 *   callback    one allocation with a scope, a socket, an operation
 *   coroutine   one with a scope and a socket, and a coroutine that awaits
 *
 * The stackless form is the callback row and four bytes. Buffers are the program's choice, so all
 * share one here; a coroutine that keeps a buffer of 4 KiB on its stack holds a page more
 * (bench/coroutine). What the kernel holds for a socket is the same for all and not in the figure. */
#include "lib/bench.h"

#include <proactor.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct plain {
    pro_scope  scope;
    pro_socket sock;
};

struct with_op {
    struct plain plain;
    pro_op       op;
};

static char     common[4096];
static unsigned received;

static uint64_t resident_bytes(void)
{
    unsigned long total, resident = 0;
    FILE         *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2) bench_die("no /proc/self/statm");
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the rows -------------------------------------------------------------------------------- */

static void *allocated(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) bench_die("out of memory");
    return memory;
}

static void on_received(pro_op *op)
{
    struct with_op *s = op->user;
    if (op->error != PRO_OK) return;
    received++;
    pro_recv(op, &s->plain.sock, common, sizeof common, on_received);
}

static void receive(void *arg)
{
    pro_socket *sock = arg;
    while (pro_await_recv(sock, common, sizeof common) > 0) received++;
}

static void begin(pro_loop *loop, struct plain *plain, int fd)
{
    pro_scope_init(&plain->scope, loop, NULL, NULL);
    if (pro_socket_adopt(&plain->sock, loop, &plain->scope, fd) != PRO_OK) bench_die("adopt");
}

static void add_callback(pro_loop *loop, int fd)
{
    struct with_op *s = allocated(sizeof *s);
    begin(loop, &s->plain, fd);
    s->op.user = s;
    pro_recv(&s->op, &s->plain.sock, common, sizeof common, on_received);
}

static void add_coroutine(pro_loop *loop, int fd)
{
    struct plain *s = allocated(sizeof *s);
    begin(loop, s, fd);
    if (pro_go(&s->scope, receive, &s->sock, NULL) != PRO_OK) bench_die("pro_go failed");
}

static void run_library(pro_engine engine, void (*add)(pro_loop *loop, int fd), const int *fds,
                        unsigned count)
{
    pro_loop_options o;
    pro_loop        *loop;
    pro_loop_options_init(&o);
    o.engine = engine;
    if (pro_loop_new(&loop, &o) != PRO_OK) bench_die("no loop");
    for (unsigned i = 0; i < count; i++) add(loop, fds[i]);
    while (received < count)
        if (pro_loop_run_once(loop) < 0) bench_die("the loop failed");
}

static void run_by_hand(const int *fds, unsigned count)
{
    int                 set = epoll_create1(EPOLL_CLOEXEC), got;
    struct epoll_event *events = allocated(64 * sizeof *events);
    void              **user = allocated(count * sizeof *user);
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = user[i] = &user[i]};
        if (epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &event) != 0) bench_die_errno("epoll_ctl");
    }
    while (received < count && (got = epoll_wait(set, events, 64, -1)) > 0)
        for (int i = 0; i < got; i++) {
            unsigned at = (unsigned)((void **)events[i].data.ptr - user);
            received += read(fds[at], common, sizeof common) > 0;
        }
}

/* ---- a process each -------------------------------------------------------------------------- */

static const struct row {
    const char *name;
    pro_engine  engine;
    void (*add)(pro_loop *loop, int fd); /* NULL: by hand */
} rows[] = {
    {"by hand, epoll", PRO_ENGINE_EPOLL, NULL},
    {"callback, epoll", PRO_ENGINE_EPOLL, add_callback},
    {"callback, io_uring", PRO_ENGINE_URING, add_callback},
    {"coroutine, epoll", PRO_ENGINE_EPOLL, add_coroutine},
    {"coroutine, io_uring", PRO_ENGINE_URING, add_coroutine},
};

/* The other ends, each with a message sent, live in processes that do nothing else: 10,000 connections
 * are within a limit of 20,000 descriptors then. */
static void hold_peers(const int *peers, unsigned count)
{
    pid_t child = fork();
    if (child < 0) bench_die_errno("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    for (unsigned i = 0; i < count; i++) close(peers[i]);
}

static void connect_all(int *fds, unsigned count)
{
    static int     peers[4096];
    const unsigned at_once = sizeof peers / sizeof peers[0];
    for (unsigned i = 0; i < count; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
            bench_die_errno("socketpair");
        if (write(pair[1], "message", 7) != 7) bench_die_errno("write");
        fds[i] = pair[0];
        peers[i % at_once] = pair[1];
        if ((i + 1) % at_once == 0 || i + 1 == count) hold_peers(peers, i % at_once + 1);
    }
}

static double bytes_each(const struct row *row, unsigned count)
{
    int *fds = allocated(count * sizeof *fds);
    connect_all(fds, count);
    uint64_t before = resident_bytes();
    if (row->add)
        run_library(row->engine, row->add, fds, count);
    else
        run_by_hand(fds, count);
    return (double)(resident_bytes() - before) / count;
}

static double in_a_process(const struct row *row, unsigned count)
{
    int    ends[2], status;
    double each = 0;
    if (pipe(ends) != 0) bench_die_errno("pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) bench_die_errno("fork");
    if (child == 0) {
        each = bytes_each(row, count);
        _exit(write(ends[1], &each, sizeof each) == sizeof each ? 0 : 1);
    }
    close(ends[1]);
    if (waitpid(child, &status, 0) != child || status != 0) bench_die("%s failed", row->name);
    if (read(ends[0], &each, sizeof each) != sizeof each) bench_die_errno("read");
    close(ends[0]);
    return each;
}

int main(int argc, char **argv)
{
    unsigned    count = 10000;
    const char *json = NULL;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--count", argc, argv, &i)))
            count = bench_number("--count", v, 1, 500000);
        else if ((v = bench_option("--json", argc, argv, &i)))
            json = v;
        else {
            fputs("usage: bench/memory [--count 10000] [--json FILE]\n", stderr);
            return strcmp(argv[i], "--help") == 0 ? 0 : 2;
        }
    }
    struct bench_host host;
    FILE             *out = json ? fopen(json, "a") : NULL;
    if (json && !out) bench_die_errno(json);
    bench_host_get(&host);
    bench_raise_descriptor_limit();
    printf("memory: Linux %s, commit %s; resident bytes for each of %u idle connections\n",
           host.kernel, host.commit, count);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double once = in_a_process(&rows[i], count), again = in_a_process(&rows[i], count);
        printf("  %-22s %8.0f   again %8.0f\n", rows[i].name, once, again);
        struct bench_json object;
        bench_json_begin(&object, out, "memory", &host);
        bench_json_str(&object, "what", rows[i].name);
        bench_json_int(&object, "count", count);
        bench_json_num(&object, "bytes_each", once);
        bench_json_num(&object, "again", again);
        bench_json_end(&object);
    }
    printf("  of which a scope is %zu, a socket %zu, an operation %zu; a stackless place %zu\n",
           sizeof(pro_scope), sizeof(pro_socket), sizeof(pro_op), sizeof(pro_place));
    if (out) fclose(out);
    return 0;
}
