/* Bug: a client that has sent its request waits for ever; the server gives up on one that is late. */
#include "buggy.h"

static void on_request(pro_op *op)
{
    if (op->error == PRO_ETIMEDOUT) return; /* nobody there: forget it (and forget to close) */
    close_end(&server);
}

static void server_begins(pro_op *op)
{
    op->deadline_ns = pro_loop_now(server.loop) + 50 * PRO_MSEC;
    pro_recv_exactly(op, &server.sock, server.in, 8, on_request);
}

static void on_answer(pro_op *op) { (void)op, close_end(&client); }
static void on_sent(pro_op *op) { pro_recv(op, &client.sock, client.in, 8, on_answer); }
static void client_begins(pro_op *op) { pro_send_all(op, &client.sock, client.out, 8, on_sent); }
static void check(void) {}
int         main(int argc, char **argv)
{
    return run_seeds("no_deadline", PRO_SIM_MILD_FAULTS, argc, argv);
}
