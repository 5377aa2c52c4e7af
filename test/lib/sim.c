/* lib/sim.h: a world from its beginning to its end, and the sentence's threads in it. */
#include "lib/sim.h"

#include <stdio.h>
#include <stdlib.h>

t_world *t_world_here(void) { return t_current ? t_current->world : NULL; }

pro_loop *t_world_loop(void)
{
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_SIM};
    pro_loop        *loop;
    if (pro_loop_new(&loop, &options) != PRO_OK) abort();
    return loop;
}

/* ---- Waiting ---------------------------------------------------------------------------------- */

static void on_slept(pro_op *op) { *(bool *)op->user = true; }

void t_world_sleep(uint64_t ns)
{
    bool      is_over = false;
    pro_op    op = {.user = &is_over};
    pro_loop *loop = t_world_loop();
    pro_sleep(&op, loop, ns, on_slept);
    while (!is_over) pro_loop_run_once(loop);
    pro_loop_free(loop);
}

_Noreturn void t_world_park(void)
{
    pro_loop *loop = t_world_loop();
    pro_loop_hold(loop);
    for (;;) pro_loop_run_once(loop);
}

bool t_world_was_struck(void)
{
    t_world      *w = t_world_here();
    pro_sim_stats stats;
    if (!w) return false;
    pro_sim_stats_get(w->sim, &stats);
    return stats.struck != 0;
}

/* ---- A world ---------------------------------------------------------------------------------- */

static void tell(void *arg, const char *line)
{
    t_run_state *run = arg;
    size_t       len = strlen(run->notes);
    if (getenv("PROACTOR_EVENTS")) /* all of them, as they come */
        fprintf(stderr, "%s\n", line);
    else
        snprintf(run->notes + len, sizeof run->notes - len, "  %.160s\n", line);
}

static void machine_main(pro_sim_node *node, void *arg)
{
    t_world *w = arg;
    (void)node;
    w->body(w->arg);
}

/* Until the sentence has returned, or failed, or nothing is left that could happen. */
static void go_on(const t_run_state *run, pro_sim *sim)
{
    while (!run->is_over && atomic_load(&run->outcome) == T_RUNNING && pro_sim_step(sim)) {}
}

static pro_loop_stats stats_of(const pro_loop *loop)
{
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    return stats;
}

static void print_alive(void *arg, const char *line)
{
    (void)arg;
    t_note("  alive: %s\n", line);
}

/* Does somebody turn it?  Then its time stands still between two turns. */
static bool is_running(const pro_loop *loop)
{
    for (int i = 0; i < 4; i++) {
        if (pro_loop_now(loop) != pro_loop_now(t_world_here()->clock)) return true;
        t_world_sleep(7);
    }
    return false;
}

static void close_all(const t_run_state *run)
{
    for (int i = 0; i < T_LOOPS_MAX; i++)
        if (run->loops[i]) pro_scope_close(pro_loop_scope(run->loops[i]));
}

/* On a thread of the world, which is parked if a handler still checks something. */
static void end_main(pro_sim_node *node, void *arg)
{
    t_run_state *run = arg;
    (void)node;
    for (int i = 0; i < T_LOOPS_MAX; i++) {
        pro_loop *loop;
        uint64_t  completed = 0;
        for (int turns = 0; turns < 2000; turns++) {
            loop = run->loops[i]; /* the sentence may go on, and free it */
            if (!loop || stats_of(loop).live_ops == 0) break;
            if (turns == 1000) completed = stats_of(loop).completed;
            if (!is_running(loop))
                pro_loop_poll(loop);
            else if (run->is_parked)
                return; /* in a handler of that loop */
            t_world_sleep(PRO_MSEC);
        }
        if (!loop || stats_of(loop).live_ops == 0) continue;
        if (stats_of(loop).completed != completed) continue; /* its handlers always begin again */
        atomic_store(&run->outcome, T_FAILED);
        snprintf(run->why, sizeof run->why, "operations that are closed do not complete");
        pro_loop_dump(loop, print_alive, NULL);
    }
    run->is_ended = true;
}

/* The weather cut it short.  It may have, but each operation must still complete once when everything is
 * closed; t_done sees that it is not more, and not at the wrong time.  Not where a handler stands on the
 * stack of the sentence, which will not go on, or where other threads run the loops. */
static void check_the_end(t_run_state *run, const t_world *w)
{
    if (t_in_handler() || run->has_threads) return; /* there a peer waits for ever */
    close_all(run);
    pro_sim_node_service(pro_sim_node_new(w->sim, "end", NULL, end_main, run));
    while (!run->is_ended && pro_sim_step(w->sim)) {}
}

static void judge(t_run_state *run, t_world *w)
{
    int outcome = atomic_load(&run->outcome);
    if (outcome == T_CUT || (outcome == T_RUNNING && !run->is_over && t_world_was_struck())) {
        if (outcome == T_RUNNING)
            snprintf(run->why, sizeof run->why, "it waits for what does not come");
        atomic_store(&run->outcome, T_CUT);
        check_the_end(run, w);
    } else if (outcome == T_RUNNING && !run->is_over) {
        pro_sim_fail(w->sim, "deadlock: nothing is left to run, and the sentence waits");
    }
}

/* Before the world goes: a sentence that failed leaves what it had as it is. */
static void end_world(t_run_state *run, t_world *w)
{
    if (run->is_over) {
        t_world_close_peers(w);
        pro_loop *loops[] = {w->near_loop, w->far_loop};
        for (int i = 0; i < 2; i++) {
            pro_scope_close(pro_loop_scope(loops[i]));
            pro_loop_run(loops[i]);
        }
        pro_sim_run_for(w->sim, PRO_SEC);
    } else {
        pro_sim_node_service(w->machine);
        pro_sim_node_service(pro_sim_host(w->sim));
    }
}

void t_world_run(t_run_state *run, uint32_t faults, void (*body)(void *arg), void *arg)
{
    t_world         w = {.body = body, .arg = arg};
    pro_sim_options options = {.version = PRO_VERSION,
                               .faults = faults,
                               .every_fault = 1,
                               .seed = run->random | 1,
                               .survive = 1,
                               .tell = tell,
                               .tell_arg = run};
    if (pro_sim_new(&w.sim, &options) != PRO_OK) abort();
    w.machine = pro_sim_node_new(w.sim, "machine", NULL, machine_main, &w);
    w.far = pro_sim_node_new(w.sim, "far", NULL, NULL, NULL);
    pro_sim_node_service(w.far);
    pro_sim_enter(w.sim, w.far);
    w.far_loop = t_world_loop();
    pro_sim_enter(w.sim, w.machine);
    w.near_loop = t_world_loop();
    w.clock = t_world_loop();
    pro_sim_enter(w.sim, NULL);
    run->world = &w;
    go_on(run, w.sim);
    judge(run, &w);
    t_no_handler();
    end_world(run, &w);
    run->is_struck = t_world_was_struck();
    int failures = pro_sim_free(w.sim);
    run->world = NULL;
    if (failures > 0 && atomic_load(&run->outcome) != T_FAILED) {
        atomic_store(&run->outcome, T_FAILED);
        snprintf(run->why, sizeof run->why, "what the world says is below");
    }
}

/* ---- Threads ---------------------------------------------------------------------------------- */

/* In a world: one of its own, the main function of one more machine. */
struct t_thread {
    t_os_thread *real;
    t_event     *over;
    void (*fn)(void *arg);
    void *arg;
};

static void thread_main(pro_sim_node *node, void *arg)
{
    t_thread *thread = arg;
    (void)node;
    thread->fn(thread->arg);
    t_event_set(thread->over);
}

t_thread *t_thread_start(void (*fn)(void *arg), void *arg)
{
    t_thread *thread = calloc(1, sizeof *thread);
    if (!thread) abort();
    if (!t_world_here()) {
        thread->real = t_os_thread_start(fn, arg);
        return thread;
    }
    t_current->has_threads = true;
    thread->over = t_event_new();
    thread->fn = fn;
    thread->arg = arg;
    pro_sim_node_new(t_world_here()->sim, "thread", NULL, thread_main, thread);
    return thread;
}

void t_thread_join(t_thread *thread)
{
    if (thread->real) {
        t_os_thread_join(thread->real);
    } else {
        t_event_wait(thread->over);
        t_event_free(thread->over);
    }
    free(thread);
}

/* ---- Events ----------------------------------------------------------------------------------- */

struct t_event {
    t_os_event *real;
    unsigned    count;
    pro_loop   *waiting; /* its loop, in a world */
};

t_event *t_event_new(void)
{
    t_event *event = calloc(1, sizeof *event);
    if (!event) abort();
    if (!t_world_here()) event->real = t_os_event_new();
    return event;
}

void t_event_free(t_event *event)
{
    if (event->real) t_os_event_free(event->real);
    free(event);
}

void t_event_set(t_event *event)
{
    if (event->real) {
        t_os_event_set(event->real);
        return;
    }
    event->count++;
    if (event->waiting) pro_loop_stop(event->waiting);
}

void t_event_wait(t_event *event)
{
    if (event->real) {
        while (!t_os_event_wait_ns(event->real, 3600 * PRO_SEC)) {}
        return;
    }
    if (event->count == 0) {
        event->waiting = t_world_loop();
        pro_loop_hold(event->waiting);
        while (event->count == 0) pro_loop_run_once(event->waiting);
        pro_loop_release(event->waiting);
        pro_loop_free(event->waiting);
        event->waiting = NULL;
    }
    event->count--;
}

/* ---- The clock, descriptors -------------------------------------------------------------------- */

uint64_t t_clock_ns(void)
{
    if (!t_world_here()) return t_os_clock_ns();
    t_world_sleep(100); /* looking takes time */
    return pro_loop_now(t_world_here()->clock);
}

bool t_descriptors_exhaust(void)
{
    t_world *w = t_world_here();
    if (!w) return t_os_descriptors_exhaust();
    if (w->is_exhausted) return true;
    if (pro_socket_open(&w->last, w->near_loop, NULL, PRO_IPV4) != PRO_OK) return false;
    pro_sim_handles_max(w->machine, 1); /* there is one */
    w->is_exhausted = true;
    return true;
}

static void on_closed(pro_op *op) { *(bool *)op->user = true; }

void t_descriptors_restore(void)
{
    t_world *w = t_world_here();
    if (!w) {
        t_os_descriptors_restore();
        return;
    }
    bool   is_closed = !w->is_exhausted;
    pro_op op = {.user = &is_closed};
    if (!is_closed) pro_close(&op, &w->last, on_closed);
    while (!is_closed) pro_loop_run_once(w->near_loop);
    pro_sim_handles_max(w->machine, 0);
    w->is_exhausted = false;
}
