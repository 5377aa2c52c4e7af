/* Shards: a loop per thread.
 *
 * Start: the threads are started one after the other, each makes its loop, sets it up and says so;
 * when all are there they run.  Each loop is held until stop.
 *
 * End, in three steps that all shards take together, so that none speaks to one that is gone:
 *   1. run until stop, and until the root scope has drained;
 *   2. run on, answering the others, until the last shard has come so far;
 *   3. poll in rounds until a round in which nobody had anything to run.
 * Then no message is under way, and every thread frees its own loop.
 *
 * What a shard writes lies on cache lines of its own: its loop, and its pri_shard, which others only
 * read once it runs.  Messages go through the loops' post stacks (src/core/op.c). */
#include <proactor/runtime.h>

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/loop.h"
#include "os/thread.h"

enum { SHARDS_MAX = 1024, CPUS_MAX = 1024, ERRORS_MAX = 1000 };

typedef struct pri_shard {
    _Alignas(64) pro_runtime *runtime;
    unsigned    number;
    int         cpu; /* wanted; -1: any */
    int         cpu_got;
    int         error;
    bool        is_over; /* its root scope has drained */
    bool        is_last; /* all shards are over */
    atomic_bool is_told; /* to stop */
    pri_thread *thread;
    pro_loop   *loop;
    pro_op      stop, all_idle;
} pri_shard;

struct pro_runtime {
    pro_runtime_options options;
    pro_env             env;     /* complete; the memory of the runtime comes from it */
    const pri_threads  *threads; /* real ones, or lanes of a simulated world */
    unsigned            count;
    unsigned            started; /* threads */
    pro_shard_fn       *set_up;
    void               *arg;
    pri_gate           *ready; /* shards that are set up, or have failed */
    pri_gate           *go;
    pri_gate           *rounds;
    pri_gate           *stopped; /* pro_runtime_stop touches the runtime no more */
    uint64_t            drain_ns;
    atomic_bool         is_stopping;
    atomic_uint         idle;     /* shards that took step 1 */
    atomic_uint         activity; /* rounds of a shard in which it ran something */
    pri_shard          *shards;
    void               *shards_memory;
};

void pro_runtime_options_init(pro_runtime_options *options)
{
    *options = (pro_runtime_options){.version = PRO_VERSION, .pin = PRO_PIN_CORES};
    pro_loop_options_init(&options->loop);
}

/* ---- Making and freeing --------------------------------------------------------------------- */

static void free_runtime(pro_runtime *runtime)
{
    pro_env env = runtime->env;
    if (runtime->threads->disown) runtime->threads->disown(runtime);
    if (runtime->ready) runtime->threads->gate_free(runtime->ready);
    if (runtime->go) runtime->threads->gate_free(runtime->go);
    if (runtime->rounds) runtime->threads->gate_free(runtime->rounds);
    if (runtime->stopped) runtime->threads->gate_free(runtime->stopped);
    pri_env_realloc(&env, runtime->shards_memory, 0);
    pri_env_realloc(&env, runtime, 0);
}

/* The simulated machine it ran on is down, and its threads and loops are gone. */
static void abandon(void *runtime) { free_runtime(runtime); }

static int place(pro_runtime *runtime)
{
    int cpus[CPUS_MAX];
    int available = runtime->threads->cpus(cpus, CPUS_MAX);
    if (available <= 0) available = 1, cpus[0] = 0;
    if (available > CPUS_MAX) available = CPUS_MAX;
    if (runtime->count == 0) runtime->count = (unsigned)available;
    if (runtime->count > SHARDS_MAX) return PRO_EINVAL;

    size_t size = runtime->count * sizeof(pri_shard) + 64;
    runtime->shards_memory = pri_env_realloc(&runtime->env, NULL, size);
    if (!runtime->shards_memory) return PRO_ENOMEM;
    runtime->shards = (pri_shard *)(((uintptr_t)runtime->shards_memory + 63) & ~(uintptr_t)63);
    memset(runtime->shards, 0, runtime->count * sizeof(pri_shard));
    for (unsigned i = 0; i < runtime->count; i++) {
        pri_shard *shard = &runtime->shards[i];
        shard->runtime = runtime;
        shard->number = i;
        shard->cpu = shard->cpu_got = -1;
        if (runtime->options.pin == PRO_PIN_CORES) shard->cpu = cpus[i % (unsigned)available];
        if (runtime->options.pin == PRO_PIN_LIST) shard->cpu = runtime->options.cpus[i];
    }
    return PRO_OK;
}

int pro_runtime_new(pro_runtime **out, const pro_runtime_options *given)
{
    pro_runtime_options options;
    *out = NULL;
    if (given)
        options = *given;
    else
        pro_runtime_options_init(&options);
    if (options.version >> 8 != PRO_VERSION >> 8) return PRO_EINVAL;
    if (options.pin == PRO_PIN_LIST && (!options.cpus || options.shards == 0)) return PRO_EINVAL;
    if (options.loop.version == 0) options.loop.version = PRO_VERSION;

    pro_env env = options.loop.env;
    if (!env.realloc) env.realloc = pri_os_realloc;
    pro_runtime *runtime = pri_env_realloc(&env, NULL, sizeof *runtime);
    if (!runtime) return PRO_ENOMEM;
    memset(runtime, 0, sizeof *runtime);
    runtime->options = options;
    runtime->env = env;
    runtime->count = options.shards;
    runtime->threads = pri_threads_of(&options.loop);
    if (runtime->threads->own) runtime->threads->own(runtime, abandon);
    runtime->ready = runtime->threads->gate_new();
    runtime->go = runtime->threads->gate_new();
    runtime->rounds = runtime->threads->gate_new();
    runtime->stopped = runtime->threads->gate_new();
    bool has_gates = runtime->ready && runtime->go && runtime->rounds && runtime->stopped;
    int  error = has_gates ? place(runtime) : PRO_ENOMEM;
    if (error) {
        free_runtime(runtime);
        return error;
    }
    *out = runtime;
    return PRO_OK;
}

/* ---- The life of a shard -------------------------------------------------------------------- */

/* The root scope is over: nothing holds the shard any more. */
static void on_root_drained(pro_scope *root)
{
    pro_loop  *loop = root->pri_loop;
    pri_shard *shard = &((pro_runtime *)loop->runtime)->shards[loop->shard];
    shard->is_over = true;
    pro_loop_release(loop);
}

static int set_up(pri_shard *shard)
{
    pro_runtime *runtime = shard->runtime;
    pro_loop    *loop;
    int          error = pro_loop_new(&loop, &runtime->options.loop);
    if (error) return error;
    shard->loop = loop;
    shard->cpu_got = runtime->threads->cpu();
    loop->runtime = runtime;
    loop->shard = shard->number;
    loop->root.pri_on_drained = on_root_drained;
    pro_loop_hold(loop);
    return runtime->set_up(loop, shard->number, runtime->arg);
}

/* Step 3: two meetings a round, one so that all have polled, one so that all have looked. */
static void run_leftovers(pri_shard *shard)
{
    pro_runtime *runtime = shard->runtime;
    unsigned     seen = 0, now = 0;
    uint64_t     meetings = 0;
    do {
        seen = now;
        if (shard->loop && pro_loop_poll(shard->loop) > 0) atomic_fetch_add(&runtime->activity, 1);
        runtime->threads->gate_add(runtime->rounds);
        runtime->threads->gate_wait(runtime->rounds, ++meetings * runtime->started);
        now = atomic_load(&runtime->activity);
        runtime->threads->gate_add(runtime->rounds);
        runtime->threads->gate_wait(runtime->rounds, ++meetings * runtime->started);
    } while (now != seen);
}

static void on_all_idle(pro_op *op)
{
    pri_shard *shard = pro_container_of(op, pri_shard, all_idle);
    shard->is_last = true;
    pro_loop_release(shard->loop);
}

/* Step 2, for the last one: all others may go on. */
static void tell_all_idle(pro_runtime *runtime)
{
    for (unsigned i = 0; i < runtime->started; i++) {
        pri_shard *shard = &runtime->shards[i];
        if (shard->loop) pro_post(&shard->all_idle, shard->loop, on_all_idle);
    }
}

/* Run until *is_done; the loop is held so long, so a wish to stop it alone changes nothing.  An error
 * of the engine ends the runtime; posts are run all the same, since others may wait for answers. */
static void run(pri_shard *shard, const bool *is_done, int errors_max)
{
    for (int errors = 0; !*is_done && errors < errors_max;) {
        int64_t result = pro_loop_run(shard->loop);
        if (result >= 0) continue;
        errors++;
        if (!shard->error) shard->error = (int)result;
        pro_runtime_stop(shard->runtime, 0);
        shard->runtime->threads->pause();
    }
}

static void shard_main(void *arg)
{
    pri_shard   *shard = arg;
    pro_runtime *runtime = shard->runtime;
    shard->error = set_up(shard);
    runtime->threads->gate_add(runtime->ready);
    runtime->threads->gate_wait(runtime->go, 1);

    if (shard->loop) {
        run(shard, &shard->is_over, ERRORS_MAX);
        pro_loop_hold(shard->loop);
    }
    if (atomic_fetch_add(&runtime->idle, 1) + 1 == runtime->started) tell_all_idle(runtime);
    if (shard->loop) run(shard, &shard->is_last, INT_MAX);
    run_leftovers(shard);
    runtime->threads->gate_wait(runtime->stopped, 1);
    if (!shard->loop) return;
    if (shard->error) shard->loop->holds = 0; /* its engine failed before it could be released */
    int error = pro_loop_free(shard->loop);
    if (!shard->error) shard->error = error;
}

/* ---- Starting, stopping --------------------------------------------------------------------- */

static int first_error(const pro_runtime *runtime)
{
    for (unsigned i = 0; i < runtime->started; i++)
        if (runtime->shards[i].error) return runtime->shards[i].error;
    return PRO_OK;
}

static int start_shard(pro_runtime *runtime, pri_shard *shard)
{
    char        name[32];
    const char *stem = runtime->options.name ? runtime->options.name : "shard";
    snprintf(name, sizeof name, "%.10s/%u", stem, shard->number);
    int error = runtime->threads->start(&shard->thread, name, shard->cpu, shard_main, shard);
    if (error) return pri_os_error(error);
    runtime->started++;
    runtime->threads->gate_wait(runtime->ready, runtime->started);
    return shard->error;
}

static void on_stop(pro_op *op)
{
    pri_shard *shard = pro_container_of(op, pri_shard, stop);
    uint64_t   left = shard->runtime->drain_ns;
    uint64_t   now = pro_loop_now(shard->loop);
    uint64_t   until = left > UINT64_MAX - now ? PRO_NEVER : now + left;
    pro_scope_drain(pro_loop_scope(shard->loop), until);
}

static void tell_to_stop(pro_runtime *runtime)
{
    for (unsigned i = 0; i < runtime->started; i++) {
        pri_shard *shard = &runtime->shards[i];
        if (shard->loop && !atomic_exchange(&shard->is_told, true))
            pro_post(&shard->stop, shard->loop, on_stop);
    }
}

void pro_runtime_stop(pro_runtime *runtime, uint64_t drain_ns)
{
    if (atomic_exchange(&runtime->is_stopping, true)) return;
    runtime->drain_ns = drain_ns;
    tell_to_stop(runtime);
    runtime->threads->gate_add(runtime->stopped); /* no shard frees anything before */
}

int pro_runtime_start(pro_runtime *runtime, pro_shard_fn *function, void *arg)
{
    if (runtime->started > 0 || runtime->set_up) return PRO_EBUSY;
    runtime->set_up = function;
    runtime->arg = arg;
    int error = PRO_OK;
    for (unsigned i = 0; i < runtime->count && !error; i++)
        error = start_shard(runtime, &runtime->shards[i]);
    if (error) pro_runtime_stop(runtime, 0);
    if (atomic_load(&runtime->is_stopping)) tell_to_stop(runtime); /* also those that came after */
    runtime->threads->gate_add(runtime->go);
    return error;
}

int pro_runtime_join(pro_runtime *runtime)
{
    for (unsigned i = 0; i < runtime->started; i++)
        runtime->threads->join(runtime->shards[i].thread);
    int error = first_error(runtime);
    free_runtime(runtime);
    return error;
}

/* ---- What users ask ------------------------------------------------------------------------- */

unsigned pro_runtime_shards(const pro_runtime *runtime) { return runtime ? runtime->count : 0; }

pro_loop *pro_runtime_loop(const pro_runtime *runtime, unsigned shard)
{
    return runtime && shard < runtime->count ? runtime->shards[shard].loop : NULL;
}

pro_runtime *pro_runtime_of(const pro_loop *loop) { return loop->runtime; }

unsigned pro_shard_of(const pro_loop *loop) { return loop->shard; }

size_t pro_runtime_explain(const pro_runtime *runtime, char *buf, size_t size)
{
    pri_why why = {.len = 0};
    char    text[256];
    pri_why_add(&why, "%u shards", runtime->count);
    for (unsigned i = 0; i < runtime->started && i < 16; i++) {
        const pri_shard *shard = &runtime->shards[i];
        char             place_text[32] = "not pinned";
        if (!shard->loop) continue;
        pro_loop_explain_line(shard->loop, text, sizeof text);
        if (shard->cpu_got >= 0)
            snprintf(place_text, sizeof place_text, "on CPU %d", shard->cpu_got);
        if (shard->cpu >= 0 && shard->cpu_got != shard->cpu)
            snprintf(place_text, sizeof place_text, "CPU %d was refused", shard->cpu);
        pri_why_add(&why, "shard %u: %s, %s", i, place_text, text);
    }
    if (runtime->started > 16) pri_why_add(&why, "and %u more", runtime->started - 16);
    runtime->threads->interrupts(text, sizeof text);
    if (text[0]) pri_why_add(&why, "interrupts go to the CPUs of mask %s by default", text);
    snprintf(buf, size, "%s", why.text);
    return why.len;
}
