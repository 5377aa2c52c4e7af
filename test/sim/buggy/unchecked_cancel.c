/* Bug: after pro_cancel the operation is used again at once, without waiting for its handler. */
#include "buggy.h"

static void on_answer(pro_op *op)
{
    if (op->error != PRO_ECANCELED) close_end(&client);
}

static void on_patience_over(pro_op *op)
{
    (void)op;
    if (!pro_op_in_flight(&client.op)) return;
    pro_cancel(&client.op);
    close_end(&client);
}

static void on_sent(pro_op *op) { (void)op, close_end(&server); }
static void server_begins(pro_op *op) { pro_send_all(op, &server.sock, "x", 1, on_sent); }

static void client_begins(pro_op *op)
{
    pro_sleep(&client.other, client.loop, 20 * PRO_MSEC, on_patience_over);
    pro_recv(op, &client.sock, client.in, 1, on_answer);
}

static void check(void) {}
int         main(int argc, char **argv)
{
    return run_seeds("unchecked_cancel", PRO_SIM_MILD_FAULTS, argc, argv);
}
