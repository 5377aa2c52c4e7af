/* Scopes: counting, draining, closing, and being told.
 * Covers 33 (scopes), 61 of the list, and what the contract says of scopes. */
#include "lib/net.h"

#define HOUR (3600 * PRO_SEC)

/* A scope that notes what it is told, and when. */
typedef struct noted {
    pro_scope scope;
    int       stopped, stop_order;
    int       drained, drain_order;
    uint32_t  live_at_end;
} noted;

static _Thread_local int orders;

static void note_stop(pro_scope *scope)
{
    noted *n = pro_container_of(scope, noted, scope);
    n->stopped++;
    n->stop_order = ++orders;
}

static void note_drained(pro_scope *scope)
{
    noted *n = pro_container_of(scope, noted, scope);
    n->drained++;
    n->drain_order = ++orders;
    n->live_at_end = pro_scope_live(scope);
}

static noted *noted_new(pro_loop *loop, noted *parent)
{
    noted *n = t_new(noted);
    pro_scope_init(&n->scope, loop, parent ? &parent->scope : NULL, note_drained);
    pro_scope_on_stop(&n->scope, note_stop);
    orders = 0;
    return n;
}

/* ---- Counting -------------------------------------------------------------------------------- */

CONFORM(a_scope_counts_operations_handles_children_and_holds)
{
    pro_loop *loop = t_loop();
    noted    *n = noted_new(loop, NULL);
    CHECK_EQ(pro_scope_live(&n->scope), 0);
    pro_scope_hold(&n->scope);
    CHECK_EQ(pro_scope_live(&n->scope), 1);
    noted *child = noted_new(loop, n);
    CHECK_EQ(pro_scope_live(&n->scope), 2);
    t_op *timer = t_new_op();
    timer->op.scope = &n->scope;
    pro_sleep(&timer->op, loop, 0, t_done);
    CHECK_EQ(pro_scope_live(&n->scope), 3);
    pro_socket *s = t_new(pro_socket);
    pro_socket_init(s, loop, &n->scope);
    CHECK_EQ(pro_scope_live(&n->scope), 4);
    t_wait(loop, timer);
    CHECK_EQ(pro_scope_live(&n->scope), 3);
    t_close(loop, s);
    CHECK_EQ(pro_scope_live(&n->scope), 2);
    pro_scope_close(&child->scope);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(child->drained, 1);
    CHECK_EQ(pro_scope_live(&n->scope), 1);
    pro_scope_release(&n->scope);
    CHECK_EQ(pro_scope_live(&n->scope), 0);
    /* Zero alone is not the end: nobody asked. */
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(n->drained, 0);
    pro_scope_drain(&n->scope, PRO_NEVER);
    CHECK_EQ(n->drained, 0); /* never inside */
    t_run(loop);
    CHECK_EQ(n->drained, 1);
    CHECK_EQ(n->live_at_end, 0);
}

static void look_at_live(t_op *t) { CHECK_EQ(pro_scope_live(t->op.scope), 1); }

CONFORM(the_count_is_held_until_the_handler_returns)
{
    pro_loop *loop = t_loop();
    noted    *n = noted_new(loop, NULL);
    t_op     *timer = t_new_op();
    timer->op.scope = &n->scope;
    timer->then = look_at_live;
    pro_sleep(&timer->op, loop, 0, t_done);
    pro_scope_drain(&n->scope, PRO_NEVER);
    t_run(loop);
    CHECK_DONE(timer, PRO_OK, 0);
    CHECK_EQ(n->drained, 1);
}

CONFORM(an_operation_counts_in_the_scope_of_its_handle_unless_it_has_one)
{
    pro_loop *loop = t_loop();
    noted    *handles = noted_new(loop, NULL), *own = noted_new(loop, NULL);
    t_pair   *pair = t_pair_in(loop, &handles->scope, NULL);
    t_op     *one = t_new_op(), *two = t_new_op();
    char      bytes[2];
    CHECK_EQ(pro_scope_live(&handles->scope), 1);
    pro_recv(&one->op, &pair->a, bytes, 1, t_done);
    CHECK_EQ(pro_scope_live(&handles->scope), 2);
    two->op.scope = &own->scope;
    pro_recv(&two->op, &pair->a, bytes + 1, 1, t_done);
    CHECK_EQ(pro_scope_live(&handles->scope), 2);
    CHECK_EQ(pro_scope_live(&own->scope), 1);
    pro_scope_close(&own->scope); /* ends its operation, not the socket */
    t_wait(loop, two);
    CHECK_DONE(two, PRO_ECANCELED, 0);
    CHECK_EQ(one->done, 0);
    CHECK(one->op.scope == NULL);
    pro_scope_close(&handles->scope);
    t_run(loop);
    CHECK_DONE(one, PRO_ECANCELED, 0);
    CHECK_EQ(own->drained, 1);
    CHECK_EQ(handles->drained, 1);
    t_close(loop, &pair->b);
}

/* ---- Closing --------------------------------------------------------------------------------- */

CONFORM(closing_a_scope_cancels_closes_and_tells_once)
{
    pro_loop     *loop = t_loop();
    noted        *outer = noted_new(loop, NULL), *inner = noted_new(loop, outer);
    t_pair       *pair = t_pair_in(loop, &outer->scope, &inner->scope);
    pro_listener *l = t_new(pro_listener);
    t_op         *t = t_array(t_op, 4);
    char          bytes[2];
    pro_address   address = pro_address_loopback(PRO_IPV4, 0);
    CHECK_ERROR(pro_listen(l, loop, &inner->scope, &address, NULL), PRO_OK);
    pro_recv(&t[0].op, &pair->a, bytes, 1, t_done);
    pro_recv(&t[1].op, &pair->b, bytes + 1, 1, t_done);
    pro_accept(&t[2].op, l, t_done);
    t[3].op.scope = &inner->scope;
    pro_sleep(&t[3].op, loop, HOUR, t_done);
    t_poll(loop);
    orders = 0;
    int before = t_completions();
    pro_scope_close(&outer->scope);
    pro_scope_close(&outer->scope);
    CHECK_EQ(t_completions(), before);
    CHECK_EQ(orders, 0);
    CHECK(pro_scope_closing(&outer->scope) && pro_scope_draining(&outer->scope));
    CHECK(pro_scope_closing(&inner->scope));
    t_run(loop);
    for (int i = 0; i < 4; i++) CHECK_DONE(&t[i], PRO_ECANCELED, 0);
    CHECK_EQ(pro_socket_descriptor(&pair->a), -1);
    CHECK_EQ(pro_socket_descriptor(&pair->b), -1);
    CHECK_EQ(pro_listener_descriptor(l), -1);
    CHECK_EQ(inner->drained, 1);
    CHECK_EQ(outer->drained, 1);
    CHECK_LT(inner->drain_order, outer->drain_order); /* a child before its parent */
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(outer->drained, 1);
}

CONFORM(initiating_in_a_closing_scope_is_canceled_but_closing_works)
{
    pro_loop     *loop = t_loop();
    noted        *n = noted_new(loop, NULL);
    t_pair       *pair = t_pair_new(loop); /* not of the scope */
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *t = t_array(t_op, 8), *close = t_new_op(), *fine = t_new_op();
    char          bytes[2];
    t_listen(loop, l);
    pro_scope_hold(&n->scope);
    pro_scope_close(&n->scope);
    for (int i = 0; i < 8; i++) t[i].op.scope = &n->scope;
    pro_recv(&t[0].op, &pair->a, bytes, 1, t_done);
    pro_recv_exactly(&t[1].op, &pair->a, bytes, 1, t_done);
    pro_send(&t[2].op, &pair->a, "x", 1, t_done);
    pro_send_all(&t[3].op, &pair->a, "x", 1, t_done);
    pro_sleep(&t[4].op, loop, 0, t_done);
    pro_accept(&t[5].op, l, t_done);
    pro_accept_multi(&t[6].op, l, t_done);
    pro_shutdown(&t[7].op, &pair->a, t_done);
    int before = t_completions();
    CHECK_EQ(t[0].done, 0);
    for (int i = 0; i < 8; i++) t_wait_count(loop, &t[i].done, 1);
    CHECK_EQ(t_completions(), before + 8);
    for (int i = 0; i < 8; i++) CHECK_DONE(&t[i], PRO_ECANCELED, 0);
    CHECK_ERROR(pro_socket_open(s, loop, &n->scope, PRO_IPV4), PRO_ECANCELED);

    /* Outside of it all goes on; the refused ones left no trace on the socket. */
    pro_send(&fine->op, &pair->a, "y", 1, t_done);
    pro_recv(&t[0].op, &pair->b, bytes, 1, t_done); /* still in the closing scope */
    t_wait_count(loop, &fine->done, 1);
    CHECK_DONE(fine, PRO_OK, 1);
    close->op.scope = &n->scope;
    pro_close(&close->op, &pair->a, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_EQ(n->drained, 0);
    pro_scope_release(&n->scope);
    t_run(loop);
    CHECK_EQ(n->drained, 1);
    t_close(loop, &pair->b);
    t_listener_close(loop, l);
}

static void close_and_free_later(t_op *t)
{
    pro_scope_close(t->op.scope);
    pro_scope_close(t->op.scope);
}

CONFORM(a_scope_may_be_closed_in_a_handler_of_its_own)
{
    pro_loop *loop = t_loop();
    noted    *n = noted_new(loop, NULL);
    t_pair   *pair = t_pair_in(loop, &n->scope, &n->scope);
    t_op     *recv = t_new_op(), *other = t_new_op(), *send = t_new_op();
    char      bytes[2];
    recv->op.scope = &n->scope;
    recv->then = close_and_free_later;
    pro_recv(&recv->op, &pair->a, bytes, 1, t_done);
    pro_recv(&other->op, &pair->b, bytes + 1, 1, t_done);
    pro_send(&send->op, &pair->b, "x", 1, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, 1);
    CHECK_DONE(other, PRO_ECANCELED, 0);
    CHECK_EQ(n->drained, 1);
}

/* ---- Draining -------------------------------------------------------------------------------- */

CONFORM(draining_tells_each_on_stop_once_from_the_top)
{
    pro_loop *loop = t_loop();
    noted    *top = noted_new(loop, NULL);
    noted    *left = noted_new(loop, top), *right = noted_new(loop, top);
    noted    *leaf = noted_new(loop, left);
    noted    *beside = noted_new(loop, NULL);
    noted    *all[] = {top, left, right, leaf};
    pro_scope_hold(&leaf->scope);
    pro_scope_hold(&right->scope);
    pro_scope_drain(&top->scope, PRO_NEVER);
    pro_scope_drain(&top->scope, PRO_NEVER);
    CHECK_EQ(orders, 0);
    for (int i = 0; i < 4; i++) t_poll(loop);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(all[i]->stopped, 1);
        CHECK_EQ(all[i]->drained, 0);
        CHECK(pro_scope_draining(&all[i]->scope));
        CHECK(!pro_scope_closing(&all[i]->scope));
    }
    CHECK_EQ(top->stop_order, 1);
    CHECK_LT(left->stop_order, leaf->stop_order);
    CHECK_EQ(beside->stopped, 0);
    CHECK(!pro_scope_draining(&beside->scope));

    pro_scope_release(&leaf->scope);
    pro_scope_release(&right->scope);
    t_run(loop);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(all[i]->stopped, 1);
        CHECK_EQ(all[i]->drained, 1);
    }
    CHECK_LT(leaf->drain_order, left->drain_order);
    CHECK_LT(left->drain_order, top->drain_order);
    CHECK_LT(right->drain_order, top->drain_order);
    pro_scope_close(&beside->scope);
    t_run(loop);
}

CONFORM(a_draining_scope_lets_operations_finish_and_closes_what_is_left)
{
    pro_loop *loop = t_loop();
    noted    *n = noted_new(loop, NULL);
    t_pair   *pair = t_pair_in(loop, &n->scope, NULL);
    t_op     *recv = t_new_op(), *late = t_new_op(), *send = t_new_op(), *end = t_new_op();
    char      byte, end_byte;
    pro_recv(&recv->op, &pair->a, &byte, 1, t_done);
    pro_scope_drain(&n->scope, PRO_NEVER);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(recv->done, 0);
    CHECK_EQ(n->drained, 0);
    CHECK_GE(pro_socket_descriptor(&pair->a), 0);
    /* Initiating in a draining scope is allowed. */
    pro_send(&late->op, &pair->a, "x", 1, t_done);
    pro_send(&send->op, &pair->b, "y", 1, t_done);
    pro_recv(&end->op, &pair->b, &end_byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, 1);
    CHECK_DONE(late, PRO_OK, 1);
    CHECK_DONE(end, PRO_OK, 1);
    /* Nothing but the open socket was left: it was closed. */
    CHECK_EQ(n->drained, 1);
    CHECK_EQ(pro_socket_descriptor(&pair->a), -1);
    t_close(loop, &pair->b);
}

CONFORM(a_drain_becomes_a_close_at_its_deadline)
{
    pro_loop *loop = t_loop_clocked();
    noted    *n = noted_new(loop, NULL);
    t_pair   *pair = t_pair_in(loop, &n->scope, NULL);
    t_op     *recv = t_new_op();
    char      byte;
    uint64_t  now = pro_loop_now(loop);
    pro_recv(&recv->op, &pair->a, &byte, 1, t_done);
    pro_scope_drain(&n->scope, now + 2 * HOUR);
    pro_scope_drain(&n->scope, now + HOUR);     /* earlier: counts */
    pro_scope_drain(&n->scope, now + 3 * HOUR); /* later: does not */
    pro_scope_drain(&n->scope, PRO_NEVER);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(n->stopped, 1);
    CHECK_EQ(recv->done, 0);
    CHECK(!pro_scope_closing(&n->scope));
    t_clock_advance(HOUR + PRO_SEC);
    t_run(loop);
    CHECK_DONE(recv, PRO_ECANCELED, 0);
    CHECK_EQ(n->drained, 1);
    t_close(loop, &pair->b);
}

CONFORM(a_drain_of_which_the_deadline_is_past_closes)
{
    pro_loop *loop = t_loop();
    noted    *n = noted_new(loop, NULL);
    t_op     *timer = t_new_op();
    timer->op.scope = &n->scope;
    pro_sleep(&timer->op, loop, HOUR, t_done);
    pro_scope_drain(&n->scope, 1);
    CHECK_EQ(timer->done, 0);
    t_run(loop);
    CHECK_DONE(timer, PRO_ECANCELED, 0);
    CHECK_EQ(n->drained, 1);
}

CONFORM(a_child_of_a_draining_or_closing_scope_starts_in_that_state)
{
    pro_loop *loop = t_loop();
    noted    *draining = noted_new(loop, NULL), *closing = noted_new(loop, NULL);
    pro_scope_hold(&draining->scope);
    pro_scope_hold(&closing->scope);
    pro_scope_drain(&draining->scope, PRO_NEVER);
    pro_scope_close(&closing->scope);
    noted *one = noted_new(loop, draining), *two = noted_new(loop, closing);
    CHECK(pro_scope_draining(&one->scope));
    CHECK(!pro_scope_closing(&one->scope));
    CHECK(pro_scope_closing(&two->scope));
    CHECK_EQ(one->stopped, 0); /* on the next turn, never inside */
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(one->stopped, 1);
    pro_scope_release(&draining->scope);
    pro_scope_release(&closing->scope);
    t_run(loop);
    CHECK_EQ(one->drained, 1);
    CHECK_EQ(two->drained, 1);
    CHECK_EQ(draining->drained, 1);
    CHECK_EQ(closing->drained, 1);
}

static void close_listener(pro_scope *scope)
{
    t_op *close = t_new_op();
    pro_listener_close(&close->op, scope->user, t_done);
}

CONFORM(draining_the_root_is_a_graceful_shutdown)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    noted        *server = noted_new(loop, NULL);
    t_op         *multi = t_new_op(), *recv = t_new_op(), *send = t_new_op();
    pro_address   address = pro_address_loopback(PRO_IPV4, 0);
    char          byte;
    CHECK_ERROR(pro_listen(l, loop, &server->scope, &address, NULL), PRO_OK);
    server->scope.user = l;
    pro_scope_on_stop(&server->scope, close_listener);
    pro_accept_multi(&multi->op, l, t_done);
    t_pair *pair = t_pair_in(loop, &server->scope, NULL);
    pro_recv(&recv->op, &pair->a, &byte, 1, t_done); /* the connection that is still busy */
    pro_scope_drain(pro_loop_scope(loop), PRO_NEVER);
    t_wait_count(loop, &multi->done, 1);
    CHECK_DONE(multi, PRO_ECANCELED, 0);
    CHECK_EQ(recv->done, 0);
    pro_send(&send->op, &pair->b, "x", 1, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, 1);
    CHECK_EQ(server->drained, 1);
    CHECK(pro_scope_closing(pro_loop_scope(loop)) || pro_scope_live(pro_loop_scope(loop)) == 0);
    t_loop_free(loop);
}

struct server {
    pro_loop *loop;
    int       freed;
};

struct session {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    int       *freed;
    char       buf[64];
};

static void session_drained(pro_scope *scope)
{
    struct session *s = pro_container_of(scope, struct session, scope);
    int            *freed = s->freed;
    memset(s, 0xdd, sizeof *s); /* all of it is the caller's */
    ++*freed;
}

static void session_received(pro_op *op)
{
    struct session *s = op->user;
    if (op->error == PRO_OK)
        pro_recv(op, &s->sock, s->buf, sizeof s->buf, session_received);
    else
        pro_scope_close(&s->scope);
}

static void session_accepted(t_op *t)
{
    if (t->error != PRO_OK) return;
    struct server  *x = t->ctx;
    struct session *s = t_new(struct session);
    s->freed = &x->freed;
    pro_scope_init(&s->scope, x->loop, NULL, session_drained);
    CHECK_ERROR(pro_accept_take(&t->op, &s->sock, &s->scope), PRO_OK);
    s->op.user = s;
    pro_recv(&s->op, &s->sock, s->buf, sizeof s->buf, session_received);
}

/* The shape that a server has: one allocation per connection, and on_drained is where it goes. */
CONFORM(the_memory_of_a_session_is_the_callers_when_its_scope_is_drained)
{
    enum { CLIENTS = 20 };
    struct server x = {t_loop(), 0};
    pro_listener *l = t_new(pro_listener);
    t_op         *multi = t_new_op();
    pro_address   address = t_listen(x.loop, l);
    peer          raw[CLIENTS];
    multi->ctx = &x;
    multi->then = session_accepted;
    pro_accept_multi(&multi->op, l, t_done);
    for (int i = 0; i < CLIENTS; i++) {
        raw[i] = peer_connect(&address);
        CHECK(peer_write(raw[i], "hello", 5));
        /* Only then: a connection that ends before it is accepted need not be delivered. */
        t_wait_count(x.loop, &multi->done, i + 1);
        if (i < CLIENTS / 2) i % 2 ? peer_close(raw[i]) : peer_reset(raw[i]);
    }
    t_wait_count(x.loop, &x.freed, CLIENTS / 2);
    CHECK_EQ(x.freed, CLIENTS / 2);
    pro_scope_close(pro_loop_scope(x.loop));
    t_run(x.loop);
    CHECK_EQ(x.freed, CLIENTS);
    for (int i = CLIENTS / 2; i < CLIENTS; i++) peer_close(raw[i]);
    t_loop_free(x.loop);
}
