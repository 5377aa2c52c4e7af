/* A sharded service: a whole program, with a runtime of four shards, as the main function of a node.
 *
 * Counters live on the shard key % SHARDS and nowhere else.  A connection is accepted on any shard, by
 * a coroutine; a request for a counter of another shard goes there with pro_await_call_on.  Clients repeat
 * a request, over a new connection, until they have its answer, and the owner of the counter knows the
 * last request of each client that it has done: so an amount is added exactly once.
 *
 * Checked after every step: what was acknowledged <= the sum of all counters <= what was asked for.  At
 * the end, after an orderly stop from outside, all three are the same.  The machine may crash: then the
 * counters begin again, in a new epoch. */
#include "scenario.h"

enum { SHARDS = 4, KEYS = 16, CLIENTS = 12, ROUNDS = 12, NODES = 3, PORT = 700 };

typedef struct request {
    uint32_t client, number, key, amount;
} request;

typedef struct reply {
    uint32_t number, epoch;
    uint64_t total; /* of that counter, this amount included */
} reply;

/* On the server: what one shard has, and only it touches. */
typedef struct shard {
    pro_scope    door;
    pro_listener listener;
    uint64_t     counter[KEYS];
    uint32_t     done[CLIENTS][KEYS]; /* the last request that was done for a client and a key */
    pro_call     calls[SHARDS];
} shard;

typedef struct session {
    pro_socket sock;
    request    request;
} session;

typedef struct client {
    pro_loop **loop;
    uint32_t   number;
    request    request;
    uint64_t   acked, last[KEYS];
    bool       over;
} client;

static struct {
    pro_sim      *world;
    pro_sim_node *server;
    pro_runtime  *runtime;
    shard        *shards; /* of this life of the server */
    session      *sessions[256];
    uint32_t      epoch;
    uint64_t      asked, acked; /* in this epoch */
    pro_loop     *loops[NODES];
    client        clients[CLIENTS];
    uint32_t      over;
    bool          stopped;
} s;

/* ---- The server ------------------------------------------------------------------------------- */

static int64_t add(pro_call *call, pro_loop *there)
{
    const request *r = call->arg;
    unsigned       owner = r->key % SHARDS;
    if (pro_shard_of(there) != owner) pro_sim_fail(s.world, "a call ran on another shard");
    shard *mine = &s.shards[owner];
    if (r->number > mine->done[r->client][r->key]) {
        mine->done[r->client][r->key] = r->number;
        mine->counter[r->key] += r->amount;
    } else {
        pro_sim_sometimes(s.world, "shards: a request came again", 1);
    }
    return (int64_t)mine->counter[r->key];
}

static session *session_new(void)
{
    for (int i = 0; i < 256; i++) {
        if (s.sessions[i]) continue;
        return s.sessions[i] = calloc(1, sizeof(session));
    }
    abort();
}

static void session_free(session *c)
{
    int i = 0;
    while (s.sessions[i] != c) i++;
    s.sessions[i] = NULL;
    free(c);
}

static void serve(void *arg)
{
    session *c = arg;
    for (;;) {
        int64_t n = pro_await_recv_exactly_by(&c->sock, &c->request, sizeof c->request,
                                              pro_loop_now(pro_co_loop()) + 90 * PRO_SEC);
        if (n != (int64_t)sizeof c->request) break;
        pro_call call = {.arg = &c->request};
        int64_t  total =
            pro_await_call_on(&call, pro_runtime_loop(s.runtime, c->request.key % SHARDS), add);
        if (total < 0) break;
        reply answer = {c->request.number, s.epoch, (uint64_t)total};
        if (pro_await_send_all(&c->sock, &answer, sizeof answer) < 0) break;
    }
    pro_await_close(&c->sock);
    session_free(c);
}

static void listen_for_ever(void *arg)
{
    shard *mine = arg;
    for (;;) {
        session *c = session_new();
        int64_t  error = pro_await_accept(&mine->listener, &c->sock, pro_loop_scope(pro_co_loop()));
        if (error == PRO_OK && pro_go(pro_loop_scope(pro_co_loop()), serve, c, NULL) == PRO_OK)
            continue;
        session_free(c);
        if (error == PRO_ECANCELED || error == PRO_ECLOSED) break;
        if (pro_await_sleep(PRO_MSEC) < 0) break; /* no handles: wait for some to be closed */
    }
}

static void on_stop(pro_scope *root)
{
    pro_scope_close(&s.shards[pro_shard_of(root->pri_loop)].door);
}

static int set_up(pro_loop *loop, unsigned number, void *arg)
{
    (void)arg;
    shard             *mine = &s.shards[number];
    pro_address        any = pro_address_any(PRO_IPV4, PORT);
    pro_listen_options options = {.reuse_port = 1};
    pro_scope_init(&mine->door, loop, NULL, NULL);
    pro_scope_on_stop(pro_loop_scope(loop), on_stop);
    while (pro_listen(&mine->listener, loop, &mine->door, &any, &options) == PRO_EMFILE) {}
    return pro_go(&mine->door, listen_for_ever, mine, NULL);
}

/* A program like any other: it blocks until it has been stopped. */
static void server_main(pro_sim_node *node, void *arg)
{
    (void)arg;
    pro_runtime_options options = {PRO_VERSION, .shards = SHARDS};
    s.shards = calloc(SHARDS, sizeof *s.shards);
    if (pro_runtime_new(&s.runtime, &options) != PRO_OK) abort();
    int error = pro_runtime_start(s.runtime, set_up, NULL);
    if (error) pro_sim_fail(s.world, "shards: start: %s", pro_error_name(error));
    error = pro_runtime_join(s.runtime);
    s.runtime = NULL;
    if (error) pro_sim_fail(s.world, "shards: join: %s", pro_error_name(error));
    if (!s.stopped) pro_sim_fail(s.world, "shards: %s ended early", pro_sim_node_name(node));
}

static void forget(void)
{
    for (int i = 0; i < 256; i++) {
        free(s.sessions[i]);
        s.sessions[i] = NULL;
    }
    free(s.shards);
    s.shards = NULL;
}

static void on_crash(void *arg)
{
    (void)arg;
    pro_sim_sometimes(s.world, "shards: crashed", 1);
    forget();
    s.runtime = NULL;
    s.epoch++;
    s.acked = s.asked = 0;
    for (int i = 0; i < CLIENTS; i++) {
        if (!s.clients[i].over) s.asked += s.clients[i].request.amount; /* it asks again */
        memset(s.clients[i].last, 0, sizeof s.clients[i].last);
    }
}

/* ---- Clients ---------------------------------------------------------------------------------- */

/* One request, one connection: the answer, or not. */
static bool ask(client *c, reply *answer)
{
    pro_socket  sock = {0};
    pro_address to = pro_sim_node_address(s.server, PORT);
    uint64_t    until = pro_loop_now(*c->loop) + 20 * PRO_SEC;
    pro_socket_init(&sock, *c->loop, NULL);
    int64_t n = pro_await_connect_by(&sock, &to, until);
    if (n >= 0) n = pro_await_send_all_by(&sock, &c->request, sizeof c->request, until);
    if (n >= 0) n = pro_await_recv_exactly_by(&sock, answer, sizeof *answer, until);
    pro_await_close(&sock);
    return n == (int64_t)sizeof *answer;
}

static void count_asked(client *c) { s.asked += c->request.amount; }

static void client_life(void *arg)
{
    client *c = arg;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        reply answer = {0};
        c->request = (request){c->number, round, pro_sim_choose(s.world, "key", KEYS),
                               1 + pro_sim_choose(s.world, "amount", 9)};
        count_asked(c);
        while (!ask(c, &answer))
            pro_await_sleep((1 + pro_sim_choose(s.world, "rest", 2000)) * PRO_MSEC);
        if (answer.number != round) pro_sim_fail(s.world, "shards: an answer to another request");
        if (answer.epoch != s.epoch) {
            s.asked -= c->request.amount; /* done in a former life, and never asked for again */
            continue;
        }
        if (answer.total < c->last[c->request.key] + c->request.amount)
            pro_sim_fail(s.world, "shards: a counter went back");
        c->last[c->request.key] = answer.total;
        s.acked += c->request.amount;
    }
    c->over = true;
    s.over++;
}

static void client_main(pro_sim_node *node, void *arg)
{
    int i = (int)((pro_loop **)arg - s.loops);
    (void)node;
    s.loops[i] = sim_loop_new();
    for (int j = i; j < CLIENTS; j += NODES) {
        s.clients[j].loop = &s.loops[i];
        s.clients[j].number = (uint32_t)j;
        if (pro_go(pro_loop_scope(s.loops[i]), client_life, &s.clients[j], NULL) != PRO_OK) abort();
    }
}

/* ---- The scenario ------------------------------------------------------------------------------ */

static uint64_t sum(void)
{
    uint64_t total = 0;
    for (int i = 0; s.shards && i < SHARDS; i++)
        for (int key = 0; key < KEYS; key++) total += s.shards[i].counter[key];
    return total;
}

static void check(void *arg)
{
    (void)arg;
    uint64_t total = sum();
    if (s.acked > total || total > s.asked)
        pro_sim_fail(s.world, "shards: acknowledged %llu, counted %llu, asked for %llu",
                     (unsigned long long)s.acked, (unsigned long long)total,
                     (unsigned long long)s.asked);
}

static int all_over(void *arg)
{
    (void)arg;
    return s.over == CLIENTS && s.runtime; /* it may be down */
}

void scenario_shards(pro_sim *world)
{
    memset(&s, 0, sizeof s);
    s.world = world;
    s.server = pro_sim_node_new(world, "server", NULL, server_main, NULL);
    pro_sim_node_on_crash(s.server, on_crash);
    for (int i = 0; i < NODES; i++)
        pro_sim_node_new(world, "clients", NULL, client_main, &s.loops[i]);
    pro_sim_check(world, check, NULL);
    pro_sim_run_for(world, 120 * PRO_SEC);
    pro_sim_heal(world);
    if (pro_sim_run(world, all_over, NULL, 3600 * PRO_SEC)) {
        s.stopped = true;
        pro_runtime_stop(s.runtime, 5 * PRO_SEC); /* from outside, as from another thread */
        pro_sim_settle(world, 60 * PRO_SEC);
        if (sum() != s.asked || s.acked != s.asked)
            pro_sim_fail(world, "shards: at the end %llu were acknowledged, %llu counted of %llu",
                         (unsigned long long)s.acked, (unsigned long long)sum(),
                         (unsigned long long)s.asked);
    }
    forget();
}
