/* Where sentences run.
 *
 * On a thread of its own each, one after the other; or on the shards of a runtime: there a sentence is a
 * handler, on the shard's thread, with loops of its own inside the shard's (a handler may run another
 * loop), while the other shards run other sentences.  It makes the same assertions, so what one loop of a
 * process could spoil for another shows: thread-local state, static state, signals, what the kernel
 * shares between rings.  A sentence that fails parks its thread, and so takes its shard with it. */
#include "lib/run.h"

#include "lib/form.h"

#include <stdlib.h>

#define SHARDS_MAX 16

struct t_place {
    unsigned     shards; /* 0: threads; then there is one place */
    pro_runtime *runtime;
    struct seat {
        pro_op       op;
        t_run_state *run;
        t_os_thread *thread;
    } seats[SHARDS_MAX];
};

static int set_up(pro_loop *loop, unsigned shard, void *arg)
{
    (void)loop, (void)shard, (void)arg;
    return PRO_OK;
}

t_place *t_places_new(unsigned shards, pro_engine engine, const char *mask, int *error)
{
    t_place *places = calloc(1, sizeof *places);
    if (places == NULL || shards > SHARDS_MAX) abort();
    places->shards = shards;
    *error = PRO_OK;
    if (shards == 0) return places;
    pro_runtime_options o;
    pro_runtime_options_init(&o);
    o.shards = shards;
    o.loop.engine = engine;
    o.loop.mask = mask;
    o.loop.zerocopy_min = t_form_zerocopy_min();
    *error = pro_runtime_new(&places->runtime, &o);
    if (*error == PRO_OK) {
        *error = pro_runtime_start(places->runtime, set_up, NULL);
        if (*error == PRO_OK) return places;
        pro_runtime_join(places->runtime);
    }
    free(places);
    return NULL;
}

static void on_shard(pro_op *op)
{
    struct seat *seat = pro_container_of(op, struct seat, op);
    t_run_state *run = seat->run;
    t_current = run;
    t_run_sentence(run);
    t_current = NULL;
}

static void on_thread(void *arg)
{
    t_current = arg;
    t_run_sentence(arg);
}

void t_place_start(t_place *places, unsigned i, t_run_state *run)
{
    struct seat *seat = &places->seats[i];
    seat->run = run;
    if (places->shards == 0)
        seat->thread = t_os_thread_start(on_thread, run);
    else
        pro_post(&seat->op, pro_runtime_loop(places->runtime, i), on_shard);
}

void t_place_end(t_place *places, unsigned i)
{
    if (places->shards == 0) t_os_thread_join(places->seats[i].thread);
}

int t_places_free(t_place *places)
{
    int error = PRO_OK;
    if (places->runtime != NULL) {
        pro_runtime_stop(places->runtime, 0);
        error = pro_runtime_join(places->runtime);
    }
    free(places);
    return error;
}
