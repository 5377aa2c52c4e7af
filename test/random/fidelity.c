/* ./dev sim fidelity: the same random programs on each engine, and what came of them.
 *
 *     fidelity [--seeds=N] [--start=N] [--engine=E[,E...]] [--actions=N] [--table] [--faults=PLAN]
 *
 * Each engine runs each seed; the shadow model holds every handler against the contract, and its
 * first failure ends the run with a line that replays it.  Then a table: which results each kind of
 * operation had on which engine.  One that a real engine gives and the simulator never does is a
 * state that no simulated test can reach: told below the table, as is the reverse.  They are no
 * failures, since the programs of different engines go different ways; docs/design has the list of
 * what is known.
 *
 * With --faults each seed is also the seed of faults on the real engines (proactor/test.h), which makes
 * the weather of the model rougher and nothing else; each kind that is named must have struck. */
#include "random/drive.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <proactor/test.h>

static struct {
    const char *program, *engines, *faults;
    uint64_t    seeds, start;
    int         actions;
} options = {.engines = "uring,epoll,sim", .seeds = 20, .start = 1, .actions = 300};

enum { ENGINES_MAX = 3 };
static const struct {
    const char *name;
    pro_engine  id;
} engines[ENGINES_MAX] = {
    {"uring", PRO_ENGINE_URING}, {"epoll", PRO_ENGINE_EPOLL}, {"sim", PRO_ENGINE_SIM}};

static struct tally {
    bool     ran;
    uint64_t count[PROGRAM_KIND_COUNT][PROGRAM_ERRORS], completed, bytes;
} tallies[ENGINES_MAX];

static const char *engine_name;
static uint64_t    struck[PRO_SIM_FAULT_KINDS];
static uint64_t    seed;
static int         failures;

static void print_replay(void)
{
    printf("replay: %s --engine=%s --start=%" PRIu64 " --seeds=1 --actions=%d%s%s\n",
           options.program, engine_name, seed, options.actions, options.faults ? " --faults=" : "",
           options.faults ? options.faults : "");
    fflush(stdout);
}

static void fail(void *arg, const char *what)
{
    (void)arg;
    if (failures++ == 0) {
        printf("FAIL fidelity %s: seed %" PRIu64 ": %s\n", engine_name, seed, what);
        print_replay();
    }
}

static void on_signal(int number)
{
    printf("FAIL fidelity %s: seed %" PRIu64 ": %s\n", engine_name, seed,
           number == SIGALRM ? "it hangs" : "it crashed");
    print_replay();
    signal(number, SIG_DFL);
    raise(number);
}

static void advance(void *arg, uint64_t ns) { pro_test_clock_advance(arg, ns); }

static void tell(void *arg, const char *line)
{
    (void)arg;
    printf("  alive: %s\n", line);
}

/* One seed on one engine; false: the engine is not to be had here. */
static bool run_seed(int engine)
{
    pro_loop      *loops[PROGRAM_HOSTS] = {NULL};
    pro_test_clock clock;
    program_world  world = {
         .seed = seed, .actions = options.actions, .unit_ns = 100 * PRO_USEC, .fail = fail};
    char faults[100] = "";
    if (options.faults) {
        snprintf(faults, sizeof faults, "%" PRIu64 ":%s", seed, options.faults);
        world.may_reset = world.may_refuse = world.may_exhaust = true;
    }
    pro_test_clock_init(&clock);
    for (int i = 0; i < PROGRAM_HOSTS; i++) {
        pro_loop_options o = {.version = PRO_VERSION,
                              .engine = engines[engine].id,
                              .faults = faults,
                              .env = pro_test_clock_env(&clock)};
        if (pro_loop_new(&loops[i], &o) != PRO_OK) {
            printf("skip fidelity %s: not to be had here\n", engines[engine].name);
            return false;
        }
    }
    alarm(120); /* it hangs */
    program_drive(loops, &world, advance, &clock);
    alarm(0);
    if (failures > 0) return true;
    for (int i = 0; i < PROGRAM_HOSTS; i++)
        for (int kind = 0; kind < PRO_SIM_FAULT_KINDS; kind++)
            struck[kind] += pro_test_faults_count(loops[i], (pro_sim_fault)kind);
    for (int i = 0; i < PROGRAM_HOSTS; i++)
        if (pro_loop_free(loops[i]) != PRO_OK) {
            fail(NULL, "something is alive at the end");
            pro_loop_dump(loops[i], tell, NULL);
        }
    return true;
}

static void run_engine(int engine)
{
    struct tally *t = &tallies[engine];
    engine_name = engines[engine].name;
    memset(program_outcomes, 0, sizeof program_outcomes);
    program_completed = program_bytes = 0;
    for (seed = options.start; seed < options.start + options.seeds && failures == 0; seed++)
        if (!run_seed(engine)) return;
    memcpy(t->count, program_outcomes, sizeof t->count);
    t->completed = program_completed;
    t->bytes = program_bytes;
    t->ran = true;
}

static void print_table(void)
{
    printf("%-14s", "");
    for (int e = 0; e < ENGINES_MAX; e++)
        if (tallies[e].ran) printf(" %12s", engines[e].name);
    printf("\n");
    for (int kind = 0; kind < PROGRAM_KIND_COUNT; kind++)
        for (int error = 0; error < PROGRAM_ERRORS; error++) {
            uint64_t all = 0, least = UINT64_MAX;
            for (int e = 0; e < ENGINES_MAX; e++) {
                if (!tallies[e].ran) continue;
                all += tallies[e].count[kind][error];
                if (tallies[e].count[kind][error] < least) least = tallies[e].count[kind][error];
            }
            if (!all) continue;
            printf("%-14s", program_kind_name((program_kind)kind));
            for (int e = 0; e < ENGINES_MAX; e++)
                if (tallies[e].ran) printf(" %12" PRIu64, tallies[e].count[kind][error]);
            printf("  %s%s\n", pro_error_name(-error), least ? "" : "   (not everywhere)");
        }
}

static const char *const fault_names[] = {
#define FAULT_NAME(name, text, what) text,
    PRO_SIM_FAULTS(FAULT_NAME)
#undef FAULT_NAME
};

/* Does the word stand in the list? */
static bool is_listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (; *list; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == len && strncmp(list, word, len) == 0) return true;
    return false;
}

static const char *value_of(const char *argument, const char *name)
{
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && argument[len] == '=' ? argument + len + 1 : NULL;
}

int main(int argc, char **argv)
{
    options.program = argv[0];
    bool want_table = false;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = value_of(argv[i], "--seeds")) != NULL)
            options.seeds = strtoull(v, NULL, 0);
        else if ((v = value_of(argv[i], "--start")) != NULL)
            options.start = strtoull(v, NULL, 0);
        else if ((v = value_of(argv[i], "--actions")) != NULL)
            options.actions = atoi(v);
        else if ((v = value_of(argv[i], "--engine")) != NULL)
            options.engines = v;
        else if ((v = value_of(argv[i], "--faults")) != NULL)
            options.faults = v;
        else if (strcmp(argv[i], "--table") == 0)
            want_table = true;
        else {
            fprintf(stderr, "usage: fidelity [--seeds=N] [--start=N] [--engine=E,E] [--actions=N]"
                            " [--table] [--faults=PLAN]\n");
            return 2;
        }
    }
    signal(SIGALRM, on_signal);
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    int passed = 0, skipped = 0;
    for (int e = 0; e < ENGINES_MAX && failures == 0; e++) {
        if (!strstr(options.engines, engines[e].name)) continue;
        run_engine(e);
        if (failures > 0) break;
        skipped += !tallies[e].ran;
        passed += tallies[e].ran;
        if (tallies[e].ran)
            printf("ok fidelity %s: %" PRIu64 " programs, %" PRIu64 " completions, %" PRIu64
                   " bytes\n",
                   engines[e].name, options.seeds, tallies[e].completed, tallies[e].bytes);
    }
    if (want_table) print_table();
    if (options.faults && failures == 0 && passed > 0) {
        printf("struck:");
        for (int kind = 0; kind < PRO_SIM_FAULT_KINDS; kind++) {
            if (struck[kind]) printf(" %s %" PRIu64, fault_names[kind], struck[kind]);
            if (struck[kind] || !is_listed(options.faults, fault_names[kind])) continue;
            printf("\nFAIL fidelity: no %s struck\n", fault_names[kind]);
            failures++;
        }
        printf("\n");
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failures > 0, skipped);
    return failures > 0;
}
