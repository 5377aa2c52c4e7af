/* Connecting.
 * Covers 8, 9, 10, 11, 12, 13, 29 (addresses) of the list. */
#include "lib/net.h"

static pro_address parse(const char *text)
{
    pro_address address;
    CHECK_ERROR(pro_address_parse(&address, text), PRO_OK);
    return address;
}

/* ---- 8, 9: nobody there ---------------------------------------------------------------------- */

CONFORM(repeated_refusal_stays_connection_refused)
{
    pro_loop   *loop = t_loop();
    pro_address nobody = peer_nobody();
    for (int i = 0; i < 20; i++) {
        pro_socket *s = t_new(pro_socket);
        t_op       *connect = t_new_op();
        pro_socket_init(s, loop, NULL);
        pro_connect(&connect->op, s, &nobody, t_done);
        t_run(loop);
        CHECK_DONE(connect, PRO_ECONNREFUSED, 0);
        t_close(loop, s);
    }
}

CONFORM(a_socket_that_was_refused_is_refused_again)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op();
    pro_address nobody = peer_nobody();
    pro_socket_init(s, loop, NULL);
    for (int i = 1; i <= 10; i++) {
        pro_connect(&connect->op, s, &nobody, t_done);
        t_run(loop);
        CHECK_EQ(connect->done, i);
        CHECK_ERROR(connect->error, PRO_ECONNREFUSED);
    }
    t_close(loop, s);
}

CONFORM(an_unreachable_address_gives_the_right_error)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op();
    pro_address all = parse("255.255.255.255:9"); /* TCP does not go there */
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &all, t_done);
    t_run(loop);
    CHECK_EQ(connect->done, 1);
    if (connect->error != PRO_EADDRNOTAVAIL) CHECK_ERROR(connect->error, PRO_ENETUNREACH);
    t_close(loop, s);
}

/* ---- 10, 11: cut short ----------------------------------------------------------------------- */

static _Thread_local pro_loop    *silent_loop;
static _Thread_local peer_silence silence;

/* A connect that stays under way, with a deadline. */
static pro_socket *connect_to_silence(t_op *connect, uint64_t deadline_ns)
{
    if (!peer_silence_begin(&silence)) t_skip("no connect can be kept under way here");
    pro_socket *s = t_new(pro_socket);
    silent_loop = t_loop_clocked();
    pro_socket_init(s, silent_loop, NULL);
    if (deadline_ns) connect->op.deadline_ns = pro_loop_now(silent_loop) + deadline_ns;
    pro_connect(&connect->op, s, &silence.address, t_done);
    t_poll(silent_loop);
    t_poll(silent_loop);
    CHECK_EQ(connect->done, 0);
    return s;
}

CONFORM(closing_while_connecting_cancels_the_connect_once)
{
    t_op       *connect = t_new_op(), *close = t_new_op();
    pro_socket *s = connect_to_silence(connect, 0);
    pro_close(&close->op, s, t_done);
    t_run(silent_loop);
    CHECK_DONE(connect, PRO_ECANCELED, 0);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_LT(connect->order, close->order);
    peer_silence_end(&silence);
}

CONFORM(canceling_a_connect_completes_it_once)
{
    t_op       *connect = t_new_op(), *recv = t_new_op(), *send = t_new_op();
    pro_socket *s = connect_to_silence(connect, 0);
    char        buf[4] = {0};
    pro_recv(&recv->op, s, buf, 4, t_done);
    pro_send(&send->op, s, buf, 4, t_done);
    pro_cancel(&connect->op);
    pro_cancel(&connect->op);
    t_run(silent_loop);
    CHECK_DONE(connect, PRO_ECANCELED, 0);
    /* What waited for it fails as well. */
    CHECK_EQ(recv->done, 1);
    CHECK(recv->error != PRO_OK && recv->error != PRO_EOF);
    CHECK_EQ(send->done, 1);
    CHECK(send->error != PRO_OK && send->value == 0);
    t_close(silent_loop, s);
    peer_silence_end(&silence);
}

CONFORM(a_deadline_while_connecting_times_it_out_once)
{
    t_op       *connect = t_new_op();
    pro_socket *s = connect_to_silence(connect, 3600 * PRO_SEC);
    t_clock_advance(3601 * PRO_SEC);
    t_run(silent_loop);
    CHECK_DONE(connect, PRO_ETIMEDOUT, 0);
    t_close(silent_loop, s);
    peer_silence_end(&silence);
}

CONFORM(a_connect_racing_its_deadline_completes_once)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l);
    t_op         *accept = t_new_op();
    int           outcomes[2] = {0, 0};
    pro_accept_multi(&accept->op, l, t_done); /* takes none of them */
    for (int i = 0, rounds = t_rounds(200); i < rounds; i++) {
        pro_socket *s = t_new(pro_socket);
        t_op       *connect = t_new_op();
        pro_socket_init(s, loop, NULL);
        connect->op.deadline_ns = pro_loop_now(loop) + t_below(100 * PRO_USEC);
        pro_connect(&connect->op, s, &address, t_done);
        t_wait_count(loop, &connect->done, 1);
        if (connect->error != PRO_OK) CHECK_ERROR(connect->error, PRO_ETIMEDOUT);
        outcomes[connect->error == PRO_OK]++;
        t_close(loop, s);
        CHECK_EQ(connect->done, 1);
    }
    pro_listener_close(&t_new_op()->op, l, t_done);
    t_run(loop);
}

CONFORM(a_connect_with_a_deadline_that_loses_the_race_completes_once)
{
    pro_loop     *loop = t_loop_clocked();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *connect = t_new_op();
    pro_address   address = t_listen(loop, l);
    pro_socket_init(s, loop, NULL);
    connect->op.deadline_ns = pro_loop_now(loop) + 60 * PRO_SEC;
    pro_connect(&connect->op, s, &address, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_OK, 0);
    t_clock_advance(3600 * PRO_SEC);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(connect->done, 1);
    CHECK_EQ(connect->op.deadline_ns, PRO_NEVER);
    t_close(loop, s);
    t_listener_close(loop, l);
}

/* ---- 12: behind a connect -------------------------------------------------------------------- */

CONFORM(a_write_started_before_connect_completes_is_sent_after_it)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op(), *send = t_new_op(), *shut = t_new_op(), *recv = t_new_op();
    pro_address address;
    peer        listener = peer_listen(&address);
    char        buf[8] = {0}, byte;
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &address, t_done);
    pro_send_all(&send->op, s, "early", 5, t_done);
    pro_shutdown(&shut->op, s, t_done);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_wait(loop, shut);
    CHECK_DONE(connect, PRO_OK, 0);
    CHECK_DONE(send, PRO_OK, 5);
    CHECK_DONE(shut, PRO_OK, 0);
    CHECK(connect->order < send->order && send->order < shut->order);
    peer raw = peer_accept(listener);
    CHECK_EQ(peer_read_exactly(raw, buf, 8), 5);
    CHECK(memcmp(buf, "early", 5) == 0);
    CHECK(peer_write(raw, "x", 1));
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, 1);
    t_close(loop, s);
    peer_close(raw);
    peer_close(listener);
}

CONFORM(a_write_started_before_connect_fails_with_it)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op(), *send = t_new_op(), *recv = t_new_op();
    pro_address nobody = peer_nobody();
    char        byte;
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &nobody, t_done);
    pro_send(&send->op, s, "early", 5, t_done);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_ECONNREFUSED, 0);
    CHECK_EQ(send->done, 1);
    CHECK(send->error != PRO_OK);
    CHECK_EQ(send->value, 0);
    CHECK_EQ(recv->done, 1);
    CHECK(recv->error != PRO_OK && recv->error != PRO_EOF);
    CHECK(connect->order < send->order && connect->order < recv->order);
    t_close(loop, s);
}

/* ---- 13: wrong addresses, wrong states ------------------------------------------------------- */

CONFORM(connecting_to_no_address_at_all_is_an_error)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op();
    pro_address none = {0};
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &none, t_done);
    CHECK_EQ(connect->done, 0);
    t_run(loop);
    CHECK_EQ(connect->done, 1);
    if (connect->error != PRO_EAFNOSUPPORT) CHECK_ERROR(connect->error, PRO_EINVAL);
    t_close(loop, s);
}

CONFORM(connecting_to_the_unspecified_address_completes_once)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *connect = t_new_op();
    pro_address   address = t_listen(loop, l);
    pro_address   any = pro_address_any(PRO_IPV4, address.port);
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &any, t_done);
    t_run(loop);
    CHECK_EQ(connect->done, 1);
    /* This host, on most systems. */
    if (connect->error != PRO_EADDRNOTAVAIL) CHECK_ERROR(connect->error, PRO_OK);
    t_close(loop, s);
    t_listener_close(loop, l);
}

CONFORM(a_connect_that_fails_does_not_close_the_socket)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op(), *again = t_new_op();
    pro_address address, nobody = peer_nobody();
    pro_socket_init(s, loop, NULL);
    CHECK_EQ(pro_socket_descriptor(s), -1);
    pro_connect(&connect->op, s, &nobody, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_ECONNREFUSED, 0);
    CHECK_GE(pro_socket_descriptor(s), 0);
    CHECK_ERROR(pro_socket_set(s, PRO_OPT_NODELAY, 1), PRO_OK);

    peer listener = peer_listen(&address);
    pro_connect(&again->op, s, &address, t_done);
    t_run(loop);
    CHECK_DONE(again, PRO_OK, 0);
    peer_close(peer_accept(listener));
    peer_close(listener);
    t_close(loop, s);
}

CONFORM(connecting_twice_says_connected_already)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op(), *again = t_new_op();
    pro_address address;
    peer        listener = peer_listen(&address);
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &address, t_done);
    pro_connect(&again->op, s, &address, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_OK, 0);
    CHECK_DONE(again, PRO_EISCONN, 0);
    t_close(loop, s);
    peer_close(listener);
}

/* What the engine knows of the socket must not be forgotten: no news of it would come again. */
CONFORM(connecting_a_connected_socket_loses_nothing_that_has_come)
{
    pro_loop   *loop = t_loop();
    t_pair     *pair = t_pair_new(loop);
    t_op       *first = t_new_op(), *second = t_new_op(), *end = t_new_op();
    t_op       *send = t_new_op(), *shutdown = t_new_op(), *again = t_new_op();
    char        bytes[3] = "", out[2] = {'x', 'y'};
    pro_address address;
    CHECK_ERROR(pro_socket_peer(&pair->a, &address), PRO_OK);
    pro_recv(&first->op, &pair->a, bytes, 1, t_done); /* waits */
    t_poll(loop);
    pro_send_all(&send->op, &pair->b, out, 2, t_done);
    pro_shutdown(&shutdown->op, &pair->b, t_done);
    t_run(loop);
    CHECK_DONE(first, PRO_OK, 1);
    pro_connect(&again->op, &pair->a, &address, t_done);
    pro_recv(&second->op, &pair->a, bytes + 1, 1, t_done);
    pro_recv(&end->op, &pair->a, bytes + 2, 1, t_done);
    t_run(loop);
    CHECK_DONE(again, PRO_EISCONN, 0);
    CHECK_DONE(second, PRO_OK, 1);
    CHECK_DONE(end, PRO_EOF, 0);
    CHECK(bytes[0] == 'x' && bytes[1] == 'y');
    t_pair_close(loop, pair);
}

CONFORM(a_socket_that_was_never_connected_says_so)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op(), *send = t_new_op();
    pro_address address;
    char        byte = 0;
    pro_socket_init(s, loop, NULL);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    pro_send(&send->op, s, &byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_ENOTCONN, 0);
    CHECK_DONE(send, PRO_ENOTCONN, 0);
    CHECK(pro_socket_peer(s, &address) != PRO_OK);
    CHECK_ERROR(pro_socket_set(s, PRO_OPT_NODELAY, 1), PRO_ENOTCONN);
    t_close(loop, s);
}

CONFORM(a_socket_bound_before_connecting_keeps_its_address)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket), *taken = t_new(pro_socket);
    t_op         *connect = t_new_op();
    pro_address   address = t_listen(loop, l), mine = pro_address_loopback(PRO_IPV4, 0), now;
    CHECK_ERROR(pro_socket_open(s, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_socket_bind(s, &mine), PRO_OK);
    CHECK_ERROR(pro_socket_local(s, &mine), PRO_OK);
    CHECK(mine.port != 0);
    CHECK_ERROR(pro_socket_open(taken, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_socket_bind(taken, &address), PRO_EADDRINUSE);
    pro_connect(&connect->op, s, &address, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_OK, 0);
    CHECK_ERROR(pro_socket_local(s, &now), PRO_OK);
    CHECK(pro_address_equal(&mine, &now));
    t_close(loop, s);
    t_close(loop, taken);
    t_listener_close(loop, l);
}

CONFORM(an_open_socket_refuses_an_address_of_another_family)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op();
    pro_address six = pro_address_loopback(PRO_IPV6, 9);
    CHECK_ERROR(pro_socket_open(s, loop, NULL, PRO_IPV4), PRO_OK);
    pro_connect(&connect->op, s, &six, t_done);
    t_run(loop);
    CHECK_EQ(connect->done, 1);
    if (connect->error != PRO_EINVAL) CHECK_ERROR(connect->error, PRO_EAFNOSUPPORT);
    t_close(loop, s);
}

/* ---- 29: the address is copied --------------------------------------------------------------- */

CONFORM(the_address_may_be_reused_once_connect_returned)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *connect = t_new_op();
    pro_address address, where;
    peer        listener = peer_listen(&address);
    where = address;
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &address, t_done);
    memset(&address, 0xff, sizeof address);
    t_run(loop);
    CHECK_DONE(connect, PRO_OK, 0);
    CHECK_ERROR(pro_socket_peer(s, &address), PRO_OK);
    CHECK(pro_address_equal(&address, &where));
    t_close(loop, s);
    peer_close(listener);
}
