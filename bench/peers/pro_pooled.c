/* The library with callbacks, and what a piece asks for is done on a thread of the loop's pool (--threads of
 * them); the answer is sent when it is done. */
#include "peer.h"

#include <proactor.h>

struct session {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    size_t     len; /* of what is worked at */
    char       buf[];
};

static pro_loop    *loop;
static pro_listener listener;
static unsigned     buffer;

static void on_sent(pro_op *op);

static void on_worked(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&s->scope);
        return;
    }
    pro_send_all(op, &s->sock, s->buf, s->len, on_sent);
}

static int64_t work(void *buf)
{
    peer_work(buf);
    return 0;
}

static void on_received(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&s->scope);
        return;
    }
    if (peer_is_work(s->buf)) {
        s->len = (size_t)op->value;
        pro_run_blocking_wait(op, loop, work, s->buf, on_worked);
        return;
    }
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
    options.pool_threads_max = peer_number(argc, argv, "--threads", 0);
    if (pro_loop_new(&loop, &options) != PRO_OK ||
        pro_listen(&listener, loop, NULL, &address, NULL) != PRO_OK)
        exit(1);
    pro_listener_local(&listener, &address);
    peer_ready(address.port);
    pro_accept_multi(&accepting, &listener, on_accepted);
    return pro_loop_run(loop) < 0;
}
