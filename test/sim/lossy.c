/* Request and answer over datagrams, as in examples/whoami_coroutine.c, on links that lose, repeat and
 * reorder them: a server tells who asks the address it is seen at.
 *
 * A request has a number, and is sent again, each time later, until its answer or its deadline; after
 * that it is asked anew.  The server may crash.  A stranger sends forged answers to all the clients, whose
 * sockets are connected to the server.
 *
 * Checked of all that a client receives: it is whole, answers a request of this client that was sent
 * before, and is right.  Once all is healed every request is answered. */
#include "scenario.h"

#include <stdio.h>

enum { CLIENTS = 6, REQUESTS = 20, PORT = 700 };

typedef struct message {
    uint32_t number;
    char     text[PRO_ADDRESS_TEXT_MAX];
} message;

typedef struct client {
    pro_loop    *loop;
    pro_datagram sock;
    pro_address  me;
    uint32_t     number; /* of the request that is asked now */
    bool         over;
} client;

static struct {
    pro_sim     *world;
    pro_address  address; /* the server's */
    pro_loop    *loop;    /* and its loop */
    pro_datagram sock;
    pro_op       op;
    message      message;
    pro_address  from;
    pro_loop    *stranger;
    client       clients[CLIENTS];
    uint32_t     over;
} y;

/* ---- The server ------------------------------------------------------------------------------- */

static void on_asked(pro_op *op);

static void on_answered(pro_op *op)
{
    pro_recv_from(op, &y.sock, &y.message, sizeof y.message, &y.from, on_asked);
}

static void on_asked(pro_op *op)
{
    if (op->error != PRO_OK || op->value != sizeof y.message.number) {
        pro_sim_fail(y.world, "lossy: the server received %lld bytes, %s", (long long)op->value,
                     pro_error_name(op->error));
        return;
    }
    size_t len = pro_address_format(&y.from, y.message.text, sizeof y.message.text);
    pro_send_to(op, &y.sock, &y.message, sizeof y.message.number + len, &y.from, on_answered);
}

static void on_open_again(pro_op *op)
{
    pro_address any = pro_address_any((pro_family)y.address.family, PORT);
    int         error = pro_datagram_open(&y.sock, y.loop, NULL, (pro_family)any.family);
    if (error != PRO_OK)
        pro_sleep(op, y.loop, 100 * PRO_MSEC, on_open_again); /* no handle is left for now */
    else if (pro_datagram_bind(&y.sock, &any) != PRO_OK)
        pro_sim_fail(y.world, "lossy: the server's port is taken");
    else
        on_answered(op);
}

static void server_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    y.loop = sim_loop_new();
    memset(&y.op, 0, sizeof y.op);
    memset(&y.sock, 0, sizeof y.sock);
    on_open_again(&y.op);
}

static void server_crashed(void *arg) { (void)arg; }

/* ---- The clients ------------------------------------------------------------------------------ */

static void open_by_and_by(pro_datagram *d, pro_loop *loop)
{
    while (pro_datagram_open(d, loop, NULL, (pro_family)y.address.family) != PRO_OK)
        pro_await_sleep(100 * PRO_MSEC);
}

/* Is it the answer? */
static bool check(const client *c, const message *m, int64_t len)
{
    char text[PRO_ADDRESS_TEXT_MAX];
    pro_address_format(&c->me, text, sizeof text);
    if (len != (int64_t)(sizeof m->number + strlen(text)) ||
        memcmp(m->text, text, strlen(text)) != 0)
        pro_sim_fail(y.world, "lossy: a wrong answer: %.*s", (int)(len - 4), m->text);
    if (m->number > c->number) pro_sim_fail(y.world, "lossy: an answer to what was not asked");
    pro_sim_sometimes(y.world, "lossy: an answer came late or twice", m->number < c->number);
    return m->number == c->number;
}

static bool request(client *c)
{
    uint64_t patience = 50 * PRO_MSEC, deadline = pro_loop_now(c->loop) + 20 * PRO_SEC;
    for (int tries = 1; pro_loop_now(c->loop) < deadline; tries++, patience *= 2) {
        message  m;
        uint64_t until = pro_loop_now(c->loop) + patience;
        int64_t  n = pro_await_send_to(&c->sock, &c->number, sizeof c->number, NULL);
        while (n >= 0) {
            n = pro_await_recv_from_by(&c->sock, &m, sizeof m, NULL,
                                       until < deadline ? until : deadline);
            if (n >= 0 && check(c, &m, n)) return true;
        }
        pro_sim_sometimes(y.world, "lossy: a request was sent a fourth time", tries == 3);
        pro_sim_sometimes(y.world, "lossy: nobody listened", n == PRO_ECONNREFUSED);
        if (n == PRO_ECONNREFUSED)
            pro_await_sleep(patience);
        else if (n != PRO_ETIMEDOUT)
            pro_sim_fail(y.world, "lossy: a request ended with %s", pro_error_name((int)n));
    }
    return false;
}

static void ask(void *arg)
{
    client *c = arg;
    open_by_and_by(&c->sock, c->loop);
    if (pro_datagram_connect(&c->sock, &y.address) != PRO_OK ||
        pro_datagram_local(&c->sock, &c->me) != PRO_OK)
        pro_sim_fail(y.world, "lossy: no peer");
    for (c->number = 1; c->number <= REQUESTS && !pro_sim_failures(y.world);) {
        bool is_answered = request(c);
        pro_sim_sometimes(y.world, "lossy: a request met its deadline", !is_answered);
        c->number += is_answered;
    }
    pro_await_datagram_close(&c->sock);
    c->over = true;
    y.over++;
}

static void client_main(pro_sim_node *node, void *arg)
{
    client *c = arg;
    (void)node;
    c->loop = sim_loop_new();
    if (pro_go(pro_loop_scope(c->loop), ask, c, NULL) != PRO_OK) abort();
}

/* ---- The stranger ----------------------------------------------------------------------------- */

static void forge(void *arg)
{
    (void)arg;
    pro_datagram sock = {0};
    message      m = {.text = "forged"};
    open_by_and_by(&sock, y.stranger);
    for (uint32_t i = 0; y.over < CLIENTS; i++) {
        const client *c = &y.clients[i % CLIENTS];
        m.number = c->number;
        if (c->me.port && !c->over) pro_await_send_to(&sock, &m, sizeof m.number + 6, &c->me);
        pro_await_sleep(200 * PRO_MSEC);
    }
    pro_await_datagram_close(&sock);
}

static void stranger_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    y.stranger = sim_loop_new();
    if (pro_go(pro_loop_scope(y.stranger), forge, NULL, NULL) != PRO_OK) abort();
}

/* ---- The world -------------------------------------------------------------------------------- */

static int all_over(void *arg)
{
    (void)arg;
    return y.over == CLIENTS;
}

void scenario_lossy(pro_sim *world)
{
    memset(&y, 0, sizeof y);
    y.world = world;
    bool          is_v6 = pro_sim_choose(world, "family", 2);
    pro_sim_node *server =
        pro_sim_node_new(world, "server", is_v6 ? "[fd00::1]" : "10.0.1.1", server_main, NULL);
    y.address = pro_sim_node_address(server, PORT);
    pro_sim_node_service(server);
    pro_sim_node_on_crash(server, server_crashed);
    for (int i = 0; i <= CLIENTS; i++) {
        char          address[32];
        pro_sim_main *main = i < CLIENTS ? client_main : stranger_main;
        snprintf(address, sizeof address, is_v6 ? "[fd00::%d]" : "10.0.2.%d", i + 2);
        pro_sim_node_new(world, i < CLIENTS ? "client" : "stranger", address, main,
                         i < CLIENTS ? &y.clients[i] : NULL);
    }
    pro_sim_run_for(world, 120 * PRO_SEC);
    pro_sim_heal(world);
    if (pro_sim_run(world, all_over, NULL, 3600 * PRO_SEC)) pro_sim_settle(world, 600 * PRO_SEC);
}
