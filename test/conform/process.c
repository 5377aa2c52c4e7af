/* Child processes (54 of the list), also such as misbehave. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/net.h"
#include "lib/os.h"
#include "lib/world.h"

enum { SIG_KILL = 9, SIG_TERM = 15, ARGS = 10 };

typedef struct child {
    pro_process       process;
    pro_spawn_options options;
    const char       *args[ARGS];
    pro_stdio         stdio[6];
    t_op             *spawn;
} child;

/* Without a way to name a process by a descriptor (an old kernel, valgrind) a spawn says PRO_ENOSYS. */
static void needs_children(void)
{
    if (!t_has_pidfds()) t_skip("no descriptor names a process here");
}

/* One that runs sh -c script; not started. */
static child *child_of(pro_loop *loop, pro_scope *scope, const char *script)
{
    child *c = t_new(child);
    pro_process_init(&c->process, loop, scope);
    c->args[0] = "sh";
    c->args[1] = "-c";
    c->args[2] = script;
    c->options = (pro_spawn_options){.file = t_shell(), .args = c->args};
    c->spawn = t_new_op();
    return c;
}

static void start(pro_loop *loop, child *c)
{
    /* Wine, when it is busy, now and then fails to start a process, with an error that has no name for us. */
    bool may_fail = strcmp(pro_loop_engine(loop), "iocp") == 0;
    for (int tries = 0; tries < 3; tries++) {
        c->spawn->done = 0;
        pro_spawn(&c->spawn->op, &c->process, &c->options, t_done);
        CHECK_EQ(c->spawn->done, 0);
        t_wait_count(loop, &c->spawn->done, 1);
        if (!may_fail || c->spawn->error != PRO_EUNKNOWN) break;
        t_note("  a process could not be started; once more\n");
    }
    CHECK_ERROR(c->spawn->error, PRO_OK);
    CHECK_GT(c->spawn->value, 1);
    int64_t id = pro_process_id(&c->process);
    CHECK(id == c->spawn->value || id == 0); /* it may be over by now */
}

/* Its standard output is a pipe; or what `number` says. */
static child *piped(pro_loop *loop, const char *script)
{
    child *c = child_of(loop, NULL, script);
    c->options.stdio = c->stdio;
    c->options.stdio_count = 3;
    c->stdio[1].kind = PRO_STDIO_WRITE;
    c->stdio[2].kind = PRO_STDIO_INHERIT;
    return c;
}

static int64_t wait_for(pro_loop *loop, child *c)
{
    t_op *wait = t_new_op();
    pro_process_wait(&wait->op, &c->process, t_done);
    t_wait_count(loop, &wait->done, 1);
    CHECK_ERROR(wait->error, PRO_OK);
    CHECK_EQ(wait->done, 1);
    return wait->value;
}

static void close_child(pro_loop *loop, child *c)
{
    t_op *close = t_new_op();
    pro_process_close(&close->op, &c->process, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_EQ(pro_process_id(&c->process), 0);
}

/* The whole life; all that it wrote must be this. */
static void check_output(pro_loop *loop, child *c, const char *want)
{
    char buf[1024] = "";
    start(loop, c);
    t_read_all(c->stdio[1].descriptor, buf, sizeof buf - 1);
    t_close_fd(c->stdio[1].descriptor);
    if (strcmp(buf, want) != 0) FAIL("it wrote \"%s\", want \"%s\"", buf, want);
    CHECK_EQ(wait_for(loop, c), 0);
}

CONFORM(a_child_ends_with_its_exit_code_or_its_signal)
{
    needs_children();
    pro_loop *loop = t_loop();
    static const struct {
        const char *script;
        int64_t     status;
    } cases[] = {{"exit 0", 0},
                 {"exit 42", 42},
                 {"exit 255", 255},
                 {"kill -9 $$", PRO_SIGNALED + SIG_KILL},
                 {"kill -TERM $$", PRO_SIGNALED + SIG_TERM}};
    for (size_t i = 0; i < (t_is_posix() ? 5 : 3); i++) {
        child *c = child_of(loop, NULL, cases[i].script);
        start(loop, c);
        CHECK_EQ(wait_for(loop, c), cases[i].status);
        CHECK_EQ(wait_for(loop, c), cases[i].status); /* and again */
        CHECK_EQ(pro_process_id(&c->process), 0);
        close_child(loop, c);
    }
    for (int number = SIG_KILL; number <= SIG_TERM; number += SIG_TERM - SIG_KILL) {
        child *c = child_of(loop, NULL, "sleep 60");
        start(loop, c);
        CHECK_ERROR(pro_process_kill(&c->process, number), PRO_OK);
        CHECK_EQ(wait_for(loop, c), PRO_SIGNALED + number);
        close_child(loop, c);
    }
    CHECK(!t_has_children());
}

CONFORM(a_child_gets_its_arguments_environment_and_directory)
{
    needs_children();
    pro_loop          *loop = t_loop();
    static const char *environment[] = {"ONE=1", "PATH=/usr/bin:/bin", NULL};
    const char        *place = t_is_posix() ? "/usr/bin" : "C:\\windows";
    char               want[100];
    child             *c = piped(loop, "echo \"$0|$1|$ONE|$HOME|$(pwd)\"");
    c->args[3] = "zero";
    c->args[4] = NULL;
    c->options.environment = environment;
    c->options.directory = place;
    snprintf(want, sizeof want, "zero||1||%s\n", place);
    check_output(loop, c, want);
    close_child(loop, c);
    child *alone = child_of(loop, NULL, NULL); /* no arguments but its name */
    alone->options.args = NULL;
    alone->options.file = "hostname";
    alone->options.stdio = alone->stdio;
    alone->options.stdio_count = 3;
    start(loop, alone);
    CHECK_EQ(wait_for(loop, alone), 0);
    close_child(loop, alone);
    CHECK(!t_has_children());
}

CONFORM(a_child_gets_every_argument_as_it_is)
{
    needs_children();
    static const char letters[] = "ab \t\\\\\"\"'^%&|<>()!$`*?;,~\xc3\xa9";
    enum { MOST = 40 };
    pro_loop *loop = t_loop();
    for (int round = t_rounds(20); round > 0; round--) {
        child *c = piped(loop, "for a; do printf '%s\\n' \"$a\"; done");
        char  *want = t_alloc(4096), *buf = t_alloc(4096);
        size_t at = 0;
        c->args[3] = "sh";
        for (int i = 4; i < ARGS - 1; i++) {
            char *arg = t_alloc(3 * MOST);
            c->args[i] = arg;
            for (uint64_t n = t_below(MOST); n > 0; n--) {
                size_t letter = t_below(sizeof letters - 2); /* the last is of two bytes */
                *arg++ = letters[letter];
                if (letter == sizeof letters - 3) *arg++ = letters[letter + 1];
            }
            at += (size_t)snprintf(want + at, 4096 - at, "%s\n", c->args[i]);
        }
        start(loop, c);
        t_read_all(c->stdio[1].descriptor, buf, 4095);
        t_close_fd(c->stdio[1].descriptor);
        if (strcmp(buf, want) != 0) FAIL("its arguments were\n%swant\n%s", buf, want);
        CHECK_EQ(wait_for(loop, c), 0);
        close_child(loop, c);
    }
}

CONFORM(a_spawn_that_fails_says_why_and_leaves_nothing)
{
    needs_children();
    pro_loop   *loop = t_loop();
    int         descriptors = t_os_descriptors();
    const char *text = t_path("text");
    t_write_file(text, "not a program");
    const struct {
        const char *file, *directory;
        int         error;
    } cases[] = {{"no-such-program-anywhere", NULL, PRO_ENOENT},
                 {"/no/such/program", NULL, PRO_ENOENT},
                 {text, NULL, PRO_EACCES},
                 {t_shell(), "/no/such/directory", PRO_ENOENT},
                 {t_shell(), text, PRO_ENOTDIR},
                 {"", NULL, PRO_EINVAL}};
    child *c = piped(loop, "exit 7");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        t_op *spawn = t_new_op(), *behind = t_new_op(), *later = t_new_op();
        c->options.file = cases[i].file;
        c->options.directory = cases[i].directory;
        c->stdio[1].descriptor = -7;
        pro_spawn(&spawn->op, &c->process, &c->options, t_done);
        pro_process_wait(&behind->op, &c->process, t_done);
        CHECK_EQ(spawn->done, 0);
        t_wait_count(loop, &spawn->done, 1);
        t_wait_count(loop, &behind->done, 1);
        CHECK_DONE(spawn, cases[i].error, 0);
        CHECK_DONE(behind, cases[i].error, 0);
        CHECK_EQ(c->stdio[1].descriptor, -7);
        pro_process_wait(&later->op, &c->process, t_done);
        t_wait_count(loop, &later->done, 1);
        CHECK_DONE(later, cases[i].error, 0);
        CHECK_ERROR(pro_process_kill(&c->process, SIG_TERM), PRO_ENOENT);
        CHECK(!t_has_children());
    }
    CHECK_EQ(t_os_descriptors(), descriptors);
    t_remove(text);
    c->options.file = t_shell(); /* the handle is as good as new */
    c->options.directory = NULL;
    start(loop, c);
    t_close_fd(c->stdio[1].descriptor);
    CHECK_EQ(wait_for(loop, c), 7);
    close_child(loop, c);
    CHECK(!t_has_children());
}

CONFORM(a_child_has_the_descriptors_it_was_given_and_no_others)
{
    needs_children();
    pro_loop *loop = t_loop();
    char      buf[256] = "";
    child    *c =
        piped(loop, "cat <&3; cat <&5 >&5; echo err >&2; [ ! -e /proc/self/fd/77 ] && echo no");
    c->options.stdio_count = 6;
    c->stdio[0].kind = PRO_STDIO_NULL;
    c->stdio[2] = (pro_stdio){PRO_STDIO_WRITE, 0};
    c->stdio[3] = (pro_stdio){PRO_STDIO_READ, 0};
    c->stdio[4] = (pro_stdio){PRO_STDIO_NULL, 0};
    c->stdio[5] = (pro_stdio){PRO_STDIO_BOTH, 0};
    t_leak_fd(1, 77);
    start(loop, c);
    t_close_fd(77);
    t_write_fd(c->stdio[3].descriptor, "three ");
    t_close_fd(c->stdio[3].descriptor);
    t_write_fd(c->stdio[5].descriptor, "five");
    peer_shutdown(c->stdio[5].descriptor);
    CHECK_EQ(t_read_all(c->stdio[5].descriptor, buf, sizeof buf), 4);
    CHECK(memcmp(buf, "five", 4) == 0);
    CHECK_EQ(t_read_all(c->stdio[2].descriptor, buf, sizeof buf), 4);
    CHECK(memcmp(buf, "err\n", 4) == 0);
    CHECK_EQ(t_read_all(c->stdio[1].descriptor, buf, sizeof buf), 9);
    CHECK(memcmp(buf, "three no\n", 9) == 0);
    CHECK_EQ(wait_for(loop, c), 0);
    for (int i = 1; i < 6; i++)
        if (i == 1 || i == 2 || i == 5) t_close_fd(c->stdio[i].descriptor);
    close_child(loop, c);

    /* Numbers that are in each other's way. */
    if (!t_is_posix()) return;
    char zero[128], one[128], want[300];
    t_name_of_fd(0, zero, sizeof zero);
    t_name_of_fd(2, one, sizeof one);
    c = piped(loop, "readlink /proc/$$/fd/2; readlink /proc/$$/fd/0");
    c->stdio[2] = (pro_stdio){PRO_STDIO_GIVEN, 0};
    c->stdio[0] = (pro_stdio){PRO_STDIO_GIVEN, 2};
    snprintf(want, sizeof want, "%s\n%s\n", zero, one);
    check_output(loop, c, want);
    close_child(loop, c);
    CHECK(!t_has_children());
}

CONFORM(a_child_starts_with_no_signal_blocked_or_ignored)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c = piped(loop, "grep -cE 'Sig(Blk|Ign):.[0-9a-f]{8}[08]0000000' /proc/self/status");
    t_odd_signals(true);
    check_output(loop, c, "2\n");
    t_odd_signals(false);
    close_child(loop, c);
}

CONFORM(a_wait_canceled_leaves_the_child_and_the_other_waits_alone)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c = child_of(loop, NULL, "read line; exit 5");
    t_op     *one = t_new_op(), *two = t_new_op(), *timed = t_new_op(), *early = t_new_op();
    c->options.stdio = c->stdio;
    c->options.stdio_count = 3;
    c->stdio[0].kind = PRO_STDIO_READ;
    pro_spawn(&c->spawn->op, &c->process, &c->options, t_done);
    pro_process_wait(&early->op, &c->process, t_done); /* behind the spawn */
    t_wait_count(loop, &c->spawn->done, 1);
    CHECK_ERROR(c->spawn->error, PRO_OK);
    CHECK_EQ(early->done, 0);
    pro_process_wait(&one->op, &c->process, t_done);
    pro_process_wait(&two->op, &c->process, t_done);
    timed->op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
    pro_process_wait(&timed->op, &c->process, t_done);
    t_wait_count(loop, &timed->done, 1);
    CHECK_DONE(timed, PRO_ETIMEDOUT, 0);
    pro_cancel(&one->op);
    t_wait_count(loop, &one->done, 1);
    CHECK_DONE(one, PRO_ECANCELED, 0);
    pro_scope_cancel(pro_loop_scope(loop)); /* the same for all; and nothing happens to the child */
    t_wait_count(loop, &two->done, 1);
    CHECK_DONE(two, PRO_ECANCELED, 0);
    CHECK_DONE(early, PRO_ECANCELED, 0);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK(t_is_alive(c->spawn->value));
    t_write_fd(c->stdio[0].descriptor, "go\n");
    t_close_fd(c->stdio[0].descriptor);
    CHECK_EQ(wait_for(loop, c), 5);
    close_child(loop, c);
}

CONFORM(a_signal_reaches_the_child_and_nobody_after_its_end)
{
    needs_children();
    pro_loop *loop = t_loop();
    child *c = child_of(loop, NULL, "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done");
    char   buf[8];
    c->options.stdio = c->stdio;
    c->options.stdio_count = 3;
    c->stdio[1].kind = PRO_STDIO_WRITE;
    start(loop, c);
    CHECK_EQ(t_read_all(c->stdio[1].descriptor, buf, 6), 6);
    CHECK_ERROR(pro_process_kill(&c->process, 12345), PRO_EINVAL);
    CHECK_ERROR(pro_process_kill(&c->process, SIG_TERM), PRO_OK);
    CHECK_EQ(wait_for(loop, c), t_is_posix() ? 9 : PRO_SIGNALED + SIG_TERM); /* who asks */
    CHECK_ERROR(pro_process_kill(&c->process, SIG_TERM), PRO_ENOENT);
    t_close_fd(c->stdio[1].descriptor);
    close_child(loop, c);
}

CONFORM(closing_kills_a_child_that_ignores_signals_and_waits_until_it_is_gone)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c =
        piped(loop, "trap '' TERM INT HUP; echo ready; exec >&-; while :; do sleep 0.01; done");
    char  buf[16];
    t_op *wait = t_new_op();
    start(loop, c);
    int64_t pid = c->spawn->value;
    CHECK_EQ(t_read_all(c->stdio[1].descriptor, buf, sizeof buf), 6); /* and closed its output */
    if (t_is_posix()) CHECK_ERROR(pro_process_kill(&c->process, SIG_TERM), PRO_OK);
    pro_process_wait(&wait->op, &c->process, t_done);
    close_child(loop, c);
    CHECK_DONE(wait, PRO_ECANCELED, 0);
    CHECK(!t_is_alive(pid));
    CHECK(!t_has_children());
    t_close_fd(c->stdio[1].descriptor);
}

CONFORM(closing_kills_the_whole_group_of_a_child)
{
    needs_children();
    pro_loop *loop = t_loop();
    for (int session = 0; session < 2; session++) {
        child *c = piped(loop, "(trap '' TERM; echo one; sleep 60) & echo two; wait");
        char   buf[16];
        c->options.flags = session ? PRO_SPAWN_SESSION : PRO_SPAWN_GROUP;
        start(loop, c);
        CHECK_EQ(t_read_all(c->stdio[1].descriptor, buf, 8), 8);
        close_child(loop, c);
        /* The grandchild held the pipe, too. */
        CHECK_EQ(t_read_all(c->stdio[1].descriptor, buf, 1), 0);
        t_close_fd(c->stdio[1].descriptor);
    }
    CHECK(!t_has_children());
}

CONFORM(a_child_that_leaves_a_daemon_behind_has_ended)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c = piped(loop, "setsid sh -c 'echo $$; while :; do sleep 0.01; done' & exit 3");
    char      buf[32] = "";
    start(loop, c);
    CHECK_EQ(wait_for(loop, c), 3); /* though its pipe is still open elsewhere */
    for (size_t n = 0; n == 0 || buf[n - 1] != '\n'; n++)
        CHECK_EQ(t_read_all(c->stdio[1].descriptor, buf + n, 1), 1);
    long daemon = atol(buf);
    CHECK(t_is_alive(daemon));
    close_child(loop, c);
    CHECK(t_is_alive(daemon)); /* it left the child's life, and is nobody's */
    child *killer = child_of(loop, NULL, "kill -9 $0");
    killer->args[3] = buf;
    buf[strcspn(buf, "\n")] = 0;
    start(loop, killer);
    CHECK_EQ(wait_for(loop, killer), 0);
    close_child(loop, killer);
    CHECK_EQ(t_read_all(c->stdio[1].descriptor, buf, 1), 0);
    t_close_fd(c->stdio[1].descriptor);
    CHECK(!t_has_children());
}

CONFORM(draining_a_scope_waits_for_its_child_and_kills_it_at_the_deadline)
{
    needs_children();
    pro_loop  *loop = t_loop();
    pro_scope *scope = t_new(pro_scope);
    pro_scope_init(scope, loop, NULL, NULL);
    child *quick = child_of(loop, scope, "exit 0"), *slow = child_of(loop, scope, "sleep 60");
    start(loop, quick);
    start(loop, slow);
    int64_t pid = slow->spawn->value;
    pro_scope_drain(scope, pro_loop_now(loop) + 20 * PRO_MSEC);
    t_run(loop);
    CHECK_EQ(pro_scope_live(scope), 0);
    CHECK(!t_is_alive(pid));
    CHECK(!t_has_children());
}

CONFORM(a_second_child_is_refused_while_one_runs)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c = child_of(loop, NULL, "sleep 60");
    t_op     *again = t_new_op(), *wait = t_new_op(), *behind = t_new_op();
    start(loop, c);
    pro_process_wait(&wait->op, &c->process, t_done);
    pro_spawn(&again->op, &c->process, &c->options, t_done);
    pro_process_wait(&behind->op, &c->process, t_done);
    t_wait_count(loop, &again->done, 1);
    CHECK_DONE(again, PRO_EBUSY, 0);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(wait->done + behind->done, 0);
    CHECK_ERROR(pro_process_kill(&c->process, SIG_KILL), PRO_OK);
    t_wait_count(loop, &behind->done, 1);
    CHECK_DONE(wait, PRO_OK, PRO_SIGNALED + SIG_KILL);
    CHECK_DONE(behind, PRO_OK, PRO_SIGNALED + SIG_KILL);
    close_child(loop, c);
}

static void again(t_op *t)
{
    child *c = t->ctx;
    if (t->done >= 5) return;
    pro_spawn(&c->spawn->op, &c->process, &c->options, t_done);
    pro_process_wait(&t->op, &c->process, t_done);
}

CONFORM(a_child_may_be_started_again_in_the_handler_of_its_end)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c = child_of(loop, NULL, "exit 4");
    t_op     *wait = t_new_op();
    wait->ctx = c;
    wait->then = again;
    start(loop, c);
    pro_process_wait(&wait->op, &c->process, t_done);
    t_wait_count(loop, &wait->done, 5);
    CHECK_EQ(wait->value, 4);
    CHECK_EQ(c->spawn->done, 5);
    close_child(loop, c);
    CHECK(!t_has_children());
}

CONFORM(many_children_that_end_at_once_are_all_reaped)
{
    needs_children();
    enum { COUNT = 40 };
    pro_loop *loop = t_loop();
    child    *c[COUNT];
    char      scripts[COUNT][24];
    int       count = t_rounds(COUNT);
    for (int i = 0; i < count; i++) {
        snprintf(scripts[i], sizeof scripts[i], "exit %d", i);
        c[i] = child_of(loop, NULL, scripts[i]);
        pro_spawn(&c[i]->spawn->op, &c[i]->process, &c[i]->options, t_done);
    }
    for (int i = 0; i < count; i++) CHECK_EQ(wait_for(loop, c[i]), i);
    CHECK(!t_has_children());
    for (int i = 0; i < count; i++) close_child(loop, c[i]);
}

CONFORM(a_child_that_somebody_else_waited_for_is_no_success)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c = child_of(loop, NULL, "read line; exit 0");
    t_op     *wait = t_new_op();
    c->options.stdio = c->stdio;
    c->options.stdio_count = 3;
    c->stdio[0].kind = PRO_STDIO_READ;
    start(loop, c);
    t_close_fd(c->stdio[0].descriptor);
    t_steal_child(c->spawn->value);
    pro_process_wait(&wait->op, &c->process, t_done);
    t_wait_count(loop, &wait->done, 1);
    CHECK_DONE(wait, PRO_ENOENT, 0);
    close_child(loop, c);
}

CONFORM(a_spawn_without_descriptors_says_so_and_works_later)
{
    needs_children();
    pro_loop *loop = t_loop();
    child    *c = piped(loop, "exit 0");
    t_op     *spawn = t_new_op();
    if (!t_os_descriptors_exhaust()) t_skip("descriptors cannot be exhausted here");
    pro_spawn(&spawn->op, &c->process, &c->options, t_done);
    t_wait_count(loop, &spawn->done, 1);
    t_os_descriptors_restore();
    CHECK_DONE(spawn, PRO_EMFILE, 0);
    CHECK(!t_has_children());
    start(loop, c);
    t_close_fd(c->stdio[1].descriptor);
    CHECK_EQ(wait_for(loop, c), 0);
    close_child(loop, c);
}

CONFORM(a_spawn_canceled_closed_or_timed_out_completes_once_and_leaves_no_child)
{
    needs_children();
    pro_loop *loop = t_loop();
    int       ran = 0;
    for (int i = 0, rounds = t_rounds(60); i < rounds; i++) {
        child *c = piped(loop, "sleep 60");
        t_op  *wait = t_new_op();
        int    way = i % 4;
        if (way == 0) c->spawn->op.deadline_ns = pro_loop_now(loop) + t_below(2000) * PRO_USEC;
        pro_spawn(&c->spawn->op, &c->process, &c->options, t_done);
        pro_process_wait(&wait->op, &c->process, t_done);
        for (uint64_t n = t_below(3); n > 0; n--) t_poll(loop);
        if (way == 1) pro_cancel(&c->spawn->op);
        if (way == 2) pro_scope_cancel(pro_loop_scope(loop));
        if (way == 3) t_poll(loop);
        close_child(loop, c);
        CHECK_EQ(c->spawn->done, 1);
        CHECK_EQ(wait->done, 1);
        if (c->spawn->error == PRO_OK) {
            t_close_fd(c->stdio[1].descriptor);
            ran++;
        } else {
            CHECK(c->spawn->error == PRO_ECANCELED || c->spawn->error == PRO_ETIMEDOUT);
        }
        CHECK(!t_has_children());
    }
    t_note("%d ran\n", ran);
}
