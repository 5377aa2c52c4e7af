/* Sending, and what breaks the write side.
 * Covers 25, 26, 27, 28, 29 (vectors), 31 (writes), 59 of the list, and holes. */
#include "lib/net.h"

/* ---- 25: much of it, many of them ------------------------------------------------------------ */

CONFORM(ten_megabytes_arrive_whole_and_in_order)
{
    size_t    len = (size_t)10 << 20;
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    char     *out = t_alloc(len), *in = t_alloc(len);
    t_op     *send = t_new_op(), *recv = t_new_op();
    t_fill(out, len, 1, 0);
    pro_recv_exactly(&recv->op, &pair->b, in, len, t_done);
    pro_send_all(&send->op, &pair->a, out, len, t_done);
    t_run(loop);
    CHECK_DONE(send, PRO_OK, (int64_t)len);
    CHECK_DONE(recv, PRO_OK, (int64_t)len);
    CHECK_FILL(in, len, 1, 0);
    t_pair_close(loop, pair);
}

CONFORM(ten_thousand_small_writes_arrive_whole_and_in_order)
{
    enum { COUNT = 10000, LEN = 7 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    char     *out = t_alloc(COUNT * LEN), *in = t_alloc(COUNT * LEN);
    t_op     *sends = t_array(t_op, COUNT), *recv = t_new_op();
    t_fill(out, COUNT * LEN, 2, 0);
    for (int i = 0; i < COUNT; i++) pro_send(&sends[i].op, &pair->a, out + i * LEN, LEN, t_done);
    CHECK_EQ(sends[0].done, 0);
    pro_recv_exactly(&recv->op, &pair->b, in, COUNT * LEN, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, COUNT * LEN);
    CHECK_FILL(in, COUNT * LEN, 2, 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_DONE(&sends[i], PRO_OK, LEN);
        if (i > 0) CHECK_GT(sends[i].order, sends[i - 1].order);
    }
    t_pair_close(loop, pair);
}

CONFORM(a_send_is_short_only_when_nothing_is_queued_behind_it)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    char     *out = t_alloc(CLOG_LEN + 1), *in = t_alloc(CLOG_LEN + 1);
    t_op     *big = t_new_op(), *small = t_new_op(), *recv = t_new_op();
    t_fill(out, CLOG_LEN + 1, 3, 0);
    pro_send(&big->op, &pair->a, out, CLOG_LEN, t_done);
    pro_send(&small->op, &pair->a, out + CLOG_LEN, 1, t_done);
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN + 1, t_done);
    t_run(loop);
    CHECK_DONE(big, PRO_OK, (int64_t)CLOG_LEN);
    CHECK_DONE(small, PRO_OK, 1);
    CHECK_DONE(recv, PRO_OK, (int64_t)CLOG_LEN + 1);
    CHECK_FILL(in, CLOG_LEN + 1, 3, 0);

    /* Alone it may be short; what it says went is what arrives. */
    t_op *shut = t_new_op();
    memset(in, 0, CLOG_LEN);
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN + 1, t_done);
    pro_send(&big->op, &pair->a, out, CLOG_LEN, t_done);
    t_wait(loop, big);
    CHECK_ERROR(big->error, PRO_OK);
    CHECK_GT(big->value, 0);
    pro_shutdown(&shut->op, &pair->a, t_done);
    t_run(loop);
    CHECK_ERROR(recv->error, PRO_EOF);
    CHECK_EQ(recv->value, big->value);
    CHECK_FILL(in, big->value, 3, 0);
    t_pair_close(loop, pair);
}

/* ---- 26: close with writes queued ------------------------------------------------------------ */

CONFORM(close_with_writes_queued_completes_each_before_itself)
{
    enum { QUEUED = 5 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    char     *out = t_alloc(CLOG_LEN), *in = t_alloc(CLOG_LEN);
    t_op     *stuck = t_new_op(), *queued = t_array(t_op, QUEUED), *shut = t_new_op();
    t_op     *close = t_new_op(), *recv = t_new_op();
    t_fill(out, CLOG_LEN, 4, 0);
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    for (int i = 0; i < QUEUED; i++) pro_send_all(&queued[i].op, &pair->a, out, 10, t_done);
    pro_shutdown(&shut->op, &pair->a, t_done);
    pro_close(&close->op, &pair->a, t_done);
    CHECK_EQ(stuck->done, 0); /* never inside */
    t_wait(loop, close);
    CHECK_DONE(stuck, PRO_ECANCELED, stuck->value);
    CHECK_GE(stuck->value, 1);
    CHECK_LT(stuck->value, (int64_t)CLOG_LEN);
    for (int i = 0; i < QUEUED; i++) {
        CHECK_DONE(&queued[i], PRO_ECANCELED, 0);
        CHECK_LT(queued[i].order, close->order);
    }
    CHECK_DONE(shut, PRO_ECANCELED, 0);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_LT(stuck->order, close->order);

    /* The bytes that it said went are the bytes that come, then the end. */
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_EOF, stuck->value - 1);
    CHECK_FILL(in, recv->value, 4, 1);
    t_close(loop, &pair->b);
}

/* ---- 27, 59: shutdown ------------------------------------------------------------------------ */

CONFORM(a_write_after_shutdown_is_a_broken_pipe)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *shut = t_new_op(), *queued = t_new_op(), *later = t_new_op(), *back = t_new_op();
    t_op     *end = t_new_op(), *got = t_new_op();
    char      byte, back_byte;
    pro_shutdown(&shut->op, &pair->a, t_done);
    pro_send(&queued->op, &pair->a, "x", 1, t_done);
    t_run(loop);
    CHECK_DONE(shut, PRO_OK, 0);
    CHECK_DONE(queued, PRO_EPIPE, 0);
    pro_send_all(&later->op, &pair->a, "x", 1, t_done);
    pro_recv(&end->op, &pair->b, &byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(later, PRO_EPIPE, 0);
    CHECK_DONE(end, PRO_EOF, 0);
    /* The other direction goes on. */
    pro_send(&back->op, &pair->b, "y", 1, t_done);
    pro_recv(&got->op, &pair->a, &back_byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(back, PRO_OK, 1);
    CHECK_DONE(got, PRO_OK, 1);
    t_pair_close(loop, pair);
}

CONFORM(shutdown_waits_for_the_sends_before_it)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    char     *out = t_alloc(CLOG_LEN), *in = t_alloc(CLOG_LEN);
    t_op     *stuck = t_new_op(), *shut = t_new_op(), *recv = t_new_op();
    t_fill(out, CLOG_LEN, 5, 0);
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    pro_shutdown(&shut->op, &pair->a, t_done);
    t_poll(loop);
    t_poll(loop);
    CHECK_EQ(shut->done, 0);
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_EOF, (int64_t)CLOG_LEN - 1);
    CHECK_FILL(in, CLOG_LEN - 1, 5, 1);
    CHECK_DONE(stuck, PRO_OK, (int64_t)CLOG_LEN);
    CHECK_DONE(shut, PRO_OK, 0);
    CHECK_LT(stuck->order, shut->order);
    t_pair_close(loop, pair);
}

CONFORM(shutdown_twice_completes_once_each)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *shuts = t_array(t_op, 3);
    pro_shutdown(&shuts[0].op, &pair->a, t_done);
    pro_shutdown(&shuts[1].op, &pair->a, t_done);
    t_run(loop);
    pro_shutdown(&shuts[2].op, &pair->a, t_done);
    t_run(loop);
    for (int i = 0; i < 3; i++) CHECK_DONE(&shuts[i], PRO_OK, 0);
    t_pair_close(loop, pair);
}

CONFORM(shutdown_from_both_ends_at_once_completes_once_each)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *shuts = t_array(t_op, 2), *ends = t_array(t_op, 2);
    char      bytes[2];
    pro_recv(&ends[0].op, &pair->a, &bytes[0], 1, t_done);
    pro_recv(&ends[1].op, &pair->b, &bytes[1], 1, t_done);
    pro_shutdown(&shuts[0].op, &pair->a, t_done);
    pro_shutdown(&shuts[1].op, &pair->b, t_done);
    t_run(loop);
    for (int i = 0; i < 2; i++) {
        CHECK_DONE(&shuts[i], PRO_OK, 0);
        CHECK_DONE(&ends[i], PRO_EOF, 0);
    }
    t_pair_close(loop, pair);
}

CONFORM(a_shutdown_of_a_broken_connection_completes_once)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *recv = t_new_op(), *shut = t_new_op();
    char        byte;
    peer        raw = t_raw_pair(loop, s);
    peer_reset(raw);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_ECONNRESET, 0);
    pro_shutdown(&shut->op, s, t_done);
    t_run(loop);
    CHECK_EQ(shut->done, 1);
    t_close(loop, s);
}

/* ---- 28: half-open peers --------------------------------------------------------------------- */

CONFORM(writing_to_a_peer_that_is_gone_ends_with_an_error)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *send = t_new_op(), *recv = t_new_op();
    char        buf[100] = {0}, byte;
    peer        raw = t_raw_pair(loop, s);
    peer_close(raw); /* a send is answered with a reset; the one after it fails */
    int i = 0;
    do {
        pro_send_all(&send->op, s, buf, sizeof buf, t_done);
        t_wait(loop, send);
    } while (send->error == PRO_OK && ++i < 1000);
    if (send->error != PRO_EPIPE) CHECK_ERROR(send->error, PRO_ECONNRESET);
    pro_recv(&recv->op, s, &byte, 1, t_done);
    t_wait(loop, recv);
    if (recv->error != PRO_EOF) CHECK_ERROR(recv->error, PRO_ECONNRESET);
    /* And it stays broken. */
    pro_send(&send->op, s, buf, 1, t_done);
    t_wait(loop, send);
    CHECK_ERROR(send->error, PRO_EPIPE);
    CHECK_EQ(send->value, 0);
    t_close(loop, s);
}

CONFORM(a_write_pending_at_a_peer_that_resets_ends_with_its_bytes_so_far)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *send = t_new_op(), *behind = t_new_op(), *later = t_new_op();
    size_t      len = (size_t)32 << 20;
    char       *out = t_alloc(len), byte;
    peer        raw = t_raw_pair(loop, s);
    pro_send_all(&send->op, s, out, len, t_done);
    pro_send(&behind->op, s, out, 10, t_done);
    t_poll(loop);
    t_poll(loop);
    CHECK_EQ(peer_read(raw, &byte, 1), 1);
    peer_reset(raw);
    t_run(loop);
    CHECK_EQ(send->done, 1);
    if (send->error != PRO_EPIPE) CHECK_ERROR(send->error, PRO_ECONNRESET);
    CHECK_GE(send->value, 1);
    CHECK_LT(send->value, (int64_t)len);
    CHECK_DONE(behind, PRO_EPIPE, 0);
    pro_send(&later->op, s, out, 10, t_done);
    t_run(loop);
    CHECK_DONE(later, PRO_EPIPE, 0);
    t_close(loop, s);
}

/* ---- 29: arrays are copied ------------------------------------------------------------------- */

CONFORM(the_vector_array_may_be_reused_once_the_call_returned)
{
    enum { COUNT = 50, LEN = 60 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    char     *out = t_alloc(COUNT * LEN), *in = t_alloc(COUNT * LEN);
    t_op     *sends = t_array(t_op, COUNT), *recvs = t_array(t_op, COUNT);
    pro_vec   vecs[3];
    t_fill(out, COUNT * LEN, 6, 0);
    for (int i = 0; i < COUNT; i++) {
        size_t a = (size_t)t_below(LEN), b = a + (size_t)t_below(LEN - a);
        char  *o = out + i * LEN, *n = in + i * LEN;
        vecs[0] = (pro_vec){o, a}, vecs[1] = (pro_vec){o + a, b - a};
        vecs[2] = (pro_vec){o + b, LEN - b};
        pro_sendv_all(&sends[i].op, &pair->a, vecs, 3, t_done);
        vecs[0] = (pro_vec){n, b}, vecs[1] = (pro_vec){n + b, LEN - b};
        pro_recvv_exactly(&recvs[i].op, &pair->b, vecs, 2, t_done);
        memset(vecs, 0xff, sizeof vecs);
    }
    t_run(loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_DONE(&sends[i], PRO_OK, LEN);
        CHECK_DONE(&recvs[i], PRO_OK, LEN);
    }
    CHECK_FILL(in, COUNT * LEN, 6, 0);
    t_pair_close(loop, pair);
}

CONFORM(vectored_sends_continue_at_any_byte)
{
    enum { VECS = 1000 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    size_t    len = (size_t)1 << 20, at = 0;
    char     *out = t_alloc(len), *in = t_alloc(len);
    pro_vec  *vecs = t_array(pro_vec, VECS);
    t_op     *send = t_new_op(), *recv = t_new_op();
    t_fill(out, len, 7, 0);
    for (int i = 0; i < VECS; i++) {
        size_t piece = i == VECS - 1 ? len - at : (size_t)t_below(2 * len / VECS - 99);
        if (piece > len - at) piece = len - at;
        vecs[i] = (pro_vec){out + at, piece};
        at += piece;
    }
    pro_sendv_all(&send->op, &pair->a, vecs, VECS, t_done);
    memset(vecs, 0xff, VECS * sizeof *vecs);
    pro_recv_exactly(&recv->op, &pair->b, in, len, t_done);
    t_run(loop);
    CHECK_DONE(send, PRO_OK, (int64_t)len);
    CHECK_DONE(recv, PRO_OK, (int64_t)len);
    CHECK_FILL(in, len, 7, 0);
    t_pair_close(loop, pair);
}

/* ---- 31: nothing to send --------------------------------------------------------------------- */

CONFORM(a_send_of_length_zero_completes_and_sends_nothing)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    t_op     *ops = t_array(t_op, 4), *recv = t_new_op();
    pro_vec   none[2] = {{NULL, 0}, {NULL, 0}};
    char      byte;
    pro_recv(&recv->op, &pair->b, &byte, 1, t_done);
    pro_send(&ops[0].op, &pair->a, NULL, 0, t_done);
    pro_send_all(&ops[1].op, &pair->a, NULL, 0, t_done);
    pro_sendv(&ops[2].op, &pair->a, none, 2, t_done);
    pro_sendv_all(&ops[3].op, &pair->a, none, 0, t_done);
    CHECK_EQ(ops[0].done, 0);
    for (int i = 0; i < 4; i++) t_wait_count(loop, &ops[i].done, 1);
    t_poll(loop);
    for (int i = 0; i < 4; i++) CHECK_DONE(&ops[i], PRO_OK, 0);
    CHECK_EQ(recv->done, 0);
    pro_cancel(&recv->op);
    t_run(loop);
    t_pair_close(loop, pair);
}

CONFORM(a_send_of_length_zero_completes_on_the_next_turn_whatever_is_before_it)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    char     *out = t_alloc(CLOG_LEN), *in = t_alloc(CLOG_LEN);
    t_op     *stuck = t_new_op(), *zero = t_new_op(), *recv = t_new_op();
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    for (int i = 0; i < 5; i++) t_poll(loop);
    pro_send(&zero->op, &pair->a, out, 0, t_done);
    t_turn(loop);
    CHECK_DONE(zero, PRO_OK, 0);
    CHECK_EQ(stuck->done, 0);
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN - 1, t_done);
    t_run(loop);
    CHECK_DONE(stuck, PRO_OK, (int64_t)CLOG_LEN);
    t_pair_close(loop, pair);
}

/* ---- Holes ----------------------------------------------------------------------------------- */

enum cut { BY_OP, BY_SOCKET, BY_SCOPE, BY_DEADLINE, CUTS };

/* A send of which a part went is cut short: the rest of the stream must not follow it. */
static void cut_short(enum cut by)
{
    pro_loop  *loop = t_loop_clocked();
    t_pair    *pair = t_pair_narrow(loop);
    pro_scope *scope = t_new(pro_scope);
    char      *out = t_alloc(CLOG_LEN), *in = t_alloc(CLOG_LEN);
    t_op      *stuck = t_new_op(), *queued = t_new_op(), *later = t_new_op(), *recv = t_new_op();
    t_op      *shut = t_new_op(), *zero = t_new_op();
    int        cause = by == BY_DEADLINE ? PRO_ETIMEDOUT : PRO_ECANCELED;
    t_fill(out, CLOG_LEN, 8, 0);
    pro_scope_init(scope, loop, NULL, NULL);
    stuck->op.scope = scope;
    if (by == BY_DEADLINE) stuck->op.deadline_ns = pro_loop_now(loop) + 3600 * PRO_SEC;
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    pro_send_all(&queued->op, &pair->a, out, 10, t_done);
    if (by == BY_OP) pro_cancel(&stuck->op);
    if (by == BY_SOCKET) pro_socket_cancel(&pair->a);
    if (by == BY_SCOPE) pro_scope_cancel(scope);
    if (by == BY_DEADLINE) t_clock_advance(3601 * PRO_SEC);
    CHECK_EQ(stuck->done, 0);
    t_run(loop);
    CHECK_DONE(stuck, cause, stuck->value);
    CHECK_GE(stuck->value, 1);
    CHECK_LT(stuck->value, (int64_t)CLOG_LEN);
    CHECK_DONE(queued, by == BY_SOCKET ? PRO_ECANCELED : PRO_EPIPE, 0);
    if (by != BY_SOCKET) CHECK_LT(stuck->order, queued->order); /* both canceled: in any order */
    pro_send(&later->op, &pair->a, out, 10, t_done);
    t_run(loop);
    CHECK_DONE(later, PRO_EPIPE, 0);
    pro_send(&zero->op, &pair->a, out, 0, t_done);
    t_run(loop);
    CHECK_EQ(zero->done, 1);
    CHECK_EQ(zero->value, 0);

    /* The peer sees the part that went, and nothing behind the hole. */
    pro_shutdown(&shut->op, &pair->a, t_done);
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN, t_done);
    for (int i = 0; i < 5; i++) t_poll(loop);
    t_close(loop, &pair->a);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_EOF, stuck->value - 1);
    CHECK_FILL(in, recv->value, 8, 1);
    CHECK_EQ(shut->done, 1);
    t_close(loop, &pair->b);
    pro_scope_close(scope);
    t_run(loop);
}

CONFORM(a_send_cut_short_by_cancel_breaks_the_write_side) { cut_short(BY_OP); }
CONFORM(a_send_cut_short_by_its_socket_breaks_the_write_side) { cut_short(BY_SOCKET); }
CONFORM(a_send_cut_short_by_its_scope_breaks_the_write_side) { cut_short(BY_SCOPE); }
CONFORM(a_send_cut_short_by_its_deadline_breaks_the_write_side) { cut_short(BY_DEADLINE); }

CONFORM(a_queued_send_canceled_before_its_first_byte_leaves_no_hole)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    char     *out = t_alloc(CLOG_LEN + 20), *in = t_alloc(CLOG_LEN + 20), *lost = t_alloc(1000);
    t_op     *stuck = t_new_op(), *queued = t_new_op(), *behind = t_new_op(), *recv = t_new_op();
    t_fill(out, CLOG_LEN + 20, 9, 0);
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    pro_send_all(&queued->op, &pair->a, lost, 1000, t_done);
    pro_send_all(&behind->op, &pair->a, out + CLOG_LEN, 20, t_done);
    pro_cancel(&queued->op);
    t_wait(loop, queued);
    CHECK_DONE(queued, PRO_ECANCELED, 0);
    CHECK_EQ(stuck->done, 0);
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN + 19, t_done);
    t_run(loop);
    CHECK_DONE(stuck, PRO_OK, (int64_t)CLOG_LEN);
    CHECK_DONE(behind, PRO_OK, 20);
    CHECK_DONE(recv, PRO_OK, (int64_t)CLOG_LEN + 19);
    CHECK_FILL(in, CLOG_LEN + 19, 9, 1);
    t_pair_close(loop, pair);
}

CONFORM(a_receive_cut_short_leaves_the_write_side_and_the_stream_alone)
{
    pro_loop   *loop = t_loop();
    pro_socket *s = t_new(pro_socket);
    t_op       *exactly = t_new_op(), *rest = t_new_op(), *send = t_new_op();
    char        in[10] = {0};
    peer        raw = t_raw_pair(loop, s);
    CHECK(peer_write(raw, "abc", 3));
    pro_recv_exactly(&exactly->op, s, in, 10, t_done);
    t_turn(loop);
    t_poll(loop);
    pro_cancel(&exactly->op);
    t_wait(loop, exactly);
    CHECK_ERROR(exactly->error, PRO_ECANCELED);
    CHECK(peer_write(raw, "def", 3));
    pro_recv_exactly(&rest->op, s, in + exactly->value, (size_t)(6 - exactly->value), t_done);
    t_wait(loop, rest);
    CHECK_ERROR(rest->error, PRO_OK);
    CHECK(memcmp(in, "abcdef", 6) == 0);
    pro_send(&send->op, s, "x", 1, t_done);
    t_wait(loop, send);
    CHECK_DONE(send, PRO_OK, 1);
    peer_close(raw);
    t_close(loop, s);
}
