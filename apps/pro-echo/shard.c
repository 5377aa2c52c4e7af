/* One shard: its listener, and its end.
 *
 * One operation, shard.op, is in flight all the time: an accept, or a timer for a pause.
 *
 *     accepting --no handles, no memory--> paused for 100 ms, or until a connection ends somewhere
 *     accepting --no place left----------> paused until there is one
 *     paused    --over, or canceled------> accepting
 *
 * Without a maximum one multishot accept takes all that comes.  With one, a multishot accept could
 * take more than it may before we can cancel it, so connections are accepted one at a time.
 *
 * Several shards have a listener each on the same address, and the system spreads the connections.  Any
 * process of the same user could join them, so that a second pro-echo would not notice that the port is in
 * use: the first shard asks, by binding a socket that does not share.
 *
 * A drain is told by on_stop, here and in each session.  Then the backlog is accepted, one connection
 * at a time, until none comes within a moment: the listener closes.  What is left at the end of the
 * drain is canceled by the scope. */
#include "echo.h"

#define RETRY_NS (100 * PRO_MSEC)
#define MOMENT_NS (1 * PRO_MSEC)

/* ---- Accepting ------------------------------------------------------------------------------- */

static void on_accept(pro_op *op);
static void on_pause_over(pro_op *op);

static void pause_until(struct shard *shard, uint64_t when_ns)
{
    shard->state = SHARD_PAUSED;
    pro_timer_start(&shard->op, shard->loop, when_ns, on_pause_over);
}

/* The connection in hand, if there is one, is served now; false if it has to wait on. */
static bool serve_in_hand(struct shard *shard)
{
    struct session *s = shard->in_hand;
    if (!s) return true;
    if (!server_take_place(shard->server)) return false;
    shard->in_hand = NULL;
    s->has_place = true;
    session_start(s);
    return true;
}

static void accept_next(struct shard *shard)
{
    if (!serve_in_hand(shard) || !server_has_place(shard->server)) {
        pause_until(shard, UINT64_MAX);
        return;
    }
    shard->state = SHARD_ACCEPTING;
    if (pro_scope_draining(&shard->scope)) {
        shard->op.deadline_ns = pro_loop_now(shard->loop) + MOMENT_NS;
        pro_accept(&shard->op, &shard->listener, on_accept);
    } else if (shard->server->options->connections_max > 0) {
        pro_accept(&shard->op, &shard->listener, on_accept);
    } else {
        pro_accept_multi(&shard->op, &shard->listener, on_accept);
    }
}

/* Handles are short: trying again at once would spin. */
static void starve(struct shard *shard)
{
    shard->is_starved = true;
    atomic_fetch_add(&shard->server->starved, 1);
    pause_until(shard, pro_loop_now(shard->loop) + RETRY_NS);
}

static void on_pause_over(pro_op *op)
{
    struct shard *shard = op->user;
    if (shard->is_starved) atomic_fetch_sub(&shard->server->starved, 1);
    shard->is_starved = false;
    if (!pro_scope_closing(&shard->scope)) {
        accept_next(shard);
    } else if (shard->in_hand) {
        session_drop(shard->in_hand);
    }
}

static void on_listener_closed(pro_op *op) { (void)op; }

static void on_accept(pro_op *op)
{
    struct shard *shard = op->user;
    if (pro_scope_closing(&shard->scope))
        return; /* and has closed the listener; nobody takes this */
    if (op->error == PRO_OK) {
        struct session *s = session_new(shard, op);
        if (s) {
            shard->in_hand = s;
            serve_in_hand(shard);
        }
        if (op->flags & PRO_MORE) return;
    }
    switch (op->error) {
    case PRO_OK:
    case PRO_ECANCELED: /* a drain began, or the last place is taken */ accept_next(shard); break;
    case PRO_ETIMEDOUT: /* only in a drain: the backlog is empty */
        shard->state = SHARD_CLOSING;
        pro_listener_close(op, &shard->listener, on_listener_closed);
        break;
    default: starve(shard); break; /* PRO_EMFILE and the like */
    }
}

/* ---- Told by others -------------------------------------------------------------------------- */

static void on_poke(pro_op *op)
{
    struct shard *shard = op->user;
    atomic_store(&shard->is_poked, false); /* before we look: see server.c */
    bool may_accept = server_has_place(shard->server);
    if (shard->state == (may_accept ? SHARD_PAUSED : SHARD_ACCEPTING)) pro_cancel(&shard->op);
}

void shard_poke(struct shard *shard)
{
    if (!atomic_exchange(&shard->is_poked, true)) pro_post(&shard->poke, shard->loop, on_poke);
}

void shard_session_ended(struct shard *shard, bool had_place)
{
    if (had_place) server_give_place(shard->server);
    server_handles_freed(shard->server);
}

/* ---- The end --------------------------------------------------------------------------------- */

static void on_stop(pro_scope *scope)
{
    struct shard *shard = pro_container_of(scope, struct shard, scope);
    if (shard->state != SHARD_CLOSING) pro_cancel(&shard->op);
}

static void on_drained(pro_scope *scope)
{
    server_shard_over(pro_container_of(scope, struct shard, scope));
}

/* ---- The beginning --------------------------------------------------------------------------- */

static void on_probed(pro_op *op) { (void)op; }

/* Is nobody listening there who would share?  PRO_OK, or what binding says. */
static int probe(struct shard *shard, const pro_address *address)
{
    pro_socket *s = &shard->probe;
    int         error = pro_socket_open(s, shard->loop, &shard->scope, (pro_family)address->family);
    if (error != PRO_OK) return error;
    error =
        pro_socket_set(s, PRO_OPT_REUSE_ADDRESS, 1); /* as pro_listen: old connections may fade */
    if (error == PRO_OK) error = pro_socket_bind(s, address);
    pro_close(&shard->probed, s, on_probed);
    return error;
}

static int listen_on(struct shard *shard)
{
    struct server     *server = shard->server;
    pro_listen_options options = {.reuse_port = server->count > 1};
    int                error = PRO_OK;
    if (options.reuse_port && shard == server->shards && server->address.port != 0)
        error = probe(shard, &server->address);
    if (error == PRO_OK)
        error =
            pro_listen(&shard->listener, shard->loop, &shard->scope, &server->address, &options);
    if (error == PRO_OK) pro_listener_local(&shard->listener, &server->address);
    return error; /* the first one has chosen the port for all, if it was 0 */
}

int shard_start(struct server *server, pro_loop *loop, unsigned number)
{
    struct shard *shard = &server->shards[number];
    shard->server = server;
    shard->loop = loop;
    shard->op.user = shard->poke.user = shard;
    shard->op.scope = &shard->scope;
    shard->draining.arg = shard->closing.arg = shard;
    shard->over.arg = server;
    pro_scope_init(&shard->scope, loop, NULL, on_drained);
    int error = listen_on(shard);
    if (error != PRO_OK) {
        pro_scope_close(&shard->scope);
        return error;
    }
    pro_scope_on_stop(&shard->scope, on_stop);
    accept_next(shard);
    return PRO_OK;
}
