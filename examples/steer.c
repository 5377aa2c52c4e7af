/* Shards: three ways for connections to get to them.
 *
 *     steer spread [ADDR:PORT]     every shard listens, and the system spreads the connections by a hash
 *     steer cpu [ADDR:PORT]        every shard listens, and has those whose packets come in on its CPU
 *     steer client [ADDR:PORT]     one shard accepts, and hands over: a client is always at home on the same one
 *
 * Each connection is told where it is, "shard 1", and closed.  Control-C ends the program.
 *
 * What to see here: with one listener for each shard nothing has to be said between them, and the system
 * decides; where the program is to decide it takes the descriptor, and a call brings it to the loop that is
 * to have it.  From then on the two look the same. */
#include <proactor.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPREAD, BY_CPU, BY_CLIENT };
static const char *const ways[] = {"spread", "cpu", "client"};

struct shard {
    pro_scope    door; /* what a drain closes first */
    pro_listener listener;
    char         apart[64]; /* two shards write to no line of memory in common */
};

static int           way = SPREAD;
static pro_runtime  *runtime;
static struct shard *shards;
static pro_address   address;

struct connection {
    pro_socket sock;
    pro_op     closing; /* for who has no coroutine */
};

static void on_closed(pro_op *op) { free(pro_container_of(op, struct connection, closing)); }

/* Tell it where it is. */
static void greet(void *arg)
{
    struct connection *c = arg;
    pro_socket        *sock = &c->sock;
    char               line[32];
    int                len = snprintf(line, sizeof line, "shard %u\n", pro_shard_of(pro_co_loop()));
    pro_await_send_all(sock, line, (size_t)len);
    pro_await_close(sock);
    free(c);
}

/* As a coroutine; without memory for one it is closed. */
static int have(struct connection *c, pro_scope *scope)
{
    int error = pro_go(scope, greet, c, NULL);
    if (error != PRO_OK) pro_close(&c->closing, &c->sock, on_closed);
    return error;
}

/* No handles or no memory: rest, then go on.  False when the listener is closed. */
static bool may_go_on(int64_t error)
{
    if (error == PRO_ECLOSED || error == PRO_ECANCELED) return false;
    return pro_await_sleep(100 * PRO_MSEC) == PRO_OK;
}

/* ---- A listener for each: accept, and have it -------------------------------------------------- */

static void serve(void *arg)
{
    pro_listener *listener = arg;
    for (;;) {
        struct connection *c = calloc(1, sizeof *c);
        int64_t            error = c ? pro_await_accept(listener, &c->sock, NULL) : PRO_ENOMEM;
        if (error == PRO_OK) {
            have(c, pro_co_scope());
            continue;
        }
        free(c);
        if (!may_go_on(error)) return;
    }
}

/* ---- One listener: accept, and hand over ------------------------------------------------------- */

struct handover {
    pro_call call;
    intptr_t descriptor;
};

/* On the shard that is to have it. */
static int64_t arrive(pro_call *call, pro_loop *there)
{
    intptr_t           descriptor = pro_container_of(call, struct handover, call)->descriptor;
    struct connection *c = calloc(1, sizeof *c);
    int                error = c ? pro_socket_adopt(&c->sock, there, NULL, descriptor) : PRO_ENOMEM;
    if (error == PRO_OK) return have(c, pro_loop_scope(there));
    free(c);
    pro_descriptor_close(there, descriptor);
    return error;
}

static void on_answered(pro_op *op) { free(pro_container_of(op, struct handover, call.op)); }

static unsigned home_of(const pro_address *client)
{
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof client->bytes; i++) sum += client->bytes[i];
    return sum % pro_runtime_shards(runtime);
}

static void hand_over(void *arg)
{
    for (;;) {
        pro_op      accept = {0};
        pro_address client;
        pro_accept(&accept, arg, pro_awake);
        int64_t          error = pro_await(&accept);
        struct handover *h = calloc(1, sizeof *h);
        if (error >= 0) error = h ? pro_accept_peer(&accept, &client) : PRO_ENOMEM;
        if (error == PRO_OK) {
            h->descriptor = pro_accept_take_descriptor(&accept);
            pro_call_on(&h->call, pro_co_loop(), pro_runtime_loop(runtime, home_of(&client)),
                        arrive, on_answered);
            continue;
        }
        free(h); /* what was not taken is closed */
        if (!may_go_on(error)) return;
    }
}

/* ---- The shards -------------------------------------------------------------------------------- */

static void on_stop(pro_scope *door) { pro_scope_close(door); }

static void end_by_signal(void *arg)
{
    (void)arg;
    if (pro_await_signal_wait(SIGINT) > 0) pro_runtime_stop(runtime, PRO_SEC);
}

/* In the order of shards: so the listeners of one address stand in it too, as steering wants. */
static int set_up(pro_loop *loop, unsigned number, void *arg)
{
    struct shard *shard = &shards[number];
    pro_scope    *root = pro_loop_scope(loop);
    unsigned      count = pro_runtime_shards(runtime);
    (void)arg;
    if (number == 0 && pro_go(root, end_by_signal, NULL, NULL) != PRO_OK) return PRO_ENOMEM;
    if (number > 0 && way == BY_CLIENT) return PRO_OK; /* the first one accepts for all */

    pro_listen_options options = {.reuse_port = way != BY_CLIENT,
                                  .steer_by_cpu = way == BY_CPU ? (int)count : 0};
    pro_scope_init(&shard->door, loop, NULL, NULL);
    pro_scope_on_stop(&shard->door, on_stop);
    int error = pro_listen(&shard->listener, loop, &shard->door, &address, &options);
    if (error != PRO_OK) return error;
    pro_listener_local(&shard->listener, &address); /* the first one chose the port for all */
    return pro_go(root, way == BY_CLIENT ? hand_over : serve, &shard->listener, NULL);
}

static int fail(int error)
{
    fprintf(stderr, "steer: %s\n", pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    while (argc > 1 && way <= BY_CLIENT && strcmp(argv[1], ways[way]) != 0) way++;
    if (argc < 2 || argc > 3 || way > BY_CLIENT ||
        pro_address_parse(&address, argc > 2 ? argv[2] : "127.0.0.1:9000") != PRO_OK) {
        fprintf(stderr, "usage: steer spread|cpu|client [ADDR:PORT]\n");
        return 2;
    }
    int error = pro_runtime_new(&runtime, NULL); /* a pinned shard for each CPU */
    if (error != PRO_OK) return fail(error);
    shards = calloc(pro_runtime_shards(runtime), sizeof *shards);
    if (!shards) return fail(PRO_ENOMEM);

    error = pro_runtime_start(runtime, set_up, NULL);
    if (error == PRO_OK) {
        char text[PRO_ADDRESS_TEXT_MAX];
        pro_address_format(&address, text, sizeof text);
        printf("steer: listening on %s, %u shards\n", text, pro_runtime_shards(runtime));
        fflush(stdout);
    }
    error = pro_runtime_join(runtime); /* also the error of a set_up */
    free(shards);
    return error == PRO_OK ? 0 : fail(error);
}
