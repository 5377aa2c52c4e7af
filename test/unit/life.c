/* The life of an operation, decided one record at a time on the scripted engine: precedence (contract
 * 6), deadlines, order, holes, close, scopes. */
#include "unit.h"

#include <proactor.h>

#include "core/op.h"
#include "engine/scripted/scripted.h"

typedef struct fixture {
    pro_loop  *loop;
    pro_socket sock;
    char       buf[64];
    char       log[256]; /* a letter for each handler, in the order in which they ran */
} fixture;

typedef struct noted {
    pro_op   op;
    fixture *f;
    char     letter;
    int      runs, error;
    int64_t  value;
    unsigned flags;
    uint64_t deadline_ns;
} noted;

static fixture f;

static void note(pro_op *op)
{
    noted *n = pro_container_of(op, noted, op);
    n->runs++;
    n->error = op->error;
    n->value = op->value;
    n->flags = op->flags;
    n->deadline_ns = op->deadline_ns;
    size_t len = strlen(f.log);
    if (len + 1 < sizeof f.log) f.log[len] = n->letter;
}

static void set_up(void)
{
    memset(&f, 0, sizeof f);
    CHECK_EQ(pri_scripted_loop_new(&f.loop), PRO_OK);
    CHECK_EQ(pro_socket_adopt(&f.sock, f.loop, NULL, 7), PRO_OK);
}

static void tear_down(void)
{
    noted close = {.letter = '.'};
    pro_close(&close.op, &f.sock, note);
    while (close.runs == 0) pro_loop_poll(f.loop);
    CHECK_EQ(pro_loop_free(f.loop), PRO_OK);
}

static void report(noted *n, int error, int64_t value)
{
    pri_scripted_report(f.loop, &n->op, error, value, 0);
    pro_loop_poll(f.loop);
}

/* ---- Precedence ----------------------------------------------------------------------------- */

UNIT(a_complete_result_is_ok_whatever_the_cause)
{
    set_up();
    noted n = {.letter = 'r'};
    pro_recv(&n.op, &f.sock, f.buf, 10, note);
    pro_cancel(&n.op);
    CHECK_EQ(pri_scripted_cancels(f.loop, &n.op), 1);
    report(&n, PRO_OK, 3);
    CHECK_EQ(n.runs, 1);
    CHECK_EQ(n.error, PRO_OK);
    CHECK_EQ(n.value, 3);
    tear_down();
}

UNIT(an_incomplete_result_reports_the_cause_and_the_bytes)
{
    set_up();
    noted n = {.letter = 's'};
    pro_send_all(&n.op, &f.sock, f.buf, 10, note);
    pro_cancel(&n.op);
    report(&n, PRO_OK, 4); /* as a ring answers a canceled send: with a count */
    CHECK_EQ(n.error, PRO_ECANCELED);
    CHECK_EQ(n.value, 4);
    tear_down();
}

UNIT(the_first_cause_stands)
{
    set_up();
    noted n = {.letter = 'r', .op.deadline_ns = 0};
    n.op.deadline_ns = pro_loop_now(f.loop) + 100;
    pro_recv_exactly(&n.op, &f.sock, f.buf, 10, note);
    pri_scripted_advance(f.loop, 200);
    pro_loop_poll(f.loop); /* the deadline is accepted as the cause */
    CHECK_EQ(n.runs, 0);
    pro_cancel(&n.op);
    pro_socket_cancel(&f.sock);
    CHECK_EQ(pri_scripted_cancels(f.loop, &n.op), 1);
    report(&n, PRO_ECANCELED, 0);
    CHECK_EQ(n.error, PRO_ETIMEDOUT);
    CHECK_EQ(n.deadline_ns, PRO_NEVER);
    tear_down();
}

UNIT(a_cause_beats_the_error_that_follows_it)
{
    set_up();
    noted n = {.letter = 'r'};
    pro_recv(&n.op, &f.sock, f.buf, 10, note);
    pro_cancel(&n.op);
    report(&n, PRO_ECONNRESET, 0);
    CHECK_EQ(n.error, PRO_ECANCELED);
    tear_down();
}

UNIT(an_error_without_a_cause_keeps_the_bytes_before_it)
{
    set_up();
    noted n = {.letter = 'r'};
    pro_recv_exactly(&n.op, &f.sock, f.buf, 10, note);
    report(&n, PRO_OK, 6);
    CHECK_EQ(n.runs, 0);
    report(&n, PRO_ECONNRESET, 0);
    CHECK_EQ(n.error, PRO_ECONNRESET);
    CHECK_EQ(n.value, 6);
    tear_down();
}

UNIT(the_end_of_a_stream_within_recv_exactly_says_how_far_it_came)
{
    set_up();
    noted n = {.letter = 'r'};
    pro_recv_exactly(&n.op, &f.sock, f.buf, 10, note);
    report(&n, PRO_OK, 6);
    report(&n, PRO_OK, 0);
    CHECK_EQ(n.error, PRO_EOF);
    CHECK_EQ(n.value, 6);
    tear_down();
}

UNIT(a_record_and_a_deadline_in_one_turn_the_record_wins)
{
    set_up();
    noted n = {.letter = 'r'};
    n.op.deadline_ns = pro_loop_now(f.loop) + 100;
    pro_recv(&n.op, &f.sock, f.buf, 10, note);
    pri_scripted_advance(f.loop, 200);
    report(&n, PRO_OK, 5);
    CHECK_EQ(n.error, PRO_OK);
    CHECK_EQ(n.value, 5);
    tear_down();
}

UNIT(cancel_between_the_steps_of_a_composed_operation_stops_it)
{
    set_up();
    noted n = {.letter = 's'};
    pro_send_all(&n.op, &f.sock, f.buf, 10, note);
    report(&n, PRO_OK, 4);
    CHECK_EQ(pri_scripted_starts(f.loop), 2);
    pro_cancel(&n.op);
    report(&n, PRO_ECANCELED, 0);
    CHECK_EQ(n.error, PRO_ECANCELED);
    CHECK_EQ(n.value, 4);
    CHECK_EQ(pri_scripted_starts(f.loop), 2);
    tear_down();
}

/* ---- Order, one step per direction ---------------------------------------------------------- */

UNIT(one_step_per_direction_is_with_the_engine)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};
    pro_recv(&a.op, &f.sock, f.buf, 10, note);
    pro_recv(&b.op, &f.sock, f.buf, 10, note);
    pro_send(&c.op, &f.sock, f.buf, 10, note);
    CHECK(pri_scripted_is_started(f.loop, &a.op));
    CHECK(!pri_scripted_is_started(f.loop, &b.op));
    CHECK(pri_scripted_is_started(f.loop, &c.op));
    report(&a, PRO_OK, 1);
    CHECK(pri_scripted_is_started(f.loop, &b.op));
    report(&b, PRO_OK, 1);
    report(&c, PRO_OK, 10);
    CHECK(strcmp(f.log, "abc") == 0);
    tear_down();
}

UNIT(a_short_send_goes_on_when_something_waits_behind_it_and_only_then)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'};
    pro_send(&a.op, &f.sock, f.buf, 10, note);
    pro_send(&b.op, &f.sock, f.buf, 10, note);
    report(&a, PRO_OK, 4);
    CHECK_EQ(a.runs, 0);
    report(&a, PRO_OK, 6);
    CHECK_EQ(a.value, 10);
    report(&b, PRO_OK, 4);
    CHECK_EQ(b.error, PRO_OK);
    CHECK_EQ(b.value, 4);
    tear_down();
}

UNIT(shutdown_queues_behind_sends_and_ends_the_write_side)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'}, d = {.letter = 'd'};
    pro_send_all(&a.op, &f.sock, f.buf, 10, note);
    pro_shutdown(&b.op, &f.sock, note);
    pro_send(&c.op, &f.sock, f.buf, 10, note);
    pro_shutdown(&d.op, &f.sock, note);
    pro_loop_poll(f.loop);
    CHECK(f.log[0] == 0);
    report(&a, PRO_OK, 10);
    pro_loop_poll(f.loop);
    CHECK(strcmp(f.log, "abcd") == 0);
    CHECK_EQ(b.error, PRO_OK);
    CHECK_EQ(c.error, PRO_EPIPE);
    CHECK_EQ(d.error, PRO_OK);
    tear_down();
}

UNIT(reads_wait_for_connect_and_fail_with_it)
{
    set_up();
    pro_address to = pro_address_loopback(PRO_IPV4, 1);
    noted       a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};
    pro_connect(&a.op, &f.sock, &to, note);
    pro_recv(&b.op, &f.sock, f.buf, 10, note);
    pro_send(&c.op, &f.sock, f.buf, 10, note);
    CHECK_EQ(pri_scripted_starts(f.loop), 1);
    report(&a, PRO_ECONNREFUSED, 0);
    pro_loop_poll(f.loop);
    CHECK_EQ(a.error, PRO_ECONNREFUSED);
    CHECK_EQ(b.error, PRO_ECONNREFUSED);
    CHECK_EQ(c.error, PRO_ECONNREFUSED);
    CHECK_EQ(pri_scripted_starts(f.loop), 1);
    tear_down();
}

UNIT(a_connect_canceled_in_the_queue_lets_the_reads_go)
{
    set_up();
    pro_address to = pro_address_loopback(PRO_IPV4, 1);
    noted       a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};
    pro_send_all(&a.op, &f.sock, f.buf, 10, note);
    pro_connect(&b.op, &f.sock, &to, note);
    pro_recv(&c.op, &f.sock, f.buf, 10, note);
    CHECK(!pri_scripted_is_started(f.loop, &c.op));
    pro_cancel(&b.op);
    CHECK(pri_scripted_is_started(f.loop, &c.op));
    report(&c, PRO_OK, 1);
    report(&a, PRO_OK, 10);
    CHECK_EQ(b.error, PRO_ECANCELED);
    tear_down();
}

/* ---- Holes ---------------------------------------------------------------------------------- */

UNIT(a_send_cut_short_ends_the_write_side)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'}, d = {.letter = 'd'};
    pro_send_all(&a.op, &f.sock, f.buf, 10, note);
    pro_send(&b.op, &f.sock, f.buf, 10, note);
    pro_cancel(&a.op);
    report(&a, PRO_ECANCELED, 3);
    pro_send(&c.op, &f.sock, f.buf, 10, note);
    pro_shutdown(&d.op, &f.sock, note);
    pro_loop_poll(f.loop);
    CHECK_EQ(a.error, PRO_ECANCELED);
    CHECK_EQ(a.value, 3);
    CHECK_EQ(b.error, PRO_EPIPE);
    CHECK_EQ(b.value, 0);
    CHECK_EQ(c.error, PRO_EPIPE);
    CHECK_EQ(d.error, PRO_EPIPE); /* an orderly end would make the cut look like the whole */
    tear_down();
}

UNIT(a_send_canceled_before_its_first_byte_leaves_no_hole)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};
    pro_send_all(&a.op, &f.sock, f.buf, 10, note);
    pro_send_all(&b.op, &f.sock, f.buf, 10, note);
    pro_send_all(&c.op, &f.sock, f.buf, 10, note);
    pro_cancel(&b.op); /* queued */
    pro_cancel(&a.op); /* in the kernel, which moved nothing */
    report(&a, PRO_ECANCELED, 0);
    CHECK(pri_scripted_is_started(f.loop, &c.op));
    report(&c, PRO_OK, 10);
    CHECK_EQ(c.error, PRO_OK);
    CHECK_EQ(b.error, PRO_ECANCELED);
    tear_down();
}

/* ---- Close ---------------------------------------------------------------------------------- */

UNIT(close_completes_last_and_reports_the_bytes_of_what_it_cut)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'}, x = {.letter = 'x'},
          y = {.letter = 'y'};
    pro_recv(&a.op, &f.sock, f.buf, 10, note);
    pro_send_all(&b.op, &f.sock, f.buf, 10, note);
    pro_send_all(&c.op, &f.sock, f.buf, 10, note);
    pro_close(&x.op, &f.sock, note);
    pro_close(&y.op, &f.sock, note);
    for (int i = 0; i < 3; i++) pro_loop_poll(f.loop);
    CHECK(strcmp(f.log, "c") == 0);
    report(&b, PRO_ECANCELED, 2);
    CHECK_EQ(x.runs, 0);
    CHECK_EQ(pri_scripted_closed(), 0);
    report(&a, PRO_ECANCELED, 0);
    CHECK_EQ(pri_scripted_closed(), 1);
    CHECK_EQ(pri_scripted_last_closed(), 7);
    pro_loop_poll(f.loop);
    CHECK(strcmp(f.log, "cbaxy") == 0);
    CHECK_EQ(b.error, PRO_ECANCELED);
    CHECK_EQ(b.value, 2);
    CHECK_EQ(x.error, PRO_OK);
    CHECK_EQ(y.error, PRO_OK);

    noted z = {.letter = 'z'};
    pro_recv(&z.op, &f.sock, f.buf, 10, note);
    CHECK_EQ(z.runs, 0);
    pro_loop_poll(f.loop);
    CHECK_EQ(z.error, PRO_ECLOSED);
    tear_down();
}

UNIT(a_result_that_beat_the_close_is_still_a_result)
{
    set_up();
    noted a = {.letter = 'a'}, x = {.letter = 'x'};
    pro_recv(&a.op, &f.sock, f.buf, 10, note);
    pro_close(&x.op, &f.sock, note);
    report(&a, PRO_OK, 10);
    pro_loop_poll(f.loop);
    CHECK_EQ(a.error, PRO_OK);
    CHECK_EQ(a.value, 10);
    CHECK(strcmp(f.log, "ax") == 0);
    tear_down();
}

static noted *cancels_this;

static void cancel_other(pro_op *op)
{
    note(op);
    pro_cancel(&cancels_this->op);
    pro_socket_cancel(&f.sock);
}

UNIT(a_handler_may_cancel_what_has_its_record_in_the_same_turn)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'};
    cancels_this = &b;
    pro_recv(&a.op, &f.sock, f.buf, 10, cancel_other);
    pro_send_all(&b.op, &f.sock, f.buf, 10, note);
    pri_scripted_report(f.loop, &a.op, PRO_OK, 1, 0);
    pri_scripted_report(f.loop, &b.op, PRO_OK, 10, 0);
    pro_loop_poll(f.loop);
    CHECK(strcmp(f.log, "ab") == 0);
    CHECK_EQ(b.error, PRO_OK);
    tear_down();
}

UNIT(abortive_close_tells_the_system)
{
    set_up();
    noted x = {.letter = 'x'};
    pro_close_abort(&x.op, &f.sock, note);
    pro_loop_poll(f.loop);
    CHECK_EQ(pri_scripted_last_abortive(), 1);
    tear_down();
}

/* ---- Accept --------------------------------------------------------------------------------- */

static pro_socket taken;

static void take(pro_op *op)
{
    note(op);
    if (op->error == PRO_OK) CHECK_EQ(pro_accept_take(op, &taken, NULL), PRO_OK);
    CHECK_EQ(pro_accept_take(op, &taken, NULL), PRO_EINVAL); /* nothing there any more */
}

UNIT(a_multishot_accept_completes_with_more_and_then_once_without)
{
    set_up();
    pro_address  any = pro_address_any(PRO_IPV4, 0);
    pro_listener l = {0};
    noted        a = {.letter = 'a'}, x = {.letter = 'x'}, y = {.letter = 'y'};
    CHECK_EQ(pro_listen(&l, f.loop, NULL, &any, NULL), PRO_OK);
    pro_accept_multi(&a.op, &l, take);
    pri_scripted_report(f.loop, &a.op, PRO_OK, 77, PRI_RECORD_MORE);
    pro_loop_poll(f.loop);
    CHECK_EQ(a.flags, PRO_MORE);
    CHECK(pro_op_in_flight(&a.op));
    CHECK_EQ(pro_socket_descriptor(&taken), 77);
    pro_close(&y.op, &taken, note);
    pro_loop_poll(f.loop);

    a.op.pri_done = note; /* this one is not taken: the library closes it */
    pri_scripted_report(f.loop, &a.op, PRO_OK, 78, PRI_RECORD_MORE);
    pro_loop_poll(f.loop);
    CHECK_EQ(pri_scripted_last_closed(), 78);

    pro_cancel(&a.op);
    report(&a, PRO_ECANCELED, 0);
    CHECK_EQ(a.runs, 3);
    CHECK_EQ(a.flags, 0);
    CHECK_EQ(a.error, PRO_ECANCELED);
    pro_listener_close(&x.op, &l, note);
    pro_loop_poll(f.loop);
    tear_down();
}

UNIT(a_connection_that_was_gone_is_no_news)
{
    set_up();
    pro_address  any = pro_address_any(PRO_IPV4, 0);
    pro_listener l = {0};
    noted        a = {.letter = 'a'}, x = {.letter = 'x'};
    CHECK_EQ(pro_listen(&l, f.loop, NULL, &any, NULL), PRO_OK);
    pro_accept(&a.op, &l, note);
    report(&a, PRO_ECONNABORTED, 0);
    CHECK_EQ(a.runs, 0);
    CHECK(pri_scripted_is_started(f.loop, &a.op));
    report(&a, PRO_EMFILE, 0);
    CHECK_EQ(a.error, PRO_EMFILE);
    pro_listener_close(&x.op, &l, note);
    pro_loop_poll(f.loop);
    tear_down();
}

/* ---- Timers --------------------------------------------------------------------------------- */

UNIT(timers_of_one_turn_run_by_deadline_then_by_initiation)
{
    set_up();
    uint64_t now = pro_loop_now(f.loop);
    noted    a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'}, d = {.letter = 'd'};
    pro_timer_start(&a.op, f.loop, now + 300, note);
    pro_timer_start(&b.op, f.loop, now + 100, note);
    pro_timer_start(&c.op, f.loop, now + 300, note);
    pro_timer_start(&d.op, f.loop, now + 200, note);
    pri_scripted_advance(f.loop, 99);
    pro_loop_poll(f.loop);
    CHECK(f.log[0] == 0);
    pri_scripted_advance(f.loop, 1000);
    pro_loop_poll(f.loop);
    CHECK(strcmp(f.log, "bdac") == 0);
    tear_down();
}

UNIT(a_deadline_before_a_timer_ends_it)
{
    set_up();
    uint64_t now = pro_loop_now(f.loop);
    noted    a = {.letter = 'a'}, b = {.letter = 'b'};
    a.op.deadline_ns = now + 100;
    b.op.deadline_ns = now + 300;
    pro_timer_start(&a.op, f.loop, now + 200, note);
    pro_timer_start(&b.op, f.loop, now + 200, note);
    pri_scripted_advance(f.loop, 200);
    pro_loop_poll(f.loop);
    CHECK_EQ(a.error, PRO_ETIMEDOUT);
    CHECK_EQ(b.error, PRO_OK);
    tear_down();
}

UNIT(a_deadline_covers_the_time_in_the_queue)
{
    set_up();
    noted a = {.letter = 'a'}, b = {.letter = 'b'};
    pro_recv(&a.op, &f.sock, f.buf, 10, note);
    b.op.deadline_ns = pro_loop_now(f.loop) + 100;
    pro_recv(&b.op, &f.sock, f.buf, 10, note);
    pri_scripted_advance(f.loop, 100);
    pro_loop_poll(f.loop);
    CHECK_EQ(b.error, PRO_ETIMEDOUT);
    CHECK_EQ(a.runs, 0);
    report(&a, PRO_OK, 1);
    tear_down();
}

/* ---- Scopes --------------------------------------------------------------------------------- */

static char told[64];

static void tell(pro_scope *scope) { told[strlen(told)] = *(char *)scope->user; }

static void tell_stop(pro_scope *scope)
{
    told[strlen(told)] = (char)(*(char *)scope->user - 'a' + 'A');
}

UNIT(drain_tells_on_stop_from_the_top_and_on_drained_from_the_bottom)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope a = {.user = "a"}, b = {.user = "b"}, c = {.user = "c"};
    pro_scope_init(&a, f.loop, NULL, tell);
    pro_scope_init(&b, f.loop, &a, tell);
    pro_scope_init(&c, f.loop, &b, tell);
    pro_scope_on_stop(&a, tell_stop);
    pro_scope_on_stop(&b, tell_stop);
    pro_scope_on_stop(&c, tell_stop);
    noted n = {.letter = 'n', .op.scope = &c};
    pro_sleep(&n.op, f.loop, 1000, note);
    pro_loop_poll(f.loop);
    CHECK(told[0] == 0);
    pro_scope_drain(&a, PRO_NEVER);
    CHECK(told[0] == 0);
    pro_loop_poll(f.loop);
    CHECK(strcmp(told, "ABC") == 0);
    pro_scope_drain(&a, PRO_NEVER);
    pri_scripted_advance(f.loop, 1000);
    pro_loop_run(f.loop);
    CHECK_EQ(n.error, PRO_OK);
    CHECK(strcmp(told, "ABCcba") == 0);
    tear_down();
}

UNIT(a_drain_becomes_a_close_at_its_deadline)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope a = {.user = "a"};
    pro_scope_init(&a, f.loop, NULL, tell);
    noted n = {.letter = 'n', .op.scope = &a};
    pro_sleep(&n.op, f.loop, 100 * PRO_SEC, note);
    pro_scope_drain(&a, pro_loop_now(f.loop) + PRO_SEC);
    pro_loop_run(f.loop);
    CHECK_EQ(n.error, PRO_ECANCELED);
    CHECK(strcmp(told, "a") == 0);
    CHECK_EQ(pro_loop_now(f.loop), 2 * PRO_SEC);
    tear_down();
}

UNIT(a_closing_scope_refuses_without_the_kernel_but_closes)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope  a = {.user = "a"};
    pro_socket s = {0};
    noted      n = {.letter = 'n'}, m = {.letter = 'm'}, x = {.letter = 'x'};
    pro_scope_init(&a, f.loop, NULL, tell);
    CHECK_EQ(pro_socket_adopt(&s, f.loop, &a, 9), PRO_OK);
    pro_recv(&m.op, &s, f.buf, 10, note);
    pro_scope_close(&a);
    n.op.scope = &a;
    pro_sleep(&n.op, f.loop, 100, note);
    x.op.scope = &a;
    pro_close(&x.op, &s, note);
    pro_loop_poll(f.loop);
    CHECK_EQ(n.error, PRO_ECANCELED);
    CHECK_EQ(m.runs, 0);
    CHECK(told[0] == 0);
    report(&m, PRO_ECANCELED, 0);
    CHECK_EQ(m.error, PRO_ECANCELED);
    pro_loop_run(f.loop);
    CHECK_EQ(x.error, PRO_OK);
    CHECK(strcmp(told, "a") == 0);
    tear_down();
}

UNIT(a_closed_scope_closes_its_handles_by_itself)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope  a = {.user = "a"};
    pro_socket s = {0};
    pro_scope_init(&a, f.loop, NULL, tell);
    CHECK_EQ(pro_socket_adopt(&s, f.loop, &a, 9), PRO_OK);
    pro_scope_close(&a);
    CHECK_EQ(pri_scripted_last_closed(), 9);
    CHECK(told[0] == 0);
    pro_loop_run(f.loop);
    CHECK(strcmp(told, "a") == 0);
    tear_down();
}

UNIT(a_draining_scope_with_nothing_but_handles_closes_them)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope  a = {.user = "a"};
    pro_socket s = {0};
    noted      n = {.letter = 'n'};
    pro_scope_init(&a, f.loop, NULL, tell);
    CHECK_EQ(pro_socket_adopt(&s, f.loop, &a, 9), PRO_OK);
    pro_recv(&n.op, &s, f.buf, 10, note);
    pro_scope_drain(&a, PRO_NEVER);
    pro_loop_poll(f.loop);
    pro_loop_poll(f.loop);
    CHECK_EQ(n.runs, 0);
    report(&n, PRO_OK, 1);
    pro_loop_run(f.loop);
    CHECK_EQ(pri_scripted_last_closed(), 9);
    CHECK(strcmp(told, "a") == 0);
    tear_down();
}

static pro_scope *freed_in_on_drained;

static void free_scope(pro_scope *scope)
{
    CHECK(scope == freed_in_on_drained);
    told[strlen(told)] = 'f';
    free(scope);
}

static void close_scope_of(pro_op *op)
{
    note(op);
    pro_scope_close(op->user);
}

UNIT(the_count_is_held_until_the_handler_has_returned)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope *a = calloc(1, sizeof *a);
    noted      n = {.letter = 'n'};
    freed_in_on_drained = a;
    pro_scope_init(a, f.loop, NULL, free_scope);
    n.op.scope = a;
    n.op.user = a;
    pro_sleep(&n.op, f.loop, 0, close_scope_of);
    pro_loop_run(f.loop);
    CHECK_EQ(n.runs, 1);
    CHECK(strcmp(told, "f") == 0);
    tear_down();
}

UNIT(on_drained_comes_only_after_it_was_asked_for)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope a = {.user = "a"};
    noted     n = {.letter = 'n', .op.scope = &a};
    pro_scope_init(&a, f.loop, NULL, tell);
    pro_sleep(&n.op, f.loop, 0, note);
    pro_loop_run(f.loop);
    CHECK_EQ(n.runs, 1);
    CHECK(told[0] == 0);
    pro_scope_drain(&a, PRO_NEVER);
    pro_loop_run(f.loop);
    CHECK(strcmp(told, "a") == 0);
    tear_down();
}

static pro_scope *closes_this;

static void close_other(pro_scope *scope)
{
    tell_stop(scope);
    pro_scope_close(closes_this);
}

UNIT(a_drain_and_then_a_close_before_anything_was_told)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope a = {.user = "a"}, b = {.user = "b"}, c = {.user = "c"};
    pro_scope_init(&a, f.loop, NULL, tell);
    pro_scope_init(&b, f.loop, &a, tell);
    pro_scope_init(&c, f.loop, &a, tell);
    pro_scope_on_stop(&b, tell_stop);
    pro_scope_drain(&a, PRO_NEVER);
    pro_scope_close(&b);
    pro_scope_close(&a);
    pro_loop_run(f.loop);
    CHECK(strcmp(told, "bca") == 0);
    tear_down();
}

UNIT(on_stop_may_close_a_scope_that_is_to_be_told_next)
{
    set_up();
    memset(told, 0, sizeof told);
    pro_scope a = {.user = "a"}, b = {.user = "b"}, c = {.user = "c"};
    pro_scope_init(&a, f.loop, NULL, tell);
    pro_scope_init(&b, f.loop, &a, tell);
    pro_scope_init(&c, f.loop, &a, tell);
    pro_scope_on_stop(&a, close_other);
    pro_scope_on_stop(&b, tell_stop);
    pro_scope_on_stop(&c, tell_stop);
    closes_this = &b;
    pro_scope_drain(&a, PRO_NEVER);
    pro_loop_run(f.loop);
    CHECK(strcmp(told, "AbCca") == 0 || strcmp(told, "ACbca") == 0);
    tear_down();
}

/* ---- A million timers ----------------------------------------------------------------------- */

static int million_runs;

static void count_run(pro_op *op)
{
    (void)op;
    million_runs++;
}

UNIT(a_million_live_timers_all_fire_once)
{
    enum { MILLION = 1000000 };
    set_up();
    pro_op  *ops = calloc(MILLION, sizeof *ops);
    uint64_t now = pro_loop_now(f.loop), x = 1;
    CHECK(ops != NULL);
    million_runs = 0;
    for (int i = 0; i < MILLION; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        pro_timer_start(&ops[i], f.loop, now + (x >> 30), count_run);
    }
    CHECK_EQ(pro_loop_run(f.loop), MILLION);
    CHECK_EQ(million_runs, MILLION);
    free(ops);
    tear_down();
}
