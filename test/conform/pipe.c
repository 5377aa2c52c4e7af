/* Pipes and pairs: streams that are made here.
 * Covers 15 (pipes), 21, 27 (pipes), 31 of the list, and exactly once over them. */
#include <string.h>

#include "lib/files.h"
#include "lib/os.h"
#include "lib/world.h"

/* What is sent on b is received on a. */
static t_pair *pipe_new(pro_loop *loop)
{
    t_pair *pipe = t_new(t_pair);
    int     error = pro_pipe_pair(&pipe->a, &pipe->b, loop, NULL);
    if (error == PRO_ENOTSUP) t_skip("this engine has no pipes as yet");
    CHECK_ERROR(error, PRO_OK);
    return pipe;
}

/* One of another program's making, whose calls wait; ours where there are no other programs. */
static int adopt_pipe(pro_socket *reader, pro_socket *writer, pro_loop *loop)
{
    intptr_t fds[2];
    if (!t_pipe(fds)) return pro_pipe_pair(reader, writer, loop, NULL);
    int error = pro_socket_adopt(reader, loop, NULL, fds[0]);
    if (error == PRO_OK) error = pro_socket_adopt(writer, loop, NULL, fds[1]);
    return error;
}

static t_pair *socket_pair_new(pro_loop *loop)
{
    t_pair *pair = t_new(t_pair);
    int     error = pro_socket_pair(&pair->a, &pair->b, loop, NULL);
    if (error == PRO_ENOTSUP) t_skip("this engine has no socket pairs as yet");
    CHECK_ERROR(error, PRO_OK);
    return pair;
}

CONFORM(the_end_of_a_pipe_comes_after_all_its_data)
{
    enum { LEN = 500000 };
    pro_loop *loop = t_loop();
    t_pair   *pipe = pipe_new(loop);
    t_op     *send = t_new_op(), *shut = t_new_op(), *recv = t_new_op();
    char     *out = t_alloc(LEN), *in = t_alloc(LEN + 1);
    int64_t   got = 0;
    t_fill(out, LEN, 1, 0);
    pro_send_all(&send->op, &pipe->b, out, LEN, t_done); /* more than a pipe holds */
    pro_shutdown(&shut->op, &pipe->b, t_done);
    do {
        pro_recv(&recv->op, &pipe->a, in + got, (size_t)(LEN + 1 - got), t_done);
        t_wait(loop, recv);
        got += recv->value;
    } while (recv->error == PRO_OK);
    CHECK_ERROR(recv->error, PRO_EOF);
    CHECK_EQ(got, LEN);
    CHECK_FILL(in, LEN, 1, 0);
    CHECK_DONE(send, PRO_OK, LEN);
    CHECK_DONE(shut, PRO_OK, 0);

    /* It stays the end; again is no error; nothing more can be sent. */
    t_op *more = t_new_op(), *again = t_new_op(), *end = t_new_op();
    pro_send(&more->op, &pipe->b, "x", 1, t_done);
    pro_shutdown(&again->op, &pipe->b, t_done);
    pro_recv(&end->op, &pipe->a, in, 1, t_done);
    t_run(loop);
    CHECK_DONE(more, PRO_EPIPE, 0);
    CHECK_DONE(again, PRO_OK, 0);
    CHECK_DONE(end, PRO_EOF, 0);
    t_pair_close(loop, pipe);
}

CONFORM(an_aborted_pipe_ends_like_any)
{
    pro_loop *loop = t_loop();
    t_pair   *pipe = pipe_new(loop);
    t_op     *send = t_new_op(), *abort = t_new_op(), *recv = t_new_op();
    char     *in = t_alloc(4);
    pro_send_all(&send->op, &pipe->b, "abc", 3, t_done);
    t_wait(loop, send);
    pro_close_abort(&abort->op, &pipe->b, t_done);
    pro_recv_exactly(&recv->op, &pipe->a, in, 4, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_EOF, 3);
    t_close(loop, &pipe->a);
}

CONFORM(a_pipe_carries_pieces_in_order_whatever_their_form)
{
    enum { LEN = 200000 };
    pro_loop *loop = t_loop();
    t_pair   *pipe = pipe_new(loop);
    t_op     *sends = t_array(t_op, 3), *recvs = t_array(t_op, 3);
    char     *out = t_alloc(LEN), *in = t_alloc(LEN);
    pro_vec   from[3] = {{out + 10, 90000}, {out + 90010, 1}, {out + 90011, 50000}};
    pro_vec   into[2] = {{in + 1, 99999}, {in + 100000, 50000}};
    t_fill(out, LEN, 2, 0);
    pro_recv_exactly(&recvs[0].op, &pipe->a, in, 1, t_done);
    pro_recvv_exactly(&recvs[1].op, &pipe->a, into, 2, t_done);
    pro_recv_exactly(&recvs[2].op, &pipe->a, in + 150000, 50000, t_done);
    pro_send_all(&sends[0].op, &pipe->b, out, 10, t_done);
    pro_sendv_all(&sends[1].op, &pipe->b, from, 3, t_done);
    pro_send_all(&sends[2].op, &pipe->b, out + 140011, LEN - 140011, t_done);
    t_run(loop);
    CHECK_DONE(&sends[1], PRO_OK, 140001);
    CHECK_DONE(&recvs[0], PRO_OK, 1);
    CHECK_DONE(&recvs[1], PRO_OK, 149999);
    CHECK_DONE(&recvs[2], PRO_OK, 50000);
    CHECK_FILL(in, LEN, 2, 0);
    t_pair_close(loop, pipe);
}

CONFORM(a_pipe_without_a_reader_is_broken_and_no_signal_comes)
{
    enum { LEN = 1000000 };
    pro_loop *loop = t_loop();
    char     *out = t_alloc(LEN);
    for (int pending = 0; pending < 2; pending++) {
        t_pair *pipe = pipe_new(loop);
        t_op   *send = t_new_op(), *queued = t_new_op(), *later = t_new_op(), *recv = t_new_op();
        char    byte;
        if (pending) { /* more than it holds is on its way */
            pro_send_all(&send->op, &pipe->b, out, LEN, t_done);
            pro_send_all(&queued->op, &pipe->b, out, 1, t_done);
            pro_recv(&recv->op, &pipe->a, &byte, 1, t_done);
            t_wait_count(loop, &recv->done, 1);
            CHECK_EQ(send->done, 0);
        }
        t_close(loop, &pipe->a);
        if (!pending) {
            pro_send_all(&send->op, &pipe->b, out, 100, t_done);
            pro_send_all(&queued->op, &pipe->b, out, 1, t_done);
        }
        t_run(loop);
        CHECK_EQ(send->done, 1);
        CHECK_ERROR(send->error, PRO_EPIPE);
        if (pending) CHECK_GT(send->value, 0);
        CHECK_DONE(queued, PRO_EPIPE, 0);
        pro_send(&later->op, &pipe->b, out, 1, t_done);
        t_run(loop);
        CHECK_DONE(later, PRO_EPIPE, 0);
        t_close(loop, &pipe->b);
    }
}

CONFORM(the_wrong_end_of_a_pipe_is_refused)
{
    pro_loop   *loop = t_loop();
    t_pair     *pipe = pipe_new(loop);
    t_op       *ops = t_array(t_op, 5);
    pro_address address = pro_address_loopback(PRO_IPV4, 1);
    char        byte, other = 'x';
    pro_recv(&ops[0].op, &pipe->b, &byte, 1, t_done);
    pro_send(&ops[1].op, &pipe->a, &other, 1, t_done);
    pro_shutdown(&ops[2].op, &pipe->a, t_done);
    pro_connect(&ops[3].op, &pipe->b, &address, t_done);
    pro_recv(&ops[4].op, &pipe->a, &byte, 0, t_done);
    CHECK_EQ(ops[0].done, 0); /* not inside */
    t_run(loop);
    for (int i = 0; i < 4; i++) CHECK_DONE(&ops[i], PRO_EBADF, 0);
    CHECK_DONE(&ops[4], PRO_OK, 0);
    CHECK(pro_socket_local(&pipe->a, &address) != PRO_OK);
    CHECK(pro_socket_set(&pipe->a, PRO_OPT_NODELAY, 1) != PRO_OK);
    t_pair_close(loop, pipe);
}

CONFORM(operations_on_a_pipe_are_canceled_timed_out_and_closed_once)
{
    enum { LEN = 1000000 };
    pro_loop *loop = t_loop();
    t_pair   *pipe = pipe_new(loop);
    t_op     *ops = t_array(t_op, 4), *sends = t_array(t_op, 2), *close = t_new_op();
    char     *out = t_alloc(LEN), in[4];
    ops[1].op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
    for (int i = 0; i < 4; i++) pro_recv(&ops[i].op, &pipe->a, &in[i], 1, t_done);
    t_poll(loop);
    pro_cancel(&ops[0].op);
    t_wait_count(loop, &ops[0].done, 1);
    t_wait_count(loop, &ops[1].done, 1);
    CHECK_DONE(&ops[0], PRO_ECANCELED, 0);
    CHECK_DONE(&ops[1], PRO_ETIMEDOUT, 0);
    CHECK_EQ(ops[2].done, 0);
    pro_send_all(&sends[0].op, &pipe->b, out, 1, t_done);
    t_wait_count(loop, &ops[2].done, 1);
    CHECK_DONE(&ops[2], PRO_OK, 1);
    pro_close(&close->op, &pipe->a, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(&ops[3], PRO_ECANCELED, 0);
    CHECK_LT(ops[3].order, close->order);
    t_close(loop, &pipe->b);

    pipe = pipe_new(loop); /* and a send that is stuck, with the bytes so far */
    pro_send_all(&sends[1].op, &pipe->b, out, LEN, t_done);
    t_settle(loop);
    pro_cancel(&sends[1].op);
    t_wait_count(loop, &sends[1].done, 1);
    CHECK_ERROR(sends[1].error, PRO_ECANCELED);
    CHECK_GT(sends[1].value, 0);
    CHECK_LT(sends[1].value, LEN);
    t_pair_close(loop, pipe);
}

CONFORM(a_pipe_of_another_program_is_a_stream_like_ours)
{
    enum { LEN = 300000 };
    pro_loop *loop = t_loop();
    t_pair   *ours = pipe_new(loop), *pipe = t_new(t_pair); /* ours: is there any? */
    t_op     *send = t_new_op(), *shut = t_new_op(), *recv = t_new_op(), *timed = t_new_op(),
         *end = t_new_op();
    char *out = t_alloc(LEN), *in = t_alloc(LEN);
    t_fill(out, LEN, 3, 0);
    t_pair_close(loop, ours);
    CHECK_ERROR(adopt_pipe(&pipe->a, &pipe->b, loop), PRO_OK);
    pro_send_all(&send->op, &pipe->b, out, LEN, t_done);
    pro_shutdown(&shut->op, &pipe->b, t_done);
    pro_recv_exactly(&recv->op, &pipe->a, in, LEN, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_OK, LEN);
    CHECK_FILL(in, LEN, 3, 0);
    pro_recv(&end->op, &pipe->a, in, 1, t_done);
    t_wait(loop, end);
    CHECK_DONE(end, PRO_EOF, 0);
    CHECK_DONE(send, PRO_OK, LEN);
    CHECK_DONE(shut, PRO_OK, 0);
    t_pair_close(loop, pipe);

    /* What waits ends when it is told to, and loses nothing. */
    pipe = t_new(t_pair);
    CHECK_ERROR(adopt_pipe(&pipe->a, &pipe->b, loop), PRO_OK);
    for (int i = 0, rounds = t_rounds(100); i < rounds; i++) {
        recv = t_new_op();
        pro_recv(&recv->op, &pipe->a, in, 1, t_done);
        if (i % 3) t_poll(loop);
        pro_cancel(&recv->op);
        t_wait_count(loop, &recv->done, 1);
        CHECK_DONE(recv, PRO_ECANCELED, 0);
    }
    timed->op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
    pro_recv(&timed->op, &pipe->a, in, 1, t_done);
    t_wait_count(loop, &timed->done, 1);
    CHECK_DONE(timed, PRO_ETIMEDOUT, 0);
    send = t_new_op();
    pro_send_all(&send->op, &pipe->b, out, LEN, t_done); /* more than fits */
    t_settle(loop);
    pro_cancel(&send->op);
    t_wait_count(loop, &send->done, 1);
    CHECK_ERROR(send->error, PRO_ECANCELED);
    t_close(loop, &pipe->b);
    int64_t got = 0;
    do {
        recv = t_new_op();
        pro_recv(&recv->op, &pipe->a, in + got, (size_t)(LEN - got), t_done);
        t_wait(loop, recv);
        got += recv->value;
    } while (recv->error == PRO_OK);
    CHECK_ERROR(recv->error, PRO_EOF);
    CHECK_EQ(got, send->value);
    CHECK_FILL(in, got, 3, 0);
    t_close(loop, &pipe->a);
}

CONFORM(an_adopted_pipe_is_a_stream_and_nothing_else)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = socket_pair_new(loop), *pipe = pipe_new(loop);
    pro_socket   *s = t_new(pro_socket);
    pro_datagram *d = t_new(pro_datagram);
    pro_listener *l = t_new(pro_listener);
    t_op         *send = t_new_op(), *recv = t_new_op(), *take = t_new_op();
    intptr_t      fd = pro_socket_descriptor(&pipe->b);
    char          byte;
    CHECK_ERROR(pro_datagram_adopt(d, loop, NULL, fd), PRO_EBADF);
    CHECK_ERROR(pro_listener_adopt(l, loop, NULL, fd), PRO_EBADF);
    (void)take;
    (void)pair;
    CHECK_ERROR(pro_socket_standard(s, loop, NULL, (pro_standard)3), PRO_EINVAL);
    pro_send_all(&send->op, &pipe->b, "x", 1, t_done);
    pro_recv(&recv->op, &pipe->a, &byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_OK, 1);
    t_pair_close(loop, pair);
    t_pair_close(loop, pipe);
}

CONFORM(a_pair_of_sockets_goes_both_ways)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = socket_pair_new(loop);
    t_op     *ops = t_array(t_op, 6);
    char      in[10];
    pro_send_all(&ops[0].op, &pair->a, "there", 5, t_done);
    pro_send_all(&ops[1].op, &pair->b, "back", 4, t_done);
    pro_recv_exactly(&ops[2].op, &pair->b, in, 5, t_done);
    pro_recv_exactly(&ops[3].op, &pair->a, in + 5, 4, t_done);
    t_run(loop);
    CHECK_DONE(&ops[2], PRO_OK, 5);
    CHECK_DONE(&ops[3], PRO_OK, 4);
    CHECK(memcmp(in, "thereback", 9) == 0);
    pro_shutdown(&ops[4].op, &pair->a, t_done);
    pro_recv(&ops[5].op, &pair->b, in, 1, t_done);
    t_run(loop);
    CHECK_DONE(&ops[5], PRO_EOF, 0);
    t_pair_close(loop, pair);
}

CONFORM(a_pair_of_datagram_sockets_keeps_messages_apart)
{
    pro_loop     *loop = t_loop();
    pro_datagram *pair = t_array(pro_datagram, 2);
    t_op         *ops = t_array(t_op, 6), *closes = t_array(t_op, 2);
    char          in[3][10];
    int           error = pro_datagram_pair(&pair[0], &pair[1], loop, NULL);
    if (error == PRO_ENOTSUP) t_skip("this engine has no socket pairs as yet");
    CHECK_ERROR(error, PRO_OK);
    pro_send_to(&ops[0].op, &pair[0], "one", 3, NULL, t_done);
    pro_send_to(&ops[1].op, &pair[0], NULL, 0, NULL, t_done);
    pro_send_to(&ops[2].op, &pair[0], "three", 5, NULL, t_done);
    for (int i = 0; i < 3; i++) pro_recv_from(&ops[3 + i].op, &pair[1], in[i], 10, NULL, t_done);
    t_run(loop);
    CHECK_DONE(&ops[3], PRO_OK, 3);
    CHECK_DONE(&ops[4], PRO_OK, 0);
    CHECK_DONE(&ops[5], PRO_OK, 5);
    for (int i = 0; i < 2; i++) pro_datagram_close(&closes[i].op, &pair[i], t_done);
    t_run(loop);
}

CONFORM(pipes_and_pairs_without_descriptors_stay_the_callers)
{
    pro_loop     *loop = t_loop();
    t_pair       *pipe = pipe_new(loop), *none = t_new(t_pair);
    pro_datagram *d = t_array(pro_datagram, 2);
    pro_socket   *s = t_new(pro_socket);
    pro_listener *l = t_new(pro_listener);
    if (!t_descriptors_exhaust()) t_skip("descriptors cannot be used up here");
    int errors[] = {
        pro_pipe_pair(&none->a, &none->b, loop, NULL),
        pro_socket_pair(&none->a, &none->b, loop, NULL),
        pro_datagram_pair(&d[0], &d[1], loop, NULL),
        pro_datagram_open(&d[0], loop, NULL, PRO_UNIX),
        pro_listen_unix(l, loop, NULL, "@proactor-exhausted", NULL),
        pro_socket_standard(s, loop, NULL, PRO_STDIN),
    };
    t_descriptors_restore();
    for (int i = 0; i < 5; i++)
        if (i < 2 || errors[i] != PRO_ENOTSUP) /* no Unix sockets here */
            CHECK_ERROR(errors[i], PRO_EMFILE);
    CHECK(errors[5] == PRO_EMFILE || errors[5] == PRO_EINVAL || errors[5] == PRO_EBADF ||
          errors[5] == PRO_ENOTSUP);
    CHECK_ERROR(pro_pipe_pair(&none->a, &none->b, loop, NULL), PRO_OK);
    t_pair_close(loop, none);
    t_pair_close(loop, pipe);
}

/* ---- Files as streams ------------------------------------------------------------------------- */

enum { FILE_LEN = 500000 };

static int no_threads(void *ctx, const char *call)
{
    (void)ctx;
    int number = 1;
    while (pro_error_from_system(number) != PRO_ENOMEM) number++;
    return strcmp(call, "thread") == 0 ? number : 0;
}

static pro_socket *file_stream(pro_loop *loop, const char *path)
{
    pro_socket *s = t_new(pro_socket);
    CHECK_ERROR(pro_socket_adopt(s, loop, NULL, t_open(path)), PRO_OK);
    return s;
}

CONFORM(a_file_as_a_stream_is_read_and_written_where_it_stands)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "stream");
    t_op       *ops = t_array(t_op, 6);
    char       *in = t_alloc(FILE_LEN + 1);
    t_file_make(path, FILE_LEN, 3);
    pro_socket *s = file_stream(loop, path);
    for (int i = 0; i < 3; i++) /* behind each other, though threads do them */
        pro_recv_exactly(&ops[i].op, s, in + i * 1000, 1000, t_done);
    pro_vec vecs[2] = {{in + 3000, 5}, {in + 3005, FILE_LEN - 3005}};
    pro_recvv_exactly(&ops[3].op, s, vecs, 2, t_done);
    pro_recv(&ops[4].op, s, in, 1, t_done);
    t_run(loop);
    for (int i = 0; i < 3; i++) CHECK_DONE(&ops[i], PRO_OK, 1000);
    CHECK_DONE(&ops[3], PRO_OK, FILE_LEN - 3000);
    CHECK_DONE(&ops[4], PRO_EOF, 0);
    pro_send_all(&ops[5].op, s, in, FILE_LEN, t_done); /* at its end */
    t_run(loop);
    CHECK_DONE(&ops[5], PRO_OK, FILE_LEN);
    t_close(loop, s);
    CHECK_EQ(t_file_size(path), 2 * FILE_LEN);
    t_file_check(path, FILE_LEN, 3, 0);
    t_dir_remove(loop, dir);
}

/* The disk could hold up the loop, and no engine would be told. */
CONFORM(a_file_as_a_stream_is_read_by_the_pool_or_not_at_all)
{
    pro_loop_options options = t_loop_options();
    options.env.fault = no_threads;
    pro_loop   *loop = t_loop_with(&options), *other = t_loop();
    const char *dir = t_dir(other), *path = t_in(dir, "stream");
    t_op       *recv = t_new_op();
    char        in[10];
    t_file_make(path, 10, 3);
    pro_socket *s = file_stream(loop, path);
    pro_recv(&recv->op, s, in, 10, t_done);
    t_run(loop);
    CHECK_DONE(recv, PRO_ENOMEM, 0);
    t_close(loop, s);
    t_dir_remove(other, dir);
}

CONFORM(a_close_of_a_file_as_a_stream_waits_for_the_thread_that_reads_it)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "stream");
    char       *in = t_alloc(FILE_LEN);
    t_file_make(path, FILE_LEN, 3);
    for (int i = 0; i < t_rounds(100); i++) {
        t_op       *ops = t_array(t_op, 4), *close = t_new_op();
        pro_socket *s = file_stream(loop, path);
        for (int k = 0; k < 4; k++) pro_recv_exactly(&ops[k].op, s, in + k * 10000, 10000, t_done);
        if (i % 2) pro_cancel(&ops[i % 4].op);
        pro_close(&close->op, s, t_done);
        t_run(loop);
        CHECK_DONE(close, PRO_OK, 0);
        for (int k = 0; k < 4; k++) {
            CHECK_EQ(ops[k].done, 1);
            CHECK(ops[k].error == PRO_ECANCELED || ops[k].error == PRO_OK);
            CHECK_LT(ops[k].order, close->order);
        }
    }
    t_dir_remove(loop, dir);
}

/* ---- A random program over streams of several kinds ------------------------------------------ */

enum { PIPE, SOCKETS, ADOPTED, KINDS };
enum { STREAMS = 6, READS = 3, MOST = 30000 };

/* One direction: sends one after the other, receives up to three at a time. */
struct direction {
    struct stream *stream;
    pro_socket    *from, *to;
    t_op           send, recvs[READS];
    char           out[MOST], in[READS][MOST];
    pro_vec        out_vecs[2], in_vecs[READS][2];
    uint64_t       sent, received;
    bool           is_sending, is_receiving[READS], is_over;
};

struct stream {
    pro_loop        *loop;
    pro_socket       a, b;
    struct direction ways[2];
    int              way_count, closing;
    long             initiated, completed;
};

static void sent(t_op *t)
{
    struct direction *way = pro_container_of(t, struct direction, send);
    CHECK(way->is_sending);
    way->is_sending = false;
    way->stream->completed++;
    way->sent += (uint64_t)t->value;
    if (t->error != PRO_OK) way->is_over = t->value > 0 || t->error != PRO_ECANCELED;
    switch (t->error) {
    case PRO_OK:
    case PRO_ECANCELED:
    case PRO_ETIMEDOUT:
    case PRO_EPIPE:
    case PRO_ECONNRESET:
    case PRO_ECLOSED: break;
    default: FAIL("a %s ended with %s", pro_op_name(&t->op), pro_error_name(t->error));
    }
}

static void received(t_op *t)
{
    struct direction *way = t->ctx;
    int               i = (int)(t - way->recvs);
    CHECK(way->is_receiving[i]);
    way->is_receiving[i] = false;
    way->stream->completed++;
    CHECK_GE(t->value, 0);
    CHECK_FILL(way->in[i], t->value, 9, way->received);
    way->received += (uint64_t)t->value;
    switch (t->error) {
    case PRO_OK:
    case PRO_ECANCELED:
    case PRO_ETIMEDOUT:
    case PRO_EOF:
    case PRO_ECONNRESET:
    case PRO_ECLOSED: break;
    default: FAIL("a %s ended with %s", pro_op_name(&t->op), pro_error_name(t->error));
    }
}

static void send_some(struct direction *way)
{
    size_t len = t_below(8) ? t_below(2000) : t_below(MOST);
    size_t first = t_below(len + 1);
    t_fill(way->out, len, 9, way->sent);
    way->out_vecs[0] = (pro_vec){way->out, first};
    way->out_vecs[1] = (pro_vec){way->out + first, len - first};
    way->is_sending = true;
    way->stream->initiated++;
    if (t_below(8) == 0)
        way->send.op.deadline_ns = pro_loop_now(way->stream->loop) + 1 + t_below(PRO_MSEC);
    switch (t_below(4)) {
    case 0: pro_send(&way->send.op, way->from, way->out, len, t_done); break;
    case 1: pro_sendv(&way->send.op, way->from, way->out_vecs, 2, t_done); break;
    case 2: pro_send_all(&way->send.op, way->from, way->out, len, t_done); break;
    default: pro_sendv_all(&way->send.op, way->from, way->out_vecs, 2, t_done); break;
    }
}

static void receive_some(struct direction *way, int i)
{
    t_op  *t = &way->recvs[i];
    size_t len = t_below(8) ? t_below(2000) : t_below(MOST), first = t_below(len + 1);
    way->in_vecs[i][0] = (pro_vec){way->in[i], first};
    way->in_vecs[i][1] = (pro_vec){way->in[i] + first, len - first};
    way->is_receiving[i] = true;
    way->stream->initiated++;
    if (t_below(8) == 0)
        t->op.deadline_ns = pro_loop_now(way->stream->loop) + 1 + t_below(PRO_MSEC);
    switch (t_below(3)) {
    case 0: pro_recv(&t->op, way->to, way->in[i], len, t_done); break;
    case 1: pro_recvv(&t->op, way->to, way->in_vecs[i], 2, t_done); break;
    default: pro_recv_exactly(&t->op, way->to, way->in[i], len / 4, t_done); break;
    }
}

static void begin(struct stream *s, pro_loop *loop, int kind)
{
    memset(s, 0, sizeof *s);
    s->loop = loop;
    s->way_count = kind == SOCKETS ? 2 : 1;
    int error = kind == PIPE      ? pro_pipe_pair(&s->b, &s->a, loop, NULL)
                : kind == SOCKETS ? pro_socket_pair(&s->a, &s->b, loop, NULL)
                                  : adopt_pipe(&s->b, &s->a, loop);
    if (error == PRO_ENOTSUP) t_skip("this engine has no pipes as yet");
    CHECK_ERROR(error, PRO_OK);
    for (int w = 0; w < 2; w++) {
        struct direction *way = &s->ways[w];
        way->stream = s;
        way->from = w ? &s->b : &s->a;
        way->to = w ? &s->a : &s->b;
        way->send.then = sent;
        for (int i = 0; i < READS; i++) {
            way->recvs[i].then = received;
            way->recvs[i].ctx = way;
        }
    }
}

static void finish(struct stream *s)
{
    t_op *closes = t_array(t_op, 2);
    pro_close(&closes[0].op, &s->a, t_done);
    pro_close(&closes[1].op, &s->b, t_done);
    t_wait_count(s->loop, &closes[0].done, 1);
    t_wait_count(s->loop, &closes[1].done, 1);
    while (s->completed < s->initiated) t_turn(s->loop);
    CHECK_EQ(s->completed, s->initiated);
    for (int w = 0; w < 2; w++) {
        CHECK(!s->ways[w].is_sending);
        CHECK_LE(s->ways[w].received, s->ways[w].sent);
    }
}

CONFORM(pipes_and_pairs_complete_exactly_once_and_keep_their_bytes)
{
    pro_loop      *loop = t_loop();
    struct stream *streams = t_array(struct stream, STREAMS);
    long           all = 0;
    uint64_t       bytes = 0;
    for (int i = 0; i < STREAMS; i++) begin(&streams[i], loop, i % KINDS);
    for (int round = t_count(20000); round > 0; round--) {
        struct stream    *s = &streams[t_below(STREAMS)];
        struct direction *way = &s->ways[t_below((uint64_t)s->way_count)];
        int               i = (int)t_below(READS);
        if (!way->is_sending && !way->is_over) send_some(way);
        if (!way->is_receiving[i]) receive_some(way, i);
        if (t_below(30) == 0) pro_cancel(&way->send.op);
        if (t_below(30) == 0) pro_cancel(&way->recvs[t_below(READS)].op);
        if (t_below(400) == 0 || (way->is_over && t_below(20) == 0)) {
            int kind = (int)(s - streams) % KINDS;
            finish(s);
            all += s->completed;
            bytes += s->ways[0].received + s->ways[1].received;
            begin(s, loop, kind);
        }
        if (t_below(3) == 0) t_poll(loop);
    }
    for (int i = 0; i < STREAMS; i++) finish(&streams[i]);
    t_note("%ld operations, %llu bytes\n", all, (unsigned long long)bytes);
    CHECK_GT(bytes, 0);
}
