/* What the shards have in common.
 *
 * Places.  A maximum of connections counts over all shards, so it is a number that all of them write;
 * without a maximum nobody does.  A connection takes a place before it is served and gives it back at
 * its end.  When the last place goes, and when the first comes back, every shard is poked: it looks,
 * and pauses or accepts again.  So all of them pause together, and no shard holds a place for a
 * connection that has yet to come, while another has one that waits.
 *
 * Two shards may accept at the same moment when one place is left.  One gets it; the other keeps its
 * connection in hand, unserved, and is the first of its shard when there is a place again.
 *
 * No wake-up is lost: who gives a place writes it before it looks at is_poked; a shard that is told
 * clears is_poked before it looks at the places.
 *
 * The end.  The first shard waits for signals and tells the others by calls: the first signal drains,
 * the second closes.  When the last shard is over, the waits for signals and the runtime end. */
#include "echo.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAIN_NS (5 * PRO_SEC)

/* ---- Places ---------------------------------------------------------------------------------- */

static void poke_all(struct server *server)
{
    for (unsigned i = 0; i < server->count; i++) shard_poke(&server->shards[i]);
}

bool server_has_place(const struct server *server)
{
    return server->options->connections_max == 0 || atomic_load(&server->places) > 0;
}

bool server_take_place(struct server *server)
{
    if (server->options->connections_max == 0) return true;
    uint_fast64_t left = atomic_load(&server->places);
    do {
        if (left == 0) return false;
    } while (!atomic_compare_exchange_weak(&server->places, &left, left - 1));
    if (left == 1) poke_all(server);
    return true;
}

void server_give_place(struct server *server)
{
    if (server->options->connections_max == 0) return;
    if (atomic_fetch_add(&server->places, 1) == 0) poke_all(server);
}

void server_handles_freed(struct server *server)
{
    if (atomic_load(&server->starved) > 0) poke_all(server);
}

/* ---- The end --------------------------------------------------------------------------------- */

static int64_t drain_shard(pro_call *call, pro_loop *there)
{
    struct shard *shard = call->arg;
    pro_scope_drain(&shard->scope, pro_loop_now(there) + DRAIN_NS);
    return 0;
}

static int64_t close_shard(pro_call *call, pro_loop *there)
{
    struct shard *shard = call->arg;
    (void)there;
    pro_scope_close(&shard->scope);
    return 0;
}

static void on_told(pro_op *op) { (void)op; }

static void drain_all(struct server *server)
{
    server->is_draining = true;
    for (unsigned i = 0; i < server->count; i++) {
        struct shard *shard = &server->shards[i];
        pro_call_on(&shard->draining, server->shards[0].loop, shard->loop, drain_shard, on_told);
    }
}

static void close_all(struct server *server)
{
    if (server->is_closing) return;
    server->is_closing = true;
    for (unsigned i = 0; i < server->count; i++) {
        struct shard *shard = &server->shards[i];
        pro_call_on(&shard->closing, server->shards[0].loop, shard->loop, close_shard, on_told);
    }
}

static void on_signal(pro_op *op)
{
    struct server *server = op->user;
    if (op->error == PRO_ECANCELED) return;
    if (op->error != PRO_OK)
        fprintf(stderr, "pro-echo: cannot wait for signals: %s\n", pro_error_text(op->error));
    if (op->error != PRO_OK || server->is_draining) { /* the second one */
        close_all(server);
        return;
    }
    drain_all(server);
    pro_signal_wait(op, server->shards[0].loop, op == &server->interrupt ? SIGINT : SIGTERM,
                    on_signal);
}

/* On the first shard.  Without the waits nothing is left of it. */
static int64_t count_over(pro_call *call, pro_loop *there)
{
    struct server *server = call->arg;
    (void)there;
    if (++server->shards_over < server->count) return 0;
    pro_cancel(&server->interrupt);
    pro_cancel(&server->terminate);
    if (server->runtime) pro_runtime_stop(server->runtime, PRO_SEC);
    return 0;
}

void server_shard_over(struct shard *shard)
{
    struct server *server = shard->server;
    pro_call_on(&shard->over, shard->loop, server->shards[0].loop, count_over, on_told);
}

/* ---- The beginning --------------------------------------------------------------------------- */

int server_init(struct server *server, const struct options *options, unsigned shards)
{
    *server = (struct server){
        .options = options,
        .count = shards,
        .address = options->listen,
        .shards = calloc(shards, sizeof *server->shards),
        .places = options->connections_max,
    };
    return server->shards ? PRO_OK : PRO_ENOMEM;
}

void server_fini(struct server *server) { free(server->shards); }

int server_start_shard(pro_loop *loop, unsigned number, void *arg)
{
    struct server *server = arg;
    server->listen_error = shard_start(server, loop, number);
    if (server->listen_error != PRO_OK || number > 0) return server->listen_error;
    server->interrupt.user = server->terminate.user = server;
    pro_signal_wait(&server->interrupt, loop, SIGINT, on_signal);
    pro_signal_wait(&server->terminate, loop, SIGTERM, on_signal);
    return PRO_OK;
}

struct totals server_totals(const struct server *server)
{
    struct totals sum = {0};
    for (unsigned i = 0; i < server->count; i++) {
        const struct totals *t = &server->shards[i].totals;
        sum.connections += t->connections;
        sum.bytes_in += t->bytes_in;
        sum.bytes_out += t->bytes_out;
        sum.discarded += t->discarded;
        sum.canceled += t->canceled;
        sum.errors += t->errors;
    }
    return sum;
}
