/* Many coroutines at once, on the engine of the environment (PROACTOR_ENGINE, else the best):
 * 100,000 that sleep, 10,000 that are canceled while they wait for all sorts of things, ping-pong. */
#include "unit.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <proactor.h>

#include "co/co.h"

/* Numbers where everything is slow, or each fiber costs as much as a thread. */
static int scaled(int normal)
{
#if defined(PRI_TSAN)
    return normal / 100;
#elif defined(PRI_ASAN)
    return normal / 10;
#elif defined(PRI_VALGRIND)
    return RUNNING_ON_VALGRIND ? normal / 100 : normal;
#else
    return normal;
#endif
}

static pro_loop *loop;
static int       ended, at_once, at_once_max;

static void set_up(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    ended = at_once = at_once_max = 0;
    CHECK_EQ(pro_loop_new(&loop, NULL), PRO_OK);
}

/* Lines of /proc/self/maps; 0 where there is none. */
static int mappings(void)
{
    int   lines = 0, c;
    FILE *file = fopen("/proc/self/maps", "r");
    if (!file) return 0;
    while ((c = getc(file)) != EOF) lines += c == '\n';
    fclose(file);
    return lines;
}

static void rest(void *arg)
{
    if (++at_once > at_once_max) at_once_max = at_once;
    int64_t slept = pro_await_sleep(*(uint64_t *)arg);
    if (slept == 0) ended++;
    at_once--;
}

UNIT(a_hundred_thousand_at_once)
{
    set_up();
    const int      count = scaled(100000);
    uint64_t       delay_ns = 200 * PRO_MSEC;
    pro_go_options o = {.stack_size = 16 << 10};
    int            before = mappings();
    for (int i = 0; i < count; i++) CHECK_EQ(pro_go(pro_loop_scope(loop), rest, &delay_ns, &o), 0);
    CHECK(pro_loop_run_once(loop) > 0);
    while (at_once < count) CHECK(pro_loop_poll(loop) >= 0);
    int made = mappings() - before;
    CHECK(pro_loop_run(loop) > 0);
    CHECK_EQ(ended, count);
    CHECK_EQ(at_once_max, count);
    pro_co_stats stats;
    pro_co_stats_get(loop, &stats);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.live_max, count);
    CHECK_EQ(stats.stacks, count);
    CHECK(stats.stack_used_max > 0 && stats.stack_used_max <= (16 << 10));
    printf("note: %d coroutines, %d mappings for them, deepest stack %zu bytes\n", count, made,
           stats.stack_used_max);
    pro_co_trim(loop);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
    if (count < 100000) return; /* sanitizers have mappings of their own */
    CHECK(made < 64);
    CHECK(mappings() <= before + 8);
}

/* ---- The storm ------------------------------------------------------------------------------ */

typedef struct victim {
    pro_scope  scope;
    pro_socket sock;
    int        peer;
    pro_task   task;
    int        canceled;
} victim;

static victim    *victims;
static pro_socket outside; /* in the root scope: nobody's */

/* One await after the other until it is canceled, then two more: all give PRO_ECANCELED. */
static void suffer(void *arg)
{
    victim *v = arg;
    int64_t result;
    char    buf[64];
    int     kind = (int)(v - victims) % 4;
    do switch (kind) {
        case 0: result = pro_await_recv(&v->sock, buf, sizeof buf); break;
        case 1: result = pro_await_sleep(3600 * PRO_SEC); break;
        case 2: result = pro_await_join(&v[-1].task); break;
        default: result = pro_yield(); break;
        }
    while (result >= 0 && result != 7);
    v->canceled += result == PRO_ECANCELED;
    v->canceled += pro_await_sleep(1) == PRO_ECANCELED;
    v->canceled += pro_await_recv(&outside, buf, sizeof buf) == PRO_ECANCELED;
    pro_co_result(7);
    ended++;
}

static int  drained;
static void on_drained(pro_scope *scope)
{
    victim *v = pro_container_of(scope, victim, scope);
    if (v->peer) close(v->peer);
    drained++;
}

UNIT(a_storm_of_cancels_reaches_ten_thousand)
{
    set_up();
    const int count = scaled(10000) & ~3;
    pro_scope server;
    int       silent[2];
    drained = 0;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, silent), 0);
    CHECK_EQ(pro_socket_adopt(&outside, loop, NULL, silent[0]), PRO_OK);
    victims = calloc((size_t)count, sizeof *victims);
    CHECK(victims);
    pro_scope_init(&server, loop, NULL, NULL);
    for (int i = 0; i < count; i++) {
        victim        *v = &victims[i];
        pro_go_options o = {.task = &v->task};
        pro_scope_init(&v->scope, loop, &server, on_drained);
        if (i % 4 == 0) {
            int pair[2];
            CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
            v->peer = pair[1];
            CHECK_EQ(pro_socket_adopt(&v->sock, loop, &v->scope, pair[0]), PRO_OK);
        }
        CHECK_EQ(pro_go(&v->scope, suffer, v, &o), PRO_OK);
    }
    for (int i = 0; i < 3; i++) CHECK(pro_loop_poll(loop) >= 0);
    CHECK_EQ(ended, 0);

    /* A tenth by their tasks, a tenth one scope at a time, in between turns; the rest all at once. */
    for (int i = 0; i < count / 10; i++) {
        pro_task_cancel(&victims[i * 7].task);
        pro_scope_close(&victims[i * 5].scope);
        if (i % 50 == 0) CHECK(pro_loop_poll(loop) >= 0);
    }
    pro_scope_close(&server);
    CHECK(pro_loop_run(loop) >= 0);
    CHECK_EQ(ended, count);
    CHECK_EQ(drained, count);
    int wrong = 0;
    for (int i = 0; i < count; i++) {
        /* A join may see the end of the one it joined, and a sleep, before its own cancel. */
        int least = i % 4 == 2 ? 1 : 3;
        if (victims[i].canceled < least || victims[i].task.result != 7) wrong++;
    }
    CHECK_EQ(wrong, 0);
    pro_scope_close(pro_loop_scope(loop));
    CHECK(pro_loop_run(loop) >= 0);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
    close(silent[1]);
    free(victims);
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

enum { ROUNDS = 200 };

static void echo(void *arg)
{
    pro_socket *sock = arg;
    char        buf[256];
    for (;;) {
        int64_t n = pro_await_recv(sock, buf, sizeof buf);
        if (n <= 0 || pro_await_send_all(sock, buf, (size_t)n) < 0) break;
    }
    pro_await_close(sock);
    ended++;
}

static void ask(void *arg)
{
    pro_socket *sock = arg;
    char        out[64], in[64] = {0}; /* zeroed: memcheck does not see what a ring writes */
    int64_t     good = 0;
    for (int i = 0; i < ROUNDS; i++) {
        memset(out, i, sizeof out);
        pro_vec vecs[2] = {{in, 10}, {in + 10, sizeof in - 10}};
        if (pro_await_send_all(sock, out, sizeof out) != sizeof out) break;
        if (pro_await_recvv_exactly(sock, vecs, 2) != sizeof in) break;
        good += memcmp(in, out, sizeof in) == 0;
    }
    pro_await_shutdown(sock);
    pro_co_result(pro_await_recv(sock, in, sizeof in) == PRO_EOF ? good : -1);
    pro_await_close(sock);
    ended++;
}

UNIT(pairs_talk_to_each_other)
{
    set_up();
    const int   pairs = scaled(1000) < 10 ? 10 : scaled(1000);
    pro_socket *socks = calloc((size_t)pairs * 2, sizeof *socks);
    pro_task   *tasks = calloc((size_t)pairs, sizeof *tasks);
    CHECK(socks && tasks);
    for (int i = 0; i < pairs; i++) {
        int            fds[2];
        pro_go_options o = {.task = &tasks[i]};
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        for (int j = 0; j < 2; j++)
            CHECK_EQ(pro_socket_adopt(&socks[2 * i + j], loop, NULL, fds[j]), PRO_OK);
        CHECK_EQ(pro_go(pro_loop_scope(loop), echo, &socks[2 * i], NULL), PRO_OK);
        CHECK_EQ(pro_go(pro_loop_scope(loop), ask, &socks[2 * i + 1], &o), PRO_OK);
    }
    CHECK(pro_loop_run(loop) > 0);
    CHECK_EQ(ended, 2 * pairs);
    for (int i = 0; i < pairs; i++) CHECK_EQ(tasks[i].result, ROUNDS);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
    free(socks);
    free(tasks);
}
