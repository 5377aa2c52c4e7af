/* The library with a coroutine per connection: examples/echo_coroutine.c.  The buffer stands beside the socket,
 * since how large it is comes from outside; the stack holds the rest. */
#include "peer.h"

#include <proactor.h>

struct connection {
    pro_socket sock;
    char       buf[];
};

static pro_loop    *loop;
static pro_listener listener;
static unsigned     buffer;

static void echo(void *arg)
{
    struct connection *c = arg;
    for (;;) {
        int64_t n = pro_await_recv(&c->sock, c->buf, buffer);
        if (n <= 0) break;
        peer_work(c->buf);
        if (pro_await_send_all(&c->sock, c->buf, (size_t)n) < 0) break;
    }
    pro_await_close(&c->sock);
    free(c);
}

static void serve(void *arg)
{
    (void)arg;
    for (;;) {
        struct connection *c = malloc(sizeof *c + buffer);
        if (!c) exit(1);
        memset(&c->sock, 0, sizeof c->sock);
        if (pro_await_accept(&listener, &c->sock, NULL) != PRO_OK) exit(1);
        pro_socket_set(&c->sock, PRO_OPT_NODELAY, 1);
        if (pro_go(NULL, echo, c, NULL) != PRO_OK) exit(1);
    }
}

int main(int argc, char **argv)
{
    pro_address address = pro_address_loopback(PRO_IPV4, 0);
    peer_begin();
    buffer = peer_buffer(argc, argv);
    if (pro_loop_new(&loop, NULL) != PRO_OK ||
        pro_listen(&listener, loop, NULL, &address, NULL) != PRO_OK ||
        pro_go(pro_loop_scope(loop), serve, NULL, NULL) != PRO_OK)
        exit(1);
    pro_listener_local(&listener, &address);
    peer_ready(address.port);
    return pro_loop_run(loop) < 0;
}
