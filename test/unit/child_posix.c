/* A child whose end the system refuses to watch: it is asked for now and then, and not all the time.
 * The time is the test's, so that what is counted is exact. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proactor.h>

static struct {
    uint64_t now_ns;
    bool     refuses;
    long     asked; /* how often something was to be watched meanwhile */
} env = {.now_ns = PRO_SEC};

static uint64_t clock_ns(void *ctx)
{
    (void)ctx;
    return env.now_ns;
}

static int fault(void *ctx, const char *call)
{
    (void)ctx;
    if (!env.refuses || strcmp(call, "epoll_ctl") != 0) return 0;
    env.asked++;
    return ENOSPC;
}

static struct {
    pro_loop         *loop;
    pro_process       process;
    pro_spawn_options options;
    pro_stdio         stdio[3]; /* its input is a pipe, the others are ours */
    pro_op            spawn, wait, close;
    int               spawned, waited, closed;
} s;

static void on_spawned(pro_op *op) { s.spawned += op->error == PRO_OK; }
static void on_waited(pro_op *op) { s.waited += op->error == PRO_OK; }
static void on_closed(pro_op *op) { s.closed += op->error == PRO_OK; }

/* One that lives as long as its input. */
static void begin(void)
{
    static const char *args[] = {"cat", NULL};
    memset(&s, 0, sizeof s);
    memset(&env, 0, sizeof env);
    env.now_ns = PRO_SEC;
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_EPOLL};
    options.env.clock_ns = clock_ns;
    options.env.fault = fault;
    CHECK_EQ(pro_loop_new(&s.loop, &options), PRO_OK);
    s.options =
        (pro_spawn_options){.file = "/bin/cat", .args = args, .stdio = s.stdio, .stdio_count = 3};
    s.stdio[0].kind = PRO_STDIO_READ;
    pro_process_init(&s.process, s.loop, NULL);
    env.refuses = true;
    pro_spawn(&s.spawn, &s.process, &s.options, on_spawned);
    while (!s.spawned && pro_op_in_flight(&s.spawn)) pro_loop_run_once(s.loop);
    if (s.spawn.error == PRO_ENOSYS) {
        pro_process_close(&s.close, &s.process, on_closed);
        while (!s.closed) pro_loop_poll(s.loop);
        CHECK_EQ(pro_loop_free(s.loop), PRO_OK);
        UNIT_SKIP("no descriptor names a process here");
    }
    CHECK_EQ(s.spawn.error, PRO_OK);
}

static void turns(int count)
{
    for (int i = 0; i < count; i++) CHECK(pro_loop_poll(s.loop) >= 0);
}

/* The system knows it to be gone; whose child it is has not heard of that. */
static void await_end(int64_t pid)
{
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void end(void)
{
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(pro_loop_free(s.loop), PRO_OK);
}

UNIT(a_child_that_cannot_be_watched_is_asked_for_with_pauses_that_grow)
{
    begin();
    int64_t pid = pro_process_id(&s.process);
    pro_process_wait(&s.wait, &s.process, on_waited);
    turns(1000);
    CHECK_EQ(env.asked, 1); /* as long as no time passes, whatever else the loop does */
    uint64_t pause = PRO_MSEC;
    for (long asked = 2; asked < 9; asked++, pause *= 2) {
        env.now_ns += pause - 1;
        turns(10);
        CHECK_EQ(env.asked, asked - 1);
        env.now_ns += 1;
        turns(10);
        CHECK_EQ(env.asked, asked);
    }
    long before = env.asked;
    for (int i = 0; i < 100; i++) { /* of 256 ms, then */
        env.now_ns += 256 * PRO_MSEC;
        turns(10);
    }
    CHECK_EQ(env.asked, before + 100);
    CHECK_EQ(s.waited, 0);
    close((int)s.stdio[0].descriptor);
    await_end(pid);
    env.now_ns += 256 * PRO_MSEC;
    turns(10);
    CHECK_EQ(s.waited, 1);
    CHECK_EQ(s.wait.value, 0);
    pro_process_close(&s.close, &s.process, on_closed);
    turns(10);
    end();
}

UNIT(closing_kills_a_child_that_cannot_be_watched)
{
    begin();
    int64_t pid = pro_process_id(&s.process);
    pro_process_wait(&s.wait, &s.process, on_waited);
    env.now_ns += 10 * PRO_MSEC; /* in one of the pauses */
    turns(10);
    pro_process_close(&s.close, &s.process, on_closed);
    await_end(pid);
    CHECK(!s.closed);
    env.now_ns += 256 * PRO_MSEC;
    turns(10);
    CHECK_EQ(s.wait.error, PRO_ECANCELED);
    close((int)s.stdio[0].descriptor);
    end();
}

UNIT(a_child_that_can_be_watched_again_is)
{
    begin();
    pro_process_wait(&s.wait, &s.process, on_waited);
    turns(10);
    CHECK_EQ(env.asked, 1);
    env.refuses = false;
    env.now_ns += PRO_MSEC;
    turns(10);
    close((int)s.stdio[0].descriptor);
    while (!s.waited)
        pro_loop_run_once(s.loop); /* no time passes any more: its end wakes the loop */
    pro_process_close(&s.close, &s.process, on_closed);
    turns(10);
    end();
}
