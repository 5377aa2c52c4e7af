/* One module, three styles: callbacks, coroutines and the stackless form serve the same protocol on one
 * loop, each on every engine; and one session that changes its style in mid-stream. */
#include "unit.h"

#include <sys/socket.h>
#include <stdbool.h>

#include <proactor.h>

#include "core/op.h"

static pro_loop *loop;
static int       drained;

typedef struct session {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    pro_place  place;
    char       buf[16]; /* small: a message takes several turns */
} session;

static void on_drained(pro_scope *scope)
{
    (void)scope;
    drained++;
}

/* ---- Echo, three times ---------------------------------------------------------------------- */

static void on_received(pro_op *op);

static void on_sent(pro_op *op)
{
    session *s = op->user;
    if (op->error != PRO_OK)
        pro_scope_close(&s->scope);
    else
        pro_recv(op, &s->sock, s->buf, sizeof s->buf, on_received);
}

static void on_received(pro_op *op)
{
    session *s = op->user;
    if (op->error != PRO_OK)
        pro_scope_close(&s->scope);
    else
        pro_send_all(op, &s->sock, s->buf, (size_t)op->value, on_sent);
}

static void callbacks(session *s)
{
    pro_recv(&s->op, &s->sock, s->buf, sizeof s->buf, on_received);
}

static void echo(void *arg)
{
    session *s = arg;
    char     buf[16];
    for (;;) {
        int64_t n = pro_await_recv(&s->sock, buf, sizeof buf);
        if (n <= 0 || pro_await_send_all(&s->sock, buf, (size_t)n) < 0) break;
    }
    pro_scope_close(&s->scope);
}

static void coroutine(session *s) { CHECK_EQ(pro_go(&s->scope, echo, s, NULL), PRO_OK); }

static void stackless_echo(pro_op *op)
{
    session *s = op->user;
    PRO_BEGIN(&s->place);
    for (;;) {
        PRO_AWAIT(&s->place, pro_recv(op, &s->sock, s->buf, sizeof s->buf, stackless_echo));
        if (op->error != PRO_OK) break;
        PRO_AWAIT(&s->place, pro_send_all(op, &s->sock, s->buf, (size_t)op->value, stackless_echo));
        if (op->error != PRO_OK) break;
    }
    pro_scope_close(&s->scope);
    PRO_END(&s->place);
}

static void stackless(session *s) { stackless_echo(&s->op); }

/* A message by callbacks, the next by a coroutine, the next stackless, and round again. */
static void change(pro_op *op);

static void one_in_a_coroutine(void *arg)
{
    session *s = arg;
    char     buf[16];
    int64_t  n = pro_await_recv(&s->sock, buf, sizeof buf);
    if (n <= 0 || pro_await_send_all(&s->sock, buf, (size_t)n) < 0) {
        pro_scope_close(&s->scope);
        return;
    }
    s->op.error = PRO_OK;
    change(&s->op); /* an ordinary call: the coroutine initiates for the stackless form */
}

static void change(pro_op *op)
{
    session *s = op->user;
    PRO_BEGIN(&s->place);
    while (op->error == PRO_OK) {
        PRO_AWAIT(&s->place, pro_recv(op, &s->sock, s->buf, sizeof s->buf, change));
        if (op->error != PRO_OK) break;
        PRO_AWAIT(&s->place, pro_send_all(op, &s->sock, s->buf, (size_t)op->value, change));
        if (op->error != PRO_OK) break;
        PRO_AWAIT(&s->place, CHECK_EQ(pro_go(&s->scope, one_in_a_coroutine, s, NULL), PRO_OK));
    }
    pro_scope_close(&s->scope);
    PRO_END(&s->place);
}

static void changing(session *s) { change(&s->op); }

/* ---- Who asks ------------------------------------------------------------------------------- */

enum { LEN = 1000, STYLES = 4 };

static void ask(void *arg)
{
    pro_socket *sock = arg;
    char        out[LEN], in[LEN] = {0}; /* zeroed: memcheck does not see what a ring writes */
    for (int i = 0; i < LEN; i++) out[i] = (char)(i * 7);
    for (int round = 0; round < 10; round++) {
        pro_op sent = {0}, got = {0}; /* both directions at once: it comes back in pieces */
        pro_send_all(&sent, sock, out, LEN, pro_awake);
        pro_recv_exactly(&got, sock, in, LEN, pro_awake);
        int64_t n = pro_await(&sent), m = pro_await(&got);
        if (n != LEN || m != LEN || memcmp(in, out, LEN) != 0) pro_co_result(-1);
    }
    pro_await_close(sock);
}

static void mix_on(pro_engine engine)
{
    static void (*const styles[STYLES])(session *) = {callbacks, coroutine, stackless, changing};
    enum { COUNT = 40 };
    static session    sessions[COUNT];
    static pro_socket askers[COUNT];
    static pro_task   tasks[COUNT];
    pro_loop_options  options = {PRO_VERSION, .engine = engine};
    int               error = pro_loop_new(&loop, &options);
    if (error) { /* a container may refuse it */
        printf("note: not on this machine: %s\n", pro_error_text(error));
        return;
    }
    drained = 0;
    for (int i = 0; i < COUNT; i++) {
        int            fds[2];
        session       *s = &sessions[i];
        pro_go_options o = {.task = &tasks[i]};
        *s = (session){.op.user = s};
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        pro_scope_init(&s->scope, loop, NULL, on_drained);
        CHECK_EQ(pro_socket_adopt(&s->sock, loop, &s->scope, fds[0]), PRO_OK);
        CHECK_EQ(pro_socket_adopt(&askers[i], loop, NULL, fds[1]), PRO_OK);
        styles[i % STYLES](s);
        CHECK_EQ(pro_go(pro_loop_scope(loop), ask, &askers[i], &o), PRO_OK);
    }
    CHECK(pro_loop_run(loop) > 0);
    CHECK_EQ(drained, COUNT);
    for (int i = 0; i < COUNT; i++) CHECK_EQ(tasks[i].result, 0);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

UNIT(three_styles_serve_one_protocol_on_uring) { mix_on(PRO_ENGINE_URING); }
UNIT(three_styles_serve_one_protocol_on_epoll) { mix_on(PRO_ENGINE_EPOLL); }

/* ---- The stackless form by itself ----------------------------------------------------------- */

typedef struct counter {
    pro_op    op;
    pro_place place;
    int       i, steps;
} counter;

static void count(pro_op *op)
{
    counter *c = pro_container_of(op, counter, op);
    PRO_BEGIN(&c->place);
    for (c->i = 0; c->i < 3; c->i++) {
        PRO_AWAIT(&c->place, pro_sleep(op, loop, 10, count));
        c->steps++;
        if (c->i == 1) {
            PRO_AWAIT(&c->place, pro_sleep(op, loop, 10, count));
            c->steps += 100;
        }
    }
    PRO_END(&c->place);
}

UNIT(a_place_remembers_and_ends_at_the_beginning)
{
    counter c = {.steps = 0};
    CHECK_EQ(pro_loop_new(&loop, NULL), PRO_OK);
    for (int round = 1; round <= 2; round++) {
        count(&c.op);
        CHECK(pro_loop_run(loop) > 0);
        CHECK_EQ(c.place, 0);
        CHECK_EQ(c.steps, round * 103);
    }
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

/* ---- A coroutine that runs a loop of its own ------------------------------------------------ */

static pro_loop *inner;

static void in_inner(void *arg)
{
    for (int i = 0; i < 3; i++) pro_await_sleep(10);
    CHECK(pro_co_loop() == inner);
    ++*(int *)arg;
}

static void run_inner(void *arg)
{
    pro_await_sleep(10);
    CHECK_EQ(pro_loop_new(&inner, NULL), PRO_OK);
    CHECK_EQ(pro_go(pro_loop_scope(inner), in_inner, arg, NULL), PRO_OK);
    CHECK(pro_loop_run(inner) > 0);
    CHECK_EQ(pro_loop_free(inner), PRO_OK);
    CHECK(pro_co_loop() == loop);
    pro_await_sleep(10);
    ++*(int *)arg;
}

UNIT(a_coroutine_may_run_another_loop)
{
    int done = 0;
    CHECK_EQ(pro_loop_new(&loop, NULL), PRO_OK);
    CHECK_EQ(pro_go(pro_loop_scope(loop), run_inner, &done, NULL), PRO_OK);
    CHECK(pro_loop_run(loop) > 0);
    CHECK_EQ(done, 2);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}
