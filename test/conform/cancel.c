/* Canceling: a wish, and its races.
 * Covers 32, 33, 34, 36, 45 of the list, precedence and the ownership window. */
#include "lib/net.h"

#include <stdlib.h>

/* ---- 32: races ------------------------------------------------------------------------------- */

/* The data is there, or comes at any moment: either its bytes or the cancel, never both, never lost. */
CONFORM(cancel_racing_a_receive_completes_it_once_and_loses_no_byte)
{
    pro_loop     *loop = t_loop();
    pro_socket   *s = t_new(pro_socket);
    peer          raw = t_raw_pair(loop, s);
    unsigned char next = 0;
    int           in_the_kernel = 0;
    for (int i = 0, rounds = t_rounds(2000); i < rounds; i++) {
        t_op          recv = {0};
        unsigned char byte = 0xee;
        unsigned      when = (unsigned)t_below(4);
        unsigned char expected = next;
        if (when == 0) CHECK(peer_write(raw, &next, 1));
        pro_recv(&recv.op, s, &byte, 1, t_done);
        if (when == 1) CHECK(peer_write(raw, &next, 1));
        if (t_below(2)) t_poll(loop);
        if (when == 2) CHECK(peer_write(raw, &next, 1));
        pro_cancel(&recv.op);
        if (when == 3) CHECK(peer_write(raw, &next, 1));
        t_run(loop);
        CHECK_EQ(recv.done, 1);
        if (recv.error != PRO_OK) {
            CHECK_ERROR(recv.error, PRO_ECANCELED);
            CHECK_EQ(recv.value, 0);
            t_op again = {0};
            pro_recv(&again.op, s, &byte, 1, t_done);
            t_run(loop);
            CHECK_DONE(&again, PRO_OK, 1);
            in_the_kernel++;
        } else {
            CHECK_EQ(recv.value, 1);
        }
        CHECK_EQ(byte, expected);
        next++;
    }
    t_note("  canceled %d times\n", in_the_kernel);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(cancel_racing_a_send_completes_it_once_and_loses_no_byte)
{
    pro_loop     *loop = t_loop();
    unsigned char next = 0, got[2];
    pro_socket   *s = t_new(pro_socket);
    peer          raw = t_raw_pair(loop, s);
    for (int i = 0, rounds = t_rounds(2000); i < rounds; i++) {
        t_op send = {0};
        pro_send(&send.op, s, &next, 1, t_done);
        if (t_below(2)) t_poll(loop);
        pro_cancel(&send.op);
        t_run(loop);
        CHECK_EQ(send.done, 1);
        if (send.error == PRO_OK) {
            CHECK_EQ(send.value, 1);
            CHECK_EQ(peer_read(raw, got, 2), 1);
            CHECK_EQ(got[0], next);
            next++;
        } else {
            /* Nothing of it went: no hole. */
            CHECK_DONE(&send, PRO_ECANCELED, 0);
        }
    }
    t_op last = {0};
    pro_send(&last.op, s, "z", 1, t_done);
    t_run(loop);
    CHECK_DONE(&last, PRO_OK, 1);
    CHECK_EQ(peer_read(raw, got, 2), 1);
    CHECK_EQ(got[0], 'z');
    peer_close(raw);
    t_close(loop, s);
}

static void count_accept(t_op *t)
{
    if (t->error == PRO_OK) ++*(int *)t->ctx;
}

CONFORM(cancel_racing_an_accept_completes_it_once_and_loses_no_connection)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l);
    int           accepted = 0, rounds = t_rounds(500);
    for (int i = 0; i < rounds; i++) {
        t_op accept = {.then = count_accept, .ctx = &accepted};
        peer raw = -1;
        int  when = (int)t_below(3);
        if (when == 0) raw = peer_connect(&address);
        pro_accept(&accept.op, l, t_done);
        if (t_below(2)) t_poll(loop);
        if (when == 1) raw = peer_connect(&address);
        pro_cancel(&accept.op);
        if (when == 2) raw = peer_connect(&address);
        t_run(loop);
        CHECK_EQ(accept.done, 1);
        if (accept.error != PRO_OK) CHECK_ERROR(accept.error, PRO_ECANCELED);
        peer_close(raw);
    }
    /* Those not accepted before are there now. */
    t_op *multi = t_new_op();
    multi->then = count_accept;
    multi->ctx = &accepted;
    pro_accept_multi(&multi->op, l, t_done);
    t_wait_count(loop, &accepted, rounds);
    pro_listener_cancel(l);
    t_run(loop);
    CHECK_EQ(accepted, rounds);
    CHECK_ERROR(multi->error, PRO_ECANCELED);
    t_listener_close(loop, l);
}

/* ---- 33: one, a handle, a scope, a loop ------------------------------------------------------ */

struct many {
    pro_loop     *loop;
    t_pair       *one, *two;
    pro_listener *l;
    pro_scope    *outer, *inner;
    t_op          recv1, queued1, recv2, timer1, timer2, accept;
    char          bytes[4];
};

static struct many *many_begin(void)
{
    struct many *x = t_new(struct many);
    x->loop = t_loop();
    x->outer = t_new(pro_scope);
    x->inner = t_new(pro_scope);
    x->l = t_new(pro_listener);
    pro_scope_init(x->outer, x->loop, NULL, NULL);
    pro_scope_init(x->inner, x->loop, x->outer, NULL);
    x->one = t_pair_in(x->loop, x->inner, NULL);
    x->two = t_pair_in(x->loop, x->outer, NULL);
    t_listen(x->loop, x->l);
    pro_recv(&x->recv1.op, &x->one->a, x->bytes, 1, t_done);
    pro_recv(&x->queued1.op, &x->one->a, x->bytes + 1, 1, t_done);
    pro_recv(&x->recv2.op, &x->two->a, x->bytes + 2, 1, t_done);
    x->timer1.op.scope = x->inner;
    pro_sleep(&x->timer1.op, x->loop, 3600 * PRO_SEC, t_done);
    pro_sleep(&x->timer2.op, x->loop, 3600 * PRO_SEC, t_done);
    pro_accept(&x->accept.op, x->l, t_done);
    t_poll(x->loop);
    CHECK_EQ(x->recv1.done + x->queued1.done + x->recv2.done, 0);
    return x;
}

/* Which of them are canceled, as letters; the others are in flight. */
static void many_are_canceled(struct many *x, const char *which)
{
    t_op       *ops[] = {&x->recv1, &x->queued1, &x->recv2, &x->timer1, &x->timer2, &x->accept};
    const char *letters = "rqstua";
    for (int i = 0; i < 6; i++) CHECK_EQ(ops[i]->done, 0); /* never inside */
    t_settle(x->loop);
    for (int i = 0; i < 6; i++) {
        bool canceled = strchr(which, letters[i]) != NULL;
        CHECK_EQ(ops[i]->done, canceled);
        CHECK_EQ(pro_op_in_flight(&ops[i]->op), !canceled);
        if (canceled) CHECK_DONE(ops[i], PRO_ECANCELED, 0);
    }
}

static void many_end(struct many *x)
{
    /* What was canceled was not closed. */
    t_op *send = t_new_op();
    pro_send(&send->op, &x->one->a, "x", 1, t_done);
    t_wait(x->loop, send);
    CHECK_DONE(send, PRO_OK, 1);
    pro_scope_cancel(pro_loop_scope(x->loop));
    t_run(x->loop);
    t_pair_close(x->loop, x->one);
    t_pair_close(x->loop, x->two);
    t_listener_close(x->loop, x->l);
    pro_scope_close(x->outer);
    t_run(x->loop);
}

CONFORM(cancel_of_one_operation_cancels_one)
{
    struct many *x = many_begin();
    pro_cancel(&x->recv1.op);
    many_are_canceled(x, "r");
    many_end(x);
}

CONFORM(cancel_of_a_queued_operation_leaves_the_one_before_it)
{
    struct many *x = many_begin();
    pro_cancel(&x->queued1.op);
    many_are_canceled(x, "q");
    many_end(x);
}

CONFORM(cancel_of_a_socket_cancels_all_of_it)
{
    struct many *x = many_begin();
    pro_socket_cancel(&x->one->a);
    many_are_canceled(x, "rq");
    many_end(x);
}

CONFORM(cancel_of_a_listener_cancels_its_accepts)
{
    struct many *x = many_begin();
    pro_listener_cancel(x->l);
    many_are_canceled(x, "a");
    many_end(x);
}

CONFORM(cancel_of_a_scope_cancels_what_is_in_it_and_below)
{
    struct many *x = many_begin();
    pro_scope_cancel(x->outer);
    many_are_canceled(x, "rqst");
    many_end(x);
}

CONFORM(cancel_of_an_inner_scope_leaves_the_outer_one)
{
    struct many *x = many_begin();
    pro_scope_cancel(x->inner);
    many_are_canceled(x, "rqt");
    many_end(x);
}

CONFORM(cancel_of_the_root_scope_cancels_all_of_a_loop)
{
    struct many *x = many_begin();
    pro_scope_cancel(pro_loop_scope(x->loop));
    many_are_canceled(x, "rqstua");
    many_end(x);
}

CONFORM(queued_operations_canceled_complete_in_their_order)
{
    enum { COUNT = 10 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *ops = t_array(t_op, COUNT);
    char      bytes[COUNT];
    for (int i = 0; i < COUNT; i++) pro_recv(&ops[i].op, &pair->a, bytes + i, 1, t_done);
    t_poll(loop);
    pro_socket_cancel(&pair->a);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) CHECK_DONE(&ops[i], PRO_ECANCELED, 0);
    for (int i = 2; i < COUNT; i++) CHECK_GT(ops[i].order, ops[i - 1].order);
    t_pair_close(loop, pair);
}

/* ---- 34: done already, used again ------------------------------------------------------------ */

CONFORM(cancel_of_an_operation_that_is_not_in_flight_touches_nothing)
{
    pro_loop *loop = t_loop();
    t_op     *t = t_new_op();
    pro_cancel(&t->op); /* never was */
    pro_sleep(&t->op, loop, 0, t_done);
    t_run(loop);
    CHECK_DONE(t, PRO_OK, 0);
    pro_op before = t->op;
    pro_cancel(&t->op); /* is over */
    CHECK(memcmp(&before, &t->op, sizeof before) == 0);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(t->done, 1);
    /* The next use knows nothing of it. */
    pro_sleep(&t->op, loop, 0, t_done);
    t_run(loop);
    CHECK_EQ(t->done, 2);
    CHECK_ERROR(t->error, PRO_OK);
}

static void receive_again(t_op *t)
{
    if (t->done == 1) pro_recv(&t->op, t->ctx, &((char *)t)[sizeof *t], 1, t_done);
}

CONFORM(a_cancel_never_hits_the_next_use_of_an_operation)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    peer        raw = t_raw_pair(loop, s);
    for (int i = 0, rounds = t_rounds(500); i < rounds; i++) {
        t_op *t = t_alloc(sizeof *t + 1);
        t->ctx = s;
        t->then = receive_again;
        /* The cancel and the byte race; then the same operation waits for the next byte. */
        pro_recv(&t->op, s, &((char *)t)[sizeof *t], 1, t_done);
        t_poll(loop);
        CHECK(peer_write(raw, "1", 1));
        pro_cancel(&t->op);
        t_wait_count(loop, &t->done, 1);
        int first = t->error;
        if (first == PRO_OK) {
            for (int j = 0; j < 3; j++) t_poll(loop);
            CHECK_EQ(t->done, 1);
            CHECK(peer_write(raw, "2", 1));
        }
        t_wait_count(loop, &t->done, 2);
        CHECK_ERROR(t->error, PRO_OK);
        CHECK_EQ(t->value, 1);
        CHECK_EQ(((char *)t)[sizeof *t], first == PRO_OK ? '2' : '1');
    }
    peer_close(raw);
    t_close(loop, s);
}

/* ---- 36: composed operations ----------------------------------------------------------------- */

CONFORM(cancel_of_receive_exactly_between_its_steps_stops_it)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *exactly = t_new_op();
    char        in[10];
    peer        raw = t_raw_pair(loop, s);
    pro_recv_exactly(&exactly->op, s, in, 10, t_done);
    CHECK(peer_write(raw, "abcd", 4));
    t_turn(loop);
    t_poll(loop);
    CHECK_EQ(exactly->done, 0);
    pro_cancel(&exactly->op);
    CHECK(peer_write(raw, "ef", 2)); /* may come along, or stay */
    t_run(loop);
    CHECK_DONE(exactly, PRO_ECANCELED, exactly->value);
    CHECK_GE(exactly->value, 4);
    t_op *rest = t_new_op();
    pro_recv_exactly(&rest->op, s, in + exactly->value, (size_t)(6 - exactly->value), t_done);
    t_run(loop);
    CHECK_ERROR(rest->error, PRO_OK);
    CHECK(memcmp(in, "abcdef", 6) == 0);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(cancel_of_send_all_between_its_steps_stops_it)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    char     *out = t_alloc(CLOG_LEN), *in = t_alloc(CLOG_LEN);
    t_op     *stuck = t_new_op(), *recv = t_new_op();
    t_fill(out, CLOG_LEN, 1, 0);
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    /* Let it make some steps, then stop it. */
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN / 2, t_done);
    t_wait(loop, recv);
    CHECK_EQ(stuck->done, 0);
    pro_cancel(&stuck->op);
    t_wait(loop, stuck);
    CHECK_DONE(stuck, PRO_ECANCELED, stuck->value);
    CHECK_GE(stuck->value, (int64_t)(CLOG_LEN / 2 + 1));
    CHECK_LT(stuck->value, (int64_t)CLOG_LEN);
    t_pair_close(loop, pair);
}

/* ---- Precedence ------------------------------------------------------------------------------ */

CONFORM(the_first_cause_stands)
{
    pro_loop *loop = t_loop_clocked();
    t_pair   *pair = t_pair_new(loop);
    t_op     *canceled = t_new_op(), *timed_out = t_new_op(), *close = t_new_op();
    char      bytes[2];
    canceled->op.deadline_ns = pro_loop_now(loop) + 3600 * PRO_SEC;
    timed_out->op.deadline_ns = pro_loop_now(loop) + 1800 * PRO_SEC;
    pro_recv(&canceled->op, &pair->a, bytes, 1, t_done);
    pro_recv(&timed_out->op, &pair->b, bytes + 1, 1, t_done);
    t_poll(loop);
    pro_cancel(&canceled->op);
    t_clock_advance(7200 * PRO_SEC);
    t_wait(loop, canceled);
    CHECK_DONE(canceled, PRO_ECANCELED, 0);
    pro_close(&close->op, &pair->a, t_done);
    t_run(loop);
    CHECK_DONE(timed_out, PRO_ETIMEDOUT, 0);
    CHECK_EQ(canceled->done, 1);
    t_close(loop, &pair->b);
}

CONFORM(a_complete_result_is_ok_whatever_the_cause)
{
    pro_loop *loop = t_loop();
    t_op     *zero = t_new_op(), *timer = t_new_op();
    t_pair   *pair = t_pair_new(loop);
    pro_send(&zero->op, &pair->a, "", 0, t_done); /* complete from the start */
    pro_cancel(&zero->op);
    t_run(loop);
    CHECK_DONE(zero, PRO_OK, 0);
    pro_sleep(&timer->op, loop, 0, t_done);
    t_run(loop);
    CHECK_DONE(timer, PRO_OK, 0);
    t_pair_close(loop, pair);
}

CONFORM(cancel_has_no_effect_on_a_post)
{
    pro_loop *loop = t_loop();
    t_op     *post = t_new_op();
    pro_post(&post->op, loop, t_done);
    CHECK(pro_op_in_flight(&post->op));
    pro_cancel(&post->op);
    t_run(loop);
    CHECK_DONE(post, PRO_OK, 0);
}

/* ---- The ownership window -------------------------------------------------------------------- */

struct freed {
    pro_op op;
    int   *count;
    char   buf[64];
};

static void free_in_handler(pro_op *op)
{
    struct freed *x = pro_container_of(op, struct freed, op);
    ++*x->count;
    memset(x, 0xdd, sizeof *x);
    free(x);
}

static struct freed *freed_new(int *count)
{
    struct freed *x = calloc(1, sizeof *x);
    CHECK(x != NULL);
    x->count = count;
    return x;
}

CONFORM(an_operation_may_be_freed_inside_its_handler)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_listener *l = t_new(pro_listener);
    int           count = 0;
    t_listen(loop, l);
    for (int round = 0; round < 2; round++) {
        struct freed *x;
        x = freed_new(&count), pro_recv(&x->op, &pair->a, x->buf, 64, free_in_handler);
        x = freed_new(&count), pro_recv_exactly(&x->op, &pair->a, x->buf, 64, free_in_handler);
        x = freed_new(&count), pro_sleep(&x->op, loop, round ? 3600 * PRO_SEC : 0, free_in_handler);
        x = freed_new(&count), pro_accept(&x->op, l, free_in_handler);
        x = freed_new(&count), pro_post(&x->op, loop, free_in_handler);
        if (round == 0) {
            x = freed_new(&count), pro_send(&x->op, &pair->b, x->buf, 64, free_in_handler);
            x = freed_new(&count), pro_send_all(&x->op, &pair->b, x->buf, 64, free_in_handler);
            t_wait_count(loop, &count, 6);
            pro_listener_cancel(l);
            t_run(loop);
        } else {
            t_poll(loop);
            pro_scope_cancel(pro_loop_scope(loop));
            t_run(loop);
        }
    }
    CHECK_EQ(count, 7 + 5);
    struct freed *x = freed_new(&count);
    pro_shutdown(&x->op, &pair->a, free_in_handler);
    x = freed_new(&count), pro_close(&x->op, &pair->a, free_in_handler);
    x = freed_new(&count), pro_listener_close(&x->op, l, free_in_handler);
    t_run(loop);
    CHECK_EQ(count, 7 + 5 + 3);
    t_close(loop, &pair->b);
}

static void sleep_again(t_op *t)
{
    if (t->done < 1000) pro_sleep(&t->op, t->ctx, 0, t_done);
}

CONFORM(an_operation_may_be_used_again_inside_its_handler)
{
    pro_loop *loop = t_loop();
    t_op     *t = t_new_op();
    t->ctx = loop;
    t->then = sleep_again;
    pro_sleep(&t->op, loop, 0, t_done);
    t_run(loop);
    CHECK_EQ(t->done, 1000);
}

static void is_not_touched(t_op *t)
{
    char *buf = t->ctx;
    for (int i = 0; i < 64; i++) CHECK_EQ(buf[i], 0x55);
}

/* The other half of the window: what was canceled and got nothing did not write to its buffer. */
CONFORM(a_buffer_is_the_callers_again_once_the_handler_begins)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    peer        raw = t_raw_pair(loop, s);
    for (int i = 0; i < 20; i++) {
        t_op *recv = t_new_op(), *next = t_new_op();
        char *buf = t_alloc(64), *got = t_alloc(64);
        memset(buf, 0x55, 64);
        recv->ctx = buf;
        recv->then = is_not_touched;
        pro_recv(&recv->op, s, buf, 64, t_done);
        t_poll(loop);
        pro_cancel(&recv->op);
        t_wait(loop, recv);
        CHECK_DONE(recv, PRO_ECANCELED, 0);
        CHECK(peer_write(raw, "abc", 3));
        pro_recv(&next->op, s, got, 64, t_done);
        t_wait(loop, next);
        CHECK_DONE(next, PRO_OK, 3);
        is_not_touched(recv);
    }
    peer_close(raw);
    t_close(loop, s);
}

/* ---- 45: other objects of the same turn ------------------------------------------------------ */

struct cross {
    t_op          op;
    struct cross *other;
    pro_socket   *mine, *others;
    int           what;
    char          byte;
    t_op          close;
};

static void cross_stop(t_op *t)
{
    struct cross *x = pro_container_of(t, struct cross, op);
    if (x->other->op.done) return; /* the first one does it */
    switch (x->what) {
    case 0: pro_cancel(&x->other->op.op); break;
    case 1: pro_socket_cancel(x->others); break;
    default: pro_close(&x->close.op, x->others, t_done); break;
    }
}

CONFORM(a_handler_may_stop_others_that_are_due_in_the_same_turn)
{
    for (int what = 0; what < 3; what++) {
        pro_loop     *loop = t_loop();
        pro_socket   *s[2] = {t_new(pro_socket), t_new(pro_socket)};
        struct cross *x = t_array(struct cross, 2);
        peer          raw[2] = {t_raw_pair(loop, s[0]), t_raw_pair(loop, s[1])};
        for (int i = 0; i < 2; i++) {
            x[i].mine = s[i];
            x[i].others = s[!i];
            x[i].other = &x[!i];
            x[i].what = what;
            x[i].op.then = cross_stop;
            CHECK(peer_write(raw[i], "x", 1));
        }
        for (int i = 0; i < 2; i++) pro_recv(&x[i].op.op, s[i], &x[i].byte, 1, t_done);
        t_run(loop);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(x[i].op.done, 1);
            if (x[i].op.error == PRO_OK)
                CHECK_EQ(x[i].op.value, 1);
            else
                CHECK_DONE(&x[i].op, PRO_ECANCELED, 0);
            peer_close(raw[i]);
            if (what < 2 || x[!i].close.done == 0) t_close(loop, s[i]);
        }
        t_loop_free(loop);
    }
}

/* Two connections due in one turn; the handler of the first ends the other one, of which the memory
 * goes when its scope has drained. */
struct doomed {
    pro_scope       scope;
    pro_socket      sock;
    t_op            op;
    struct doomed **other, **self;
    char            byte;
};

static void doomed_drained(pro_scope *scope)
{
    struct doomed *x = pro_container_of(scope, struct doomed, scope);
    *x->self = NULL;
    memset(x, 0xdd, sizeof *x);
    free(x);
}

static void doom_the_other(t_op *t)
{
    struct doomed *x = pro_container_of(t, struct doomed, op);
    if (*x->other != NULL) pro_scope_close(&(*x->other)->scope);
}

CONFORM(a_handler_may_end_and_free_another_connection_that_is_due_in_the_same_turn)
{
    for (int i = 0; i < 20; i++) {
        pro_loop       *loop = t_loop();
        struct doomed **x = t_array(struct doomed *, 2);
        peer            raw[2][2];
        for (int j = 0; j < 2; j++) {
            x[j] = calloc(1, sizeof *x[j]);
            CHECK(x[j] != NULL);
            x[j]->self = &x[j];
            x[j]->other = &x[!j];
            x[j]->op.then = doom_the_other;
            pro_scope_init(&x[j]->scope, loop, NULL, doomed_drained);
            peer_pair(raw[j]);
            CHECK_ERROR(pro_socket_adopt(&x[j]->sock, loop, &x[j]->scope, raw[j][0]), PRO_OK);
            CHECK(peer_write(raw[j][1], "x", 1));
        }
        for (int j = 0; j < 2; j++) pro_recv(&x[j]->op.op, &x[j]->sock, &x[j]->byte, 1, t_done);
        t_run(loop);
        CHECK_EQ(t_completions(), 2 * (i + 1));
        CHECK(x[0] == NULL || x[1] == NULL);
        pro_scope_close(pro_loop_scope(loop));
        t_run(loop);
        CHECK(x[0] == NULL && x[1] == NULL);
        for (int j = 0; j < 2; j++) peer_close(raw[j][1]);
        t_loop_free(loop);
    }
}

struct timers {
    t_op timers[3];
};

static void cancel_the_others(t_op *t)
{
    struct timers *x = t->ctx;
    for (int i = 0; i < 3; i++) pro_cancel(&x->timers[i].op);
}

CONFORM(a_timer_may_cancel_others_that_are_due_in_the_same_turn)
{
    pro_loop      *loop = t_loop_clocked();
    struct timers *x = t_new(struct timers);
    for (int i = 0; i < 3; i++) {
        x->timers[i].ctx = x;
        x->timers[i].then = cancel_the_others;
        pro_sleep(&x->timers[i].op, loop, 3600 * PRO_SEC, t_done);
    }
    t_clock_advance(7200 * PRO_SEC);
    t_run(loop);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(x->timers[i].done, 1);
        if (x->timers[i].error != PRO_OK) CHECK_ERROR(x->timers[i].error, PRO_ECANCELED);
    }
    CHECK_ERROR(x->timers[0].error, PRO_OK);
}
