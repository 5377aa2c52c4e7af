/* Names and races (14 of the list): endpoints are tried in order, the first that answers stands. */
#include <stdio.h>

#include "lib/net.h"

static t_op *connect_any(pro_socket *s, const pro_address *addresses, size_t count)
{
    t_op *connect = t_new_op();
    pro_connect_any(&connect->op, s, addresses, count, t_done);
    CHECK_EQ(connect->done, 0);
    return connect;
}

static pro_socket *bare(pro_loop *loop)
{
    pro_socket *s = t_new(pro_socket);
    pro_socket_init(s, loop, NULL);
    return s;
}

CONFORM(endpoints_are_tried_in_order_until_one_answers)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   at[4], peer_at;
    pro_socket   *s = bare(loop);
    t_op         *accept = t_new_op(), *send = t_new_op();
    at[2] = t_listen(loop, l);
    at[0] = at[1] = at[3] = at[2];
    at[0].family = PRO_FAMILY_NONE;
    at[1].port = 1; /* nobody */
    t_op *connect = connect_any(s, at, 4);
    pro_send_all(&send->op, s, "hello", 5, t_done); /* behind it */
    memset(&at[3], 0, sizeof at[3]);
    t_wait_count(loop, &connect->done, 1);
    CHECK_DONE(connect, PRO_OK, 0);
    t_wait_count(loop, &send->done, 1);
    CHECK_ERROR(pro_socket_peer(s, &peer_at), PRO_OK);
    CHECK(pro_address_equal(&peer_at, &at[2]));
    pro_accept(&accept->op, l, t_done); /* not taken: closed */
    t_wait_count(loop, &accept->done, 1);
    t_close(loop, s);
    t_listener_close(loop, l);
}

CONFORM(endpoints_that_all_fail_say_why_the_last_one_did)
{
    pro_loop   *loop = t_loop();
    pro_address at[3];
    pro_socket *s = bare(loop);
    t_op       *recv = t_new_op(), *none = t_new_op();
    char        byte;
    at[0] = at[1] = at[2] = pro_address_loopback(PRO_IPV4, 1);
    at[1].family = PRO_FAMILY_NONE;
    for (int i = 0; i < 2; i++) { /* and it may be tried again */
        t_op *connect = connect_any(s, at, 3);
        recv->done = 0;
        pro_recv(&recv->op, s, &byte, 1, t_done);
        t_wait_count(loop, &connect->done, 1);
        CHECK_DONE(connect, PRO_ECONNREFUSED, 0);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(recv, PRO_ECONNREFUSED, 0);
        CHECK_EQ(pro_socket_descriptor(s), -1);
    }
    none = connect_any(s, at, 0);
    t_wait_count(loop, &none->done, 1);
    CHECK_DONE(none, PRO_EINVAL, 0);
    t_close(loop, s);
}

CONFORM(a_race_canceled_timed_out_or_closed_completes_once)
{
    pro_loop    *loop = t_loop();
    peer_silence silence;
    if (!peer_silence_begin(&silence)) t_skip("no silent address here");
    pro_address at[3] = {silence.address, silence.address, silence.address};
    for (int late = 0; late < 3; late++) {
        pro_socket *s = bare(loop);
        t_op       *timed = t_new_op(), *close = t_new_op();
        t_op       *canceled = connect_any(s, at, 3);
        t_op       *queued = connect_any(s, at, 3);
        for (int i = 0; i < late; i++) t_poll(loop);
        pro_cancel(&queued->op);
        pro_cancel(&canceled->op);
        t_wait_count(loop, &canceled->done, 1);
        t_wait_count(loop, &queued->done, 1);
        CHECK_DONE(canceled, PRO_ECANCELED, 0);
        CHECK_DONE(queued, PRO_ECANCELED, 0);
        timed->op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
        pro_connect_any(&timed->op, s, at, 3, t_done);
        t_wait_count(loop, &timed->done, 1);
        CHECK_DONE(timed, PRO_ETIMEDOUT, 0);
        t_op *closed = connect_any(s, at, 3);
        for (int i = 0; i < late; i++) t_poll(loop);
        pro_close(&close->op, s, t_done);
        t_wait_count(loop, &close->done, 1);
        CHECK_DONE(closed, PRO_ECANCELED, 0);
        CHECK_LT(closed->order, close->order);
    }
    t_run(loop); /* what the races left under way is over */
    peer_silence_end(&silence);
}

/* As behind a connect that fails; nothing may be left waiting for one that is gone. */
CONFORM(what_stands_behind_a_race_that_is_canceled_fails_with_it)
{
    pro_loop         *loop = t_loop();
    const pro_address nobody = pro_address_loopback(PRO_IPV4, 1);
    for (int late = 0; late < 2; late++) {
        pro_socket *s = bare(loop);
        t_op       *send = t_new_op(), *recv = t_new_op(), *behind = t_new_op();
        char        byte;
        t_op       *connect = connect_any(s, &nobody, 1);
        pro_send(&send->op, s, "x", 1, t_done);
        pro_recv(&recv->op, s, &byte, 1, t_done);
        if (late) pro_connect_any(&behind->op, s, &nobody, 1, t_done);
        pro_cancel(&connect->op);
        CHECK_EQ(connect->done + send->done, 0);
        t_wait_count(loop, &connect->done, 1);
        t_wait_count(loop, &send->done, 1);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(connect, PRO_ECANCELED, 0);
        CHECK_DONE(send, PRO_ECANCELED, 0);
        CHECK_DONE(recv, late ? PRO_ECONNREFUSED : PRO_ECANCELED,
                   0); /* it waits for the last one */
        if (late) CHECK_DONE(behind, PRO_ECONNREFUSED, 0);
        t_close(loop, s);
    }
    pro_socket *s = bare(loop);
    t_op       *connect = connect_any(s, &nobody, 1), *send[3], *again, *close = t_new_op();
    for (int i = 0; i < 3; i++) {
        send[i] = t_new_op();
        pro_send(&send[i]->op, s, "x", 1, t_done);
    }
    again = connect_any(s, &nobody, 1);
    pro_close(&close->op, s, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_ECANCELED, 0);
    for (int i = 0; i < 3; i++) CHECK_DONE(send[i], PRO_ECANCELED, 0);
    CHECK_DONE(again, PRO_ECANCELED, 0);
    CHECK_DONE(close, PRO_OK, 0);
}

CONFORM(the_next_endpoint_does_not_wait_for_a_silent_one)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    peer_silence  silence;
    t_op         *accept = t_new_op();
    pro_socket   *s = bare(loop);
    pro_address   peer_at;
    if (!peer_silence_begin(&silence)) t_skip("no silent address here");
    pro_address at[2] = {silence.address, t_listen(loop, l)};
    pro_accept(&accept->op, l, t_done);
    uint64_t begin = pro_loop_now(loop);
    t_op    *connect = connect_any(s, at, 2);
    t_wait_count(loop, &connect->done, 1);
    CHECK_DONE(connect, PRO_OK, 0);
    CHECK_GE(pro_loop_now(loop) - begin, 250 * PRO_MSEC); /* never too early */
    CHECK_ERROR(pro_socket_peer(s, &peer_at), PRO_OK);
    CHECK(pro_address_equal(&peer_at, &at[1]));
    t_wait_count(loop, &accept->done, 1);
    t_close(loop, s);
    t_listener_close(loop, l);
    t_run(loop);
    peer_silence_end(&silence);
}

CONFORM(a_race_leaves_a_socket_that_is_connected_alone)
{
    pro_loop   *loop = t_loop();
    t_pair     *pair = t_pair_new(loop);
    pro_address at;
    CHECK_ERROR(pro_socket_peer(&pair->a, &at), PRO_OK);
    t_op *connect = connect_any(&pair->a, &at, 1);
    t_wait_count(loop, &connect->done, 1);
    CHECK_DONE(connect, PRO_EISCONN, 0);
    t_op *send = t_new_op();
    pro_send(&send->op, &pair->a, "x", 1, t_done);
    t_wait_count(loop, &send->done, 1);
    CHECK_DONE(send, PRO_OK, 1);
    t_pair_close(loop, pair);
}

CONFORM(numbers_are_names_that_need_no_look_up)
{
    pro_loop *loop = t_loop();
    static const struct {
        const char *host, *service, *text;
    } cases[] = {{"127.0.0.1", "80", "127.0.0.1:80"},
                 {"::1", "65535", "[::1]:65535"},
                 {"fe80::1%7", "1", "[fe80::1%7]:1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        t_op        *resolve = t_new_op();
        pro_address *found = t_array(pro_address, 2);
        char         text[PRO_ADDRESS_TEXT_MAX];
        pro_resolve(&resolve->op, loop, cases[i].host, cases[i].service, found, 2, t_done);
        CHECK_EQ(resolve->done, 0);
        t_wait_count(loop, &resolve->done, 1);
        CHECK_DONE(resolve, PRO_OK, 1);
        pro_address_format(&found[0], text, sizeof text);
        if (strcmp(text, cases[i].text) != 0) FAIL("%s, want %s", text, cases[i].text);
    }
    t_op       *none = t_new_op();
    pro_address found;
    pro_resolve(&none->op, loop, "::1", "80", &found, 0, t_done);
    t_wait_count(loop, &none->done, 1);
    CHECK_DONE(none, PRO_EINVAL, 0);
}

CONFORM(a_host_is_connected_to_by_its_numbers_and_by_its_name)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_address   address = t_listen(loop, l), *found = t_array(pro_address, 8);
    char          port[8];
    t_op         *resolve = t_new_op();
    snprintf(port, sizeof port, "%d", address.port);
    for (int i = 0; i < 2; i++) {
        pro_socket *s = bare(loop);
        t_op       *accept = t_new_op(), *connect = t_new_op();
        pro_accept(&accept->op, l, t_done);
        pro_connect_host(&connect->op, s, i ? "localhost" : "127.0.0.1", port, t_done);
        t_wait_count(loop, &connect->done, 1);
        CHECK_DONE(connect, PRO_OK, 0);
        t_wait_count(loop, &accept->done, 1);
        t_close(loop, s);
    }
    pro_resolve(&resolve->op, loop, "localhost", port, found, 8, t_done);
    t_wait_count(loop, &resolve->done, 1);
    CHECK_ERROR(resolve->error, PRO_OK);
    CHECK_GE(resolve->value, 1);
    CHECK_EQ(found[0].port, address.port);
    t_listener_close(loop, l);
    t_run(loop);
}

CONFORM(a_name_or_service_that_is_none_is_an_error)
{
    pro_loop    *loop = t_loop();
    pro_address *found = t_array(pro_address, 2);
    char        *endless = t_alloc(2000);
    t_op        *service = t_new_op(), *empty = t_new_op(), *too_long = t_new_op();
    pro_socket  *s = bare(loop);
    t_op        *connect = t_new_op();
    memset(endless, 'a', 1999);
    pro_resolve(&service->op, loop, "localhost", "no-such-service", found, 2, t_done);
    pro_resolve(&empty->op, loop, "", "80", found, 2, t_done);
    pro_resolve(&too_long->op, loop, endless, "80", found, 2, t_done);
    pro_connect_host(&connect->op, s, endless, "80", t_done);
    CHECK_EQ(t_completions(), 0);
    t_wait_count(loop, &service->done, 1);
    CHECK_DONE(service, PRO_EINVAL, 0);
    CHECK_DONE(empty, PRO_EINVAL, 0);
    CHECK_DONE(too_long, PRO_EINVAL, 0);
    t_wait_count(loop, &connect->done, 1);
    CHECK_DONE(connect, PRO_EINVAL, 0);
    t_close(loop, s);
}

CONFORM(a_look_up_canceled_completes_once_and_soon)
{
    pro_loop *loop = t_loop();
    for (int i = 0, rounds = t_rounds(40); i < rounds; i++) {
        t_op        *resolve = t_new_op(), *connect = t_new_op();
        pro_address *found = t_array(pro_address, 2);
        pro_socket  *s = bare(loop);
        if (i % 3 == 0) resolve->op.deadline_ns = pro_loop_now(loop) + 1;
        pro_resolve(&resolve->op, loop, "localhost", "1", found, 2, t_done);
        pro_connect_host(&connect->op, s, "localhost", "1", t_done);
        for (uint64_t n = t_below(4); n > 0; n--) t_poll(loop);
        pro_cancel(&connect->op);
        pro_cancel(&resolve->op);
        t_wait_count(loop, &resolve->done, 1);
        t_wait_count(loop, &connect->done, 1);
        CHECK(resolve->error == PRO_OK || resolve->error == PRO_ECANCELED ||
              resolve->error == PRO_ETIMEDOUT);
        CHECK(connect->error == PRO_ECANCELED || connect->error == PRO_ECONNREFUSED);
        t_close(loop, s);
        CHECK_EQ(resolve->done, 1);
        CHECK_EQ(connect->done, 1);
    }
    t_run(loop);
}
