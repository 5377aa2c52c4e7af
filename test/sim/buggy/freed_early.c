/* Bug: the memory of a receive is given back when the connection is closed, not when it is over. */
#include "buggy.h"

static char *buffer;

static void on_received(pro_op *op)
{
    if (op->error == PRO_OK && op->value != 4 && memcmp(buffer, "data", (size_t)op->value) != 0)
        pro_sim_fail(world, "other bytes came than were sent");
}

static void on_late(pro_op *op)
{
    (void)op;
    pro_close(&server.other, &server.sock, on_closed);
    memset(buffer, 0, 64); /* "free": somebody else uses it now */
}

static void server_begins(pro_op *op)
{
    static char   memory[64];
    static pro_op timer;
    memset(&timer, 0, sizeof timer);
    buffer = memory;
    pro_recv(op, &server.sock, buffer, sizeof memory, on_received);
    pro_sleep(&timer, server.loop, 30 * PRO_MSEC, on_late);
}

static void on_sent(pro_op *op) { (void)op, close_end(&client); }
static void client_begins(pro_op *op) { pro_send_all(op, &client.sock, "data", 4, on_sent); }
static void check(void) {}
int         main(int argc, char **argv)
{
    return run_seeds("freed_early", PRO_SIM_MILD_FAULTS, argc, argv);
}
