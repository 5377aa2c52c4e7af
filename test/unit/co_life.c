/* The life of coroutines, decided one record at a time on the scripted engine: start, results, joins,
 * cancel by scope and by task (contract 20), shields, deadlines, awaits outside of the own scope. */
#include "unit.h"

#include <proactor.h>

#include "co/co.h"
#include "engine/scripted/scripted.h"

static pro_loop  *loop;
static pro_socket sock;
static char       trace[256]; /* a word for each thing that happened, in order */

static void say(const char *word)
{
    size_t len = strlen(trace);
    snprintf(trace + len, sizeof trace - len, "%s%s", len ? " " : "", word);
}

static void say_result(const char *word, int64_t result)
{
    char text[64];
    if (result < 0)
        snprintf(text, sizeof text, "%s=%s", word, pro_error_name((int)result));
    else
        snprintf(text, sizeof text, "%s=%lld", word, (long long)result);
    say(text);
}

#define CHECK_TRACE(want)                                                                          \
    do {                                                                                           \
        if (strcmp(trace, want) != 0) {                                                            \
            printf("FAIL %s: %s:%d: \"%s\", want \"%s\"\n", unit_name, __FILE__, __LINE__, trace,  \
                   want);                                                                          \
            longjmp(unit_end, 1);                                                                  \
        }                                                                                          \
        trace[0] = '\0';                                                                           \
    } while (0)

static void set_up(void)
{
    trace[0] = '\0';
    memset(&sock, 0, sizeof sock);
    CHECK_EQ(pri_scripted_loop_new(&loop), PRO_OK);
    CHECK_EQ(pro_socket_adopt(&sock, loop, NULL, 7), PRO_OK);
}

static void ignore(pro_op *op) { (void)op; }
static void ignore_arg(void *arg) { (void)arg; }

static void tear_down(void)
{
    static pro_op close;
    pro_close(&close, &sock, ignore);
    for (int i = 0; i < 20; i++) pro_loop_poll(loop);
    pro_co_stats stats;
    pro_co_stats_get(loop, &stats);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

static void turn(int turns)
{
    while (turns-- > 0) pro_loop_poll(loop);
}

static pro_scope *root(void) { return pro_loop_scope(loop); }

/* The operation that the coroutine of this task waits for. */
static pro_op *awaited(const pro_task *task)
{
    CHECK(task->pri_co && pri_co_awaited(task->pri_co));
    return pri_co_awaited(task->pri_co);
}

static void report(const pro_task *task, int error, int64_t value)
{
    pri_scripted_report(loop, awaited(task), error, value, 0);
    turn(1);
}

/* ---- Start, run, end ------------------------------------------------------------------------ */

static void say_arg(void *arg) { say(arg); }

UNIT(a_coroutine_runs_later_once_and_in_order)
{
    set_up();
    CHECK_EQ(pro_go(root(), say_arg, "one", NULL), PRO_OK);
    CHECK_EQ(pro_go(root(), say_arg, "two", NULL), PRO_OK);
    CHECK_TRACE("");
    CHECK_EQ(pro_scope_live(root()), 1 + 2 * 2); /* the socket; a hold and a start each */
    turn(1);
    CHECK_TRACE("one two");
    CHECK_EQ(pro_scope_live(root()), 1);
    turn(2);
    CHECK_TRACE("");
    tear_down();
}

static void receive(void *arg)
{
    char    buf[10];
    int64_t n = pro_await_recv(arg, buf, sizeof buf);
    say_result("recv", n);
    say_result("value", pro_co_value());
    n = pro_await_recv_exactly(arg, buf, sizeof buf);
    say_result("recv", n);
    say_result("value", pro_co_value());
}

UNIT(an_await_gives_the_value_or_the_error_and_both_are_there)
{
    set_up();
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    CHECK_EQ(pro_go(root(), receive, &sock, &o), PRO_OK);
    turn(1);
    CHECK(pri_scripted_is_started(loop, awaited(&task)));
    CHECK_EQ(strncmp(pro_op_site(awaited(&task)), "test/unit/co_life.c:", 20), 0);
    report(&task, PRO_OK, 3);
    CHECK_TRACE("recv=3 value=3");
    report(&task, PRO_OK, 4);
    report(&task, PRO_ECONNRESET, 0);
    CHECK_TRACE("recv=PRO_ECONNRESET value=4");
    CHECK(!pro_task_running(&task));
    tear_down();
}

static void spawn_inner(void *arg)
{
    say("outer");
    CHECK_EQ(pro_go(NULL, say_arg, arg, NULL), PRO_OK);
    say("still");
    pro_yield();
    say("outer");
}

UNIT(a_coroutine_starts_another_in_its_own_scope)
{
    set_up();
    pro_scope scope;
    pro_scope_init(&scope, loop, NULL, NULL);
    CHECK_EQ(pro_go(&scope, spawn_inner, "inner", NULL), PRO_OK);
    turn(1);
    CHECK_TRACE("outer still");
    CHECK_EQ(pro_scope_live(&scope), 4);
    turn(1);
    CHECK_TRACE("inner outer");
    CHECK_EQ(pro_scope_live(&scope), 0);
    pro_scope_close(&scope);
    turn(2);
    tear_down();
}

static void who_am_i(void *arg)
{
    CHECK(pro_co_running());
    CHECK(pro_co_loop() == loop);
    CHECK(pro_co_scope() == root());
    say(pro_co_name());
    (void)arg;
}

UNIT(a_coroutine_knows_its_name_loop_and_scope)
{
    set_up();
    pro_go_options o = {.name = "worker"};
    CHECK(!pro_co_running());
    CHECK_EQ(pro_go(root(), who_am_i, NULL, &o), PRO_OK);
    CHECK_EQ(pro_go(root(), who_am_i, NULL, NULL), PRO_OK);
    CHECK_EQ((pro_go)(root(), who_am_i, NULL, NULL), PRO_OK); /* as other languages call it */
    turn(1);
    CHECK_TRACE("worker who_am_i ?");
    CHECK(!pro_co_running());
    tear_down();
}

UNIT(stacks_are_used_again)
{
    set_up();
    pro_co_stats stats;
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(pro_go(root(), ignore_arg, NULL, NULL), PRO_OK);
        turn(1);
    }
    pro_co_stats_get(loop, &stats);
    CHECK_EQ(stats.started, 1000);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.live_max, 1);
    CHECK_EQ(stats.stacks, 1);
    tear_down();
}

UNIT(a_stack_that_cannot_be_had_is_an_error_and_nothing_runs)
{
    set_up();
    pro_go_options o = {.stack_size = SIZE_MAX / 2};
    CHECK_EQ(pro_go(root(), say_arg, "never", &o), PRO_EINVAL);
    turn(2);
    CHECK_TRACE("");
    CHECK_EQ(pro_scope_live(root()), 1);
    tear_down();
}

/* ---- Tasks ---------------------------------------------------------------------------------- */

static void answer(void *arg)
{
    (void)arg;
    pro_yield();
    pro_co_result(42);
}

static void joined(pro_op *op)
{
    say_result(op->user ? op->user : "joined", op->error ? op->error : op->value);
}

static void join_in_coroutine(void *arg) { say_result("await", pro_await_join(arg)); }

UNIT(joins_give_the_result_before_and_after_the_end)
{
    set_up();
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    pro_op         first = {.user = "first"}, second = {.user = "second"};
    CHECK_EQ(pro_go(root(), answer, NULL, &o), PRO_OK);
    CHECK(pro_task_running(&task));
    pro_join(&first, &task, joined);
    CHECK_EQ(pro_go(root(), join_in_coroutine, &task, NULL), PRO_OK);
    turn(1);
    CHECK_TRACE("");
    turn(2);
    CHECK_TRACE("first=42 await=42");
    CHECK(!pro_task_running(&task));
    CHECK_EQ(task.result, 42);
    pro_join(&second, &task, joined);
    CHECK_TRACE("");
    turn(1);
    CHECK_TRACE("second=42");
    tear_down();
}

UNIT(a_join_has_a_deadline_and_can_be_canceled)
{
    set_up();
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    pro_op         late = {.user = "late"}, gone = {.user = "gone"};
    CHECK_EQ(pro_go(root(), receive, &sock, &o), PRO_OK);
    late.deadline_ns = pro_loop_now(loop) + 100;
    pro_join(&late, &task, joined);
    pro_join(&gone, &task, joined);
    turn(1);
    pro_cancel(&gone);
    pri_scripted_advance(loop, 200);
    turn(2);
    CHECK_TRACE("gone=PRO_ECANCELED late=PRO_ETIMEDOUT");
    CHECK(pro_task_running(&task)); /* nothing happened to it */
    report(&task, PRO_OK, 10);
    report(&task, PRO_OK, 10);
    CHECK(!pro_task_running(&task));
    tear_down();
}

UNIT(a_detached_task_is_the_callers_at_once)
{
    set_up();
    pro_task      *task = calloc(1, sizeof *task);
    pro_go_options o = {.task = task};
    pro_op         join = {.user = "join"};
    CHECK_EQ(pro_go(root(), answer, NULL, &o), PRO_OK);
    pro_join(&join, task, joined);
    pro_task_detach(task);
    CHECK(!pro_task_running(task));
    free(task);
    turn(3);
    CHECK_TRACE("join=PRO_ECANCELED");
    tear_down();
}

UNIT(a_task_may_be_used_again)
{
    set_up();
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pro_go(root(), answer, NULL, &o), PRO_OK);
        turn(2);
        CHECK_EQ(task.result, 42);
    }
    tear_down();
}

/* ---- Cancel --------------------------------------------------------------------------------- */

static void try_everything(void *arg)
{
    char buf[4] = {0};
    say_result("recv", pro_await_recv(arg, buf, sizeof buf));
    say(pro_co_canceled() ? "canceled" : "open");
    say_result("recv", pro_await_recv(arg, buf, sizeof buf));
    say_result("send", pro_await_send_all(arg, buf, sizeof buf));
    say_result("nothing", pro_await_recv(arg, buf, 0));
    say_result("sleep", pro_await_sleep(5));
    say_result("yield", pro_yield());
    say_result("close", pro_await_close(arg));
    say_result("close", pro_await_close(arg));
}

#define ALL_CANCELED                                                                               \
    "recv=PRO_ECANCELED canceled recv=PRO_ECANCELED send=PRO_ECANCELED nothing=PRO_ECANCELED "     \
    "sleep=PRO_ECANCELED yield=PRO_ECANCELED close=0 close=0"

static bool is_drained;
static void on_drained(pro_scope *scope)
{
    (void)scope;
    is_drained = true;
}

UNIT(closing_the_scope_cancels_the_await_and_all_later_ones_but_closes)
{
    set_up();
    pro_scope      scope;
    pro_socket     s = {0};
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    is_drained = false;
    pro_scope_init(&scope, loop, NULL, on_drained);
    CHECK_EQ(pro_socket_adopt(&s, loop, &scope, 8), PRO_OK);
    CHECK_EQ(pro_go(&scope, try_everything, &s, &o), PRO_OK);
    turn(1);
    pro_op *op = awaited(&task);
    pro_scope_close(&scope);
    CHECK_EQ(pri_scripted_cancels(loop, op), 1);
    CHECK_TRACE("");
    report(&task, PRO_ECANCELED, 0);
    CHECK(!is_drained);
    turn(10);
    CHECK_TRACE(ALL_CANCELED);
    CHECK(is_drained);
    CHECK_EQ(pri_scripted_starts(loop), 1); /* nothing but the first receive reached the kernel */
    tear_down();
}

UNIT(canceling_the_task_does_the_same_in_an_open_scope)
{
    set_up();
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    CHECK_EQ(pro_go(root(), try_everything, &sock, &o), PRO_OK);
    turn(1);
    pro_task_cancel(&task);
    pro_task_cancel(&task);
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 1);
    report(&task, PRO_ECANCELED, 0);
    turn(10);
    CHECK_TRACE(ALL_CANCELED);
    CHECK_EQ(pri_scripted_starts(loop), 1);
    pro_task_cancel(&task); /* it has ended: nothing */
    tear_down();
}

static void count_yields(void *arg)
{
    while (!pro_co_canceled()) pro_yield();
    for (int i = 0; i < 3; i++) {
        say_result("sleep", pro_await_sleep(5));
        ++*(int *)arg;
    }
}

UNIT(each_canceled_await_yields_once)
{
    set_up();
    pro_scope scope;
    int       count = 0;
    pro_scope_init(&scope, loop, NULL, NULL);
    CHECK_EQ(pro_go(&scope, count_yields, &count, NULL), PRO_OK);
    turn(3);
    pro_scope_close(&scope);
    turn(1);
    CHECK_EQ(count, 0);
    turn(1);
    CHECK_EQ(count, 1);
    turn(1);
    CHECK_EQ(count, 2);
    turn(3);
    CHECK_EQ(count, 3);
    tear_down();
}

UNIT(one_that_starts_in_a_closing_scope_runs_and_finds_itself_canceled)
{
    set_up();
    pro_scope scope;
    int       count = 0;
    pro_scope_init(&scope, loop, NULL, NULL);
    pro_scope_close(&scope);
    CHECK_EQ(pro_go(&scope, count_yields, &count, NULL), PRO_OK);
    turn(10);
    CHECK_EQ(count, 3);
    CHECK_TRACE("sleep=PRO_ECANCELED sleep=PRO_ECANCELED sleep=PRO_ECANCELED");
    tear_down();
}

static void sleep_twice(void *arg)
{
    (void)arg;
    say_result("first", pro_await_sleep(1000));
    say_result("second", pro_await_sleep(1000));
}

UNIT(canceling_what_is_in_a_scope_stops_at_what_is_awaited_now)
{
    set_up();
    CHECK_EQ(pro_go(root(), sleep_twice, NULL, NULL), PRO_OK);
    turn(1);
    pro_scope_cancel(root());
    turn(2);
    CHECK_TRACE("first=PRO_ECANCELED");
    pri_scripted_advance(loop, 2000);
    turn(2);
    CHECK_TRACE("second=0");
    tear_down();
}

static void last_words(void *arg)
{
    char buf[4] = {0};
    say_result("recv", pro_await_recv(arg, buf, sizeof buf));
    pro_co_shield();
    say(pro_co_canceled() ? "canceled" : "shielded");
    say_result("send", pro_await_send_all(arg, buf, sizeof buf));
    say_result("sleep", pro_await_sleep(10));
    pro_co_unshield();
    say_result("send", pro_await_send_all(arg, buf, sizeof buf));
}

UNIT(what_is_shielded_is_not_canceled)
{
    set_up();
    pro_scope      scope;
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    pro_scope_init(&scope, loop, NULL, NULL);
    CHECK_EQ(pro_go(&scope, last_words, &sock, &o), PRO_OK); /* the socket is in the root scope */
    turn(1);
    pro_scope_close(&scope);
    turn(2); /* the guard is told, and cancels the receive */
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 1);
    report(&task, PRO_ECANCELED, 0);
    CHECK_TRACE("recv=PRO_ECANCELED shielded");
    pro_task_cancel(&task);
    turn(2);
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 0);
    report(&task, PRO_OK, 4);
    pri_scripted_advance(loop, 20);
    turn(4);
    CHECK_TRACE("send=4 sleep=0 send=PRO_ECANCELED");
    tear_down();
}

/* ---- Awaits outside of the own scope -------------------------------------------------------- */

UNIT(closing_its_scope_ends_an_await_on_a_socket_of_another)
{
    set_up();
    pro_scope      scope;
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    is_drained = false;
    pro_scope_init(&scope, loop, NULL, on_drained);
    CHECK_EQ(pro_go(&scope, try_everything, &sock, &o), PRO_OK);
    turn(1);
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 0);
    pro_scope_close(&scope);
    turn(2);
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 1);
    report(&task, PRO_ECANCELED, 0);
    turn(10);
    CHECK_TRACE(ALL_CANCELED);
    CHECK(is_drained);
    CHECK_EQ(pri_scripted_starts(loop), 1);
    tear_down();
}

static void receive_once(void *arg)
{
    char buf[4];
    say_result("recv", pro_await_recv(arg, buf, sizeof buf));
}

static void sleep_and_say(void *arg)
{
    pro_await_sleep(10);
    say(arg);
}

UNIT(a_stack_whose_guard_is_in_flight_goes_back_once_and_later)
{
    set_up();
    pro_scope      scope;
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    pro_scope_init(&scope, loop, NULL, NULL);
    CHECK_EQ(pro_go(&scope, receive_once, &sock, &o), PRO_OK);
    turn(1);
    pri_scripted_report(loop, awaited(&task), PRO_OK, 4, 0);
    pro_loop_poll(loop); /* it ends; its guard stands in the scope, canceled */
    CHECK(!pro_task_running(&task));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pro_go(root(), sleep_and_say, "one", NULL), PRO_OK);
        CHECK_EQ(pro_go(root(), sleep_and_say, "two", NULL), PRO_OK);
        CHECK_EQ(pro_go(root(), sleep_and_say, "three", NULL), PRO_OK);
        turn(2);
        pri_scripted_advance(loop, 20);
        turn(2);
    }
    CHECK_TRACE("recv=4 one two three one two three");
    CHECK_EQ(pro_scope_live(&scope), 0);
    pro_scope_close(&scope);
    turn(2);
    tear_down();
}

UNIT(draining_the_sockets_scope_waits_for_the_coroutine_that_uses_it)
{
    set_up();
    pro_scope      theirs;
    pro_socket     s = {0};
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    is_drained = false;
    pro_scope_init(&theirs, loop, NULL, on_drained);
    CHECK_EQ(pro_socket_adopt(&s, loop, &theirs, 8), PRO_OK);
    CHECK_EQ(pro_go(root(), receive, &s, &o), PRO_OK);
    turn(1);
    pro_scope_drain(&theirs, PRO_NEVER);
    turn(3);
    CHECK(!is_drained);
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 0);
    report(&task, PRO_OK, 3);
    report(&task, PRO_OK, 10);
    turn(3);
    CHECK(is_drained);
    CHECK_TRACE("recv=3 value=3 recv=10 value=10");
    tear_down();
}

static void receive_twice(void *arg)
{
    char buf[4];
    say_result("recv", pro_await_recv(arg, buf, sizeof buf));
    say_result("recv", pro_await_recv(arg, buf, sizeof buf));
}

UNIT(a_cancel_that_comes_late_leaves_the_next_await_alone)
{
    set_up();
    pro_scope      scope;
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    pro_scope_init(&scope, loop, NULL, NULL);
    CHECK_EQ(pro_go(&scope, receive_twice, &sock, &o), PRO_OK);
    turn(1);
    pri_scripted_report(loop, awaited(&task), PRO_OK, 4, 0);
    pro_scope_cancel(&scope); /* the record comes before the guard's handler: recv is complete */
    turn(3);
    CHECK_TRACE("recv=4");
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 0);
    pro_scope_cancel(&scope); /* the guard stands again */
    turn(2);
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 1);
    report(&task, PRO_ECANCELED, 0);
    CHECK_TRACE("recv=PRO_ECANCELED");
    pro_scope_close(&scope);
    turn(4);
    tear_down();
}

/* ---- pro_await ------------------------------------------------------------------------------ */

static void race(void *arg)
{
    char   buf[8];
    pro_op got = {0}, late = {0};
    pro_recv(&got, arg, buf, sizeof buf, pro_awake);
    pro_sleep(&late, loop, 1000, pro_awake);
    say_result("got", pro_await(&got));
    pro_cancel(&late);
    say_result("late", pro_await(&late));
    say_result("again", pro_await(&late)); /* over: at once */
}

UNIT(two_operations_at_once_are_awaited_one_after_the_other)
{
    set_up();
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    CHECK_EQ(pro_go(root(), race, &sock, &o), PRO_OK);
    turn(1);
    report(&task, PRO_OK, 5);
    turn(2);
    CHECK_TRACE("got=5 late=PRO_ECANCELED again=PRO_ECANCELED");

    /* The sleep ends first: nobody waits for it yet. */
    CHECK_EQ(pro_go(root(), race, &sock, &o), PRO_OK);
    turn(1);
    pri_scripted_advance(loop, 2000);
    turn(3);
    CHECK_TRACE("");
    report(&task, PRO_OK, 6);
    CHECK_TRACE("got=6 late=0 again=0");
    tear_down();
}

UNIT(pro_await_is_canceled_too_wherever_the_operation_counts)
{
    set_up();
    pro_scope      scope;
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    is_drained = false;
    pro_scope_init(&scope, loop, NULL, on_drained);
    CHECK_EQ(pro_go(&scope, race, &sock, &o), PRO_OK);
    turn(1);
    pro_scope_close(&scope);
    turn(2);
    CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 1);
    report(&task, PRO_ECANCELED, 0);
    turn(4);
    CHECK_TRACE("got=PRO_ECANCELED late=PRO_ECANCELED again=PRO_ECANCELED");
    CHECK(is_drained);
    tear_down();
}

/* ---- Deadlines ------------------------------------------------------------------------------ */

static void with_deadlines(void *arg)
{
    char     buf[8];
    uint64_t now = pro_loop_now(loop);
    say_result("by", pro_await_recv_by(arg, buf, sizeof buf, now + 100));
    say_result("general", (int64_t)pro_co_deadline(now + 500));
    say_result("earlier", pro_await_recv_by(arg, buf, sizeof buf, now + 300));
    say_result("later", pro_await_recv_by(arg, buf, sizeof buf, now + 900));
    say_result("past", pro_await_sleep(1));
    say(pro_co_deadline(PRO_NEVER) == now + 500 ? "restored" : "lost");
    say_result("none", pro_await_sleep(1));
}

UNIT(deadlines_end_an_await_its_own_or_the_coroutines)
{
    set_up();
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    CHECK_EQ(pro_go(root(), with_deadlines, &sock, &o), PRO_OK);
    turn(1);
    for (int i = 0; i < 3; i++) {
        pri_scripted_advance(loop, 200);
        turn(1);
        CHECK_EQ(pri_scripted_cancels(loop, awaited(&task)), 1);
        report(&task, PRO_ECANCELED, 0);
    }
    pri_scripted_advance(loop, 10);
    turn(3);
    pri_scripted_advance(loop, 10);
    turn(3);
    CHECK_TRACE("by=PRO_ETIMEDOUT general=0 earlier=PRO_ETIMEDOUT later=PRO_ETIMEDOUT "
                "past=PRO_ETIMEDOUT restored none=0");
    tear_down();
}

/* ---- Accept --------------------------------------------------------------------------------- */

static pro_listener listener;

static void accept_two(void *arg)
{
    pro_scope        *scope = arg;
    static pro_socket taken;
    say_result("accept", pro_await_accept(&listener, &taken, scope));
    say_result("descriptor", pro_socket_descriptor(&taken));
    say_result("close", pro_await_close(&taken));
    say_result("accept", pro_await_accept(&listener, &taken, scope));
    pro_await_listener_close(&listener);
}

UNIT(an_accept_takes_the_connection_and_a_closing_scope_refuses_it)
{
    set_up();
    pro_scope      scope;
    pro_task       task = {0};
    pro_go_options o = {.task = &task};
    pro_address    any = pro_address_any(PRO_IPV4, 0);
    memset(&listener, 0, sizeof listener);
    pro_scope_init(&scope, loop, NULL, NULL);
    CHECK_EQ(pro_listen(&listener, loop, NULL, &any, NULL), PRO_OK);
    CHECK_EQ(pro_go(root(), accept_two, &scope, &o), PRO_OK);
    turn(1);
    report(&task, PRO_OK, 77);
    turn(3);
    CHECK_TRACE("accept=0 descriptor=77 close=0");
    pro_scope_close(&scope);
    int closed = pri_scripted_closed();
    report(&task, PRO_OK, 78);
    turn(3);
    CHECK_TRACE("accept=PRO_ECANCELED");
    CHECK_EQ(pri_scripted_closed(), closed + 2); /* the connection nobody took, the listener */
    tear_down();
}

/* ---- Nothing left over ---------------------------------------------------------------------- */

static int  live_blocks;
static long fail_after = -1;

static void *counted(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size && fail_after >= 0 && fail_after-- == 0) {
        fail_after = 0;
        return NULL;
    }
    if (!ptr && size) live_blocks++;
    if (ptr && !size) live_blocks--;
    return pri_os_realloc(NULL, ptr, size);
}

/* The system's number for it. */
static int no_memory(void)
{
    int number = 1;
    while (pri_os_error(number) != PRO_ENOMEM) number++;
    return number;
}

static const char *faulty;
static int         faults(void *ctx, const char *call)
{
    (void)ctx;
    return faulty && strcmp(call, faulty) == 0 ? no_memory() : 0;
}

UNIT(when_memory_ends_pro_go_says_so_and_all_comes_back)
{
    pro_loop_options options = {PRO_VERSION, .env = {.realloc = counted, .fault = faults}};
    int              refused = 0;
    for (long n = 0;; n++) {
        fail_after = -1;
        CHECK_EQ(pro_loop_new(&loop, &options), PRO_OK);
        fail_after = n;
        int error = pro_go(pro_loop_scope(loop), ignore_arg, NULL, NULL);
        fail_after = -1;
        pro_loop_run(loop);
        CHECK_EQ(pro_loop_free(loop), PRO_OK);
        CHECK_EQ(live_blocks, 0);
        if (error == PRO_OK) break;
        CHECK_EQ(error, PRO_ENOMEM);
        refused++;
    }
    CHECK_EQ(refused, 3); /* the home, the size, the slab */
    static const char *const calls[] = {"mmap", "guard"};
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pro_loop_new(&loop, &options), PRO_OK);
        faulty = calls[i];
        CHECK_EQ(pro_go(pro_loop_scope(loop), ignore_arg, NULL, NULL), PRO_ENOMEM);
        faulty = NULL;
        CHECK_EQ(pro_go(pro_loop_scope(loop), ignore_arg, NULL, NULL), PRO_OK);
        pro_loop_run(loop);
        CHECK_EQ(pro_loop_free(loop), PRO_OK);
        CHECK_EQ(live_blocks, 0);
    }
}

UNIT(a_loop_with_a_coroutine_is_not_freed)
{
    set_up();
    CHECK_EQ(pro_go(root(), sleep_twice, NULL, NULL), PRO_OK);
    turn(1);
    CHECK_EQ(pro_loop_free(loop), PRO_EBUSY);
    pri_scripted_advance(loop, 5000);
    turn(2);
    pri_scripted_advance(loop, 5000);
    turn(2);
    CHECK_TRACE("first=0 second=0");
    tear_down();
}
