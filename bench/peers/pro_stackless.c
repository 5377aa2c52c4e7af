/* The library with coroutines that have no stack: examples/echo_stackless.c. */
#include "peer.h"

#include <proactor.h>

struct session {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    pro_place  place;
    char       buf[];
};

static pro_loop    *loop;
static pro_listener listener;
static unsigned     buffer;

static void echo(pro_op *op)
{
    struct session *s = op->user;
    PRO_BEGIN(&s->place);
    for (;;) {
        PRO_AWAIT(&s->place, pro_recv(op, &s->sock, s->buf, buffer, echo));
        if (op->error != PRO_OK) break;
        peer_work(s->buf);
        PRO_AWAIT(&s->place, pro_send_all(op, &s->sock, s->buf, (size_t)op->value, echo));
        if (op->error != PRO_OK) break;
    }
    pro_scope_close(&s->scope);
    PRO_END(&s->place);
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

static void serve(pro_op *op)
{
    static pro_place place;
    PRO_BEGIN(&place);
    for (;;) {
        PRO_AWAIT(&place, pro_accept(op, &listener, serve));
        if (op->error != PRO_OK) exit(1);
        struct session *s = malloc(sizeof *s + buffer);
        if (!s) exit(1);
        memset(s, 0, sizeof *s);
        s->op.user = s;
        pro_scope_init(&s->scope, loop, NULL, on_drained);
        if (pro_accept_take(op, &s->sock, &s->scope) != PRO_OK) exit(1);
        pro_socket_set(&s->sock, PRO_OPT_NODELAY, 1);
        echo(&s->op); /* up to its first await */
    }
    PRO_END(&place);
}

int main(int argc, char **argv)
{
    static pro_op accepting;
    pro_address   address = pro_address_loopback(PRO_IPV4, 0);
    peer_begin();
    buffer = peer_buffer(argc, argv);
    if (pro_loop_new(&loop, NULL) != PRO_OK ||
        pro_listen(&listener, loop, NULL, &address, NULL) != PRO_OK)
        exit(1);
    pro_listener_local(&listener, &address);
    peer_ready(address.port);
    serve(&accepting);
    return pro_loop_run(loop) < 0;
}
