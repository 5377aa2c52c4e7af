/* Shards: start, calls, broadcast, posts between threads, and an orderly end under load. */
#include "unit.h"

#include <stdatomic.h>
#include <stdbool.h>

#include <proactor.h>

enum { SHARDS = 4 };

static pro_runtime *runtime;

static pro_runtime_options options_for(unsigned shards)
{
    pro_runtime_options options;
    pro_runtime_options_init(&options);
    options.shards = shards;
    return options;
}

static void start(pro_shard_fn *set_up, void *arg)
{
    pro_runtime_options options = options_for(SHARDS);
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_OK);
    CHECK_EQ(pro_runtime_start(runtime, set_up, arg), PRO_OK);
}

/* ---- Start and stop ------------------------------------------------------------------------- */

static int note_order(pro_loop *loop, unsigned shard, void *arg)
{
    unsigned *order = arg;
    CHECK(pro_shard_of(loop) == shard && pro_runtime_of(loop) == runtime);
    order[0]++;
    order[shard + 1] = order[0];
    return PRO_OK;
}

UNIT(shards_are_set_up_in_their_order_and_end)
{
    unsigned order[SHARDS + 1] = {0};
    start(note_order, order);
    CHECK_EQ(pro_runtime_shards(runtime), SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) CHECK_EQ(order[i + 1], i + 1);
    char   text[8000], part[40];
    size_t len = pro_runtime_explain(runtime, text, sizeof text);
    CHECK(len == strlen(text) && text[len - 1] == '\n');
    CHECK(strstr(text, "4 shards, pinned to the cores") && strstr(text, "shard 3: on CPU"));
    const char *engine = pro_loop_engine(pro_runtime_loop(runtime, 3));
    CHECK(strstr(strstr(text, "shard 3"), engine));
    /* As snprintf: the whole length, and what fits. */
    CHECK_EQ(pro_runtime_explain(runtime, NULL, 0), len);
    CHECK_EQ(pro_runtime_explain(runtime, part, sizeof part), len);
    CHECK(strlen(part) == sizeof part - 1 && strncmp(part, text, sizeof part - 1) == 0);
    pro_runtime_stop(runtime, PRO_SEC);
    pro_runtime_stop(runtime, PRO_SEC);
    CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
}

static int fail_on_2(pro_loop *loop, unsigned shard, void *arg)
{
    (void)loop, (void)arg;
    return shard == 2 ? PRO_EACCES : PRO_OK;
}

static int stop_at_once(pro_loop *loop, unsigned shard, void *arg)
{
    (void)loop, (void)shard, (void)arg;
    pro_runtime_stop(runtime, 0);
    return PRO_OK;
}

UNIT(the_loops_are_there_until_join)
{
    for (int i = 0; i < 20; i++) {
        char text[8000];
        start(stop_at_once, NULL);
        CHECK(pro_runtime_explain(runtime, text, sizeof text) > 0);
        CHECK(strlen(pro_loop_engine(pro_runtime_loop(runtime, SHARDS - 1))) > 0);
        CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
    }
}

static void explain_pinned(pro_pin pin, const int *cpus, const char *want)
{
    pro_runtime_options options = options_for(1);
    options.pin = pin;
    options.cpus = cpus;
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_OK);
    unsigned order[2] = {0};
    CHECK_EQ(pro_runtime_start(runtime, note_order, order), PRO_OK);
    char text[8000];
    pro_runtime_explain(runtime, text, sizeof text);
    CHECK(strstr(text, want));
    pro_runtime_stop(runtime, 0);
    CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
}

UNIT(explain_says_what_became_of_a_wish)
{
    const int nowhere[] = {1000}; /* no such CPU: no error, but told */
    explain_pinned(PRO_PIN_LIST, nowhere, "shard 0: CPU 1000 was refused, engine ");
    explain_pinned(PRO_PIN_NONE, NULL, "1 shard, pinned nowhere\nshard 0: ");
}

UNIT(an_error_in_set_up_ends_the_runtime)
{
    pro_runtime_options options = options_for(SHARDS);
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_OK);
    CHECK_EQ(pro_runtime_start(runtime, fail_on_2, NULL), PRO_EACCES);
    CHECK_EQ(pro_runtime_join(runtime), PRO_EACCES);
}

UNIT(a_runtime_that_never_started_is_freed)
{
    CHECK_EQ(pro_runtime_new(&runtime, NULL), PRO_OK);
    CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
}

UNIT(broken_options_are_refused)
{
    pro_runtime_options options = options_for(5000);
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_EINVAL);
    options = options_for(2);
    options.pin = PRO_PIN_LIST;
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_EINVAL);
    options.version = 0x990000;
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_EINVAL);
}

/* ---- Calls ---------------------------------------------------------------------------------- */

static struct {
    pro_call calls[1000];
    pro_call all[SHARDS];
    int      done;
    bool     in_order;
    int64_t  sum;
} work;

static int64_t where(pro_call *call, pro_loop *there)
{
    int index = (int)(call - work.calls);
    return (int64_t)index * 10 + pro_shard_of(there);
}

static int64_t add_shard(pro_call *call, pro_loop *there)
{
    return *(int *)call->arg + (int)pro_shard_of(there);
}

static void on_broadcast(pro_op *op)
{
    work.sum = op->error == PRO_OK ? op->value : -1;
    pro_runtime_stop(runtime, PRO_SEC);
}

static void on_called(pro_op *op)
{
    static int hundred = 100;
    int        index = (int)(pro_container_of(op, pro_call, op) - work.calls);
    work.in_order = work.in_order && op->error == PRO_OK && op->value == (int64_t)index * 10 + 1 &&
                    index == work.done;
    if (++work.done < 1000) return;
    pro_broadcast(work.all, op->user, add_shard, &hundred, on_broadcast);
}

static int call_from_0(pro_loop *loop, unsigned shard, void *arg)
{
    (void)arg;
    if (shard != SHARDS - 1) return PRO_OK;
    /* From the last shard, when the others are there. */
    work.in_order = true;
    for (int i = 0; i < 1000; i++) {
        work.calls[i].op.user = loop;
        pro_call_on(&work.calls[i], loop, pro_runtime_loop(runtime, 1), where, on_called);
    }
    return PRO_OK;
}

UNIT(calls_run_there_complete_here_and_keep_their_order)
{
    memset(&work, 0, sizeof work);
    start(call_from_0, NULL);
    CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
    CHECK_EQ(work.done, 1000);
    CHECK(work.in_order);
    CHECK_EQ(work.sum, SHARDS * 100 + 0 + 1 + 2 + 3);
}

/* ---- Posts: each shard sends a ring of messages to the next ---------------------------------- */

enum { IN_FLIGHT = 64 };

static struct message {
    pro_op   op;
    unsigned at; /* the shard that has it */
} messages[SHARDS][IN_FLIGHT];

static atomic_llong hops, hops_wanted;
static atomic_int   ended;

static void hop(pro_op *op)
{
    struct message *message = pro_container_of(op, struct message, op);
    if (op->error != PRO_OK || atomic_fetch_add_explicit(&hops, 1, memory_order_relaxed) >=
                                   atomic_load_explicit(&hops_wanted, memory_order_relaxed)) {
        if (atomic_fetch_add(&ended, 1) + 1 == SHARDS * IN_FLIGHT)
            pro_runtime_stop(runtime, PRO_SEC);
        return;
    }
    message->at = (message->at + 1) % SHARDS;
    pro_post(op, pro_runtime_loop(runtime, message->at), hop);
}

static int send_messages(pro_loop *loop, unsigned shard, void *arg)
{
    (void)arg;
    for (int i = 0; i < IN_FLIGHT; i++) {
        messages[shard][i].at = shard;
        pro_post(&messages[shard][i].op, loop, hop);
    }
    return PRO_OK;
}

UNIT(posts_between_shards_lose_nothing)
{
    const char *count = getenv("PROACTOR_POSTS");
    memset(messages, 0, sizeof messages);
    atomic_store(&hops, 0);
    atomic_store(&ended, 0);
    atomic_store(&hops_wanted, count ? atoll(count) : 200000);
    start(send_messages, NULL);
    CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
    CHECK_EQ(atomic_load(&ended), SHARDS * IN_FLIGHT);
}

/* ---- An end under load ---------------------------------------------------------------------- */

static struct shard_load {
    pro_call  call;
    pro_op    timer;
    long      calls, back;
    pro_loop *loop;
} load[SHARDS];

static int64_t answer(pro_call *call, pro_loop *there)
{
    (void)call, (void)there;
    return 1;
}

static void call_again(pro_op *op);

static void call_next(struct shard_load *l)
{
    unsigned to = (pro_shard_of(l->loop) + 1 + (unsigned)l->calls) % SHARDS;
    l->calls++;
    pro_call_on(&l->call, l->loop, pro_runtime_loop(runtime, to), answer, call_again);
}

static void call_again(pro_op *op)
{
    struct shard_load *l = op->user;
    l->back++;
    if (!pro_scope_draining(pro_loop_scope(l->loop))) call_next(l);
}

static void stop_soon(pro_op *op)
{
    (void)op;
    pro_runtime_stop(runtime, PRO_SEC);
}

static void begin_load(pro_op *op) { call_next(op->user); }

static int load_shard(pro_loop *loop, unsigned shard, void *arg)
{
    (void)arg;
    struct shard_load *l = &load[shard];
    *l = (struct shard_load){.loop = loop};
    l->call.op.user = l->timer.user = l;
    pro_sleep(&l->timer, loop, PRO_MSEC, begin_load);
    static pro_op stop;
    if (shard > 0) return PRO_OK;
    stop = (pro_op){0};
    pro_sleep(&stop, loop, 20 * PRO_MSEC, stop_soon);
    return PRO_OK;
}

UNIT(a_stop_under_load_answers_every_call)
{
    for (int round = 0; round < 5; round++) {
        start(load_shard, NULL);
        CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
        for (int i = 0; i < SHARDS; i++) CHECK_EQ(load[i].calls, load[i].back);
    }
}

/* ---- Listeners that share an address -------------------------------------------------------- */

enum { CONNECTIONS = 64 };

static struct listening {
    pro_listener l;
    pro_op       accept;
    int          accepted;
} listening[SHARDS];

static pro_address listen_at;
static int         by_cpu;
static pro_socket  client_socks[CONNECTIONS];
static pro_op      client_ops[CONNECTIONS];
static int         connected;
static atomic_int  accepted_all;

static void on_accept(pro_op *op)
{
    if (op->error != PRO_OK) return; /* not taken: the library closes the connection */
    ((struct listening *)op->user)->accepted++;
    if (atomic_fetch_add(&accepted_all, 1) + 1 == CONNECTIONS) pro_runtime_stop(runtime, PRO_SEC);
}

static void stop_listening(pro_scope *scope) { pro_scope_close(scope); }

static void on_connect(pro_op *op) { connected += op->error == PRO_OK; }

static int listen_on_shard(pro_loop *loop, unsigned shard, void *arg)
{
    (void)arg;
    struct listening  *l = &listening[shard];
    pro_listen_options options = {.reuse_port = 1, .steer_by_cpu = by_cpu};
    memset(l, 0, sizeof *l);
    int error = pro_listen(&l->l, loop, NULL, &listen_at, &options);
    if (error) return error;
    if (listen_at.port == 0) pro_listener_local(&l->l, &listen_at);
    l->accept.user = l;
    pro_accept_multi(&l->accept, &l->l, on_accept);
    pro_scope_on_stop(pro_loop_scope(loop), stop_listening);
    if (shard < SHARDS - 1) return PRO_OK;
    for (int i = 0; i < CONNECTIONS; i++) {
        client_ops[i] = (pro_op){0};
        pro_socket_init(&client_socks[i], loop, NULL);
        pro_connect(&client_ops[i], &client_socks[i], &listen_at, on_connect);
    }
    return PRO_OK;
}

static int shards_that_accepted(void)
{
    int count = 0;
    for (int i = 0; i < SHARDS; i++) count += listening[i].accepted > 0;
    return count;
}

static void connect_to_shards(void)
{
    listen_at = pro_address_loopback(PRO_IPV4, 0);
    connected = 0;
    atomic_store(&accepted_all, 0);
    pro_runtime_options options = options_for(SHARDS);
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_OK);
    int error = pro_runtime_start(runtime, listen_on_shard, NULL);
    int result = pro_runtime_join(runtime);
    if (error == PRO_ENOTSUP) UNIT_SKIP("this system has no several listeners on one address");
    CHECK_EQ(error, PRO_OK);
    CHECK_EQ(result, PRO_OK);
    CHECK_EQ(atomic_load(&accepted_all), CONNECTIONS);
}

UNIT(the_kernel_spreads_connections_over_shards)
{
    by_cpu = 0;
    connect_to_shards();
    CHECK(shards_that_accepted() >= 2); /* 64 hashed over 4: one alone has odds of 4^-63 */
}

UNIT(connections_can_be_steered_by_cpu)
{
    /* All clients connect from one pinned thread, so all connections come in on its CPU. */
    by_cpu = SHARDS;
    connect_to_shards();
    CHECK(shards_that_accepted() <= 2);
}
