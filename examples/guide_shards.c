/* Shards: one address, a listener on each shard, and a question to all of them.
 *
 *     guide_shards
 *
 * What to see here: a shard writes only what is its own; what it wants of the others it asks with a
 * message, and the answer comes to the loop that asked. */
#include <proactor.h>

#include <stdio.h>

#define SHARDS 2
#define CONNECTIONS 16

struct shard {
    pro_scope    door; /* what a drain closes first */
    pro_listener listener;
    pro_op       accepting;
    int          connections;
    char         apart[64]; /* two shards write to no line of memory in common */
};

static struct shard shards[SHARDS];
static pro_address  address;
static pro_runtime *runtime;

/* ---- on every shard ---------------------------------------------------------------------------- */

static void on_accepted(pro_op *op)
{
    struct shard *shard = op->user;
    if (op->error == PRO_OK) shard->connections++; /* not taken, so the library closes it */
}

static void on_stop(pro_scope *door) { pro_scope_close(door); }

static int64_t count(pro_call *call, pro_loop *there)
{
    (void)call;
    return shards[pro_shard_of(there)].connections;
}

/* ---- on shard 0 -------------------------------------------------------------------------------- */

static pro_op     op;
static pro_socket client;
static pro_call   calls[SHARDS];
static char       byte;
static int        done;

static void on_counted(pro_op *o)
{
    printf("%d connections, on %u shards\n", (int)o->value, pro_runtime_shards(runtime));
    pro_runtime_stop(runtime, PRO_SEC); /* all of them drain, and end */
}

static void on_closed(pro_op *o);

static void on_end(pro_op *o) { pro_close(o, &client, on_closed); }

static void on_connected(pro_op *o) { pro_recv(o, &client, &byte, 1, on_end); }

static void visit(pro_loop *loop)
{
    pro_socket_init(&client, loop, NULL);
    pro_connect(&op, &client, &address, on_connected);
}

static void on_begin(pro_op *o)
{
    (void)o;
    visit(pro_runtime_loop(runtime, 0));
}

static void on_closed(pro_op *o)
{
    pro_loop *loop = pro_runtime_loop(runtime, 0);
    (void)o;
    if (++done < CONNECTIONS) {
        visit(loop);
    } else {
        pro_broadcast(calls, loop, count, NULL, on_counted);
    }
}

/* ---- the runtime ------------------------------------------------------------------------------- */

/* Runs on the thread of the shard, one shard after the other, before their loops run. */
static int set_up(pro_loop *loop, unsigned number, void *arg)
{
    struct shard      *shard = &shards[number];
    pro_listen_options options = {.reuse_port = 1};
    (void)arg;
    pro_scope_init(&shard->door, loop, NULL, NULL);
    pro_scope_on_stop(&shard->door, on_stop);
    int error = pro_listen(&shard->listener, loop, &shard->door, &address, &options);
    if (error != PRO_OK) return error;
    pro_listener_local(&shard->listener, &address); /* the first one chose the port for all */
    shard->accepting.user = shard;
    pro_accept_multi(&shard->accepting, &shard->listener, on_accepted);
    if (number == SHARDS - 1)
        pro_post(&op, pro_runtime_loop(runtime, 0), on_begin); /* all listen */
    return PRO_OK;
}

int main(void)
{
    pro_runtime_options options;
    pro_runtime_options_init(&options);
    options.shards = SHARDS;
    address = pro_address_loopback(PRO_IPV4, 0);

    int error = pro_runtime_new(&runtime, &options);
    if (error == PRO_OK) {
        pro_runtime_start(runtime, set_up, NULL);
        error = pro_runtime_join(runtime); /* also the error of a set_up */
    }
    if (error != PRO_OK) fprintf(stderr, "guide_shards: %s\n", pro_error_text(error));
    return error == PRO_OK ? 0 : 1;
}
