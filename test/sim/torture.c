/* The random program of test/random on two nodes of a world, in all weathers but crashes: what each
 * handler sees is held against a shadow model.  The weather says what may happen to a connection. */
#include "random/program.h"
#include "scenario.h"

enum { ACTIONS = 120, PORT = 5 };

static pro_sim *world;

static void fail(void *arg, const char *what)
{
    (void)arg;
    pro_sim_fail(world, "torture: %s", what);
}

static void sometimes(void *arg, const char *name, bool condition)
{
    (void)arg;
    pro_sim_sometimes(world, name, condition);
}

static pro_loop *loops[PROGRAM_HOSTS];

static void host_main(pro_sim_node *node, void *arg)
{
    int         number = *(const int *)arg;
    pro_address at = pro_sim_node_address(node, PORT);
    loops[number] = sim_loop_new();
    program_host(number, loops[number], &at);
}

static int both_made(void *arg)
{
    (void)arg;
    return loops[0] && loops[1];
}

static void start(void *arg) { program_start(*(const int *)arg); }

static int is_over(void *arg)
{
    (void)arg;
    return program_is_over() || pro_sim_failures(world) > 0;
}

void scenario_torture(pro_sim *w)
{
    static int    numbers[PROGRAM_HOSTS] = {0, 1};
    pro_sim_stats stats;
    pro_sim_stats_get(w, &stats);
    bool has_pause = stats.faults & PRO_SIM_BIT(PRO_SIM_PAUSE);
    bool has_cut = stats.faults & PRO_SIM_BIT(PRO_SIM_PARTITION);
    bool has_reset = stats.faults & (PRO_SIM_BIT(PRO_SIM_RESET) | PRO_SIM_BIT(PRO_SIM_ABORTED));
    bool has_lost = stats.faults & PRO_SIM_BIT(PRO_SIM_LOST_SYN);
    bool has_refuse = stats.faults & PRO_SIM_BIT(PRO_SIM_REFUSE);

    world = w;
    loops[0] = loops[1] = NULL;
    program_begin(&(program_world){
        .seed = stats.seed,
        .actions = ACTIONS,
        .unit_ns = 500 * PRO_USEC,
        .late_ns = has_pause ? 0 : 2 * PRO_MSEC,
        .may_reset = has_reset || has_cut,
        .may_refuse = has_refuse || has_lost || has_cut,
        .may_time_out = has_lost || has_cut,
        .may_exhaust = stats.faults & PRO_SIM_BIT(PRO_SIM_HANDLES),
        .fail = fail,
        .sometimes = sometimes,
    });
    pro_sim_node_new(w, "one", NULL, host_main, &numbers[0]);
    pro_sim_node_new(w, "two", NULL, host_main, &numbers[1]);
    pro_sim_run(w, both_made, NULL, PRO_SEC);
    for (int i = 0; i < PROGRAM_HOSTS; i++) pro_sim_after(w, 0, start, &numbers[i]);
    pro_sim_run_for(w, PRO_SEC);
    pro_sim_heal(w);
    pro_sim_run(w, is_over, NULL, 7200 * PRO_SEC);
    program_end();
}
