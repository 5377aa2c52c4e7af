/* Torture by countdown: a small server and its clients, in which the first allocation fails, then the
 * second, and so on until a run needs no more of them; the same for system calls, each with several
 * errors.  Whatever fails: every operation completes exactly once, everything is freed, nothing hangs.
 *
 * On the public API and the injected environment alone; once for each engine. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>

#include <proactor.h>

#include "lib/os.h"

enum { CLIENTS = 2, PIECES = 12, PIECE = 512, MESSAGE = PIECES * PIECE };

/* ---- An environment that fails at the wanted moment ------------------------------------------ */

static struct {
    long memory_countdown, call_countdown; /* fails when it reaches 0; -1: never */
    int  number;                           /* the system error of the call that fails */
    long allocated;                        /* pieces of memory not given back */
    char call[32];                         /* the name of the call that failed */
} env;

static uint32_t slots; /* fixed_slots of the scenario's loop */

static void *env_realloc(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size == 0) {
        if (ptr) env.allocated--;
        free(ptr);
        return NULL;
    }
    if (env.memory_countdown >= 0 && env.memory_countdown-- == 0) return NULL;
    void *memory = realloc(ptr, size);
    if (memory && !ptr) env.allocated++;
    return memory;
}

static int env_fault(void *ctx, const char *call)
{
    (void)ctx;
    if (env.call_countdown < 0 || env.call_countdown-- != 0) return 0;
    snprintf(env.call, sizeof env.call, "%s", call);
    return env.number;
}

/* ---- The scenario --------------------------------------------------------------------------- */

struct peer { /* one end of a connection, on either side */
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    pro_vec    vecs[PIECES];
    char       out[MESSAGE], in[MESSAGE];
    bool       alive;
};

static struct {
    pro_loop    *loop;
    pro_scope    scope;
    pro_listener listener;
    pro_op       accept, timer, stop;
    struct peer  clients[CLIENTS], servers[CLIENTS];
    int          accepted, started, completed, drained, whole;
    unsigned     slots, slots_used; /* in force; used at most */
} s;

static void peer_over(pro_scope *scope)
{
    pro_container_of(scope, struct peer, scope)->alive = false;
    s.drained++;
}

/* Each initiation is counted, and each last completion. */
static bool failed(pro_op *op)
{
    if (!(op->flags & PRO_MORE)) s.completed++;
    return op->error != PRO_OK;
}

static void give_up(struct peer *p) { pro_scope_close(&p->scope); }

static void client_read(pro_op *op)
{
    struct peer *p = op->user;
    if (!failed(op) && memcmp(p->in, p->out, MESSAGE) == 0) s.whole++;
    give_up(p);
}

static void client_wrote(pro_op *op)
{
    struct peer *p = op->user;
    if (failed(op)) {
        give_up(p);
        return;
    }
    s.started++;
    op->deadline_ns = pro_loop_now(s.loop) + 3600 * PRO_SEC;
    pro_recv_exactly(op, &p->sock, p->in, MESSAGE, client_read);
}

static void client_connected(pro_op *op)
{
    struct peer *p = op->user;
    if (failed(op)) {
        give_up(p);
        return;
    }
    for (int i = 0; i < PIECES; i++) p->vecs[i] = (pro_vec){p->out + i * PIECE, PIECE};
    s.started++;
    pro_sendv_all(op, &p->sock, p->vecs, PIECES, client_wrote);
}

static void server_wrote(pro_op *op)
{
    failed(op);
    give_up(op->user);
}

static void server_read(pro_op *op)
{
    struct peer *p = op->user;
    if (failed(op)) {
        give_up(p);
        return;
    }
    s.started++;
    pro_send_all(op, &p->sock, p->in, MESSAGE, server_wrote);
}

/* What is asked of a slot is a call of the ring, or needs a descriptor for a while, or for good.  How it
 * goes does not matter here. */
static void ask(pro_socket *sock)
{
    pro_address    address;
    pro_loop_stats stats;
    pro_loop_stats_get(s.loop, &stats);
    if (stats.slots_used > s.slots_used) s.slots_used = stats.slots_used;
    pro_socket_set(sock, PRO_OPT_NODELAY, 1);
    pro_socket_local(sock, &address);
    if (s.accepted == CLIENTS) pro_socket_descriptor(sock);
}

static void on_accepted(pro_op *op)
{
    if (failed(op)) {
        /* Out of something: a server would try again later; this one lets its clients go. */
        if (op->error != PRO_ECANCELED) pro_scope_close(&s.scope);
        return;
    }
    struct peer *p = &s.servers[s.accepted % CLIENTS];
    if (p->alive) return; /* not taken: the library closes it */
    p->alive = true;
    pro_scope_init(&p->scope, s.loop, &s.scope, peer_over);
    if (pro_accept_take(op, &p->sock, &p->scope) != PRO_OK) {
        give_up(p);
        return;
    }
    s.accepted++;
    if (slots) ask(&p->sock);
    p->op = (pro_op){.user = p};
    s.started++;
    pro_recv_exactly(&p->op, &p->sock, p->in, MESSAGE, server_read);
}

static void server_over(pro_scope *scope)
{
    (void)scope;
    s.drained++;
}

static void tick(pro_op *op)
{
    failed(op);
    bool busy = false;
    for (int i = 0; i < CLIENTS; i++) busy |= s.clients[i].alive || s.servers[i].alive;
    if (!busy || pro_scope_closing(&s.scope)) {
        pro_scope_close(&s.scope);
        return;
    }
    s.started++;
    pro_sleep(op, s.loop, PRO_MSEC / 4, tick);
}

static void run_scenario(pro_engine engine, const char *mask)
{
    memset(&s, 0, sizeof s);
    pro_loop_options options = {.version = PRO_VERSION,
                                .engine = engine,
                                .mask = mask,
                                .queue_len = 4,
                                .fixed_slots = slots};
    options.env.realloc = env_realloc;
    options.env.fault = env_fault;
    if (pro_loop_new(&s.loop, &options) != PRO_OK) {
        CHECK(s.loop == NULL);
        CHECK_EQ(env.allocated, 0);
        return;
    }
    if (slots) pro_loop_poll(s.loop); /* its ring is enabled, and has slots for the clients, too */
    pro_address at = pro_address_loopback(PRO_IPV4, 0);
    pro_scope_init(&s.scope, s.loop, NULL, server_over);
    if (pro_listen(&s.listener, s.loop, &s.scope, &at, NULL) != PRO_OK ||
        pro_listener_local(&s.listener, &at) != PRO_OK) {
        pro_scope_close(&s.scope);
    } else {
        s.started++;
        s.accept.scope = &s.scope;
        pro_accept_multi(&s.accept, &s.listener, on_accepted);
        for (int i = 0; i < CLIENTS; i++) {
            struct peer *p = &s.clients[i];
            memset(p->out, 'a' + i, MESSAGE);
            p->alive = true;
            p->op.user = p;
            pro_scope_init(&p->scope, s.loop, &s.scope, peer_over);
            pro_socket_init(&p->sock, s.loop, &p->scope);
            s.started++;
            pro_connect(&p->op, &p->sock, &at, client_connected);
        }
        s.started++;
        pro_sleep(&s.timer, s.loop, 0, tick);
    }
    for (int tries = 0; pro_loop_run(s.loop) < 0; tries++) CHECK(tries < 100);
    CHECK_EQ(s.started, s.completed);
    pro_loop_stats stats;
    pro_loop_stats_get(s.loop, &stats);
    CHECK_EQ(stats.slots_used, 0);
    s.slots = stats.slots;
    int error = pro_loop_free(s.loop);
    CHECK_EQ(error, PRO_OK);
    CHECK_EQ(env.allocated, 0);
}

static int descriptors(void) { return t_os_descriptors(); }

static void torture_memory(pro_engine engine)
{
    int before = descriptors();
    for (long n = 0;; n++) {
        CHECK(n < 10000);
        env.memory_countdown = n;
        env.call_countdown = -1;
        run_scenario(engine, NULL);
        CHECK_EQ(descriptors(), before);
        if (env.memory_countdown >= 0) break; /* not reached: no allocation was left to fail */
    }
    CHECK_EQ(s.whole, CLIENTS);
}

static void torture_calls(pro_engine engine, int number)
{
    int before = descriptors();
    for (long n = 0;; n++) {
        CHECK(n < 10000);
        env.memory_countdown = -1;
        env.call_countdown = n;
        env.number = number;
        run_scenario(engine, NULL);
        if (descriptors() != before) printf("# call %ld, %s, error %d\n", n, env.call, number);
        CHECK_EQ(descriptors(), before);
        if (env.call_countdown >= 0) break;
    }
    CHECK_EQ(s.whole, CLIENTS);
}

static bool is_here(pro_engine engine)
{
    pro_loop        *loop;
    pro_loop_options options = {.version = PRO_VERSION, .engine = engine};
    if (pro_loop_new(&loop, &options) != PRO_OK) {
        printf("# this engine is refused here\n");
        return false;
    }
    return pro_loop_free(loop) == PRO_OK;
}

UNIT(every_allocation_fails_in_turn_on_epoll)
{
    if (is_here(PRO_ENGINE_EPOLL)) torture_memory(PRO_ENGINE_EPOLL);
}

UNIT(every_allocation_fails_in_turn_on_iocp)
{
    if (is_here(PRO_ENGINE_IOCP)) torture_memory(PRO_ENGINE_IOCP);
}

UNIT(every_system_call_fails_in_turn_on_iocp)
{
    /* No memory, too many handles, no buffers, a reset, no resources: Windows numbers. */
    const int numbers[] = {8, 10024, 10055, 10054, 1450};
    if (!is_here(PRO_ENGINE_IOCP)) return;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        torture_calls(PRO_ENGINE_IOCP, numbers[i]);
}

UNIT(every_allocation_fails_in_turn_on_uring)
{
    if (is_here(PRO_ENGINE_URING)) torture_memory(PRO_ENGINE_URING);
}

UNIT(every_system_call_fails_in_turn_on_epoll)
{
    const int numbers[] = {ENOMEM, EINTR, EMFILE, ENOBUFS, ECONNRESET};
    if (!is_here(PRO_ENGINE_EPOLL)) return;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        torture_calls(PRO_ENGINE_EPOLL, numbers[i]);
}

UNIT(every_system_call_fails_in_turn_on_uring)
{
    const int numbers[] = {ENOMEM, EINTR, EMFILE, ENOBUFS, EBUSY, EAGAIN};
    if (!is_here(PRO_ENGINE_URING)) return;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        torture_calls(PRO_ENGINE_URING, numbers[i]);
}

UNIT(everything_fails_in_turn_on_uring_with_slots)
{
    const int numbers[] = {ENOMEM, EINTR, EMFILE, EBUSY, EAGAIN};
    if (!is_here(PRO_ENGINE_URING)) return;
    slots = 3; /* of four sockets; the fourth has a descriptor */
    torture_memory(PRO_ENGINE_URING);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        torture_calls(PRO_ENGINE_URING, numbers[i]);
    CHECK_EQ(s.slots_used, s.slots); /* nothing failed in the last run */
    slots = 0;
}
