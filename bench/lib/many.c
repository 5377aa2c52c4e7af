/* The subjects, and their processes; see many.h. */
#include "many.h"

#include "bench.h"
#include "hop.h"
#include "many_subjects.h"

#include <errno.h>
#include <proactor.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- connections ------------------------------------------------------------------------------ */

static void *connections(const struct many_subject *subject, unsigned size, char *why,
                         size_t why_size)
{
    struct hop_shape shape = {.transport = HOP_UNIX, .pairs = size, .size = 64};
    struct hop_run  *run = calloc(1, sizeof *run);
    if (!run) bench_die("out of memory");
    return hop_run_init(run, hop_variant_find(subject->name), &shape, why, why_size) == 0 ? run
                                                                                          : NULL;
}

static uint64_t hop(void *state, uint64_t units_min)
{
    struct hop_run *run = state;
    return run->variant->run(run->state, units_min);
}

/* ---- coroutines ------------------------------------------------------------------------------- */

struct coroutines {
    pro_loop *loop;
    uint64_t  units;
};

static void yield_for_ever(void *arg)
{
    struct coroutines *c = arg;
    for (;;) {
        c->units++;
        if (pro_yield() != PRO_OK) return;
    }
}

static void *coroutines(const struct many_subject *subject, unsigned size, char *why,
                        size_t why_size)
{
    (void)subject;
    struct coroutines *c = calloc(1, sizeof *c);
    if (!c) bench_die("out of memory");
    int error = pro_loop_new(&c->loop, NULL);
    for (unsigned i = 0; i < size && !error; i++)
        error = pro_go(pro_loop_scope(c->loop), yield_for_ever, c, NULL);
    if (!error) return c;
    snprintf(why, why_size, "%s", pro_error_name(error));
    return NULL;
}

static uint64_t yield(void *state, uint64_t units_min)
{
    struct coroutines *c = state;
    c->units = 0;
    while (c->units < units_min) pro_loop_poll(c->loop);
    return c->units;
}

/* ---- the table -------------------------------------------------------------------------------- */

/* clang-format off */
#define PAIRS {10, 100, 1000, 9900}
#define RING_PAIRS {10, 100, 1000, 4000} /* more than a queue or a pool of buffers has places */
#define TIMERS {1000, 10000, 100000, 1000000}
/* clang-format on */

const struct many_subject many_subjects[] = {
    {"raw-uring", "hop", RING_PAIRS, connections, hop},
    {"lib-uring", "hop", PAIRS, connections, hop},
    {"leases-uring", "hop", RING_PAIRS, connections, hop},
    {"raw-epoll", "hop", PAIRS, connections, hop},
    {"lib-epoll", "hop", PAIRS, connections, hop},
    {"timer-rearm", "re-arm", TIMERS, many_timers, many_timers_rearm},
    {"timer-hot", "re-arm", TIMERS, many_timers, many_timers_rearm},
    {"timer-expire", "expiry", TIMERS, many_timers, many_timers_expire},
    {"uv-rearm", "re-arm", TIMERS, many_uv_timers, many_uv_timers_rearm},
    {"uv-hot", "re-arm", TIMERS, many_uv_timers, many_uv_timers_rearm},
    {"coroutine", "yield", {1, 10, 100, 1000, 10000, 100000}, coroutines, yield},
    {.name = NULL},
};

const struct many_subject *many_find(const char *name)
{
    for (const struct many_subject *s = many_subjects; s->name; s++)
        if (strcmp(s->name, name) == 0) return s;
    return NULL;
}

void many_list(FILE *to)
{
    fputs("subjects:\n", to);
    for (const struct many_subject *s = many_subjects; s->name; s++) {
        fprintf(to, "  %-14s", s->name);
        for (const unsigned *size = s->sizes; *size; size++) fprintf(to, " %u", *size);
        fputc('\n', to);
    }
}

/* ---- processes -------------------------------------------------------------------------------- */

struct many_child {
    pid_t pid;
    int   ask, answer; /* pipes: a window in ns; a measured */
};

struct measured {
    double ns_per_unit[BENCH_CLOCKS];
};

static bool read_whole(int fd, void *buf, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = read(fd, (char *)buf + got, len - got);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        got += (size_t)n;
    }
    return true;
}

static uint64_t run_for(const struct many_subject *subject, void *state, uint64_t window_ns)
{
    uint64_t end = bench_now_ns() + window_ns, units = 0;
    do units += subject->run(state, 2000);
    while (bench_now_ns() < end);
    return units;
}

static _Noreturn void be_child(const struct many_subject *subject, unsigned size, int ask,
                               int answer)
{
    char     why[200] = "";
    uint64_t window_ns;
    void    *state = subject->setup(subject, size, why, sizeof why);
    if (write(answer, why, sizeof why) != sizeof why || !state) _exit(0);
    while (read_whole(ask, &window_ns, sizeof window_ns)) {
        run_for(subject, state, window_ns / 5);
        uint64_t        wall = bench_now_ns(), cpu = bench_process_cpu_ns();
        uint64_t        units = run_for(subject, state, window_ns);
        struct measured m;
        m.ns_per_unit[BENCH_CPU] = (double)(bench_process_cpu_ns() - cpu) / (double)units;
        m.ns_per_unit[BENCH_WALL] = (double)(bench_now_ns() - wall) / (double)units;
        if (write(answer, &m, sizeof m) != sizeof m) break;
    }
    _exit(0);
}

struct many_child *many_child_start(const struct many_subject *subject, unsigned size, char *why,
                                    size_t why_size)
{
    int                ask[2], answer[2];
    char               said[200] = "it died";
    struct many_child *child = calloc(1, sizeof *child);
    if (!child) bench_die("out of memory");
    if (pipe(ask) != 0 || pipe(answer) != 0) bench_die_errno("pipe");
    fflush(NULL);
    child->pid = fork();
    if (child->pid < 0) bench_die_errno("fork");
    if (child->pid == 0) {
        /* The other children's ends: else they would not see the parent go. */
        for (int fd = 3; fd < 1024; fd++)
            if (fd != ask[0] && fd != answer[1]) close(fd);
        be_child(subject, size, ask[0], answer[1]);
    }
    close(ask[0]);
    close(answer[1]);
    child->ask = ask[1];
    child->answer = answer[0];
    if (read_whole(child->answer, said, sizeof said) && !said[0]) return child;
    snprintf(why, why_size, "%s", said);
    many_child_end(child);
    return NULL;
}

void many_child_measure(void *state, uint64_t window_ns, double ns_per_unit[])
{
    struct many_child *child = state;
    struct measured    m;
    if (write(child->ask, &window_ns, sizeof window_ns) != sizeof window_ns ||
        !read_whole(child->answer, &m, sizeof m))
        bench_die("a process that was measured has died");
    memcpy(ns_per_unit, m.ns_per_unit, sizeof m.ns_per_unit);
}

void many_child_end(struct many_child *child)
{
    close(child->ask);
    close(child->answer);
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    free(child);
}
