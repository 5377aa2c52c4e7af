/* The library with a receive that goes on and leased buffers: examples/echo_leased.c. */
#include "peer.h"

#include <proactor.h>

struct session { /* no buffer in here */
    pro_scope  scope;
    pro_socket sock;
    pro_op     op; /* receives; waits for a buffer */
};

struct piece { /* on its way back: never more of them than buffers */
    pro_op        op;
    pro_lease     lease;
    struct piece *next;
};

static pro_loop     *loop;
static pro_listener  listener;
static pro_buffers  *buffers;
static struct piece *free_pieces;

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

static void on_received(pro_op *op)
{
    struct session *s = op->user;
    if (op->error == PRO_OK) {
        struct piece *piece = free_pieces;
        free_pieces = piece->next;
        pro_lease_take(op, &piece->lease);
        piece->op.user = s;
        peer_work(piece->lease.data);
        pro_send_all(&piece->op, &s->sock, piece->lease.data, piece->lease.len, on_sent);
    } else if (op->error == PRO_ENOBUFS) {
        op->scope = &s->scope;
        pro_buffers_wait(op, buffers, on_buffer);
    } else {
        pro_scope_close(&s->scope);
    }
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) exit(1);
    struct session *s = calloc(1, sizeof *s);
    if (!s) return;
    s->op.user = s;
    pro_scope_init(&s->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &s->sock, &s->scope) == PRO_OK) {
        pro_socket_set(&s->sock, PRO_OPT_NODELAY, 1);
        pro_recv_multi(&s->op, &s->sock, buffers, on_received);
    } else {
        pro_scope_close(&s->scope);
    }
}

int main(int argc, char **argv)
{
    static pro_op accepting;
    pro_address   address = pro_address_loopback(PRO_IPV4, 0);
    peer_begin();
    unsigned      count = peer_number(argc, argv, "--buffers", 256);
    struct piece *pieces = calloc(count, sizeof *pieces);
    if (!pieces || pro_loop_new(&loop, NULL) != PRO_OK ||
        pro_buffers_new(&buffers, loop, count, peer_buffer(argc, argv)) != PRO_OK ||
        pro_listen(&listener, loop, NULL, &address, NULL) != PRO_OK)
        exit(1);
    for (unsigned i = 0; i < count; i++) give_piece(&pieces[i]);
    pro_listener_local(&listener, &address);
    peer_ready(address.port);
    pro_accept_multi(&accepting, &listener, on_accepted);
    return pro_loop_run(loop) < 0;
}
