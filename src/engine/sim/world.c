/* A world: made, stepped, ended.
 *
 * A step takes the first event from the queue, moves the time there, and does it.  A loop that has
 * something to do is itself an event: the world then runs its turns until one has nothing left, and
 * asks again at the time that the last turn would have waited for.  A program that runs its own loop
 * (its turn comes down to drive in engine.c) steps the world from there; a world has at most a few
 * such turns inside each other, one for each program that waits.
 *
 * Invariants:
 *   a loop with records, not manual, not running   ==>  a LOOP event for it is in the queue
 *   turn_at == the time of the LOOP event that counts; others found are stale */
#include <stdlib.h>
#include <string.h>

#include "engine/sim/lane.h"

static _Thread_local pro_sim *current;

/* Worlds that no program made follow each other: the next one goes on at the time of the last. */
static _Thread_local uint64_t  implicit_ns, implicit_digest;
static _Thread_local sim_disk *implicit_disk; /* with its files */

enum { TURNS_MAX = 16 }; /* of one loop in a row, before time moves */

void *pri_sim_realloc(void *ptr, size_t size)
{
    void *memory = pri_os_realloc(NULL, ptr, size);
    if (size && !memory) pri_abort("sim: no memory for the world");
    return memory;
}

/* ---- Making --------------------------------------------------------------------------------- */

pro_sim *pri_sim_current(void) { return current; }
bool     pri_sim_is_current(void) { return current != NULL; }

static void make(pro_sim **out, const pro_sim_options *options)
{
    pro_sim *w = pri_sim_realloc(NULL, sizeof *w);
    memset(w, 0, sizeof *w);
    const char *seed = getenv("PROACTOR_SEED");
    w->seed = options->seed ? options->seed : seed && *seed ? strtoull(seed, NULL, 0) : 1;
    w->now_ns = PRO_SEC;
    w->digest = w->seed;
    w->free_socket = PRI_SIM_NONE;
    w->inject_at = UINT64_MAX;
    w->tell = options->tell;
    w->tell_arg = options->tell_arg;
    w->tell_events = options->tell_events || getenv("PROACTOR_EVENTS");
    w->survive = options->survive;
    w->calls_free = PRI_SIM_NONE;
    w->tie_stream = pri_sim_stream(w, STREAM_TIE, 0, 0);
    w->weather_stream = pri_sim_stream(w, STREAM_WEATHER, 0, 0);
    w->links = pri_sim_realloc(NULL, PRI_SIM_LINKS * sizeof *w->links);
    memset(w->links, 0, PRI_SIM_LINKS * sizeof *w->links);
    pri_sim_make_plan(w, options);
    w->host = pro_sim_node_new(w, "host", NULL, NULL, NULL);
    current = w;
    *out = w;
    pri_sim_weather_begin(w);
}

int pro_sim_new(pro_sim **world, const pro_sim_options *options)
{
    static const pro_sim_options defaults = {.version = PRO_VERSION};
    *world = NULL;
    if (!options) options = &defaults;
    if (!pri_accept_version(options->version)) return PRO_EINVAL;
    if (current) return PRO_EBUSY;
    make(world, options);
    return PRO_OK;
}

pro_sim *pri_sim_current_or_implicit(void)
{
    if (current) return current;
    pro_sim_options options = {.version = PRO_VERSION, .survive = 0};
    pro_sim        *w;
    make(&w, &options);
    w->implicit = true;
    if (implicit_ns) w->now_ns = implicit_ns;
    if (implicit_digest) w->digest = implicit_digest;
    if (implicit_disk) pri_sim_disk_move(implicit_disk, w->host);
    implicit_disk = NULL;
    return w;
}

static void free_world(pro_sim *w)
{
    pri_sim_lanes_abandon(w, NULL);
    for (uint32_t i = 0; i < w->sockets; i++) {
        sim_socket *s = pri_sim_socket(w, i);
        if (s) pri_sim_socket_free(w, s);
    }
    pri_sim_packets_free(w);
    for (uint32_t i = 0; i < w->sockets / PRI_SIM_CHUNK; i++) pri_sim_realloc(w->chunks[i], 0);
    for (int i = 0; i < PRI_SIM_LINKS; i++) {
        for (sim_link *link = w->links[i], *next; link; link = next) {
            next = link->next;
            pri_sim_realloc(link, 0);
        }
    }
    for (pro_sim_node *node = w->nodes, *next; node; node = next) {
        next = node->next;
        if (node->disk) pri_sim_disk_free(node->disk);
        pri_sim_realloc(node, 0);
    }
    if (w->chunks) pri_sim_realloc(w->chunks, 0);
    if (w->queue) pri_sim_realloc(w->queue, 0);
    if (w->calls) pri_sim_realloc(w->calls, 0);
    pri_sim_realloc(w->links, 0);
    if (current == w) current = NULL;
    pri_sim_realloc(w, 0);
}

void pri_sim_release(pro_sim *w)
{
    if (!w->implicit || w->loops || w->lanes || w->gates || w->owned) return;
    implicit_ns = w->now_ns;
    implicit_digest = w->digest;
    pri_sim_say_goodbye(w);
    if (w->host->disk && !pri_sim_disk_is_bare(w->host->disk)) {
        implicit_disk = w->host->disk;
        w->host->disk = NULL;
    }
    free_world(w);
}

/* ---- Ending --------------------------------------------------------------------------------- */

int pro_sim_free(pro_sim *w)
{
    if (!w) return 0;
    w->here = NULL;
    if (w->lane) pri_abort("sim: a world is freed by one of its own threads");
    pri_sim_lanes_check(w);
    for (sim_loop *l = w->loops, *next; l; l = next) {
        next = l->next;
        if (l->loop->running && !l->by_lane) pri_abort("sim: a world is freed inside a handler");
        if (!l->loop->running && pro_loop_free(l->loop) == PRO_OK) continue;
        if (!l->node->service && w->failures == 0)
            pro_sim_fail(w, "at the end something is alive on node %s", l->node->name);
        pri_loop_abandon(l->loop);
    }
    for (const pro_sim_node *node = w->nodes; node && w->failures == 0; node = node->next)
        if (node->handles > 0 && !node->service)
            pro_sim_fail(w, "at the end %u handles are open on node %s, in no loop", node->handles,
                         node->name);
    pri_sim_end_marks(w);
    int failures = w->failures;
    free_world(w);
    return failures;
}

/* ---- Turns of loops ------------------------------------------------------------------------- */

void pri_sim_turn_soon(sim_loop *l, uint64_t at)
{
    if (at < l->world->now_ns) at = l->world->now_ns;
    if ((l->manual || l->loop->running) && !l->lane) return; /* its own program turns it */
    if (l->turn_at <= at) return;
    l->turn_at = at;
    pri_sim_push(l->world, at, EV_LOOP, l->id, 0, 0);
}

static sim_loop *loop_by_id(const pro_sim *w, uint32_t id)
{
    sim_loop *l = w->loops;
    while (l && l->id != id) l = l->next;
    return l;
}

void pri_sim_hear_wakes(pro_sim *w)
{
    if (!atomic_load_explicit(&w->woken, memory_order_relaxed)) return;
    atomic_store(&w->woken, false);
    for (sim_loop *l = w->loops; l; l = l->next)
        if (atomic_load(&l->woken))
            pri_sim_turn_soon(l, w->now_ns + (l->lane ? pri_sim_handover(w, &l->stream) : 0));
}

static void poll_loop(pro_sim *w, sim_loop *l)
{
    pro_sim_node *node = l->node;
    if (!node->up) return;
    if (w->now_ns < node->paused_until) {
        pri_sim_turn_soon(l, node->paused_until);
        return;
    }
    if (l->lane) {
        pri_sim_note(w, EV_LOOP, node, l->id, 0, l->count, NULL);
        pri_sim_lane_resume(l->lane);
        return;
    }
    if (l->loop->running || node->mains > 0) return;
    pri_sim_note(w, EV_LOOP, node, l->id, 0, l->count, NULL);
    pro_sim_node *before = w->here;
    w->here = node;
    int      turns = 0;
    int64_t  handlers;
    uint32_t id = l->id;
    do {
        l->polling = true;
        l->until = PRI_TURN_FOREVER;
        pro_loop *loop = l->loop;
        handlers = pro_loop_run_once(loop);
        l = loop_by_id(w, id);
        if (!l) break; /* freed by a handler of another loop that it ran */
        l->polling = false;
    } while ((handlers > 0 || l->until == PRI_TURN_POLL) && ++turns < TURNS_MAX);
    w->here = before;
    if (w->turning) pri_op_set_current_loop(w->turning->loop);
    if (!l) return;
    atomic_store(&l->loop->asleep, true); /* whoever posts must wake the world */
    if (turns == TURNS_MAX || l->count > 0)
        pri_sim_turn_soon(l, w->now_ns + 1000);
    else if (l->until != PRI_TURN_FOREVER)
        pri_sim_turn_soon(l, pri_sim_world_time(node, l->until));
}

/* On a lane, since it may wait: then it is a whole program, and turns its loops itself. */
static void main_of_node(void *arg)
{
    pro_sim_node *node = arg;
    node->main(node, node->arg);
    for (sim_loop *l = node->world->loops; l; l = l->next)
        if (l->node == node) pri_sim_turn_soon(l, node->world->now_ns);
}

static void run_main(pro_sim *w, pro_sim_node *node)
{
    if (!node->up || !node->main) return;
    node->is_due = false;
    pri_sim_note(w, EV_MAIN, node, node->id, 0, node->starts, NULL);
    node->starts++;
    pri_sim_lane_resume(pri_sim_lane_start(w, node, node->name, main_of_node, node, true));
}

static pro_sim_node *node_by_id(const pro_sim *w, uint32_t id)
{
    pro_sim_node *node = w->nodes;
    while (node && node->id != id) node = node->next;
    return node;
}

/* ---- Steps ---------------------------------------------------------------------------------- */

static void call(pro_sim *w, uint32_t i)
{
    sim_call fn = w->calls[i];
    w->calls[i].arg = (void *)(uintptr_t)w->calls_free;
    w->calls_free = i;
    pro_sim_node *before = w->here;
    w->here = w->entered;
    fn.fn(fn.arg);
    w->here = before;
    /* It may have started timers, or the like, of which no engine hears. */
    for (sim_loop *l = w->loops; l; l = l->next)
        if (!l->manual) pri_sim_turn_soon(l, w->now_ns);
}

static void on_socket(pro_sim *w, const sim_event *e)
{
    sim_socket *s = pri_sim_socket(w, e->target);
    if (!s || s->generation != e->generation) return;
    int direction = (int)(e->extra & 1);
    switch (e->kind) {
    case EV_ARRIVE: pri_sim_arrive(w, s); break;
    case EV_TRY:
        s->trying[direction] = 0;
        pri_sim_try(w, s, direction);
        break;
    case EV_CANCEL: /* unless that step is over, and the next one started */
        if (s->step[direction] && (s->steps[direction] & (UINT32_MAX >> 1)) == e->extra >> 1)
            pri_sim_canceled(w, s, direction);
        break;
    case EV_SYN:
        if (s->state == SOCK_CONNECTING && s->tries == e->extra) pri_sim_syn(w, s);
        break;
    case EV_ANSWER:
        if (s->state == SOCK_CONNECTING && s->tries == (e->extra & 255))
            pri_sim_answer(w, s, -(int)(e->extra >> 8));
        break;
    case EV_REFUSED: pri_sim_refused(w, s, e->extra); break;
    default: pri_sim_give_up(w, s); break;
    }
}

int pro_sim_is_inside(void)
{
    const pro_sim *w = current;
    if (!w || w->outside) return 0;
    if (w->implicit || w->lane || w->stepping || w->entered) return 1;
    const sim_loop *l = w->loops; /* or in a handler of a loop that the test runs itself */
    while (l && !l->loop->running) l = l->next;
    return l != NULL;
}

bool pri_sim_step_one(pro_sim *w)
{
    if (w->queue_len == 0) return false;
    sim_event e = pri_sim_pop(w);
    w->now_ns = e.at;
    w->stepping++;
    switch (e.kind) {
    case EV_LOOP: {
        sim_loop *l = loop_by_id(w, e.target);
        if (!l || l->turn_at != e.at) break;
        l->turn_at = PRI_TURN_FOREVER;
        poll_loop(w, l);
        break;
    }
    case EV_LANE: pri_sim_lane_event(w, &e); break;
    case EV_MAIN: run_main(w, node_by_id(w, e.target)); break;
    case EV_CALL: call(w, e.target); break;
    case EV_JOB: {
        sim_loop *l = loop_by_id(w, e.target);
        if (l) pri_sim_job_over(l, e.extra);
        break;
    }
    case EV_FILE: {
        sim_loop *l = loop_by_id(w, e.target);
        if (l) pri_sim_file_over(l, e.extra);
        break;
    }
    case EV_DATAGRAM: pri_sim_datagram_arrives(w, e.target); break;
    case EV_WEATHER: pri_sim_weather(w); break;
    case EV_CLEAR: pri_sim_clear(w, e.target, e.extra); break;
    case EV_RESTART: {
        pro_sim_node *node = node_by_id(w, e.target);
        if (!node->up) pro_sim_restart(node);
        break;
    }
    default: on_socket(w, &e); break;
    }
    pri_sim_hear_wakes(w);
    for (int i = 0; i < w->checks_count; i++) w->checks[i].fn(w->checks[i].arg);
    w->stepping--;
    return true;
}

/* ---- Running -------------------------------------------------------------------------------- */

uint64_t pro_sim_now(const pro_sim *w) { return w->now_ns; }

int pro_sim_step(pro_sim *w)
{
    pri_sim_hear_wakes(w);
    return pri_sim_step_one(w);
}

void pro_sim_run_for(pro_sim *w, uint64_t for_ns)
{
    uint64_t until = w->now_ns + for_ns;
    pri_sim_hear_wakes(w);
    while (w->queue_len > 0 && w->queue[0].at <= until) pri_sim_step_one(w);
    w->now_ns = until;
}

int pro_sim_run(pro_sim *w, int (*done)(void *arg), void *arg, uint64_t limit_ns)
{
    uint64_t until = w->now_ns + limit_ns;
    pri_sim_hear_wakes(w);
    for (;;) {
        if (done && done(arg)) return 1;
        if (!pri_sim_has_work(w)) {
            if (!done) return 1;
            pro_sim_fail(w, "deadlock: nothing is left to run, and it is not done");
            return 0;
        }
        if (w->queue[0].at > until) {
            pro_sim_fail(w, "not done after %llu ms", (unsigned long long)(limit_ns / PRO_MSEC));
            return 0;
        }
        pri_sim_step_one(w);
    }
}

static int is_idle(void *arg)
{
    const pro_sim *w = arg;
    for (const sim_loop *l = w->loops; l; l = l->next)
        if (!l->manual && !l->node->service && pri_loop_live_ops(l->loop) > 0) return 0;
    if (pri_sim_lane_left(w)) return 0;
    for (const pro_sim_node *node = w->nodes; node; node = node->next)
        if (node->is_due || (node->main && !node->up)) return 0;
    return 1;
}

int pro_sim_settle(pro_sim *w, uint64_t limit_ns)
{
    pro_sim_heal(w);
    return pro_sim_run(w, is_idle, w, limit_ns);
}

void pro_sim_after(pro_sim *w, uint64_t delay_ns, void (*fn)(void *arg), void *arg)
{
    if (w->calls_free == PRI_SIM_NONE) {
        uint32_t more = w->calls_capacity ? w->calls_capacity : 16;
        w->calls = pri_sim_realloc(w->calls, (w->calls_capacity + more) * sizeof *w->calls);
        for (uint32_t i = w->calls_capacity + more; i-- > w->calls_capacity;) {
            w->calls[i].arg = (void *)(uintptr_t)w->calls_free;
            w->calls_free = i;
        }
        w->calls_capacity += more;
    }
    uint32_t i = w->calls_free;
    w->calls_free = (uint32_t)(uintptr_t)w->calls[i].arg;
    w->calls[i] = (sim_call){fn, arg};
    pri_sim_push(w, w->now_ns + delay_ns, EV_CALL, i, 0, 0);
}

void pro_sim_check(pro_sim *w, void (*check)(void *arg), void *arg)
{
    if (w->checks_count == PRI_SIM_CHECKS) pri_abort("sim: more than %d checks", PRI_SIM_CHECKS);
    w->checks[w->checks_count].fn = check;
    w->checks[w->checks_count++].arg = arg;
}
