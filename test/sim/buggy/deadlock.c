/* Bug: both ends send all they have before either receives; it works while the buffers are large. */
#include "buggy.h"

enum { LEN = 40000 };
static char there[LEN], back[LEN], in1[LEN], in2[LEN];

static void on_server_received(pro_op *op) { (void)op, close_end(&server); }
static void on_server_sent(pro_op *op)
{
    pro_recv_exactly(op, &server.sock, in1, LEN, on_server_received);
}
static void server_begins(pro_op *op)
{
    pro_send_all(op, &server.sock, there, LEN, on_server_sent);
}
static void on_client_received(pro_op *op) { (void)op, close_end(&client); }
static void on_client_sent(pro_op *op)
{
    pro_recv_exactly(op, &client.sock, in2, LEN, on_client_received);
}
static void client_begins(pro_op *op) { pro_send_all(op, &client.sock, back, LEN, on_client_sent); }
static void check(void) {}
int main(int argc, char **argv) { return run_seeds("deadlock", PRO_SIM_MILD_FAULTS, argc, argv); }
