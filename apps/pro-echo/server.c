/* The listener and the end of the server.
 *
 * One operation, server.op, is in flight all the time: an accept, or a timer for a pause.
 *
 *     accepting --no handles, no memory--> paused for 100 ms, or until a session ends
 *     accepting --the maximum reached----> paused until a session ends
 *     paused    --over, or canceled------> accepting
 *
 * Without a maximum one multishot accept takes all that comes.  With one, a multishot accept could
 * take more than it may before we can cancel it, so connections are accepted one at a time.
 *
 * A signal drains the server's scope: the loop tells on_stop, here and in each session.  Then the
 * backlog is accepted, one connection at a time, until none comes within a moment: the listener
 * closes.  What is left after DRAIN_NS is canceled by the scope. */
#include "echo.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DRAIN_NS (5 * PRO_SEC)
#define RETRY_NS (100 * PRO_MSEC)
#define MOMENT_NS (1 * PRO_MSEC)

/* ---- accepting ------------------------------------------------------------------------------- */

static void on_accept(pro_op *op);
static void on_pause_over(pro_op *op);

static void pause_until(struct server *server, uint64_t when_ns)
{
    server->state = SERVER_PAUSED;
    pro_timer_start(&server->op, server->loop, when_ns, on_pause_over);
}

static void accept_next(struct server *server)
{
    uint64_t max = server->options->connections_max;
    if (max > 0 && server->sessions >= max) {
        pause_until(server, UINT64_MAX);
        return;
    }
    server->state = SERVER_ACCEPTING;
    if (pro_scope_draining(&server->scope)) {
        server->op.deadline_ns = pro_loop_now(server->loop) + MOMENT_NS;
        pro_accept(&server->op, &server->listener, on_accept);
    } else if (max > 0) {
        pro_accept(&server->op, &server->listener, on_accept);
    } else {
        pro_accept_multi(&server->op, &server->listener, on_accept);
    }
}

static void on_pause_over(pro_op *op)
{
    struct server *server = op->user;
    if (!pro_scope_closing(&server->scope)) accept_next(server);
}

static void on_listener_closed(pro_op *op) { (void)op; }

static void on_accept(pro_op *op)
{
    struct server *server = op->user;
    if (op->error == PRO_OK) {
        session_start(server, op);
        if (op->flags & PRO_MORE) return;
    }
    if (pro_scope_closing(&server->scope)) return; /* the scope has closed the listener */

    switch (op->error) {
    case PRO_OK:
    case PRO_ECANCELED: /* a drain began */ accept_next(server); break;
    case PRO_ETIMEDOUT: /* only in a drain: the backlog is empty */
        server->state = SERVER_CLOSING;
        pro_listener_close(op, &server->listener, on_listener_closed);
        break;
    default: /* PRO_EMFILE and the like: trying again at once would spin */
        pause_until(server, pro_loop_now(server->loop) + RETRY_NS);
        break;
    }
}

void server_session_ended(struct server *server)
{
    server->sessions--;
    if (server->state == SERVER_PAUSED) pro_cancel(&server->op);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_stop(pro_scope *scope)
{
    struct server *server = pro_container_of(scope, struct server, scope);
    if (server->state != SERVER_CLOSING) pro_cancel(&server->op);
}

static void on_signal(pro_op *op)
{
    struct server *server = op->user;
    if (op->error == PRO_ECANCELED) return;
    if (op->error != PRO_OK) {
        fprintf(stderr, "pro-echo: cannot wait for signals: %s\n", pro_error_text(op->error));
        pro_scope_close(&server->scope);
        return;
    }
    if (pro_scope_draining(&server->scope)) { /* the second signal */
        pro_scope_close(&server->scope);
        return;
    }
    pro_scope_drain(&server->scope, pro_loop_now(server->loop) + DRAIN_NS);
    pro_signal_wait(op, server->loop, op == &server->interrupt ? SIGINT : SIGTERM, on_signal);
}

/* Nothing is left of the server; without the waits nothing is left of the loop. */
static void on_drained(pro_scope *scope)
{
    struct server *server = pro_container_of(scope, struct server, scope);
    pro_cancel(&server->interrupt);
    pro_cancel(&server->terminate);
}

int server_start(struct server *server, pro_loop *loop, const struct options *options)
{
    memset(server, 0, sizeof *server);
    server->loop = loop;
    server->options = options;
    server->op.user = server;
    server->op.scope = &server->scope;
    server->interrupt.user = server;
    server->terminate.user = server;
    pro_scope_init(&server->scope, loop, NULL, on_drained);

    int error = pro_listen(&server->listener, loop, &server->scope, &options->listen, NULL);
    if (error != PRO_OK) {
        pro_scope_close(&server->scope);
        return error;
    }
    pro_scope_on_stop(&server->scope, on_stop);
    accept_next(server);
    pro_signal_wait(&server->interrupt, loop, SIGINT, on_signal);
    pro_signal_wait(&server->terminate, loop, SIGTERM, on_signal);
    return PRO_OK;
}
