/* A request/reply service with retries and deadlines, and its promise: at most once.
 *
 * A client asks the server to add to an account; each request has a number.  Whatever breaks, it asks
 * again, with the same number, on a new connection.  The server remembers the numbers it has done (as
 * a disk would: across crashes) and answers again what it answered before.
 *
 * Checked after every step: nothing was done twice.  At the end: everything was done once, and each
 * answer was right. */
#include "scenario.h"

enum { CLIENTS = 8, REQUESTS = 12, PORT = 700 };

typedef struct request {
    uint32_t client, number, amount, check;
} request;

typedef struct session {
    pro_scope       scope;
    pro_socket      sock;
    pro_op          op;
    request         request;
    uint64_t        reply;
    struct session *next;
} session;

typedef struct client {
    pro_loop   *loop;
    pro_op      op;
    pro_socket  sock;
    pro_address server;
    request     request;
    uint64_t    reply, deadline_ns;
    bool        open;
    int         tries;
} client;

static struct {
    pro_sim     *world;
    pro_loop    *loop; /* the server's */
    pro_listener listener;
    pro_op       accept;
    session     *sessions;
    uint32_t     done[CLIENTS][REQUESTS]; /* how often */
    uint64_t     answer[CLIENTS][REQUESTS], balance;
    client       clients[CLIENTS];
    int          ended;
} s;

static uint32_t sum(const request *r)
{
    return r->client * 31 + r->number * 17 + r->amount * 7 + 1;
}

/* ---- The server ----------------------------------------------------------------------------- */

static void on_request(pro_op *op);

static void on_drained(pro_scope *scope)
{
    session  *dead = pro_container_of(scope, session, scope);
    session **at = &s.sessions;
    while (*at != dead) at = &(*at)->next;
    *at = dead->next;
    free(dead);
}

static void on_replied(pro_op *op)
{
    session *x = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&x->scope);
        return;
    }
    op->deadline_ns = pro_loop_now(s.loop) + 60 * PRO_SEC;
    pro_recv_exactly(op, &x->sock, &x->request, sizeof x->request, on_request);
}

static void on_request(pro_op *op)
{
    session       *x = op->user;
    const request *r = &x->request;
    if (op->error != PRO_OK) {
        pro_sim_sometimes(s.world, "service: a request was cut", op->value > 0);
        pro_scope_close(&x->scope);
        return;
    }
    if (r->check != sum(r) || r->client >= CLIENTS || r->number >= REQUESTS) {
        pro_sim_fail(s.world, "service: a request is garbled");
        pro_scope_close(&x->scope);
        return;
    }
    pro_sim_sometimes(s.world, "service: a request came again", s.done[r->client][r->number] > 0);
    if (s.done[r->client][r->number] == 0) {
        s.done[r->client][r->number]++;
        s.balance += r->amount;
        s.answer[r->client][r->number] = s.balance;
    }
    x->reply = s.answer[r->client][r->number];
    op->deadline_ns = pro_loop_now(s.loop) + 60 * PRO_SEC;
    pro_send_all(op, &x->sock, &x->reply, sizeof x->reply, on_replied);
}

static void on_accepted(pro_op *op);
static void on_rested(pro_op *op) { pro_accept(op, &s.listener, on_accepted); }

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) {
        pro_sleep(op, s.loop, 100 * PRO_MSEC, on_rested);
        return;
    }
    session *x = calloc(1, sizeof *x);
    x->op.user = x;
    x->next = s.sessions;
    s.sessions = x;
    pro_scope_init(&x->scope, s.loop, NULL, on_drained);
    if (pro_accept_take(op, &x->sock, &x->scope) == PRO_OK)
        on_replied(&x->op);
    else
        pro_scope_close(&x->scope);
    pro_accept(op, &s.listener, on_accepted);
}

static void on_listen_again(pro_op *op)
{
    pro_address any = pro_address_any(PRO_IPV4, PORT);
    if (pro_listen(&s.listener, s.loop, NULL, &any, NULL) == PRO_OK)
        pro_accept(op, &s.listener, on_accepted);
    else
        pro_sleep(op, s.loop, 100 * PRO_MSEC, on_listen_again);
}

static void server_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    s.loop = sim_loop_new();
    memset(&s.accept, 0, sizeof s.accept);
    memset(&s.listener, 0, sizeof s.listener);
    on_listen_again(&s.accept);
}

static void server_crashed(void *arg)
{
    (void)arg;
    pro_sim_sometimes(s.world, "service: crashed with connections", s.sessions != NULL);
    for (session *x = s.sessions, *next; x; x = next) {
        next = x->next;
        free(x);
    }
    s.sessions = NULL;
}

/* ---- The clients ---------------------------------------------------------------------------- */

static void ask(client *c);
static void on_closed(pro_op *op);

static void fail(client *c)
{
    c->open = false;
    pro_close(&c->op, &c->sock, on_closed);
}

static void on_pause_over(pro_op *op) { ask(op->user); }

static void on_closed(pro_op *op)
{
    client *c = op->user;
    if (c->request.number == REQUESTS) {
        s.ended++;
        return;
    }
    pro_sim_sometimes(s.world, "service: a fourth try", ++c->tries == 4);
    pro_sleep(op, c->loop, (10 + pro_sim_choose(s.world, "pause", 500)) * PRO_MSEC, on_pause_over);
}

static void on_reply(pro_op *op)
{
    client *c = op->user;
    if (op->error != PRO_OK) {
        pro_sim_sometimes(s.world, "service: a reply was late", op->error == PRO_ETIMEDOUT);
        fail(c);
        return;
    }
    if (c->reply != s.answer[c->request.client][c->request.number])
        pro_sim_fail(s.world, "service: a wrong answer");
    c->request.number++;
    c->tries = 0;
    if (c->request.number == REQUESTS)
        fail(c);
    else
        ask(c);
}

static void on_asked(pro_op *op)
{
    client *c = op->user;
    if (op->error != PRO_OK) {
        fail(c);
        return;
    }
    op->deadline_ns = c->deadline_ns;
    pro_recv_exactly(op, &c->sock, &c->reply, sizeof c->reply, on_reply);
}

static void on_connected(pro_op *op)
{
    client *c = op->user;
    if (op->error != PRO_OK) {
        fail(c);
        return;
    }
    op->deadline_ns = c->deadline_ns;
    pro_send_all(op, &c->sock, &c->request, sizeof c->request, on_asked);
}

static void ask(client *c)
{
    c->request.amount = 1 + c->request.number;
    c->request.check = sum(&c->request);
    c->deadline_ns = pro_loop_now(c->loop) + 5 * PRO_SEC;
    c->op.deadline_ns = c->deadline_ns;
    if (!c->open) {
        c->open = true;
        pro_socket_init(&c->sock, c->loop, NULL);
        pro_connect(&c->op, &c->sock, &c->server, on_connected);
    } else {
        pro_send_all(&c->op, &c->sock, &c->request, sizeof c->request, on_asked);
    }
}

static void client_main(pro_sim_node *node, void *arg)
{
    client *c = arg;
    (void)node;
    c->loop = sim_loop_new();
    c->op.user = c;
    ask(c);
}

/* ---- The world ------------------------------------------------------------------------------ */

static void check_once(void *arg)
{
    (void)arg;
    for (int c = 0; c < CLIENTS; c++)
        for (int r = 0; r < REQUESTS; r++)
            if (s.done[c][r] > 1)
                pro_sim_fail(s.world, "service: request %d of client %d was done twice", r, c);
}

static int all_ended(void *arg)
{
    (void)arg;
    return s.ended == CLIENTS;
}

void scenario_service(pro_sim *world)
{
    memset(&s, 0, sizeof s);
    s.world = world;
    pro_sim_node *server = pro_sim_node_new(world, "server", "10.0.1.1", server_main, NULL);
    pro_sim_node_service(server);
    pro_sim_node_on_crash(server, server_crashed);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        client *c = &s.clients[i];
        c->request.client = i;
        c->server = pro_sim_node_address(server, PORT);
        pro_sim_node_new(world, "client", NULL, client_main, c);
    }
    pro_sim_check(world, check_once, NULL);
    pro_sim_run_for(world, 120 * PRO_SEC);
    pro_sim_heal(world);
    if (!pro_sim_run(world, all_ended, NULL, 3600 * PRO_SEC)) return;
    uint64_t want = 0;
    for (int c = 0; c < CLIENTS; c++)
        for (uint32_t r = 0; r < REQUESTS; r++) want += 1 + r;
    if (s.balance != want) pro_sim_fail(world, "service: the balance is wrong");
    pro_sim_run_for(world, 600 * PRO_SEC); /* the sessions end by their deadlines */
    if (s.sessions) pro_sim_fail(world, "service: sessions are left over");
}
