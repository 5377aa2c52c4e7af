/* Bug: what one receive gives is taken for the whole message. */
#include "buggy.h"

static void on_message(pro_op *op)
{
    if (op->error == PRO_OK && memcmp(server.in, "hello, world", 12) != 0)
        pro_sim_fail(world, "the message is garbled");
    close_end(&server);
}

static void server_begins(pro_op *op) { pro_recv(op, &server.sock, server.in, 12, on_message); }
static void on_sent(pro_op *op) { (void)op, close_end(&client); }
static void client_begins(pro_op *op)
{
    pro_send_all(op, &client.sock, "hello, world", 12, on_sent);
}
static void check(void) {}
int main(int argc, char **argv) { return run_seeds("short_read", PRO_SIM_MILD_FAULTS, argc, argv); }
