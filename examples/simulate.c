/* Simulate: a server and a client in a world of bad days, a few hundred of them, in a second.
 *
 *     simulate                     200 seeds
 *     simulate 17                  seed 17, with its events
 *
 * The server and the client are programs like any other; main puts each on a node.  The seed decides what goes wrong: short reads, resets, partitions, full handle tables.
 * The client asks again until it has its answer; the check is that it always gets it, and that nothing
 * is left over.  Take away the deadline in ask(), and a seed soon shows why it is there. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT 7

static pro_loop *make_loop(void)
{
    pro_loop_options options;
    pro_loop        *loop;
    pro_loop_options_init(&options);
    options.engine = PRO_ENGINE_SIM;
    if (pro_loop_new(&loop, &options) != PRO_OK) exit(1);
    return loop;
}

/* ---- The server: sends each number back, doubled --------------------------------------------- */

struct session {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    uint32_t   number;
};

static struct {
    pro_loop    *loop;
    pro_listener listener;
    pro_op       op;
} server;

static void on_number(pro_op *op);

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

static void on_answered(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&s->scope);
        return;
    }
    op->deadline_ns = pro_loop_now(server.loop) + 60 * PRO_SEC;
    pro_recv_exactly(op, &s->sock, &s->number, sizeof s->number, on_number);
}

static void on_number(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&s->scope);
        return;
    }
    s->number *= 2;
    op->deadline_ns = pro_loop_now(server.loop) + 60 * PRO_SEC;
    pro_send_all(op, &s->sock, &s->number, sizeof s->number, on_answered);
}

static void on_accepted(pro_op *op);

static void listen_again(pro_op *op)
{
    pro_address any = pro_address_any(PRO_IPV4, PORT);
    if (server.listener.handle.pri_loop != NULL ||
        pro_listen(&server.listener, server.loop, NULL, &any, NULL) == PRO_OK)
        pro_accept(op, &server.listener, on_accepted);
    else
        pro_sleep(op, server.loop, PRO_SEC, listen_again); /* no handles left: later */
}

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) {
        pro_sleep(op, server.loop, PRO_SEC, listen_again);
        return;
    }
    struct session *s = calloc(1, sizeof *s);
    if (!s) exit(1);
    s->op.user = s;
    pro_scope_init(&s->scope, server.loop, NULL, on_drained);
    if (pro_accept_take(op, &s->sock, &s->scope) == PRO_OK)
        on_answered(&s->op);
    else
        pro_scope_close(&s->scope);
    pro_accept(op, &server.listener, on_accepted);
}

static void server_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    memset(&server, 0, sizeof server);
    server.loop = make_loop();
    listen_again(&server.op);
}

/* ---- The client: asks until it has its answer ------------------------------------------------- */

static struct {
    pro_loop   *loop;
    pro_socket  sock;
    pro_op      op;
    pro_address address;
    uint32_t    number, answer;
    int         tries;
} client;

static void ask(pro_op *op);
static void on_rested(pro_op *op) { ask(op); }

static void on_closed(pro_op *op)
{
    if (client.answer != 42) pro_sleep(op, client.loop, 100 * PRO_MSEC, on_rested);
}

static void on_answer(pro_op *op) { pro_close(op, &client.sock, on_closed); }

static void on_sent(pro_op *op)
{
    if (op->error != PRO_OK) {
        pro_close(op, &client.sock, on_closed);
        return;
    }
    op->deadline_ns = pro_loop_now(client.loop) + 10 * PRO_SEC;
    pro_recv_exactly(op, &client.sock, &client.answer, sizeof client.answer, on_answer);
}

static void on_connected(pro_op *op)
{
    if (op->error != PRO_OK) {
        pro_close(op, &client.sock, on_closed);
        return;
    }
    op->deadline_ns = pro_loop_now(client.loop) + 10 * PRO_SEC;
    pro_send_all(op, &client.sock, &client.number, sizeof client.number, on_sent);
}

static void ask(pro_op *op)
{
    client.tries++;
    client.answer = 0;
    pro_socket_init(&client.sock, client.loop, NULL);
    op->deadline_ns = pro_loop_now(client.loop) + 10 * PRO_SEC;
    pro_connect(op, &client.sock, &client.address, on_connected);
}

static void client_main(pro_sim_node *node, void *arg)
{
    (void)node;
    memset(&client, 0, sizeof client);
    client.loop = make_loop();
    client.address = pro_sim_node_address(arg, PORT);
    client.number = 21;
    ask(&client.op);
}

/* ---- The world -------------------------------------------------------------------------------- */

static int run(uint64_t seed, int events)
{
    pro_sim_options options = {.version = PRO_VERSION,
                               .seed = seed,
                               .faults = PRO_SIM_ALL_FAULTS,
                               .survive = 1,
                               .tell_events = events};
    pro_sim        *world;
    if (pro_sim_new(&world, &options) != PRO_OK) exit(1);
    pro_sim_node *node = pro_sim_node_new(world, "server", "10.0.0.9", server_main, NULL);
    pro_sim_node_service(node); /* it may wait for ever */
    pro_sim_node_new(world, "client", "10.0.0.10", client_main, node);
    pro_sim_run_for(world, 60 * PRO_SEC);  /* a minute of weather */
    pro_sim_settle(world, 3600 * PRO_SEC); /* then all is well, and it must come to an end */
    if (client.answer != 42) pro_sim_fail(world, "the client has no answer");
    pro_sim_sometimes(world, "it took more than one try", client.tries > 1);
    return pro_sim_free(world);
}

static void print_mark(void *arg, const char *name, uint64_t worlds)
{
    (void)arg;
    printf("%s: in %d worlds\n", name, (int)worlds);
}

int main(int argc, char **argv)
{
    uint64_t only = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
    int      failed = 0;
    for (uint64_t seed = only ? only : 1; seed <= (only ? only : 200); seed++)
        failed += run(seed, only != 0) > 0;
    pro_sim_marks(print_mark, NULL);
    printf("simulate: %d seeds failed\n", failed);
    return failed > 0;
}
