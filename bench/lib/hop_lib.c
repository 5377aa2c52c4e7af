/* The hop on the library, as its users write it, default options: callbacks, with a scope and one
 * operation per connection, a coroutine per connection in such a scope, or callbacks with multishot
 * receives and leased buffers. The engine is named in
 * the options; that and who receives are the only differences between the variants here. */
#include "hop.h"

#include "bench.h"

#include <proactor.h>
#include <stdlib.h>
#include <string.h>

struct lib;

enum style { CALLBACKS, COROUTINES, LEASES };

struct session {
    pro_scope      scope;
    pro_socket     sock;
    pro_op         op;
    struct lib    *lib;
    unsigned char *buf;
    unsigned       got;  /* bytes of the current message so far */
    pro_op         send; /* of a multishot session, whose op goes on receiving */
    pro_lease      lease;
};

struct lib {
    struct hop_wire wire;
    pro_loop       *loop;
    struct session *sessions;
    unsigned        size;
    enum style      style;
    pro_buffers    *buffers; /* of the leases */
    uint64_t        hops, hops_wanted;
};

static void on_received(pro_op *op);

static void check(const struct session *s, const pro_op *op)
{
    if (!pro_scope_closing(&s->scope))
        bench_die("lib: %s at %s: %s", pro_op_name(op), pro_op_site(op), pro_error_name(op->error));
}

static void on_sent(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        check(s, op);
        return;
    }
    pro_recv(op, &s->sock, s->buf, s->lib->size, on_received);
}

static void on_received(pro_op *op)
{
    struct session *s = op->user;
    if (op->error != PRO_OK) {
        check(s, op);
        return;
    }
    s->got += (unsigned)op->value;
    if (s->got < s->lib->size) {
        pro_recv(op, &s->sock, s->buf + s->got, s->lib->size - s->got, on_received);
        return;
    }
    s->got = 0;
    if (++s->lib->hops == s->lib->hops_wanted) pro_loop_stop(s->lib->loop);
    pro_send_all(op, &s->sock, s->buf, s->lib->size, on_sent);
}

/* The same in a coroutine. */
static void echo(void *arg)
{
    struct session *s = arg;
    struct lib     *lib = s->lib;
    int64_t         moved;
    for (;;) {
        moved = pro_await_recv(&s->sock, s->buf + s->got, lib->size - s->got);
        if (moved < 0) break;
        s->got += (unsigned)moved;
        if (s->got < lib->size) continue;
        s->got = 0;
        if (++lib->hops == lib->hops_wanted) pro_loop_stop(lib->loop);
        moved = pro_await_send_all(&s->sock, s->buf, lib->size);
        if (moved < 0) break;
    }
    if (!pro_scope_closing(&s->scope)) bench_die("lib: %s", pro_error_name((int)moved));
}

/* The same with a receive that goes on, and buffers that are leased: a message that came in one piece goes
 * back from where it lies. */
static void on_sent_leased(pro_op *op)
{
    struct session *s = op->user;
    pro_lease_give(&s->lease);
    if (op->error != PRO_OK) check(s, op);
}

static void on_piece(pro_op *op)
{
    struct session *s = op->user;
    unsigned        size = s->lib->size;
    if (op->error != PRO_OK) {
        if (op->error == PRO_ENOBUFS)
            pro_recv_multi(op, &s->sock, s->lib->buffers, on_piece);
        else
            check(s, op);
        return;
    }
    const void *message = s->buf;
    if (s->got == 0 && op->value == size) {
        pro_lease_take(op, &s->lease);
        message = s->lease.data;
    } else {
        memcpy(s->buf + s->got, pro_lease_peek(op), (size_t)op->value);
        s->got += (unsigned)op->value;
        if (s->got < size) return;
    }
    s->got = 0;
    if (++s->lib->hops == s->lib->hops_wanted) pro_loop_stop(s->lib->loop);
    pro_send_all(&s->send, &s->sock, message, size, on_sent_leased);
}

static int adopt(struct lib *lib, unsigned i)
{
    struct session *s = &lib->sessions[i];
    s->lib = lib;
    s->buf = hop_wire_buf(&lib->wire, i);
    s->op.user = s->send.user = s;
    pro_scope_init(&s->scope, lib->loop, NULL, NULL);
    int error = pro_socket_adopt(&s->sock, lib->loop, &s->scope, lib->wire.fd[i]);
    if (error != PRO_OK) return error;
    if (lib->style == COROUTINES) return pro_go(&s->scope, echo, s, NULL);
    if (lib->style == LEASES)
        pro_recv_multi(&s->op, &s->sock, lib->buffers, on_piece);
    else
        pro_recv(&s->op, &s->sock, s->buf, lib->size, on_received);
    return PRO_OK;
}

/* Closes everything through the root scope; what the library adopted it also closes. */
static void teardown(void *state)
{
    struct lib *lib = state;
    if (lib->loop) {
        pro_scope_close(pro_loop_scope(lib->loop));
        if (pro_loop_run(lib->loop) < 0 || pro_loop_free(lib->loop) != PRO_OK)
            bench_die("lib: the loop does not end");
    }
    hop_wire_fini(&lib->wire);
    free(lib->sessions);
    free(lib);
}

static void *setup(pro_engine engine, enum style style, const struct hop_shape *shape, char *why,
                   size_t why_size)
{
    struct lib *lib = calloc(1, sizeof *lib);
    if (!lib) bench_die("out of memory");
    lib->size = shape->size;
    lib->style = style;
    if (hop_wire_init(&lib->wire, shape, why, why_size) != 0) {
        free(lib);
        return NULL;
    }
    lib->sessions = calloc(lib->wire.ends_len, sizeof *lib->sessions);
    if (!lib->sessions) bench_die("out of memory");

    pro_loop_options options;
    pro_loop_options_init(&options);
    options.engine = engine;
    int error = pro_loop_new(&lib->loop, &options);
    if (error == PRO_OK && style == LEASES) /* messages in flight, and those on their way back */
        error = pro_buffers_new(&lib->buffers, lib->loop, 2 * lib->wire.ends_len, lib->size);
    if (error == PRO_OK) hop_wire_kick(&lib->wire); /* while the descriptors are still ours */
    for (unsigned i = 0; error == PRO_OK && i < lib->wire.ends_len; i++) {
        error = adopt(lib, i);
        if (error == PRO_OK) lib->wire.fd[i] = -1;
    }
    if (error == PRO_OK) return lib;
    snprintf(why, why_size, "%s", pro_error_text(error));
    teardown(lib);
    return NULL;
}

static void *setup_epoll(const struct hop_shape *shape, char *why, size_t why_size)
{
    return setup(PRO_ENGINE_EPOLL, CALLBACKS, shape, why, why_size);
}

static void *setup_uring(const struct hop_shape *shape, char *why, size_t why_size)
{
    return setup(PRO_ENGINE_URING, CALLBACKS, shape, why, why_size);
}

static void *setup_co_epoll(const struct hop_shape *shape, char *why, size_t why_size)
{
    return setup(PRO_ENGINE_EPOLL, COROUTINES, shape, why, why_size);
}

static void *setup_co_uring(const struct hop_shape *shape, char *why, size_t why_size)
{
    return setup(PRO_ENGINE_URING, COROUTINES, shape, why, why_size);
}

static void *setup_leases_epoll(const struct hop_shape *shape, char *why, size_t why_size)
{
    return setup(PRO_ENGINE_EPOLL, LEASES, shape, why, why_size);
}

static void *setup_leases_uring(const struct hop_shape *shape, char *why, size_t why_size)
{
    return setup(PRO_ENGINE_URING, LEASES, shape, why, why_size);
}

static uint64_t run(void *state, uint64_t hops_min)
{
    struct lib *lib = state;
    lib->hops = 0;
    lib->hops_wanted = hops_min;
    int64_t handlers = pro_loop_run(lib->loop);
    if (handlers < 0) bench_die("lib: the loop: %s", pro_error_name((int)handlers));
    if (lib->hops < hops_min) bench_die("lib: the loop ran dry");
    return lib->hops;
}

const struct hop_variant hop_lib_epoll = {
    .name = "lib-epoll",
    .raw = "raw-epoll",
    .what = "the library on epoll, callbacks",
    .setup = setup_epoll,
    .run = run,
    .teardown = teardown,
};

const struct hop_variant hop_lib_uring = {
    .name = "lib-uring",
    .raw = "raw-uring",
    .what = "the library on io_uring, callbacks",
    .setup = setup_uring,
    .run = run,
    .teardown = teardown,
};

const struct hop_variant hop_co_epoll = {
    .name = "co-epoll",
    .raw = "raw-epoll",
    .what = "the library on epoll, coroutines",
    .setup = setup_co_epoll,
    .run = run,
    .teardown = teardown,
};

const struct hop_variant hop_co_uring = {
    .name = "co-uring",
    .raw = "raw-uring",
    .what = "the library on io_uring, coroutines",
    .setup = setup_co_uring,
    .run = run,
    .teardown = teardown,
};

const struct hop_variant hop_leases_epoll = {
    .name = "leases-epoll",
    .raw = "raw-epoll",
    .what = "the library on epoll, multishot receives with leased buffers",
    .setup = setup_leases_epoll,
    .run = run,
    .teardown = teardown,
};

const struct hop_variant hop_leases_uring = {
    .name = "leases-uring",
    .raw = "raw-uring",
    .what = "the library on io_uring, multishot receives with leased buffers",
    .setup = setup_leases_uring,
    .run = run,
    .teardown = teardown,
};
