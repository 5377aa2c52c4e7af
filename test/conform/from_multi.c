/* Datagrams into buffers of a pool, one operation for many of them; and the bound of what is received and not
 * yet delivered, of streams and datagrams.
 * Covers 18, 19, 22, 31, 47 of the list for pro_recv_from_multi. */
#include <stdio.h>

#include <proactor/buffers.h>

#include "lib/net.h"

enum { LEASES = 64, LOG = 512 };

/* A receive that keeps what came, and leases as told. */
struct taker {
    t_op         op;
    pro_buffers *buffers;
    pro_datagram d;
    pro_address  at, from;
    int          count, ends; /* datagrams; completions without PRO_MORE */
    struct {
        int64_t     len;
        unsigned    flags;
        pro_address from;
        char        first[8];
    } log[LOG];
    pro_lease leases[LEASES];
    int       held, keep;
    bool      asks; /* for the name of who sent it */
    char      name[PRO_UNIX_NAME_MAX];
};

static void take(t_op *t)
{
    struct taker *x = pro_container_of(t, struct taker, op);
    if (!(t->flags & PRO_MORE)) x->ends++;
    if (t->error != PRO_OK) {
        CHECK(!(t->flags & PRO_MORE));
        CHECK(pro_lease_peek(&t->op) == NULL);
        CHECK_EQ(t->value, 0);
        return;
    }
    CHECK(t->flags & PRO_MORE);
    const char *bytes = pro_lease_peek(&t->op);
    CHECK(bytes != NULL);
    CHECK_LT(x->count, LOG);
    x->log[x->count].len = t->value;
    x->log[x->count].flags = t->flags;
    x->log[x->count].from = x->from;
    memcpy(x->log[x->count].first, bytes, t->value < 8 ? (size_t)t->value : 8);
    x->count++;
    if (x->asks) CHECK_ERROR(pro_received_name(&t->op, x->name, sizeof x->name), PRO_OK);
    if (x->held == x->keep) return;
    pro_lease *lease = &x->leases[x->held++];
    CHECK_ERROR(pro_lease_take(&t->op, lease), PRO_OK);
    CHECK(lease->data == bytes);
    CHECK_EQ(lease->len, t->value);
    CHECK(pro_lease_peek(&t->op) == NULL);
    CHECK_ERROR(pro_lease_take(&t->op, lease), PRO_EINVAL);
}

static void start(struct taker *x)
{
    pro_recv_from_multi(&x->op.op, &x->d, x->buffers, &x->from, t_done);
}

static pro_buffers *pool_of(pro_loop *loop, uint32_t count, uint32_t room)
{
    pro_buffers *buffers = NULL;
    CHECK_ERROR(pro_buffers_new(&buffers, loop, count, PRO_DATAGRAM_HEAD + room), PRO_OK);
    return buffers;
}

static struct taker *taker_on(pro_loop *loop, pro_buffers *buffers)
{
    struct taker *x = t_new(struct taker);
    x->at = t_bound(loop, &x->d, PRO_IPV4);
    x->buffers = buffers;
    x->op.then = take;
    return x;
}

static struct taker *taker_new(pro_loop *loop, uint32_t count, uint32_t room)
{
    return taker_on(loop, pool_of(loop, count, room));
}

static void wait_for(pro_loop *loop, const struct taker *x, int count)
{
    while (x->count < count) t_turn(loop);
    CHECK_EQ(x->count, count);
}

static void wait_for_end(pro_loop *loop, const struct taker *x, int ends)
{
    while (x->ends < ends) t_turn(loop);
    CHECK_EQ(x->ends, ends);
}

/* It is canceled, no buffer is missing, all is closed. */
static void finish(pro_loop *loop, struct taker *x, pro_datagram *sender)
{
    int ends = x->ends;
    if (pro_op_in_flight(&x->op.op)) {
        pro_cancel(&x->op.op);
        wait_for_end(loop, x, ends + 1);
        CHECK_ERROR(x->op.error, PRO_ECANCELED);
    }
    CHECK_ERROR(pro_buffers_free(x->buffers), PRO_OK);
    t_datagram_close(loop, &x->d);
    if (sender) t_datagram_close(loop, sender);
}

/* ---- What comes ----------------------------------------------------------------------------- */

CONFORM(each_datagram_comes_with_its_sender_in_a_buffer_of_the_pool)
{
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 4, 100);
    pro_datagram *a = t_new(pro_datagram), *b = t_new(pro_datagram);
    pro_address   at_a = t_bound(loop, a, PRO_IPV4), at_b = t_bound(loop, b, PRO_IPV4);
    t_datagram_send(loop, a, "before", 6, &x->at);
    start(x);
    CHECK(pro_lease_peek(&x->op.op) == NULL);
    CHECK_ERROR(pro_buffers_free(x->buffers), PRO_EBUSY);
    wait_for(loop, x, 1);
    t_datagram_send(loop, b, "second", 6, &x->at);
    wait_for(loop, x, 2);
    t_datagram_send(loop, a, "third", 5, &x->at);
    wait_for(loop, x, 3);
    CHECK(memcmp(x->log[0].first, "before", 6) == 0 && x->log[0].len == 6);
    CHECK(memcmp(x->log[1].first, "second", 6) == 0 && x->log[1].len == 6);
    CHECK(memcmp(x->log[2].first, "third", 5) == 0 && x->log[2].len == 5);
    CHECK(pro_address_equal(&x->log[0].from, &at_a));
    CHECK(pro_address_equal(&x->log[1].from, &at_b));
    CHECK(pro_address_equal(&x->log[2].from, &at_a));
    for (int i = 0; i < 3; i++) CHECK_EQ(x->log[i].flags, PRO_MORE);
    CHECK_EQ(pro_buffers_available(x->buffers), 4);
    t_datagram_close(loop, b);
    finish(loop, x, a);
}

CONFORM(a_sender_of_ipv6_is_told_as_well)
{
    pro_loop     *loop = t_loop();
    pro_datagram *a = t_new(pro_datagram);
    pro_address   at_a = t_bound(loop, a, PRO_IPV6);
    struct taker *x = t_new(struct taker);
    x->at = t_bound(loop, &x->d, PRO_IPV6);
    x->buffers = pool_of(loop, 2, 10);
    x->op.then = take;
    start(x);
    t_datagram_send(loop, a, "six", 3, &x->at);
    wait_for(loop, x, 1);
    CHECK(pro_address_equal(&x->log[0].from, &at_a));
    CHECK(memcmp(x->log[0].first, "six", 3) == 0);
    finish(loop, x, a);
}

CONFORM(nobody_needs_to_ask_for_the_sender)
{
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 2, 10);
    pro_datagram *a = t_new(pro_datagram);
    char          name[PRO_UNIX_NAME_MAX];
    t_bound(loop, a, PRO_IPV4);
    pro_recv_from_multi(&x->op.op, &x->d, x->buffers, NULL, t_done);
    t_datagram_send(loop, a, "x", 1, &x->at);
    wait_for(loop, x, 1);
    CHECK_EQ(x->from.family, PRO_FAMILY_NONE);
    CHECK_ERROR(pro_received_name(&x->op.op, name, sizeof name), PRO_EINVAL);
    finish(loop, x, a);
}

CONFORM(many_datagrams_of_two_senders_come_in_the_order_of_each)
{
    enum { COUNT = 100 };
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 8, 16);
    pro_datagram *senders[2] = {t_new(pro_datagram), t_new(pro_datagram)};
    pro_address   at[2];
    t_op         *sends = t_array(t_op, 2 * COUNT);
    char(*out)[2] = t_alloc(2 * COUNT * sizeof *out);
    CHECK_ERROR(pro_datagram_set(&x->d, PRO_OPT_RECV_BUFFER, 1 << 20), PRO_OK);
    for (int i = 0; i < 2; i++) at[i] = t_bound(loop, senders[i], PRO_IPV4);
    start(x);
    for (int i = 0; i < 2 * COUNT; i++) {
        out[i][0] = (char)(i % 2);
        out[i][1] = (char)(i / 2);
        pro_send_to(&sends[i].op, senders[i % 2], out[i], 2, &x->at, t_done);
        if (t_below(4) == 0) t_poll(loop);
    }
    wait_for(loop, x, 2 * COUNT);
    for (int i = 0, next[2] = {0, 0}; i < 2 * COUNT; i++) {
        int who = x->log[i].first[0];
        CHECK(who == 0 || who == 1);
        CHECK_EQ((unsigned char)x->log[i].first[1], next[who]);
        CHECK(pro_address_equal(&x->log[i].from, &at[who]));
        next[who]++;
    }
    t_datagram_close(loop, senders[0]);
    finish(loop, x, senders[1]);
}

CONFORM(a_datagram_longer_than_its_leased_buffer_is_truncated_and_says_so)
{
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 4, 5);
    pro_datagram *a = t_new(pro_datagram);
    pro_address   at = t_bound(loop, a, PRO_IPV4);
    start(x);
    t_datagram_send(loop, a, "abcde", 5, &x->at);
    t_datagram_send(loop, a, "abcdef", 6, &x->at);
    t_datagram_send(loop, a, "x", 1, &x->at);
    wait_for(loop, x, 3);
    CHECK_EQ(x->log[0].len, 5);
    CHECK_EQ(x->log[0].flags, PRO_MORE);
    CHECK_EQ(x->log[1].len, 5);
    CHECK_EQ(x->log[1].flags, PRO_MORE | PRO_TRUNCATED);
    CHECK(memcmp(x->log[1].first, "abcde", 5) == 0);
    CHECK(pro_address_equal(&x->log[1].from, &at));
    CHECK_EQ(x->log[2].len, 1);
    CHECK_EQ(x->log[2].flags, PRO_MORE);
    finish(loop, x, a);
}

CONFORM(empty_datagrams_end_no_multishot_receive)
{
    enum { COUNT = 20 };
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 4, 8);
    pro_datagram *a = t_new(pro_datagram);
    pro_address   at = t_bound(loop, a, PRO_IPV4);
    for (int i = 0; i < COUNT; i++) { /* some are there already */
        if (i == COUNT / 2) start(x);
        t_datagram_send(loop, a, "full", i % 3 ? 0 : 4, &x->at);
    }
    wait_for(loop, x, COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(x->log[i].len, i % 3 ? 0 : 4);
        CHECK_EQ(x->log[i].flags, PRO_MORE);
        CHECK(pro_address_equal(&x->log[i].from, &at));
    }
    CHECK_EQ(x->ends, 0);
    CHECK_EQ(pro_buffers_available(x->buffers), 4);
    finish(loop, x, a);
}

CONFORM(a_unix_datagram_received_into_a_lease_has_a_sender_by_name)
{
    pro_loop     *loop = t_loop();
    struct taker *x = t_new(struct taker);
    pro_datagram *a = t_new(pro_datagram);
    char          at[64], at_a[80];
    int           error = pro_datagram_open(a, loop, NULL, PRO_UNIX);
    if (error == PRO_ENOTSUP) t_skip("this engine has no Unix sockets");
    CHECK_ERROR(error, PRO_OK);
    CHECK_ERROR(pro_datagram_open(&x->d, loop, NULL, PRO_UNIX), PRO_OK);
    uint64_t tag = (uint64_t)(uintptr_t)x; /* and no two shards have the same */
    snprintf(at, sizeof at, "@proactor-multi-%llx-%llx", (unsigned long long)t_random(),
             (unsigned long long)tag);
    snprintf(at_a, sizeof at_a, "%s-a", at);
    CHECK_ERROR(pro_datagram_bind_unix(&x->d, at), PRO_OK);
    CHECK_ERROR(pro_datagram_bind_unix(a, at_a), PRO_OK);
    x->buffers = pool_of(loop, 2, 10);
    x->op.then = take;
    CHECK_ERROR(pro_datagram_connect_unix(a, at), PRO_OK);
    x->asks = true;
    start(x);
    t_datagram_send(loop, a, "named", 5, NULL);
    wait_for(loop, x, 1);
    CHECK_EQ(x->log[0].len, 5);
    CHECK(strcmp(x->name, at_a) == 0);
    CHECK_ERROR(pro_received_name(&x->op.op, x->name, sizeof x->name), PRO_EINVAL); /* too late */
    CHECK_EQ(x->log[0].from.family, PRO_FAMILY_NONE);
    finish(loop, x, a);
}

/* ---- Buffers -------------------------------------------------------------------------------- */

CONFORM(a_leased_datagram_stays_until_it_is_given_and_outlives_its_socket)
{
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 2, 16);
    pro_datagram *a = t_new(pro_datagram);
    t_bound(loop, a, PRO_IPV4);
    x->keep = 1;
    start(x);
    t_datagram_send(loop, a, "held", 4, &x->at);
    t_datagram_send(loop, a, "not", 3, &x->at);
    wait_for(loop, x, 2);
    CHECK_EQ(pro_buffers_available(x->buffers), 1);
    t_datagram_close(loop, &x->d);
    t_datagram_close(loop, a);
    CHECK_EQ(x->ends, 1);
    CHECK_ERROR(pro_buffers_free(x->buffers), PRO_EBUSY);
    CHECK(memcmp(x->leases[0].data, "held", 4) == 0);
    pro_lease_give(&x->leases[0]);
    CHECK_EQ(pro_buffers_available(x->buffers), 2);
    CHECK_ERROR(pro_buffers_free(x->buffers), PRO_OK);
}

CONFORM(without_buffers_a_receive_of_datagrams_says_so_and_goes_on_where_it_was)
{
    enum { COUNT = 6 };
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 2, 4);
    pro_datagram *a = t_new(pro_datagram);
    t_bound(loop, a, PRO_IPV4);
    x->keep = 2;
    for (int i = 0; i < COUNT; i++) t_datagram_send(loop, a, &"012345"[i], 1, &x -> at);
    start(x);
    wait_for_end(loop, x, 1);
    CHECK_ERROR(x->op.error, PRO_ENOBUFS);
    CHECK_EQ(x->count, 2);
    CHECK_EQ(pro_buffers_available(x->buffers), 0);

    start(x); /* at once it can only say so again */
    wait_for_end(loop, x, 2);
    CHECK_ERROR(x->op.error, PRO_ENOBUFS);
    CHECK_EQ(x->count, 2);
    t_op *wait = t_new_op();
    pro_buffers_wait(&wait->op, x->buffers, t_done);
    t_poll(loop);
    CHECK_EQ(wait->done, 0);
    pro_lease_give(&x->leases[0]);
    t_wait(loop, wait);
    CHECK_DONE(wait, PRO_OK, 0);
    start(x); /* one buffer for all of them, one after the other */
    wait_for(loop, x, COUNT);
    for (int i = 0; i < COUNT; i++) CHECK_EQ(x->log[i].first[0], "012345"[i]);
    CHECK_EQ(*(const char *)x->leases[1].data, '1');
    pro_lease_give(&x->leases[1]);
    finish(loop, x, a);
}

CONFORM(a_pool_without_room_behind_the_head_is_refused_to_datagrams)
{
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 2, 0);
    start(x);
    CHECK_EQ(x->op.done, 0); /* not inside */
    t_run(loop);
    CHECK_DONE(&x->op, PRO_EINVAL, 0);
    finish(loop, x, NULL);
}

/* ---- Its end -------------------------------------------------------------------------------- */

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
        pro_datagram_close(&x->close.op, &x->taker.d, t_done);
    else
        pro_cancel(&t->op);
    CHECK_EQ(x->taker.ends, 0); /* not inside */
}

CONFORM(a_receive_of_datagrams_that_is_canceled_or_closed_in_its_handler_ends_once)
{
    for (int closes = 0; closes < 2; closes++) {
        pro_loop       *loop = t_loop();
        struct stopper *x = t_new(struct stopper);
        pro_datagram   *a = t_new(pro_datagram);
        t_bound(loop, a, PRO_IPV4);
        x->closes = closes;
        x->taker.at = t_bound(loop, &x->taker.d, PRO_IPV4);
        x->taker.buffers = pool_of(loop, 4, 4);
        x->taker.op.then = stop_at_once;
        for (int i = 0; i < 4; i++) t_datagram_send(loop, a, &"abcd"[i], 1, &x -> taker.at);
        start(&x->taker);
        t_run(loop);
        CHECK_EQ(x->taker.ends, 1);
        CHECK_ERROR(x->taker.op.error, PRO_ECANCELED);
        for (int i = 0; i < x->taker.count; i++) CHECK_EQ(x->taker.log[i].first[0], "abcd"[i]);
        CHECK_EQ(pro_buffers_available(x->taker.buffers), 4);
        if (closes) {
            CHECK_DONE(&x->close, PRO_OK, 0);
            CHECK_GT(x->close.order, x->taker.op.order); /* close is the last */
            CHECK_ERROR(pro_buffers_free(x->taker.buffers), PRO_OK);
            t_datagram_close(loop, a);
        } else { /* what was not taken is still there */
            x->taker.op.then = take;
            start(&x->taker);
            wait_for(loop, &x->taker, 4);
            CHECK_EQ(x->taker.log[3].first[0], 'd');
            finish(loop, &x->taker, a);
        }
        t_loop_free(loop);
    }
}

CONFORM(cancel_racing_a_receive_of_datagrams_completes_it_once_and_loses_none)
{
    enum { COUNT = 300 };
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 8, 16);
    pro_datagram *a = t_new(pro_datagram);
    t_op         *send = t_new_op();
    uint16_t      out;
    t_bound(loop, a, PRO_IPV4);
    CHECK_ERROR(pro_datagram_set(&x->d, PRO_OPT_RECV_BUFFER, 1 << 20), PRO_OK);
    for (int ends = 0, sent = 0, rounds = 0; x->count < COUNT; rounds++) {
        if (t_has_weather() && rounds > 100000) FAIL("of %d datagrams %d came", sent, x->count);
        if (x->ends == ends && !pro_op_in_flight(&x->op.op)) start(x);
        if (!pro_op_in_flight(&send->op) && sent < COUNT) {
            out = (uint16_t)sent++;
            pro_send_to(&send->op, a, &out, t_below(8) ? sizeof out : 0, &x->at, t_done);
        }
        for (uint64_t turns = t_below(3); turns > 0; turns--) t_poll(loop);
        if (t_below(4) == 0) pro_cancel(&x->op.op);
        while (x->ends == ends && t_below(4) > 0) t_poll(loop);
        if (x->ends == ends) continue;
        CHECK_EQ(x->ends, ends + 1);
        ends = x->ends;
        CHECK_ERROR(x->op.error, PRO_ECANCELED);
        CHECK_EQ(pro_buffers_available(x->buffers), 8);
    }
    for (int i = 0; i < COUNT; i++) {
        uint16_t in;
        memcpy(&in, x->log[i].first, sizeof in);
        if (x->log[i].len) CHECK_EQ(in, i);
    }
    t_wait_count(loop, &send->done, COUNT);
    finish(loop, x, a);
}

CONFORM(a_deadline_ends_a_receive_of_datagrams_once)
{
    pro_loop     *loop = t_loop_clocked();
    struct taker *x = taker_new(loop, 4, 8);
    pro_datagram *a = t_new(pro_datagram);
    t_bound(loop, a, PRO_IPV4);
    x->op.op.deadline_ns = pro_loop_now(loop) + PRO_SEC;
    start(x);
    t_datagram_send(loop, a, "abc", 3, &x->at);
    wait_for(loop, x, 1);
    CHECK_EQ(x->ends, 0);
    t_clock_advance(2 * PRO_SEC);
    wait_for_end(loop, x, 1);
    CHECK_ERROR(x->op.error, PRO_ETIMEDOUT);
    t_datagram_send(loop, a, "later", 5, &x->at);
    start(x);
    wait_for(loop, x, 2);
    finish(loop, x, a);
}

CONFORM(plain_receives_of_datagrams_come_behind_one_that_goes_on)
{
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 4, 8);
    pro_datagram *a = t_new(pro_datagram);
    t_op         *plain = t_new_op();
    char          byte = 0;
    t_bound(loop, a, PRO_IPV4);
    start(x);
    pro_recv_from(&plain->op, &x->d, &byte, 1, NULL, t_done);
    t_datagram_send(loop, a, "a", 1, &x->at);
    wait_for(loop, x, 1);
    CHECK_EQ(plain->done, 0);
    pro_cancel(&x->op.op);
    wait_for_end(loop, x, 1);
    t_datagram_send(loop, a, "b", 1, &x->at);
    t_wait_count(loop, &plain->done, 1);
    CHECK_DONE(plain, PRO_OK, 1);
    CHECK_EQ(byte, 'b');
    finish(loop, x, a);
}

/* What the other side says ends it, and it may begin anew. */
CONFORM(a_refusal_ends_a_receive_of_datagrams_or_is_never_told)
{
    pro_loop     *loop = t_loop();
    struct taker *x = taker_new(loop, 4, 8);
    pro_datagram *a = t_new(pro_datagram);
    pro_address   at = t_bound(loop, a, PRO_IPV4);
    CHECK_ERROR(pro_datagram_connect(&x->d, &at), PRO_OK);
    CHECK_ERROR(pro_datagram_local(&x->d, &x->at), PRO_OK);
    t_datagram_close(loop, a); /* nobody is there any more */
    x->op.op.deadline_ns = pro_loop_now(loop) + 200 * PRO_MSEC;
    start(x);
    t_datagram_send(loop, &x->d, "hello", 5, NULL);
    wait_for_end(loop, x, 1);
    if (x->op.error != PRO_ECONNREFUSED) CHECK_ERROR(x->op.error, PRO_ETIMEDOUT);
    CHECK_EQ(x->count, 0);
    CHECK_ERROR(pro_datagram_open(a, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_datagram_bind(a, &at), PRO_OK);
    t_datagram_send(loop, a, "again", 5, &x->at);
    while (x->count < 1) {
        if (!pro_op_in_flight(&x->op.op)) start(x); /* perhaps it is told only now */
        t_turn(loop);
    }
    finish(loop, x, a);
}

/* PROACTOR_FAULTS, as an option: what is held back comes once, in order, and no more of it than the bound. */
CONFORM(datagrams_that_a_fault_holds_back_come_once_and_in_order)
{
    enum { COUNT = 40, SEEDS = 10 };
    for (int seed = 1; seed <= SEEDS; seed++) {
        char             words[32];
        pro_loop_options options = t_loop_options();
        snprintf(words, sizeof words, "%d:slow", seed);
        options.faults = words;
        options.undelivered_max = 3;
        pro_loop     *loop = t_loop_with(&options);
        struct taker *x = taker_new(loop, 8, 16);
        pro_datagram *a = t_new(pro_datagram);
        t_bound(loop, a, PRO_IPV4);
        start(x);
        for (int i = 0; i < COUNT; i++) {
            char byte = (char)i;
            t_datagram_send(loop, a, &byte, 1, &x->at);
        }
        wait_for(loop, x, COUNT);
        for (int i = 0; i < COUNT; i++) CHECK_EQ(x->log[i].first[0], i);
        CHECK_EQ(x->ends, 0);
        CHECK_EQ(pro_buffers_available(x->buffers), 8);
        finish(loop, x, a);
        t_loop_free(loop);
    }
}

/* ---- The bound ------------------------------------------------------------------------------ */

enum { BOUND = 3, PLENTY = 50 };

/* So many came after the first handler had canceled, it included; where a cancel takes its time more may. */
static void check_bound(int count)
{
    CHECK_GT(count, 0);
    if (!t_has_weather()) CHECK_LE(count, BOUND);
}

static pro_loop *bounded_loop(void)
{
    pro_loop_options options = t_loop_options();
    options.undelivered_max = BOUND;
    return t_loop_with(&options);
}

/* Of one that finds a lot: its first handler cancels it, and what comes all the same was undelivered. */
CONFORM(of_many_datagrams_no_more_than_the_bound_are_undelivered)
{
    pro_loop       *loop = bounded_loop();
    struct stopper *x = t_new(struct stopper);
    pro_datagram   *a = t_new(pro_datagram);
    t_bound(loop, a, PRO_IPV4);
    x->taker.at = t_bound(loop, &x->taker.d, PRO_IPV4);
    CHECK_ERROR(pro_datagram_set(&x->taker.d, PRO_OPT_RECV_BUFFER, 1 << 20), PRO_OK);
    x->taker.buffers = pool_of(loop, PLENTY, 4);
    x->taker.op.then = stop_at_once;
    for (int i = 0; i < PLENTY; i++) {
        char byte = (char)i;
        t_datagram_send(loop, a, &byte, 1, &x->taker.at);
    }
    start(&x->taker);
    while (x->taker.ends == 0) t_poll(loop);
    CHECK_ERROR(x->taker.op.error, PRO_ECANCELED);
    check_bound(x->taker.count);
    x->taker.op.then = take;
    start(&x->taker); /* the others were left where they were */
    wait_for(loop, &x->taker, PLENTY);
    for (int i = 0; i < PLENTY; i++) CHECK_EQ(x->taker.log[i].first[0], i);
    CHECK_EQ(x->taker.ends, 1); /* the bound is no end */
    finish(loop, &x->taker, a);
}

/* The bound is that of the pool: many receive, and the first handler of all cancels all of them. */
struct crowd {
    struct taker *takers[PLENTY];
    int           count;
};

static void stop_all(t_op *t)
{
    struct crowd *crowd = t->ctx;
    take(t);
    if (t->error != PRO_OK || crowd->count++ > 0) return;
    for (int i = 0; i < PLENTY; i++) pro_cancel(&crowd->takers[i]->op.op);
}

CONFORM(of_many_sockets_with_one_pool_no_more_than_the_bound_is_undelivered)
{
    pro_loop     *loop = bounded_loop();
    struct crowd *crowd = t_new(struct crowd);
    pro_buffers  *buffers = pool_of(loop, PLENTY, 4);
    pro_datagram *a = t_new(pro_datagram);
    t_bound(loop, a, PRO_IPV4);
    for (int i = 0; i < PLENTY; i++) {
        struct taker *x = crowd->takers[i] = taker_on(loop, buffers);
        x->op.ctx = crowd;
        x->op.then = stop_all;
        t_datagram_send(loop, a, "x", 1, &x->at);
    }
    for (int i = 0; i < PLENTY; i++) start(crowd->takers[i]);
    t_run(loop);
    check_bound(crowd->count);
    for (int i = 0; i < PLENTY; i++) {
        CHECK_EQ(crowd->takers[i]->ends, 1);
        start(crowd->takers[i]);
    }
    while (crowd->count < PLENTY) t_turn(loop); /* nothing was lost, and all get on */
    for (int i = 0; i < PLENTY; i++) {
        CHECK_EQ(crowd->takers[i]->count, 1);
        t_datagram_close(loop, &crowd->takers[i]->d);
    }
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
    t_datagram_close(loop, a);
}

/* A stream, in buffers of one byte: x->held counts those that a handler keeps. */
struct stream {
    t_op         op;
    pro_buffers *buffers;
    pro_socket  *s;
    pro_lease    leases[LEASES];
    char         in[LOG];
    int          got, held, keep, ends;
    bool         stops;
};

static void take_byte(t_op *t)
{
    struct stream *x = pro_container_of(t, struct stream, op);
    if (!(t->flags & PRO_MORE)) x->ends++;
    if (t->error != PRO_OK) return;
    CHECK_EQ(t->value, 1);
    x->in[x->got++] = *(const char *)pro_lease_peek(&t->op);
    if (x->held < x->keep) pro_lease_take(&t->op, &x->leases[x->held++]);
    if (x->stops) pro_cancel(&t->op);
    x->stops = false;
}

static struct stream *stream_new(pro_loop *loop, pro_socket *s, uint32_t buffers)
{
    struct stream *x = t_new(struct stream);
    CHECK_ERROR(pro_buffers_new(&x->buffers, loop, buffers, 1), PRO_OK);
    x->s = s;
    x->op.then = take_byte;
    return x;
}

static void stream_end(pro_loop *loop, struct stream *x, t_pair *pair)
{
    pro_cancel(&x->op.op);
    t_settle(loop);
    CHECK(!pro_op_in_flight(&x->op.op));
    CHECK_ERROR(pro_buffers_free(x->buffers), PRO_OK);
    t_pair_close(loop, pair);
}

static void send_plenty(pro_loop *loop, t_pair *pair)
{
    t_op *send = t_new_op();
    char *out = t_alloc(PLENTY);
    t_fill(out, PLENTY, 7, 0);
    pro_send_all(&send->op, &pair->b, out, PLENTY, t_done);
    t_wait(loop, send);
    CHECK_DONE(send, PRO_OK, PLENTY);
}

CONFORM(of_a_stream_no_more_pieces_than_the_bound_are_undelivered)
{
    pro_loop      *loop = bounded_loop();
    t_pair        *pair = t_pair_new(loop);
    struct stream *x = stream_new(loop, &pair->a, PLENTY);
    send_plenty(loop, pair);
    x->stops = true;
    pro_recv_multi(&x->op.op, &pair->a, x->buffers, t_done);
    while (x->ends == 0) t_poll(loop);
    CHECK_ERROR(x->op.error, PRO_ECANCELED);
    check_bound(x->got);
    pro_recv_multi(&x->op.op, &pair->a, x->buffers, t_done);
    while (x->got < PLENTY) t_turn(loop);
    CHECK_FILL(x->in, PLENTY, 7, 0);
    CHECK_EQ(x->ends, 1); /* the bound is no end */
    CHECK_EQ(pro_buffers_available(x->buffers), PLENTY);
    stream_end(loop, x, pair);
}

/* What handlers keep is not undelivered: only when they have all is there none. */
CONFORM(leases_that_are_kept_do_not_count_for_the_bound)
{
    enum { ALL = 4 * BOUND };
    pro_loop      *loop = bounded_loop();
    t_pair        *pair = t_pair_new(loop);
    struct stream *x = stream_new(loop, &pair->a, ALL);
    x->keep = ALL;
    send_plenty(loop, pair);
    pro_recv_multi(&x->op.op, &pair->a, x->buffers, t_done);
    while (x->ends == 0) t_turn(loop);
    CHECK_ERROR(x->op.error, PRO_ENOBUFS);
    CHECK_EQ(x->got, ALL);
    CHECK_EQ(pro_buffers_available(x->buffers), 0);
    CHECK_FILL(x->in, ALL, 7, 0);

    while (x->held > 0) pro_lease_give(&x->leases[--x->held]);
    CHECK_EQ(pro_buffers_available(x->buffers), ALL);
    x->keep = 0;
    x->stops = true; /* given back, they are not all with the kernel */
    pro_recv_multi(&x->op.op, &pair->a, x->buffers, t_done);
    while (x->ends == 1) t_poll(loop);
    CHECK_ERROR(x->op.error, PRO_ECANCELED);
    check_bound(x->got - ALL);
    pro_recv_multi(&x->op.op, &pair->a, x->buffers, t_done);
    while (x->got < PLENTY) t_turn(loop);
    CHECK_FILL(x->in, PLENTY, 7, 0);
    stream_end(loop, x, pair);
}

/* Kept and given at random, in handlers and outside: every byte once, and no buffer is missing. */
CONFORM(leases_kept_and_given_at_random_lose_no_byte_and_no_buffer)
{
    enum { ROUNDS = 8, ALL = 2 * BOUND };
    pro_loop      *loop = bounded_loop();
    t_pair        *pair = t_pair_new(loop);
    struct stream *x = stream_new(loop, &pair->a, ALL);
    for (int round = 0; round < ROUNDS; round++) {
        x->got = 0;
        send_plenty(loop, pair); /* and receive some of it */
        while (x->got < PLENTY) {
            if (!pro_op_in_flight(&x->op.op))
                pro_recv_multi(&x->op.op, &pair->a, x->buffers, t_done);
            x->keep = (int)t_below(ALL + 1);
            while (x->held > x->keep) {
                int i = (int)t_below((uint64_t)x->held);
                pro_lease_give(&x->leases[i]);
                x->leases[i] = x->leases[--x->held];
            }
            t_poll(loop);
            CHECK_GE(pro_buffers_available(x->buffers), ALL - x->held - BOUND);
            CHECK_LE(pro_buffers_available(x->buffers), ALL - x->held);
        }
        CHECK_FILL(x->in, PLENTY, 7, 0);
    }
    while (x->held > 0) pro_lease_give(&x->leases[--x->held]);
    stream_end(loop, x, pair);
}
