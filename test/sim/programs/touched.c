/* A whole program with a bug: it writes into the buffer of a receive that is in flight, or reads from it what
 * is not there yet.
 *
 *     touched stream | datagram | batch     it writes there
 *     touched read                          it reads nonsense */
#include <proactor.h>

#include <stdio.h>
#include <string.h>

static pro_listener listener;
static pro_socket   client, server;
static pro_datagram a, b;
static pro_op       accepting, connecting, sending, receiving;
static char         in[16] = "before";
static pro_message  message = {.buf = in, .len = sizeof in};

static void on_sent(pro_op *op) { (void)op; }
static void on_received(pro_op *op) { printf("received: %s\n", pro_error_name(op->error)); }

static void on_accepted(pro_op *op)
{
    pro_accept_take(op, &server, NULL);
    pro_recv(&receiving, &server, in, sizeof in, on_received); /* stream */
    in[0] = 'x';
    pro_send(&sending, &client, "hello", 5, on_sent);
}

static void on_connected(pro_op *op) { (void)op; }

static void over_a_stream(pro_loop *loop, pro_address *at)
{
    if (pro_listen(&listener, loop, NULL, at, NULL) != PRO_OK) return;
    pro_listener_local(&listener, at);
    pro_accept(&accepting, &listener, on_accepted);
    pro_socket_init(&client, loop, NULL);
    pro_connect(&connecting, &client, at, on_connected);
}

static void in_datagrams(pro_loop *loop, pro_address *at, const char *how)
{
    if (pro_datagram_open(&a, loop, NULL, PRO_IPV4) != PRO_OK) return;
    if (pro_datagram_open(&b, loop, NULL, PRO_IPV4) != PRO_OK) return;
    pro_datagram_bind(&b, at);
    pro_datagram_local(&b, at);
    if (strcmp(how, "batch") == 0)
        pro_recv_batch(&receiving, &b, &message, 1, on_received); /* batch */
    else
        pro_recv_from(&receiving, &b, in, sizeof in, NULL, on_received); /* datagram */
    if (strcmp(how, "read") == 0)
        printf("read: %s\n", memcmp(in, "before", 6) == 0 ? "what was there before" : "nonsense");
    else
        in[0] = 'x';
    pro_send_to(&sending, &a, "hello", 5, at, on_sent);
}

int main(int argc, char **argv)
{
    pro_loop   *loop;
    pro_address at = pro_address_loopback(PRO_IPV4, 0);
    const char *how = argc > 1 ? argv[1] : "";
    if (pro_loop_new(&loop, NULL) != PRO_OK) return 2;
    if (strcmp(how, "stream") == 0)
        over_a_stream(loop, &at);
    else
        in_datagrams(loop, &at, how);
    while (pro_loop_run_once(loop) >= 0 && strncmp(in, "hello", 5) != 0) {}
    pro_scope_close(pro_loop_scope(loop));
    pro_loop_run(loop);
    return pro_loop_free(loop) != PRO_OK;
}
