/* Datagrams.
 * Covers 22 (datagrams), 31 (datagrams), 46, 47, 48 of the list, and contract 8 (sends in order), 10. */
#include "lib/net.h"
#include "lib/os.h"

typedef struct two {
    pro_datagram a, b;
    pro_address  at_a, at_b;
} two;

static two *two_new(pro_loop *loop)
{
    two *t = t_new(two);
    t->at_a = t_bound(loop, &t->a, PRO_IPV4);
    t->at_b = t_bound(loop, &t->b, PRO_IPV4);
    return t;
}

static void two_close(pro_loop *loop, two *t)
{
    t_datagram_close(loop, &t->a);
    t_datagram_close(loop, &t->b);
}

/* ---- One ------------------------------------------------------------------------------------ */

CONFORM(a_datagram_is_received_whole_with_its_sender)
{
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *recv = t_new_op();
    pro_address from = {0};
    char        out[1000], in[1001];
    t_fill(out, sizeof out, 1, 0);
    for (int i = 0; i < 2; i++) { /* waited for, and there already */
        memset(in, 0, sizeof in);
        recv->done = 0;
        if (i == 0) {
            pro_recv_from(&recv->op, &t->b, in, sizeof in, &from, t_done);
            t_poll(loop);
            CHECK_EQ(recv->done, 0);
        }
        t_datagram_send(loop, &t->a, out, sizeof out, &t->at_b);
        if (i == 1) pro_recv_from(&recv->op, &t->b, in, sizeof in, &from, t_done);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(recv, PRO_OK, (int64_t)sizeof out);
        CHECK_EQ(recv->flags, 0);
        CHECK_FILL(in, sizeof out, 1, 0);
        CHECK(pro_address_equal(&from, &t->at_a));
    }
    two_close(loop, t);
}

CONFORM(two_datagrams_are_two_receives)
{
    pro_loop *loop = t_loop();
    two      *t = two_new(loop);
    t_op     *ops = t_array(t_op, 2);
    char      in[100];
    t_datagram_send(loop, &t->a, "one", 3, &t->at_b);
    t_datagram_send(loop, &t->a, "three", 5, &t->at_b);
    pro_recv_from(&ops[0].op, &t->b, in, 50, NULL, t_done);
    pro_recv_from(&ops[1].op, &t->b, in + 50, 50, NULL, t_done);
    t_run(loop);
    CHECK_DONE(&ops[0], PRO_OK, 3);
    CHECK_DONE(&ops[1], PRO_OK, 5);
    CHECK(memcmp(in, "one", 3) == 0 && memcmp(in + 50, "three", 5) == 0);
    two_close(loop, t);
}

CONFORM(an_empty_datagram_is_no_end)
{
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *ops = t_array(t_op, 3);
    pro_address from = {0};
    char        byte = 0;
    t_datagram_send(loop, &t->a, NULL, 0, &t->at_b);
    t_datagram_send(loop, &t->a, "x", 1, &t->at_b);
    pro_recv_from(&ops[0].op, &t->b, &byte, 0, &from, t_done); /* takes none */
    t_run(loop);
    CHECK_DONE(&ops[0], PRO_OK, 0);
    pro_recv_from(&ops[1].op, &t->b, &byte, 1, &from, t_done);
    t_wait_count(loop, &ops[1].done, 1);
    CHECK_DONE(&ops[1], PRO_OK, 0);
    CHECK(pro_address_equal(&from, &t->at_a));
    CHECK_EQ(byte, 0);
    pro_recv_from(&ops[2].op, &t->b, &byte, 1, NULL, t_done);
    t_wait_count(loop, &ops[2].done, 1);
    CHECK_DONE(&ops[2], PRO_OK, 1);
    CHECK_EQ(byte, 'x');
    two_close(loop, t);
}

CONFORM(a_datagram_longer_than_its_buffer_is_truncated_and_says_so)
{
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *ops = t_array(t_op, 4);
    pro_message message = {0};
    char        in[8] = {0}, other[8] = {0};
    pro_vec     vecs[2] = {{in, 2}, {other, 3}};
    for (int i = 0; i < 4; i++) t_datagram_send(loop, &t->a, "abcdefgh", 8, &t->at_b);

    pro_recv_from(&ops[0].op, &t->b, in, 3, NULL, t_done);
    t_wait_count(loop, &ops[0].done, 1);
    CHECK_DONE(&ops[0], PRO_OK, 3);
    CHECK_EQ(ops[0].flags, PRO_TRUNCATED);
    CHECK(memcmp(in, "abc\0", 4) == 0);

    pro_recvv_from(&ops[1].op, &t->b, vecs, 2, NULL, t_done);
    t_wait_count(loop, &ops[1].done, 1);
    CHECK_DONE(&ops[1], PRO_OK, 5);
    CHECK_EQ(ops[1].flags, PRO_TRUNCATED);
    CHECK(memcmp(in, "ab", 2) == 0 && memcmp(other, "cde\0", 4) == 0);

    message.buf = in;
    message.len = 7;
    pro_recv_batch(&ops[2].op, &t->b, &message, 1, t_done);
    t_wait_count(loop, &ops[2].done, 1);
    CHECK_DONE(&ops[2], PRO_OK, 1);
    CHECK_EQ(message.size, 7);
    CHECK_EQ(message.flags, PRO_TRUNCATED);

    pro_recv_from(&ops[3].op, &t->b, in, 8, NULL, t_done); /* exactly its length */
    t_wait_count(loop, &ops[3].done, 1);
    CHECK_DONE(&ops[3], PRO_OK, 8);
    CHECK_EQ(ops[3].flags, 0);
    two_close(loop, t);
}

CONFORM(a_datagram_may_be_gathered_and_scattered)
{
    pro_loop *loop = t_loop();
    two      *t = two_new(loop);
    t_op     *send = t_new_op(), *recv = t_new_op();
    char      out[300], in[300];
    pro_vec   from[4] = {{out, 100}, {NULL, 0}, {out + 100, 1}, {out + 101, 199}};
    pro_vec   into[3] = {{in, 7}, {in + 7, 250}, {in + 257, 43}};
    t_fill(out, sizeof out, 2, 0);
    pro_recvv_from(&recv->op, &t->b, into, 3, NULL, t_done);
    pro_sendv_to(&send->op, &t->a, from, 4, &t->at_b, t_done);
    memset(from, 0xa5, sizeof from); /* copied, and so was the address */
    memset(into, 0xa5, sizeof into);
    pro_address at_b = t->at_b;
    memset(&t->at_b, 0xa5, sizeof t->at_b);
    t_wait_count(loop, &recv->done, 1);
    t->at_b = at_b;
    CHECK_DONE(send, PRO_OK, 300);
    CHECK_DONE(recv, PRO_OK, 300);
    CHECK_FILL(in, 300, 2, 0);
    two_close(loop, t);
}

CONFORM(datagram_sends_go_in_order)
{
    enum { MAX = 200 };
    pro_loop    *loop = t_loop();
    two         *t = two_new(loop);
    t_op        *sends = t_array(t_op, MAX), *recv = t_new_op();
    uint32_t    *out = t_array(uint32_t, MAX), in = 0;
    pro_message *messages = t_array(pro_message, MAX);
    int          count = t_rounds(MAX), orders = 0;
    CHECK_ERROR(pro_datagram_set(&t->b, PRO_OPT_RECV_BUFFER, 1 << 20), PRO_OK);
    for (int i = 0; i < count; i++) {
        out[i] = (uint32_t)i;
        pro_vec vec = {&out[i], sizeof out[i]};
        messages[i] = (pro_message){.buf = &out[i], .len = sizeof out[i], .address = t->at_b};
        switch (i % 3) {
        case 0: pro_send_to(&sends[i].op, &t->a, &out[i], sizeof *out, &t->at_b, t_done); break;
        case 1: pro_sendv_to(&sends[i].op, &t->a, &vec, 1, &t->at_b, t_done); break;
        default: pro_send_batch(&sends[i].op, &t->a, &messages[i], 1, t_done); break;
        }
    }
    for (int i = 0; i < count; i++) {
        recv->done = 0;
        pro_recv_from(&recv->op, &t->b, &in, sizeof in, NULL, t_done);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(recv, PRO_OK, (int64_t)sizeof in);
        CHECK_EQ(in, i);
    }
    for (int i = 0; i < count; i++) {
        t_wait_count(loop, &sends[i].done, 1);
        CHECK_ERROR(sends[i].error, PRO_OK);
        CHECK_GT(sends[i].order, orders);
        orders = sends[i].order;
    }
    two_close(loop, t);
}

CONFORM(datagram_receives_pending_are_served_in_the_order_of_initiation)
{
    enum { COUNT = 6 };
    pro_loop *loop = t_loop();
    two      *t = two_new(loop);
    t_op     *ops = t_array(t_op, COUNT);
    char      in[COUNT] = {0};
    for (int i = 0; i < COUNT; i++) pro_recv_from(&ops[i].op, &t->b, &in[i], 1, NULL, t_done);
    for (int i = 0; i < COUNT; i++) t_datagram_send(loop, &t->a, &"abcdef"[i], 1, &t -> at_b);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) CHECK_DONE(&ops[i], PRO_OK, 1);
    CHECK(memcmp(in, "abcdef", COUNT) == 0);
    for (int i = 1; i < COUNT; i++) CHECK_GT(ops[i].order, ops[i - 1].order);
    two_close(loop, t);
}

/* ---- 46: what goes wrong -------------------------------------------------------------------- */

CONFORM(a_datagram_that_is_too_big_is_refused_and_leaves_no_hole)
{
    enum { BIG = 70000 };
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *send = t_new_op(), *next = t_new_op(), *batch = t_new_op(), *recv = t_new_op();
    char       *big = t_alloc(BIG), in[4];
    pro_message messages[3] = {{.buf = big, .len = 1, .address = t->at_b},
                               {.buf = big, .len = BIG, .address = t->at_b},
                               {.buf = big, .len = 2, .address = t->at_b}};
    pro_send_to(&send->op, &t->a, big, BIG, &t->at_b, t_done);
    pro_send_to(&next->op, &t->a, "ok", 2, &t->at_b, t_done);
    pro_send_batch(&batch->op, &t->a, messages, 3, t_done);
    t_run(loop);
    CHECK_DONE(send, PRO_EMSGSIZE, 0);
    CHECK_DONE(next, PRO_OK, 2);
    CHECK_DONE(batch, PRO_EMSGSIZE, 1); /* the first one went */
    pro_recv_from(&recv->op, &t->b, in, sizeof in, NULL, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 2);
    pro_recv_from(&recv->op, &t->b, in, sizeof in, NULL, t_done);
    t_wait(loop, recv);
    CHECK_EQ(recv->value, 1);
    two_close(loop, t);
}

CONFORM(an_unreachable_port_is_refused_or_silent_but_never_a_hang)
{
    pro_loop *loop = t_loop();
    two      *t = two_new(loop);
    t_op     *send = t_new_op(), *recv = t_new_op();
    char      in[4];
    CHECK_ERROR(pro_datagram_connect(&t->a, &t->at_b), PRO_OK);
    t_datagram_close(loop, &t->b); /* nobody is there any more */
    recv->op.deadline_ns = pro_loop_now(loop) + 200 * PRO_MSEC;
    pro_recv_from(&recv->op, &t->a, in, sizeof in, NULL, t_done);
    pro_send_to(&send->op, &t->a, "hello", 5, NULL, t_done);
    t_run(loop);
    CHECK_DONE(send, PRO_OK, 5);
    CHECK_EQ(recv->done, 1);
    if (recv->error != PRO_ECONNREFUSED) CHECK_ERROR(recv->error, PRO_ETIMEDOUT);

    /* What was said once is over: the socket still works. */
    t->at_b = t_bound(loop, &t->b, PRO_IPV4);
    CHECK_ERROR(pro_datagram_connect(&t->a, &t->at_b), PRO_OK);
    t_datagram_send(loop, &t->a, "again", 5, NULL);
    recv->done = 0;
    char again[5];
    pro_recv_from(&recv->op, &t->b, again, 5, NULL, t_done);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_OK, 5);
    two_close(loop, t);
}

CONFORM(a_datagram_without_an_address_needs_a_peer)
{
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *ops = t_array(t_op, 3);
    pro_address none = {0};
    pro_send_to(&ops[0].op, &t->a, "x", 1, NULL, t_done);
    pro_send_to(&ops[1].op, &t->a, "x", 1, &none, t_done);
    pro_message message = {.buf = "x", .len = 1};
    pro_send_batch(&ops[2].op, &t->a, &message, 1, t_done);
    t_run(loop);
    CHECK_DONE(&ops[0], PRO_ENOTCONN, 0);
    CHECK_DONE(&ops[1], PRO_EAFNOSUPPORT, 0);
    CHECK_DONE(&ops[2], PRO_ENOTCONN, 0);
    two_close(loop, t);
}

CONFORM(datagram_operations_of_too_many_pieces_are_refused)
{
    pro_loop    *loop = t_loop();
    two         *t = two_new(loop);
    t_op        *ops = t_array(t_op, 4);
    pro_vec     *vecs = t_array(pro_vec, PRO_VECS_MAX + 1);
    pro_message *messages = t_array(pro_message, PRO_BATCH_MAX + 1);
    pro_recvv_from(&ops[0].op, &t->a, vecs, PRO_VECS_MAX + 1, NULL, t_done);
    pro_sendv_to(&ops[1].op, &t->a, vecs, PRO_VECS_MAX + 1, &t->at_b, t_done);
    pro_recv_batch(&ops[2].op, &t->a, messages, PRO_BATCH_MAX + 1, t_done);
    pro_send_batch(&ops[3].op, &t->a, messages, PRO_BATCH_MAX + 1, t_done);
    CHECK_EQ(ops[0].done, 0); /* not inside */
    t_run(loop);
    for (int i = 0; i < 4; i++) CHECK_DONE(&ops[i], PRO_EINVAL, 0);
    two_close(loop, t);
}

CONFORM(a_datagram_socket_without_descriptors_stays_the_callers)
{
    pro_loop     *loop = t_loop();
    pro_datagram *d = t_new(pro_datagram);
    t_bound(loop, d, PRO_IPV4);
    t_datagram_close(loop, d);
    if (!t_descriptors_exhaust()) t_skip("descriptors cannot be used up here");
    int error = pro_datagram_open(d, loop, NULL, PRO_IPV4);
    t_descriptors_restore();
    CHECK_ERROR(error, PRO_EMFILE);
    CHECK_ERROR(pro_datagram_open(d, loop, NULL, PRO_IPV4), PRO_OK);
    t_datagram_close(loop, d);
}

CONFORM(a_port_of_datagrams_in_use_is_refused)
{
    pro_loop     *loop = t_loop();
    two          *t = two_new(loop);
    pro_datagram *other = t_new(pro_datagram);
    pro_address   no = pro_address_loopback(PRO_IPV4, 1);
    no.bytes[0] = 192, no.bytes[1] = 0, no.bytes[2] = 2; /* RFC 5737: nobody's */
    CHECK_ERROR(pro_datagram_open(other, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_datagram_bind(other, &t->at_a), PRO_EADDRINUSE);
    CHECK_ERROR(pro_datagram_bind(other, &no), PRO_EADDRNOTAVAIL);
    no.family = PRO_FAMILY_NONE;
    CHECK_ERROR(pro_datagram_bind(other, &no), PRO_EAFNOSUPPORT);
    t_datagram_close(loop, other);
    CHECK_ERROR(pro_datagram_bind(other, &t->at_a), PRO_ECLOSED);
    two_close(loop, t);
}

/* ---- 47: batches ---------------------------------------------------------------------------- */

CONFORM(a_batch_carries_many_datagrams)
{
    enum { COUNT = PRO_BATCH_MAX, LEN = 100 };
    pro_loop    *loop = t_loop();
    two         *t = two_new(loop);
    t_op        *send = t_new_op(), *recv = t_new_op();
    pro_message *out = t_array(pro_message, COUNT), *in = t_array(pro_message, COUNT);
    char(*sent)[LEN] = t_alloc(sizeof *sent * COUNT), (*got)[LEN] = t_alloc(sizeof *got * COUNT);
    int batches = 0;
    CHECK_ERROR(pro_datagram_set(&t->b, PRO_OPT_RECV_BUFFER, 1 << 20), PRO_OK);
    for (int i = 0; i < COUNT; i++) {
        t_fill(sent[i], LEN, (unsigned)i, 0);
        out[i] = (pro_message){.buf = sent[i], .len = (size_t)(i + LEN - COUNT + 1)};
        out[i].address = t->at_b;
        in[i] = (pro_message){.buf = got[i], .len = LEN};
    }
    pro_send_batch(&send->op, &t->a, out, COUNT, t_done);
    t_wait(loop, send);
    CHECK_DONE(send, PRO_OK, COUNT);
    for (int64_t total = 0; total < COUNT; total += recv->value, batches++) {
        pro_recv_batch(&recv->op, &t->b, in + total, (size_t)(COUNT - total), t_done);
        t_wait(loop, recv);
        CHECK_ERROR(recv->error, PRO_OK);
        CHECK_GT(recv->value, 0);
    }
    CHECK_LT(batches, COUNT / 2); /* many at a time: that is what it is for */
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(out[i].size, out[i].len);
        CHECK_EQ(in[i].size, out[i].len);
        CHECK_EQ(in[i].flags, 0);
        CHECK(pro_address_equal(&in[i].address, &t->at_a));
        CHECK_FILL(got[i], in[i].size, (unsigned)i, 0);
    }
    two_close(loop, t);
}

CONFORM(a_batch_of_receives_takes_what_is_there)
{
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *recv = t_new_op(), *none = t_new_op();
    char        bufs[4][4] = {{0}};
    pro_message in[4];
    for (int i = 0; i < 4; i++) in[i] = (pro_message){.buf = bufs[i], .len = 4};
    pro_recv_batch(&none->op, &t->b, in, 0, t_done);
    t_run(loop);
    CHECK_DONE(none, PRO_OK, 0);
    pro_recv_batch(&recv->op, &t->b, in, 4, t_done); /* before there is one */
    t_poll(loop);
    CHECK_EQ(recv->done, 0);
    t_datagram_send(loop, &t->a, "ab", 2, &t->at_b);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_OK, 1);
    CHECK_EQ(in[0].size, 2);
    t_datagram_send(loop, &t->a, NULL, 0, &t->at_b); /* an empty one counts */
    t_datagram_send(loop, &t->a, "c", 1, &t->at_b);
    recv->done = 0;
    pro_recv_batch(&recv->op, &t->b, in, 4, t_done);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_OK, 2);
    CHECK_EQ(in[0].size, 0);
    CHECK_EQ(in[1].size, 1);
    two_close(loop, t);
}

/* ---- 48: connected, multicast, broadcast, dual stack ---------------------------------------- */

CONFORM(a_connected_datagram_socket_has_one_peer)
{
    pro_loop     *loop = t_loop();
    two          *t = two_new(loop);
    pro_datagram *stranger = t_new(pro_datagram);
    t_op         *recv = t_new_op();
    pro_address   address;
    char          in[10];
    t_bound(loop, stranger, PRO_IPV4);
    CHECK_ERROR(pro_datagram_peer(&t->a, &address), PRO_ENOTCONN);
    CHECK_ERROR(pro_datagram_connect(&t->a, &t->at_b), PRO_OK);
    CHECK_ERROR(pro_datagram_peer(&t->a, &address), PRO_OK);
    CHECK(pro_address_equal(&address, &t->at_b));
    t_datagram_send(loop, stranger, "stranger", 8, &t->at_a);
    t_datagram_send(loop, &t->b, "peer", 4, &t->at_a);
    pro_recv_from(&recv->op, &t->a, in, sizeof in, &address, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 4);
    CHECK(pro_address_equal(&address, &t->at_b));
    t_datagram_send(loop, &t->a, "to peer", 7, NULL);
    recv->done = 0;
    pro_recv_from(&recv->op, &t->b, in, sizeof in, NULL, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 7);

    CHECK_ERROR(pro_datagram_connect(&t->a, NULL), PRO_OK);
    CHECK_ERROR(pro_datagram_peer(&t->a, &address), PRO_ENOTCONN);
    t_datagram_send(loop, &t->a, "to b", 4, &t->at_b); /* with whatever port it has now */
    recv->done = 0;
    pro_recv_from(&recv->op, &t->b, in, sizeof in, &address, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 4);
    t_datagram_send(loop, stranger, "welcome", 7, &address);
    recv->done = 0;
    pro_recv_from(&recv->op, &t->a, in, sizeof in, NULL, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 7);
    t_datagram_close(loop, stranger);
    two_close(loop, t);
}

CONFORM(a_group_is_heard_from_join_to_leave)
{
    enum { LOOPBACK = 1 }; /* the index of that interface on most systems */
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *recv = t_new_op();
    pro_address group = t->at_b, any = pro_address_any(PRO_IPV4, 0);
    char        in[10];
    memcpy(group.bytes, (uint8_t[]){239, 255, 77, 77}, 4); /* RFC 2365: of this site */
    t_datagram_close(loop, &t->b);
    CHECK_ERROR(pro_datagram_open(&t->b, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_datagram_bind(&t->b, &any), PRO_OK);
    CHECK_ERROR(pro_datagram_local(&t->b, &any), PRO_OK);
    group.port = any.port;

    if (pro_datagram_join(&t->b, &group, NULL, LOOPBACK) != PRO_OK) {
        two_close(loop, t);
        t_skip("the loopback has no groups here");
    }
    CHECK_ERROR(pro_datagram_join(&t->b, &any, NULL, LOOPBACK), PRO_EINVAL);
    CHECK_ERROR(pro_datagram_join(&t->b, &group, NULL, LOOPBACK), PRO_EADDRINUSE);
    CHECK_ERROR(pro_datagram_set(&t->a, PRO_OPT_MULTICAST_INTERFACE, LOOPBACK), PRO_OK);
    CHECK_ERROR(pro_datagram_set(&t->a, PRO_OPT_MULTICAST_LOOP, 1), PRO_OK);
    t_datagram_send(loop, &t->a, "group", 5, &group);
    pro_recv_from(&recv->op, &t->b, in, sizeof in, NULL, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 5);

    CHECK_ERROR(pro_datagram_leave(&t->b, &group, NULL, LOOPBACK), PRO_OK);
    CHECK_ERROR(pro_datagram_leave(&t->b, &group, NULL, LOOPBACK), PRO_EADDRNOTAVAIL);
    t_datagram_send(loop, &t->a, "nobody", 6, &group);
    pro_address at_b = pro_address_loopback(PRO_IPV4, any.port);
    t_datagram_send(loop, &t->a, "you", 3, &at_b);
    recv->done = 0;
    pro_recv_from(&recv->op, &t->b, in, sizeof in, NULL, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 3);
    two_close(loop, t);
}

CONFORM(a_group_may_be_heard_from_one_source)
{
    enum { LOOPBACK = 1 };
    pro_loop   *loop = t_loop();
    two        *t = two_new(loop);
    t_op       *recv = t_new_op();
    pro_address group = t->at_b, any = pro_address_any(PRO_IPV4, 0);
    pro_address me = pro_address_loopback(PRO_IPV4, 0), other = me;
    char        in[10];
    other.bytes[3] = 99;
    memcpy(group.bytes, (uint8_t[]){232, 1, 77, 77}, 4); /* RFC 4607 */
    t_datagram_close(loop, &t->b);
    CHECK_ERROR(pro_datagram_open(&t->b, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_datagram_bind(&t->b, &any), PRO_OK);
    CHECK_ERROR(pro_datagram_local(&t->b, &any), PRO_OK);
    group.port = any.port;
    if (pro_datagram_join(&t->b, &group, &other, LOOPBACK) != PRO_OK) {
        two_close(loop, t);
        t_skip("no groups of one source on the loopback here");
    }
    CHECK_ERROR(pro_datagram_set(&t->a, PRO_OPT_MULTICAST_INTERFACE, LOOPBACK), PRO_OK);
    t_datagram_send(loop, &t->a, "filtered", 8, &group);
    CHECK_ERROR(pro_datagram_join(&t->b, &group, &me, LOOPBACK), PRO_OK);
    t_datagram_send(loop, &t->a, "heard", 5, &group);
    pro_recv_from(&recv->op, &t->b, in, sizeof in, NULL, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 5);
    CHECK_ERROR(pro_datagram_leave(&t->b, &group, &me, LOOPBACK), PRO_OK);
    two_close(loop, t);
}

CONFORM(broadcast_has_to_be_allowed)
{
    pro_loop     *loop = t_loop();
    two          *t = two_new(loop);
    pro_datagram *all = t_new(pro_datagram);
    t_op         *ops = t_array(t_op, 3);
    pro_address   any = pro_address_any(PRO_IPV4, 0), to;
    char          in[10];
    CHECK_ERROR(pro_datagram_open(all, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_datagram_bind(all, &any), PRO_OK);
    CHECK_ERROR(pro_datagram_local(all, &any), PRO_OK);
    to = pro_address_loopback(PRO_IPV4, any.port);
    memset(&to.bytes[1], 255, 3); /* 127.255.255.255 */
    pro_send_to(&ops[0].op, &t->a, "x", 1, &to, t_done);
    t_run(loop);
    CHECK_DONE(&ops[0], PRO_EACCES, 0);
    CHECK_ERROR(pro_datagram_set(&t->a, PRO_OPT_BROADCAST, 1), PRO_OK);
    pro_send_to(&ops[1].op, &t->a, "all", 3, &to, t_done);
    pro_recv_from(&ops[2].op, all, in, sizeof in, NULL, t_done);
    t_run(loop);
    CHECK_DONE(&ops[1], PRO_OK, 3);
    CHECK_DONE(&ops[2], PRO_OK, 3);
    t_datagram_close(loop, all);
    two_close(loop, t);
}

CONFORM(a_dual_stack_datagram_socket_has_both_families)
{
    pro_loop     *loop = t_loop();
    pro_datagram *both = t_new(pro_datagram), *four = t_new(pro_datagram),
                 *six = t_new(pro_datagram);
    t_op       *recv = t_new_op();
    pro_address at_four = t_bound(loop, four, PRO_IPV4), at_six = t_bound(loop, six, PRO_IPV6);
    pro_address at = pro_address_any(PRO_IPV6, 0), from, to;
    char        in[10];
    uint8_t     mapped[12] = {[10] = 0xff, [11] = 0xff};
    CHECK_ERROR(pro_datagram_open(both, loop, NULL, PRO_IPV6), PRO_OK);
    CHECK_ERROR(pro_datagram_bind(both, &at), PRO_OK);
    CHECK_ERROR(pro_datagram_local(both, &at), PRO_OK);
    for (int i = 0; i < 2; i++) {
        to = pro_address_loopback(i == 0 ? PRO_IPV4 : PRO_IPV6, at.port);
        t_datagram_send(loop, i == 0 ? four : six, "hello", 5, &to);
        recv->done = 0;
        pro_recv_from(&recv->op, both, in, sizeof in, &from, t_done);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(recv, PRO_OK, 5);
        CHECK_EQ(from.family, PRO_IPV6);
        CHECK_EQ(from.port, i == 0 ? at_four.port : at_six.port);
        if (i == 0)
            CHECK(memcmp(from.bytes, mapped, 12) == 0 &&
                  memcmp(from.bytes + 12, at_four.bytes, 4) == 0);
        t_datagram_send(loop, both, "answer", 6, &from);
        recv->done = 0;
        pro_recv_from(&recv->op, i == 0 ? four : six, in, sizeof in, NULL, t_done);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(recv, PRO_OK, 6);
    }
    t_datagram_close(loop, both);
    t_datagram_close(loop, four);
    t_datagram_close(loop, six);
}

CONFORM(options_of_datagrams_read_as_they_were_set)
{
    pro_loop     *loop = t_loop();
    two          *t = two_new(loop);
    pro_datagram *six = t_new(pro_datagram);
    int           value = -1;
    const struct {
        pro_option option;
        int        value;
    } table[] = {{PRO_OPT_BROADCAST, 1},
                 {PRO_OPT_HOPS, 33},
                 {PRO_OPT_MULTICAST_HOPS, 7},
                 {PRO_OPT_MULTICAST_LOOP, 0},
                 {PRO_OPT_REUSE_ADDRESS, 1}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CHECK_ERROR(pro_datagram_set(&t->a, table[i].option, table[i].value), PRO_OK);
        CHECK_ERROR(pro_datagram_get(&t->a, table[i].option, &value), PRO_OK);
        CHECK_EQ(value, table[i].value);
    }
    CHECK_ERROR(pro_datagram_set(&t->a, PRO_OPT_NODELAY, 1), PRO_EINVAL);
    CHECK_ERROR(pro_datagram_set(&t->a, PRO_OPT_KEEPALIVE, 1), PRO_EINVAL);
    CHECK_ERROR(pro_datagram_set(&t->a, PRO_OPT_HOPS, -1), PRO_EINVAL);
    CHECK_ERROR(pro_datagram_get(&t->a, (pro_option)99, &value), PRO_EINVAL);
    two_close(loop, t);
    t_bound(loop, six, PRO_IPV6);
    for (int i = 1; i < 4; i++) {
        CHECK_ERROR(pro_datagram_set(six, table[i].option, table[i].value), PRO_OK);
        CHECK_ERROR(pro_datagram_get(six, table[i].option, &value), PRO_OK);
        CHECK_EQ(value, table[i].value);
    }
    t_datagram_close(loop, six);
}

/* ---- Ends ----------------------------------------------------------------------------------- */

CONFORM(datagram_receives_end_by_cancel_deadline_close_and_scope_once)
{
    pro_loop    *loop = t_loop();
    two         *t = two_new(loop);
    t_op        *ops = t_array(t_op, 8), *close = t_new_op();
    char         in[8][8];
    pro_message  message = {.buf = in[7], .len = 8};
    pro_address *from = t_array(pro_address, 8);
    ops[1].op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
    for (int i = 0; i < 7; i++) {
        if (i % 2 == 0)
            pro_recv_from(&ops[i].op, &t->a, in[i], 8, &from[i], t_done);
        else
            pro_recv_batch(&ops[i].op, &t->a, &message, 1, t_done);
    }
    t_poll(loop);
    pro_cancel(&ops[0].op);
    pro_cancel(&ops[2].op);
    t_wait_count(loop, &ops[0].done, 1);
    t_wait_count(loop, &ops[1].done, 1);
    t_wait_count(loop, &ops[2].done, 1);
    CHECK_DONE(&ops[0], PRO_ECANCELED, 0);
    CHECK_DONE(&ops[1], PRO_ETIMEDOUT, 0);
    CHECK_DONE(&ops[2], PRO_ECANCELED, 0);
    t_poll(loop);
    CHECK_EQ(ops[3].done + ops[4].done, 0);
    t_datagram_send(loop, &t->b, "x", 1, &t->at_a); /* nothing was lost on the way */
    t_wait_count(loop, &ops[3].done, 1);
    CHECK_DONE(&ops[3], PRO_OK, 1);
    pro_datagram_cancel(&t->a);
    pro_recv_from(&ops[7].op, &t->a, in[7], 8, NULL, t_done);
    pro_datagram_close(&close->op, &t->a, t_done);
    t_run(loop);
    for (int i = 4; i < 8; i++) {
        CHECK_DONE(&ops[i], PRO_ECANCELED, 0);
        CHECK_LT(ops[i].order, close->order);
    }
    CHECK_DONE(close, PRO_OK, 0);
    ops[0].done = 0;
    pro_send_to(&ops[0].op, &t->a, "x", 1, &t->at_b, t_done);
    t_run(loop);
    CHECK_DONE(&ops[0], PRO_ECLOSED, 0);
    t_datagram_close(loop, &t->b);
}

/* ---- A random program ----------------------------------------------------------------------- */

enum { SOCKETS = 4, TASKS = 48, ROOM = 200 };

struct task {
    pro_op        op;
    struct chaos *chaos;
    int           kind, flights, done;
    bool          in_flight;
    char          buf[3][ROOM];
    pro_vec       vecs[3];
    pro_message   messages[3];
    pro_address   from;
};

struct chaos {
    pro_loop    *loop;
    pro_datagram sockets[SOCKETS];
    pro_address  at[SOCKETS];
    struct task  tasks[TASKS];
    long         initiated, completed, moved;
    bool         over;
};

static void initiate(struct chaos *c, struct task *task);

static void chaos_done(pro_op *op)
{
    struct task  *task = pro_container_of(op, struct task, op);
    struct chaos *c = task->chaos;
    if (!task->in_flight) FAIL("a %s completed twice", pro_op_name(op));
    task->in_flight = false;
    c->completed++;
    switch (op->error) {
    case PRO_OK:
        CHECK_GE(op->value, 0);
        CHECK_LE(op->value, 3 * ROOM);
        c->moved++;
        break;
    case PRO_ECANCELED:
    case PRO_ETIMEDOUT:
    case PRO_ECLOSED:
    case PRO_ENOTCONN:
    case PRO_ENOBUFS:
    case PRO_ECONNREFUSED: break;
    default: FAIL("a %s ended with %s", pro_op_name(op), pro_error_name(op->error));
    }
    if (!c->over && t_below(2) == 0) initiate(c, task); /* inside its handler */
}

static void initiate(struct chaos *c, struct task *task)
{
    pro_datagram *d = &c->sockets[t_below(SOCKETS)];
    pro_address  *to = t_below(8) ? &c->at[t_below(SOCKETS)] : NULL;
    size_t        len = t_below(ROOM + 1), count = t_below(4);
    task->in_flight = true;
    task->kind = (int)t_below(7);
    c->initiated++;
    if (t_below(6) == 0) task->op.deadline_ns = pro_loop_now(c->loop) + t_below(PRO_MSEC) + 1;
    for (int i = 0; i < 3; i++) {
        task->vecs[i] = (pro_vec){task->buf[i], t_below(ROOM + 1)};
        task->messages[i] = (pro_message){.buf = task->buf[i], .len = t_below(ROOM + 1)};
        if (to) task->messages[i].address = *to;
    }
    switch (task->kind) {
    case 0: pro_recv_from(&task->op, d, task->buf[0], len, &task->from, chaos_done); break;
    case 1:
        pro_recvv_from(&task->op, d, task->vecs, count < 3 ? count : 3, NULL, chaos_done);
        break;
    case 2: pro_recv_batch(&task->op, d, task->messages, count < 3 ? count : 3, chaos_done); break;
    case 3:
    case 4: pro_send_to(&task->op, d, task->buf[0], len, to, chaos_done); break;
    case 5: pro_sendv_to(&task->op, d, task->vecs, count < 3 ? count : 3, to, chaos_done); break;
    default: pro_send_batch(&task->op, d, task->messages, count < 3 ? count : 3, chaos_done); break;
    }
}

static void reopen(struct chaos *c, int i)
{
    t_op *close = t_new_op();
    pro_datagram_close(&close->op, &c->sockets[i], t_done);
    t_wait_count(c->loop, &close->done, 1);
    c->at[i] = t_bound(c->loop, &c->sockets[i], PRO_IPV4);
}

CONFORM(datagrams_complete_exactly_once_whatever_happens)
{
    pro_loop     *loop = t_loop();
    struct chaos *c = t_new(struct chaos);
    int           rounds = t_count(4000);
    c->loop = loop;
    for (int i = 0; i < SOCKETS; i++) c->at[i] = t_bound(loop, &c->sockets[i], PRO_IPV4);
    for (int i = 0; i < TASKS; i++) c->tasks[i].chaos = c;
    for (int round = 0; round < rounds; round++) {
        struct task *task = &c->tasks[t_below(TASKS)];
        if (!task->in_flight) initiate(c, task);
        if (t_below(4) == 0) pro_cancel(&c->tasks[t_below(TASKS)].op);
        if (t_below(200) == 0) pro_datagram_cancel(&c->sockets[t_below(SOCKETS)]);
        if (t_below(300) == 0) reopen(c, (int)t_below(SOCKETS));
        if (t_below(3) == 0) t_poll(loop);
    }
    c->over = true;
    for (int i = 0; i < SOCKETS; i++) t_datagram_close(loop, &c->sockets[i]);
    t_run(loop);
    CHECK_EQ(c->initiated, c->completed);
    CHECK_GT(c->moved, 0);
    for (int i = 0; i < TASKS; i++) CHECK(!c->tasks[i].in_flight);
    t_note("%ld operations, %ld of them moved datagrams\n", c->completed, c->moved);
}
