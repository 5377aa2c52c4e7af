/* Copying files to sockets: all of it, in its place among the sends, and cut short like a send. */
#include "lib/files.h"
#include "lib/net.h"
#include "lib/world.h"

enum { KEY = 77 };

typedef struct sending {
    t_pair  *pair;
    pro_copy copy;
    t_op    *op;
} sending;

static sending *of_file(pro_loop *loop, t_pair *pair, size_t file_len, uint64_t offset,
                        uint64_t len)
{
    sending    *s = t_new(sending);
    const char *path = t_path("file");
    (void)loop;
    s->pair = pair;
    s->copy = (pro_copy){.file = t_pattern_file(path, file_len, KEY), .offset = offset, .len = len};
    s->op = t_new_op();
    t_remove(path); /* it lives on by its descriptor */
    return s;
}

static void start(sending *s)
{
    pro_copy_file(&s->op->op, &s->pair->a, &s->copy, t_done);
    CHECK_EQ(s->op->done, 0);
}

CONFORM(a_file_is_copied_to_a_socket_whole)
{
    static const struct {
        size_t   file_len;
        uint64_t offset, len, want;
    } cases[] = {{5000000, 0, 5000000, 5000000},
                 {5000000, 123457, PRO_COPY_ALL, 4876543},
                 {3000, 1000, 1500, 1500},
                 {1, 0, PRO_COPY_ALL, 1},
                 {0, 0, PRO_COPY_ALL, 0},
                 {1000, 5000, PRO_COPY_ALL, 0},
                 {1000, 0, 0, 0},
                 {1 << 20, 0, 1 << 20, 1 << 20}};
    pro_loop *loop = t_loop();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int again = 0; again < 2;
             again++) { /* out of the cache, if that was possible, and in it */
            t_pair  *pair = t_pair_new(loop);
            sending *s = of_file(loop, pair, cases[i].file_len, cases[i].offset, cases[i].len);
            size_t   want = (size_t)cases[i].want;
            char    *buf = t_alloc(want + 1);
            t_op    *recv = t_new_op(), *shut = t_new_op(), *end = t_new_op();
            start(s);
            pro_shutdown(&shut->op, &pair->a, t_done);
            pro_recv_exactly(&recv->op, &pair->b, buf, want, t_done);
            pro_recv(&end->op, &pair->b, buf + want, 1, t_done);
            t_wait_count(loop, &end->done, 1);
            CHECK_DONE(s->op, PRO_OK, cases[i].want);
            CHECK_EQ(s->copy.copied, cases[i].want);
            CHECK_DONE(recv, PRO_OK, (int64_t)want);
            CHECK_DONE(end, PRO_EOF, 0);
            CHECK_FILL(buf, want, KEY, cases[i].offset);
            t_close_fd(s->copy.file);
            t_pair_close(loop, pair);
        }
    }
}

CONFORM(a_copy_has_its_place_among_the_sends)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_narrow(loop);
    sending  *s = of_file(loop, pair, 2000000, 0, 2000000);
    sending  *second = of_file(loop, pair, 300, 100, 200);
    char     *buf = t_alloc(2000210);
    t_op     *head = t_new_op(), *tail = t_new_op(), *recv = t_new_op();
    t_op     *back = t_new_op(), *forth = t_new_op();
    char      echo;
    pro_send_all(&head->op, &pair->a, "head:", 5, t_done);
    start(s);
    start(second);
    pro_send_all(&tail->op, &pair->a, ":tail", 5, t_done);
    pro_recv(&back->op, &pair->a, &echo, 1, t_done); /* the other direction lives on meanwhile */
    t_poll(loop);
    pro_send(&forth->op, &pair->b, "x", 1, t_done);
    t_wait_count(loop, &back->done, 1);
    CHECK_DONE(back, PRO_OK, 1);
    CHECK_EQ(s->op->done, 0);
    pro_recv_exactly(&recv->op, &pair->b, buf, 2000210, t_done);
    t_wait_count(loop, &recv->done, 1);
    t_wait_count(loop, &tail->done, 1);
    CHECK_DONE(s->op, PRO_OK, 2000000);
    CHECK_DONE(second->op, PRO_OK, 200);
    CHECK(head->order < s->op->order && s->op->order < second->op->order &&
          second->op->order < tail->order);
    CHECK(memcmp(buf, "head:", 5) == 0 && memcmp(buf + 2000205, ":tail", 5) == 0);
    CHECK_FILL(buf + 5, 2000000, KEY, 0);
    CHECK_FILL(buf + 2000005, 200, KEY, 100);
    t_close_fd(s->copy.file);
    t_close_fd(second->copy.file);
    t_pair_close(loop, pair);
}

CONFORM(a_copy_cut_short_says_how_much_went_and_leaves_a_hole)
{
    pro_loop *loop = t_loop();
    uint64_t  patience = 20 * PRO_MSEC;
    for (int way = 0; way < 3; way++) {
        t_pair  *pair = t_pair_narrow(loop);
        sending *s = of_file(loop, pair, CLOG_LEN, 0, CLOG_LEN);
        char    *buf = t_alloc(CLOG_LEN);
        t_op    *behind = t_new_op(), *first = t_new_op(), *end = t_new_op(), *rest = t_new_op();
        t_op    *close = t_new_op();
        if (way == 1) s->op->op.deadline_ns = pro_loop_now(loop) + patience;
        start(s);
        pro_send(&behind->op, &pair->a, "x", 1, t_done);
        pro_recv_exactly(&first->op, &pair->b, buf, 1000, t_done);
        if (way == 1) {
            t_wait_count(loop, &s->op->done, 1);
            if (s->op->value < 1000) { /* before it had begun: the machine is slow today */
                patience *= 2;
                way--;
                t_pair_close(loop, pair);
                t_close_fd(s->copy.file);
                continue;
            }
        }
        t_wait_count(loop, &first->done, 1);
        for (int i = 0; i < 20; i++) t_poll(loop); /* until it is stuck, most likely */
        CHECK_EQ(s->op->done, way == 1 ? s->op->done : 0);
        if (way == 0) pro_cancel(&s->op->op);
        if (way == 2) pro_close(&close->op, &pair->a, t_done);
        t_wait_count(loop, &s->op->done, 1);
        CHECK_ERROR(s->op->error, way == 1 ? PRO_ETIMEDOUT : PRO_ECANCELED);
        CHECK(s->op->value >= 1000 && s->op->value < (int64_t)CLOG_LEN);
        CHECK_EQ(s->copy.copied, s->op->value);
        t_wait_count(loop, &behind->done, 1);
        CHECK_DONE(behind, way == 2 ? PRO_ECANCELED : PRO_EPIPE, 0);
        pro_recv_exactly(&rest->op, &pair->b, buf + 1000, (size_t)s->op->value - 1000, t_done);
        if (way == 2)
            t_wait_count(loop, &close->done, 1);
        else
            t_close(loop, &pair->a);
        pro_recv(&end->op, &pair->b, buf, 1, t_done);
        t_wait_count(loop, &rest->done, 1);
        CHECK_DONE(rest, PRO_OK, s->op->value - 1000);
        CHECK_FILL(buf + 1000, (size_t)s->op->value - 1000, KEY, 1000);
        t_wait_count(loop, &end->done, 1); /* not a byte more */
        CHECK(end->error != PRO_OK);
        t_close(loop, &pair->b);
        t_close_fd(s->copy.file);
    }
}

CONFORM(a_copy_of_a_file_that_is_too_short_says_so)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    sending  *s = of_file(loop, pair, 1000, 400, 601);
    t_op     *behind = t_new_op();
    start(s);
    pro_send(&behind->op, &pair->a, "x", 1, t_done);
    t_wait_count(loop, &behind->done, 1);
    CHECK_DONE(s->op, PRO_EOF, 600);
    CHECK_DONE(behind, PRO_EPIPE, 0);
    t_close_fd(s->copy.file);
    t_pair_close(loop, pair);
}

/* After a reset, or after an orderly end: then the first bytes still go, and the rest of the same call fails. */
CONFORM(a_copy_to_a_peer_that_is_gone_is_an_error_and_no_signal)
{
    pro_loop *loop = t_loop();
    for (int orderly = 0; orderly < 2; orderly++) {
        pro_socket *sock = t_new(pro_socket);
        t_pair     *pair = t_new(t_pair);
        peer        raw = t_raw_pair(loop, sock);
        orderly ? peer_close(raw) : peer_reset(raw);
        sending *s = of_file(loop, pair, 3000000, 0, PRO_COPY_ALL);
        for (int i = 0; i < 2; i++) {
            s->op->done = 0;
            pro_copy_file(&s->op->op, sock, &s->copy, t_done);
            t_wait_count(loop, &s->op->done, 1);
            CHECK(s->op->error == PRO_ECONNRESET || s->op->error == PRO_EPIPE);
        }
        t_close(loop, sock);
        t_close_fd(s->copy.file);
    }
}

/* The system tells a reset once, here to a copy; a receive after that finds an empty stream. */
CONFORM(a_reset_that_a_copy_was_told_is_not_an_end_of_stream)
{
    pro_loop   *loop = t_loop();
    pro_socket *sock = t_new(pro_socket);
    t_pair     *pair = t_new(t_pair);
    t_op       *recv = t_new_op();
    char        byte;
    peer        raw = t_raw_pair(loop, sock);
    sending    *s = of_file(loop, pair, 100000, 0, PRO_COPY_ALL);
    peer_reset(raw);
    do {
        s->op->done = 0;
        pro_copy_file(&s->op->op, sock, &s->copy, t_done);
        t_wait_count(loop, &s->op->done, 1);
    } while (s->op->error == PRO_OK);
    pro_recv(&recv->op, sock, &byte, 1, t_done);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_ECONNRESET, 0);
    t_close(loop, sock);
    t_close_fd(s->copy.file);
}

CONFORM(a_copy_that_cannot_begin_is_an_error)
{
    pro_loop   *loop = t_loop();
    t_pair     *pair = t_pair_new(loop);
    pro_copy    bad = {.file = -1, .len = 10};
    pro_socket *bare = t_new(pro_socket);
    t_op       *no_file = t_new_op(), *no_socket = t_new_op(), *after = t_new_op();
    pro_copy_file(&no_file->op, &pair->a, &bad, t_done);
    t_wait_count(loop, &no_file->done, 1);
    CHECK_DONE(no_file, PRO_EBADF, 0);
    pro_send(&after->op, &pair->a, "x", 1, t_done); /* nothing went, so there is no hole */
    t_wait_count(loop, &after->done, 1);
    CHECK_DONE(after, PRO_OK, 1);
    pro_socket_init(bare, loop, NULL);
    pro_copy_file(&no_socket->op, bare, &bad, t_done);
    t_wait_count(loop, &no_socket->done, 1);
    CHECK_DONE(no_socket, PRO_ENOTCONN, 0);
    t_close(loop, bare);
    t_pair_close(loop, pair);
}

CONFORM(a_file_that_cannot_be_sent_as_it_is_goes_through_a_buffer)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    pro_copy  copy = {.file = t_open("/proc/self/status"), .len = PRO_COPY_ALL};
    char      buf[5];
    t_op     *op = t_new_op(), *recv = t_new_op();
    pro_copy_file(&op->op, &pair->a, &copy, t_done);
    pro_recv_exactly(&recv->op, &pair->b, buf, sizeof buf, t_done);
    t_wait_count(loop, &op->done, 1);
    CHECK_ERROR(op->error, PRO_OK);
    CHECK_GT(op->value, 100);
    t_wait_count(loop, &recv->done, 1);
    CHECK(memcmp(buf, "Name:", 5) == 0);
    t_close_fd(copy.file);
    t_pair_close(loop, pair);
}

CONFORM(a_copy_may_begin_beyond_four_gigabytes)
{
    enum { LEN = 70000 };
    const uint64_t at = UINT64_C(5) << 30;
    pro_loop      *loop = t_loop();
    t_pair        *pair = t_pair_new(loop);
    pro_file      *file = t_new(pro_file);
    const char    *dir = t_dir(loop);
    char          *bytes = t_alloc(LEN), *buf = t_alloc(LEN);
    t_op          *write = t_new_op(), *op = t_new_op(), *recv = t_new_op();
    t_file_open(loop, file, t_in(dir, "sparse"), PRO_FILE_READ | PRO_FILE_WRITE | PRO_FILE_CREATE);
    t_fill(bytes, LEN, KEY, 0);
    pro_file_write(&write->op, file, bytes, LEN, at, t_done);
    t_wait(loop, write);
    CHECK_DONE(write, PRO_OK, LEN);
    pro_copy copy = {.file = pro_file_descriptor(file), .offset = at + 1000, .len = PRO_COPY_ALL};
    pro_copy_file(&op->op, &pair->a, &copy, t_done);
    pro_recv_exactly(&recv->op, &pair->b, buf, LEN - 1000, t_done);
    t_wait_count(loop, &recv->done, 1);
    t_wait_count(loop, &op->done, 1);
    CHECK_DONE(op, PRO_OK, LEN - 1000);
    CHECK_DONE(recv, PRO_OK, LEN - 1000);
    CHECK_FILL(buf, LEN - 1000, KEY, 1000);
    t_file_close(loop, file);
    t_dir_remove(loop, dir);
    t_pair_close(loop, pair);
}

CONFORM(what_has_no_offsets_is_no_file_to_copy)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = t_pair_new(loop);
    intptr_t  fds[2];
    t_op     *op = t_new_op(), *after = t_new_op();
    t_pipe(fds);
    t_write_fd(fds[1], "text");
    pro_copy copy = {.file = fds[0], .len = 4};
    pro_copy_file(&op->op, &pair->a, &copy, t_done);
    t_wait_count(loop, &op->done, 1);
    CHECK_DONE(op, PRO_EINVAL, 0);
    pro_send(&after->op, &pair->a, "x", 1, t_done); /* nothing went, so there is no hole */
    t_wait_count(loop, &after->done, 1);
    CHECK_DONE(after, PRO_OK, 1);
    t_close_fd(fds[0]);
    t_close_fd(fds[1]);
    t_pair_close(loop, pair);
}

/* A pipe that is smaller than the file, whose reader comes late. */
CONFORM(a_file_is_copied_to_a_pipe_too)
{
    enum { LEN = 300000 };
    pro_loop *loop = t_loop();
    t_pair   *pair = t_new(t_pair);
    sending  *s = of_file(loop, pair, LEN, 0, PRO_COPY_ALL);
    char     *buf = t_alloc(LEN + 1);
    t_op     *first = t_new_op(), *rest = t_new_op(), *end = t_new_op();
    t_op     *wrong = t_new_op();
    CHECK_ERROR(pro_pipe_pair(&pair->b, &pair->a, loop, NULL), PRO_OK);
    pro_copy_file(&wrong->op, &pair->b, &s->copy, t_done);
    t_wait_count(loop, &wrong->done, 1);
    CHECK_DONE(wrong, PRO_EBADF, 0);
    start(s);
    pro_recv_exactly(&first->op, &pair->b, buf, 1000, t_done);
    t_wait_count(loop, &first->done, 1);
    for (int i = 0; i < 5; i++) t_poll(loop);
    CHECK_EQ(s->op->done, 0);
    pro_recv_exactly(&rest->op, &pair->b, buf + 1000, LEN - 1000, t_done);
    t_wait_count(loop, &rest->done, 1);
    t_wait_count(loop, &s->op->done, 1);
    CHECK_DONE(s->op, PRO_OK, LEN);
    CHECK_DONE(rest, PRO_OK, LEN - 1000);
    CHECK_FILL(buf, LEN, KEY, 0);
    t_close(loop, &pair->a);
    pro_recv(&end->op, &pair->b, buf, 1, t_done);
    t_wait_count(loop, &end->done, 1);
    CHECK_DONE(end, PRO_EOF, 0);
    t_close(loop, &pair->b);
    t_close_fd(s->copy.file);
}
