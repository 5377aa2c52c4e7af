/* The one file that knows every engine: completes the options, picks an engine, falls back.
 * Nothing includes it, and no engine knows another. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/loop.h"
#include "engine/engines.h"
#include "engine/faults/faults.h"
#include "engine/sim/sim.h"
#include "os/thread.h"

/* In the order of preference for AUTO, which never takes the last one: a simulated world is asked for
 * by name. */
static const pri_engine *const engines[] = {PRI_ENGINES, &pri_engine_sim};
enum { ENGINES = sizeof engines / sizeof engines[0], REAL = ENGINES - 1 };

static const uint32_t queue_len_default = 256, queue_len_max = 32768, batch_max_max = 65536,
                      pool_threads_max_max = 1024;
static const size_t   zerocopy_min_default = 65536;   /* docs/guide/copying.md */
static const uint32_t undelivered_max_default = 1024; /* docs/guide/buffers.md */

void pro_loop_options_init_for(uint32_t version, pro_loop_options *options)
{
    if (pri_is_our_version(version)) *options = (pro_loop_options){.queue_len = 0};
    options->version = version;
}

void(pro_loop_options_init)(pro_loop_options *options)
{
    pro_loop_options_init_for(PRO_VERSION, options);
}

/* Does every word of the mask name a feature of some engine? */
static bool is_known_mask(const char *mask)
{
    for (const char *word = mask; word && *word;) {
        bool known = false;
        for (int i = 0; i < ENGINES; i++) known |= pri_masked(engines[i]->features, word);
        if (!known) return false;
        word = strchr(word, ',');
        if (word) word++;
    }
    return true;
}

static bool engine_by_name(const char *name, pro_engine *id)
{
    if (strcmp(name, "auto") == 0) {
        *id = PRO_ENGINE_AUTO;
        return true;
    }
    for (int i = 0; i < ENGINES; i++) {
        if (strcmp(engines[i]->name, name) != 0) continue;
        *id = engines[i]->id;
        return true;
    }
    return false;
}

/* The engine that is asked for: by the options; where they say AUTO by the environment, and inside of
 * a simulated world by that.  false: no such engine. */
static bool wanted_engine(const pro_loop_options *options, pro_engine *id, const char **why)
{
    const char *name = getenv("PROACTOR_ENGINE");
    *id = options->engine;
    *why = "the program asked for an engine by name";
    if (options->engine != PRO_ENGINE_AUTO) return true;
    *why = NULL;
    if (name && *name) {
        *why = "PROACTOR_ENGINE";
        return engine_by_name(name, id);
    }
    if (!pri_sim_is_current()) return true;
    *why = "this thread has a simulated world";
    *id = PRO_ENGINE_SIM;
    return true;
}

const pri_threads *pri_threads_of(const pro_loop_options *options)
{
    pro_engine  id;
    const char *why;
    if (!wanted_engine(options, &id, &why)) return &pri_os_threads; /* and no loop is made */
    for (int i = 0; i < ENGINES; i++)
        if (engines[i]->id == id && engines[i]->threads) return engines[i]->threads;
    return &pri_os_threads;
}

/* Probe one engine and make a loop on it; with faults, if there are to be any, under the loop. */
static int try_engine(pro_loop **loop, const pri_engine *engine, const pri_engine_options *options,
                      const char *faults, pri_why *why)
{
    int error = engine->probe(options, why);
    if (error) return pri_os_error(error);
    if (options->fixed_slots && !(engine->caps & PRI_CAPS_SLOTS))
        pri_why_add(why, "%s: no fixed_slots: every socket has a descriptor", engine->name);
    bool is_simulated = engine->clock_ns != NULL; /* faults are its own affair */
    if (!faults || is_simulated) return pri_loop_create(loop, engine, options, why);
    const pri_engine *layer = pri_faults_over(engine, faults, options->env, why);
    if (!layer) return PRO_ENOMEM;
    error = pri_loop_create(loop, layer, options, why);
    if (error) pri_faults_free(layer);
    return error;
}

static int choose(pro_loop **loop, pro_engine wanted, const pri_engine_options *options,
                  const char *faults, pri_why *why)
{
    if (wanted != PRO_ENGINE_AUTO) {
        for (int i = 0; i < ENGINES; i++)
            if (engines[i]->id == wanted) return try_engine(loop, engines[i], options, faults, why);
        return PRO_ENOTSUP;
    }
    /* Each refusal goes into the text; the first, of the engine preferred, also into the line. */
    char preferred[sizeof why->line] = "";
    int  error = PRO_ENOTSUP;
    for (int i = 0; i < REAL; i++) {
        error = try_engine(loop, engines[i], options, faults, why);
        if (!error) break;
        pri_why_add(why, "%s refused: %s", engines[i]->name, pro_error_text(error));
        if (!preferred[0]) memcpy(preferred, why->line, sizeof preferred);
    }
    if (error || !preferred[0]) return error;
    pri_why *mine = &(*loop)->why;
    size_t   len = strlen(mine->line);
    snprintf(mine->line + len, sizeof mine->line - len, "; %s", preferred);
    return PRO_OK;
}

int pro_loop_new_for(uint32_t version, pro_loop **loop, const pro_loop_options *given)
{
    pro_loop_options options = {.version = PRO_VERSION};
    *loop = NULL;
    if (!pri_accept_version(version)) return PRO_EINVAL;
    if (given && !pri_accept_version(given->version)) return PRO_EINVAL;
    if (given) options = *given;

    pri_why     why = {.len = 0};
    const char *reason;
    if (!wanted_engine(&options, &options.engine, &reason)) return PRO_EINVAL;
    if (reason && strcmp(reason, "PROACTOR_ENGINE") == 0)
        pri_why_add(&why, "PROACTOR_ENGINE=%s", getenv(reason));
    else if (reason)
        pri_why_add(&why, "%s", reason);
    const char *mask = options.mask ? options.mask : getenv("PROACTOR_MASK");
    if (!is_known_mask(mask)) return PRO_EINVAL;
    if (mask && *mask) pri_why_add(&why, "masked: %s", mask);
    const char *restricted = getenv("PROACTOR_RESTRICTED");
    if (restricted && *restricted && strcmp(restricted, "0") != 0) options.restricted = 1;
    const char *faults = options.faults ? options.faults : getenv("PROACTOR_FAULTS");
    if (faults && !*faults) faults = NULL;
    if (faults && !pri_faults_is_plan(faults)) return PRO_EINVAL;
    if (options.queue_len > queue_len_max || options.batch_max > batch_max_max ||
        options.pool_threads_max > pool_threads_max_max)
        return PRO_EINVAL;

    pro_env env = options.env;
    if (!env.clock_ns) env.clock_ns = pri_os_clock_ns;
    if (!env.random) env.random = pri_os_random;
    if (!env.realloc) env.realloc = pri_os_realloc;
    pri_engine_options mine = {
        .queue_len = options.queue_len ? options.queue_len : queue_len_default,
        .batch_max = options.batch_max ? options.batch_max : 32,
        .mask = mask,
        .precise = options.precise_timers != 0,
        .zerocopy_min = options.zerocopy_min ? options.zerocopy_min : zerocopy_min_default,
        .restricted = options.restricted != 0,
        .pool_threads_max = options.pool_threads_max ? options.pool_threads_max : 4,
        .pool_queue_max = options.pool_queue_max ? options.pool_queue_max : 256,
        .fixed_slots = options.fixed_slots,
        .undelivered_max =
            options.undelivered_max ? options.undelivered_max : undelivered_max_default,
        .env = &env,
    };
    return choose(loop, options.engine, &mine, faults, &why);
}

int(pro_loop_new)(pro_loop **loop, const pro_loop_options *options)
{
    return pro_loop_new_for(PRO_VERSION, loop, options);
}

int pro_error_from_system(int number) { return pri_os_error(number); }
