/* Torture by countdown (see torture.c) of what a program does beside TCP: a child with pipes, a watcher,
 * a pollable, names, a race of endpoints, a copied file.  The first allocation fails, then the second,
 * and so on until none is left to fail; the same for system calls, each with several errors.  Whatever
 * fails: every operation completes exactly once, no memory, descriptor or child is left, nothing hangs.
 *
 * At the end: a program that drops its privileges goes on, and so does a child of fork with a loop of its own. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proactor.h>

#include "lib/os.h"

enum { ITEMS = 6, FILE_LEN = 5000, UNPRIVILEGED = 65534 };

static struct {
    long memory_countdown, call_countdown; /* fails when it reaches 0; -1: never */
    int  number;
    long allocated;
    char call[32];
} env;

static void *env_realloc(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size == 0) {
        if (ptr) env.allocated--;
        free(ptr);
        return NULL;
    }
    if (env.memory_countdown >= 0 && env.memory_countdown-- == 0) return NULL;
    void *memory = realloc(ptr, size);
    if (memory && !ptr) env.allocated++;
    return memory;
}

static int env_fault(void *ctx, const char *call)
{
    (void)ctx;
    if (env.call_countdown < 0 || env.call_countdown-- != 0) return 0;
    snprintf(env.call, sizeof env.call, "%s", call);
    return env.number;
}

/* ---- The scenario ------------------------------------------------------------------------------ */

static struct {
    pro_loop         *loop;
    pro_scope         scope;
    pro_process       process;
    pro_spawn_options options;
    pro_stdio         stdio[3];
    pro_watcher       watcher;
    pro_change        changes[4];
    pro_pollable      pollable;
    pro_listener      listener;
    pro_socket        raced, named, sender, receiver;
    pro_address       endpoints[3], found[8];
    pro_copy          copy;
    pro_op            spawn, wait, watch, poll, accept, race, name, resolve, send, receive;
    char              in[FILE_LEN], directory[256], path[300], port[8];
    int               pipe[2], pair[2], file;
    int               started, completed, over, whole;
} s;

/* Counted; true if it went wrong. */
static bool failed(pro_op *op)
{
    if (!(op->flags & PRO_MORE)) s.completed++;
    return op->error != PRO_OK;
}

/* One thing less to do; after the last one all is closed. */
static void over(bool whole)
{
    s.whole += whole;
    if (++s.over == ITEMS) pro_scope_close(&s.scope);
}

static void on_waited(pro_op *op) { over(!failed(op) && op->value == 3); }

static void on_spawned(pro_op *op)
{
    if (failed(op)) return;
    close((int)s.stdio[0].descriptor); /* the end of its input, so it ends */
    close((int)s.stdio[1].descriptor);
}

static void on_changes(pro_op *op) { over(!failed(op) && s.changes[0].what == PRO_CHANGE_CREATED); }

static void on_ready(pro_op *op) { over(!failed(op)); }
static void on_accepted(pro_op *op) { failed(op); } /* not taken: closed */

static void on_raced(pro_op *op) { over(!failed(op)); }
static void on_named(pro_op *op) { failed(op); }

static void on_resolved(pro_op *op) { over(!failed(op) && op->value > 0); }

static void on_received(pro_op *op) { over(!failed(op)); }

static void on_copied(pro_op *op)
{
    if (failed(op)) pro_socket_cancel(&s.receiver);
}

static void begin_child(void)
{
    static const char *args[] = {"sh", "-c", "cat; exit 3", NULL};
    pro_process_init(&s.process, s.loop, &s.scope);
    s.options = (pro_spawn_options){
        .file = "/bin/sh", .args = args, .stdio = s.stdio, .stdio_count = 3, .directory = "/"};
    s.stdio[0].kind = PRO_STDIO_READ;
    s.stdio[1].kind = PRO_STDIO_BOTH;
    s.started += 2;
    pro_spawn(&s.spawn, &s.process, &s.options, on_spawned);
    pro_process_wait(&s.wait, &s.process, on_waited);
}

static void begin_watch(void)
{
    if (pro_watcher_open(&s.watcher, s.loop, &s.scope) != PRO_OK) {
        over(false);
        return;
    }
    if (pro_watcher_add(&s.watcher, s.directory, PRO_CHANGE_CREATED) < 0) {
        over(false);
        return;
    }
    s.started++;
    pro_watch(&s.watch, &s.watcher, s.changes, 4, on_changes);
    close(open(s.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void begin_poll(void)
{
    if (pro_pollable_open(&s.pollable, s.loop, &s.scope, s.pipe[0]) != PRO_OK) {
        over(false);
        return;
    }
    s.started++;
    pro_poll(&s.poll, &s.pollable, PRO_POLL_IN, on_ready);
}

static void begin_race(void)
{
    pro_address at = pro_address_loopback(PRO_IPV4, 0);
    if (pro_listen(&s.listener, s.loop, &s.scope, &at, NULL) != PRO_OK ||
        pro_listener_local(&s.listener, &at) != PRO_OK) {
        over(false);
        return;
    }
    s.endpoints[0] = pro_address_loopback(PRO_IPV4, 1); /* refused */
    s.endpoints[1] = at;
    snprintf(s.port, sizeof s.port, "%d", at.port);
    pro_socket_init(&s.raced, s.loop, &s.scope);
    pro_socket_init(&s.named, s.loop, &s.scope);
    s.started += 3;
    pro_accept_multi(&s.accept, &s.listener, on_accepted);
    pro_connect_any(&s.race, &s.raced, s.endpoints, 2, on_raced);
    pro_connect_host(&s.name, &s.named, "localhost", s.port, on_named);
}

static void begin_copy(void)
{
    if (pro_socket_adopt(&s.sender, s.loop, &s.scope, s.pair[0]) != PRO_OK) {
        over(false);
        return;
    }
    s.pair[0] = -1;
    if (pro_socket_adopt(&s.receiver, s.loop, &s.scope, s.pair[1]) != PRO_OK) {
        over(false);
        return;
    }
    s.pair[1] = -1;
    s.started += 2;
    s.copy = (pro_copy){.file = s.file, .len = FILE_LEN};
    pro_recv_exactly(&s.receive, &s.receiver, s.in, FILE_LEN, on_received);
    pro_copy_file(&s.send, &s.sender, &s.copy, on_copied);
}

static void make_world(void)
{
    static const char text[FILE_LEN];
    const char       *top = getenv("TMPDIR");
    snprintf(s.directory, sizeof s.directory, "%s/system-XXXXXX", top ? top : "/tmp");
    CHECK(mkdtemp(s.directory) != NULL);
    snprintf(s.path, sizeof s.path, "%s/file", s.directory);
    s.file = open(s.directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(s.file >= 0);
    CHECK_EQ(write(s.file, text, FILE_LEN), FILE_LEN);
    CHECK_EQ(pipe2(s.pipe, O_CLOEXEC), 0);
    CHECK_EQ(write(s.pipe[1], "x", 1), 1);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s.pair), 0);
}

static void end_world(void)
{
    for (int i = 0; i < 2; i++) {
        close(s.pipe[i]);
        if (s.pair[i] >= 0) close(s.pair[i]);
    }
    close(s.file);
    unlink(s.path);
    CHECK_EQ(rmdir(s.directory), 0);
}

static void run_loop(pro_engine engine)
{
    pro_loop_options options = {.version = PRO_VERSION, .engine = engine, .queue_len = 4};
    options.env.realloc = env_realloc;
    options.env.fault = env_fault;
    if (pro_loop_new(&s.loop, &options) != PRO_OK) return;
    pro_scope_init(&s.scope, s.loop, NULL, NULL);
    begin_child();
    begin_watch();
    begin_poll();
    begin_race();
    begin_copy();
    s.started++;
    pro_resolve(&s.resolve, s.loop, "localhost", "80", s.found, 8, on_resolved);
    for (int tries = 0; pro_loop_run(s.loop) < 0; tries++) CHECK(tries < 100);
    CHECK_EQ(s.over, ITEMS);
    CHECK_EQ(s.started, s.completed);
    int error = pro_loop_free(s.loop);
    CHECK_EQ(error, PRO_OK);
}

static void run_scenario(pro_engine engine)
{
    siginfo_t info;
    int       before = t_os_descriptors();
    memset(&s, 0, sizeof s);
    make_world();
    run_loop(engine);
    end_world();
    CHECK_EQ(env.allocated, 0);
    CHECK_EQ(t_os_descriptors(), before);
    CHECK_EQ(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1); /* no child */
}

static bool is_here(pro_engine engine)
{
    pro_loop        *loop;
    pro_loop_options options = {.version = PRO_VERSION, .engine = engine};
    if (pro_loop_new(&loop, &options) != PRO_OK) UNIT_SKIP("this engine is refused here");
    return pro_loop_free(loop) == PRO_OK;
}

static void torture_memory(pro_engine engine)
{
    CHECK(is_here(engine));
    env.call_countdown = -1;
    for (long n = 0;; n++) {
        CHECK(n < 10000);
        env.memory_countdown = n;
        run_scenario(engine);
        if (env.memory_countdown >= 0) break;
    }
    CHECK_EQ(s.whole, ITEMS);
}

static void torture_calls(pro_engine engine)
{
    static const int numbers[] = {ENOMEM, EMFILE, EINTR};
    CHECK(is_here(engine));
    env.memory_countdown = -1;
    for (int i = 0; i < 3; i++) {
        for (long n = 0;; n++) {
            CHECK(n < 10000);
            env.call_countdown = n;
            env.number = numbers[i];
            run_scenario(engine);
            if (env.call_countdown >= 0) break;
        }
        CHECK_EQ(s.whole, ITEMS);
    }
    env.call_countdown = -1;
}

UNIT(every_allocation_fails_in_turn_on_uring) { torture_memory(PRO_ENGINE_URING); }
UNIT(every_allocation_fails_in_turn_on_epoll) { torture_memory(PRO_ENGINE_EPOLL); }
UNIT(every_system_call_fails_in_turn_on_uring) { torture_calls(PRO_ENGINE_URING); }
UNIT(every_system_call_fails_in_turn_on_epoll) { torture_calls(PRO_ENGINE_EPOLL); }

/* ---- Descriptors, privileges, fork ------------------------------------------------------------- */

/* In a child of fork: what fn says, as its exit status. */
static int in_child(int (*fn)(pro_engine engine), pro_engine engine)
{
    int   status;
    pid_t pid = fork();
    if (pid == 0) _exit(fn(engine));
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

static int scenario_in_child(pro_engine engine)
{
    run_scenario(engine);
    return s.whole;
}

static int unprivileged(pro_engine engine)
{
    memset(&s, 0, sizeof s);
    if (setgid(UNPRIVILEGED) || setuid(UNPRIVILEGED)) return 1;
    return scenario_in_child(engine);
}

static void both(int (*fn)(pro_engine engine), int want)
{
    env.memory_countdown = env.call_countdown = -1;
    for (int i = 0; i < 2; i++) {
        pro_engine engine = i ? PRO_ENGINE_EPOLL : PRO_ENGINE_URING;
        if (is_here(engine)) CHECK_EQ(in_child(fn, engine), want);
    }
}

UNIT(a_program_that_dropped_its_privileges_goes_on)
{
    if (getuid() != 0) UNIT_SKIP("that needs root");
    char temporary[] = "/tmp/system-unprivileged-XXXXXX";
    CHECK(mkdtemp(temporary) != NULL);
    CHECK_EQ(chown(temporary, UNPRIVILEGED, UNPRIVILEGED), 0);
    const char *before = getenv("TMPDIR");
    char       *kept = before ? strdup(before) : NULL;
    setenv("TMPDIR", temporary, 1);
    both(unprivileged, ITEMS);
    if (kept) setenv("TMPDIR", kept, 1);
    if (!kept) unsetenv("TMPDIR");
    free(kept);
    CHECK_EQ(rmdir(temporary), 0);
}

/* A loop that had run here; the child makes its own and leaves this one alone. */
static pro_loop *parents;

static int beside_the_parents(pro_engine engine)
{
    int whole = scenario_in_child(engine);
    return pro_loop_now(parents) > 0 ? whole : 1;
}

static void on_slept(pro_op *op) { s.completed += op->error == PRO_OK; }

UNIT(a_child_of_fork_has_a_loop_of_its_own_and_the_parents_goes_on)
{
    for (int i = 0; i < 2; i++) {
        pro_engine       engine = i ? PRO_ENGINE_EPOLL : PRO_ENGINE_URING;
        pro_loop_options options = {.version = PRO_VERSION, .engine = engine};
        pro_op           sleep = {0};
        env.memory_countdown = env.call_countdown = -1;
        if (!is_here(engine)) continue;
        CHECK_EQ(pro_loop_new(&parents, &options), PRO_OK);
        memset(&s, 0, sizeof s);
        pro_sleep(&sleep, parents, PRO_MSEC, on_slept);
        pro_loop_poll(parents); /* it is with the kernel */
        CHECK_EQ(in_child(beside_the_parents, engine), ITEMS);
        pro_loop_run(parents);
        CHECK_EQ(s.completed, 1);
        CHECK_EQ(pro_loop_free(parents), PRO_OK);
    }
}
