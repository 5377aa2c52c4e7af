/* One connection: what the three styles have in common.  One allocation, of the size that the style
 * wants.
 *
 * While the server drains, a receive that gets nothing for GRACE_NS is idle.  One that was in flight
 * when the drain began had no such deadline: on_stop cancels it, and the style initiates it again.  A
 * receive that is canceled loses nothing: bytes that it got are its result. */
#include "echo.h"

#include <stdlib.h>

#define GRACE_NS (1 * PRO_SEC)
#define LINGER_NS (1 * PRO_SEC)

/* ---- While it echoes ------------------------------------------------------------------------- */

static struct totals *totals_of(struct session *s) { return &s->shard->totals; }

static uint64_t deadline(const struct session *s, uint64_t after_ns)
{
    return after_ns > 0 ? pro_loop_now(s->shard->loop) + after_ns : PRO_NEVER;
}

uint64_t session_receives(struct session *s)
{
    s->is_receiving = true;
    bool is_draining = pro_scope_draining(&s->scope);
    return deadline(s, is_draining ? GRACE_NS : s->shard->server->options->idle_timeout_ns);
}

bool session_again(const struct session *s, int error)
{
    return error == PRO_ECANCELED && !pro_scope_closing(&s->scope);
}

void session_received(struct session *s, int64_t bytes)
{
    s->is_receiving = false;
    totals_of(s)->bytes_in += (uint64_t)bytes;
}

uint64_t session_sends(struct session *s)
{
    return deadline(s, s->shard->server->options->idle_timeout_ns);
}

void session_sent(struct session *s, int64_t bytes) { totals_of(s)->bytes_out += (uint64_t)bytes; }

uint64_t session_lingers(struct session *s)
{
    s->is_receiving = false;
    return pro_scope_draining(&s->scope) ? PRO_NEVER : deadline(s, LINGER_NS);
}

void session_discarded(struct session *s, int64_t bytes)
{
    totals_of(s)->bytes_in += (uint64_t)bytes;
    totals_of(s)->discarded += (uint64_t)bytes;
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Close the socket; on_drained frees the session. */
void session_end(struct session *s, int error)
{
    if (error == PRO_ECANCELED ||
        error == PRO_ECLOSED) { /* by the scope, as it closed the socket */
        totals_of(s)->canceled++;
    } else if (error != PRO_OK && error != PRO_EOF) {
        totals_of(s)->errors++;
    }
    pro_scope_close(&s->scope);
}

static void on_drained(pro_scope *scope)
{
    struct session *s = pro_container_of(scope, struct session, scope);
    struct shard   *shard = s->shard;
    bool            had_place = s->has_place;
    free(s);
    shard_session_ended(shard, had_place);
}

static void on_stop(pro_scope *scope)
{
    struct session *s = pro_container_of(scope, struct session, scope);
    if (s->is_receiving) pro_socket_cancel(&s->sock);
}

/* ---- The beginning --------------------------------------------------------------------------- */

/* Held until it starts, so that a drain lets it live while it waits for a place. */
struct session *session_new(struct shard *shard, pro_op *accepted)
{
    struct session *s = calloc(1, shard->server->options->style->session_size);
    if (!s) { /* the connection stays in the accept, and the library closes it */
        shard->totals.errors++;
        return NULL;
    }
    s->shard = shard;
    pro_scope_init(&s->scope, shard->loop, &shard->scope, on_drained);
    int error = pro_accept_take(accepted, &s->sock, &s->scope);
    if (error != PRO_OK) {
        session_end(s, error);
        return NULL;
    }
    pro_scope_hold(&s->scope);
    shard->totals.connections++;
    return s;
}

void session_start(struct session *s)
{
    pro_socket_set(&s->sock, PRO_OPT_NODELAY, 1); /* only a matter of speed: it may fail */
    if (!pro_scope_draining(&s->scope)) pro_scope_on_stop(&s->scope, on_stop);
    int error = s->shard->server->options->style->start(s);
    if (error != PRO_OK) session_end(s, error);
    pro_scope_release(&s->scope);
}

void session_drop(struct session *s)
{
    session_end(s, PRO_ECANCELED);
    pro_scope_release(&s->scope);
}
