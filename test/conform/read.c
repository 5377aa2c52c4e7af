/* Receiving.
 * Covers 15, 16, 17, 20, 21, 22, 23, 24, 28 (reads), 31 (reads) of the list. */
#include "lib/net.h"

/* ---- 15: the end of the stream --------------------------------------------------------------- */

CONFORM(the_end_of_a_stream_comes_after_all_its_data)
{
    enum { LEN = 50000 };
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op();
    char       *out = t_alloc(LEN), *in = t_alloc(LEN + 1);
    peer        raw = t_raw_pair(loop, s);
    int64_t     got = 0;

    t_fill(out, LEN, 1, 0);
    CHECK(peer_write(raw, out, LEN));
    peer_shutdown(raw);
    do {
        pro_recv(&recv->op, s, in + got, (size_t)(LEN + 1 - got), t_done);
        t_wait(loop, recv);
        got += recv->value;
    } while (recv->error == PRO_OK);
    CHECK_ERROR(recv->error, PRO_EOF);
    CHECK_EQ(recv->value, 0);
    CHECK_EQ(got, LEN);
    CHECK_FILL(in, LEN, 1, 0);

    /* It stays the end, and our side still works. */
    pro_recv(&recv->op, s, in, 1, t_done);
    t_wait(loop, recv);
    CHECK_ERROR(recv->error, PRO_EOF);
    t_op *send = t_new_op();
    pro_send_all(&send->op, s, "bye", 3, t_done);
    t_wait(loop, send);
    CHECK_DONE(send, PRO_OK, 3);
    CHECK_EQ(peer_read_exactly(raw, in, 3), 3);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(a_receive_pending_when_the_stream_ends_says_so)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *first = t_new_op(), *second = t_new_op();
    char        buf[2];
    peer        raw = t_raw_pair(loop, s);
    pro_recv(&first->op, s, buf, 1, t_done);
    pro_recv(&second->op, s, buf + 1, 1, t_done);
    t_poll(loop);
    CHECK_EQ(first->done + second->done, 0);
    peer_close(raw);
    t_run(loop);
    CHECK_DONE(first, PRO_EOF, 0);
    CHECK_DONE(second, PRO_EOF, 0);
    t_close(loop, s);
}

/* ---- 16, 31: short, zero --------------------------------------------------------------------- */

CONFORM(a_short_read_is_a_result)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op();
    char        buf[100] = {0};
    peer        raw = t_raw_pair(loop, s);
    CHECK(peer_write(raw, "abc", 3));
    pro_recv(&recv->op, s, buf, sizeof buf, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 3);
    CHECK(memcmp(buf, "abc", 4) == 0);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(a_receive_of_length_zero_completes_at_once_and_takes_nothing)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *ops = t_array(t_op, 5);
    pro_vec     none[2] = {{NULL, 0}, {NULL, 0}};
    char        byte = 0;
    peer        raw = t_raw_pair(loop, s);
    for (int round = 0; round < 3; round++) { /* without data, with data, at the end */
        if (round == 1) CHECK(peer_write(raw, "x", 1));
        if (round == 2) peer_close(raw);
        memset(ops, 0, 5 * sizeof *ops);
        pro_recv(&ops[0].op, s, NULL, 0, t_done);
        pro_recv_exactly(&ops[1].op, s, NULL, 0, t_done);
        pro_recvv(&ops[2].op, s, none, 2, t_done);
        pro_recvv_exactly(&ops[3].op, s, none, 0, t_done);
        CHECK_EQ(ops[0].done, 0); /* not inside */
        t_run(loop);
        for (int i = 0; i < 4; i++) CHECK_DONE(&ops[i], PRO_OK, 0);
        if (round == 1) {
            pro_recv(&ops[4].op, s, &byte, 1, t_done);
            t_run(loop);
            CHECK_DONE(&ops[4], PRO_OK, 1);
            CHECK_EQ(byte, 'x');
        }
    }
    t_close(loop, s);
}

CONFORM(a_receive_of_length_zero_completes_on_the_next_turn_whatever_is_before_it)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *first = t_new_op(), *zero = t_new_op();
    char        byte;
    peer        raw = t_raw_pair(loop, s);
    pro_recv(&first->op, s, &byte, 1, t_done);
    pro_recv(&zero->op, s, &byte, 0, t_done);
    t_turn(loop);
    CHECK_DONE(zero, PRO_OK, 0);
    CHECK_EQ(first->done, 0);
    CHECK(peer_write(raw, "x", 1));
    t_run(loop);
    CHECK_DONE(first, PRO_OK, 1);
    peer_close(raw);
    t_close(loop, s);
}

/* ---- 17: inside handlers --------------------------------------------------------------------- */

struct stepper {
    t_op        op, spare;
    pro_socket *s;
    char        byte, spare_byte;
    int         got;
};

static void read_next(t_op *t)
{
    struct stepper *x = pro_container_of(t, struct stepper, op);
    CHECK_ERROR(t->error, PRO_OK);
    CHECK_EQ(x->byte, (char)x->got);
    x->got++;
    if (x->got == 100) return;
    /* Start one and stop it again; it is over before it gets a byte, or takes the very next one. */
    pro_recv(&t->op, x->s, &x->byte, 1, t_done);
    if (x->got % 2 == 0 && !pro_op_in_flight(&x->spare.op)) {
        pro_recv(&x->spare.op, x->s, &x->spare_byte, 1, t_done);
        pro_cancel(&x->spare.op);
    }
}

CONFORM(reads_are_started_and_stopped_inside_handlers)
{
    pro_loop       *loop = t_loop();
    pro_socket     *s = t_new(pro_socket);
    struct stepper *x = t_new(struct stepper);
    char            out[100];
    peer            raw = t_raw_pair(loop, s);
    for (int i = 0; i < 100; i++) out[i] = (char)i;
    x->s = s;
    x->op.then = read_next;
    pro_recv(&x->op.op, s, &x->byte, 1, t_done);
    CHECK(peer_write(raw, out, 100));
    t_run(loop);
    CHECK_EQ(x->got, 100);
    CHECK_GT(x->spare.done, 0);
    CHECK_ERROR(x->spare.error, PRO_ECANCELED); /* it stood behind the other: not one byte */
    CHECK_EQ(x->spare.value, 0);
    peer_close(raw);
    t_close(loop, s);
}

/* ---- 20: fairness ---------------------------------------------------------------------------- */

struct busy {
    t_op        recv, send;
    t_pair     *pair;
    char        in[4096], out[4096];
    int         received;
    const bool *stop;
};

static void busy_received(t_op *t)
{
    struct busy *x = pro_container_of(t, struct busy, recv);
    CHECK_ERROR(t->error, t->error == PRO_ECANCELED && *x->stop ? PRO_ECANCELED : PRO_OK);
    x->received++;
    if (!*x->stop) pro_recv(&t->op, &x->pair->b, x->in, sizeof x->in, t_done);
}

static void busy_sent(t_op *t)
{
    struct busy *x = pro_container_of(t, struct busy, send);
    CHECK_ERROR(t->error, PRO_OK);
    if (!*x->stop) pro_send_all(&t->op, &x->pair->a, x->out, sizeof x->out, t_done);
}

struct quiet {
    t_op    recv, send;
    t_pair *pair;
    char    byte;
    int     rounds, want;
    bool   *stop;
};

/* The next round begins when both are over, in whichever order that is. */
static void quiet_next(struct quiet *x)
{
    if (pro_op_in_flight(&x->recv.op) || pro_op_in_flight(&x->send.op)) return;
    if (++x->rounds == x->want) {
        *x->stop = true;
        return;
    }
    pro_recv(&x->recv.op, &x->pair->b, &x->byte, 1, t_done);
    pro_send(&x->send.op, &x->pair->a, "q", 1, t_done);
}

static void quiet_received(t_op *t)
{
    CHECK_ERROR(t->error, PRO_OK);
    quiet_next(pro_container_of(t, struct quiet, recv));
}

static void quiet_sent(t_op *t)
{
    CHECK_ERROR(t->error, PRO_OK);
    quiet_next(pro_container_of(t, struct quiet, send));
}

CONFORM(busy_streams_do_not_starve_a_quiet_one)
{
    enum { BUSY = 4 };
    pro_loop     *loop = t_loop();
    bool         *stop = t_new(bool);
    struct busy  *busy = t_array(struct busy, BUSY);
    struct quiet *quiet = t_new(struct quiet);
    int           received = 0;
    for (int i = 0; i < BUSY; i++) {
        busy[i].pair = t_pair_new(loop);
        busy[i].stop = stop;
        busy[i].recv.then = busy_received;
        busy[i].send.then = busy_sent;
        pro_recv(&busy[i].recv.op, &busy[i].pair->b, busy[i].in, sizeof busy[i].in, t_done);
        pro_send_all(&busy[i].send.op, &busy[i].pair->a, busy[i].out, sizeof busy[i].out, t_done);
    }
    quiet->pair = t_pair_new(loop);
    quiet->want = 50;
    quiet->stop = stop;
    quiet->recv.then = quiet_received;
    quiet->send.then = quiet_sent;
    pro_recv(&quiet->recv.op, &quiet->pair->b, &quiet->byte, 1, t_done);
    pro_send(&quiet->send.op, &quiet->pair->a, "q", 1, t_done);
    while (!*stop) t_turn(loop);
    for (int i = 0; i < BUSY; i++) received += busy[i].received;
    CHECK_EQ(quiet->rounds, 50);
    CHECK_LE(received, 50 * BUSY * 20); /* a round of the quiet one costs a few of the others */
    for (int i = 0; i < BUSY; i++) pro_socket_cancel(&busy[i].pair->b);
    t_run(loop);
    for (int i = 0; i < BUSY; i++) t_pair_close(loop, busy[i].pair);
    t_pair_close(loop, quiet->pair);
}

struct chain {
    pro_op    op;
    pro_loop *loop;
    int       ran;
    bool      stop;
};

static void chain_post(pro_op *op)
{
    struct chain *x = pro_container_of(op, struct chain, op);
    x->ran++;
    if (!x->stop) pro_post(op, x->loop, chain_post);
}

static void chain_timer(pro_op *op)
{
    struct chain *x = pro_container_of(op, struct chain, op);
    x->ran++;
    if (!x->stop) pro_sleep(op, x->loop, 0, chain_timer);
}

/* Posts and timers that post and start themselves again leave room for input. */
CONFORM(endless_posts_and_timers_do_not_starve_input)
{
    pro_loop     *loop = t_loop();
    pro_socket   *s = t_new(pro_socket);
    struct chain *posts = t_new(struct chain), *timers = t_new(struct chain);
    t_op         *recv = t_new_op();
    char          byte;
    peer          raw = t_raw_pair(loop, s);
    posts->loop = timers->loop = loop;
    pro_post(&posts->op, loop, chain_post);
    pro_sleep(&timers->op, loop, 0, chain_timer);
    for (int i = 1; i <= 10; i++) {
        pro_recv(&recv->op, s, &byte, 1, t_done);
        CHECK(peer_write(raw, "x", 1));
        int before = posts->ran + timers->ran;
        t_wait_count(loop, &recv->done, i);
        CHECK_LE(posts->ran + timers->ran - before, 1000);
    }
    CHECK_GT(posts->ran, 0);
    CHECK_GT(timers->ran, 0);
    posts->stop = timers->stop = true;
    t_run(loop);
    peer_close(raw);
    t_close(loop, s);
}

/* ---- 21: blocking or not --------------------------------------------------------------------- */

/* t_done checks of every completion that it does not say "would block". */
CONFORM(would_block_never_leaks)
{
    pro_loop *loop = t_loop();
    for (int i = 0; i < 20; i++) {
        pro_socket *s = t_new(pro_socket);
        t_op       *recv = t_new_op();
        char        byte;
        peer        raw[2];
        peer_pair(raw);
        CHECK_ERROR(pro_socket_adopt(s, loop, NULL, raw[0]), PRO_OK);
        CHECK_EQ(pro_socket_descriptor(s), raw[0]);
        pro_recv(&recv->op, s, &byte, 1, t_done);
        for (int j = 0; j < 3; j++) t_poll(loop);
        CHECK_EQ(recv->done, 0);
        CHECK(peer_write(raw[1], "x", 1));
        t_wait(loop, recv);
        CHECK_DONE(recv, PRO_OK, 1);
        t_close(loop, s);
        peer_close(raw[1]);
    }
}

/* ---- 22, 24: exactly ------------------------------------------------------------------------- */

CONFORM(receive_exactly_gathers_what_comes_in_pieces)
{
    enum { LEN = 1000 };
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op();
    char        out[LEN], in[LEN];
    peer        raw = t_raw_pair(loop, s);
    t_fill(out, LEN, 3, 0);
    pro_recv_exactly(&recv->op, s, in, LEN, t_done);
    for (int at = 0; at < LEN;) {
        int piece = 1 + (int)t_below(100);
        if (piece > LEN - at) piece = LEN - at;
        CHECK_EQ(recv->done, 0);
        CHECK(peer_write(raw, out + at, (size_t)piece));
        at += piece;
        t_poll(loop);
        t_poll(loop);
    }
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, LEN);
    CHECK_FILL(in, LEN, 3, 0);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(receive_exactly_that_meets_the_end_says_what_came)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op();
    char        in[100];
    peer        raw = t_raw_pair(loop, s);
    CHECK(peer_write(raw, "seven..", 7));
    pro_recv_exactly(&recv->op, s, in, sizeof in, t_done);
    t_poll(loop);
    t_poll(loop);
    CHECK_EQ(recv->done, 0);
    peer_close(raw);
    t_run(loop);
    CHECK_DONE(recv, PRO_EOF, 7);
    CHECK(memcmp(in, "seven..", 7) == 0);
    t_close(loop, s);
}

/* ---- 23: order ------------------------------------------------------------------------------- */

CONFORM(two_receives_pending_complete_in_the_order_of_initiation)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *one = t_new_op(), *two = t_new_op();
    char        a[3] = {0}, b[3] = {0};
    peer        raw = t_raw_pair(loop, s);
    pro_recv(&one->op, s, a, 2, t_done);
    pro_recv(&two->op, s, b, 2, t_done);
    t_poll(loop);
    CHECK(peer_write(raw, "1122", 4));
    t_run(loop);
    CHECK_DONE(one, PRO_OK, 2);
    CHECK_DONE(two, PRO_OK, 2);
    CHECK(strcmp(a, "11") == 0 && strcmp(b, "22") == 0);
    CHECK_LT(one->order, two->order);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(many_receives_pending_fill_in_order_whatever_their_kind)
{
    enum { COUNT = 200 };
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *ops = t_array(t_op, COUNT);
    unsigned char(*in)[16] = t_alloc(COUNT * sizeof *in);
    unsigned char out[COUNT * 16];
    peer          raw = t_raw_pair(loop, s);
    t_fill(out, sizeof out, 5, 0);
    for (int i = 0; i < COUNT; i++) {
        pro_vec vecs[2] = {{in[i], 5}, {in[i] + 5, 11}};
        if (i % 2)
            pro_recvv_exactly(&ops[i].op, s, vecs, 2, t_done);
        else
            pro_recv_exactly(&ops[i].op, s, in[i], 16, t_done);
    }
    for (size_t at = 0; at < sizeof out; at += 100) {
        CHECK(peer_write(raw, out + at, 100));
        t_poll(loop);
    }
    t_run(loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_DONE(&ops[i], PRO_OK, 16);
        CHECK_EQ(ops[i].order, i + ops[0].order);
        CHECK_FILL(in[i], 16, 5, i * 16);
    }
    peer_close(raw);
    t_close(loop, s);
}

/* ---- Vectors --------------------------------------------------------------------------------- */

/* A buffer cut into vectors at random, some of them empty. */
static size_t cut(pro_vec *vecs, size_t max, char *buf, size_t len)
{
    size_t at = 0, count = 0;
    while (count < max - 1 && at < len) {
        size_t piece = (size_t)t_below(40);
        if (piece > len - at) piece = len - at;
        vecs[count++] = (pro_vec){buf + at, piece};
        at += piece;
    }
    vecs[count++] = (pro_vec){buf + at, len - at};
    return count;
}

CONFORM(vectored_receives_continue_at_any_byte)
{
    enum { LEN = 120 };
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op();
    peer        raw = t_raw_pair(loop, s);
    for (int at = 1; at < LEN; at++) { /* the peer's pieces meet at each byte once */
        char    out[LEN], in[LEN] = {0};
        pro_vec vecs[16];
        size_t  count = cut(vecs, 16, in, LEN);
        int     done = recv->done;
        t_fill(out, LEN, (unsigned)at, 0);
        pro_recvv_exactly(&recv->op, s, vecs, count, t_done);
        memset(vecs, 0xff, sizeof vecs); /* they are ours again */
        CHECK(peer_write(raw, out, (size_t)at));
        t_turn(loop);
        t_poll(loop);
        CHECK_EQ(recv->done, done);
        CHECK(peer_write(raw, out + at, (size_t)(LEN - at)));
        t_wait_count(loop, &recv->done, done + 1);
        CHECK_ERROR(recv->error, PRO_OK);
        CHECK_EQ(recv->value, LEN);
        CHECK_FILL(in, LEN, (unsigned)at, 0);
    }
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(a_vectored_receive_may_be_short)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op();
    char        a[2], b[3], c[4] = {0};
    pro_vec     vecs[4] = {{a, 2}, {NULL, 0}, {b, 3}, {c, 4}};
    peer        raw = t_raw_pair(loop, s);
    CHECK(peer_write(raw, "aabbbc", 6));
    pro_recvv(&recv->op, s, vecs, 4, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, 6);
    CHECK(memcmp(a, "aa", 2) == 0 && memcmp(b, "bbb", 3) == 0 && memcmp(c, "c\0\0\0", 4) == 0);
    peer_close(raw);
    t_close(loop, s);
}

CONFORM(the_most_vectors_work_and_one_more_is_invalid)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    size_t    len = PRO_VECS_MAX * 3;
    char     *out = t_alloc(len), *in = t_alloc(len);
    pro_vec  *outs = t_array(pro_vec, PRO_VECS_MAX + 1), *ins = t_array(pro_vec, PRO_VECS_MAX + 1);
    t_op     *send = t_new_op(), *recv = t_new_op(), *bad = t_array(t_op, 4);
    t_fill(out, len, 9, 0);
    for (size_t i = 0; i < PRO_VECS_MAX; i++) {
        outs[i] = (pro_vec){out + 3 * i, 3};
        ins[i] = (pro_vec){in + 3 * i, 3};
    }
    pro_recvv_exactly(&recv->op, &pair->b, ins, PRO_VECS_MAX, t_done);
    pro_sendv_all(&send->op, &pair->a, outs, PRO_VECS_MAX, t_done);
    t_run(loop);
    CHECK_DONE(send, PRO_OK, (int64_t)len);
    CHECK_DONE(recv, PRO_OK, (int64_t)len);
    CHECK_FILL(in, len, 9, 0);

    pro_recvv(&bad[0].op, &pair->b, ins, PRO_VECS_MAX + 1, t_done);
    pro_recvv_exactly(&bad[1].op, &pair->b, ins, PRO_VECS_MAX + 1, t_done);
    pro_sendv(&bad[2].op, &pair->a, outs, PRO_VECS_MAX + 1, t_done);
    pro_sendv_all(&bad[3].op, &pair->a, outs, PRO_VECS_MAX + 1, t_done);
    t_run(loop);
    for (int i = 0; i < 4; i++) CHECK_DONE(&bad[i], PRO_EINVAL, 0);

    /* Which broke nothing. */
    pro_send(&send->op, &pair->a, out, 1, t_done);
    pro_recv(&recv->op, &pair->b, in, 1, t_done);
    t_run(loop);
    CHECK_ERROR(send->error, PRO_OK);
    CHECK_ERROR(recv->error, PRO_OK);
    t_pair_close(loop, pair);
}

/* ---- 28: broken peers ------------------------------------------------------------------------ */

CONFORM(a_receive_from_a_peer_that_resets_says_so)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op(), *exactly = t_new_op();
    char        buf[8];
    peer        raw = t_raw_pair(loop, s);
    pro_recv(&recv->op, s, buf, 1, t_done);
    t_poll(loop);
    peer_reset(raw);
    t_run(loop);
    CHECK_DONE(recv, PRO_ECONNRESET, 0);
    t_close(loop, s);

    s = t_new(pro_socket);
    raw = t_raw_pair(loop, s);
    CHECK(peer_write(raw, "abc", 3));
    pro_recv_exactly(&exactly->op, s, buf, 8, t_done);
    t_turn(loop);
    t_poll(loop);
    peer_reset(raw);
    t_run(loop);
    CHECK_EQ(exactly->done, 1);
    CHECK_ERROR(exactly->error, PRO_ECONNRESET);
    CHECK_EQ(exactly->value, 3);
    t_close(loop, s);
}

/* The system tells a reset once, here to a send; a receive after that finds an empty stream. */
CONFORM(a_reset_that_a_send_was_told_is_not_an_end_of_stream)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *send = t_new_op(), *recv = t_new_op();
    char        buf[8];
    peer        raw = t_raw_pair(loop, s);
    peer_reset(raw);
    do {
        pro_send(&send->op, s, "x", 1, t_done);
        t_wait(loop, send);
    } while (send->error == PRO_OK);
    pro_recv(&recv->op, s, buf, sizeof buf, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_ECONNRESET, 0);
    t_close(loop, s);
}
