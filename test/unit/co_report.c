/* What coroutines say about themselves: the dump, the counters, the report of an overflow, misuse.  What
 * ends a process ends a child of ours, whose standard error is read. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proactor.h>

#include "co/co.h"
#include "os/stack.h"

static pro_loop *loop;

/* ---- Children ------------------------------------------------------------------------------- */

static char said[16384]; /* what the child wrote to standard error */

/* The status with which run ended in a child. */
static int in_child(void (*run)(void))
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        run();
        _exit(0);
    }
    close(ends[1]);
    size_t  len = 0;
    ssize_t n;
    char    rest[1024];
    while ((n = read(ends[0], len + 1 < sizeof said ? said + len : rest,
                     len + 1 < sizeof said ? sizeof said - 1 - len : sizeof rest)) > 0)
        if (len + 1 < sizeof said) len += (size_t)n;
    said[len] = '\0';
    close(ends[0]);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

#define CHECK_SAID(text)                                                                           \
    do {                                                                                           \
        if (!strstr(said, text)) {                                                                 \
            printf("FAIL %s: %s:%d: said \"%.300s\", want \"%s\"\n", unit_name, __FILE__,          \
                   __LINE__, said, text);                                                          \
            longjmp(unit_end, 1);                                                                  \
        }                                                                                          \
    } while (0)

static void run_one(pro_go_fn *fn, const pro_go_options *options)
{
    if (pro_loop_new(&loop, NULL) != PRO_OK) _exit(3);
    if (pro_go(pro_loop_scope(loop), fn, NULL, options) != PRO_OK) _exit(4);
    pro_loop_run(loop);
    pro_loop_free(loop);
}

/* ---- Overflow ------------------------------------------------------------------------------- */

__attribute__((noinline)) static int recurse(int depth)
{
    volatile char frame[512];
    frame[0] = (char)depth;
    if (depth == 0) return 0;
    return recurse(depth - 1) + frame[0];
}

static void recurse_for_ever(void *arg)
{
    (void)arg;
    pro_await_sleep(1);
    pro_co_result(recurse(1 << 30));
}

static void overflow(void)
{
    run_one(recurse_for_ever, &(pro_go_options){.name = "glutton", .stack_size = 32 << 10});
}

UNIT(an_overflow_is_reported_with_name_and_site)
{
    int status = in_child(overflow);
#if defined(PRI_ASAN)
    CHECK(status != 0);
    CHECK_SAID("stack-overflow"); /* its own words */
    CHECK(!strstr(said, "proactor:"));
#else
    CHECK(WIFSIGNALED(status) || status != 0);
    CHECK_SAID("proactor: stack overflow in coroutine glutton, started at test/unit/co_report.c:");
    CHECK_SAID("its stack has 32768 bytes");
#endif
}

#if !defined(PRI_ASAN) && !defined(PRI_TSAN)

static void on_segv(int number)
{
    (void)number;
    static const char text[] = "the program's own handler\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) > 0) raise(SIGKILL);
    _exit(1);
}

static void overflow_with_a_handler(void)
{
    struct sigaction own = {.sa_handler = on_segv, .sa_flags = SA_ONSTACK};
    sigaction(SIGSEGV, &own, NULL);
    overflow();
}

UNIT(the_handler_that_was_there_is_called_too)
{
    int status = in_child(overflow_with_a_handler);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_SAID("stack overflow in coroutine glutton");
    CHECK_SAID("the program's own handler");
}

static void touch_null(void *arg)
{
    volatile uintptr_t nowhere = 16;
    (void)arg;
    *(volatile int *)nowhere = 1;
}

static void fault(void) { run_one(touch_null, NULL); }

UNIT(another_fault_is_not_called_an_overflow)
{
    int status = in_child(fault);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK(!strstr(said, "proactor:"));
}

static void touch_nothing(void *arg) { (void)arg; }

static void many_loops(void)
{
    stack_t before, after;
    sigaltstack(NULL, &before);
    for (int i = 0; i < 3; i++) run_one(touch_nothing, NULL);
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    sigaltstack(NULL, &after);
    if (now.sa_handler != SIG_DFL || after.ss_flags != before.ss_flags) _exit(9);
    overflow();
}

UNIT(handler_and_alternate_stack_go_with_the_last_loop_and_come_again)
{
    int status = in_child(many_loops);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK_SAID("stack overflow in coroutine glutton");
}

/* An engine's kernel without guard markers: mprotect does it. */
static int no_markers(void *ctx, const char *call)
{
    (void)ctx;
    return strcmp(call, "guard") == 0 ? 22 : 0; /* EINVAL */
}

static void overflow_by_mprotect(void)
{
    pro_loop_options options = {PRO_VERSION, .env = {.fault = no_markers}};
    pro_go_options   o = {.name = "old", .stack_size = 16 << 10};
    if (pro_loop_new(&loop, &options) != PRO_OK) _exit(3);
    if (pro_go(pro_loop_scope(loop), recurse_for_ever, NULL, &o) != PRO_OK) _exit(4);
    pro_loop_run(loop);
}

UNIT(without_guard_markers_mprotect_guards)
{
    int status = in_child(overflow_by_mprotect);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK_SAID("stack overflow in coroutine old");
}

#endif

/* ---- Misuse --------------------------------------------------------------------------------- */

static void await_outside(void) { pro_await_sleep(1); }

static pro_task self;
static void     join_self(void *arg)
{
    (void)arg;
    pro_await_join(&self);
}
static void joins_itself(void)
{
    run_one(join_self, &(pro_go_options){.name = "narcissus", .task = &self});
}

static void callback(pro_op *op) { (void)op; }
static void await_a_callback(void *arg)
{
    (void)arg;
    pro_op op = {0};
    pro_sleep(&op, loop, 1, callback);
    pro_await(&op);
}
static void awaits_a_callback(void) { run_one(await_a_callback, NULL); }

static pro_loop *other;
static void      sleep_on_another_loop(void *arg)
{
    (void)arg;
    pro_op op = {0};
    pro_loop_new(&other, NULL);
    pro_sleep(&op, other, 1, pro_awake);
    pro_await(&op);
}
static void awaits_another_loop(void) { run_one(sleep_on_another_loop, NULL); }

static void unshield(void *arg)
{
    (void)arg;
    pro_co_unshield();
}
static void unshields(void) { run_one(unshield, &(pro_go_options){.name = "bare"}); }

static void starts_a_task_twice(void)
{
    pro_go_options o = {.task = &self};
    pro_loop_new(&loop, NULL);
    pro_go(pro_loop_scope(loop), unshield, NULL, &o);
    pro_go(pro_loop_scope(loop), unshield, NULL, &o);
}

#if defined(PROACTOR_CHECKED) && !defined(PRI_ASAN) /* its frames lie elsewhere */
static void leave_an_operation(void *arg)
{
    pro_op op = {0};
    (void)arg;
    pro_sleep(&op, loop, PRO_SEC, pro_awake);
}
static void leaves_an_operation(void)
{
    run_one(leave_an_operation, &(pro_go_options){.name = "hasty"});
}
#endif

UNIT(misuse_aborts_and_says_where)
{
    static const struct {
        void (*run)(void);
        const char *says;
    } cases[] = {
        {await_outside, ": pro_await_sleep outside of a coroutine"},
        {joins_itself, ": a coroutine joins itself: narcissus"},
        {awaits_a_callback, "that was not initiated with pro_awake: timer"},
        {awaits_another_loop, "that is of another loop than the coroutine's"},
        {unshields, "pro_co_unshield without pro_co_shield: bare"},
        {starts_a_task_twice, ": a task that is running is started again"},
#if defined(PROACTOR_CHECKED) && !defined(PRI_ASAN)
        {leaves_an_operation, "hasty, started at test/unit/co_report.c:"},
        {leaves_an_operation, "has returned, and in its frames is an operation in flight: timer"},
#endif
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = in_child(cases[i].run);
        CHECK(status != 0);
        CHECK_SAID("proactor: ");
        CHECK_SAID(cases[i].says);
    }
}

/* ---- The dump ------------------------------------------------------------------------------- */

static char dumped[4096];

static void keep(void *arg, const char *line)
{
    (void)arg;
    size_t len = strlen(dumped);
    snprintf(dumped + len, sizeof dumped - len, "%s\n", line);
}

static void nap(void *arg)
{
    char deep[24 << 10]; /* so much of the stack is touched */
    memset(deep, 1, sizeof deep);
    __asm__ volatile("" : : "r"(deep) : "memory");
    (void)arg;
    pro_await_sleep(10 * PRO_MSEC);
}

UNIT(the_dump_names_who_where_what_and_how_deep)
{
    CHECK_EQ(pro_loop_new(&loop, NULL), PRO_OK);
    CHECK_EQ(pro_co_dump(loop, keep, NULL), 0);
    CHECK_EQ(pro_go(pro_loop_scope(loop), nap, NULL, NULL), PRO_OK);
    dumped[0] = '\0';
    CHECK_EQ(pro_co_dump(loop, keep, NULL), 1);
    CHECK(strstr(dumped, "coroutine nap, started at test/unit/co_report.c:"));
    CHECK(strstr(dumped, ": has not begun; stack "));
    CHECK(pro_loop_poll(loop) >= 0);
    dumped[0] = '\0';
    CHECK_EQ(pro_co_dump(loop, keep, NULL), 1);
    CHECK(strstr(dumped, ": awaits timer at test/unit/co_report.c:"));
    pro_co_stats stats;
    pro_co_stats_get(loop, &stats);
    CHECK_EQ(stats.live, 1);
    CHECK(stats.stack_used_max > (24 << 10) && stats.stack_used_max < (64 << 10));
    CHECK(pro_loop_run(loop) > 0);

    pro_co_trim(loop);
    pro_co_stats_get(loop, &stats);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.stack_used_max, pri_os_page_size());
    CHECK_EQ(pro_go(pro_loop_scope(loop), nap, NULL, NULL), PRO_OK); /* it works after a trim */
    CHECK(pro_loop_run(loop) > 0);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

/* ---- gdb ------------------------------------------------------------------------------------ */

__attribute__((noinline)) static void wait_deep(int depth)
{
    if (depth > 0)
        wait_deep(depth - 1);
    else
        pro_await_sleep(3600 * PRO_SEC);
    __asm__ volatile(""); /* no tail call: the frames are to be seen */
}

static void park(void *arg)
{
    wait_deep((int)(intptr_t)arg);
    __asm__ volatile("");
}

/* Where gdb stops; or the program dies, and leaves a core file. */
__attribute__((noinline)) static void stop_here(void)
{
    if (strcmp(getenv("GDB_STOPS"), "dead") == 0) abort();
}

/* What gdb runs: this program, with this sentence and GDB_STOPS in its environment. */
static void parked(void)
{
    pro_go_options o = {.name = "gdb-two"};
    pro_loop_new(&loop, NULL);
    pro_go(pro_loop_scope(loop), park, (void *)(intptr_t)3, NULL);
    pro_go(pro_loop_scope(loop), park, (void *)(intptr_t)1, &o);
    pro_loop_poll(loop);
    pro_go(pro_loop_scope(loop), park, NULL, &(pro_go_options){.name = "gdb-new"});
    stop_here();
}

/* Run a command; true: it succeeded, and said has what it wrote. */
static bool command(const char *format, const char *a, const char *b, const char *c)
{
    char   line[2000];
    size_t len;
    snprintf(line, sizeof line, format, a, b, c);
    FILE *pipe = popen(line, "r");
    CHECK(pipe);
    len = fread(said, 1, sizeof said - 1, pipe);
    said[len] = '\0';
    return pclose(pipe) == 0;
}

static bool is_slow(void)
{
#if defined(PRI_ASAN) || defined(PRI_TSAN)
    return true;
#elif defined(PRI_VALGRIND)
    return RUNNING_ON_VALGRIND;
#else
    return false;
#endif
}

static void check_listing(void)
{
    CHECK_SAID("coroutine park (0x");
    CHECK_SAID("coroutine gdb-two (0x");
    CHECK_SAID("coroutine gdb-new (0x");
    CHECK_SAID("started at test/unit/co_report.c:");
    CHECK_SAID(": awaits timer at test/unit/co_report.c:");
    CHECK_SAID(": has not begun");
    CHECK_SAID("3 coroutines");
    int         frames = 0;
    const char *at = said;
    while ((at = strstr(at, "wait_deep (depth="))) frames++, at++;
    CHECK_EQ(frames, 4 + 2);
    CHECK_SAID("#0 ");
    CHECK_SAID("in park (arg=");
    CHECK(!strstr(said, "Error") && !strstr(said, "corrupt"));
}

UNIT(gdb_lists_parked_coroutines_with_stacks)
{
    if (getenv("GDB_STOPS")) {
        parked();
        return;
    }
    char    self_path[500], script[600];
    ssize_t len = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    CHECK(len > 0);
    self_path[len] = '\0';
    snprintf(script, sizeof script, "%s", self_path);
    *strrchr(script, '/') = '\0';
    len = (ssize_t)strlen(script);
    snprintf(script + len, sizeof script - (size_t)len, "/../../../scripts/gdb/proactor_gdb.py");
    if (is_slow() || access(script, R_OK) != 0 ||
        !command("gdb -batch -nx -ex 'python print(1)' 2>&1%s%s%s", "", "", "")) {
        puts("note: gdb is not tried here");
        return;
    }
    CHECK(command("GDB_STOPS=here gdb -batch -nx -ex 'source %s' -ex 'break stop_here' -ex run "
                  "-ex proactor-coroutines --args %s gdb_lists 2>&1%s",
                  script, self_path, ""));
    check_listing();

    /* And from a core file, where nothing can be called; if this system writes one to the directory.
     * (gdb's own gcore cannot read past guard markers, and leaves stacks out.) */
    char dir[300];
    snprintf(dir, sizeof dir, "%s/co_report.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(dir));
    command("cd %s && ulimit -c unlimited && GDB_STOPS=dead %s gdb_lists 2>&1%s", dir, self_path,
            "");
    if (command("ls %s/core* 2>&1%s%s", dir, "", "")) {
        CHECK(
            command("cd %s && gdb -batch -nx -ex 'source %s' -ex proactor-coroutines %s core* 2>&1",
                    dir, script, self_path));
        check_listing();
    } else {
        puts("note: no core file to try");
    }
    command("rm -r %s%s%s", dir, "", "");
}
