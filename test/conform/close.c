/* Closing handles.
 * Covers 41, 42, 44 of the list; adopting, options. */
#include "lib/net.h"

/* ---- 41: last, and on a fresh stack ---------------------------------------------------------- */

CONFORM(close_completes_last_on_its_socket)
{
    enum { COUNT = 6 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *recvs = t_array(t_op, COUNT), *send = t_new_op(), *close = t_new_op();
    char      bytes[COUNT];
    for (int i = 0; i < COUNT; i++) pro_recv(&recvs[i].op, &pair->a, bytes + i, 1, t_done);
    t_poll(loop);
    pro_send(&send->op, &pair->a, "x", 1, t_done);
    int before = t_completions();
    pro_close(&close->op, &pair->a, t_done);
    CHECK_EQ(t_completions(), before); /* never inside */
    t_run(loop);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_EQ(send->done, 1);
    if (send->error != PRO_OK) CHECK_ERROR(send->error, PRO_ECANCELED);
    CHECK_LT(send->order, close->order);
    for (int i = 0; i < COUNT; i++) {
        CHECK_DONE(&recvs[i], PRO_ECANCELED, 0);
        CHECK_LT(recvs[i].order, close->order);
    }
    CHECK_EQ(pro_socket_descriptor(&pair->a), -1);
    t_close(loop, &pair->b);
}

static void close_it(t_op *t)
{
    t_op *close = t_new_op();
    pro_close(&close->op, t->ctx, t_done);
    t->ctx = close;
}

CONFORM(a_socket_may_be_closed_in_a_handler_of_its_own)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op(), *behind = t_new_op();
    char        bytes[2];
    peer        raw = t_raw_pair(loop, s);
    recv->ctx = s;
    recv->then = close_it;
    pro_recv(&recv->op, s, bytes, 1, t_done);
    pro_recv(&behind->op, s, bytes + 1, 1, t_done);
    CHECK(peer_write(raw, "xy", 2));
    t_run(loop);
    t_op *close = recv->ctx;
    CHECK_DONE(recv, PRO_OK, 1);
    CHECK_EQ(behind->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK(recv->order < behind->order && behind->order < close->order);
    peer_close(raw);
}

static void initialise_again(t_op *t)
{
    /* From here on it is the caller's: even to be something else. */
    memset(t->ctx, 0xdd, sizeof(pro_socket));
}

CONFORM(a_socket_is_the_callers_again_when_the_handler_of_its_close_begins)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op(), *close = t_new_op();
    char        byte;
    peer        raw = t_raw_pair(loop, s);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_poll(loop);
    close->ctx = s;
    close->then = initialise_again;
    pro_close(&close->op, s, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_ECANCELED, 0);
    CHECK_DONE(close, PRO_OK, 0);
    /* And it may live again. */
    memset(s, 0, sizeof *s);
    peer again = t_raw_pair(loop, s);
    t_close(loop, s);
    peer_close(again);
    peer_close(raw);
}

CONFORM(a_close_without_a_descriptor_completes)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *close = t_new_op();
    pro_socket_init(s, loop, NULL);
    pro_close(&close->op, s, t_done);
    CHECK_EQ(close->done, 0);
    t_run(loop);
    CHECK_DONE(close, PRO_OK, 0);
}

CONFORM(a_close_cannot_be_canceled_nor_timed_out)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *one = t_new_op(), *two = t_new_op();
    one->op.deadline_ns = 1;
    pro_close(&one->op, &pair->a, t_done);
    pro_close(&two->op, &pair->b, t_done);
    pro_cancel(&two->op);
    pro_socket_cancel(&pair->b);
    pro_scope_cancel(pro_loop_scope(loop));
    t_run(loop);
    CHECK_DONE(one, PRO_OK, 0);
    CHECK_DONE(two, PRO_OK, 0);
    CHECK_EQ(one->op.deadline_ns, PRO_NEVER);
}

CONFORM(a_close_sends_what_was_sent_before_it)
{
    enum { LEN = 20000 };
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *send = t_new_op();
    char       *out = t_alloc(LEN), *in = t_alloc(LEN + 1);
    peer        raw = t_raw_pair(loop, s);
    t_fill(out, LEN, 1, 0);
    pro_send_all(&send->op, s, out, LEN, t_done);
    t_wait(loop, send);
    t_close(loop, s);
    CHECK_EQ(peer_read_exactly(raw, in, LEN + 1), LEN);
    CHECK_FILL(in, LEN, 1, 0);
    peer_close(raw);
}

/* ---- 42: with a reset ------------------------------------------------------------------------ */

CONFORM(an_abortive_close_sends_a_reset)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *close = t_new_op(), *recv = t_new_op();
    char        byte;
    peer        raw = t_raw_pair(loop, s);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_poll(loop);
    pro_close_abort(&close->op, s, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_ECANCELED, 0);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_LT(recv->order, close->order);
    CHECK_EQ(peer_read(raw, &byte, 1), -1);
    peer_close(raw);
}

CONFORM(an_orderly_close_sends_the_end)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    char        byte;
    peer        raw = t_raw_pair(loop, s);
    t_close(loop, s);
    CHECK_EQ(peer_read(raw, &byte, 1), 0);
    peer_close(raw);
}

/* ---- 44: twice, and after -------------------------------------------------------------------- */

CONFORM(a_second_close_completes_after_the_first)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *recv = t_new_op(), *closes = t_array(t_op, 4);
    char      byte;
    pro_recv(&recv->op, &pair->a, &byte, 1, t_done);
    t_poll(loop);
    pro_close(&closes[0].op, &pair->a, t_done);
    pro_close(&closes[1].op, &pair->a, t_done);
    pro_close_abort(&closes[2].op, &pair->a, t_done);
    t_run(loop);
    pro_close(&closes[3].op, &pair->a, t_done); /* long after */
    t_run(loop);
    CHECK_DONE(recv, PRO_ECANCELED, 0);
    for (int i = 0; i < 4; i++) {
        CHECK_DONE(&closes[i], PRO_OK, 0);
        CHECK_GT(closes[i].order, i ? closes[i - 1].order : recv->order);
    }
    t_close(loop, &pair->b);
}

static void use_all(t_op *t, pro_socket *s, char *buf)
{
    pro_vec     vec = {buf, 1};
    pro_address address = pro_address_loopback(PRO_IPV4, 9);
    pro_recv(&t[0].op, s, buf, 1, t_done);
    pro_recv_exactly(&t[1].op, s, buf, 1, t_done);
    pro_recvv(&t[2].op, s, &vec, 1, t_done);
    pro_recvv_exactly(&t[3].op, s, &vec, 1, t_done);
    pro_send(&t[4].op, s, buf, 1, t_done);
    pro_send_all(&t[5].op, s, buf, 1, t_done);
    pro_sendv(&t[6].op, s, &vec, 1, t_done);
    pro_sendv_all(&t[7].op, s, &vec, 1, t_done);
    pro_shutdown(&t[8].op, s, t_done);
    pro_connect(&t[9].op, s, &address, t_done);
}

CONFORM(a_socket_used_after_close_says_closed)
{
    enum { USES = 10 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *meanwhile = t_array(t_op, USES), *after = t_array(t_op, USES), *close = t_new_op();
    char      buf[1] = {0};
    int       value;
    pro_close(&close->op, &pair->a, t_done);
    use_all(meanwhile, &pair->a, buf);
    t_run(loop);
    CHECK_DONE(close, PRO_OK, 0);
    use_all(after, &pair->a, buf);
    CHECK_EQ(after[0].done, 0);
    t_run(loop);
    for (int i = 0; i < USES; i++) {
        CHECK_DONE(&meanwhile[i], PRO_ECLOSED, 0);
        CHECK_DONE(&after[i], PRO_ECLOSED, 0);
    }
    CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_NODELAY, 1), PRO_ECLOSED);
    CHECK_ERROR(pro_socket_get(&pair->a, PRO_OPT_NODELAY, &value), PRO_ECLOSED);
    CHECK_EQ(pro_socket_descriptor(&pair->a), -1);
    pro_socket_cancel(&pair->a); /* nothing to do, nothing happens */
    t_close(loop, &pair->b);
}

CONFORM(a_listener_closed_twice_or_used_after_close_says_so)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *closes = t_array(t_op, 3), *accepts = t_array(t_op, 4);
    t_listen(loop, l);
    pro_listener_close(&closes[0].op, l, t_done);
    pro_listener_close(&closes[1].op, l, t_done);
    pro_accept(&accepts[0].op, l, t_done);
    pro_accept_multi(&accepts[1].op, l, t_done);
    t_run(loop);
    pro_accept(&accepts[2].op, l, t_done);
    pro_accept_multi(&accepts[3].op, l, t_done);
    pro_listener_close(&closes[2].op, l, t_done);
    t_run(loop);
    for (int i = 0; i < 3; i++) CHECK_DONE(&closes[i], PRO_OK, 0);
    CHECK_LT(closes[0].order, closes[1].order);
    for (int i = 0; i < 4; i++) CHECK_DONE(&accepts[i], PRO_ECLOSED, 0);
    CHECK_EQ(pro_listener_descriptor(l), -1);
}

CONFORM(the_backlog_of_a_closed_listener_is_refused_or_reset)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l);
    char          byte;
    peer          raw = peer_connect(&address);
    t_listener_close(loop, l);
    CHECK(peer_read(raw, &byte, 1) <= 0);
    peer_close(raw);
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op();
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &address, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_ECONNREFUSED, 0);
    t_close(loop, s);
}

static void take_it(t_op *t) { CHECK_ERROR(pro_accept_take(&t->op, t->ctx, NULL), PRO_OK); }

/* Take the next connection; 1: its first byte is `want`, 0: it is broken, or has other bytes. */
static int next_brings(pro_loop *loop, pro_listener *l, char want)
{
    pro_socket *s = t_new(pro_socket);
    t_op       *accept = t_new_op(), *recv = t_new_op();
    char        byte = 0;
    accept->ctx = s;
    accept->then = take_it;
    pro_accept(&accept->op, l, t_done);
    t_wait_count(loop, &accept->done, 1);
    CHECK_ERROR(accept->error, PRO_OK);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_wait_count(loop, &recv->done, 1);
    t_close(loop, s);
    return recv->error == PRO_OK && byte == want;
}

/* A connection that was reset before it was accepted may be accepted still, with the bytes that had come.
 * Its address may be that of a living one: an address is no name for a connection. */
CONFORM(a_port_that_a_reset_gave_back_is_that_of_another_connection)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l), own = {.family = PRO_IPV4, .bytes = {127, 0, 0, 1}};
    for (char byte = 'a'; byte <= 'b'; byte++) {
        pro_socket *s = t_new(pro_socket);
        t_op       *connect = t_new_op(), *send = t_new_op(), *close = t_new_op();
        CHECK_ERROR(pro_socket_open(s, loop, NULL, PRO_IPV4), PRO_OK);
        CHECK_ERROR(pro_socket_bind(s, &own), PRO_OK);
        CHECK_ERROR(pro_socket_local(s, &own), PRO_OK); /* the second has the port of the first */
        pro_connect(&connect->op, s, &address, t_done);
        pro_send(&send->op, s, &byte, 1, t_done);
        t_wait_count(loop, &send->done, 1);
        CHECK_DONE(connect, PRO_OK, 0);
        CHECK_DONE(send, PRO_OK, 1);
        if (byte == 'b') CHECK(next_brings(loop, l, byte) || next_brings(loop, l, byte));
        pro_close_abort(&close->op, s, t_done);
        t_wait_count(loop, &close->done, 1);
    }
    t_listener_close(loop, l);
}

/* ---- Adopting -------------------------------------------------------------------------------- */

CONFORM(adopting_what_is_no_socket_is_refused)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    pro_scope  *closing = t_new(pro_scope);
    char        byte;
    peer        raw[2];
    CHECK(pro_socket_adopt(s, loop, NULL, -1) != PRO_OK);
    pro_scope_init(closing, loop, NULL, NULL);
    pro_scope_hold(closing);
    pro_scope_close(closing);
    peer_pair(raw);
    CHECK_ERROR(pro_socket_adopt(s, loop, closing, raw[0]), PRO_ECANCELED);
    /* Both stayed ours. */
    CHECK(peer_write(raw[0], "x", 1));
    CHECK_EQ(peer_read(raw[1], &byte, 1), 1);
    CHECK_ERROR(pro_socket_adopt(s, loop, NULL, raw[0]), PRO_OK);
    t_close(loop, s);
    CHECK_EQ(peer_read(raw[1], &byte, 1), 0);
    peer_close(raw[1]);
    pro_scope_release(closing);
    t_run(loop);
}

/* ---- Options --------------------------------------------------------------------------------- */

CONFORM(options_can_be_set_and_read)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    int       value = -1;
    CHECK_ERROR(pro_socket_get(&pair->a, PRO_OPT_NODELAY, &value), PRO_OK);
    CHECK_EQ(value, 0);
    CHECK_ERROR(pro_socket_get(&pair->b, PRO_OPT_NODELAY, &value), PRO_OK);
    CHECK_EQ(value, 0);
    CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_NODELAY, 1), PRO_OK);
    CHECK_ERROR(pro_socket_get(&pair->a, PRO_OPT_NODELAY, &value), PRO_OK);
    CHECK_EQ(value, 1);
    CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_KEEPALIVE, 60), PRO_OK);
    CHECK_ERROR(pro_socket_get(&pair->a, PRO_OPT_KEEPALIVE, &value), PRO_OK);
    CHECK_EQ(value, 60);
    CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_KEEPALIVE, 0), PRO_OK);
    CHECK_ERROR(pro_socket_get(&pair->a, PRO_OPT_KEEPALIVE, &value), PRO_OK);
    CHECK_EQ(value, 0);
    CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_SEND_BUFFER, 65536), PRO_OK);
    CHECK_ERROR(pro_socket_get(&pair->a, PRO_OPT_SEND_BUFFER, &value), PRO_OK);
    CHECK_GE(value, 65536);
    CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_RECV_BUFFER, 65536), PRO_OK);
    CHECK_ERROR(pro_socket_get(&pair->a, PRO_OPT_RECV_BUFFER, &value), PRO_OK);
    CHECK_GE(value, 65536);
    CHECK_ERROR(pro_socket_set(&pair->a, (pro_option)99, 1), PRO_EINVAL);
    t_pair_close(loop, pair);
}
