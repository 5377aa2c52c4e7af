/* Tunnel: every connection goes on to a target, both ways, and no byte of it is seen by this program.
 *
 *     tunnel 127.0.0.1:9001 127.0.0.1:9000         and then connect to 9001; Control-C ends it
 *
 * What to see here: a direction is one operation, pro_copy_stream, which stands among the receives of one
 * socket and the sends of the other; beside relay.c there is no buffer, and no step in between.  How an
 * end goes on is ours to say: an orderly one is an orderly one there, while the other direction lives on; a
 * broken connection is a reset, so that nobody takes half a file for a whole one. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct tunnel;

struct direction {
    pro_op         op;
    pro_flow       flow;
    pro_socket    *from, *to;
    struct tunnel *tunnel;
};

struct tunnel {
    pro_scope        scope;
    pro_socket       client, target;
    struct direction up, down; /* client to target, target to client */
    int              directions;
};

static pro_loop    *loop;
static pro_listener listener;
static pro_address  target;
static unsigned     connections;
static uint64_t     bytes, lost;

static void on_shut(pro_op *op)
{
    struct tunnel *t = ((struct direction *)op->user)->tunnel;
    if (--t->directions == 0) pro_scope_close(&t->scope);
}

static void on_reset(pro_op *op)
{
    pro_scope_close(&((struct direction *)op->user)->tunnel->scope);
}

static void on_copied(pro_op *op)
{
    struct direction *d = op->user;
    bytes += d->flow.copied;
    lost += d->flow.taken - d->flow.copied;
    if (op->error == PRO_OK) {
        pro_shutdown(op, d->to, on_shut);
    } else {
        pro_close_abort(op, d->flow.end == PRO_FLOW_TO ? d->from : d->to, on_reset);
    }
}

static void copy(struct direction *d)
{
    d->flow.max = PRO_COPY_ALL;
    pro_copy_stream(&d->op, d->from, d->to, &d->flow, on_copied);
}

static void on_connected(pro_op *op)
{
    struct direction *up = op->user;
    if (op->error != PRO_OK) {
        if (op->error != PRO_ECANCELED)
            fprintf(stderr, "tunnel: no target: %s\n", pro_error_text(op->error));
        pro_close_abort(op, up->from, on_reset);
        return;
    }
    connections++;
    copy(&up->tunnel->up);
    copy(&up->tunnel->down);
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct tunnel, scope)); }

static void on_accepted(pro_op *op);

static void on_rested(pro_op *op)
{
    if (op->error == PRO_OK) pro_accept_multi(op, &listener, on_accepted);
}

static void join(struct direction *d, struct tunnel *t, pro_socket *from, pro_socket *to)
{
    d->op.user = d;
    d->tunnel = t;
    d->from = from;
    d->to = to;
}

static void on_accepted(pro_op *op)
{
    if (op->error == PRO_ECANCELED) return; /* the end */
    if (op->error != PRO_OK) {              /* no handles left, perhaps: rest, then go on */
        pro_sleep(op, loop, 100 * PRO_MSEC, on_rested);
        return;
    }
    struct tunnel *t = calloc(1, sizeof *t);
    if (!t) return; /* what nobody takes is closed */
    pro_scope_init(&t->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &t->client, &t->scope) != PRO_OK) {
        pro_scope_close(&t->scope);
        return;
    }
    t->directions = 2;
    join(&t->up, t, &t->client, &t->target);
    join(&t->down, t, &t->target, &t->client);
    pro_socket_init(&t->target, loop, &t->scope);
    pro_connect(&t->up.op, &t->target, &target, on_connected);
}

static void on_signal(pro_op *op)
{
    if (op->error == PRO_OK) pro_scope_close(pro_loop_scope(loop)); /* all there is ends */
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "tunnel: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    static pro_op accepting, signals[2];
    pro_address   address;
    char          text[PRO_ADDRESS_TEXT_MAX];
    if (argc != 3 || pro_address_parse(&address, argv[1]) != PRO_OK ||
        pro_address_parse(&target, argv[2]) != PRO_OK) {
        fprintf(stderr, "usage: tunnel ADDR:PORT TARGET_ADDR:PORT\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(argv[1], error);
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    pro_signal_wait(&signals[0], loop, SIGINT, on_signal);
    pro_signal_wait(&signals[1], loop, SIGTERM, on_signal);
    printf("tunnel: listening on %s\n", text);
    fflush(stdout);

    pro_accept_multi(&accepting, &listener, on_accepted);
    int64_t ran = pro_loop_run(loop);
    if (ran < 0) return fail("the engine failed", (int)ran);
    printf("tunnel: %u connections, %llu bytes, %llu lost\n", connections,
           (unsigned long long)bytes, (unsigned long long)lost);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
