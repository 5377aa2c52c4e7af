/* Readiness: pollables on descriptors that others use.
 * Contract 1, 4, 6, 7, 8, 11 for polls; "would-block never leaks" does not hold for hints, so what is
 * ready is always fetched by the raw side. */
#include <stdio.h>

#include "lib/net.h"

static void close_pollable(pro_loop *loop, pro_pollable *p)
{
    t_op *close = t_new_op();
    pro_pollable_close(&close->op, p, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
}

static pro_pollable *polling(pro_loop *loop, peer p)
{
    pro_pollable *pollable = t_new(pro_pollable);
    CHECK_ERROR(pro_pollable_open(pollable, loop, NULL, p), PRO_OK);
    return pollable;
}

static void close_pair(peer pair[2])
{
    peer_close(pair[0]);
    peer_close(pair[1]);
}

CONFORM(a_poll_completes_when_there_is_something_to_read)
{
    pro_loop *loop = t_loop();
    peer      pair[2];
    char      byte = 'x';
    peer_pair(pair);
    pro_pollable *p = polling(loop, pair[0]);
    t_op         *in = t_new_op(), *again = t_new_op();
    pro_poll(&in->op, p, PRO_POLL_IN, t_done);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(in->done, 0);
    CHECK(peer_write(pair[1], &byte, 1));
    t_wait_count(loop, &in->done, 1);
    CHECK_DONE(in, PRO_OK, PRO_POLL_IN);
    CHECK_EQ(peer_read(pair[0], &byte, 1), 1);

    pro_poll(&again->op, p, PRO_POLL_IN, t_done);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(again->done, 0);
    CHECK(peer_write(pair[1], &byte, 1));
    t_wait_count(loop, &again->done, 1);
    CHECK_DONE(again, PRO_OK, PRO_POLL_IN);
    close_pollable(loop, p);
    close_pair(pair);
}

CONFORM(a_poll_is_level_triggered)
{
    pro_loop *loop = t_loop();
    peer      pair[2];
    char      bytes[2] = "xy";
    peer_pair(pair);
    CHECK(peer_write(pair[1], bytes, 2));
    pro_pollable *p = polling(loop, pair[0]);
    for (int i = 0; i < 4; i++) {
        t_op *in = t_new_op();
        pro_poll(&in->op, p, PRO_POLL_IN, t_done);
        t_wait_count(loop, &in->done, 1);
        CHECK_DONE(in, PRO_OK, PRO_POLL_IN);
        if (i == 1) CHECK_EQ(peer_read(pair[0], bytes, 1), 1);
    }
    close_pollable(loop, p);
    close_pair(pair);
}

CONFORM(polls_of_two_directions_are_independent)
{
    pro_loop *loop = t_loop();
    peer      pair[2];
    char      byte = 'x';
    peer_pair(pair);
    pro_pollable *p = polling(loop, pair[0]);
    t_op         *in = t_new_op();
    pro_poll(&in->op, p, PRO_POLL_IN, t_done);
    for (int i = 0; i < 3; i++) {
        t_op *out = t_new_op();
        pro_poll(&out->op, p, PRO_POLL_OUT, t_done);
        t_wait_count(loop, &out->done, 1);
        CHECK_DONE(out, PRO_OK, PRO_POLL_OUT);
        CHECK_EQ(in->done, 0);
    }
    CHECK(peer_write(pair[1], &byte, 1));
    t_wait_count(loop, &in->done, 1);
    CHECK_DONE(in, PRO_OK, PRO_POLL_IN);
    close_pollable(loop, p);
    close_pair(pair);
}

CONFORM(a_full_descriptor_is_ready_to_write_when_it_drains)
{
    pro_loop   *loop = t_loop();
    t_pair     *pair = t_pair_narrow(loop);
    t_op       *stuck = t_new_op(), *out = t_new_op(), *rest = t_new_op();
    const char *data = t_alloc(CLOG_LEN);
    char       *sink = t_alloc(CLOG_LEN);
    t_clog(loop, pair, stuck, data, CLOG_LEN);
    pro_pollable *p = polling(loop, pro_socket_descriptor(&pair->a));
    pro_poll(&out->op, p, PRO_POLL_OUT, t_done);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(out->done, 0);
    pro_recv_exactly(&rest->op, &pair->b, sink, CLOG_LEN - 1, t_done);
    t_wait_count(loop, &out->done, 1);
    CHECK_DONE(out, PRO_OK, PRO_POLL_OUT);
    t_wait_count(loop, &rest->done, 1);
    t_wait_count(loop, &stuck->done, 1);
    CHECK_DONE(stuck, PRO_OK, CLOG_LEN);
    close_pollable(loop, p);
    t_pair_close(loop, pair);
}

CONFORM(a_poll_says_that_the_other_side_is_gone)
{
    pro_loop *loop = t_loop();
    peer      pair[2];
    char      byte;
    peer_pair(pair);
    pro_pollable *p = polling(loop, pair[0]);
    t_op         *in = t_new_op();
    pro_poll(&in->op, p, PRO_POLL_IN, t_done);
    t_poll(loop);
    peer_close(pair[1]);
    t_wait_count(loop, &in->done, 1);
    CHECK_DONE(in, PRO_OK, PRO_POLL_IN | PRO_POLL_HUP);
    CHECK_EQ(peer_read(pair[0], &byte, 1), 0);
    close_pollable(loop, p);
    peer_close(pair[0]);
}

CONFORM(a_poll_canceled_timed_out_or_closed_completes_once)
{
    pro_loop *loop = t_loop();
    peer      pair[2];
    peer_pair(pair);
    for (int late = 0; late < 2; late++) { /* before and after the kernel has it */
        pro_pollable *p = polling(loop, pair[0]);
        t_op         *one = t_new_op(), *all = t_new_op(), *timed = t_new_op(), *left = t_new_op();
        t_op         *after = t_new_op(), *close = t_new_op();
        pro_poll(&one->op, p, PRO_POLL_IN, t_done);
        if (late) t_poll(loop);
        pro_cancel(&one->op);
        pro_cancel(&one->op);
        t_wait_count(loop, &one->done, 1);
        CHECK_DONE(one, PRO_ECANCELED, 0);

        pro_poll(&all->op, p, PRO_POLL_IN, t_done);
        if (late) t_poll(loop);
        pro_pollable_cancel(p);
        t_wait_count(loop, &all->done, 1);
        CHECK_DONE(all, PRO_ECANCELED, 0);

        timed->op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
        pro_poll(&timed->op, p, PRO_POLL_IN, t_done);
        t_wait_count(loop, &timed->done, 1);
        CHECK_DONE(timed, PRO_ETIMEDOUT, 0);

        pro_poll(&left->op, p, PRO_POLL_IN, t_done);
        if (late) t_poll(loop);
        pro_pollable_close(&close->op, p, t_done);
        pro_poll(&after->op, p, PRO_POLL_OUT, t_done);
        t_wait_count(loop, &close->done, 1);
        CHECK_DONE(left, PRO_ECANCELED, 0);
        CHECK_DONE(close, PRO_OK, 0);
        t_wait_count(loop, &after->done, 1);
        CHECK_DONE(after, PRO_ECLOSED, 0);
        CHECK_LT(left->order, close->order);
    }
    close_pair(pair);
}

CONFORM(the_owner_may_close_a_descriptor_that_is_polled)
{
    pro_loop *loop = t_loop();
    peer      pair[2], other[2];
    char      byte = 'x';
    peer_pair(pair);
    pro_pollable *p = polling(loop, pair[0]);
    t_op         *in = t_new_op(), *close = t_new_op(), *of_other = t_new_op();
    pro_poll(&in->op, p, PRO_POLL_IN, t_done);
    peer_close(pair[0]); /* before the kernel was told of the poll, and its number goes to others */
    peer_pair(other);
    pro_pollable *q = polling(loop, other[0]);
    pro_poll(&of_other->op, q, PRO_POLL_IN, t_done);
    for (int i = 0; i < 3; i++) t_poll(loop);
    pro_pollable_close(&close->op, p, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(in, PRO_ECANCELED, 0);
    CHECK_EQ(peer_read(pair[1], &byte, 1), 0);
    CHECK_EQ(of_other->done, 0);
    CHECK(peer_write(other[1], &byte, 1));
    t_wait_count(loop, &of_other->done, 1);
    CHECK_DONE(of_other, PRO_OK, PRO_POLL_IN);
    close_pollable(loop, q);
    peer_close(pair[1]);
    close_pair(other);
}

CONFORM(one_descriptor_may_be_polled_by_several_and_used_by_its_owner)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    char          buf[8];
    t_op         *a = t_new_op(), *b = t_new_op(), *recv = t_new_op(), *send = t_new_op();
    pro_pollable *p = polling(loop, pro_socket_descriptor(&pair->a));
    pro_pollable *q = polling(loop, pro_socket_descriptor(&pair->a));
    pro_poll(&a->op, p, PRO_POLL_IN, t_done);
    pro_poll(&b->op, q, PRO_POLL_IN, t_done);
    t_poll(loop);
    pro_send(&send->op, &pair->b, "hello", 5, t_done);
    t_wait_count(loop, &a->done, 1);
    t_wait_count(loop, &b->done, 1);
    CHECK_DONE(a, PRO_OK, PRO_POLL_IN);
    CHECK_DONE(b, PRO_OK, PRO_POLL_IN);
    pro_recv(&recv->op, &pair->a, buf, sizeof buf, t_done);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_OK, 5);
    close_pollable(loop, p);
    close_pollable(loop, q);
    t_pair_close(loop, pair);
}

CONFORM(polls_of_one_direction_complete_in_order)
{
    enum { COUNT = 5 };
    pro_loop *loop = t_loop();
    peer      pair[2];
    char      byte = 'x';
    t_op     *in[COUNT];
    peer_pair(pair);
    pro_pollable *p = polling(loop, pair[0]);
    for (int i = 0; i < COUNT; i++) pro_poll(&(in[i] = t_new_op())->op, p, PRO_POLL_IN, t_done);
    t_poll(loop);
    CHECK(peer_write(pair[1], &byte, 1));
    for (int i = 0; i < COUNT; i++) {
        t_wait_count(loop, &in[i]->done, 1);
        CHECK_DONE(in[i], PRO_OK, PRO_POLL_IN);
        CHECK_EQ(in[i]->order, i + 1);
    }
    close_pollable(loop, p);
    close_pair(pair);
}

CONFORM(a_file_is_always_ready)
{
    pro_loop *loop = t_loop();
    FILE     *file = tmpfile();
    CHECK(file != NULL);
    pro_pollable *p = polling(loop, fileno(file));
    t_op         *in = t_new_op(), *out = t_new_op();
    pro_poll(&in->op, p, PRO_POLL_IN, t_done);
    pro_poll(&out->op, p, PRO_POLL_OUT, t_done);
    t_wait_count(loop, &in->done, 1);
    t_wait_count(loop, &out->done, 1);
    CHECK_DONE(in, PRO_OK, PRO_POLL_IN);
    CHECK_DONE(out, PRO_OK, PRO_POLL_OUT);
    close_pollable(loop, p);
    fclose(file);
}

CONFORM(a_poll_for_something_else_is_an_error)
{
    pro_loop             *loop = t_loop();
    static const unsigned wrong[] = {0, PRO_POLL_IN | PRO_POLL_OUT, PRO_POLL_HUP, 1u << 31};
    pro_pollable         *bad = t_new(pro_pollable);
    peer                  pair[2];
    peer_pair(pair);
    pro_pollable *p = polling(loop, pair[0]);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        t_op *op = t_new_op();
        pro_poll(&op->op, p, wrong[i], t_done);
        CHECK_EQ(op->done, 0);
        t_wait_count(loop, &op->done, 1);
        CHECK_DONE(op, PRO_EINVAL, 0);
    }
    CHECK_ERROR(pro_pollable_open(bad, loop, NULL, -1), PRO_EBADF);
    close_pollable(loop, p);
    close_pair(pair);
}

/* ---- A random program ------------------------------------------------------------------------- */

enum { OPS = 8, ENDS = 4 };

struct random {
    pro_loop    *loop;
    pro_scope    scope;
    pro_pollable polled[ENDS];
    peer         pairs[ENDS][2];
    pro_op       ops[OPS], closes[ENDS];
    bool         is_open[ENDS];
    int          to_do, in_flight, started, completed, ended;
};

static struct random *of_loop;

static void on_poll(pro_op *op)
{
    struct random *r = of_loop;
    CHECK(!pro_op_in_flight(op));
    CHECK(op->error == PRO_OK || op->error == PRO_ECANCELED || op->error == PRO_ETIMEDOUT ||
          op->error == PRO_ECLOSED);
    CHECK((op->error == PRO_OK) == (op->value != 0));
    r->in_flight--;
    r->completed++;
}

static void on_end(pro_op *op)
{
    struct random *r = of_loop;
    CHECK_ERROR(op->error, PRO_OK);
    r->in_flight--;
    r->ended++;
}

static void begin(struct random *r, pro_op *op)
{
    uint64_t end = t_below(ENDS), way = t_below(6);
    if (!r->is_open[end]) {
        CHECK_ERROR(pro_pollable_open(&r->polled[end], r->loop, &r->scope, r->pairs[end][0]),
                    PRO_OK);
        r->is_open[end] = true;
    }
    if (way == 0) op->deadline_ns = pro_loop_now(r->loop) + t_below(3) * 10 * PRO_USEC;
    r->in_flight++;
    r->started++;
    pro_poll(op, &r->polled[end], t_below(3) ? PRO_POLL_IN : PRO_POLL_OUT, on_poll);
    if (way == 1) pro_cancel(op);
    if (way == 2) pro_pollable_cancel(&r->polled[end]);
}

static void close_one(struct random *r)
{
    uint64_t end = t_below(ENDS);
    if (!r->is_open[end] || pro_op_in_flight(&r->closes[end])) return;
    r->is_open[end] = false;
    r->in_flight++;
    pro_pollable_close(&r->closes[end], &r->polled[end], on_end);
    while (pro_op_in_flight(&r->closes[end])) t_turn(r->loop); /* so that it may be made anew */
}

CONFORM(random_polls_complete_exactly_once)
{
    struct random *r = t_new(struct random);
    char           byte = 'x';
    of_loop = r;
    r->loop = t_loop();
    pro_scope_init(&r->scope, r->loop, NULL, NULL);
    for (int i = 0; i < ENDS; i++) peer_pair(r->pairs[i]);
    for (int round = 0, rounds = t_count(20000); round < rounds; round++) {
        pro_op *op = &r->ops[t_below(OPS)];
        peer   *pair = r->pairs[t_below(ENDS)];
        if (pro_op_in_flight(op))
            (void)(t_below(4) == 0 ? pro_cancel(op) : (void)0);
        else
            begin(r, op);
        if (t_below(8) == 0) {
            CHECK(peer_write(pair[1], &byte, 1));
            if (t_below(2)) t_poll(r->loop);
            CHECK_EQ(peer_read(pair[0], &byte, 1), 1);
        }
        if (t_below(64) == 0) close_one(r);
        if (t_below(3) == 0) t_poll(r->loop);
    }
    pro_scope_close(&r->scope);
    t_run(r->loop);
    CHECK_EQ(r->in_flight, 0);
    CHECK_EQ(r->completed, r->started);
    t_note("  polls %d, closes %d\n", r->started, r->ended);
    for (int i = 0; i < ENDS; i++) close_pair(r->pairs[i]);
}
