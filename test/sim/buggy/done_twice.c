/* Bug: a request is sent again when its answer is late, and the server does it again. */
#include "buggy.h"

static void on_request(pro_op *op);

static void on_replied(pro_op *op)
{
    if (op->error == PRO_OK)
        pro_recv_exactly(op, &server.sock, server.in, 1, on_request);
    else
        close_end(&server);
}

static void on_request(pro_op *op)
{
    if (op->error != PRO_OK) {
        close_end(&server);
        return;
    }
    server.done++;
    pro_send_all(op, &server.sock, "k", 1, on_replied);
}

static void server_begins(pro_op *op) { on_replied(op); }
static void ask(pro_op *op);

static void on_answer(pro_op *op)
{
    if (op->error == PRO_ETIMEDOUT)
        ask(op);
    else
        close_end(&client);
}

static void on_sent(pro_op *op)
{
    op->deadline_ns = pro_loop_now(client.loop) + 100 * PRO_MSEC;
    if (op->error == PRO_OK)
        pro_recv(op, &client.sock, client.in, 1, on_answer);
    else
        close_end(&client);
}

static void ask(pro_op *op) { pro_send_all(op, &client.sock, "a", 1, on_sent); }
static void client_begins(pro_op *op) { ask(op); }

static void check(void)
{
    if (server.done > 1) pro_sim_fail(world, "the request was done %d times", server.done);
}

int main(int argc, char **argv) { return run_seeds("done_twice", PRO_SIM_MILD_FAULTS, argc, argv); }
