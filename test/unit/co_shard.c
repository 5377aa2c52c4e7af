/* Coroutines on several shards: calls to other loops and back, broadcasts, an orderly end. */
#include "unit.h"

#include <stdatomic.h>

#include <proactor.h>

#include "co/co.h"

enum { SHARDS = 3, CALLERS = 20, CALLS = 200 };

static pro_runtime *runtime;
static atomic_int   wrong, ended, canceled;

static int64_t add_one(pro_call *call, pro_loop *there)
{
    if (pro_runtime_of(there) != runtime) atomic_fetch_add(&wrong, 1);
    return *(int *)call->arg + 1;
}

static int64_t my_number(pro_call *call, pro_loop *there)
{
    (void)call;
    return pro_shard_of(there);
}

static void call_around(void *arg)
{
    pro_loop *here = pro_co_loop();
    int       i, given = 0;
    (void)arg;
    for (i = 0; i < CALLS; i++) {
        pro_call  call = {.op.user = &given, .arg = &i};
        pro_loop *there = pro_runtime_loop(runtime, (pro_shard_of(here) + (unsigned)i) % SHARDS);
        if (pro_await_call_on(&call, there, add_one) != i + 1) atomic_fetch_add(&wrong, 1);
        if (call.op.user != &given) atomic_fetch_add(&wrong, 1);
        if (i % 16 == 0) {
            pro_call calls[SHARDS] = {{.arg = NULL}};
            if (pro_await_broadcast(calls, my_number, NULL) != 0 + 1 + 2)
                atomic_fetch_add(&wrong, 1);
        }
    }
    if (atomic_fetch_add(&ended, 1) + 1 == SHARDS * CALLERS) pro_runtime_stop(runtime, PRO_SEC);
}

static int set_up(pro_loop *loop, unsigned shard, void *arg)
{
    (void)shard, (void)arg;
    for (int i = 0; i < CALLERS; i++)
        if (pro_go(pro_loop_scope(loop), call_around, NULL, NULL) != PRO_OK) return PRO_ENOMEM;
    return PRO_OK;
}

static void run(pro_shard_fn *fn, unsigned shards)
{
    pro_runtime_options options = {PRO_VERSION, .shards = shards};
    atomic_store(&wrong, 0);
    atomic_store(&ended, 0);
    atomic_store(&canceled, 0);
    CHECK_EQ(pro_runtime_new(&runtime, &options), PRO_OK);
    CHECK_EQ(pro_runtime_start(runtime, fn, NULL), PRO_OK);
    CHECK_EQ(pro_runtime_join(runtime), PRO_OK);
    CHECK_EQ(atomic_load(&wrong), 0);
}

UNIT(coroutines_call_other_shards_and_get_their_answers)
{
    run(set_up, SHARDS);
    CHECK_EQ(atomic_load(&ended), SHARDS * CALLERS);
}

/* ---- Nobody there --------------------------------------------------------------------------- */

static void call_nobody(void *arg)
{
    pro_call call = {.arg = arg}, calls[1] = {{.arg = arg}};
    if (pro_await_call_on(&call, NULL, my_number) != PRO_ECANCELED) atomic_fetch_add(&wrong, 1);
    if (pro_await_broadcast(calls, my_number, NULL) != PRO_ECANCELED) atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&ended, 1);
}

UNIT(a_call_to_no_loop_and_a_broadcast_without_shards_are_canceled)
{
    pro_loop *loop;
    atomic_store(&wrong, 0);
    atomic_store(&ended, 0);
    CHECK_EQ(pro_loop_new(&loop, NULL), PRO_OK);
    CHECK_EQ(pro_go(pro_loop_scope(loop), call_nobody, NULL, NULL), PRO_OK);
    CHECK(pro_loop_run(loop) > 0);
    CHECK_EQ(atomic_load(&ended), 1);
    CHECK_EQ(atomic_load(&wrong), 0);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

/* ---- Cancel --------------------------------------------------------------------------------- */

static pro_scope scope;

/* On the other shard; the one that asked is canceled meanwhile, here by itself: it runs nothing. */
static int64_t answer(pro_call *call, pro_loop *there)
{
    (void)call, (void)there;
    return 5;
}

static void ask_while_canceled(void *arg)
{
    pro_call call = {.arg = NULL};
    (void)arg;
    pro_scope_close(&scope); /* from now on it is canceled */
    int64_t late = pro_await_call_on(&call, pro_co_loop(), answer);
    if (late != PRO_ECANCELED) atomic_fetch_add(&wrong, 1);
    if (pro_await_sleep(1) != PRO_ECANCELED) atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&canceled, 1);
}

static void cancel_from_outside(void *arg)
{
    pro_yield();
    pro_yield();
    pro_task_cancel(arg); /* it is away: nothing can be cut */
}

static pro_task asker;

static void ask_then_be_canceled(void *arg)
{
    pro_call call = {.arg = NULL};
    (void)arg;
    for (;;) {
        int64_t n = pro_await_call_on(&call, pro_runtime_loop(runtime, 1), answer);
        if (n == PRO_ECANCELED) break;
        if (n != 5) atomic_fetch_add(&wrong, 1);
    }
    atomic_fetch_add(&canceled, 1);
    pro_runtime_stop(runtime, PRO_SEC);
}

static int set_up_cancel(pro_loop *loop, unsigned shard, void *arg)
{
    (void)arg;
    if (shard != 0) return PRO_OK;
    pro_go_options o = {.task = &asker};
    pro_scope_init(&scope, loop, NULL, NULL);
    if (pro_go(&scope, ask_while_canceled, NULL, NULL) != PRO_OK) return PRO_ENOMEM;
    if (pro_go(pro_loop_scope(loop), ask_then_be_canceled, NULL, &o) != PRO_OK) return PRO_ENOMEM;
    return pro_go(pro_loop_scope(loop), cancel_from_outside, &asker, NULL);
}

UNIT(a_cancel_waits_for_the_answer_and_refuses_the_next_call)
{
    run(set_up_cancel, 2);
    CHECK_EQ(atomic_load(&canceled), 2);
}
