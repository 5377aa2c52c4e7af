/* Accepting connections.
 * Covers 1, 2, 3, 4, 5, 6, 7 of the list. */
#include "lib/net.h"
#include "lib/os.h"

/* ---- 1: what an accepted socket is ----------------------------------------------------------- */

CONFORM(an_accepted_socket_works_in_both_directions_at_once)
{
    enum { LEN = 100000 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    char     *out[2] = {t_alloc(LEN), t_alloc(LEN)}, *in[2] = {t_alloc(LEN), t_alloc(LEN)};
    t_op     *send[2] = {t_new_op(), t_new_op()}, *recv[2] = {t_new_op(), t_new_op()};
    for (int i = 0; i < 2; i++) {
        pro_socket *s = i ? &pair->b : &pair->a;
        t_fill(out[i], LEN, (unsigned)i, 0);
        pro_recv_exactly(&recv[i]->op, s, in[i], LEN, t_done);
        pro_send_all(&send[i]->op, s, out[i], LEN, t_done);
    }
    t_run(loop);
    for (int i = 0; i < 2; i++) {
        CHECK_DONE(send[i], PRO_OK, LEN);
        CHECK_DONE(recv[i], PRO_OK, LEN);
        CHECK_FILL(in[i], LEN, (unsigned)!i, 0);
    }
    t_pair_close(loop, pair);
}

static void take_into(t_op *t) { CHECK_ERROR(pro_accept_take(&t->op, t->ctx, NULL), PRO_OK); }

/* Connect and accept over an address; look at all four names of the connection. */
static void names_are_right(pro_address where)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *a = t_new(pro_socket), *b = t_new(pro_socket);
    t_op         *connect = t_new_op(), *accept = t_new_op();
    pro_address   a_local, a_peer, b_local, b_peer;

    int error = pro_listen(l, loop, NULL, &where, NULL);
    if (error == PRO_EAFNOSUPPORT || error == PRO_EADDRNOTAVAIL) t_skip("no such addresses here");
    CHECK_ERROR(error, PRO_OK);
    CHECK_ERROR(pro_listener_local(l, &where), PRO_OK);
    pro_socket_init(a, loop, NULL);
    accept->ctx = b;
    accept->then = take_into;
    pro_accept(&accept->op, l, t_done);
    pro_connect(&connect->op, a, &where, t_done);
    t_run(loop);
    CHECK_ERROR(connect->error, PRO_OK);
    CHECK_ERROR(accept->error, PRO_OK);

    CHECK_ERROR(pro_socket_local(a, &a_local), PRO_OK);
    CHECK_ERROR(pro_socket_peer(a, &a_peer), PRO_OK);
    CHECK_ERROR(pro_socket_local(b, &b_local), PRO_OK);
    CHECK_ERROR(pro_socket_peer(b, &b_peer), PRO_OK);
    CHECK(pro_address_equal(&a_peer, &where));
    CHECK(pro_address_equal(&b_local, &where));
    CHECK(pro_address_equal(&a_local, &b_peer));
    CHECK(!pro_address_equal(&a_local, &a_peer));

    t_close(loop, a);
    t_close(loop, b);
    t_listener_close(loop, l);
}

CONFORM(an_accepted_socket_knows_its_addresses)
{
    names_are_right(pro_address_loopback(PRO_IPV4, 0));
}

CONFORM(an_accepted_ipv6_socket_knows_its_addresses)
{
    names_are_right(pro_address_loopback(PRO_IPV6, 0));
}

/* ---- 2: before the accept, and right after it ------------------------------------------------ */

CONFORM(a_connection_queued_before_the_accept_is_delivered)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *accept = t_new_op(), *recv = t_new_op();
    char          buf[8];
    pro_address   address = t_listen(loop, l);
    peer          raw = peer_connect(&address);

    CHECK(peer_write(raw, "hello", 5));
    accept->ctx = s;
    accept->then = take_into;
    pro_accept(&accept->op, l, t_done);
    t_wait(loop, accept);
    pro_recv_exactly(&recv->op, s, buf, 5, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, 5);
    CHECK(memcmp(buf, "hello", 5) == 0);
    peer_close(raw);
    t_close(loop, s);
    t_listener_close(loop, l);
}

static void take_and_close(t_op *t)
{
    pro_socket *s = t_new(pro_socket);
    t_op       *close = t_new_op();
    CHECK_ERROR(pro_accept_take(&t->op, s, NULL), PRO_OK);
    pro_close(&close->op, s, t_done);
    t->ctx = close;
}

CONFORM(an_accepted_socket_may_be_closed_in_its_handler)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *accept = t_new_op();
    char          byte;
    pro_address   address = t_listen(loop, l);
    peer          raw = peer_connect(&address);

    accept->then = take_and_close;
    pro_accept(&accept->op, l, t_done);
    t_run(loop);
    CHECK_DONE(accept, PRO_OK, accept->value);
    CHECK_DONE((t_op *)accept->ctx, PRO_OK, 0);
    CHECK_EQ(peer_read(raw, &byte, 1), 0);
    peer_close(raw);
    t_listener_close(loop, l);
}

/* ---- Contract: take, or it is closed --------------------------------------------------------- */

CONFORM(a_connection_that_is_not_taken_is_closed)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *accept = t_new_op();
    char          byte;
    pro_address   address = t_listen(loop, l);
    peer          raw = peer_connect(&address);

    pro_accept(&accept->op, l, t_done);
    t_wait(loop, accept);
    CHECK_ERROR(accept->error, PRO_OK);
    CHECK_EQ(peer_read(raw, &byte, 1), 0);

    /* Too late now. */
    pro_socket *s = t_new(pro_socket);
    CHECK_ERROR(pro_accept_take(&accept->op, s, NULL), PRO_EINVAL);
    peer_close(raw);
    t_listener_close(loop, l);
}

static void take_twice(t_op *t)
{
    pro_socket *second = t_new(pro_socket);
    take_into(t);
    CHECK_ERROR(pro_accept_take(&t->op, second, NULL), PRO_EINVAL);
}

CONFORM(a_connection_is_taken_once)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *accept = t_new_op();
    pro_address   address = t_listen(loop, l);
    peer          raw = peer_connect(&address);

    accept->ctx = s;
    accept->then = take_twice;
    pro_accept(&accept->op, l, t_done);
    t_wait(loop, accept);
    t_close(loop, s);
    peer_close(raw);
    t_listener_close(loop, l);
}

/* ---- Handing over ---------------------------------------------------------------------------- */

struct handed {
    intptr_t    descriptor;
    pro_address peer;
};

static void take_descriptor(t_op *t)
{
    struct handed *h = t->ctx;
    CHECK_ERROR(pro_accept_peer(&t->op, &h->peer), PRO_OK);
    h->descriptor = pro_accept_take_descriptor(&t->op);
    CHECK(h->descriptor >= 0);
    CHECK_ERROR(pro_accept_peer(&t->op, &h->peer), PRO_EINVAL);
    CHECK(pro_accept_take_descriptor(&t->op) == -1);
}

/* Connect a socket; the descriptor of the other end is ours. */
static void connect_and_take(pro_loop *loop, pro_socket *client, struct handed *h)
{
    pro_listener *l = t_new(pro_listener);
    t_op         *accept = t_new_op(), *connect = t_new_op();
    pro_address   address = t_listen(loop, l);
    accept->ctx = h;
    accept->then = take_descriptor;
    pro_accept(&accept->op, l, t_done);
    pro_socket_init(client, loop, NULL);
    pro_connect(&connect->op, client, &address, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_OK, 0);
    CHECK_ERROR(accept->error, PRO_OK);
    t_listener_close(loop, l);
}

static void move(pro_loop *from, pro_socket *out, pro_loop *to, pro_socket *in)
{
    t_op *send = t_new_op(), *recv = t_new_op();
    char  buf[5];
    pro_send_all(&send->op, out, "hello", 5, t_done);
    t_wait(from, send);
    CHECK_DONE(send, PRO_OK, 5);
    pro_recv_exactly(&recv->op, in, buf, 5, t_done);
    t_wait(to, recv);
    CHECK_DONE(recv, PRO_OK, 5);
    CHECK(memcmp(buf, "hello", 5) == 0);
}

CONFORM(a_connection_is_handed_over_to_another_loop)
{
    pro_loop      *here = t_loop(), *there = t_loop();
    struct handed *h = t_new(struct handed);
    pro_socket    *client = t_new(pro_socket), *s = t_new(pro_socket);
    pro_address    from, local;

    connect_and_take(here, client, h);
    CHECK_ERROR(pro_socket_adopt(s, there, NULL, h->descriptor), PRO_OK);
    CHECK_ERROR(pro_socket_peer(s, &from), PRO_OK);
    CHECK_ERROR(pro_socket_local(client, &local), PRO_OK);
    CHECK(pro_address_equal(&from, &h->peer) && pro_address_equal(&from, &local));
    move(here, client, there, s);
    move(there, s, here, client);
    t_close(there, s);
    t_close(here, client);
}

CONFORM(a_descriptor_that_nobody_adopts_is_closed)
{
    pro_loop      *loop = t_loop();
    struct handed *h = t_new(struct handed);
    pro_socket    *client = t_new(pro_socket);
    t_op          *recv = t_new_op();
    char           byte;

    connect_and_take(loop, client, h);
    pro_descriptor_close(loop, h->descriptor);
    pro_recv(&recv->op, client, &byte, 1, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_EOF, 0);
    t_close(loop, client);
}

/* ---- Into a scope that ends ------------------------------------------------------------------ */

static void take_in_closing_scope(t_op *t)
{
    pro_socket *s = t_new(pro_socket);
    CHECK_ERROR(pro_accept_take(&t->op, s, t->ctx), PRO_ECANCELED);
}

CONFORM(a_connection_taken_into_a_closing_scope_is_closed)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_scope    *scope = t_new(pro_scope);
    t_op         *accept = t_new_op();
    char          byte;
    pro_address   address = t_listen(loop, l);
    peer          raw = peer_connect(&address);

    pro_scope_init(scope, loop, NULL, NULL);
    pro_scope_hold(scope);
    pro_scope_close(scope);
    accept->ctx = scope;
    accept->then = take_in_closing_scope;
    pro_accept(&accept->op, l, t_done);
    t_wait(loop, accept);
    CHECK_ERROR(accept->error, PRO_OK);
    CHECK_EQ(peer_read(raw, &byte, 1), 0);
    pro_scope_release(scope);
    peer_close(raw);
    t_listener_close(loop, l);
}

/* ---- 3: accept_multi ------------------------------------------------------------------------- */

struct multi {
    t_op       accept;
    pro_socket sockets[256];
    int        taken;
    int        last; /* completions without PRO_MORE */
    int        last_error;
};

static void take_one_more(t_op *t)
{
    struct multi *m = pro_container_of(t, struct multi, accept);
    CHECK_EQ(m->last, 0);
    if (!(t->flags & PRO_MORE)) {
        m->last++;
        m->last_error = t->error;
        return;
    }
    CHECK_ERROR(t->error, PRO_OK);
    CHECK_LT(m->taken, 256);
    CHECK_ERROR(pro_accept_take(&t->op, &m->sockets[m->taken], NULL), PRO_OK);
    m->taken++;
}

static struct multi *multi_begin(pro_listener *l)
{
    struct multi *m = t_new(struct multi);
    m->accept.then = take_one_more;
    pro_accept_multi(&m->accept.op, l, t_done);
    return m;
}

static void multi_cancel(pro_loop *loop, struct multi *m)
{
    pro_cancel(&m->accept.op);
    t_wait_count(loop, &m->last, 1);
    CHECK_ERROR(m->last_error, PRO_ECANCELED);
    CHECK_EQ(m->last, 1);
}

static void multi_close(pro_loop *loop, struct multi *m)
{
    for (int i = 0; i < m->taken; i++) t_close(loop, &m->sockets[i]);
}

/* A burst of connections arrives on a loop made with these options; each is delivered once. */
static void burst(const pro_loop_options *options, int count)
{
    pro_loop     *loop = t_loop_with(options);
    pro_listener *l = t_new(pro_listener);
    peer         *raw = t_array(peer, count);
    pro_address   address = t_listen(loop, l);
    struct multi *m = multi_begin(l);

    for (int i = 0; i < count; i++) raw[i] = peer_connect(&address);
    t_wait_count(loop, &m->taken, count);
    CHECK_EQ(m->taken, count);

    /* Each one is connected with a different peer. */
    for (int i = 0; i < count; i++) {
        unsigned char id = (unsigned char)i, seen[256] = {0};
        CHECK(peer_write(raw[i], &id, 1));
        if (i < count - 1) continue;
        for (int j = 0; j < count; j++) {
            unsigned char *got = t_alloc(1);
            t_op          *recv = t_new_op();
            pro_recv(&recv->op, &m->sockets[j], got, 1, t_done);
            t_wait(loop, recv);
            CHECK_DONE(recv, PRO_OK, 1);
            CHECK_EQ(seen[*got]++, 0);
        }
    }
    multi_cancel(loop, m);
    multi_close(loop, m);
    for (int i = 0; i < count; i++) peer_close(raw[i]);
    t_listener_close(loop, l);
}

CONFORM(accept_multi_delivers_a_burst)
{
    pro_loop_options options = t_loop_options();
    burst(&options, 100);
}

CONFORM(accept_multi_loses_nothing_with_the_smallest_queues)
{
    pro_loop_options options = t_loop_options();
    options.queue_len = 1;
    options.batch_max = 1;
    burst(&options, 100);
}

CONFORM(accept_multi_goes_on_while_clients_come_and_go)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l);
    struct multi *m = multi_begin(l);
    for (int i = 0; i < 50; i++) {
        peer raw = peer_connect(&address);
        if (i % 3 == 0) peer_close(raw);
        if (i % 3 == 1) peer_reset(raw);
        t_wait_count(loop, &m->taken, i + 1);
        t_close(loop, &m->sockets[i]);
        if (i % 3 == 2) peer_close(raw);
    }
    CHECK(pro_op_in_flight(&m->accept.op));
    multi_cancel(loop, m);
    t_listener_close(loop, l);
}

static void cancel_after_the_third(t_op *t)
{
    struct multi *m = pro_container_of(t, struct multi, accept);
    take_one_more(t);
    if (m->taken == 3) pro_cancel(&t->op);
}

CONFORM(accept_multi_canceled_in_its_handler_ends_once_and_loses_nobody)
{
    enum { CLIENTS = 10 };
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l);
    peer          raw[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) raw[i] = peer_connect(&address);

    struct multi *m = multi_begin(l);
    m->accept.then = cancel_after_the_third;
    t_wait_count(loop, &m->last, 1);
    t_run(loop);
    CHECK_EQ(m->last, 1);
    CHECK_GE(m->taken, 3);
    CHECK(!pro_op_in_flight(&m->accept.op));

    /* Those that were not delivered are still there. */
    struct multi *rest = multi_begin(l);
    t_wait_count(loop, &rest->taken, CLIENTS - m->taken);
    multi_cancel(loop, rest);
    CHECK_EQ(m->taken + rest->taken, CLIENTS);
    multi_close(loop, m);
    multi_close(loop, rest);
    for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
    t_listener_close(loop, l);
}

CONFORM(accept_multi_ends_when_its_listener_closes)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *close = t_new_op();
    pro_address   address = t_listen(loop, l);
    struct multi *m = multi_begin(l);
    peer          raw = peer_connect(&address);
    t_wait_count(loop, &m->taken, 1);
    pro_listener_close(&close->op, l, t_done);
    t_run(loop);
    CHECK_EQ(m->last, 1);
    CHECK_ERROR(m->last_error, PRO_ECANCELED);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_GT(close->order, m->accept.order);
    multi_close(loop, m);
    peer_close(raw);
}

/* ---- 4: canceled accepts --------------------------------------------------------------------- */

CONFORM(pending_accepts_canceled_complete_once_each)
{
    enum { COUNT = 20 };
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *accepts = t_array(t_op, COUNT);
    t_listen(loop, l);
    for (int i = 0; i < COUNT; i++) pro_accept(&accepts[i].op, l, t_done);
    t_poll(loop);
    /* Some by name, in another order than their own; the rest with the listener. */
    for (int i = COUNT - 1; i >= 0; i -= 2) pro_cancel(&accepts[i].op);
    pro_listener_cancel(l);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) CHECK_DONE(&accepts[i], PRO_ECANCELED, 0);
    t_listener_close(loop, l);
}

CONFORM(closing_a_listener_completes_its_accept_once)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *accept = t_new_op(), *close = t_new_op();
    t_listen(loop, l);
    pro_accept(&accept->op, l, t_done);
    t_poll(loop);
    pro_listener_close(&close->op, l, t_done);
    t_run(loop);
    CHECK_DONE(accept, PRO_ECANCELED, 0);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_LT(accept->order, close->order);
}

CONFORM(accepts_of_one_listener_complete_in_order)
{
    enum { COUNT = 5 };
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *accepts = t_array(t_op, COUNT);
    peer          raw[COUNT];
    pro_address   address = t_listen(loop, l);
    for (int i = 0; i < COUNT; i++) pro_accept(&accepts[i].op, l, t_done);
    for (int i = 0; i < COUNT; i++) raw[i] = peer_connect(&address);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_ERROR(accepts[i].error, PRO_OK);
        CHECK_EQ(accepts[i].order, i + 1);
        peer_close(raw[i]);
    }
    t_listener_close(loop, l);
}

/* ---- 5: at the exit -------------------------------------------------------------------------- */

CONFORM(an_accept_pending_at_exit_does_not_hang_the_exit)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    t_op         *accept = t_new_op(), *multi = t_new_op();
    t_listen(loop, l);
    pro_accept(&accept->op, l, t_done);
    pro_accept_multi(&multi->op, l, t_done);
    t_poll(loop);
    pro_scope_close(pro_loop_scope(loop));
    t_run(loop);
    CHECK_DONE(accept, PRO_ECANCELED, 0);
    CHECK_DONE(multi, PRO_ECANCELED, 0);
    t_loop_free(loop);
}

/* ---- 6: no descriptors left ------------------------------------------------------------------ */

/* Before anything is made that a skip would leave behind. */
static void descriptors_can_be_scarce(void)
{
    if (!t_descriptors_exhaust()) t_skip("descriptors cannot be made scarce here");
    t_descriptors_restore();
}

static void no_descriptors(void (*begin)(pro_op *op, pro_listener *l, pro_handler *done))
{
    descriptors_can_be_scarce();
    pro_loop     *loop = t_loop_of_descriptors();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *none = t_new_op(), *one = t_new_op();
    pro_address   address = t_listen(loop, l);
    t_poll(loop);
    peer raw = peer_connect(&address);

    CHECK(t_descriptors_exhaust());
    begin(&none->op, l, t_done);
    t_wait(loop, none);
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    t_descriptors_restore();
    CHECK_ERROR(none->error, PRO_EMFILE);
    CHECK_EQ(none->flags & PRO_MORE, 0);
    CHECK_LT(stats.turns, 20); /* it did not spin */

    /* The connection waited, the listener is well. */
    one->ctx = s;
    one->then = take_into;
    pro_accept(&one->op, l, t_done);
    t_wait(loop, one);
    CHECK_ERROR(one->error, PRO_OK);
    CHECK_EQ(none->done, 1);
    t_close(loop, s);
    peer_close(raw);
    t_listener_close(loop, l);
}

static void begin_accept(pro_op *op, pro_listener *l, pro_handler *done)
{
    pro_accept(op, l, done);
}

static void begin_multi(pro_op *op, pro_listener *l, pro_handler *done)
{
    pro_accept_multi(op, l, done);
}

CONFORM(an_accept_without_descriptors_says_so_and_the_listener_recovers)
{
    no_descriptors(begin_accept);
}

CONFORM(accept_multi_without_descriptors_says_so_and_the_listener_recovers)
{
    no_descriptors(begin_multi);
}

CONFORM(a_socket_or_listener_without_descriptors_stays_the_callers)
{
    descriptors_can_be_scarce();
    pro_loop     *loop = t_loop_of_descriptors();
    pro_socket   *s = t_new(pro_socket), *c = t_new(pro_socket);
    pro_listener *l = t_new(pro_listener);
    t_op         *connect = t_new_op();
    pro_address   address = peer_nobody(), any = pro_address_loopback(PRO_IPV4, 0);
    t_poll(loop);

    CHECK(t_descriptors_exhaust());
    int opened = pro_socket_open(s, loop, NULL, PRO_IPV4);
    int listening = pro_listen(l, loop, NULL, &any, NULL);
    pro_socket_init(c, loop, NULL);
    pro_connect(&connect->op, c, &address, t_done);
    t_wait(loop, connect);
    t_descriptors_restore();
    CHECK_ERROR(opened, PRO_EMFILE);
    CHECK_ERROR(listening, PRO_EMFILE);
    CHECK_DONE(connect, PRO_EMFILE, 0);

    /* All of them can be tried again; the listener last, whose port could be the one that is nobody's. */
    CHECK_ERROR(pro_socket_open(s, loop, NULL, PRO_IPV4), PRO_OK);
    t_op *again = t_new_op();
    pro_connect(&again->op, c, &address, t_done);
    t_wait(loop, again);
    CHECK_DONE(again, PRO_ECONNREFUSED, 0);
    CHECK_ERROR(pro_listen(l, loop, NULL, &any, NULL), PRO_OK);
    t_close(loop, s);
    t_close(loop, c);
    t_listener_close(loop, l);
}

/* ---- 7: listening ---------------------------------------------------------------------------- */

CONFORM(listening_on_a_port_in_use_says_so)
{
    pro_loop     *loop = t_loop();
    pro_listener *first = t_new(pro_listener), *second = t_new(pro_listener);
    pro_address   address = t_listen(loop, first), other = pro_address_loopback(PRO_IPV4, 0);
    CHECK_ERROR(pro_listen(second, loop, NULL, &address, NULL), PRO_EADDRINUSE);
    /* It stayed ours: it may listen elsewhere. */
    CHECK_ERROR(pro_listen(second, loop, NULL, &other, NULL), PRO_OK);
    t_listener_close(loop, second);
    /* And once the first is closed, the port is free at once. */
    t_listener_close(loop, first);
    pro_listener *third = t_new(pro_listener);
    CHECK_ERROR(pro_listen(third, loop, NULL, &address, NULL), PRO_OK);
    t_listener_close(loop, third);
}

CONFORM(a_port_with_connections_that_were_closed_can_be_listened_on_again)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener), *again = t_new(pro_listener);
    t_op         *accept = t_new_op();
    pro_address   address = t_listen(loop, l);
    char          byte;
    peer          raw = peer_connect(&address);
    pro_accept(&accept->op, l, t_done); /* not taken: we close first, and keep the port waiting */
    t_wait(loop, accept);
    CHECK_EQ(peer_read(raw, &byte, 1), 0);
    peer_close(raw);
    t_listener_close(loop, l);
    CHECK_ERROR(pro_listen(again, loop, NULL, &address, NULL), PRO_OK);
    t_listener_close(loop, again);
}

CONFORM(listening_where_it_is_not_possible_says_why)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_scope    *closing = t_new(pro_scope);
    pro_address   none = {0}, foreign, ours = pro_address_loopback(PRO_IPV4, 0);
    CHECK_ERROR(pro_listen(l, loop, NULL, &none, NULL), PRO_EAFNOSUPPORT);
    CHECK_ERROR(pro_address_parse(&foreign, "203.0.113.77:0"), PRO_OK); /* RFC 5737: nobody's */
    CHECK_ERROR(pro_listen(l, loop, NULL, &foreign, NULL), PRO_EADDRNOTAVAIL);
    pro_scope_init(closing, loop, NULL, NULL);
    pro_scope_hold(closing);
    pro_scope_close(closing);
    CHECK_ERROR(pro_listen(l, loop, closing, &ours, NULL), PRO_ECANCELED);
    pro_scope_release(closing);
    t_run(loop);
    CHECK_EQ(pro_listener_descriptor(l), -1);
}

CONFORM(listeners_with_reuse_port_share_an_address)
{
    enum { CLIENTS = 64 };
    pro_loop          *loop = t_loop();
    pro_listener      *one = t_new(pro_listener), *two = t_new(pro_listener);
    pro_listen_options options = {.reuse_port = 1};
    pro_address        address = pro_address_loopback(PRO_IPV4, 0);
    peer               raw[CLIENTS];
    int                error = pro_listen(one, loop, NULL, &address, &options);
    if (error == PRO_ENOTSUP) t_skip("the system has no such option");
    CHECK_ERROR(error, PRO_OK);
    CHECK_ERROR(pro_listener_local(one, &address), PRO_OK);
    CHECK_ERROR(pro_listen(two, loop, NULL, &address, &options), PRO_OK);

    struct multi *m1 = multi_begin(one), *m2 = multi_begin(two);
    for (int i = 0; i < CLIENTS; i++) raw[i] = peer_connect(&address);
    while (m1->taken + m2->taken < CLIENTS) t_turn(loop);
    CHECK_GT(m1->taken, 0); /* one side alone: once in 2^63 */
    CHECK_GT(m2->taken, 0);
    multi_cancel(loop, m1);
    multi_cancel(loop, m2);
    multi_close(loop, m1);
    multi_close(loop, m2);
    for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
    t_listener_close(loop, one);
    t_listener_close(loop, two);
}

CONFORM(an_ipv6_listener_takes_ipv4_unless_told_otherwise)
{
    for (int v6only = 0; v6only < 2; v6only++) {
        pro_loop          *loop = t_loop();
        pro_listener      *l = t_new(pro_listener);
        pro_socket        *s = t_new(pro_socket);
        pro_listen_options options = {.v6only = v6only};
        pro_address        any = pro_address_any(PRO_IPV6, 0);
        t_op              *accept = t_new_op(), *connect = t_new_op();
        int                error = pro_listen(l, loop, NULL, &any, &options);
        if (error == PRO_EAFNOSUPPORT || error == PRO_EADDRNOTAVAIL) t_skip("no IPv6 here");
        CHECK_ERROR(error, PRO_OK);
        CHECK_ERROR(pro_listener_local(l, &any), PRO_OK);
        pro_address v4 = pro_address_loopback(PRO_IPV4, any.port);
        pro_socket_init(s, loop, NULL);
        pro_accept(&accept->op, l, t_done);
        pro_connect(&connect->op, s, &v4, t_done);
        t_wait(loop, connect);
        CHECK_ERROR(connect->error, v6only ? PRO_ECONNREFUSED : PRO_OK);
        if (v6only) pro_listener_cancel(l);
        t_run(loop);
        CHECK_DONE(accept, v6only ? PRO_ECANCELED : PRO_OK, accept->value);
        t_close(loop, s);
        t_listener_close(loop, l);
    }
}

static void take_what_came(t_op *t)
{
    if (t->error == PRO_OK) take_into(t);
}

/* A server that drains gives each accept a moment, until the backlog is empty: then it closes the listener. */
CONFORM(an_accept_whose_moment_passes_before_its_turn_takes_what_stands_in_the_backlog)
{
    enum { OTHERS = 3 };
    pro_loop_options options = t_loop_options();
    options.batch_max = 1;
    pro_loop     *loop = t_loop_with(&options);
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l);
    pro_socket   *first = t_new(pro_socket), *second = t_new(pro_socket);
    t_pair       *pairs[OTHERS];
    t_op         *ops = t_array(t_op, OTHERS), *accept = t_new_op();
    char          bytes[OTHERS];
    for (int i = 0; i < OTHERS; i++) {
        t_op *send = t_new_op();
        pairs[i] = t_pair_new(loop);
        pro_send_all(&send->op, &pairs[i]->b, "two", 3, t_done);
        t_wait(loop, send);
        t_op *recv = t_new_op();
        pro_recv(&recv->op, &pairs[i]->a, &bytes[i], 1, t_done); /* and there is more */
        t_wait(loop, recv);
    }
    peer clients[2] = {peer_connect(&address), peer_connect(&address)};
    accept->ctx = first;
    accept->then = take_what_came;
    pro_accept(&accept->op, l, t_done);
    t_wait(loop, accept);
    CHECK_DONE(accept, PRO_OK, 0);

    for (int i = 0; i < OTHERS; i++) { /* so many turns are full */
        ops[i].op.deadline_ns = pro_loop_now(loop) + 3600 * PRO_SEC;
        pro_recv(&ops[i].op, &pairs[i]->a, &bytes[i], 1, t_done);
    }
    t_op *next = t_new_op();
    next->op.deadline_ns = pro_loop_now(loop) + 1;
    next->ctx = second;
    next->then = take_what_came;
    pro_accept(&next->op, l, t_done);
    t_wait(loop, next);
    /* In bad weather the attempt may fail, and the moment passes. */
    if (next->error != PRO_ETIMEDOUT || !t_has_weather()) CHECK_ERROR(next->error, PRO_OK);
    for (int i = 0; i < OTHERS; i++) t_wait_count(loop, &ops[i].done, 1);
    t_close(loop, first);
    if (next->error == PRO_OK) t_close(loop, second);
    for (int i = 0; i < OTHERS; i++) t_pair_close(loop, pairs[i]);
    for (int i = 0; i < 2; i++) peer_close(clients[i]);
    t_listener_close(loop, l);
}
