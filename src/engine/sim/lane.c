/* Lanes: threads of the program as stacks of the one real thread.
 *
 * A lane is what runs a node's main function, and what a runtime gets for each shard's thread.  It runs
 * until it waits: in a turn of a loop, at a gate, for a while.  Then it leaves its stack to whoever
 * stepped the world, and goes on when an event of the world's says so:
 *
 *     resume --switch--> the lane runs ... waits --switch--> back in resume     (a lane)
 *     waits: step the world from here until it is over                          (not on a lane)
 *
 * So one lane runs at a time, from wait to wait, and the seed decides which one is next: a wake-up of
 * another lane's loop, and an opened gate, take a while that it chooses.
 *
 *               start             resumed            waits
 *     (none) ------------> READY ---------> RUNNING --------> WAITING
 *                            ^                 |                 | LOOP or LANE event
 *                            +-----------------|-----------------+
 *                                              +---> ENDED ---> (none)      joined, or it was a main
 *
 * What is of the thread is shared by its lanes: thread-local variables of the program are one for all
 * its shards here.  Our own (the current loop and coroutine) travel with the lane.
 *
 * Invariants:
 *   w->lane == the lane whose stack we are on, NULL on the thread's own
 *   loop->lane == a lane that WAITs in a turn of that loop, and in no other way
 *   lane->gate == a gate at which it WAITs */
#include "engine/sim/lane.h"

#include <stdio.h>
#include <string.h>

#include "os/stack.h"

enum { STACK_SIZE = 1 << 20 };

/* ---- Stacks --------------------------------------------------------------------------------- */

/* At the low end of a free one. */
struct sim_stack {
    sim_stack *next;
    unsigned   valgrind_id;
};

static const pro_env no_faults;

static size_t guard_size(void) { return 4 * pri_os_page_size(); }

/* The lowest usable byte. */
static char *take_stack(pro_sim *w, unsigned *valgrind_id)
{
    sim_stack *s = w->free_stacks;
    if (s) {
        w->free_stacks = s->next;
        *valgrind_id = s->valgrind_id;
        pri_sanitize_stack_again((char *)s, STACK_SIZE);
        return (char *)s;
    }
    void *base;
    if (pri_os_stacks_map(&no_faults, guard_size() + STACK_SIZE, &base) != 0)
        pri_abort("sim: no memory for a stack");
    if (pri_os_stack_guard(&no_faults, base, guard_size()) != 0)
        pri_abort("sim: no guard for a stack");
    char *low = (char *)base + guard_size();
    *valgrind_id = pri_sanitize_stack_made(low, STACK_SIZE);
    return low;
}

/* Its frames may be those of functions that never returned. */
static void give_stack(pro_sim *w, sim_lane *lane)
{
    pri_sanitize_stack_again(lane->low, STACK_SIZE);
    sim_stack *s = (sim_stack *)(void *)lane->low;
    *s = (sim_stack){w->free_stacks, lane->valgrind_id};
    w->free_stacks = s;
    lane->low = NULL;
}

static void free_stacks(pro_sim *w)
{
    for (sim_stack *s = w->free_stacks, *next; s; s = next) {
        next = s->next;
        pri_sanitize_stack_over((char *)s, STACK_SIZE, s->valgrind_id);
        pri_os_stacks_unmap((char *)s - guard_size(), guard_size() + STACK_SIZE);
    }
    w->free_stacks = NULL;
}

/* ---- Switching ------------------------------------------------------------------------------ */

static void life(void *arg)
{
    sim_lane *lane = arg;
    pri_fiber_arrive(&lane->fiber, lane->back_fiber);
    lane->run(lane->arg);
    lane->state = LANE_ENDED;
    pri_fiber_end(&lane->fiber, lane->back_fiber);
    pri_context_switch(&lane->context, lane->back);
    pri_abort("sim: a lane that has ended was resumed: %s", lane->name);
}

sim_lane *pri_sim_lane_start(pro_sim *w, pro_sim_node *node, const char *name,
                             void (*run)(void *arg), void *arg, bool is_main)
{
    sim_lane *lane = pri_sim_realloc(NULL, sizeof *lane);
    memset(lane, 0, sizeof *lane);
    lane->world = w;
    lane->node = node;
    lane->id = w->lanes_count++;
    snprintf(lane->name, sizeof lane->name, "%s", name);
    lane->run = run;
    lane->arg = arg;
    lane->is_main = is_main;
    lane->stream = pri_sim_stream(w, STREAM_LANE, lane->id, 0);
    lane->low = take_stack(w, &lane->valgrind_id);
    pri_fiber_init(&lane->fiber, lane->low, STACK_SIZE);
    pri_context_make(&lane->context, lane->low, STACK_SIZE, life, lane);
    if (w->last_lane)
        w->last_lane->next = lane;
    else
        w->lanes = lane;
    w->last_lane = lane;
    node->mains += is_main;
    return lane;
}

static void free_lane(sim_lane *lane)
{
    pro_sim   *w = lane->world;
    sim_lane **at = &w->lanes, *last = NULL;
    while (*at != lane) {
        last = *at;
        at = &(*at)->next;
    }
    *at = lane->next;
    if (w->last_lane == lane) w->last_lane = last;
    lane->node->mains -= lane->is_main;
    if (lane->low) give_stack(w, lane);
    pri_sim_realloc(lane, 0);
}

void pri_sim_lane_resume(sim_lane *lane)
{
    pro_sim      *w = lane->world;
    sim_lane     *outer = w->lane;
    pro_sim_node *here = w->here;
    bool          in_main = w->in_main;
    pri_context   back;
    pri_fiber     back_fiber = {0};
    w->lane = lane;
    w->here = lane->node;
    w->in_main = lane->is_main;
    lane->state = LANE_RUNNING;
    lane->back = &back;
    lane->back_fiber = &back_fiber;
    pro_loop *loop = pri_op_set_current_loop(lane->current_loop);
    pri_fiber_here(&back_fiber);
    pri_fiber_leave(&back_fiber, &lane->fiber);
    pri_context_switch(&back, &lane->context);
    pri_fiber_arrive(&back_fiber, NULL);
    lane->current_loop = pri_op_set_current_loop(loop);
    w->lane = outer;
    w->here = here;
    w->in_main = in_main;
    if (lane->state != LANE_ENDED) return;
    pri_sim_note(w, EV_LANE, lane->node, lane->id, 0, LANE_ENDED, NULL);
    give_stack(w, lane);
    pri_sim_gate_open(&lane->over);
    if (lane->is_main) free_lane(lane);
}

void pri_sim_lane_wait(sim_lane *lane)
{
    lane->state = LANE_WAITING;
    pri_fiber_leave(&lane->fiber, lane->back_fiber);
    pri_context_switch(&lane->context, lane->back);
    pri_fiber_arrive(&lane->fiber, lane->back_fiber);
}

void pri_sim_lane_soon(sim_lane *lane, uint64_t delay_ns)
{
    lane->state = LANE_READY;
    pri_sim_push(lane->world, lane->world->now_ns + delay_ns, EV_LANE, lane->id, 0, ++lane->events);
}

uint64_t pri_sim_handover(pro_sim *w, uint64_t *stream)
{
    return w->latency_ns ? pri_sim_choice(w, stream, w->latency_ns) : 0;
}

static sim_lane *lane_by_id(const pro_sim *w, uint32_t id)
{
    sim_lane *lane = w->lanes;
    while (lane && lane->id != id) lane = lane->next;
    return lane;
}

void pri_sim_lane_event(pro_sim *w, const sim_event *e)
{
    sim_lane *lane = lane_by_id(w, e->target);
    if (!lane || lane->state != LANE_READY || lane->events != e->extra) return;
    if (w->now_ns < lane->node->paused_until) {
        pri_sim_lane_soon(lane, lane->node->paused_until - w->now_ns);
        return;
    }
    pri_sim_note(w, EV_LANE, lane->node, lane->id, 0, lane->events, NULL);
    pri_sim_lane_resume(lane);
}

/* ---- Gates ---------------------------------------------------------------------------------- */

void pri_sim_gate_open(sim_gate *gate)
{
    gate->count++;
    for (sim_lane *lane = gate->waiting, **at = &gate->waiting; lane; lane = *at) {
        if (gate->count < lane->at_least) {
            at = &lane->next_waiting;
            continue;
        }
        *at = lane->next_waiting;
        lane->gate = NULL;
        pri_sim_lane_soon(lane, pri_sim_handover(lane->world, &lane->stream));
    }
}

static void wait_at(pro_sim *w, sim_gate *gate, uint64_t at_least)
{
    sim_lane *lane = w->lane;
    while (gate->count < at_least && lane) {
        sim_lane **last = &gate->waiting;
        while (*last) last = &(*last)->next_waiting;
        *last = lane;
        lane->next_waiting = NULL;
        lane->gate = gate;
        lane->at_least = at_least;
        pri_sim_lane_wait(lane);
    }
    pro_loop *loop = pri_op_set_current_loop(NULL);
    while (gate->count < at_least) {
        pri_sim_hear_wakes(w);
        if (pri_sim_has_work(w)) {
            pri_sim_step_one(w);
            continue;
        }
        pro_sim_fail(w, "deadlock: nothing is left to run, and the program waits for its threads");
        pri_abort("sim: the program waits for threads that never end");
    }
    pri_op_set_current_loop(loop);
}

static void leave_gate(sim_lane *lane)
{
    if (!lane->gate) return;
    sim_lane **at = &lane->gate->waiting;
    while (*at != lane) at = &(*at)->next_waiting;
    *at = lane->next_waiting;
    lane->gate = NULL;
}

/* ---- The table of threads ------------------------------------------------------------------- */

struct sim_owned {
    sim_owned    *next;
    pro_sim_node *node;
    void         *thing;
    void (*abandon)(void *thing);
};

static sim_lane *lane_of(pri_thread *thread) { return (sim_lane *)(void *)thread; }
static sim_gate *gate_of(pri_gate *gate) { return (sim_gate *)(void *)gate; }

static int start(pri_thread **thread, const char *name, int cpu, void (*run)(void *arg), void *arg)
{
    pro_sim  *w = pri_sim_current_or_implicit();
    sim_lane *lane = pri_sim_lane_start(w, pro_sim_here(w), name, run, arg, false);
    lane->cpu = cpu < PRI_SIM_CPUS ? cpu : -1;
    pri_sim_lane_soon(lane, pri_sim_handover(w, &lane->stream));
    *thread = (pri_thread *)(void *)lane;
    return 0;
}

static void join(pri_thread *thread)
{
    sim_lane *lane = lane_of(thread);
    wait_at(lane->world, &lane->over, 1);
    pro_sim *w = lane->world;
    free_lane(lane);
    pri_sim_release(w);
}

static void pause_a_while(void)
{
    pro_sim *w = pri_sim_current_or_implicit();
    if (w->lane) {
        pri_sim_lane_soon(w->lane, PRO_MSEC);
        pri_sim_lane_wait(w->lane);
    } else {
        pro_sim_run_for(w, PRO_MSEC);
    }
}

static pri_gate *gate_new(void)
{
    sim_gate *gate = pri_sim_realloc(NULL, sizeof *gate);
    *gate = (sim_gate){.world = pri_sim_current_or_implicit()};
    gate->world->gates++;
    return (pri_gate *)(void *)gate;
}

static void gate_free(pri_gate *gate)
{
    pro_sim *w = gate_of(gate)->world;
    pri_sim_realloc(gate_of(gate), 0);
    w->gates--;
    pri_sim_release(w);
}

static void gate_add(pri_gate *gate) { pri_sim_gate_open(gate_of(gate)); }

static void gate_wait(pri_gate *gate, uint64_t at_least)
{
    wait_at(gate_of(gate)->world, gate_of(gate), at_least);
}

static void own(void *thing, void (*abandon)(void *thing))
{
    pro_sim   *w = pri_sim_current_or_implicit();
    sim_owned *o = pri_sim_realloc(NULL, sizeof *o);
    *o = (sim_owned){w->owned, pro_sim_here(w), thing, abandon};
    w->owned = o;
}

static void disown(void *thing)
{
    pro_sim *w = pri_sim_current_or_implicit();
    for (sim_owned **at = &w->owned; *at; at = &(*at)->next) {
        sim_owned *o = *at;
        if (o->thing != thing) continue;
        *at = o->next;
        pri_sim_realloc(o, 0);
        break;
    }
    pri_sim_release(w);
}

static int cpus(int *found, int max)
{
    for (int i = 0; i < PRI_SIM_CPUS && i < max; i++) found[i] = i;
    return PRI_SIM_CPUS;
}

static int cpu_of_thread(void)
{
    const pro_sim *w = pri_sim_current();
    return w && w->lane ? w->lane->cpu : -1;
}

static void interrupts(char *buf, size_t size)
{
    (void)size;
    buf[0] = '\0';
}

const pri_threads pri_sim_threads = {
    .start = start,
    .join = join,
    .pause = pause_a_while,
    .gate_new = gate_new,
    .gate_free = gate_free,
    .gate_add = gate_add,
    .gate_wait = gate_wait,
    .own = own,
    .disown = disown,
    .cpus = cpus,
    .cpu = cpu_of_thread,
    .interrupts = interrupts,
};

/* ---- Ends ----------------------------------------------------------------------------------- */

bool pri_sim_runs_on(const pro_sim_node *node)
{
    const sim_lane *lane = node->world->lanes;
    while (lane && !(lane->node == node && lane->state == LANE_RUNNING)) lane = lane->next;
    return lane != NULL;
}

void pri_sim_lanes_abandon(pro_sim *w, const pro_sim_node *node)
{
    for (sim_lane *lane = w->lanes; lane; lane = lane->next)
        if (!node || lane->node == node) leave_gate(lane);
    for (sim_lane *lane = w->lanes, *next; lane; lane = next) {
        next = lane->next;
        if (!node || lane->node == node) free_lane(lane);
    }
    for (sim_owned **at = &w->owned; *at;) {
        sim_owned *o = *at;
        if (node && o->node != node) {
            at = &o->next;
            continue;
        }
        o->abandon(o->thing); /* which disowns it */
        at = &w->owned;
    }
    if (!node) free_stacks(w);
}

/* The first that is not over, of a node that is no service. */
const sim_lane *pri_sim_lane_left(const pro_sim *w)
{
    const sim_lane *lane = w->lanes;
    while (lane && (lane->state == LANE_ENDED || lane->node->service)) lane = lane->next;
    return lane;
}

void pri_sim_lanes_check(pro_sim *w)
{
    const sim_lane *left = pri_sim_lane_left(w);
    if (left && w->failures == 0)
        pro_sim_fail(w, "at the end a thread of node %s is not over: %s", left->node->name,
                     left->name);
}

void pri_sim_lanes_hurry(pro_sim *w, const pro_sim_node *node)
{
    for (sim_lane *lane = w->lanes; lane; lane = lane->next)
        if (lane->node == node && lane->state == LANE_READY) pri_sim_lane_soon(lane, 0);
}

void pri_sim_lanes_tell(pro_sim *w)
{
    for (const sim_lane *lane = w->lanes; lane; lane = lane->next)
        if (lane->state == LANE_WAITING)
            pri_sim_tell(w, "  waiting on node %s: %s%s", lane->node->name, lane->name,
                         lane->gate ? ", for other threads" : "");
}
