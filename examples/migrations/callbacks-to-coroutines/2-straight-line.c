/* upper: frames come back in upper case.  A frame is its length, four bytes, the highest first, and so
 * many bytes, at most 4096; a connection ends when it breaks that, or is silent for too long.
 *
 *     upper 127.0.0.1:9000 [IDLE-MS]
 *
 * One program in four steps: docs/guide/migrate-to-coroutines.md. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

enum { HEADER = 4, BODY_MAX = 4096 };

struct session {
    pro_scope     scope;
    pro_socket    sock;
    unsigned char frame[HEADER + BODY_MAX];
};

static pro_loop    *loop;
static pro_listener listener;
static uint64_t     idle_ns = 60 * PRO_SEC;

static size_t length_of(const unsigned char *frame)
{
    return (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
}

static void raise_case(unsigned char *body, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (body[i] >= 'a' && body[i] <= 'z') body[i] -= 'a' - 'A';
}

/* ---- a connection ----------------------------------------------------------------------------- */

static void session_run(void *arg)
{
    struct session *s = arg;
    for (;;) {
        pro_co_deadline(pro_loop_now(loop) + idle_ns);
        if (pro_await_recv_exactly(&s->sock, s->frame, HEADER) < 0) break;
        size_t len = length_of(s->frame);
        if (len > BODY_MAX) break;
        pro_co_deadline(pro_loop_now(loop) + idle_ns);
        if (pro_await_recv_exactly(&s->sock, s->frame + HEADER, len) < 0) break;
        raise_case(s->frame + HEADER, len);
        pro_co_deadline(pro_loop_now(loop) + idle_ns);
        if (pro_await_send_all(&s->sock, s->frame, HEADER + len) < 0) break;
    }
    pro_scope_close(&s->scope);
}

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct session, scope)); }

/* ---- the server ------------------------------------------------------------------------------- */

static void on_accepted(pro_op *op);

static void on_rested(pro_op *op) { pro_accept_multi(op, &listener, on_accepted); }

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) { /* no handles left, perhaps: rest, then go on */
        pro_sleep(op, loop, 100 * PRO_MSEC, on_rested);
        return;
    }
    struct session *s = calloc(1, sizeof *s);
    if (!s) return; /* what nobody takes is closed */
    pro_scope_init(&s->scope, loop, NULL, on_drained);
    if (pro_accept_take(op, &s->sock, &s->scope) != PRO_OK ||
        pro_go(&s->scope, session_run, s, NULL) != PRO_OK)
        pro_scope_close(&s->scope);
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "upper: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    pro_address address;
    if (argc > 3 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: upper [ADDR:PORT [IDLE-MS]]\n");
        return 2;
    }
    if (argc > 2) idle_ns = strtoull(argv[2], NULL, 10) * PRO_MSEC;
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(where, error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("upper: listening on %s\n", text);
    fflush(stdout);

    static pro_op accepting;
    pro_accept_multi(&accepting, &listener, on_accepted);
    int64_t ran = pro_loop_run(loop); /* until a signal ends the process */
    return ran < 0 ? fail("the engine failed", (int)ran) : 0;
}
