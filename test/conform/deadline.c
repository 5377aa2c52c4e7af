/* Timers and deadlines.
 * Covers 37, 38, 39, 40 of the list, and that a deadline is consumed. */
#include "lib/net.h"
#include "lib/os.h"

#define HOUR (3600 * PRO_SEC)

/* ---- 37: timers ------------------------------------------------------------------------------ */

static void check_not_early(t_op *t)
{
    uint64_t *when = t->ctx;
    CHECK(t_clock_ns() >= *when);
}

CONFORM(a_timer_never_runs_before_its_time)
{
    enum { COUNT = 200 };
    pro_loop *loop = t_loop();
    t_op     *timers = t_array(t_op, COUNT);
    uint64_t *when = t_array(uint64_t, COUNT);
    for (int i = 0; i < COUNT; i++) {
        uint64_t delay = t_below(5 * PRO_MSEC);
        timers[i].ctx = &when[i];
        timers[i].then = check_not_early;
        /* From the loop's time on, which is not later than the real one. */
        when[i] = pro_loop_now(loop) + delay;
        CHECK(pro_loop_now(loop) <= t_clock_ns());
        if (i % 2)
            pro_timer_start(&timers[i].op, loop, when[i], t_done);
        else
            pro_sleep(&timers[i].op, loop, delay, t_done);
    }
    t_run(loop);
    for (int i = 0; i < COUNT; i++) CHECK_DONE(&timers[i], PRO_OK, 0);
}

CONFORM(timers_of_one_turn_run_in_the_order_of_their_times_then_of_initiation)
{
    enum { COUNT = 300 };
    pro_loop *loop = t_loop_clocked();
    t_op     *timers = t_array(t_op, COUNT);
    uint64_t *when = t_array(uint64_t, COUNT);
    uint64_t  now = pro_loop_now(loop);
    for (int i = 0; i < COUNT; i++) {
        when[i] = now + HOUR + t_below(20) * PRO_MSEC; /* many are the same */
        pro_timer_start(&timers[i].op, loop, when[i], t_done);
    }
    t_clock_advance(2 * HOUR);
    t_turn(loop);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_DONE(&timers[i], PRO_OK, 0);
        for (int j = 0; j < i; j++) {
            bool before = when[j] <= when[i];
            CHECK_EQ(timers[j].order < timers[i].order, before);
        }
    }
}

static uint64_t last_due;
static int      fired;

struct due {
    pro_op   op;
    uint64_t when;
};

static void in_order(pro_op *op)
{
    struct due *x = pro_container_of(op, struct due, op);
    CHECK_ERROR(op->error, PRO_OK);
    CHECK_GE(x->when, last_due);
    last_due = x->when;
    fired++;
}

CONFORM(a_hundred_thousand_random_timers_fire_in_order)
{
    int         count = t_rounds(100000);
    pro_loop   *loop = t_loop_clocked();
    struct due *x = t_array(struct due, count);
    uint64_t    begin = pro_loop_now(loop);
    last_due = 0;
    fired = 0;
    for (int i = 0; i < count; i++) {
        /* Of all magnitudes, from a nanosecond to days. */
        x[i].when = begin + t_below(UINT64_C(1) << (1 + t_below(48)));
        pro_timer_start(&x[i].op, loop, x[i].when, in_order);
    }
    for (uint64_t step = 1000; fired < count; step += step / 2) {
        t_poll(loop);
        t_clock_advance(step);
    }
    t_run(loop);
    CHECK_EQ(fired, count);
}

CONFORM(a_timer_of_zero_or_of_the_past_completes_on_the_next_turn)
{
    pro_loop *loop = t_loop();
    t_op     *zero = t_new_op(), *past = t_new_op(), *ever = t_new_op();
    pro_sleep(&zero->op, loop, 0, t_done);
    pro_timer_start(&past->op, loop, pro_loop_now(loop) - 1, t_done);
    pro_timer_start(&ever->op, loop, 0, t_done);
    CHECK_EQ(t_completions(), 0);
    t_turn(loop);
    CHECK_DONE(zero, PRO_OK, 0);
    CHECK_DONE(past, PRO_OK, 0);
    CHECK_DONE(ever, PRO_OK, 0);
}

CONFORM(very_long_timers_wait_without_overflow)
{
    pro_loop *loop = t_loop_clocked();
    t_op     *far = t_new_op(), *sum = t_new_op(), *largest = t_new_op(), *soon = t_new_op();
    uint64_t  span = UINT64_C(1) << 48;
    pro_sleep(&far->op, loop, span, t_done);
    pro_sleep(&sum->op, loop, UINT64_MAX, t_done);
    pro_timer_start(&largest->op, loop, UINT64_MAX, t_done);
    pro_sleep(&soon->op, loop, PRO_MSEC, t_done);
    t_wait(loop, soon); /* the engine waits with the others in flight */
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(far->done + sum->done + largest->done, 0);
    t_clock_advance(span - HOUR);
    t_poll(loop);
    CHECK_EQ(far->done, 0);
    t_clock_advance(HOUR);
    t_wait(loop, far);
    CHECK_DONE(far, PRO_OK, 0);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(sum->done + largest->done, 0);
    pro_cancel(&sum->op);
    pro_cancel(&largest->op);
    t_run(loop);
    CHECK_DONE(sum, PRO_ECANCELED, 0);
    CHECK_DONE(largest, PRO_ECANCELED, 0);
}

/* ---- 38: stalls, starting again -------------------------------------------------------------- */

CONFORM(a_timer_fires_once_after_a_stall)
{
    pro_loop *loop = t_loop_clocked();
    t_op     *timer = t_new_op(), *other = t_new_op();
    pro_sleep(&timer->op, loop, PRO_SEC, t_done);
    pro_sleep(&other->op, loop, 100 * HOUR, t_done);
    t_clock_advance(10 * HOUR);
    for (int i = 0; i < 5; i++) t_poll(loop);
    CHECK_DONE(timer, PRO_OK, 0);
    CHECK_EQ(other->done, 0);
    t_clock_advance(95 * HOUR);
    t_run(loop);
    CHECK_EQ(timer->done, 1);
    CHECK_DONE(other, PRO_OK, 0);
}

struct ticker {
    t_op      op;
    pro_loop *loop;
    uint64_t  when;
};

static void tick(t_op *t)
{
    struct ticker *x = pro_container_of(t, struct ticker, op);
    CHECK_ERROR(t->error, PRO_OK);
    CHECK_GE(pro_loop_now(x->loop), x->when);
    if (t->done == 10) return;
    x->when += PRO_SEC;
    pro_timer_start(&t->op, x->loop, x->when, t_done);
}

/* A handler that starts its timer again, for a time that is past as well. */
CONFORM(a_timer_started_again_in_its_handler_fires_again_never_inside)
{
    pro_loop      *loop = t_loop_clocked();
    struct ticker *x = t_new(struct ticker);
    x->loop = loop;
    x->op.then = tick;
    x->when = pro_loop_now(loop) + PRO_SEC;
    pro_timer_start(&x->op.op, loop, x->when, t_done);
    t_poll(loop);
    CHECK_EQ(x->op.done, 0);
    t_clock_advance(HOUR);
    t_run(loop);
    CHECK_EQ(x->op.done, 10);
}

struct witness {
    pro_loop *loop;
    uint64_t  seen;
};

static void note_time(t_op *t)
{
    struct witness *x = t->ctx;
    uint64_t        now = pro_loop_now(x->loop);
    CHECK(now != 0 && now >= x->seen);
    x->seen = now;
}

CONFORM(the_time_of_a_loop_never_goes_back_and_is_never_zero)
{
    pro_loop      *loop = t_loop();
    struct witness x = {loop, pro_loop_now(loop)};
    CHECK(x.seen != 0);
    for (int i = 0; i < 100; i++) {
        t_op t = {.then = note_time, .ctx = &x};
        pro_sleep(&t.op, loop, t_below(20000), t_done);
        t_run(loop);
        CHECK_EQ(t.done, 1);
    }
}

static void the_same_time(t_op *t)
{
    pro_loop *loop = t->ctx;
    uint64_t  now = pro_loop_now(loop), real = t_clock_ns();
    while (t_clock_ns() == real) {}
    CHECK_EQ(pro_loop_now(loop), now);
}

CONFORM(the_time_is_the_same_within_one_handler)
{
    pro_loop *loop = t_loop();
    t_op     *t = t_new_op();
    t->ctx = loop;
    t->then = the_same_time;
    pro_post(&t->op, loop, t_done);
    t_run(loop);
    CHECK_EQ(t->done, 1);
}

/* ---- 39: cancel of a timer that is due ------------------------------------------------------- */

CONFORM(cancel_of_a_timer_that_is_due_completes_it_once)
{
    pro_loop *loop = t_loop_clocked();
    t_op     *timer = t_new_op(), *zero = t_new_op(), *far = t_new_op();
    pro_sleep(&timer->op, loop, PRO_SEC, t_done);
    pro_sleep(&zero->op, loop, 0, t_done);
    pro_sleep(&far->op, loop, HOUR, t_done);
    t_clock_advance(2 * PRO_SEC);
    pro_cancel(&timer->op);
    pro_cancel(&zero->op);
    pro_cancel(&far->op);
    CHECK_EQ(t_completions(), 0);
    t_run(loop);
    t_clock_advance(2 * HOUR);
    t_poll(loop);
    CHECK_EQ(timer->done, 1);
    CHECK_EQ(zero->done, 1);
    CHECK_DONE(far, PRO_ECANCELED, 0);
    if (timer->error != PRO_OK) CHECK_ERROR(timer->error, PRO_ECANCELED);
    if (zero->error != PRO_OK) CHECK_ERROR(zero->error, PRO_ECANCELED);
}

/* ---- 40: a deadline on any operation --------------------------------------------------------- */

CONFORM(a_deadline_on_any_operation_times_it_out_once)
{
    enum { COUNT = 8 };
    pro_loop     *loop = t_loop_clocked();
    t_pair       *pair = t_pair_new(loop);
    pro_listener *l = t_new(pro_listener), *l2 = t_new(pro_listener);
    t_op         *t = t_array(t_op, COUNT), *plain = t_new_op();
    char          buf[64], byte;
    pro_vec       vec = {buf, 16};
    t_listen(loop, l);
    t_listen(loop, l2);
    int before = t_completions();
    pro_recv(&plain->op, &pair->b, &byte, 1, t_done);
    for (int i = 0; i < COUNT; i++) t[i].op.deadline_ns = pro_loop_now(loop) + HOUR;
    pro_recv(&t[0].op, &pair->a, buf, 1, t_done);
    pro_recv_exactly(&t[1].op, &pair->a, buf, 16, t_done); /* queued behind the first */
    pro_recvv(&t[2].op, &pair->a, &vec, 1, t_done);
    pro_accept(&t[3].op, l, t_done);
    pro_accept(&t[4].op, l, t_done);
    pro_accept_multi(&t[5].op, l2, t_done);
    pro_timer_start(&t[6].op, loop, pro_loop_now(loop) + 2 * HOUR, t_done);
    pro_timer_start(&t[7].op, loop, UINT64_MAX, t_done);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(t_completions(), before);
    t_clock_advance(HOUR + PRO_SEC);
    for (int i = 0; i < COUNT; i++) t_wait_count(loop, &t[i].done, 1);
    for (int i = 0; i < COUNT; i++) {
        CHECK_DONE(&t[i], PRO_ETIMEDOUT, 0);
        CHECK_EQ(t[i].op.deadline_ns, PRO_NEVER);
    }
    CHECK_EQ(plain->done, 0);
    /* What timed out did not hurt the handles. */
    pro_send(&t[0].op, &pair->a, "x", 1, t_done);
    t_run(loop);
    CHECK_DONE(plain, PRO_OK, 1);
    t_pair_close(loop, pair);
    t_listener_close(loop, l);
    t_listener_close(loop, l2);
}

CONFORM(a_deadline_reports_the_bytes_so_far)
{
    pro_loop   *loop = t_loop_clocked();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op();
    char        buf[10];
    peer        raw = t_raw_pair(loop, s);
    CHECK(peer_write(raw, "abc", 3));
    recv->op.deadline_ns = pro_loop_now(loop) + HOUR;
    pro_recv_exactly(&recv->op, s, buf, 10, t_done);
    t_turn(loop);
    t_poll(loop);
    CHECK_EQ(recv->done, 0);
    t_clock_advance(2 * HOUR);
    t_run(loop);
    CHECK_DONE(recv, PRO_ETIMEDOUT, 3);
    CHECK(memcmp(buf, "abc", 3) == 0);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(a_deadline_in_the_past_completes_once)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op(), *timer = t_new_op();
    char        byte;
    peer        raw = t_raw_pair(loop, s);
    recv->op.deadline_ns = 1;
    pro_recv(&recv->op, s, &byte, 1, t_done);
    timer->op.deadline_ns = 1;
    pro_sleep(&timer->op, loop, HOUR, t_done);
    CHECK_EQ(recv->done + timer->done, 0);
    t_run(loop);
    CHECK_DONE(recv, PRO_ETIMEDOUT, 0);
    CHECK_DONE(timer, PRO_ETIMEDOUT, 0);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(the_earlier_of_a_timer_and_its_deadline_wins)
{
    pro_loop *loop = t_loop_clocked();
    t_op     *deadline = t_new_op(), *timer = t_new_op();
    uint64_t  now = pro_loop_now(loop);
    deadline->op.deadline_ns = now + HOUR;
    pro_timer_start(&deadline->op, loop, now + 2 * HOUR, t_done);
    timer->op.deadline_ns = now + 2 * HOUR;
    pro_timer_start(&timer->op, loop, now + HOUR, t_done);
    t_clock_advance(HOUR + PRO_SEC);
    t_run(loop);
    CHECK_DONE(deadline, PRO_ETIMEDOUT, 0);
    CHECK_DONE(timer, PRO_OK, 0);
    CHECK_EQ(timer->op.deadline_ns, PRO_NEVER);
}

static void use_again_without_deadline(t_op *t)
{
    CHECK_EQ(t->op.deadline_ns, PRO_NEVER);
    CHECK(t->op.user == t && t->op.priority == 0);
    if (t->done == 1) pro_timer_start(&t->op, t->ctx, UINT64_MAX, t_done);
}

CONFORM(a_deadline_is_consumed_and_the_user_pointer_and_scope_stay)
{
    pro_loop  *loop = t_loop_clocked();
    pro_scope *scope = t_new(pro_scope);
    t_op      *t = t_new_op();
    pro_scope_init(scope, loop, NULL, NULL);
    t->ctx = loop;
    t->op.user = t;
    t->op.scope = scope;
    t->then = use_again_without_deadline;
    t->op.deadline_ns = pro_loop_now(loop) + HOUR;
    pro_timer_start(&t->op, loop, UINT64_MAX, t_done);
    CHECK_EQ(pro_scope_live(scope), 1);
    t_clock_advance(2 * HOUR);
    t_wait(loop, t);
    CHECK_ERROR(t->error, PRO_ETIMEDOUT);
    t_clock_advance(100 * HOUR);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(t->done, 1); /* the second use has none */
    CHECK(t->op.scope == scope);
    CHECK_EQ(pro_scope_live(scope), 1);
    pro_scope_cancel(scope);
    t_run(loop);
    CHECK_EQ(t->done, 2);
    CHECK_ERROR(t->error, PRO_ECANCELED);
    pro_scope_close(scope);
    t_run(loop);
}

CONFORM(a_deadline_covers_the_time_in_the_queue)
{
    pro_loop *loop = t_loop_clocked();
    t_pair   *pair = t_pair_narrow(loop);
    char     *out = t_alloc(CLOG_LEN), *in = t_alloc(CLOG_LEN);
    t_op     *stuck = t_new_op(), *queued = t_new_op(), *behind = t_new_op(), *recv = t_new_op();
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    queued->op.deadline_ns = pro_loop_now(loop) + HOUR;
    pro_send(&queued->op, &pair->a, out, 100, t_done);
    pro_send(&behind->op, &pair->a, out, 1, t_done);
    t_clock_advance(2 * HOUR);
    t_wait(loop, queued);
    CHECK_DONE(queued, PRO_ETIMEDOUT, 0);
    CHECK_EQ(stuck->done, 0);
    /* It left no hole. */
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN, t_done);
    t_run(loop);
    CHECK_DONE(stuck, PRO_OK, (int64_t)CLOG_LEN);
    CHECK_DONE(behind, PRO_OK, 1);
    CHECK_DONE(recv, PRO_OK, (int64_t)CLOG_LEN);
    t_pair_close(loop, pair);
}

CONFORM(a_deadline_racing_data_completes_once_and_loses_no_byte)
{
    pro_loop     *loop = t_loop();
    pro_socket   *s = t_new(pro_socket);
    peer          raw = t_raw_pair(loop, s);
    unsigned char next = 0;
    for (int i = 0, rounds = t_rounds(1000); i < rounds; i++) {
        t_op          recv = {0};
        unsigned char byte = 0xee;
        recv.op.deadline_ns = pro_loop_now(loop) + t_below(50 * PRO_USEC);
        pro_recv(&recv.op, s, &byte, 1, t_done);
        if (t_below(2)) t_poll(loop);
        CHECK(peer_write(raw, &next, 1));
        t_run(loop);
        CHECK_EQ(recv.done, 1);
        if (recv.error != PRO_OK) {
            CHECK_DONE(&recv, PRO_ETIMEDOUT, 0);
            t_op again = {0};
            pro_recv(&again.op, s, &byte, 1, t_done);
            t_run(loop);
            CHECK_DONE(&again, PRO_OK, 1);
        }
        CHECK_EQ(byte, next);
        next++;
    }
    peer_close(raw);
    t_close(loop, s);
}
