/* Bug: the way out after an error forgets to close. */
#include "buggy.h"

static void on_received(pro_op *op)
{
    if (op->error == PRO_OK)
        pro_recv(op, &server.sock, server.in, sizeof server.in, on_received);
    else if (op->error == PRO_EOF)
        close_end(&server);
}

static void server_begins(pro_op *op)
{
    pro_recv(op, &server.sock, server.in, sizeof server.in, on_received);
}

static void on_sent(pro_op *op)
{
    if (op->error == PRO_OK && ++client.count < 20)
        pro_send_all(op, &client.sock, client.out, sizeof client.out, on_sent);
    else
        close_end(&client);
}

static void client_begins(pro_op *op)
{
    pro_send_all(op, &client.sock, client.out, sizeof client.out, on_sent);
}
static void check(void) {}
int         main(int argc, char **argv)
{
    return run_seeds(
        "leak", PRO_SIM_MILD_FAULTS | PRO_SIM_BIT(PRO_SIM_ABORTED) | PRO_SIM_BIT(PRO_SIM_RESET),
        argc, argv);
}
