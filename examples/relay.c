/* Relay: what a client says goes to a target, what the target says goes back.
 *
 *     relay 127.0.0.1:9001 127.0.0.1:9000          and then connect to 9001
 *
 * What to see here: the two directions of a socket are independent, so a connection has two
 * operations, one per direction, each with its own buffer.  A direction receives again only when
 * all it got is sent: a slow reader slows the writer down, and memory stays bounded.  The end of a
 * stream goes through as an end of stream, while the other direction lives on; a broken connection
 * goes through as a reset, so that nobody takes half a file for a whole one. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

struct relay;

struct direction {
    pro_op        op;
    struct relay *relay;
    pro_socket   *from, *to;
    char          buf[16 * 1024];
};

struct relay {
    pro_scope        scope;
    pro_socket       client, target;
    struct direction up, down; /* client to target, target to client */
    int              directions;
};

static pro_loop    *loop;
static pro_listener listener;
static pro_address  target;

static void on_received(pro_op *op);
static void on_sent(pro_op *op);
static void on_shut(pro_op *op);
static void on_reset(pro_op *op);

static void receive(struct direction *d)
{
    pro_recv(&d->op, d->from, d->buf, sizeof d->buf, on_received);
}

/* One side broke: reset the other, then close all of it. */
static void reset(struct direction *d, pro_socket *other)
{
    pro_close_abort(&d->op, other, on_reset);
}

static void on_received(pro_op *op)
{
    struct direction *d = op->user;
    if (op->error == PRO_OK) {
        pro_send_all(op, d->to, d->buf, (size_t)op->value, on_sent);
    } else if (op->error == PRO_EOF) {
        pro_shutdown(op, d->to, on_shut);
    } else {
        reset(d, d->to);
    }
}

static void on_sent(pro_op *op)
{
    struct direction *d = op->user;
    if (op->error == PRO_OK) {
        receive(d);
    } else {
        reset(d, d->from);
    }
}

static void on_shut(pro_op *op)
{
    struct direction *d = op->user;
    if (op->error != PRO_OK) {
        reset(d, d->from);
    } else if (--d->relay->directions == 0) {
        pro_scope_close(&d->relay->scope);
    }
}

static void on_reset(pro_op *op)
{
    struct direction *d = op->user;
    pro_scope_close(&d->relay->scope); /* the other direction may have done so: then no effect */
}

static void on_connected(pro_op *op)
{
    struct direction *up = op->user;
    if (op->error != PRO_OK) {
        fprintf(stderr, "relay: cannot reach the target: %s\n", pro_error_text(op->error));
        reset(up, up->from);
        return;
    }
    receive(&up->relay->up);
    receive(&up->relay->down);
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct relay, scope)); }

static void on_accepted(pro_op *op);

static void on_rested(pro_op *op) { pro_accept_multi(op, &listener, on_accepted); }

static void join(struct direction *d, struct relay *r, pro_socket *from, pro_socket *to)
{
    d->op.user = d;
    d->relay = r;
    d->from = from;
    d->to = to;
}

static void on_accepted(pro_op *op)
{
    /* The last completion of a multishot accept: no handles left, perhaps.  Rest, then go on. */
    if (op->error != PRO_OK) {
        pro_sleep(op, loop, 100 * PRO_MSEC, on_rested);
        return;
    }
    struct relay *r = calloc(1, sizeof *r);
    if (!r) return; /* what nobody takes is closed */
    pro_scope_init(&r->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &r->client, &r->scope) != PRO_OK) {
        pro_scope_close(&r->scope);
        return;
    }
    r->directions = 2;
    join(&r->up, r, &r->client, &r->target);
    join(&r->down, r, &r->target, &r->client);
    pro_socket_init(&r->target, loop, &r->scope);
    pro_connect(&r->up.op, &r->target, &target, on_connected);
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "relay: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    pro_address address;
    if (argc != 3 || pro_address_parse(&address, argv[1]) != PRO_OK ||
        pro_address_parse(&target, argv[2]) != PRO_OK) {
        fprintf(stderr, "usage: relay ADDR:PORT TARGET_ADDR:PORT\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(argv[1], error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("relay: listening on %s\n", text);
    fflush(stdout);

    static pro_op accepting;
    pro_accept_multi(&accepting, &listener, on_accepted);
    int64_t ran = pro_loop_run(loop); /* until a signal ends the process */
    return ran < 0 ? fail("the engine failed", (int)ran) : 0;
}
