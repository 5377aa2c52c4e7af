/* Unix sockets: names, handles, who is there.
 * Covers 15 (Unix sockets), 49, 50 of the list. */
#include "lib/net.h"
#include "lib/os.h"

#include <stdio.h>

/* A name that no other run has: abstract, or a path in the directory of temporary files. */
static const char *name_new(bool is_path)
{
    char *name = t_alloc(PRO_UNIX_NAME_MAX);
    snprintf(name, PRO_UNIX_NAME_MAX, "%sproactor-test-%llx-%llx", is_path ? "/tmp/" : "@",
             (unsigned long long)t_os_clock_ns(), (unsigned long long)(uintptr_t)name);
    return name;
}

static void u_listen(pro_loop *loop, pro_listener *l, const char *name)
{
    int error = pro_listen_unix(l, loop, NULL, name, NULL);
    if (error == PRO_ENOTSUP) t_skip("this engine has no Unix sockets as yet");
    CHECK_ERROR(error, PRO_OK);
}

static t_pair *u_pair(pro_loop *loop)
{
    t_pair *pair = t_new(t_pair);
    int     error = pro_socket_pair(&pair->a, &pair->b, loop, NULL);
    if (error == PRO_ENOTSUP) t_skip("this engine has no socket pairs as yet");
    CHECK_ERROR(error, PRO_OK);
    char name[PRO_UNIX_NAME_MAX];
    if (pro_socket_name(&pair->a, name, sizeof name) == PRO_ENOTSUP) {
        t_pair_close(loop, pair);
        t_skip("Unix sockets: this system has none, and its pairs are others");
    }
    return pair;
}

/* A pipe whose writing end is to be passed on. */
static t_pair *u_pipe(pro_loop *loop)
{
    t_pair *pipe = t_new(t_pair);
    CHECK_ERROR(pro_pipe_pair(&pipe->a, &pipe->b, loop, NULL), PRO_OK);
    return pipe;
}

struct taker {
    t_op       op;
    pro_socket s;
};

static void take(t_op *t)
{
    struct taker *taker = pro_container_of(t, struct taker, op);
    CHECK_ERROR(t->error, PRO_OK);
    CHECK_ERROR(pro_accept_take(&t->op, &taker->s, NULL), PRO_OK);
}

/* An engine may learn from receives of just the length of a message, which look for more in vain; it is not to forget
 * over that that a send waits. */
CONFORM(a_send_that_waits_for_room_goes_on_after_many_messages_came_in)
{
    enum { MESSAGES = 10, LEN = 8 };
    pro_loop *loop = t_loop();
    t_pair   *pair = u_pair(loop);
    char     *out = t_alloc(CLOG_LEN), *in = t_alloc(CLOG_LEN), message[LEN] = {0}, got[LEN];
    t_op     *send = t_new_op(), *recv = t_new_op(), *message_out = t_new_op();
    t_op     *first = t_new_op(), *message_in = t_new_op();
    t_fill(out, CLOG_LEN, 21, 0);
    pro_recv_exactly(&first->op, &pair->a, got, LEN, t_done);
    t_settle(loop);
    pro_cancel(&first->op); /* it is known to the engine that nothing has come yet */
    t_wait_count(loop, &first->done, 1);
    pro_recv_exactly(&message_in->op, &pair->a, got, LEN, t_done);
    pro_send_all(&send->op, &pair->a, out, CLOG_LEN, t_done);
    t_settle(loop);
    for (int i = 0; i < MESSAGES; i++) {
        pro_send_all(&message_out->op, &pair->b, message, LEN, t_done);
        t_wait_count(loop, &message_in->done, i + 1);
        t_wait_count(loop, &message_out->done, i + 1);
        CHECK_ERROR(message_in->error, PRO_OK);
        if (i + 1 == MESSAGES) break;
        pro_recv_exactly(&message_in->op, &pair->a, got, LEN, t_done);
        t_settle(loop);
    }
    CHECK_EQ(send->done, 0);
    pro_recv_exactly(&recv->op, &pair->b, in, CLOG_LEN, t_done);
    t_wait_count(loop, &recv->done, 1);
    t_wait_count(loop, &send->done, 1);
    CHECK_DONE(send, PRO_OK, (int64_t)CLOG_LEN);
    CHECK_FILL(in, CLOG_LEN, 21, 0);
    t_pair_close(loop, pair);
}

/* ---- Connections ---------------------------------------------------------------------------- */

CONFORM(a_unix_connection_carries_bytes_both_ways_and_ends_after_all_of_them)
{
    enum { LEN = 300000 };
    pro_loop *loop = t_loop();
    char     *out = t_alloc(LEN), *in = t_alloc(LEN + 1), name[PRO_UNIX_NAME_MAX];
    t_fill(out, LEN, 1, 0);
    for (int path = 0; path < 2; path++) {
        pro_listener *l = t_new(pro_listener);
        struct taker *taker = t_new(struct taker);
        pro_socket   *s = t_new(pro_socket);
        t_op   *connect = t_new_op(), *send = t_new_op(), *recv = t_new_op(), *shut = t_new_op();
        t_op   *back = t_new_op(), *end = t_new_op();
        char    copy[PRO_UNIX_NAME_MAX], byte;
        int64_t got = 0;
        const char *to = name_new(path);
        u_listen(loop, l, to);
        CHECK_ERROR(pro_listener_name(l, name, sizeof name), PRO_OK);
        CHECK_EQ(strcmp(name, to), 0);
        taker->op.then = take;
        pro_accept(&taker->op.op, l, t_done);
        pro_socket_init(s, loop, NULL);
        strcpy(copy, to);
        pro_connect_unix(&connect->op, s, copy, t_done);
        memset(copy, 'x', sizeof copy - 1);           /* it was copied */
        pro_send_all(&send->op, s, out, LEN, t_done); /* sent when it is connected */
        pro_shutdown(&shut->op, s, t_done);
        t_wait_count(loop, &taker->op.done, 1);
        CHECK_ERROR(pro_socket_peer_name(s, name, sizeof name), PRO_OK);
        CHECK_EQ(strcmp(name, to), 0);
        CHECK_ERROR(pro_socket_name(s, name, sizeof name), PRO_OK);
        CHECK_EQ(name[0], 0);
        do {
            pro_recv(&recv->op, &taker->s, in + got, (size_t)(LEN + 1 - got), t_done);
            t_wait(loop, recv);
            got += recv->value;
        } while (recv->error == PRO_OK);
        CHECK_ERROR(recv->error, PRO_EOF);
        CHECK_EQ(got, LEN);
        CHECK_FILL(in, LEN, 1, 0);
        CHECK_DONE(connect, PRO_OK, 0);
        CHECK_DONE(send, PRO_OK, LEN);
        t_wait_count(loop, &shut->done, 1);
        CHECK_DONE(shut, PRO_OK, 0);

        pro_send_all(&back->op, &taker->s, "y", 1, t_done); /* the other way is still there */
        pro_recv(&end->op, s, &byte, 1, t_done);
        t_wait_count(loop, &end->done, 1);
        CHECK_DONE(end, PRO_OK, 1);
        CHECK_EQ(byte, 'y');
        t_close(loop, s);
        t_close(loop, &taker->s);
        t_listener_close(loop, l);
        if (path) CHECK_EQ(remove(to), 0);
    }
}

CONFORM(names_in_use_missing_regular_files_and_too_long_ones_are_errors)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener), *other = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *ops = t_array(t_op, 6);
    const char   *abstract = name_new(false), *path = name_new(true), *file = name_new(true);
    char          longest[PRO_UNIX_NAME_MAX + 1];
    u_listen(loop, l, abstract);
    CHECK_ERROR(pro_listen_unix(other, loop, NULL, abstract, NULL), PRO_EADDRINUSE);
    t_listener_close(loop, l);
    u_listen(loop, l, abstract); /* it went with its socket */
    t_listener_close(loop, l);

    u_listen(loop, l, path);
    CHECK_ERROR(pro_listen_unix(other, loop, NULL, path, NULL), PRO_EADDRINUSE);
    t_listener_close(loop, l);
    CHECK_ERROR(pro_listen_unix(other, loop, NULL, path, NULL), PRO_EADDRINUSE); /* it stays */

    FILE *made = fopen(file, "w");
    CHECK(made != NULL);
    fclose(made);
    CHECK_ERROR(pro_listen_unix(other, loop, NULL, file, NULL), PRO_EADDRINUSE);
    CHECK_ERROR(pro_listen_unix(other, loop, NULL, "/tmp/no/such/directory", NULL), PRO_ENOENT);
    CHECK_ERROR(pro_listen_unix(other, loop, NULL, "", NULL), PRO_EINVAL);
    memset(longest, 'x', sizeof longest);
    longest[0] = '@';
    longest[PRO_UNIX_NAME_MAX] = '\0';
    CHECK_ERROR(pro_listen_unix(other, loop, NULL, longest, NULL), PRO_EINVAL);

    pro_socket_init(s, loop, NULL);
    const struct {
        const char *name;
        int         error;
    } table[] = {{"/tmp/no-such-file-of-proactor", PRO_ENOENT},
                 {file, PRO_ECONNREFUSED},
                 {path, PRO_ECONNREFUSED}, /* nobody listens there any more */
                 {abstract, PRO_ECONNREFUSED},
                 {longest, PRO_EINVAL},
                 {"", PRO_EINVAL}};
    for (int i = 0; i < 6; i++) {
        pro_connect_unix(&ops[i].op, s, table[i].name, t_done);
        CHECK_EQ(ops[i].done, 0); /* not inside */
        t_wait_count(loop, &ops[i].done, 1);
        CHECK_DONE(&ops[i], table[i].error, 0);
    }
    t_close(loop, s);
    CHECK_EQ(remove(path), 0);
    CHECK_EQ(remove(file), 0);
}

CONFORM(the_longest_name_works)
{
    pro_loop     *loop = t_loop();
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    t_op         *connect = t_new_op();
    char          longest[PRO_UNIX_NAME_MAX] = {0}, name[PRO_UNIX_NAME_MAX];
    snprintf(longest, sizeof longest, "%s-", name_new(false));
    memset(longest + strlen(longest), 'x', 108 - strlen(longest));
    u_listen(loop, l, longest);
    CHECK_ERROR(pro_listener_name(l, name, sizeof name), PRO_OK);
    CHECK_EQ(strcmp(name, longest), 0);
    pro_socket_init(s, loop, NULL);
    pro_connect_unix(&connect->op, s, longest, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_OK, 0);
    t_close(loop, s);
    t_listener_close(loop, l);
}

CONFORM(a_full_backlog_refuses_and_never_hangs)
{
    enum { CLIENTS = 6 };
    pro_loop                *loop = t_loop();
    pro_listener            *l = t_new(pro_listener);
    pro_socket              *s = t_array(pro_socket, CLIENTS);
    t_op                    *ops = t_array(t_op, CLIENTS), *again = t_new_op();
    const char              *name = name_new(false);
    const pro_listen_options narrow = {.backlog = 1};
    int                      refused = 0;
    int                      error = pro_listen_unix(l, loop, NULL, name, &narrow);
    if (error == PRO_ENOTSUP) t_skip("this engine has no Unix sockets as yet");
    CHECK_ERROR(error, PRO_OK);
    for (int i = 0; i < CLIENTS; i++) {
        pro_socket_init(&s[i], loop, NULL);
        pro_connect_unix(&ops[i].op, &s[i], name, t_done);
    }
    t_run(loop);
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQ(ops[i].done, 1);
        if (ops[i].error != PRO_OK) CHECK_ERROR(ops[i].error, PRO_ECONNREFUSED);
        refused += ops[i].error != PRO_OK;
    }
    CHECK_GT(refused, 0);
    CHECK_LT(refused, CLIENTS);

    struct taker *taker = t_new(struct taker);
    taker->op.then = take;
    pro_accept(&taker->op.op, l, t_done);
    t_wait_count(loop, &taker->op.done, 1);
    for (int i = 0; i < CLIENTS && again->done == 0; i++) { /* there is room again */
        if (ops[i].error == PRO_OK) continue;
        pro_connect_unix(&again->op, &s[i], name, t_done);
        t_wait_count(loop, &again->done, 1);
        CHECK_DONE(again, PRO_OK, 0);
    }
    for (int i = 0; i < CLIENTS; i++) t_close(loop, &s[i]);
    t_close(loop, &taker->s);
    t_listener_close(loop, l);
}

CONFORM(a_write_to_a_unix_peer_that_is_gone_is_an_error_and_no_signal)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = u_pair(loop);
    t_op     *send = t_new_op(), *recv = t_new_op();
    char      byte;
    t_close(loop, &pair->b);
    pro_send_all(&send->op, &pair->a, "x", 1, t_done);
    pro_recv(&recv->op, &pair->a, &byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(send, PRO_EPIPE, 0);
    CHECK_DONE(recv, PRO_EOF, 0);
    t_close(loop, &pair->a);
}

CONFORM(both_sides_know_who_is_there)
{
    pro_loop       *loop = t_loop();
    t_pair         *pair = u_pair(loop);
    pro_listener   *l = t_new(pro_listener);
    pro_socket     *s = t_new(pro_socket), *tcp = t_new(pro_socket);
    struct taker   *taker = t_new(struct taker);
    t_op           *connect = t_new_op();
    const char     *name = name_new(false);
    pro_credentials a = {0}, b = {0}, c = {0};
    u_listen(loop, l, name);
    pro_socket_init(s, loop, NULL);
    CHECK_ERROR(pro_socket_credentials(s, &a), PRO_ENOTCONN);
    taker->op.then = take;
    pro_accept(&taker->op.op, l, t_done);
    pro_connect_unix(&connect->op, s, name, t_done);
    t_run(loop);
    CHECK_DONE(connect, PRO_OK, 0);
    CHECK_ERROR(pro_socket_credentials(s, &a), PRO_OK);
    CHECK_ERROR(pro_socket_credentials(&taker->s, &b), PRO_OK);
    CHECK_ERROR(pro_socket_credentials(&pair->a, &c), PRO_OK);
    CHECK_GT(a.pid, 0);
    CHECK(a.pid == b.pid && b.pid == c.pid && a.user == b.user && a.group == c.group);
    CHECK_ERROR(pro_socket_open(tcp, loop, NULL, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_socket_credentials(tcp, &a), PRO_ENOTCONN);
    CHECK_ERROR(pro_socket_name(tcp, (char[8]){0}, 8), PRO_EAFNOSUPPORT);
    t_close(loop, tcp);
    t_close(loop, s);
    t_close(loop, &taker->s);
    t_listener_close(loop, l);
    t_pair_close(loop, pair);
}

/* ---- Handles -------------------------------------------------------------------------------- */

struct receiver {
    t_op     op;
    intptr_t taken[PRO_HANDLES_MAX];
    int      count, take_max;
};

static void take_handles(t_op *t)
{
    struct receiver *r = pro_container_of(t, struct receiver, op);
    for (r->count = 0; r->count < r->take_max; r->count++) {
        intptr_t fd = pro_received_take(&t->op);
        if (fd < 0) break;
        r->taken[r->count] = fd;
    }
}

static struct receiver *receiver_new(int take_max)
{
    struct receiver *r = t_new(struct receiver);
    r->op.then = take_handles;
    r->take_max = take_max;
    return r;
}

CONFORM(a_handle_passed_with_data_works_on_the_other_side)
{
    pro_loop        *loop = t_loop();
    t_pair          *pair = u_pair(loop), *pipe = u_pipe(loop);
    struct receiver *r = receiver_new(PRO_HANDLES_MAX);
    t_op            *send = t_new_op(), *write = t_new_op(), *read = t_new_op();
    pro_socket      *copy = t_new(pro_socket);
    intptr_t         fd = pro_socket_descriptor(&pipe->b);
    char             in[10] = {0}, byte;
    pro_recv_handles(&r->op.op, &pair->b, in, sizeof in, t_done);
    t_poll(loop);
    pro_send_handles(&send->op, &pair->a, "take it", 7, &fd, 1, t_done);
    fd = -1; /* copied */
    t_wait_count(loop, &r->op.done, 1);
    CHECK_DONE(send, PRO_OK, 7);
    CHECK_DONE(&r->op, PRO_OK, 7);
    CHECK_EQ(r->op.flags, 0);
    CHECK_EQ(r->count, 1);
    CHECK_EQ(strcmp(in, "take it"), 0);
    CHECK_EQ(pro_received_take(&r->op.op), -1); /* only in the handler */
    t_close(loop, &pipe->b);

    CHECK_ERROR(pro_socket_adopt(copy, loop, NULL, r->taken[0]), PRO_OK);
    pro_send_all(&write->op, copy, "!", 1, t_done);
    pro_recv(&read->op, &pipe->a, &byte, 1, t_done);
    t_run(loop);
    CHECK_DONE(write, PRO_OK, 1);
    CHECK_DONE(read, PRO_OK, 1);
    t_close(loop, copy);
    t_close(loop, &pipe->a);
    t_pair_close(loop, pair);
}

/* The writing end is passed and closed here: the reading one sees the end when the last copy is closed. */
static void passed_and_gone(struct receiver *r, bool is_plain)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = u_pair(loop), *pipe = u_pipe(loop);
    t_op     *send = t_new_op(), *end = t_new_op(), *plain = t_new_op();
    intptr_t  fds[2] = {pro_socket_descriptor(&pipe->b), pro_socket_descriptor(&pipe->b)};
    char      in[4], byte;
    pro_send_handles(&send->op, &pair->a, "xy", 2, fds, 2, t_done);
    t_wait_count(loop, &send->done, 1);
    t_close(loop, &pipe->b);
    pro_recv(&end->op, &pipe->a, &byte, 1, t_done);
    t_poll(loop);
    CHECK_EQ(end->done, 0);
    if (is_plain)
        pro_recv(&plain->op, &pair->b, in, sizeof in, t_done);
    else
        pro_recv_handles(&r->op.op, &pair->b, in, sizeof in, t_done);
    t_wait_count(loop, &end->done, 1);
    CHECK_DONE(end, PRO_EOF, 0);
    CHECK_EQ(is_plain ? plain->value : r->op.value, 2);
    t_close(loop, &pipe->a);
    t_pair_close(loop, pair);
}

CONFORM(handles_that_are_not_taken_are_closed) { passed_and_gone(receiver_new(0), false); }

CONFORM(a_plain_receive_takes_the_bytes_alone) { passed_and_gone(NULL, true); }

CONFORM(handles_go_once_with_the_first_byte_of_much_data)
{
    enum { LEN = 2000000, COUNT = PRO_HANDLES_MAX };
    pro_loop        *loop = t_loop();
    t_pair          *pair = u_pair(loop), *pipe = u_pipe(loop);
    struct receiver *r = receiver_new(COUNT);
    t_op            *send = t_new_op();
    char            *out = t_alloc(LEN), *in = t_alloc(LEN);
    intptr_t         fds[COUNT];
    int64_t          got = 0;
    int              handles = 0;
    t_fill(out, LEN, 3, 0);
    for (int i = 0; i < COUNT; i++) fds[i] = pro_socket_descriptor(&pipe->b);
    pro_send_handles(&send->op, &pair->a, out, LEN, fds, COUNT, t_done);
    while (got < LEN) {
        pro_recv_handles(&r->op.op, &pair->b, in + got, (size_t)(LEN - got), t_done);
        t_wait(loop, &r->op);
        CHECK_ERROR(r->op.error, PRO_OK);
        if (got > 0) CHECK_EQ(r->count, 0);
        handles += r->count;
        for (int i = 0; i < r->count; i++) peer_close(r->taken[i]);
        got += r->op.value;
    }
    CHECK_EQ(handles, COUNT);
    CHECK_FILL(in, LEN, 3, 0);
    t_wait_count(loop, &send->done, 1);
    CHECK_DONE(send, PRO_OK, LEN);
    t_pair_close(loop, pipe);
    t_pair_close(loop, pair);
}

CONFORM(handles_that_cannot_go_are_refused)
{
    pro_loop *loop = t_loop();
    t_pair   *pair = u_pair(loop), *tcp = t_pair_new(loop), *pipe = u_pipe(loop);
    t_op     *ops = t_array(t_op, 8);
    intptr_t  bad = 1000000, fds[PRO_HANDLES_MAX + 1] = {0};
    char      in[4];
    pro_send_handles(&ops[0].op, &pair->a, "x", 1, &bad, 1, t_done);
    pro_send_handles(&ops[1].op, &pair->a, "x", 1, fds, PRO_HANDLES_MAX + 1, t_done);
    pro_send_handles(&ops[2].op, &pair->a, "x", 1, fds, 0, t_done);
    pro_send_handles(&ops[3].op, &pair->a, "x", 0, fds, 1, t_done);
    pro_send_handles(&ops[4].op, &tcp->a, "x", 1, fds, 1, t_done);
    pro_recv_handles(&ops[5].op, &tcp->b, in, sizeof in, t_done);
    pro_send_handles(&ops[6].op, &pipe->b, "x", 1, fds, 1, t_done);
    pro_recv_handles(&ops[7].op, &pair->b, in, 0, t_done);
    t_run(loop);
    CHECK_DONE(&ops[0], PRO_EBADF, 0);
    for (int i = 1; i < 4; i++) CHECK_DONE(&ops[i], PRO_EINVAL, 0);
    for (int i = 4; i < 7; i++) CHECK_DONE(&ops[i], PRO_ENOTSUP, 0);
    CHECK_DONE(&ops[7], PRO_OK, 0);
    t_pair_close(loop, pair);
    t_pair_close(loop, pipe);
    t_pair_close(loop, tcp);
}

CONFORM(a_receive_of_handles_without_descriptors_left_says_so)
{
    pro_loop        *loop = t_loop();
    t_pair          *pair = u_pair(loop);
    struct receiver *r = receiver_new(PRO_HANDLES_MAX);
    t_op            *send = t_new_op();
    intptr_t         fd = pro_socket_descriptor(&pair->a);
    char             in[4];
    pro_send_handles(&send->op, &pair->a, "x", 1, &fd, 1, t_done);
    t_wait_count(loop, &send->done, 1);
    if (!t_os_descriptors_exhaust()) t_skip("descriptors cannot be used up here");
    pro_recv_handles(&r->op.op, &pair->b, in, sizeof in, t_done);
    t_wait_count(loop, &r->op.done, 1);
    t_os_descriptors_restore();
    CHECK_DONE(&r->op, PRO_OK, 1);
    CHECK_EQ(r->op.flags, PRO_TRUNCATED);
    CHECK_EQ(r->count, 0);
    t_pair_close(loop, pair);
}

/* Both sides send messages with handles and receive at the same time. */
struct side {
    t_op            send;
    struct receiver recv;
    t_pair         *pair;
    pro_socket     *s;
    intptr_t        fd;
    char            out[10000], in[7000];
    int             sent, count;
    int64_t         got;
};

static void send_next(t_op *t)
{
    struct side *side = pro_container_of(t, struct side, send);
    if (t->done > 0) CHECK_ERROR(t->error, PRO_OK);
    if (side->sent++ == side->count) return;
    pro_send_handles(&t->op, side->s, side->out, sizeof side->out, &side->fd, 1, t_done);
}

static void recv_next(t_op *t)
{
    struct side *side = pro_container_of(t, struct side, recv.op);
    if (t->done > 0) {
        CHECK_ERROR(t->error, PRO_OK);
        side->got += t->value;
        for (intptr_t fd; (fd = pro_received_take(&t->op)) >= 0; side->recv.count++)
            if (side->recv.count % 2)
                peer_close(fd);
            else
                peer_close(fd);
    }
    if (side->got == (int64_t)sizeof side->out * side->count) return;
    pro_recv_handles(&t->op, side->s, side->in, sizeof side->in, t_done);
}

CONFORM(handles_go_both_ways_under_heavy_traffic)
{
    pro_loop    *loop = t_loop();
    t_pair      *pair = u_pair(loop);
    struct side *sides = t_array(struct side, 2);
    for (int i = 0; i < 2; i++) {
        sides[i].s = i ? &pair->b : &pair->a;
        sides[i].fd = pro_socket_descriptor(sides[i].s);
        sides[i].count = t_rounds(300);
        sides[i].send.then = send_next;
        sides[i].recv.op.then = recv_next;
    }
    for (int i = 0; i < 2; i++) {
        send_next(&sides[i].send);
        recv_next(&sides[i].recv.op);
    }
    t_run(loop);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(sides[i].recv.count, sides[i].count);
        CHECK_EQ(sides[i].got, (int64_t)sizeof sides[i].out * sides[i].count);
    }
    t_pair_close(loop, pair);
}

/* ---- Datagrams ------------------------------------------------------------------------------ */

static void open_datagram(pro_loop *loop, pro_datagram *d, const char *name)
{
    int error = pro_datagram_open(d, loop, NULL, PRO_UNIX);
    if (error == PRO_ENOTSUP) t_skip("this engine has no Unix sockets as yet");
    CHECK_ERROR(error, PRO_OK);
    if (name) CHECK_ERROR(pro_datagram_bind_unix(d, name), PRO_OK);
}

struct named {
    t_op        op;
    pro_address from;
    char        name[PRO_UNIX_NAME_MAX];
};

static void note_name(t_op *t)
{
    struct named *named = pro_container_of(t, struct named, op);
    CHECK_ERROR(pro_received_name(&t->op, named->name, sizeof named->name), PRO_OK);
}

CONFORM(a_unix_datagram_has_a_sender_by_name)
{
    pro_loop     *loop = t_loop();
    pro_datagram *a = t_new(pro_datagram), *b = t_new(pro_datagram), *c = t_new(pro_datagram);
    struct named *r = t_new(struct named);
    t_op         *sends = t_array(t_op, 5);
    const char   *at_a = name_new(false), *at_b = name_new(false);
    char          in[10];
    open_datagram(loop, a, at_a);
    open_datagram(loop, b, at_b);
    open_datagram(loop, c, NULL);
    r->op.then = note_name;
    pro_send_to_unix(&sends[0].op, a, "hello", 5, at_b, t_done);
    pro_recv_from(&r->op.op, b, in, sizeof in, &r->from, t_done);
    t_run(loop);
    CHECK_DONE(&sends[0], PRO_OK, 5);
    CHECK_DONE(&r->op, PRO_OK, 5);
    CHECK_EQ(strcmp(r->name, at_a), 0);
    CHECK_EQ(r->from.family, PRO_FAMILY_NONE);
    CHECK_ERROR(pro_received_name(&r->op.op, in, sizeof in), PRO_EINVAL); /* only in the handler */

    pro_send_to_unix(&sends[1].op, c, NULL, 0, at_b, t_done); /* without a name, and empty */
    r->op.done = 0;
    pro_recv_from(&r->op.op, b, in, sizeof in, &r->from, t_done);
    t_run(loop);
    CHECK_DONE(&r->op, PRO_OK, 0);
    CHECK_EQ(r->name[0], 0);

    CHECK_ERROR(pro_datagram_connect_unix(c, at_b), PRO_OK);
    pro_send_to(&sends[2].op, c, "peer", 4, NULL, t_done);
    pro_send_to_unix(&sends[3].op, c, "x", 1, "@proactor-nobody", t_done);
    pro_send_to_unix(&sends[4].op, c, "x", 1, "", t_done);
    t_run(loop);
    CHECK_DONE(&sends[2], PRO_OK, 4);
    CHECK_DONE(&sends[3], PRO_ECONNREFUSED, 0);
    CHECK_DONE(&sends[4], PRO_EINVAL, 0);
    t_datagram_close(loop, a);
    t_datagram_close(loop, b);
    t_datagram_close(loop, c);
}

CONFORM(a_full_unix_receiver_is_waited_for_by_its_peer_and_refused_to_others)
{
    enum { MAX = 3000 };
    pro_loop     *loop = t_loop();
    pro_datagram *a = t_new(pro_datagram), *b = t_new(pro_datagram);
    t_op         *send = t_new_op(), *stuck = t_new_op(), *recv = t_new_op();
    const char   *at_b = name_new(false);
    char          in[10];
    int           queued = 0;
    open_datagram(loop, a, NULL);
    open_datagram(loop, b, at_b);
    do {
        pro_send_to_unix(&send->op, a, "x", 1, at_b, t_done);
        t_wait(loop, send);
        queued++;
    } while (send->error == PRO_OK && queued < MAX);
    CHECK_ERROR(send->error, PRO_ENOBUFS);
    CHECK_ERROR(pro_datagram_connect_unix(a, at_b), PRO_OK);
    pro_send_to(&stuck->op, a, "y", 1, NULL, t_done);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(stuck->done, 0);
    do {
        pro_recv_from(&recv->op, b, in, sizeof in, NULL, t_done);
        t_wait(loop, recv);
        CHECK_ERROR(recv->error, PRO_OK);
        if (stuck->done) CHECK_DONE(stuck, PRO_OK, 1);
    } while (in[0] != 'y');
    t_wait_count(loop, &stuck->done, 1);
    CHECK_DONE(stuck, PRO_OK, 1);
    t_datagram_close(loop, a);
    t_datagram_close(loop, b);
}

/* A peer that closes with bytes unread is told once, here to a receive of handles. */
CONFORM(a_reset_that_a_receive_of_handles_was_told_is_not_an_end_of_stream)
{
    pro_loop   *loop = t_loop();
    t_pair     *pair = u_pair(loop);
    pro_socket *a = &pair->a, *b = &pair->b;
    t_op       *send = t_new_op(), *handles = t_new_op(), *recv = t_new_op();
    char        buf[8];
    pro_send(&send->op, a, "x", 1, t_done);
    t_wait(loop, send);
    t_close(loop, b);
    pro_recv_handles(&handles->op, a, buf, sizeof buf, t_done);
    t_wait(loop, handles);
    CHECK_DONE(handles, PRO_ECONNRESET, 0);
    pro_recv(&recv->op, a, buf, sizeof buf, t_done);
    t_wait(loop, recv);
    CHECK_DONE(recv, PRO_ECONNRESET, 0);
    handles->done = 0;
    pro_recv_handles(&handles->op, a, buf, sizeof buf, t_done);
    t_wait(loop, handles);
    CHECK_DONE(handles, PRO_ECONNRESET, 0);
    t_close(loop, a);
}
