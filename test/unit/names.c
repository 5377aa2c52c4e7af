/* Happy eyeballs (RFC 8305), in virtual time: who is tried when, and who stands.
 *
 * "dual" is the name of several nodes, and so has as many addresses.  IPv6 goes first, then by turns; the
 * next one begins 250 ms after the one before, or when that failed. */
#include "unit.h"

#include <proactor.h>

enum { PORT = 7, SERVERS_MAX = 5 };

/* What a server does. */
enum how { GOOD, SILENT, REFUSES, SLOW };

struct server {
    const char   *address;
    enum how      how;
    pro_sim_node *node;
    pro_loop     *loop;
    pro_listener  listener;
    pro_op        accept;
    int           accepted;
};

static struct {
    struct server servers[SERVERS_MAX];
    int           count;
    pro_loop     *loop;
    pro_socket    sock;
    pro_op        connect, close;
    const char   *host;
    uint64_t      patience_ns, began_ns, took_ns;
    int           done, error;
    pro_address   peer;
} s;

static pro_loop *make_loop(void)
{
    pro_loop_options options;
    pro_loop        *loop;
    pro_loop_options_init(&options);
    options.engine = PRO_ENGINE_SIM;
    if (pro_loop_new(&loop, &options) != PRO_OK) abort();
    return loop;
}

static void on_accepted(pro_op *op)
{
    struct server *server = op->user;
    server->accepted += op->error == PRO_OK; /* and closed, not being taken */
}

static void server_main(pro_sim_node *node, void *arg)
{
    struct server *server = arg;
    pro_address    here = pro_sim_node_address(node, PORT);
    server->loop = make_loop();
    if (server->how == REFUSES) return;
    if (pro_listen(&server->listener, server->loop, NULL, &here, NULL) != PRO_OK) return;
    server->accept.user = server;
    pro_accept_multi(&server->accept, &server->listener, on_accepted);
}

static void on_connected(pro_op *op)
{
    s.done++;
    s.error = op->error;
    s.took_ns = pro_loop_now(s.loop) - s.began_ns;
    if (op->error == PRO_OK && pro_socket_peer(&s.sock, &s.peer) != PRO_OK) s.error = PRO_EUNKNOWN;
    pro_close(&s.close, &s.sock, on_accepted);
}

static void client_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    s.loop = make_loop();
    s.began_ns = pro_loop_now(s.loop);
    s.close.user = &s.servers[SERVERS_MAX - 1];
    pro_socket_init(&s.sock, s.loop, NULL);
    if (s.patience_ns) s.connect.deadline_ns = s.began_ns + s.patience_ns;
    pro_connect_host(&s.connect, &s.sock, s.host, "7", on_connected);
}

/* Run it; how many failures the world had. */
static int run(uint64_t seed, uint32_t faults)
{
    pro_sim_options options = {
        .version = PRO_VERSION, .seed = seed, .faults = faults, .survive = faults != 0};
    pro_sim *world;
    if (pro_sim_new(&world, &options) != PRO_OK) abort();
    for (int i = 0; i < s.count; i++) {
        struct server *server = &s.servers[i];
        server->node = pro_sim_node_new(world, "dual", server->address, server_main, server);
        pro_sim_node_service(server->node);
    }
    pro_sim_node *client = pro_sim_node_new(world, "client", "10.0.0.99", client_main, NULL);
    for (int i = 0; i < s.count; i++) {
        static const pro_sim_link slow = {.delay_ns = 400 * PRO_MSEC};
        if (s.servers[i].how == SILENT) pro_sim_partition(client, s.servers[i].node);
        if (s.servers[i].how == SLOW) pro_sim_link_set(client, s.servers[i].node, &slow);
    }
    pro_sim_run_for(world, 60 * PRO_SEC);
    pro_sim_settle(world, 3600 * PRO_SEC);
    return pro_sim_free(world);
}

static void server(const char *address, enum how how)
{
    s.servers[s.count++] = (struct server){.address = address, .how = how};
}

static void begin(void)
{
    memset(&s, 0, sizeof s);
    s.host = "dual";
}

/* It ended with a connection to server number i, begun so many milliseconds after the look-up. */
#define CHECK_WON(i, after_ms)                                                                     \
    do {                                                                                           \
        CHECK_EQ(s.done, 1);                                                                       \
        CHECK_EQ(s.error, PRO_OK);                                                                 \
        pro_address want_ = pro_sim_address((i));                                                  \
        CHECK(pro_address_equal(&s.peer, &want_));                                                 \
        CHECK(s.took_ns + 1 > (after_ms)*PRO_MSEC);                                                \
        CHECK(s.took_ns < ((after_ms) + 100) * PRO_MSEC);                                          \
    } while (0)

static pro_address pro_sim_address(int i)
{
    char        text[PRO_ADDRESS_TEXT_MAX];
    pro_address address;
    snprintf(text, sizeof text, "%s:%d", s.servers[i].address, PORT);
    if (pro_address_parse(&address, text) != PRO_OK) abort();
    return address;
}

UNIT(ipv6_goes_first)
{
    begin();
    server("10.0.0.2", GOOD);
    server("[fd00::2]", GOOD);
    CHECK_EQ(run(1, 0), 0);
    CHECK_WON(1, 0);
    CHECK_EQ(s.servers[0].accepted, 0);
}

UNIT(a_silent_one_delays_the_next_by_250_ms)
{
    begin();
    server("10.0.0.2", GOOD);
    server("[fd00::2]", SILENT);
    CHECK_EQ(run(2, 0), 0);
    CHECK_WON(0, 250);
}

UNIT(one_that_refuses_delays_nobody)
{
    begin();
    server("10.0.0.2", GOOD);
    server("[fd00::2]", REFUSES);
    CHECK_EQ(run(3, 0), 0);
    CHECK_WON(0, 0);
}

UNIT(families_take_turns)
{
    begin();
    server("[fd00::2]", SILENT);
    server("[fd00::3]", SILENT);
    server("10.0.0.2", SILENT);
    server("10.0.0.3", GOOD);
    CHECK_EQ(run(4, 0), 0);
    CHECK_WON(3, 750); /* fd00::2, 10.0.0.2, fd00::3, 10.0.0.3 */
}

UNIT(the_loser_is_closed)
{
    begin();
    server("[fd00::2]", SLOW);
    server("10.0.0.2", GOOD);
    CHECK_EQ(run(5, 0), 0);
    CHECK_WON(1, 250);
}

UNIT(a_deadline_ends_all_of_it)
{
    begin();
    server("[fd00::2]", SILENT);
    server("10.0.0.2", SILENT);
    s.patience_ns = 2 * PRO_SEC;
    CHECK_EQ(run(6, 0), 0);
    CHECK_EQ(s.done, 1);
    CHECK_EQ(s.error, PRO_ETIMEDOUT);
    CHECK_EQ(s.took_ns, s.patience_ns);
}

UNIT(all_refuse)
{
    begin();
    server("[fd00::2]", REFUSES);
    server("10.0.0.2", REFUSES);
    CHECK_EQ(run(7, 0), 0);
    CHECK_EQ(s.done, 1);
    CHECK_EQ(s.error, PRO_ECONNREFUSED);
}

UNIT(a_name_that_nobody_has)
{
    begin();
    server("10.0.0.2", GOOD);
    s.host = "single";
    CHECK_EQ(run(8, 0), 0);
    CHECK_EQ(s.done, 1);
    CHECK_EQ(s.error, PRO_ENOENT);
}

UNIT(one_family_alone)
{
    begin();
    server("10.0.0.2", SILENT);
    server("10.0.0.3", GOOD);
    CHECK_EQ(run(9, 0), 0);
    CHECK_WON(1, 250);
}

UNIT(in_any_weather_it_completes_once)
{
    int connected = 0, failed = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        begin();
        server("[fd00::2]", (enum how)(seed % 4));
        server("10.0.0.2", (enum how)(seed / 4 % 4));
        server("[fd00::3]", (enum how)(seed / 16 % 4));
        if (seed % 3 == 0) s.patience_ns = seed * 10 * PRO_MSEC;
        CHECK_EQ(run(seed, PRO_SIM_ALL_FAULTS), 0);
        CHECK_EQ(s.done, 1);
        connected += s.error == PRO_OK;
        failed += s.error != PRO_OK;
    }
    CHECK(connected > 50 && failed > 20);
}
