/* Shards: a loop per thread.
 *
 * Start: the threads are started one after the other, each makes its loop, sets it up and says so;
 * when all are there they run.  Each loop is held until stop.
 *
 * End, in three steps that all shards take together, so that none speaks to one that is gone:
 *   1. run until stop, and until the root scope has drained;
 *   2. run on, answering the others, until the last shard has come so far;
 *   3. poll in rounds until a round in which nobody had anything to run.
 * Then no message is under way, and every thread frees its own loop, once the owner of the runtime has
 * come to join: until then the loops may be looked at.
 *
 * What a shard writes lies on cache lines of its own: its loop, and its pri_shard, which others only
 * read once it runs.  Messages go through the loops' post stacks (src/core/op.c). */
#include <proactor/runtime.h>

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/loop.h"
#include "os/thread.h"

enum { SHARDS_MAX = 1024, CPUS_MAX = 1024, ERRORS_MAX = 1000 };

static const uint64_t RUNNING = UINT64_MAX - 1;

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
    pri_gate *stopped; /* 1: pro_runtime_stop touches the runtime no more; 2: join waits */
    atomic_uint_fast64_t drain_ns;     /* RUNNING until stop */
    atomic_uint          set_up_count; /* shards whose loops stop may use */
    atomic_uint          idle;         /* shards that took step 1 */
    atomic_uint          activity;     /* rounds of a shard in which it ran something */
    pri_shard           *shards;
    void                *shards_memory;
};

void pro_runtime_options_init_for(uint32_t version, pro_runtime_options *options)
{
    if (pri_is_our_version(version)) {
        *options = (pro_runtime_options){.pin = PRO_PIN_CORES};
        pro_loop_options_init_for(version, &options->loop);
    }
    options->version = version;
}

void(pro_runtime_options_init)(pro_runtime_options *options)
{
    pro_runtime_options_init_for(PRO_VERSION, options);
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

int pro_runtime_new_for(uint32_t version, pro_runtime **out, const pro_runtime_options *given)
{
    pro_runtime_options options = {.version = PRO_VERSION, .pin = PRO_PIN_CORES};
    *out = NULL;
    if (!pri_accept_version(version)) return PRO_EINVAL;
    if (given && !pri_accept_version(given->version)) return PRO_EINVAL;
    if (given) options = *given;
    if ((unsigned)options.pin > PRO_PIN_LIST) return PRO_EINVAL;
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
    runtime->drain_ns = RUNNING;
    bool has_gates = runtime->ready && runtime->go && runtime->rounds && runtime->stopped;
    int  error = has_gates ? place(runtime) : PRO_ENOMEM;
    if (error) {
        free_runtime(runtime);
        return error;
    }
    *out = runtime;
    return PRO_OK;
}

int(pro_runtime_new)(pro_runtime **runtime, const pro_runtime_options *options)
{
    return pro_runtime_new_for(PRO_VERSION, runtime, options);
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
    runtime->threads->gate_wait(runtime->stopped, 2);
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
    atomic_store(&runtime->set_up_count, runtime->started); /* stop may use its loop */
    return shard->error;
}

static void on_stop(pro_op *op)
{
    pri_shard *shard = pro_container_of(op, pri_shard, stop);
    uint64_t   left = atomic_load(&shard->runtime->drain_ns);
    uint64_t   now = pro_loop_now(shard->loop);
    uint64_t   until = left > UINT64_MAX - now ? PRO_NEVER : now + left;
    pro_scope_drain(pro_loop_scope(shard->loop), until);
}

static void tell_to_stop(pro_runtime *runtime)
{
    unsigned count = atomic_load(&runtime->set_up_count);
    for (unsigned i = 0; i < count; i++) {
        pri_shard *shard = &runtime->shards[i];
        if (shard->loop && !atomic_exchange(&shard->is_told, true))
            pro_post(&shard->stop, shard->loop, on_stop);
    }
}

void pro_runtime_stop(pro_runtime *runtime, uint64_t drain_ns)
{
    uint_fast64_t running = RUNNING;
    if (drain_ns == RUNNING) drain_ns++;
    if (!atomic_compare_exchange_strong(&runtime->drain_ns, &running, drain_ns)) return;
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
    if (atomic_load(&runtime->drain_ns) != RUNNING) tell_to_stop(runtime); /* who came later, too */
    runtime->threads->gate_add(runtime->go);
    return error;
}

int pro_runtime_join(pro_runtime *runtime)
{
    runtime->threads->gate_add(runtime->stopped); /* until now its owner may look at the loops */
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

typedef struct text {
    char  *buf;
    size_t size, len; /* len: of all of it, also of what does not fit */
} text;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
add(text *t, const char *format, ...)
{
    size_t  room = t->len < t->size ? t->size - t->len : 0;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(room ? t->buf + t->len : NULL, room, format, args);
    va_end(args);
    if (n > 0) t->len += (size_t)n;
}

static void add_shard(text *t, const pri_shard *shard)
{
    char line[256];
    add(t, "shard %u: ", shard->number);
    if (shard->cpu >= 0 && shard->cpu_got != shard->cpu)
        add(t, "CPU %d was refused", shard->cpu);
    else if (shard->cpu_got >= 0)
        add(t, "on CPU %d", shard->cpu_got);
    else
        add(t, "not pinned");
    pro_loop_explain_line(shard->loop, line, sizeof line);
    add(t, ", engine %s (%s)\n", pro_loop_engine(shard->loop), line);
}

size_t pro_runtime_explain(const pro_runtime *runtime, char *buf, size_t size)
{
    static const char *const pins[] = {"pinned nowhere", "pinned to the cores", "pinned by a list"};
    text                     t = {buf, size, 0};
    char                     interrupts[4000];
    if (size > 0) buf[0] = '\0';
    add(&t, "%u shard%s, %s\n", runtime->count, runtime->count == 1 ? "" : "s",
        pins[runtime->options.pin]);
    for (unsigned i = 0; i < runtime->started; i++)
        if (runtime->shards[i].loop) add_shard(&t, &runtime->shards[i]);
    runtime->threads->interrupts(interrupts, sizeof interrupts);
    add(&t, "%s", interrupts);
    return t.len;
}
