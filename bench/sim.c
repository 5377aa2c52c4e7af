/* How fast is the simulator?  Three questions:
 *
 *     events     events a second on one core: 100 pairs that play ping-pong in a calm world
 *     seeds      short seeds a second, set-up included: two nodes, one connection, ten rounds
 *     idle       seconds and memory for a world of so many idle connections (default 1,000,000)
 *
 *     bench/sim [events | seeds | idle [N]]      one line of JSON for each */
#include <proactor.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double max_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

/* ---- The program in the world: clients send a number, the server sends it back --------------- */

enum { PORT = 80 };

typedef struct end {
    pro_socket sock;
    pro_op     op;
    uint64_t   number;
    long       left;
} end;

static pro_loop    *server_loop, *client_loop;
static pro_listener listener;
static pro_op       accepting;
static pro_address  address;
static end         *clients, *servers;
static long         count, rounds, accepted, connected, ended;
static int          idle;

static void on_server_received(pro_op *op);
static void on_closed(pro_op *op) { (void)op, ended++; }

static void on_server_sent(pro_op *op)
{
    end *e = op->user;
    pro_recv_exactly(op, &e->sock, &e->number, sizeof e->number, on_server_received);
}

static void on_server_received(pro_op *op)
{
    end *e = op->user;
    if (op->error != PRO_OK)
        pro_close(op, &e->sock, on_closed);
    else
        pro_send_all(op, &e->sock, &e->number, sizeof e->number, on_server_sent);
}

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) {
        pro_listener_close(op, &listener, on_closed);
        return;
    }
    end *e = &servers[accepted++];
    e->op.user = e;
    if (pro_accept_take(op, &e->sock, NULL) != PRO_OK) abort();
    on_server_sent(&e->op);
    if (accepted == count) pro_cancel(op);
}

static void on_reply(pro_op *op);

static void on_sent(pro_op *op)
{
    end *e = op->user;
    pro_recv_exactly(op, &e->sock, &e->number, sizeof e->number, on_reply);
}

static void next_round(end *e)
{
    if (e->left-- > 0)
        pro_send_all(&e->op, &e->sock, &e->number, sizeof e->number, on_sent);
    else
        pro_close(&e->op, &e->sock, on_closed);
}

static void on_reply(pro_op *op) { next_round(op->user); }

static void on_connected(pro_op *op)
{
    if (op->error != PRO_OK) abort();
    connected++;
    if (idle) /* both sides wait for the other */
        on_sent(op);
    else
        next_round(op->user);
}

static pro_loop *new_loop(void)
{
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_SIM};
    pro_loop        *loop;
    if (pro_loop_new(&loop, &options) != PRO_OK) abort();
    return loop;
}

static void server_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    pro_address any = pro_address_any(PRO_IPV4, PORT);
    server_loop = new_loop();
    if (pro_listen(&listener, server_loop, NULL, &any, NULL) != PRO_OK) abort();
    pro_accept_multi(&accepting, &listener, on_accepted);
}

/* Not all at once: the backlog has its limit. */
static pro_op starter;
static long   started;

static void start_some(pro_op *op)
{
    for (int i = 0; i < 1000 && started < count; i++, started++) {
        end *e = &clients[started];
        e->op.user = e;
        e->left = rounds;
        pro_socket_init(&e->sock, client_loop, NULL);
        pro_connect(&e->op, &e->sock, &address, on_connected);
    }
    if (started < count) pro_sleep(op, client_loop, PRO_MSEC, start_some);
}

static void client_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    client_loop = new_loop();
    start_some(&starter);
}

static pro_sim *make_world(uint64_t seed, uint32_t faults)
{
    pro_sim_options options = {
        .version = PRO_VERSION, .seed = seed, .faults = faults, .survive = 1};
    pro_sim *world;
    if (pro_sim_new(&world, &options) != PRO_OK) abort();
    accepted = connected = ended = started = 0;
    memset(&listener, 0, sizeof listener);
    memset(&accepting, 0, sizeof accepting);
    memset(&starter, 0, sizeof starter);
    memset(clients, 0, (size_t)count * sizeof *clients);
    memset(servers, 0, (size_t)count * sizeof *servers);
    pro_sim_node *server = pro_sim_node_new(world, "server", NULL, server_main, NULL);
    pro_sim_node_new(world, "client", NULL, client_main, NULL);
    address = pro_sim_node_address(server, PORT);
    return world;
}

static void set(long connections, long rounds_each)
{
    count = connections;
    rounds = rounds_each;
    clients = calloc((size_t)count, sizeof *clients);
    servers = calloc((size_t)count, sizeof *servers);
    if (!clients || !servers) abort();
}

static void measure_events(const char *name, uint32_t faults)
{
    pro_sim_stats stats;
    set(100, 10000);
    double   begin = seconds();
    pro_sim *world = make_world(1, faults);
    pro_sim_run(world, NULL, NULL, 36000 * PRO_SEC);
    pro_sim_stats_get(world, &stats);
    int    failures = pro_sim_free(world);
    double took = seconds() - begin;
    printf("{\"bench\": \"sim\", \"what\": \"%s\", \"events\": %llu, \"seconds\": %.3f, "
           "\"events_per_s\": %.0f, \"failures\": %d}\n",
           name, (unsigned long long)stats.events, took, (double)stats.events / took, failures);
}

static void measure_seeds(void)
{
    enum { SEEDS = 5000 };
    int failures = 0;
    set(1, 10);
    double begin = seconds();
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        pro_sim *world = make_world(seed, PRO_SIM_MILD_FAULTS);
        pro_sim_run(world, NULL, NULL, 3600 * PRO_SEC);
        failures += pro_sim_free(world);
    }
    double took = seconds() - begin;
    printf("{\"bench\": \"sim\", \"what\": \"seeds\", \"seeds\": %d, \"seconds\": %.3f, "
           "\"us_per_seed\": %.1f, \"failures\": %d}\n",
           SEEDS, took, took / SEEDS * 1e6, failures);
}

static int all_connected(void *arg)
{
    (void)arg;
    return connected == count && accepted == count;
}

static void measure_idle(long connections)
{
    set(connections, 0);
    idle = 1;
    double   before = max_mib(), begin = seconds();
    pro_sim *world = make_world(1, PRO_SIM_CALM);
    int      ok = pro_sim_run(world, all_connected, NULL, 36000 * PRO_SEC);
    pro_sim_run_for(world, 3600 * PRO_SEC);
    double took = seconds() - begin;
    printf("{\"bench\": \"sim\", \"what\": \"idle\", \"connections\": %ld, \"all\": %d, "
           "\"seconds\": %.2f, \"bytes_per_connection\": %.0f}\n",
           connections, ok, took, (max_mib() - before) * 1048576 / (double)connections);
    fflush(stdout);
    _Exit(ok ? 0 : 1); /* taking it down is not the question */
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "all";
    bool        all = strcmp(what, "all") == 0;
    if (all || strcmp(what, "events") == 0) {
        measure_events("events", PRO_SIM_CALM);
        measure_events("events_mild", PRO_SIM_MILD_FAULTS);
    }
    if (all || strcmp(what, "seeds") == 0) measure_seeds();
    fflush(stdout);
    if (all || strcmp(what, "idle") == 0) measure_idle(argc > 2 ? atol(argv[2]) : 1000000);
    return 0;
}
