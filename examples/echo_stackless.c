/* Echo without stacks: straight lines for programs that count bytes.
 *
 *     echo_stackless 127.0.0.1:9000          and in another terminal:  socat - TCP:127.0.0.1:9000
 *
 * What to see here: the function is one handler for all its operations, and four bytes of the session
 * remember where it was.  Compare echo.c: the same session, with a function for each step. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

struct session {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    pro_place  place;
    char       buf[4096];
};

static void echo(pro_op *op)
{
    struct session *s = op->user;
    PRO_BEGIN(&s->place);
    for (;;) {
        PRO_AWAIT(&s->place, pro_recv(op, &s->sock, s->buf, sizeof s->buf, echo));
        if (op->error != PRO_OK) break;
        PRO_AWAIT(&s->place, pro_send_all(op, &s->sock, s->buf, (size_t)op->value, echo));
        if (op->error != PRO_OK) break;
    }
    pro_scope_close(&s->scope);
    PRO_END(&s->place);
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

/* ---- the server: a loop in the same form ------------------------------------------------------- */

static pro_loop    *loop;
static pro_listener listener;

static void take(pro_op *op)
{
    struct session *s = calloc(1, sizeof *s);
    if (!s) return; /* what nobody takes is closed */
    s->op.user = s;
    pro_scope_init(&s->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &s->sock, &s->scope) == PRO_OK)
        echo(&s->op); /* up to its first await */
    else
        pro_scope_close(&s->scope);
}

static void serve(pro_op *op)
{
    static pro_place place;
    PRO_BEGIN(&place);
    for (;;) {
        PRO_AWAIT(&place, pro_accept(op, &listener, serve));
        if (op->error == PRO_OK) {
            take(op);
            continue;
        }
        PRO_AWAIT(&place,
                  pro_sleep(op, loop, 100 * PRO_MSEC, serve)); /* no handles left, perhaps */
    }
    PRO_END(&place);
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "echo_stackless: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    pro_address address;
    if (argc > 2 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: echo_stackless [ADDR:PORT]\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(where, error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("echo_stackless: listening on %s\n", text);
    fflush(stdout);

    static pro_op accepting;
    serve(&accepting);
    int64_t ran = pro_loop_run(loop); /* until a signal ends the process */
    return ran < 0 ? fail("the engine failed", (int)ran) : 0;
}
