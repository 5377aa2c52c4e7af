/* Copying from one socket to another: all of it and in its place, and what is lost where it is cut short.
 *
 *     near --> source ==copy==> sink --> far */
#include <errno.h>
#include <string.h>

#include "lib/files.h"
#include "lib/net.h"
#include "lib/world.h"

enum { KEY = 91, LOST_MAX = 256 << 10 };

typedef struct line {
    t_pair  *in, *out;
    pro_flow flow;
    t_op    *op;
    int      progress;
    uint64_t told;
    pro_op  *to_cancel; /* in the first progress */
} line;

static pro_socket *near(line *l) { return &l->in->a; }
static pro_socket *source(line *l) { return &l->in->b; }
static pro_socket *sink(line *l) { return &l->out->a; }
static pro_socket *far(line *l) { return &l->out->b; }

static void on_progress(pro_flow *flow)
{
    line *l = flow->user;
    CHECK_GT(flow->copied, l->told);
    CHECK_GE(flow->taken, flow->copied);
    CHECK_EQ(l->op->done, 0);
    l->told = flow->copied;
    if (l->progress++ == 0 && l->to_cancel) pro_cancel(l->to_cancel);
}

static line *line_of(t_pair *in, t_pair *out, uint64_t max)
{
    line *l = t_new(line);
    l->in = in;
    l->out = out;
    l->op = t_new_op();
    l->flow = (pro_flow){.max = max, .progress = on_progress, .user = l};
    return l;
}

static line *line_new(pro_loop *loop, uint64_t max)
{
    return line_of(t_pair_new(loop), t_pair_new(loop), max);
}

static void start(line *l)
{
    pro_copy_stream(&l->op->op, source(l), sink(l), &l->flow, t_done);
    CHECK_EQ(l->op->done, 0);
}

static void line_close(pro_loop *loop, line *l)
{
    t_pair_close(loop, l->in);
    t_pair_close(loop, l->out);
}

static char *pattern(size_t len)
{
    char *buf = t_alloc(len + 1);
    t_fill(buf, len, KEY, 0);
    return buf;
}

static t_op *send_all(pro_socket *s, const void *buf, size_t len)
{
    t_op *op = t_new_op();
    pro_send_all(&op->op, s, buf, len, t_done);
    return op;
}

static t_op *receive(pro_socket *s, void *buf, size_t len)
{
    t_op *op = t_new_op();
    pro_recv_exactly(&op->op, s, buf, len, t_done);
    return op;
}

static void send_and_receive(pro_loop *loop, pro_socket *from, pro_socket *to)
{
    char  byte = 0;
    t_op *recv = receive(to, &byte, 1);
    send_all(from, "!", 1);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_OK, 1);
    CHECK_EQ(byte, '!');
}

/* A copy of which the sink is full, and more is to come. */
static line *stuck(pro_loop *loop)
{
    line *l = line_of(t_pair_narrow(loop), t_pair_narrow(loop), PRO_COPY_ALL);
    char *byte = t_alloc(1);
    start(l);
    send_all(near(l), pattern(2 * CLOG_LEN), 2 * CLOG_LEN);
    t_op *first = receive(far(l), byte, 1);
    t_wait_count(loop, &first->done, 1);
    CHECK_DONE(first, PRO_OK, 1);
    do { /* until it stays so: what was taken and did not go finds no room */
        while (l->flow.taken == l->flow.copied && l->op->done == 0) t_turn(loop);
        for (int i = 0; i < 4; i++) t_settle(loop);
    } while (l->flow.taken == l->flow.copied && l->op->done == 0);
    return l;
}

/* What the far end has still to receive is what was copied, and not a byte more. */
static void check_far(pro_loop *loop, line *l, uint64_t before)
{
    size_t left = (size_t)(l->flow.copied - before);
    char  *buf = t_alloc(left + 1);
    t_op  *rest = receive(far(l), buf, left), *end = t_new_op();
    pro_recv(&end->op, far(l), buf + left, 1, t_done);
    t_wait_count(loop, &end->done, 1);
    if (left > 0) CHECK_DONE(rest, PRO_OK, (int64_t)left);
    CHECK_FILL(buf, left, KEY, before);
    CHECK(end->error != PRO_OK);
}

CONFORM(what_a_socket_receives_is_copied_to_another_one_whole)
{
    static const size_t lens[] = {0, 1, 3000, 65536, 65537, 5000000};
    pro_loop           *loop = t_loop();
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        size_t len = lens[i];
        line  *l = line_new(loop, PRO_COPY_ALL);
        char  *out = pattern(len), *in = t_alloc(len + 1);
        t_op  *shut = t_new_op(), *recv = t_new_op(), *far_shut = t_new_op(), *end = t_new_op();
        start(l);
        send_all(near(l), out, len);
        pro_shutdown(&shut->op, near(l), t_done);
        pro_recv_exactly(&recv->op, far(l), in, len, t_done);
        t_wait_count(loop, &recv->done, 1);
        t_wait_count(loop, &l->op->done, 1);
        CHECK_DONE(l->op, PRO_OK, (int64_t)len);
        CHECK_EQ(l->flow.end, PRO_FLOW_WHOLE);
        CHECK_EQ(l->flow.copied, len);
        CHECK_EQ(l->flow.taken, len);
        CHECK_EQ(l->told, len);
        CHECK(len == 0 || l->progress > 0);
        CHECK_DONE(recv, PRO_OK, (int64_t)len);
        CHECK_FILL(in, len, KEY, 0);
        send_and_receive(loop, sink(l), far(l)); /* the end of the source is not that of the sink */
        pro_shutdown(&far_shut->op, sink(l), t_done);
        pro_recv(&end->op, far(l), in, 1, t_done);
        t_wait_count(loop, &end->done, 1);
        CHECK_DONE(end, PRO_EOF, 0);
        line_close(loop, l);
    }
}

CONFORM(a_copy_of_so_many_bytes_of_a_stream_takes_no_more)
{
    enum { LEN = 300000, TAIL = 5 };
    pro_loop *loop = t_loop();
    line     *l = line_new(loop, LEN);
    char     *out = pattern(LEN + TAIL), *in = t_alloc(LEN);
    char      tail[TAIL];
    start(l);
    send_all(near(l), out, LEN + TAIL);
    t_op *behind = receive(source(l), tail, TAIL), *recv = receive(far(l), in, LEN);
    t_wait_count(loop, &behind->done, 1);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(l->op, PRO_OK, LEN);
    CHECK_DONE(recv, PRO_OK, LEN);
    CHECK_DONE(behind, PRO_OK, TAIL);
    CHECK_FILL(in, LEN, KEY, 0);
    CHECK_FILL(tail, TAIL, KEY, LEN);

    /* The same flow again, and none at all. */
    l->told = 0;
    l->op->done = 0;
    l->flow.max = 7;
    start(l);
    send_all(near(l), out, 7);
    recv = receive(far(l), in, 7);
    t_wait_count(loop, &recv->done, 1);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_DONE(l->op, PRO_OK, 7);
    l->op->done = 0;
    l->flow.max = 0;
    start(l);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_DONE(l->op, PRO_OK, 0);
    line_close(loop, l);
}

CONFORM(a_stream_that_ends_before_so_many_bytes_is_an_error)
{
    pro_loop *loop = t_loop();
    line     *l = line_new(loop, 1001);
    t_op     *shut = t_new_op(), *behind = t_new_op();
    start(l);
    pro_send(&behind->op, sink(l), "x", 1, t_done);
    send_all(near(l), pattern(1000), 1000);
    pro_shutdown(&shut->op, near(l), t_done);
    t_wait_count(loop, &behind->done, 1);
    CHECK_DONE(l->op, PRO_EOF, 1000);
    CHECK_EQ(l->flow.end, PRO_FLOW_FROM);
    CHECK_DONE(behind, PRO_EPIPE, 0); /* a hole, as after a send that is cut short */
    line_close(loop, l);
}

CONFORM(a_copy_of_a_stream_has_its_place_among_receives_and_sends)
{
    enum { LEN = 200000 };
    pro_loop *loop = t_loop();
    line     *l = line_new(loop, LEN);
    char     *out = pattern(LEN), *in = t_alloc(LEN + 10);
    char      head[5], tail[5];
    t_op     *first = receive(source(l), head, 5), *before = send_all(sink(l), "head:", 5);
    start(l);
    t_op *last = receive(source(l), tail, 5), *after = send_all(sink(l), ":tail", 5);
    send_and_receive(loop, source(l), near(l)); /* the other directions are free */
    send_and_receive(loop, far(l), sink(l));
    CHECK_EQ(first->done, 0);
    CHECK_EQ(after->done, 0);
    send_all(near(l), "first", 5);
    send_all(near(l), out, LEN);
    send_all(near(l), "last.", 5);
    t_op *recv = receive(far(l), in, LEN + 10);
    t_wait_count(loop, &recv->done, 1);
    t_wait_count(loop, &last->done, 1);
    t_wait_count(loop, &after->done, 1);
    CHECK_DONE(l->op, PRO_OK, LEN);
    CHECK_DONE(recv, PRO_OK, LEN + 10);
    CHECK(memcmp(head, "first", 5) == 0 && memcmp(tail, "last.", 5) == 0);
    CHECK(memcmp(in, "head:", 5) == 0 && memcmp(in + LEN + 5, ":tail", 5) == 0);
    CHECK_FILL(in + 5, LEN, KEY, 0);
    CHECK(first->order < l->op->order && l->op->order < last->order);
    CHECK(before->order < l->op->order && l->op->order < after->order);
    line_close(loop, l);
}

CONFORM(both_directions_are_copied_at_once)
{
    enum { LEN = 3000000 };
    pro_loop *loop = t_loop();
    line     *l = line_new(loop, PRO_COPY_ALL), *back = line_of(l->out, l->in, PRO_COPY_ALL);
    char     *out = pattern(LEN), *in[2] = {t_alloc(LEN), t_alloc(LEN)};
    start(l);
    pro_copy_stream(&back->op->op, sink(l), source(l), &back->flow, t_done);
    send_all(near(l), out, LEN);
    send_all(far(l), out, LEN);
    t_op *there = receive(far(l), in[0], LEN), *here = receive(near(l), in[1], LEN);
    t_wait_count(loop, &there->done, 1);
    t_wait_count(loop, &here->done, 1);
    CHECK_DONE(there, PRO_OK, LEN);
    CHECK_DONE(here, PRO_OK, LEN);
    for (int i = 0; i < 2; i++) CHECK_FILL(in[i], LEN, KEY, 0);
    t_close(loop, source(l));
    CHECK_DONE(l->op, PRO_ECANCELED, LEN);
    CHECK_DONE(back->op, PRO_ECANCELED, LEN);
    t_close(loop, near(l));
    t_pair_close(loop, l->out);
}

CONFORM(a_socket_may_be_copied_to_itself)
{
    enum { LEN = 400000 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    line     *l = line_of(pair, pair, PRO_COPY_ALL);
    char     *out = pattern(LEN), *in = t_alloc(LEN);
    t_op     *shut = t_new_op(), *close = t_new_op();
    pro_copy_stream(&l->op->op, &pair->b, &pair->b, &l->flow, t_done);
    send_all(&pair->a, out, LEN);
    pro_shutdown(&shut->op, &pair->a, t_done);
    t_op *recv = receive(&pair->a, in, LEN);
    t_wait_count(loop, &recv->done, 1);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_DONE(l->op, PRO_OK, LEN);
    CHECK_DONE(recv, PRO_OK, LEN);
    CHECK_FILL(in, LEN, KEY, 0);
    l->op->done = 0;
    l->told = 0;
    pro_copy_stream(&l->op->op, &pair->b, &pair->b, &l->flow, t_done);
    pro_close(&close->op, &pair->b, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_EQ(l->op->done, 1);
    CHECK(l->op->order < close->order);
    t_close(loop, &pair->a);
}

/* In five ways: by the operation, by each socket, by a deadline, by a close of each socket. */
enum way { BY_CANCEL, BY_SOURCE, BY_SINK, BY_DEADLINE, CLOSE_SOURCE, CLOSE_SINK, WAYS };

static void cut(pro_loop *loop, line *l, int way, t_op *close)
{
    switch (way) {
    case BY_CANCEL: pro_cancel(&l->op->op); break;
    case BY_SOURCE: pro_socket_cancel(source(l)); break;
    case BY_SINK: pro_socket_cancel(sink(l)); break;
    case CLOSE_SOURCE: pro_close(&close->op, source(l), t_done); break;
    case CLOSE_SINK: pro_close(&close->op, sink(l), t_done); break;
    default: break;
    }
    t_wait_count(loop, &l->op->done, 1);
    CHECK_ERROR(l->op->error, way == BY_DEADLINE ? PRO_ETIMEDOUT : PRO_ECANCELED);
    CHECK_EQ(l->op->value, l->flow.copied);
    CHECK_EQ(l->flow.end, PRO_FLOW_WHOLE);
    if (way < CLOSE_SOURCE) return;
    CHECK_EQ(close->done, 0);
    t_wait_count(loop, &close->done, 1);
    CHECK(l->op->order < close->order);
}

CONFORM(a_copy_of_a_stream_that_idles_is_cut_and_nothing_is_lost)
{
    pro_loop *loop = t_loop();
    for (int way = 0; way < WAYS; way++) {
        line *l = line_new(loop, PRO_COPY_ALL);
        char *in = t_alloc(1000);
        t_op *close = t_new_op();
        if (way == BY_DEADLINE) l->op->op.deadline_ns = pro_loop_now(loop) + 20 * PRO_MSEC;
        start(l);
        if (way != BY_DEADLINE) {
            send_all(near(l), pattern(1000), 1000);
            t_op *recv = receive(far(l), in, 1000);
            t_wait_count(loop, &recv->done, 1);
        }
        cut(loop, l, way, close);
        CHECK_EQ(l->flow.copied, way == BY_DEADLINE ? 0 : 1000);
        CHECK_EQ(l->flow.taken, l->flow.copied);
        if (way != CLOSE_SOURCE) send_and_receive(loop, near(l), source(l)); /* both go on */
        if (way != CLOSE_SINK) send_and_receive(loop, sink(l), far(l));
        line_close(loop, l);
    }
}

CONFORM(a_copy_of_a_stream_stops_with_its_sink_and_says_what_is_lost_when_it_is_cut)
{
    pro_loop *loop = t_loop();
    for (int way = 0; way < WAYS; way++) {
        if (way == BY_DEADLINE) continue; /* it would come before that is so, or much later */
        line *l = stuck(loop);
        t_op *behind = t_new_op(), *close = t_new_op();
        CHECK_EQ(l->op->done, 0);
        CHECK_LE(l->flow.taken - l->flow.copied, LOST_MAX);
        CHECK_LT(l->flow.copied, 2 * CLOG_LEN);
        if (way < CLOSE_SOURCE && way != BY_SINK) pro_send(&behind->op, sink(l), "x", 1, t_done);
        cut(loop, l, way, close);
        CHECK_GT(l->flow.taken, l->flow.copied);
        CHECK_LE(l->flow.taken - l->flow.copied, LOST_MAX);
        if (way < CLOSE_SOURCE && way != BY_SINK) {
            t_wait_count(loop, &behind->done, 1);
            CHECK_DONE(behind, PRO_EPIPE, 0);
        }
        if (way != CLOSE_SINK) t_close(loop, sink(l));
        check_far(loop, l, 1);
        t_close(loop, far(l));
        t_pair_close(loop, l->in);
    }
}

CONFORM(a_copy_of_a_stream_goes_on_when_its_sink_does)
{
    pro_loop *loop = t_loop();
    line     *l = stuck(loop);
    size_t    left = 2 * CLOG_LEN - 1;
    char     *in = t_alloc(left);
    t_op     *recv = receive(far(l), in, left);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_OK, (int64_t)left);
    CHECK_FILL(in, left, KEY, 1);
    CHECK_EQ(l->op->done, 0);
    pro_cancel(&l->op->op);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_DONE(l->op, PRO_ECANCELED, 2 * (int64_t)CLOG_LEN);
    CHECK_EQ(l->flow.taken, l->flow.copied);
    line_close(loop, l);
}

CONFORM(a_copy_may_be_canceled_by_its_own_progress)
{
    pro_loop *loop = t_loop();
    line     *l = line_new(loop, PRO_COPY_ALL);
    l->to_cancel = &l->op->op;
    start(l);
    send_all(near(l), pattern(5000), 5000);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_ERROR(l->op->error, PRO_ECANCELED);
    CHECK_EQ(l->progress, 1);
    line_close(loop, l);
}

/* It is as with a send of which all bytes went; and there is no hole. */
CONFORM(a_copy_that_is_canceled_as_its_last_byte_went_is_whole)
{
    pro_loop *loop = t_loop();
    line     *l = line_new(loop, 1);
    char      byte;
    l->to_cancel = &l->op->op;
    start(l);
    send_all(near(l), pattern(1), 1);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_DONE(l->op, PRO_OK, 1);
    t_op *recv = receive(far(l), &byte, 1);
    t_wait_count(loop, &recv->done, 1);
    send_and_receive(loop, sink(l), far(l));
    line_close(loop, l);
}

CONFORM(copies_of_streams_that_wait_for_their_turn_are_canceled_alone)
{
    pro_loop *loop = t_loop();
    for (int way = 0; way < 4; way++) {
        line *l = line_new(loop, PRO_COPY_ALL), *second = line_of(l->in, l->out, PRO_COPY_ALL);
        line *other = line_of(t_pair_new(loop), l->out, PRO_COPY_ALL);
        char  byte, last;
        start(l);
        start(second);
        start(other);
        t_op *recv = receive(source(l), &last, 1), *send = t_new_op();
        pro_send(&send->op, sink(l), "s", 1, t_done);
        if (way == 0) pro_cancel(&second->op->op);
        if (way == 1) pro_cancel(&other->op->op);
        if (way == 2) t_close(loop, &other->in->b);
        if (way == 3) pro_cancel(&l->op->op);
        line *gone = way == 0 ? second : way == 3 ? l : other;
        t_wait_count(loop, &gone->op->done, 1);
        CHECK_DONE(gone->op, PRO_ECANCELED, 0);
        send_all(near(l), "m", 1); /* by l, or else by second */
        t_op *first = receive(far(l), &byte, 1);
        t_wait_count(loop, &first->done, 1);
        CHECK_EQ(byte, 'm');
        CHECK_EQ(recv->done + send->done, 0);
        pro_cancel(&l->op->op);
        pro_cancel(&second->op->op);
        pro_cancel(&other->op->op);
        t_wait_count(loop, &send->done, 1);
        CHECK_DONE(send, PRO_OK, 1);
        send_all(near(l), "r", 1);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(recv, PRO_OK, 1);
        CHECK_EQ(l->op->done + second->op->done + other->op->done, 3);
        if (way != 2) t_close(loop, &other->in->b);
        t_close(loop, &other->in->a);
        line_close(loop, l);
    }
}

CONFORM(a_reset_of_the_source_ends_a_copy_and_not_the_sink)
{
    pro_loop *loop = t_loop();
    t_pair   *out = t_pair_new(loop), *in = t_new(t_pair);
    line     *l = line_of(in, out, PRO_COPY_ALL);
    char      buf[3];
    peer      raw = t_raw_pair(loop, source(l));
    start(l);
    CHECK(peer_write(raw, "abc", 3));
    t_op *recv = receive(far(l), buf, 3);
    t_wait_count(loop, &recv->done, 1);
    peer_reset(raw);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_DONE(l->op, PRO_ECONNRESET, 3);
    CHECK_EQ(l->flow.end, PRO_FLOW_FROM);
    send_and_receive(loop, sink(l), far(l));
    t_close(loop, source(l));
    t_pair_close(loop, out);
}

CONFORM(a_sink_that_is_gone_ends_a_copy_without_a_signal)
{
    pro_loop *loop = t_loop();
    t_pair   *in = t_pair_new(loop), *out = t_new(t_pair);
    line     *l = line_of(in, out, PRO_COPY_ALL);
    peer      raw = t_raw_pair(loop, sink(l));
    char      byte;
    t_op     *gone = receive(sink(l), &byte, 1);
    peer_reset(raw);
    t_wait_count(loop, &gone->done, 1);
    for (int i = 0; i < 2; i++) {
        l->op->done = 0;
        l->told = 0;
        start(l);
        send_all(near(l), pattern(100000), 100000);
        t_wait_count(loop, &l->op->done, 1);
        CHECK(l->op->error == PRO_ECONNRESET || l->op->error == PRO_EPIPE);
        CHECK_EQ(l->flow.end, PRO_FLOW_TO);
    }
    send_and_receive(loop, source(l), near(l));
    t_close(loop, sink(l));
    t_pair_close(loop, in);
}

/* The first bytes still go to a peer that closed in good order, and the rest of the same call fails: what is
 * read in many small pieces goes by several. */
CONFORM(a_sink_that_goes_in_the_middle_of_a_copy_is_no_signal_either)
{
    enum { PIECES = 60, PIECE = 1000 };
    pro_loop *loop = t_loop();
    t_pair   *in = t_new(t_pair), *out = t_new(t_pair);
    line     *l = line_of(in, out, PRO_COPY_ALL);
    int       error = pro_socket_pair(&in->a, &in->b, loop, NULL);
    if (error == PRO_ENOTSUP) t_skip("this engine has no pairs as yet");
    CHECK_ERROR(error, PRO_OK);
    peer raw = t_raw_pair(loop, sink(l));
    peer_close(raw);
    for (int i = 0; i < PIECES; i++) {
        t_op *sent = send_all(near(l), pattern(PIECE), PIECE);
        t_wait_count(loop, &sent->done, 1);
    }
    t_op *shut = t_new_op();
    start(l);
    while (l->op->done == 0) {
        t_op *more = send_all(near(l), pattern(PIECE), PIECE);
        t_wait_count(loop, &more->done, 1);
    }
    CHECK(l->op->error == PRO_ECONNRESET || l->op->error == PRO_EPIPE);
    CHECK_EQ(l->flow.end, PRO_FLOW_TO);
    pro_shutdown(&shut->op, near(l), t_done);
    t_close(loop, sink(l));
    t_pair_close(loop, in);
}

CONFORM(a_copy_of_a_stream_that_cannot_begin_is_an_error)
{
    pro_loop   *loop = t_loop();
    line       *l = line_new(loop, PRO_COPY_ALL);
    pro_socket *bare = t_new(pro_socket);
    t_op       *from_bare = t_new_op(), *to_bare = t_new_op(), *shut = t_new_op();
    pro_flow    flow[2] = {{.max = 5}, {.max = PRO_COPY_ALL}};
    pro_socket_init(bare, loop, NULL);
    pro_copy_stream(&from_bare->op, bare, sink(l), &flow[0], t_done);
    pro_copy_stream(&to_bare->op, source(l), bare, &flow[1], t_done);
    t_wait_count(loop, &from_bare->done, 1);
    t_wait_count(loop, &to_bare->done, 1);
    CHECK_DONE(from_bare, PRO_ENOTCONN, 0);
    CHECK_EQ(flow[0].end, PRO_FLOW_FROM);
    CHECK_DONE(to_bare, PRO_ENOTCONN, 0);
    CHECK_EQ(flow[1].end, PRO_FLOW_TO);
    send_and_receive(loop, sink(l), far(l));
    send_and_receive(loop, near(l), source(l));
    pro_shutdown(&shut->op, sink(l), t_done);
    start(l);
    t_wait_count(loop, &l->op->done, 1);
    CHECK_DONE(l->op, PRO_EPIPE, 0);
    t_close(loop, bare);
    for (int which = 0; which < 2; which++) { /* closed, one after the other */
        t_close(loop, which ? source(l) : sink(l));
        l->op->done = 0;
        start(l);
        t_wait_count(loop, &l->op->done, 1);
        CHECK_DONE(l->op, PRO_ECLOSED, 0);
    }
    t_close(loop, near(l));
    t_close(loop, far(l));
}

/* The scope of each end closes. */
CONFORM(a_scope_that_closes_ends_the_copies_of_its_sockets)
{
    pro_loop *loop = t_loop();
    for (int way = 0; way < 2; way++) {
        pro_scope *scope = t_new(pro_scope);
        pro_scope_init(scope, loop, NULL, NULL);
        t_pair *in = t_pair_in(loop, NULL, way == 0 ? scope : NULL);
        t_pair *out = t_pair_in(loop, way == 1 ? scope : NULL, NULL);
        line   *l = line_of(in, out, PRO_COPY_ALL);
        start(l);
        t_poll(loop);
        pro_scope_close(scope);
        t_wait_count(loop, &l->op->done, 1);
        CHECK_DONE(l->op, PRO_ECANCELED, 0);
        t_close(loop, way == 0 ? sink(l) : source(l));
        t_close(loop, near(l));
        t_close(loop, far(l));
    }
}

/* What the system refuses: pipes, all that splice does, or to give to the sink. */
enum refusal { PIPES, SPLICES, TO_SINK, REFUSALS };

static _Thread_local struct { /* a loop's thread is the one that asks */
    enum refusal what;
    int          splices;
} refusing;

static int refuse(void *ctx, const char *call)
{
    (void)ctx;
    if (strcmp(call, "pipe") == 0) return refusing.what == PIPES ? EMFILE : 0;
    if (strcmp(call, "splice") != 0 || refusing.what == PIPES) return 0;
    return refusing.what == SPLICES || ++refusing.splices > 1 ? EINVAL : 0;
}

CONFORM(what_the_system_refuses_to_splice_goes_through_a_buffer)
{
    enum { LEN = 300000 };
    for (int what = 0; what < REFUSALS; what++) {
        pro_loop_options options = t_loop_options();
        refusing.what = (enum refusal)what;
        refusing.splices = 0;
        options.env.fault = refuse;
        pro_loop *loop = t_loop_with(&options);
        line     *l = line_new(loop, PRO_COPY_ALL);
        char     *in = t_alloc(LEN);
        t_op     *shut = t_new_op();
        start(l);
        send_all(near(l), pattern(LEN), LEN);
        pro_shutdown(&shut->op, near(l), t_done);
        t_op *recv = receive(far(l), in, LEN);
        t_wait_count(loop, &recv->done, 1);
        t_wait_count(loop, &l->op->done, 1);
        CHECK_DONE(l->op, PRO_OK, LEN);
        CHECK_EQ(l->flow.taken, LEN);
        CHECK_DONE(recv, PRO_OK, LEN);
        CHECK_FILL(in, LEN, KEY, 0);
        line_close(loop, l);
        t_loop_free(loop);
    }
}

/* Pipes of the caller's, and Unix sockets. */
CONFORM(streams_that_are_no_tcp_are_copied_too)
{
    enum { LEN = 500000 };
    pro_loop *loop = t_loop();
    for (int way = 0; way < 4; way++) {
        t_pair *in = t_new(t_pair), *out = t_new(t_pair);
        int     error = way & 1 ? pro_pipe_pair(&in->b, &in->a, loop, NULL)
                                : pro_socket_pair(&in->a, &in->b, loop, NULL);
        if (error == PRO_ENOTSUP) t_skip("this engine has no pipes as yet");
        CHECK_ERROR(error, PRO_OK);
        error = way & 2 ? pro_pipe_pair(&out->b, &out->a, loop, NULL)
                        : pro_socket_pair(&out->a, &out->b, loop, NULL);
        if (error == PRO_ENOTSUP) t_skip("this engine has no pipes as yet");
        CHECK_ERROR(error, PRO_OK);
        line *l = line_of(in, out, PRO_COPY_ALL);
        char *data = t_alloc(LEN);
        t_op *shut = t_new_op(), *wrong = t_new_op();
        start(l);
        send_all(near(l), pattern(LEN), LEN);
        pro_shutdown(&shut->op, near(l), t_done);
        t_op *recv = receive(far(l), data, LEN);
        t_wait_count(loop, &recv->done, 1);
        t_wait_count(loop, &l->op->done, 1);
        CHECK_DONE(l->op, PRO_OK, LEN);
        CHECK_DONE(recv, PRO_OK, LEN);
        CHECK_FILL(data, LEN, KEY, 0);
        if (way & 1) { /* the wrong end */
            pro_copy_stream(&wrong->op, near(l), sink(l), &l->flow, t_done);
            t_wait_count(loop, &wrong->done, 1);
            CHECK(wrong->error == PRO_EBADF || wrong->error == PRO_ENOTCONN);
        }
        t_close(loop, far(l));
        t_close(loop, sink(l));
        t_pair_close(loop, in);
    }
}

/* A file that is a stream is read and written by the pool, where it stands, and moves on. */
CONFORM(a_file_is_a_source_and_a_sink_of_a_stream_like_all_others)
{
    enum { LEN = 300001, MAX = 200000 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *from = t_in(dir, "from"), *to = t_in(dir, "to");
    char       *buf = t_alloc(LEN);
    t_file_make(from, LEN, KEY);
    t_file_make(to, 0, KEY);
    intptr_t fds[2] = {t_open(from), t_open(to)};

    /* From a file to a socket: so many bytes, then what is left of it. */
    line *l = line_of(t_new(t_pair), t_pair_new(loop), MAX), *rest = t_new(line);
    CHECK_ERROR(pro_socket_adopt(source(l), loop, NULL, fds[0]), PRO_OK);
    *rest = *l;
    rest->op = t_new_op();
    rest->flow = (pro_flow){.max = PRO_COPY_ALL};
    start(l);
    start(rest);
    t_op *all = receive(far(l), buf, LEN);
    t_wait_count(loop, &all->done, 1);
    t_wait_count(loop, &rest->op->done, 1);
    CHECK_DONE(l->op, PRO_OK, MAX);
    CHECK_DONE(rest->op, PRO_OK, LEN - MAX);
    CHECK_FILL(buf, LEN, KEY, 0);

    /* From a socket to a file, until the end of the stream. */
    line *back = line_of(t_pair_new(loop), t_new(t_pair), PRO_COPY_ALL);
    CHECK_ERROR(pro_socket_adopt(sink(back), loop, NULL, fds[1]), PRO_OK);
    start(back);
    t_op *sent = send_all(near(back), buf, LEN), *shut = t_new_op();
    pro_shutdown(&shut->op, near(back), t_done);
    t_wait_count(loop, &back->op->done, 1);
    CHECK_DONE(sent, PRO_OK, LEN);
    CHECK_DONE(back->op, PRO_OK, LEN);
    CHECK_EQ(t_file_size(to), LEN);
    t_file_check(to, LEN, KEY, 0);

    /* Both stand at their ends: nothing is left to take. */
    line *none = t_new(line);
    none->in = l->in;
    none->out = back->out;
    none->op = t_new_op();
    none->flow = (pro_flow){.max = 1};
    start(none);
    t_wait_count(loop, &none->op->done, 1);
    CHECK_DONE(none->op, PRO_EOF, 0);
    CHECK_EQ(none->flow.end, PRO_FLOW_FROM);
    t_close(loop, source(l));
    t_close(loop, sink(back));
    t_pair_close(loop, l->out);
    t_pair_close(loop, back->in);
    t_dir_remove(loop, dir);
}
