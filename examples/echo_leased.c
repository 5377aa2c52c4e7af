/* Echo with leased buffers: a connection that says nothing holds no buffer, and one operation goes on
 * receiving for as long as the connection lives.
 *
 *     echo_leased 127.0.0.1:9000          and in another terminal:  socat - TCP:127.0.0.1:9000
 *
 * What to see here: bytes come in a buffer that the kernel took from our pool as they arrived; we keep it
 * (pro_lease_take) until they are sent back, and give it back then.  When all buffers are out the receive ends
 * with PRO_ENOBUFS: we wait for one, and go on where it stopped. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

enum { BUFFERS = 256, BUFFER_SIZE = 4096 };

struct session { /* no buffer in here */
    pro_scope  scope;
    pro_socket sock;
    pro_op     op; /* receives; waits for a buffer */
};

/* What is on its way back: never more of them than buffers. */
struct piece {
    pro_op        op;
    pro_lease     lease;
    struct piece *next;
};

static pro_loop    *loop;
static pro_buffers *buffers;
static struct piece all_pieces[BUFFERS], *free_pieces;

static void give_piece(struct piece *piece)
{
    piece->next = free_pieces;
    free_pieces = piece;
}

static void on_sent(pro_op *op)
{
    struct piece   *piece = pro_container_of(op, struct piece, op);
    struct session *s = op->user;
    pro_lease_give(&piece->lease);
    give_piece(piece);
    if (op->error != PRO_OK) pro_scope_close(&s->scope);
}

static void on_received(pro_op *op);

static void on_buffer(pro_op *op)
{
    struct session *s = op->user;
    if (op->error == PRO_OK) pro_recv_multi(op, &s->sock, buffers, on_received);
}

/* The end of the stream: what was sent before it is still on its way back. */
static void on_shut(pro_op *op)
{
    struct session *s = op->user;
    pro_scope_close(&s->scope);
}

/* A piece of the stream, or its end. */
static void on_received(pro_op *op)
{
    struct session *s = op->user;
    if (op->error == PRO_OK) { /* with PRO_MORE: the operation goes on */
        struct piece *piece = free_pieces;
        free_pieces = piece->next;
        pro_lease_take(op, &piece->lease);
        piece->op.user = s;
        pro_send_all(&piece->op, &s->sock, piece->lease.data, piece->lease.len, on_sent);
    } else if (op->error == PRO_ENOBUFS) {
        op->scope = &s->scope;
        pro_buffers_wait(op, buffers, on_buffer);
    } else if (op->error == PRO_EOF) {
        pro_shutdown(op, &s->sock, on_shut); /* behind what is being sent */
    } else {
        pro_scope_close(&s->scope);
    }
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

/* ---- the server ------------------------------------------------------------------------------ */

static pro_listener listener;

static void on_accepted(pro_op *op);

static void on_rested(pro_op *op) { pro_accept_multi(op, &listener, on_accepted); }

static void on_accepted(pro_op *op)
{
    /* The last completion of a multishot accept: no handles left, perhaps.  Rest, then go on. */
    if (op->error != PRO_OK) {
        pro_sleep(op, loop, 100 * PRO_MSEC, on_rested);
        return;
    }
    struct session *s = calloc(1, sizeof *s);
    if (!s) return; /* what nobody takes is closed */
    s->op.user = s;
    pro_scope_init(&s->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &s->sock, &s->scope) == PRO_OK) {
        pro_recv_multi(&s->op, &s->sock, buffers, on_received);
    } else {
        pro_scope_close(&s->scope);
    }
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "echo_leased: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    pro_address address;
    if (argc > 2 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: echo_leased [ADDR:PORT]\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_buffers_new(&buffers, loop, BUFFERS, BUFFER_SIZE);
    if (error != PRO_OK) return fail("cannot make a pool of buffers", error);
    for (int i = 0; i < BUFFERS; i++) give_piece(&all_pieces[i]);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(where, error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("echo_leased: listening on %s\n", text);
    fflush(stdout);

    static pro_op accepting;
    pro_accept_multi(&accepting, &listener, on_accepted);
    int64_t ran = pro_loop_run(loop); /* until a signal ends the process */
    return ran < 0 ? fail("the engine failed", (int)ran) : 0;
}
