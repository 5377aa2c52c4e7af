/* Client: a request with a deadline, and another try, a little later each time, if it fails.
 *
 *     client 127.0.0.1:9000 hello          asks an echo server (echo.c), prints what comes back
 *
 * What to see here: a deadline is a point in time, so the three steps of one attempt (connect,
 * send, receive) share it without arithmetic.  A step that is late ends with PRO_ETIMEDOUT, like
 * any other error: there is one way out, the socket is closed, and a sleep leads to the next
 * attempt. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 6
#define ATTEMPT_NS (1 * PRO_SEC)
#define BACKOFF_NS (50 * PRO_MSEC) /* doubled after each attempt */

struct request {
    pro_loop   *loop;
    pro_op      op; /* one thing at a time, so one operation does */
    pro_socket  sock;
    pro_address server;
    const char *message;
    char       *reply;
    size_t      len;
    int         attempt;
    int         error; /* of the last attempt */
    uint64_t    deadline_ns;
};

static void on_connected(pro_op *op);
static void on_sent(pro_op *op);
static void on_received(pro_op *op);
static void on_closed(pro_op *op);
static void on_rested(pro_op *op);

static void attempt(struct request *r)
{
    r->attempt++;
    r->deadline_ns = pro_loop_now(r->loop) + ATTEMPT_NS;
    pro_socket_init(&r->sock, r->loop, NULL);
    r->op.deadline_ns = r->deadline_ns; /* consumed by each operation: set it each time */
    pro_connect(&r->op, &r->sock, &r->server, on_connected);
}

/* The end of an attempt, good or bad. */
static void finish(struct request *r, int error)
{
    r->error = error;
    pro_close(&r->op, &r->sock, on_closed);
}

static void on_connected(pro_op *op)
{
    struct request *r = op->user;
    if (op->error != PRO_OK) {
        finish(r, op->error);
        return;
    }
    op->deadline_ns = r->deadline_ns;
    pro_send_all(op, &r->sock, r->message, r->len, on_sent);
}

static void on_sent(pro_op *op)
{
    struct request *r = op->user;
    if (op->error != PRO_OK) {
        finish(r, op->error);
        return;
    }
    op->deadline_ns = r->deadline_ns;
    pro_recv_exactly(op, &r->sock, r->reply, r->len, on_received);
}

static void on_received(pro_op *op) { finish(op->user, op->error); }

static void on_closed(pro_op *op)
{
    struct request *r = op->user;
    if (r->error == PRO_OK) return; /* nothing more to do: pro_loop_run returns */
    fprintf(stderr, "client: attempt %d: %s\n", r->attempt, pro_error_text(r->error));
    if (r->attempt < ATTEMPTS) {
        pro_sleep(op, r->loop, BACKOFF_NS << (r->attempt - 1), on_rested);
    }
}

static void on_rested(pro_op *op) { attempt(op->user); }

int main(int argc, char **argv)
{
    struct request r = {.message = argc > 2 ? argv[2] : "hello"};
    const char    *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    if (argc > 3 || pro_address_parse(&r.server, where) != PRO_OK) {
        fprintf(stderr, "usage: client [ADDR:PORT [MESSAGE]]\n");
        return 2;
    }
    int error = pro_loop_new(&r.loop, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "client: cannot make a loop: %s\n", pro_error_text(error));
        return 1;
    }
    r.len = strlen(r.message);
    r.reply = malloc(r.len + 1);
    if (!r.reply) return 1;
    r.op.user = &r;

    attempt(&r);
    pro_loop_run(r.loop);
    pro_loop_free(r.loop);

    if (r.error == PRO_OK) printf("%.*s\n", (int)r.len, r.reply);
    free(r.reply);
    return r.error == PRO_OK ? 0 : 1;
}
