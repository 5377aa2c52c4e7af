/* Fixed slots: sockets without a descriptor, where the engine has them; elsewhere the option changes
 * nothing, and the sentences that do not count slots hold all the same.  The whole list runs with slots,
 * too (--slots=N); these are about the table. */
#include <stdio.h>
#include <string.h>

#include <proactor/buffers.h>

#include <proactor/memory.h>

#include "lib/net.h"
#include "lib/os.h"

static pro_loop *loop_with_slots(uint32_t slots)
{
    pro_loop_options o = t_loop_options();
    o.fixed_slots = slots;
    return t_loop_with(&o);
}

static unsigned slots_used(const pro_loop *loop)
{
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    return stats.slots_used;
}

static unsigned slots_of(const pro_loop *loop)
{
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    return stats.slots;
}

static void must_have_slots(pro_loop *loop)
{
    if (slots_of(loop) > 0) return;
    t_loop_free(loop);
    t_skip("no slots here");
}

/* ---- A server that keeps what it accepts ------------------------------------------------------ */

typedef struct server {
    pro_loop    *loop;
    pro_listener listener;
    pro_address  address;
    t_op         accept;
    pro_socket  *taken;
    int          count, max, last, last_error;
} server;

static void keep(t_op *t)
{
    server *s = t->ctx;
    if (!(t->flags & PRO_MORE)) {
        s->last++;
        s->last_error = t->error;
        return;
    }
    CHECK_ERROR(t->error, PRO_OK);
    CHECK_LT(s->count, s->max);
    CHECK_ERROR(pro_accept_take(&t->op, &s->taken[s->count++], NULL), PRO_OK);
}

static server *server_new(pro_loop *loop, int max)
{
    server *s = t_new(server);
    s->loop = loop;
    s->max = max;
    s->taken = t_array(pro_socket, (size_t)max);
    s->address = t_listen(loop, &s->listener);
    s->accept.ctx = s;
    s->accept.then = keep;
    pro_accept_multi(&s->accept.op, &s->listener, t_done);
    return s;
}

/* One client after the other, so that the backlog is no limit; all of them are answered for. */
static void connect_some(server *s, peer *raw, int count)
{
    for (int i = 0; i < count; i++) {
        raw[i] = peer_connect(&s->address);
        if (i % 16 == 15) t_poll(s->loop);
    }
    t_wait_count(s->loop, &s->count, s->count > count ? s->count : count);
}

static void check_echo(server *s, int i, peer raw)
{
    t_op *receive = t_new_op(), *send = t_new_op();
    char  byte = (char)i, back = 0;
    CHECK(peer_write(raw, &byte, 1));
    pro_recv(&receive->op, &s->taken[i], &back, 1, t_done);
    t_wait(s->loop, receive);
    CHECK_DONE(receive, PRO_OK, 1);
    pro_send_all(&send->op, &s->taken[i], &back, 1, t_done);
    t_wait(s->loop, send);
    CHECK_EQ(peer_read(raw, &back, 1), 1);
    CHECK_EQ(back, byte);
}

static void server_close(server *s)
{
    t_listener_close(s->loop, &s->listener);
    CHECK_EQ(s->last, 1);
    CHECK_ERROR(s->last_error, PRO_ECANCELED);
}

/* ---- The sentences ---------------------------------------------------------------------------- */

CONFORM(the_option_of_slots_changes_nothing_but_where_sockets_are)
{
    pro_loop *loop = loop_with_slots(8);
    char      text[4000];
    peer      raw[2];
    pro_loop_explain(loop, text, sizeof text);
    CHECK(strstr(text, "fixed_slots") != NULL || strstr(text, "fixed slots") != NULL);
    server *s = server_new(loop, 2);
    connect_some(s, raw, 2);
    for (int i = 0; i < 2; i++) check_echo(s, i, raw[i]);
    CHECK_EQ(slots_used(loop), slots_of(loop) > 0 ? 2 : 0);
    for (int i = 0; i < 2; i++) {
        t_close(loop, &s->taken[i]);
        CHECK_EQ(peer_read(raw[i], text, 1), 0);
        peer_close(raw[i]);
    }
    CHECK_EQ(slots_used(loop), 0);
    server_close(s);
}

CONFORM(a_slot_needs_no_descriptor)
{
    if (!t_descriptors_exhaust()) t_skip("descriptors cannot be made scarce here");
    t_descriptors_restore();
    pro_loop *loop = loop_with_slots(8);
    must_have_slots(loop);
    server     *s = server_new(loop, 2);
    pro_socket *own = t_new(pro_socket), *other = t_new(pro_socket);
    t_op       *shutdown = t_new_op();
    char        byte;
    t_poll(loop);
    peer raw = peer_connect(&s->address), raw_other = peer_connect(&s->address);

    CHECK(t_descriptors_exhaust());
    t_wait_count(loop, &s->count, 2);
    int opened = pro_socket_open(own, loop, NULL, PRO_IPV4);
    int asked = pro_socket_set(own, PRO_OPT_NODELAY, 1);
    int needs = pro_socket_set(own, PRO_OPT_KEEPALIVE, 1);
    /* What it is asked for needs one, which it has not got: it stays where it is. */
    intptr_t descriptor = pro_socket_descriptor(&s->taken[0]);
    pro_shutdown(&shutdown->op, &s->taken[1], t_done);
    t_wait(loop, shutdown);
    t_descriptors_restore();
    CHECK_ERROR(opened, PRO_OK);
    CHECK_ERROR(asked, PRO_OK);
    CHECK_ERROR(needs, PRO_EMFILE);
    CHECK_EQ(descriptor, -1);
    CHECK_DONE(shutdown, PRO_OK, 0);
    CHECK_EQ(peer_read(raw_other, &byte, 1), 0);
    CHECK_EQ(slots_used(loop), 3);
    check_echo(s, 0, raw);
    CHECK_ERROR(pro_socket_open(other, loop, NULL, PRO_IPV6), PRO_OK);
    CHECK_EQ(slots_used(loop), 4);
    t_close(loop, own);
    t_close(loop, other);
    for (int i = 0; i < 2; i++) t_close(loop, &s->taken[i]);
    peer_close(raw);
    peer_close(raw_other);
    CHECK_EQ(slots_used(loop), 0);
    server_close(s);
}

/* Nothing but a reset frees the memory of what a peer does not read. */
CONFORM(a_send_that_is_not_copied_is_cut_in_a_slot_where_no_descriptor_is_left)
{
    enum { BIG = 6 << 20 };
    if (!t_descriptors_exhaust()) t_skip("descriptors cannot be made scarce here");
    t_descriptors_restore();
    pro_loop_options o = t_loop_options();
    o.fixed_slots = 8;
    o.zerocopy_min = 1;
    pro_loop *loop = t_loop_with(&o);
    must_have_slots(loop);
    server *s = server_new(loop, 1);
    t_op   *send = t_new_op(), *close = t_new_op();
    peer    raw = peer_connect(&s->address);
    t_wait_count(loop, &s->count, 1);
    pro_send_zerocopy(&send->op, &s->taken[0], t_alloc(BIG), BIG, t_done);
    t_settle(loop);
    CHECK_EQ(send->done, 0);
    CHECK(t_descriptors_exhaust());
    pro_close(&close->op, &s->taken[0], t_done);
    t_settle(loop);
    t_descriptors_restore();
    CHECK_DONE(send, PRO_ECANCELED, send->value);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_EQ(slots_used(loop), 0);
    peer_close(raw);
    server_close(s);
}

CONFORM(when_all_slots_are_used_descriptors_follow_and_what_is_closed_is_used_again)
{
    enum { SLOTS = 4, CLIENTS = 10 };
    pro_loop *loop = loop_with_slots(SLOTS);
    server   *s = server_new(loop, 2 * CLIENTS);
    peer      raw[CLIENTS];
    unsigned  full = slots_of(loop);
    for (int round = 0; round < 3; round++) {
        s->count = 0;
        memset(s->taken, 0, CLIENTS * sizeof s->taken[0]);
        connect_some(s, raw, CLIENTS);
        CHECK_EQ(slots_used(loop), full);
        for (int i = 0; i < CLIENTS; i++) check_echo(s, i, raw[i]);
        for (int i = 0; i < CLIENTS; i++) t_close(loop, &s->taken[i]);
        for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
        CHECK_EQ(slots_used(loop), 0);
    }
    server_close(s);
}

/* So many connections at a time, of which nobody hears before the last one came. */
static void run_out_of_slots(int burst)
{
    enum { SLOTS = 200, CLIENTS = 260 };
    pro_loop_options o = t_loop_options();
    o.fixed_slots = SLOTS;
    o.queue_len = 4; /* so that a multishot accept stands until 128 slots are left */
    o.batch_max = 1;
    pro_loop *loop = t_loop_with(&o);
    server   *s = server_new(loop, CLIENTS);
    peer     *raw = t_array(peer, CLIENTS);
    t_poll(loop);
    for (int i = 0; i < CLIENTS; i++) {
        raw[i] = peer_connect(&s->address);
        if (i % burst == burst - 1) t_wait_count(loop, &s->count, i + 1);
    }
    t_wait_count(loop, &s->count, CLIENTS);
    CHECK_EQ(slots_used(loop), slots_of(loop));
    for (int i = 0; i < CLIENTS; i += 7) check_echo(s, i, raw[i]);
    for (int i = 0; i < CLIENTS; i++) t_close(loop, &s->taken[i]);
    for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
    CHECK_EQ(slots_used(loop), 0);
    server_close(s);
}

CONFORM(no_connection_is_lost_where_the_slots_run_out_in_a_burst) { run_out_of_slots(100); }

CONFORM(no_connection_is_lost_where_the_slots_run_out_under_a_multishot_accept)
{
    run_out_of_slots(13);
}

CONFORM(sockets_that_are_opened_leave_alone_the_slots_that_a_multishot_accept_may_take)
{
    enum { SOCKETS = 150, CLIENTS = 60 };
    pro_loop_options o = t_loop_options();
    o.fixed_slots = 200;
    o.queue_len = 4;
    pro_loop   *loop = t_loop_with(&o);
    server     *s = server_new(loop, CLIENTS);
    pro_socket *opened = t_array(pro_socket, SOCKETS);
    peer        raw[CLIENTS];
    t_poll(loop);
    for (int i = 0; i < SOCKETS; i++)
        CHECK_ERROR(pro_socket_open(&opened[i], loop, NULL, PRO_IPV4), PRO_OK);
    for (int i = 0; i < CLIENTS; i++) raw[i] = peer_connect(&s->address);
    t_wait_count(loop, &s->count, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) check_echo(s, i, raw[i]);
    for (int i = 0; i < CLIENTS; i++) t_close(loop, &s->taken[i]);
    for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
    for (int i = 0; i < SOCKETS; i++) t_close(loop, &opened[i]);
    CHECK_EQ(slots_used(loop), 0);
    server_close(s);
}

CONFORM(two_accepts_do_not_count_on_the_same_slot)
{
    pro_loop *loop = loop_with_slots(1);
    server   *s[2];
    peer      raw[2];
    for (int i = 0; i < 2; i++) s[i] = server_new(loop, 1);
    t_poll(loop); /* both stand in the ring */
    for (int i = 0; i < 2; i++) raw[i] = peer_connect(&s[i]->address);
    for (int i = 0; i < 2; i++) t_wait_count(loop, &s[i]->count, 1);
    CHECK_EQ(slots_used(loop), slots_of(loop));
    for (int i = 0; i < 2; i++) check_echo(s[i], 0, raw[i]);
    for (int i = 0; i < 2; i++) t_close(loop, &s[i]->taken[0]);
    for (int i = 0; i < 2; i++) peer_close(raw[i]);
    CHECK_EQ(slots_used(loop), 0);
    for (int i = 0; i < 2; i++) server_close(s[i]);
}

CONFORM(connections_that_come_while_a_multishot_accept_is_canceled_leave_no_slot_behind)
{
    enum { CLIENTS = 20 };
    for (int closes = 0; closes < 2; closes++) {
        pro_loop *loop = loop_with_slots(8192); /* room for a multishot accept */
        server   *s = server_new(loop, CLIENTS);
        t_op     *close = t_new_op();
        peer      raw[CLIENTS];
        t_poll(loop);
        for (int i = 0; i < CLIENTS; i++) raw[i] = peer_connect(&s->address);
        if (closes)
            pro_listener_close(&close->op, &s->listener, t_done);
        else
            pro_cancel(&s->accept.op);
        t_run(loop);
        CHECK_EQ(s->last, 1);
        CHECK_EQ(slots_used(loop), slots_of(loop) > 0 ? s->count : 0);
        for (int i = 0; i < s->count; i++) t_close(loop, &s->taken[i]);
        if (!closes) t_listener_close(loop, &s->listener);
        CHECK_EQ(slots_used(loop), 0);
        for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
        t_loop_free(loop);
    }
}

CONFORM(who_asks_for_the_descriptor_of_a_slot_gets_one_while_a_receive_is_in_flight)
{
    pro_loop *loop = loop_with_slots(8);
    must_have_slots(loop);
    server *s = server_new(loop, 1);
    t_op   *receive = t_new_op();
    char    buf[8] = {0};
    peer    raw;
    connect_some(s, &raw, 1);
    pro_recv(&receive->op, &s->taken[0], buf, sizeof buf, t_done);
    t_poll(loop);
    CHECK_EQ(slots_used(loop), 1);
    intptr_t descriptor = pro_socket_descriptor(&s->taken[0]);
    CHECK(descriptor >= 0);
    CHECK_EQ(pro_socket_descriptor(&s->taken[0]), descriptor);
    CHECK_EQ(slots_used(loop), 0);
    CHECK(peer_write(raw, "abc", 3));
    t_wait(loop, receive);
    CHECK_DONE(receive, PRO_OK, 3);
    check_echo(s, 0, raw);

    /* And a cancel still finds what began in the slot. */
    t_op *canceled = t_new_op();
    pro_recv(&canceled->op, &s->taken[0], buf, sizeof buf, t_done);
    t_close(loop, &s->taken[0]);
    CHECK_DONE(canceled, PRO_ECANCELED, 0);
    CHECK_EQ(peer_read(raw, buf, 1), 0);
    peer_close(raw);
    server_close(s);
}

/* Each answer stands behind many completions, in a queue that they fill. */
static void ask_much(t_op *t)
{
    pro_socket *s = t->ctx;
    pro_address peer_at, local;
    int         nodelay = 0;
    CHECK_ERROR(pro_socket_set(s, PRO_OPT_NODELAY, 1), PRO_OK);
    CHECK_ERROR(pro_socket_get(s, PRO_OPT_NODELAY, &nodelay), PRO_OK);
    CHECK_EQ(nodelay, 1);
    CHECK_ERROR(pro_socket_peer(s, &peer_at), PRO_OK);
    CHECK_ERROR(pro_socket_local(s, &local), PRO_OK);
    CHECK_EQ(peer_at.family, PRO_IPV4);
    CHECK_EQ(local.family, PRO_IPV4);
}

CONFORM(what_is_asked_of_a_slot_at_once_loses_no_completion)
{
    enum { CLIENTS = 150 };
    pro_loop_options o = t_loop_options();
    o.fixed_slots = 1024;
    o.queue_len = 4;
    o.batch_max = 1;
    pro_loop *loop = t_loop_with(&o);
    server   *s = server_new(loop, CLIENTS);
    peer     *raw = t_array(peer, CLIENTS);
    t_op     *receives = t_array(t_op, CLIENTS);
    char     *bytes = t_array(char, CLIENTS);
    connect_some(s, raw, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        receives[i].ctx = &s->taken[i];
        receives[i].then = ask_much;
        pro_recv(&receives[i].op, &s->taken[i], &bytes[i], 1, t_done);
    }
    t_settle(loop);
    for (int i = 0; i < 200; i++) t_poll(loop); /* all of them stand in the ring */
    for (int i = 0; i < CLIENTS; i++) {
        char byte = (char)i;
        CHECK(peer_write(raw[i], &byte, 1));
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (!receives[i].done) t_wait(loop, &receives[i]);
        CHECK_DONE(&receives[i], PRO_OK, 1);
        CHECK_EQ(bytes[i], (char)i);
    }
    for (int i = 0; i < CLIENTS; i++) t_close(loop, &s->taken[i]);
    for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
    CHECK_EQ(slots_used(loop), 0);
    server_close(s);
}

/* A multishot receive in buffers of a few bytes, whose handlers ask; the first one gets it more. */
struct story {
    t_op        op;
    pro_socket *s;
    peer        raw;
    char        out[2000], in[2000];
    size_t      len, got;
};

static void read_on(t_op *t)
{
    struct story *x = pro_container_of(t, struct story, op);
    if (t->error) return;
    CHECK_LE(x->got + (size_t)t->value, sizeof x->in);
    memcpy(x->in + x->got, pro_lease_peek(&t->op), (size_t)t->value);
    x->got += (size_t)t->value;
    if (x->len < sizeof x->out) {
        CHECK(peer_write(x->raw, x->out + x->len, 200));
        x->len += 200;
    }
    t->ctx = x->s;
    ask_much(t);
}

CONFORM(what_is_asked_of_a_slot_at_once_changes_no_order_of_bytes)
{
    enum { CLIENTS = 150, BUFFERS = 512, SIZE = 4 };
    pro_loop_options o = t_loop_options();
    o.fixed_slots = 1024;
    o.queue_len = 4;
    pro_loop *loop = t_loop_with(&o);
    must_have_slots(loop);
    server       *s = server_new(loop, CLIENTS);
    struct story *x = t_new(struct story);
    t_op         *receives = t_array(t_op, CLIENTS);
    char         *bytes = t_array(char, CLIENTS);
    pro_buffers  *buffers = NULL;
    peer          raw[CLIENTS];
    CHECK_ERROR(pro_buffers_new(&buffers, loop, BUFFERS, SIZE), PRO_OK);
    connect_some(s, raw, CLIENTS);
    x->s = &s->taken[0];
    x->raw = raw[0];
    x->op.then = read_on;
    t_fill(x->out, sizeof x->out, 7, 0);
    pro_recv_multi(&x->op.op, x->s, buffers, t_done);
    for (int i = 1; i < CLIENTS; i++) {
        receives[i].ctx = &s->taken[i];
        receives[i].then = ask_much;
        pro_recv(&receives[i].op, &s->taken[i], &bytes[i], 1, t_done);
    }
    t_settle(loop);
    for (int i = 0; i < 100; i++) t_poll(loop); /* all of them stand in the ring */
    for (int i = 1; i < CLIENTS; i++) CHECK(peer_write(raw[i], "x", 1));
    x->len = 200;
    CHECK(peer_write(x->raw, x->out, x->len));
    while (x->got < sizeof x->out && !(x->op.done && x->op.error)) t_turn(loop);
    CHECK_ERROR(x->op.error, PRO_OK);
    CHECK_FILL(x->in, sizeof x->in, 7, 0);
    for (int i = 0; i < CLIENTS; i++) t_close(loop, &s->taken[i]);
    for (int i = 0; i < CLIENTS; i++) peer_close(raw[i]);
    CHECK_EQ(slots_used(loop), 0);
    CHECK_ERROR(pro_buffers_free(buffers), PRO_OK);
    t_listener_close(loop, &s->listener);
    t_loop_free(loop);
}

CONFORM(many_closes_at_once_give_every_slot_back)
{
    enum { COUNT = 600 };
    pro_loop_options o = t_loop_options();
    o.fixed_slots = 1024;
    o.queue_len = 4; /* more closes than there are entries, or tickets */
    pro_loop   *loop = t_loop_with(&o);
    pro_socket *sockets = t_array(pro_socket, COUNT);
    t_op       *closes = t_array(t_op, COUNT);
    t_poll(loop);
    for (int i = 0; i < COUNT; i++)
        CHECK_ERROR(pro_socket_open(&sockets[i], loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_EQ(slots_used(loop), slots_of(loop) > 0 ? COUNT : 0);
    for (int i = 0; i < COUNT; i++) pro_close(&closes[i].op, &sockets[i], t_done);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) CHECK_DONE(&closes[i], PRO_OK, 0);
    CHECK_EQ(slots_used(loop), 0);
}
