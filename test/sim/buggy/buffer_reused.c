/* Bug: the buffer is written for the next message while the last one is being sent. */
#include "buggy.h"

static void on_received(pro_op *op)
{
    if (op->error != PRO_OK)
        close_end(&server);
    else
        pro_recv(op, &server.sock, server.in, sizeof server.in, on_received);
}

static void server_begins(pro_op *op)
{
    pro_recv(op, &server.sock, server.in, sizeof server.in, on_received);
}
static void on_sent(pro_op *op) { (void)op, close_end(&client); }

static void client_begins(pro_op *op)
{
    memcpy(client.out, "first", 5);
    pro_send_all(op, &client.sock, client.out, 5, on_sent);
    memcpy(client.out, "later", 5);
}

static void check(void) {}
int         main(int argc, char **argv)
{
    return run_seeds("buffer_reused", PRO_SIM_MILD_FAULTS, argc, argv);
}
