/* pro-echo itself, unchanged, and a hundred clients on bad links.
 *
 * The server's main is called as the program of a node, and runs as always: with as many shards, in the
 * style and with the maximum of connections that the seed says.  The world moves while it waits.  Each client sends a stream of bytes in pieces and checks what comes back; if the
 * connection breaks it begins again.  When all have what they want the server gets its SIGTERM. */
#include <signal.h>

#include "scenario.h"

int pro_echo_main(int argc, char **argv);

enum { NODES = 10, CLIENTS = 100, BYTES = 3000, PORT = 9000 };

typedef struct client {
    pro_loop  **loop;
    pro_op      send, recv, close;
    pro_socket  sock;
    pro_address server;
    uint32_t    key, sent, received;
    int         busy; /* operations of this attempt in flight */
    bool        broken;
    char        out[BYTES], in[BYTES];
} client;

static struct {
    pro_sim  *world;
    pro_loop *loops[NODES];
    client   *clients;
    int       ended;
    bool      over;
} e;

static void begin(client *c);

static void on_rested(pro_op *op) { begin(op->user); }

static void on_closed(pro_op *op)
{
    client *c = op->user;
    if (c->received == BYTES) {
        if (++e.ended == CLIENTS) raise(SIGTERM);
        return;
    }
    pro_sim_sometimes(e.world, "echo: a client began again", 1);
    pro_sleep(op, *c->loop, (1 + pro_sim_choose(e.world, "rest", 1000)) * PRO_MSEC, on_rested);
}

/* One of its operations is over: after the last one of a broken (or complete) attempt, close. */
static void leave(client *c, bool broken)
{
    c->busy--;
    if (broken && !c->broken) {
        c->broken = true;
        pro_socket_cancel(&c->sock);
    }
    if (c->busy == 0 && (c->broken || c->received == BYTES))
        pro_close(&c->close, &c->sock, on_closed);
}

static void send_more(client *c);

static void on_sent(pro_op *op)
{
    client *c = op->user;
    c->sent += (uint32_t)op->value;
    if (op->error == PRO_OK && !c->broken && c->sent < BYTES) send_more(c);
    leave(c, op->error != PRO_OK);
}

static void send_more(client *c)
{
    uint32_t n = 1 + pro_sim_choose(e.world, "piece", BYTES - c->sent);
    c->busy++;
    pro_send_all(&c->send, &c->sock, c->out + c->sent, n, on_sent);
}

static void receive(client *c);

static void on_received(pro_op *op)
{
    client *c = op->user;
    if (memcmp(c->in + c->received, c->out + c->received, (size_t)op->value) != 0)
        pro_sim_fail(e.world, "echo: other bytes came back than were sent");
    c->received += (uint32_t)op->value;
    if (op->error == PRO_OK && !c->broken && c->received < BYTES) receive(c);
    leave(c, op->error != PRO_OK);
}

static void receive(client *c)
{
    c->busy++;
    c->recv.deadline_ns = pro_loop_now(*c->loop) + 30 * PRO_SEC;
    pro_recv(&c->recv, &c->sock, c->in + c->received, BYTES - c->received, on_received);
}

static void on_connected(pro_op *op)
{
    client *c = op->user;
    if (op->error == PRO_OK) {
        receive(c);
        send_more(c);
    }
    leave(c, op->error != PRO_OK);
}

static void begin(client *c)
{
    c->sent = c->received = 0;
    c->broken = false;
    c->busy = 1;
    pro_socket_init(&c->sock, *c->loop, NULL);
    c->send.deadline_ns = pro_loop_now(*c->loop) + 30 * PRO_SEC;
    pro_connect(&c->send, &c->sock, &c->server, on_connected);
}

static void clients_main(pro_sim_node *node, void *arg)
{
    int i = *(int *)arg;
    (void)node;
    e.loops[i] = sim_loop_new();
    for (int j = i; j < CLIENTS; j += NODES) {
        client *c = &e.clients[j];
        c->loop = &e.loops[i];
        c->send.user = c->recv.user = c->close.user = c;
        for (int k = 0; k < BYTES; k++) c->out[k] = (char)(k * 31 + j * 7 + (k >> 8));
        begin(c);
    }
}

static void heal(void *arg) { pro_sim_heal(arg); }

static void give_up(void *arg)
{
    if (e.over) return;
    pro_sim_fail(arg, "echo: %d of %d clients are done after an hour of fair weather", e.ended,
                 CLIENTS);
    raise(SIGTERM);
    pro_sim_after(arg, PRO_SEC, give_up, arg);
}

void scenario_echo(pro_sim *world)
{
    static int   numbers[NODES];
    static char *styles[] = {"coroutine", "stackless", "callback"};
    static char *maxima[] = {"0", "1", "20"};
    static char *numbers_of_shards[] = {"1", "3"};
    memset(&e, 0, sizeof e);
    e.world = world;
    char *style = styles[pro_sim_choose(world, "style", 3)];
    char *maximum = maxima[pro_sim_choose(world, "maximum", 3)];
    char *shards = numbers_of_shards[pro_sim_choose(world, "shards", 2)];
    char *arguments[] = {"pro-echo", "--listen",          "0.0.0.0:9000", "--idle-timeout",
                         "120",      "--shards",          shards,         "--style",
                         style,      "--max-connections", maximum,        NULL};
    pro_sim_sometimes(world, "echo: in coroutines", style == styles[0]);
    pro_sim_sometimes(world, "echo: without stacks", style == styles[1]);
    pro_sim_sometimes(world, "echo: in callbacks", style == styles[2]);
    pro_sim_sometimes(world, "echo: one at a time, over three shards",
                      maximum == maxima[1] && shards == numbers_of_shards[1]);
    e.clients = calloc(CLIENTS, sizeof *e.clients);
    pro_sim_node *server = pro_sim_node_new(world, "server", NULL, NULL, NULL);
    pro_address   address = pro_sim_node_address(server, PORT);
    for (int i = 0; i < NODES; i++) {
        numbers[i] = i;
        pro_sim_node_new(world, "clients", NULL, clients_main, &numbers[i]);
    }
    for (int i = 0; i < CLIENTS; i++) e.clients[i].server = address;
    pro_sim_after(world, 300 * PRO_SEC, heal, world);
    pro_sim_after(world, 3900 * PRO_SEC, give_up, world);

    pro_sim_enter(world, server);
    int status = pro_echo_main(sizeof arguments / sizeof arguments[0] - 1, arguments);
    pro_sim_enter(world, NULL);
    e.over = true;
    if (status != 0) pro_sim_fail(world, "echo: the server ended with status %d", status);
    if (e.ended != CLIENTS) pro_sim_fail(world, "echo: the server ended early");
    pro_sim_settle(world, 3600 * PRO_SEC);
    free(e.clients);
}
