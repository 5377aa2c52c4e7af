/* Sentences one after the other, or several at once on shards (place.c), on each engine, with a watchdog.
 *
 * What a sentence owns (struct run) is never freed when it failed: its threads are parked, not
 * unwound, and the kernel may still write to its buffers. */
#include "lib/test.h"

#include "lib/form.h"
#include "lib/os.h"
#include "lib/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

_Thread_local t_run_state *t_current;

static t_test *tests;

void t_add(t_test *test)
{
    t_test **at = &tests;
    while (*at != NULL) {
        int order = strcmp((*at)->file, test->file);
        if (order > 0 || (order == 0 && (*at)->line > test->line)) break;
        at = &(*at)->next;
    }
    test->next = *at;
    *at = test;
}

/* ---- Options --------------------------------------------------------------------------------- */

static const struct engine_name {
    const char *name;
    pro_engine  engine;
} engines[] = {{"uring", PRO_ENGINE_URING},
               {"epoll", PRO_ENGINE_EPOLL},
               {"iocp", PRO_ENGINE_IOCP},
               {"sim", PRO_ENGINE_SIM}};

#define ENGINES (sizeof engines / sizeof engines[0])

#define SHARDS_MAX 16

static const char *const forms[] = {"callback", "await", "own", "zerocopy"}; /* as t_form */

#define FORMS (sizeof forms / sizeof forms[0])

static struct options {
    const char *program;
    bool        engine[ENGINES];
    const char *only;
    const char *mask;
    uint32_t    slots;
    t_form      form;
    const char *plan;
    uint32_t    faults; /* what the plan means */
    uint64_t    seed;
    long        count;
    unsigned    shards;
    unsigned    signals_us; /* 0: none */
    uint64_t    timeout_ns;
    bool        quiet, list, times, keep_going;
} options;

static int passed, failed, skipped, cut, struck;

static int usage(const char *argument)
{
    fprintf(
        stderr,
        "%s: what is %s?\n"
        "  --engine=E       uring, epoll, iocp, sim or all; more than one is fine; default: all\n"
        "  --only=WORDS     the sentences that contain this\n"
        "  --form=F         initiating calls as callback (the default), or in coroutines: await, own;\n"
        "                   or with sends that are not copied: zerocopy\n"
        "  --seed=HEX       of the random numbers\n"
        "  --mask=WORDS     features hidden from the engine, with commas\n"
        "  --slots=N        fixed_slots of each loop\n"
        "  --plan=WORDS     on sim: faults, with commas, or mild or all; then a sentence may be cut\n"
        "                   short by an error of the weather, but what holds always must hold\n"
        "  --count=N        how much the randomised sentences do\n"
        "  --shards=N       each sentence on a shard of a runtime, so many at once\n"
        "  --signals=US     with signals that interrupt each sentence's thread, every US microseconds\n"
        "  --timeout=S      seconds for one sentence\n"
        "  --list           the sentences\n"
        "  --quiet          failures and the last line only\n"
        "  --times          with the time each took\n"
        "  --keep-going     after one that hangs, too\n",
        options.program, argument);
    return 2;
}

static const char *const faults[] = {
#define NAME(name, text, what) [PRO_SIM_##name] = text,
    PRO_SIM_FAULTS(NAME)
#undef NAME
};

static uint32_t fault_by_name(const char *word, size_t len)
{
    for (int i = 0; i < PRO_SIM_FAULT_KINDS; i++)
        if (strlen(faults[i]) == len && memcmp(faults[i], word, len) == 0) return PRO_SIM_BIT(i);
    return 0;
}

/* false: not a list of faults. */
static bool choose_plan(const char *plan)
{
    options.plan = plan;
    if (strcmp(plan, "mild") == 0) options.faults = PRO_SIM_MILD_FAULTS;
    if (strcmp(plan, "all") == 0) options.faults = PRO_SIM_ALL_FAULTS;
    if (options.faults) return true;
    for (const char *word = plan, *end; *word; word = *end ? end + 1 : end) {
        end = word + strcspn(word, ",");
        uint32_t bit = fault_by_name(word, (size_t)(end - word));
        if (!bit) return false;
        options.faults |= bit;
    }
    return options.faults != 0;
}

/* The text behind "--name=", or NULL. */
static const char *value_of(const char *argument, const char *name)
{
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && argument[len] == '=' ? argument + len + 1 : NULL;
}

static bool choose_engine(const char *name)
{
    bool known = false;
    for (size_t i = 0; i < ENGINES; i++) {
        if (strcmp(name, "all") == 0 || strcmp(name, engines[i].name) == 0)
            options.engine[i] = known = true;
    }
    return known;
}

static bool choose_form(const char *name)
{
    for (size_t i = 0; i < FORMS; i++) {
        if (strcmp(name, forms[i]) != 0) continue;
        options.form = (t_form)i;
        t_form_set(options.form);
        return true;
    }
    return false;
}

static int parse(int argc, char **argv)
{
    bool engine_given = false;
    options.program = argv[0];
    options.seed = (t_os_clock_ns() >> 10) & 0xffff;
    options.timeout_ns = (t_os_slowness() > 1 ? 100 : 20) * PRO_SEC;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v;
        if ((v = value_of(a, "--engine")) != NULL) {
            engine_given = true;
            if (!choose_engine(v)) return usage(a);
        } else if ((v = value_of(a, "--only")) != NULL)
            options.only = v;
        else if ((v = value_of(a, "--form")) != NULL) {
            if (!choose_form(v)) return usage(a);
        } else if ((v = value_of(a, "--seed")) != NULL)
            options.seed = strtoull(v, NULL, 16);
        else if ((v = value_of(a, "--mask")) != NULL)
            options.mask = v;
        else if ((v = value_of(a, "--slots")) != NULL)
            options.slots = (uint32_t)strtoul(v, NULL, 10);
        else if ((v = value_of(a, "--plan")) != NULL) {
            if (!choose_plan(v)) return usage(a);
        } else if ((v = value_of(a, "--count")) != NULL)
            options.count = strtol(v, NULL, 10);
        else if ((v = value_of(a, "--signals")) != NULL) {
            options.signals_us = (unsigned)strtoul(v, NULL, 10);
            if (options.signals_us == 0) return usage(a);
        } else if ((v = value_of(a, "--shards")) != NULL) {
            options.shards = (unsigned)strtoul(v, NULL, 10);
            if (options.shards == 0 || options.shards > SHARDS_MAX) return usage(a);
        } else if ((v = value_of(a, "--timeout")) != NULL)
            options.timeout_ns = strtoull(v, NULL, 10) * PRO_SEC;
        else if (strcmp(a, "--list") == 0)
            options.list = true;
        else if (strcmp(a, "--quiet") == 0)
            options.quiet = true;
        else if (strcmp(a, "--times") == 0)
            options.times = true;
        else if (strcmp(a, "--keep-going") == 0)
            options.keep_going = true;
        else
            return usage(a);
    }
    if (!engine_given) choose_engine("all");
    return 0;
}

/* ---- What a sentence asks the runner for ----------------------------------------------------- */

int t_rounds(int normal)
{
    int rounds = normal / t_os_slowness();
    return rounds > 0 ? rounds : 1;
}

bool t_has_weather(void) { return options.plan != NULL; }

int t_count(int normal) { return options.count > 0 ? (int)options.count : t_rounds(normal); }

void t_note(const char *format, ...)
{
    t_run_state *run = t_current;
    size_t       len = strlen(run->notes);
    va_list      args;
    va_start(args, format);
    vsnprintf(run->notes + len, sizeof run->notes - len, format, args);
    va_end(args);
}

static _Noreturn void fail(bool is_firm, const char *file, int line, const char *format,
                           va_list args)
{
    t_run_state *run = t_current;
    char         why[sizeof run->why];
    int          len = vsnprintf(why, sizeof why, format, args);
    if (len >= 0 && (size_t)len < sizeof why)
        snprintf(why + len, sizeof why - (size_t)len, " (%s:%d)", file, line);
    if (run == NULL) {
        printf("FAIL %s\n", why);
        fflush(stdout);
        abort();
    }
    /* The first failure of a sentence is the one to tell. */
    if (!atomic_exchange(&run->told, true)) memcpy(run->why, why, sizeof why);
    int now = T_RUNNING;
    if (run->world) {
        run->is_parked = true;
        t_no_handler();
        atomic_compare_exchange_strong(&run->outcome, &now,
                                       is_firm || !t_world_was_struck() ? T_FAILED : T_CUT);
        t_world_park();
    }
    if (atomic_compare_exchange_strong(&run->outcome, &now, T_FAILED)) t_os_event_set(run->over);
    t_os_park();
}

_Noreturn void t_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(false, file, line, format, args);
}

_Noreturn void t_fail_firmly(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(true, file, line, format, args);
}

_Noreturn void t_skip(const char *reason)
{
    t_run_state *run = t_current;
    snprintf(run->why, sizeof run->why, "%s", reason);
    longjmp(run->skip, 1);
}

/* ---- One sentence ---------------------------------------------------------------------------- */

static uint64_t hash(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *text != 0; text++) h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h;
}

static void print_line(void *arg, const char *line)
{
    printf("  %s%s\n", (const char *)arg, line);
    fflush(stdout);
}

static void sentence_body(void *arg)
{
    t_run_state *run = arg;
    run->verdict = T_SKIPPED;
    if (setjmp(run->skip) == 0) {
        run->test->run();
        run->verdict = T_PASSED;
    }
    t_run_finish();
    run->is_over = true;
}

void t_run_sentence(t_run_state *run)
{
    t_os_event *over = run->over;
    int         now = T_RUNNING;
    if (options.signals_us > 0 && !t_os_signals_begin(options.signals_us)) abort();
    bool has_world = run->engine == PRO_ENGINE_SIM && options.shards == 0;
    if (has_world)
        t_world_run(run, options.faults, sentence_body, run);
    else
        sentence_body(run);
    t_os_signals_end();
    if (atomic_compare_exchange_strong(&run->outcome, &now, run->verdict) || has_world)
        t_os_event_set(over);
}

struct dump {
    pro_op      op;
    t_os_event *done;
};

static void dump_here(pro_op *op)
{
    pro_loop_dump(op->user, print_line, "alive: ");
    t_os_event_set(pro_container_of(op, struct dump, op)->done);
}

/* A loop that waits or turns can list what it waits for: ask it, in a handler.  The question is never
 * freed: the loop may answer much later. */
static void dump_hung(t_run_state *run)
{
    for (int i = 0; i < T_LOOPS_MAX; i++) {
        pro_loop *loop = atomic_load(&run->loops[i]);
        if (loop == NULL) continue;
        struct dump *dump = calloc(1, sizeof *dump);
        if (dump == NULL) abort();
        dump->op.user = loop;
        dump->done = t_os_event_new();
        pro_post(&dump->op, loop, dump_here);
        if (!t_os_event_wait_ns(dump->done, 2 * PRO_SEC)) {
            print_line("", "a loop that does not turn: no dump of it");
        }
    }
}

static void print_failure(const t_run_state *run, const char *engine)
{
    printf("FAIL %s: %s: %s\n", engine, run->test->name, run->why);
    printf("replay: %s --engine=%s --only=%s --seed=%llx%s%s", options.program, engine,
           run->test->name, (unsigned long long)options.seed, options.mask ? " --mask=" : "",
           options.mask ? options.mask : "");
    if (options.slots > 0) printf(" --slots=%u", options.slots);
    if (options.plan) printf(" --plan=%s", options.plan);
    if (options.form != T_FORM_CALLBACK) printf(" --form=%s", forms[options.form]);
    if (options.shards > 0) printf(" --shards=%u", options.shards);
    if (options.signals_us > 0) printf(" --signals=%u", options.signals_us);
    if (options.count > 0) printf(" --count=%ld", options.count);
    printf("\n");
}

static int print_sum(void)
{
    if (options.plan)
        printf("report: plan %s: of %d sentences the weather struck in %d, and cut %d short\n",
               options.plan, passed, struck, cut);
    if (options.signals_us > 0) printf("report: %lu signals interrupted\n", t_os_signals_taken());
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    fflush(stdout);
    if (options.signals_us > 0 && t_os_signals_taken() == 0) return 1;
    return failed == 0 ? 0 : 1;
}

/* ---- Those that run -------------------------------------------------------------------------- */

/* Of one engine, of which `busy` run at once.  A place of which the sentence failed on a shard is lost. */
static struct {
    const struct engine_name *engine;
    t_place                  *places;
    unsigned                  count, busy, lost;
    t_os_event               *over; /* of any */
    struct place {
        t_run_state *run; /* NULL: free */
        uint64_t     begin;
        bool         is_lost;
    } at[SHARDS_MAX];
} running;

static t_run_state *run_new(const t_test *test)
{
    t_run_state *run = calloc(1, sizeof *run);
    if (run == NULL) abort();
    run->test = test;
    run->engine = running.engine->engine;
    run->mask = options.mask;
    run->slots = options.slots;
    run->random = options.seed ^ hash(test->name);
    run->memory_left = -1;
    run->over = running.over;
    run->descriptors = options.shards > 0 ? -1 : t_os_descriptors();
    run->in_crowd = options.shards > 0 && t_row_of_alone(test) == NULL;
    return run;
}

/* What it printed, and what became of it. */
static void report(const t_run_state *run, int outcome, double ms)
{
    const char *engine = running.engine->name;
    if (outcome == T_FAILED) {
        failed++;
        print_failure(run, engine);
    } else if (outcome == T_SKIPPED) {
        skipped++;
        if (!options.quiet) printf("skip %s: %s: %s\n", engine, run->test->name, run->why);
    } else {
        passed++;
        cut += outcome == T_CUT;
        struck += run->is_struck;
        if (!options.quiet) {
            printf("ok %s: %s", engine, run->test->name);
            if (outcome == T_CUT) printf(", cut short by the weather: %s", run->why);
            if (options.times) printf(" %.1f ms", ms);
            printf("\n");
        }
    }
    if (!options.quiet) printf("%s", run->notes);
    fflush(stdout);
}

/* The sentence in this place is over. */
static void leave(unsigned i, int outcome, double ms)
{
    struct place *place = &running.at[i];
    t_run_state  *run = place->run;
    t_os_descriptors_restore();
    report(run, outcome, ms);
    place->run = NULL;
    running.busy--;
    if (outcome != T_FAILED) {
        t_place_end(running.places, i);
        t_run_free(run);
    } else if (options.shards > 0) {
        place->is_lost = true;
        running.lost++;
    }
}

/* It may have come to its end just now; else it has failed, and its thread is not to be had back. */
static void give_up(unsigned i, double ms)
{
    t_run_state *run = running.at[i].run;
    int          hung = T_RUNNING;
    if (!atomic_compare_exchange_strong(&run->outcome, &hung, T_FAILED)) return;
    snprintf(run->why, sizeof run->why, "not over after %.0f s", ms / 1e3);
    leave(i, T_FAILED, ms);
    dump_hung(run);
    if (options.keep_going) return;
    print_sum();
    _Exit(1);
}

/* Wait until one more place is free, or for the watchdog. */
static void wait_for_one(void)
{
    uint64_t now = t_os_clock_ns(), first = UINT64_MAX;
    for (unsigned i = 0; i < running.count; i++)
        if (running.at[i].run != NULL && running.at[i].begin < first) first = running.at[i].begin;
    uint64_t end = first + options.timeout_ns;
    t_os_event_wait_ns(running.over, end > now ? end - now : 0);
    now = t_os_clock_ns();
    for (unsigned i = 0; i < running.count; i++) {
        if (running.at[i].run == NULL) continue;
        double ms = (double)(now - running.at[i].begin) / 1e6;
        int    outcome = atomic_load(&running.at[i].run->outcome);
        if (outcome != T_RUNNING)
            leave(i, outcome, ms);
        else if (now - running.at[i].begin >= options.timeout_ns)
            give_up(i, ms);
    }
}

static void wait_for_all(void)
{
    while (running.busy > 0) wait_for_one();
}

static void run_one(const t_test *test)
{
    const struct engine_name *engine = running.engine;
    const char               *row = t_row_of(engine->engine, test->name);
    if (row == NULL && options.form == T_FORM_AWAIT) row = t_row_of_await(test->name);
    if (row == NULL && options.form == T_FORM_ZEROCOPY)
        row = t_row_of_zerocopy(engine->engine, test->name);
    if (row != NULL) {
        skipped++;
        if (!options.quiet) printf("skip %s: %s: %s\n", engine->name, test->name, row);
        return;
    }
    bool alone = options.shards > 0 && t_row_of_alone(test) != NULL;
    if (alone) wait_for_all();
    while (running.busy + running.lost == running.count && running.busy > 0) wait_for_one();
    unsigned i = 0;
    while (i < running.count && (running.at[i].run != NULL || running.at[i].is_lost)) i++;
    if (i == running.count) return; /* all shards are lost, and that was said */
    struct place *place = &running.at[i];
    place->run = run_new(test);
    place->begin = t_os_clock_ns();
    running.busy++;
    t_place_start(running.places, i, place->run);
    if (alone) wait_for_all();
}

/* The sum of what the shards' sentences left behind. */
static void look_back(int descriptors)
{
    int error = t_places_free(running.places);
    int left = t_os_descriptors();
    if (error == PRO_OK && (options.shards == 0 || left == descriptors)) return;
    printf("FAIL %s: at the end: %s, open descriptors %d, want %d as before\n",
           running.engine->name, pro_error_name(error), left, descriptors);
    failed++;
}

static bool chosen(const t_test *test)
{
    return options.only == NULL || strstr(test->name, options.only) != NULL;
}

static void run_all(const struct engine_name *engine)
{
    int error, descriptors = t_os_descriptors();
    memset(&running, 0, sizeof running);
    running.engine = engine;
    running.count = options.shards > 0 ? options.shards : 1;
    running.over = t_os_event_new();
    running.places = t_places_new(options.shards, engine->engine, options.mask, &error);
    if (running.places == NULL) {
        printf("FAIL %s: no %u shards: %s\n", engine->name, options.shards, pro_error_name(error));
        failed++;
        return;
    }
    for (const t_test *test = tests; test != NULL; test = test->next)
        if (chosen(test)) run_one(test);
    wait_for_all();
    if (running.lost > 0) { /* parked threads cannot be joined */
        print_sum();
        _Exit(1);
    }
    look_back(descriptors);
    t_os_event_free(running.over);
}

/* Whether the engine works here; if not, that is said. */
static bool available(const struct engine_name *engine)
{
    pro_loop_options o;
    pro_loop        *loop;
    pro_loop_options_init(&o);
    o.engine = engine->engine;
    o.mask = options.mask;
    int error = pro_loop_new(&loop, &o);
    if (error == PRO_OK) {
        pro_loop_free(loop);
        return true;
    }
    /* A mask that is wrong is no reason to skip. */
    if (error == PRO_EINVAL) {
        printf("FAIL %s: a loop cannot be made: %s\n", engine->name, pro_error_text(error));
        failed++;
    } else {
        printf("skip %s: %s, %s\n", engine->name, pro_error_name(error), pro_error_text(error));
        skipped++;
    }
    return false;
}

int t_main(int argc, char **argv)
{
    int wrong = parse(argc, argv);
    if (wrong) return wrong;
    int count = 0;
    for (const t_test *test = tests; test != NULL; test = test->next) {
        if (!chosen(test)) continue;
        count++;
        if (options.list) printf("%s\n", test->name);
    }
    if (options.list) return 0;
    if (count == 0) {
        printf("FAIL: no sentence contains \"%s\"\n", options.only ? options.only : "");
        failed++;
        return print_sum();
    }
    for (size_t i = 0; i < ENGINES; i++) {
        if (!options.engine[i] || !available(&engines[i])) continue;
        if (options.shards > 0 && engines[i].engine == PRO_ENGINE_SIM) {
            printf("skip %s: a simulated world belongs to one thread\n", engines[i].name);
            skipped++;
            continue;
        }
        run_all(&engines[i]);
    }
    return print_sum();
}
