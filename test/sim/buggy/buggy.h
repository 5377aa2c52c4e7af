/* A program with one bug, in a world: what all of them share.  Two nodes, one connection; the server
 * has `sock` and `op`, and so has the client.  Each program gives the two handlers that begin. */
#ifndef BUGGY_H
#define BUGGY_H

#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct end {
    pro_loop  *loop;
    pro_socket sock;
    pro_op     op, other;
    char       in[64], out[64];
    int        count, done;
} end;

static end          server, client;
static pro_sim     *world;
static pro_listener listener;
static pro_op       accepting, closing;
static pro_address  address;

/* The program's own. */
static void server_begins(pro_op *op); /* a connection is there; op is server.op */
static void client_begins(pro_op *op); /* so it is; op is client.op */
static void check(void);               /* at the end */

static void on_listener_closed(pro_op *op) { (void)op; }

static void on_accepted(pro_op *op)
{
    if (op->error == PRO_OK && pro_accept_take(op, &server.sock, NULL) == PRO_OK)
        server_begins(&server.op);
    pro_listener_close(&closing, &listener, on_listener_closed);
}

static pro_loop *make_loop(void)
{
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_SIM};
    pro_loop        *loop;
    if (pro_loop_new(&loop, &options) != PRO_OK) abort();
    return loop;
}

static void server_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    pro_address any = pro_address_any(PRO_IPV4, 1);
    server.loop = make_loop();
    if (pro_listen(&listener, server.loop, NULL, &any, NULL) != PRO_OK) abort();
    pro_accept(&accepting, &listener, on_accepted);
}

static void on_connected(pro_op *op)
{
    if (op->error == PRO_OK) client_begins(op);
}

static void client_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    client.loop = make_loop();
    pro_socket_init(&client.sock, client.loop, NULL);
    pro_connect(&client.op, &client.sock, &address, on_connected);
}

static void on_closed(pro_op *op) { (void)op; }

static void close_end(end *e) { pro_close(&e->op, &e->sock, on_closed); }

/* Run seed after seed until one fails; 1 if one did. */
static int run_seeds(const char *name, uint32_t faults, int argc, char **argv)
{
    uint64_t seeds = 10000, only = 0;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seeds=", 8) == 0) seeds = strtoull(argv[i] + 8, NULL, 0);
        if (strncmp(argv[i], "--seed=", 7) == 0) only = strtoull(argv[i] + 7, NULL, 0);
    }
    if (!freopen("/dev/stdout", "w", stderr)) return 2;
    setvbuf(stderr, NULL, _IONBF, 0);
    for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); seed++) {
        pro_sim_options options = {.version = PRO_VERSION,
                                   .seed = seed,
                                   .faults = faults,
                                   .survive = 1,
                                   .tell_events = only != 0};
        memset(&server, 0, sizeof server);
        memset(&client, 0, sizeof client);
        memset(&listener, 0, sizeof listener);
        memset(&accepting, 0, sizeof accepting);
        memset(&closing, 0, sizeof closing);
        if (pro_sim_new(&world, &options) != PRO_OK) abort();
        pro_sim_node *node = pro_sim_node_new(world, "server", NULL, server_main, NULL);
        pro_sim_node_new(world, "client", NULL, client_main, NULL);
        address = pro_sim_node_address(node, 1);
        printf("FAIL sim: %s: seed %llu\r", name, (unsigned long long)seed); /* if it crashes */
        fflush(stdout);
        pro_sim_run_for(world, 60 * PRO_SEC); /* weather, before it is healed */
        pro_sim_settle(world, 600 * PRO_SEC);
        check();
        if (pro_sim_free(world) > 0) {
            printf("\nFAIL sim: %s: seed %llu\n", name, (unsigned long long)seed);
            return 1;
        }
    }
    printf("\n");
    return 0;
}

#endif
