/* One connection: one allocation, one operation, in flight all the time.
 *
 *     receiving --bytes--> sending --all of them--> receiving
 *     receiving --end of stream, error------------> ended
 *     receiving --idle for too long---------------> lingering --end of stream, time over--> ended
 *
 * Lingering ends our side in order, and then discards what still comes: closing a connection with
 * unread bytes would send a reset, and could take from the client echoes that it has not read.
 *
 * While the server drains, a receive that gets nothing for GRACE_NS is idle.  One that was in
 * flight when the drain began had no such deadline: on_stop cancels it, and it is initiated again.
 * A receive that is canceled loses nothing: bytes that it got are its result. */
#include "echo.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE (16 * 1024)
#define GRACE_NS (1 * PRO_SEC)
#define LINGER_NS (1 * PRO_SEC)

enum session_state { SESSION_RECEIVING, SESSION_SENDING, SESSION_LINGERING };

struct session {
    pro_scope          scope;
    pro_socket         sock;
    pro_op             op;
    struct server     *server;
    enum session_state state;
    uint64_t           linger_until_ns;
    char               buf[BUFFER_SIZE];
};

static uint64_t deadline(const struct session *s, uint64_t after_ns)
{
    return after_ns > 0 ? pro_loop_now(s->server->loop) + after_ns : PRO_NEVER;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Close the socket; on_drained frees the session. */
static void end(struct session *s, int error)
{
    if (error == PRO_ECANCELED) {
        s->server->totals.canceled++;
    } else if (error != PRO_OK && error != PRO_EOF) {
        s->server->totals.errors++;
    }
    pro_scope_close(&s->scope);
}

static void on_drained(pro_scope *scope)
{
    struct session *s = pro_container_of(scope, struct session, scope);
    server_session_ended(s->server);
    free(s);
}

/* ---- lingering ------------------------------------------------------------------------------- */

static void on_discarded(pro_op *op);

static void discard(struct session *s)
{
    s->op.deadline_ns = s->linger_until_ns;
    pro_recv(&s->op, &s->sock, s->buf, sizeof s->buf, on_discarded);
}

static void on_discarded(pro_op *op)
{
    struct session *s = op->user;
    if (op->error == PRO_OK) {
        s->server->totals.bytes_in += (uint64_t)op->value;
        s->server->totals.discarded += (uint64_t)op->value;
        discard(s);
    } else {
        end(s, op->error == PRO_ETIMEDOUT ? PRO_OK : op->error);
    }
}

static void on_shut(pro_op *op)
{
    struct session *s = op->user;
    if (op->error == PRO_OK) {
        discard(s);
    } else {
        end(s, op->error);
    }
}

static void linger(struct session *s)
{
    s->state = SESSION_LINGERING;
    s->linger_until_ns = pro_scope_draining(&s->scope) ? PRO_NEVER : deadline(s, LINGER_NS);
    pro_shutdown(&s->op, &s->sock, on_shut);
}

/* ---- echoing --------------------------------------------------------------------------------- */

static void on_received(pro_op *op);

static void receive(struct session *s)
{
    bool draining = pro_scope_draining(&s->scope);
    s->state = SESSION_RECEIVING;
    s->op.deadline_ns = deadline(s, draining ? GRACE_NS : s->server->options->idle_timeout_ns);
    pro_recv(&s->op, &s->sock, s->buf, sizeof s->buf, on_received);
}

static void on_sent(pro_op *op)
{
    struct session *s = op->user;
    s->server->totals.bytes_out += (uint64_t)op->value;
    if (op->error == PRO_OK) {
        receive(s);
    } else {
        end(s, op->error);
    }
}

static void on_received(pro_op *op)
{
    struct session *s = op->user;
    switch (op->error) {
    case PRO_OK:
        s->server->totals.bytes_in += (uint64_t)op->value;
        s->state = SESSION_SENDING;
        op->deadline_ns = deadline(s, s->server->options->idle_timeout_ns);
        pro_send_all(op, &s->sock, s->buf, (size_t)op->value, on_sent);
        break;
    case PRO_ETIMEDOUT: linger(s); break;
    case PRO_ECANCELED:
        if (!pro_scope_closing(&s->scope)) {
            receive(s); /* on_stop wants another deadline */
            break;
        }
        end(s, op->error);
        break;
    default: end(s, op->error); break;
    }
}

static void on_stop(pro_scope *scope)
{
    struct session *s = pro_container_of(scope, struct session, scope);
    if (s->state == SESSION_RECEIVING) pro_cancel(&s->op);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* If it fails, the connection stays in the accept, and the library closes it. */
void session_start(struct server *server, pro_op *accepted)
{
    struct session *s = malloc(sizeof *s);
    if (!s) {
        server->totals.errors++;
        return;
    }
    memset(s, 0, offsetof(struct session, buf));
    s->server = server;
    s->op.user = s;
    pro_scope_init(&s->scope, server->loop, &server->scope, on_drained);
    server->sessions++;

    int error = pro_accept_take(accepted, &s->sock, &s->scope);
    if (error != PRO_OK) {
        end(s, error);
        return;
    }
    server->totals.connections++;
    pro_socket_set(&s->sock, PRO_OPT_NODELAY, 1); /* only a matter of speed: it may fail */
    if (!pro_scope_draining(&s->scope)) pro_scope_on_stop(&s->scope, on_stop);
    receive(s);
}
