/* Pools of buffers: leased and multishot receives.
 * Covers 18, 19 of the list. */
#include <stdio.h>
#include <string.h>

#include <proactor/buffers.h>

#include "lib/net.h"

static pro_buffers *pool_of(pro_loop *loop, uint32_t count, uint32_t size)
{
    pro_buffers *buffers = NULL;
    CHECK_ERROR(pro_buffers_new(&buffers, loop, count, size), PRO_OK);
    CHECK_EQ(pro_buffers_available(buffers), count);
    return buffers;
}

/* A receive that keeps what came: as bytes, and the leases if told to. */
struct taker {
    t_op         op;
    pro_buffers *buffers;
    pro_socket  *s;
    char        *in;
    size_t       got, size;
    pro_lease    leases[8];
    int          held, keep;
    int          ends; /* completions without PRO_MORE */
};

static void take(t_op *t)
{
    struct taker *x = pro_container_of(t, struct taker, op);
    if (t->error != PRO_OK) {
        CHECK(pro_lease_peek(&t->op) == NULL);
        CHECK_EQ(t->value, 0);
    } else {
        CHECK_GT(t->value, 0);
        CHECK_LE(x->got + (size_t)t->value, x->size);
        memcpy(x->in + x->got, pro_lease_peek(&t->op), (size_t)t->value);
        x->got += (size_t)t->value;
        if (x->held < x->keep) {
            pro_lease *lease = &x->leases[x->held++];
            CHECK_ERROR(pro_lease_take(&t->op, lease), PRO_OK);
            CHECK_EQ(lease->len, t->value);
            CHECK(pro_lease_peek(&t->op) == NULL);
            CHECK_ERROR(pro_lease_take(&t->op, lease), PRO_EINVAL);
        }
    }
    if (!(t->flags & PRO_MORE)) x->ends++;
}

/* Again at once: with one buffer of two this may take some turns, and is no spin for ever. */
static void take_and_go_on(t_op *t)
{
    struct taker *x = pro_container_of(t, struct taker, op);
    take(t);
    if (t->error == PRO_ENOBUFS) pro_recv_multi(&t->op, x->s, x->buffers, t_done);
}

static struct taker *taker_new(pro_buffers *buffers, pro_socket *s, size_t size)
{
    struct taker *x = t_new(struct taker);
    x->buffers = buffers;
    x->s = s;
    x->size = size;
    x->in = t_alloc(size);
    x->op.then = take;
    return x;
}

static void send_all(pro_loop *loop, pro_socket *s, const void *buf, size_t len)
{
    t_op *send = t_new_op();
    pro_send_all(&send->op, s, buf, len, t_done);
    t_wait(loop, send);
    CHECK_DONE(send, PRO_OK, (int64_t)len);
}

static void wait_for_bytes(pro_loop *loop, const struct taker *x, size_t want)
{
    while (x->got < want) t_turn(loop);
}

static void wait_for_end(pro_loop *loop, const struct taker *x, int ends)
{
    while (x->ends < ends) t_turn(loop);
    CHECK_EQ(x->ends, ends);
}

CONFORM(a_leased_receive_has_its_bytes_in_a_buffer_of_the_pool)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 4, 100);
    struct taker *x = taker_new(buffers, &pair->a, 3);
    pro_recv_leased(&x->op.op, &pair->a, buffers, t_done);
    CHECK(pro_lease_peek(&x->op.op) == NULL);
    send_all(loop, &pair->b, "abc", 3);
    t_run(loop);
    CHECK_DONE(&x->op, PRO_OK, 3);
    CHECK(memcmp(x->in, "abc", 3) == 0);
    CHECK_EQ(pro_buffers_available(buffers), 4); /* it went back as the handler returned */
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
    t_pair_close(loop, pair);
}

CONFORM(a_leased_receive_takes_no_more_than_a_buffer_holds)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 2, 7);
    struct taker *x = taker_new(buffers, &pair->a, 20);
    char          out[20];
    t_fill(out, sizeof out, 1, 0);
    send_all(loop, &pair->b, out, sizeof out);
    while (x->got < sizeof out) {
        pro_recv_leased(&x->op.op, &pair->a, buffers, t_done);
        t_wait(loop, &x->op);
        CHECK_ERROR(x->op.error, PRO_OK);
        CHECK_LE(x->op.value, 7);
    }
    CHECK_FILL(x->in, sizeof out, 1, 0);
    t_pair_close(loop, pair);
}

CONFORM(a_lease_that_was_taken_stays_until_it_is_given)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 2, 16);
    struct taker *x = taker_new(buffers, &pair->a, 4);
    x->keep = 1;
    pro_recv_leased(&x->op.op, &pair->a, buffers, t_done);
    send_all(loop, &pair->b, "held", 4);
    t_run(loop);
    CHECK_DONE(&x->op, PRO_OK, 4);
    CHECK_EQ(pro_buffers_available(buffers), 1);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_EBUSY);
    t_pair_close(loop, pair); /* it outlives the socket */
    CHECK(memcmp(x->leases[0].data, "held", 4) == 0);
    pro_lease_give(&x->leases[0]);
    CHECK(x->leases[0].data == NULL);
    pro_lease_give(&x->leases[0]); /* an empty one */
    CHECK_EQ(pro_buffers_available(buffers), 2);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
}

CONFORM(a_multishot_receive_delivers_the_stream_in_order_and_ends_with_it)
{
    enum { LEN = 300000 };
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 16, 1000);
    struct taker *x = taker_new(buffers, &pair->a, LEN);
    t_op         *send = t_new_op(), *shutdown = t_new_op();
    char         *out = t_alloc(LEN);
    t_fill(out, LEN, 2, 0);
    pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    pro_send_all(&send->op, &pair->b, out, LEN, t_done);
    pro_shutdown(&shutdown->op, &pair->b, t_done);
    /* What the pool cannot hold at once is no loss: again, when there is a buffer. */
    while (x->op.error != PRO_EOF) {
        int ends = x->ends;
        while (x->ends == ends) t_turn(loop);
        if (x->op.error == PRO_EOF) break;
        CHECK_ERROR(x->op.error, PRO_ENOBUFS);
        t_op *wait = t_new_op();
        pro_buffers_wait(&wait->op, buffers, t_done);
        t_wait(loop, wait);
        CHECK_DONE(wait, PRO_OK, 0);
        pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    }
    CHECK_EQ(x->got, LEN);
    CHECK_FILL(x->in, LEN, 2, 0);
    CHECK_EQ(pro_buffers_available(buffers), 16);
    t_run(loop);
    CHECK_DONE(shutdown, PRO_OK, 0);
    t_pair_close(loop, pair);
}

/* PROACTOR_FAULTS, as an option: a multishot receive is begun once, and may break between any two records. */
CONFORM(a_leased_stream_that_a_fault_breaks_ends_once_and_keeps_no_buffer)
{
    enum { LEN = 20000, SEEDS = 20 };
    int broken = 0, whole = 0;
    for (int seed = 1; seed <= SEEDS; seed++) {
        char             words[32];
        pro_loop_options options = t_loop_options();
        snprintf(words, sizeof words, "%d:reset,slow", seed);
        options.faults = words;
        pro_loop     *loop = t_loop_with(&options);
        t_pair       *pair = t_pair_new(loop);
        pro_buffers  *buffers = pool_of(loop, 64, 1000);
        struct taker *x = taker_new(buffers, &pair->a, LEN);
        t_op         *sends = t_array(t_op, 20), *shutdown = t_new_op();
        char         *out = t_alloc(LEN);
        t_fill(out, LEN, 2, 0);
        pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
        for (int i = 0; i < 20; i++)
            pro_send_all(&sends[i].op, &pair->b, out + i * 1000, 1000, t_done);
        pro_shutdown(&shutdown->op, &pair->b, t_done);
        t_wait(loop, shutdown);
        if (shutdown->error != PRO_OK)
            t_close(loop, &pair->b); /* it broke, and its peer hears of it so */
        while (x->ends == 0) t_turn(loop);
        CHECK(x->op.error == PRO_EOF || x->op.error == PRO_ECONNRESET);
        CHECK_FILL(x->in, x->got, 2, 0);
        *(x->op.error == PRO_EOF ? &whole : &broken) += 1;
        t_close(loop, &pair->a);
        if (shutdown->error == PRO_OK) t_close(loop, &pair->b);
        CHECK_EQ(x->ends, 1);
        CHECK_EQ(pro_buffers_available(buffers), 64);
        t_loop_free(loop);
    }
    CHECK_GT(broken, 0);
    CHECK_GT(whole, 0);
}

CONFORM(a_pool_without_buffers_says_so_and_the_stream_goes_on_where_it_was)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 2, 4);
    struct taker *x = taker_new(buffers, &pair->a, 20);
    char          out[20];
    x->keep = 2;
    t_fill(out, sizeof out, 3, 0);
    send_all(loop, &pair->b, out, sizeof out);
    pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    wait_for_end(loop, x, 1);
    CHECK_ERROR(x->op.error, PRO_ENOBUFS);
    CHECK_EQ(x->got, 8);
    CHECK_EQ(pro_buffers_available(buffers), 0);

    /* At once it can only say so again; who waits is told. */
    pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    wait_for_end(loop, x, 2);
    CHECK_ERROR(x->op.error, PRO_ENOBUFS);
    t_op *wait = t_new_op();
    pro_buffers_wait(&wait->op, buffers, t_done);
    t_poll(loop);
    CHECK_EQ(wait->done, 0);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_EBUSY);
    pro_lease_give(&x->leases[0]);
    CHECK_EQ(wait->done, 0); /* not inside */
    t_wait(loop, wait);
    CHECK_DONE(wait, PRO_OK, 0);
    x->op.then = take_and_go_on;
    pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    wait_for_bytes(loop, x, sizeof out);
    CHECK_FILL(x->in, sizeof out, 3, 0);
    CHECK_FILL(x->leases[1].data, 4, 3, 4);
    pro_lease_give(&x->leases[1]);
    x->op.then = take;
    pro_cancel(&x->op.op);
    t_run(loop);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
    t_pair_close(loop, pair);
}

CONFORM(those_who_wait_for_a_buffer_are_served_in_order_one_for_each)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 2, 1);
    struct taker *x = taker_new(buffers, &pair->a, 2);
    t_op         *waits = t_array(t_op, 4);
    x->keep = 2;
    send_all(loop, &pair->b, "xyz", 3);
    pro_buffers_wait(&waits[3].op, buffers, t_done);
    CHECK_EQ(waits[3].done, 0); /* not inside */
    t_turn(loop);
    CHECK_DONE(&waits[3], PRO_OK, 0); /* there was one */
    pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    wait_for_end(loop, x, 1);
    for (int i = 0; i < 3; i++) pro_buffers_wait(&waits[i].op, buffers, t_done);
    pro_cancel(&waits[1].op);
    t_turn(loop);
    CHECK_DONE(&waits[1], PRO_ECANCELED, 0);
    pro_lease_give(&x->leases[0]);
    t_wait(loop, &waits[0]);
    t_poll(loop);
    CHECK_EQ(waits[2].done, 0);
    pro_lease_give(&x->leases[1]);
    t_wait(loop, &waits[2]);
    CHECK_DONE(&waits[0], PRO_OK, 0);
    CHECK_DONE(&waits[2], PRO_OK, 0);
    t_pair_close(loop, pair);
}

struct queue {
    t_op          waits[3];
    struct taker *none, *some;
    pro_buffers  *buffers;
};

static void receive_none(t_op *t)
{
    struct queue *q = pro_container_of(t, struct queue, waits[0]);
    pro_recv_multi(&q->none->op.op, q->none->s, q->buffers, t_done);
}

static void receive_some(t_op *t)
{
    struct queue *q = pro_container_of(t, struct queue, waits[1]);
    CHECK_EQ(q->waits[0].done, 1);
    CHECK_EQ(q->waits[2].done, 0); /* one for each that is free */
    CHECK_EQ(pro_buffers_available(q->buffers), 1);
    pro_recv_leased(&q->some->op.op, q->some->s, q->buffers, t_done);
}

/* One buffer comes back, and three wait.  The first who is served is at the end of its stream and takes none; so the
 * second has it, and as it gives it the third. */
CONFORM(who_is_served_and_takes_no_buffer_leaves_it_to_the_next_who_waits)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop), *ended = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 1, 1);
    struct taker *x = taker_new(buffers, &pair->a, 2);
    struct taker *none = taker_new(buffers, &ended->a, 1);
    struct queue *q = t_new(struct queue);
    *q = (struct queue){.none = none, .some = x, .buffers = buffers};
    q->waits[0].then = receive_none;
    q->waits[1].then = receive_some;
    x->keep = 2;
    send_all(loop, &pair->b, "xy", 2);
    pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    wait_for_end(loop, x, 1);
    CHECK_ERROR(x->op.error, PRO_ENOBUFS);
    for (int i = 0; i < 3; i++) pro_buffers_wait(&q->waits[i].op, buffers, t_done);
    t_close(loop, &ended->b);
    pro_lease_give(&x->leases[0]);
    wait_for_end(loop, none, 1);
    CHECK_ERROR(none->op.error, PRO_EOF);
    wait_for_bytes(loop, x, 2);
    CHECK(memcmp(x->in, "xy", 2) == 0);
    pro_lease_give(&x->leases[1]);
    t_wait(loop, &q->waits[2]);
    for (int i = 0; i < 3; i++) CHECK_DONE(&q->waits[i], PRO_OK, 0);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
    t_close(loop, &ended->a);
    t_pair_close(loop, pair);
}

/* Canceled at random while bytes come in, and received again: each byte once, in order. */
CONFORM(cancel_racing_a_multishot_receive_completes_it_once_and_loses_no_byte)
{
    enum { LEN = 60000 };
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 8, 256);
    struct taker *x = taker_new(buffers, &pair->a, LEN);
    t_op         *send = t_new_op();
    char         *out = t_alloc(LEN);
    size_t        sent = 0;
    t_fill(out, LEN, 4, 0);
    for (int ends = 0; x->got < LEN;) {
        if (x->ends == ends && !pro_op_in_flight(&x->op.op))
            pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
        if (!pro_op_in_flight(&send->op) && sent < LEN) {
            size_t part = 1 + (size_t)t_below(900);
            if (part > LEN - sent) part = LEN - sent;
            pro_send_all(&send->op, &pair->b, out + sent, part, t_done);
            sent += part;
        }
        for (uint64_t turns = t_below(3); turns > 0; turns--) t_poll(loop);
        if (t_below(2) == 0) pro_cancel(&x->op.op);
        while (x->ends == ends && t_below(4) > 0) t_poll(loop);
        if (x->ends == ends) continue;
        CHECK_EQ(x->ends, ends + 1);
        ends = x->ends;
        CHECK(x->op.error == PRO_ECANCELED || x->op.error == PRO_ENOBUFS);
        CHECK_EQ(pro_buffers_available(buffers), 8);
    }
    CHECK_FILL(x->in, LEN, 4, 0);
    pro_cancel(&x->op.op);
    t_run(loop);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
    t_pair_close(loop, pair);
}

struct stopper {
    struct taker taker;
    t_op         close;
    bool         closes;
};

static void stop_at_once(t_op *t)
{
    struct stopper *x = pro_container_of(t, struct stopper, taker.op);
    take(t);
    if (t->done > 1) return;
    if (x->closes)
        pro_close(&x->close.op, x->taker.s, t_done);
    else
        pro_cancel(&t->op);
    CHECK_EQ(x->taker.ends, 0); /* not inside */
}

CONFORM(a_multishot_receive_that_is_canceled_or_closed_in_its_handler_ends_once)
{
    for (int closes = 0; closes < 2; closes++) {
        pro_loop       *loop = t_loop();
        t_pair         *pair = t_pair_new(loop);
        struct stopper *x = t_new(struct stopper);
        x->closes = closes;
        x->taker.s = &pair->a;
        x->taker.size = 6;
        x->taker.in = t_alloc(6);
        x->taker.op.then = stop_at_once;
        pro_buffers *buffers = pool_of(loop, 4, 2);
        send_all(loop, &pair->b, "abcdef", 6);
        pro_recv_multi(&x->taker.op.op, &pair->a, buffers, t_done);
        t_run(loop);
        CHECK_EQ(x->taker.ends, 1);
        CHECK_ERROR(x->taker.op.error, PRO_ECANCELED);
        CHECK(memcmp(x->taker.in, "abcdef", x->taker.got) == 0);
        CHECK_EQ(pro_buffers_available(buffers), 4);
        CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
        if (closes) {
            CHECK_DONE(&x->close, PRO_OK, 0);
            CHECK_GT(x->close.order, x->taker.op.order); /* close is the last */
            t_close(loop, &pair->b);
        } else {
            t_pair_close(loop, pair);
        }
        t_loop_free(loop);
    }
}

CONFORM(a_deadline_ends_a_multishot_receive_once)
{
    pro_loop     *loop = t_loop_clocked();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 4, 8);
    struct taker *x = taker_new(buffers, &pair->a, 3);
    x->op.op.deadline_ns = pro_loop_now(loop) + PRO_SEC;
    pro_recv_multi(&x->op.op, &pair->a, buffers, t_done);
    send_all(loop, &pair->b, "abc", 3);
    wait_for_bytes(loop, x, 3);
    CHECK_EQ(x->ends, 0);
    t_clock_advance(2 * PRO_SEC);
    wait_for_end(loop, x, 1);
    CHECK_ERROR(x->op.error, PRO_ETIMEDOUT);
    t_pair_close(loop, pair);
}

CONFORM(leased_and_plain_receives_of_one_socket_complete_in_order)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_new(loop);
    pro_buffers  *buffers = pool_of(loop, 4, 3);
    struct taker *x = taker_new(buffers, &pair->a, 3), *y = taker_new(buffers, &pair->a, 3);
    t_op         *plain = t_new_op();
    char          buf[3];
    pro_recv_leased(&x->op.op, &pair->a, buffers, t_done);
    pro_recv_exactly(&plain->op, &pair->a, buf, 3, t_done);
    pro_recv_leased(&y->op.op, &pair->a, buffers, t_done);
    send_all(loop, &pair->b, "abcdefghi", 9);
    t_run(loop);
    CHECK_DONE(&x->op, PRO_OK, 3);
    CHECK_DONE(plain, PRO_OK, 3);
    CHECK_DONE(&y->op, PRO_OK, 3);
    CHECK(memcmp(x->in, "abc", 3) == 0 && memcmp(buf, "def", 3) == 0);
    CHECK(memcmp(y->in, "ghi", 3) == 0);
    CHECK_LT(x->op.order, plain->order);
    CHECK_LT(plain->order, y->op.order);
    t_pair_close(loop, pair);
}

/* More connections than buffers, all of them busy: nobody starves, nothing is lost. */
struct line {
    struct taker taker;
    t_op         wait, send;
    t_pair      *pair;
};

static void line_go_on(t_op *t)
{
    struct line *line = t->ctx;
    if (t == &line->taker.op) take(t);
    if (t->flags & PRO_MORE) return;
    if (t->error == PRO_ENOBUFS)
        pro_buffers_wait(&line->wait.op, line->taker.buffers, t_done);
    else if (t == &line->wait || t->error == PRO_OK)
        pro_recv_multi(&line->taker.op.op, line->taker.s, line->taker.buffers, t_done);
    else
        CHECK_ERROR(t->error, PRO_EOF);
}

CONFORM(many_connections_share_a_small_pool_and_all_of_them_get_on)
{
    enum { LINES = 12, LEN = 20000 };
    pro_loop    *loop = t_loop();
    pro_buffers *buffers = pool_of(loop, 3, 512);
    struct line *lines = t_array(struct line, LINES);
    char        *out = t_alloc(LEN);
    t_fill(out, LEN, 5, 0);
    for (int i = 0; i < LINES; i++) {
        struct line *line = &lines[i];
        line->pair = t_pair_new(loop);
        line->taker.s = &line->pair->a;
        line->taker.buffers = buffers;
        line->taker.size = LEN;
        line->taker.in = t_alloc(LEN);
        line->taker.op.ctx = line->wait.ctx = line;
        line->taker.op.then = line->wait.then = line_go_on;
        pro_recv_multi(&line->taker.op.op, line->taker.s, buffers, t_done);
        pro_send_all(&line->send.op, &line->pair->b, out, LEN, t_done);
    }
    for (int i = 0; i < LINES; i++) wait_for_bytes(loop, &lines[i].taker, LEN);
    CHECK_LE(pro_buffers_available(buffers), 3);
    for (int i = 0; i < LINES; i++) {
        CHECK_FILL(lines[i].taker.in, LEN, 5, 0);
        t_op *shutdown = t_new_op();
        pro_shutdown(&shutdown->op, &lines[i].pair->b, t_done);
    }
    t_run(loop);
    for (int i = 0; i < LINES; i++) {
        CHECK_ERROR(lines[i].taker.op.error, PRO_EOF);
        t_pair_close(loop, lines[i].pair);
    }
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
}

CONFORM(a_pool_of_nothing_or_too_much_is_refused)
{
    pro_loop    *loop = t_loop();
    pro_buffers *buffers = NULL;
    CHECK_ERROR(pro_buffers_new(&buffers, loop, 0, 1), PRO_EINVAL);
    CHECK_ERROR(pro_buffers_new(&buffers, loop, 1, 0), PRO_EINVAL);
    CHECK_ERROR(pro_buffers_new(&buffers, loop, PRO_BUFFERS_MAX + 1, 1), PRO_EINVAL);
    CHECK(buffers == NULL);
    CHECK_ERROR(pro_buffers_free(NULL), PRO_OK);
    for (int after = 0; !buffers; after++) { /* out of memory, at each place */
        t_memory_fails(after);
        int error = pro_buffers_new(&buffers, loop, 3, 100);
        t_memory_fails(-1);
        if (error) CHECK_ERROR(error, PRO_ENOMEM);
        CHECK((error == PRO_OK) == (buffers != NULL));
    }
    /* What is left goes with the loop. */
}

/* The system tells a reset once; a leased receive after that finds an empty stream. */
CONFORM(a_reset_that_was_told_is_no_end_of_stream_to_leased_receives)
{
    pro_loop    *loop = t_loop();
    pro_buffers *buffers = pool_of(loop, 2, 16);
    for (int multi = 0; multi < 2; multi++) {
        pro_socket   *s = t_new(pro_socket);
        t_op         *send = t_new_op();
        peer          raw = t_raw_pair(loop, s);
        struct taker *x = taker_new(buffers, s, 16);
        peer_reset(raw);
        do {
            pro_send(&send->op, s, "x", 1, t_done);
            t_wait(loop, send);
        } while (send->error == PRO_OK);
        if (multi)
            pro_recv_multi(&x->op.op, s, buffers, t_done);
        else
            pro_recv_leased(&x->op.op, s, buffers, t_done);
        t_wait(loop, &x->op);
        CHECK_DONE(&x->op, PRO_ECONNRESET, 0);
        t_close(loop, s);
    }
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
}

/* And the other way round: told to a leased receive that is being canceled, or not. */
CONFORM(a_reset_that_a_leased_receive_was_told_is_remembered)
{
    pro_loop     *loop = t_loop();
    pro_buffers  *buffers = pool_of(loop, 2, 16);
    pro_socket   *s = t_new(pro_socket);
    t_op         *recv = t_new_op();
    char          byte;
    peer          raw = t_raw_pair(loop, s);
    struct taker *x = taker_new(buffers, s, 16);
    peer_reset(raw);
    pro_recv_multi(&x->op.op, s, buffers, t_done);
    t_wait(loop, &x->op);
    CHECK_DONE(&x->op, PRO_ECONNRESET, 0);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_ECONNRESET, 0);
    t_close(loop, s);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
}
