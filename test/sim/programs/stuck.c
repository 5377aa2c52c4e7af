/* A whole program that hangs: each of two ends waits for the other to speak first. */
#include <proactor.h>

#include <stdio.h>
#include <string.h>

static pro_listener listener;
static pro_socket   client, server;
static pro_op       accepting, connecting, client_op, server_op;
static char         a[16], b[16];

static void on_received(pro_op *op) { printf("received: %s\n", pro_error_name(op->error)); }

static void on_accepted(pro_op *op)
{
    pro_accept_take(op, &server, NULL);
    pro_recv(&server_op, &server, b, sizeof b, on_received); /* server */
}

static void on_connected(pro_op *op)
{
    (void)op;
    pro_recv(&client_op, &client, a, sizeof a, on_received); /* client */
}

int main(void)
{
    pro_loop   *loop;
    pro_address address = pro_address_loopback(PRO_IPV4, 0);
    if (pro_loop_new(&loop, NULL) != PRO_OK) return 2;
    if (pro_listen(&listener, loop, NULL, &address, NULL) != PRO_OK) return 2;
    pro_listener_local(&listener, &address);
    pro_accept(&accepting, &listener, on_accepted);
    pro_socket_init(&client, loop, NULL);
    pro_connect(&connecting, &client, &address, on_connected);
    pro_loop_run(loop);
    printf("over\n");
    return 0;
}
