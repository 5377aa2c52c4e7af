/* Echo: the smallest server.  One allocation per connection, and one operation that is used again
 * and again: received, sent, received, ...
 *
 *     echo 127.0.0.1:9000          and in another terminal:  socat - TCP:127.0.0.1:9000
 *
 * What to see here: no handler runs inside the call that initiates; when it runs, the operation and
 * its buffer are ours again.  The session is freed where its scope says that nothing of it is left.
 * How a server ends in order is in drain.c. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

struct session {      /* one allocation per connection, no others */
    pro_scope  scope; /* counts what is in flight; says when all of it is over */
    pro_socket sock;
    pro_op     op;
    char       buf[4096];
};

static void on_sent(pro_op *op);

static void on_received(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) { /* PRO_EOF is an error too */
        pro_scope_close(&s->scope);
        return;
    }
    pro_send_all(op, &s->sock, s->buf, (size_t)op->value, on_sent); /* the same operation, reused */
}

static void on_sent(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&s->scope);
        return;
    }
    pro_recv(op, &s->sock, s->buf, sizeof s->buf, on_received);
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

/* ---- the server ------------------------------------------------------------------------------ */

static pro_loop    *loop;
static pro_listener listener;

static void on_accepted(pro_op *op);

static void on_rested(pro_op *op) { pro_accept_multi(op, &listener, on_accepted); }

static void on_accepted(pro_op *op)
{
    /* The last completion of a multishot accept: no handles left, perhaps.  Rest, then go on. */
    if (op->error != PRO_OK) {
        pro_sleep(op, loop, 100 * PRO_MSEC, on_rested);
        return;
    }
    struct session *s = calloc(1, sizeof *s);
    if (!s) return; /* what nobody takes is closed */
    s->op.user = s;
    pro_scope_init(&s->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &s->sock, &s->scope) == PRO_OK) {
        pro_recv(&s->op, &s->sock, s->buf, sizeof s->buf, on_received);
    } else {
        pro_scope_close(&s->scope);
    }
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "echo: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    pro_address address;
    if (argc > 2 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: echo [ADDR:PORT]\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(where, error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("echo: listening on %s\n", text);
    fflush(stdout);

    static pro_op accepting;
    pro_accept_multi(&accepting, &listener, on_accepted);
    int64_t ran = pro_loop_run(loop); /* until a signal ends the process */
    return ran < 0 ? fail("the engine failed", (int)ran) : 0;
}
