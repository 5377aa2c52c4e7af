/* The library with callbacks: examples/echo.c.  PROACTOR_ENGINE names the engine; --slots: its sockets are in fixed
 * slots of the ring. */
#include "peer.h"

#include <proactor.h>

struct session {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    char       buf[];
};

static pro_loop    *loop;
static pro_listener listener;
static unsigned     buffer;

static void on_sent(pro_op *op);

static void on_received(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&s->scope);
        return;
    }
    peer_work(s->buf);
    pro_send_all(op, &s->sock, s->buf, (size_t)op->value, on_sent);
}

static void on_sent(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&s->scope);
        return;
    }
    pro_recv(op, &s->sock, s->buf, buffer, on_received);
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) exit(1);
    struct session *s = malloc(sizeof *s + buffer);
    if (!s) return;
    memset(s, 0, sizeof *s);
    s->op.user = s;
    pro_scope_init(&s->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &s->sock, &s->scope) == PRO_OK) {
        pro_socket_set(&s->sock, PRO_OPT_NODELAY, 1);
        pro_recv(&s->op, &s->sock, s->buf, buffer, on_received);
    } else {
        pro_scope_close(&s->scope);
    }
}

int main(int argc, char **argv)
{
    static pro_op    accepting;
    pro_loop_options options;
    pro_address      address = pro_address_loopback(PRO_IPV4, 0);
    peer_begin();
    buffer = peer_buffer(argc, argv);
    pro_loop_options_init(&options);
    options.fixed_slots = peer_word(argc, argv, "--slots") ? 20000 : 0;
    if (pro_loop_new(&loop, &options) != PRO_OK ||
        pro_listen(&listener, loop, NULL, &address, NULL) != PRO_OK)
        exit(1);
    pro_listener_local(&listener, &address);
    peer_ready(address.port);
    pro_accept_multi(&accepting, &listener, on_accepted);
    return pro_loop_run(loop) < 0;
}
