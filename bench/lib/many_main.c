/* The program around the subjects of many.h: for each of them all sizes in turn, each size by the smallest
 * one, and the smallest a second time as the A/A control.  With --instr also the user instructions of a
 * unit: where they stay and the time grows, what grew is the time for memory. */
#include "many.h"

#include "bench.h"
#include "callgrind.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SIZES_MAX = 8, LANES_MAX = SIZES_MAX + 1, PARTS = 4 };

struct options {
    const char       *only, *json, *run;
    struct bench_plan plan;
    unsigned          size_max, size, units;
    bool              instr;
};

struct lane {
    unsigned          size;
    bool              control;
    struct bench_lane lane;
    double            instructions; /* 0: not counted */
};

static void print_usage(const char *name)
{
    fprintf(stderr,
            "usage: bench/%s [--only SUBJECT,...] [--max SIZE] [--rounds N] [--window-ms N]\n"
            "       [--instr] [--json FILE] [--quick]\n"
            "       bench/%s --run SUBJECT --size N --units N\n"
            "defaults: 40 rounds of 20 ms\n"
            "--max:    no larger sizes\n"
            "--instr:  user instructions too, by valgrind: minutes more\n"
            "--run:    that many units, unmeasured: what --instr has valgrind run\n"
            "--quick:  8 rounds, sizes to 1,000: for a look, not for a claim\n",
            name, name);
    many_list(stderr);
}

static struct options parse(const char *name, const char *subjects, int argc, char **argv)
{
    struct options o = {.only = subjects,
                        .plan = {.rounds = 40, .window_ns = 20000000},
                        .size_max = UINT32_MAX,
                        .units = 100000};
    for (int i = 1; i < argc; i++) {
        const char *v;
        if (strcmp(argv[i], "--quick") == 0) {
            o.plan.rounds = 8;
            o.size_max = 1000;
        } else if (strcmp(argv[i], "--instr") == 0)
            o.instr = true;
        else if ((v = bench_option("--only", argc, argv, &i)))
            o.only = v;
        else if ((v = bench_option("--max", argc, argv, &i)))
            o.size_max = bench_number("--max", v, 1, UINT32_MAX);
        else if ((v = bench_option("--rounds", argc, argv, &i)))
            o.plan.rounds = bench_number("--rounds", v, 1, 1000);
        else if ((v = bench_option("--window-ms", argc, argv, &i)))
            o.plan.window_ns = bench_number("--window-ms", v, 1, 10000) * UINT64_C(1000000);
        else if ((v = bench_option("--json", argc, argv, &i)))
            o.json = v;
        else if ((v = bench_option("--run", argc, argv, &i)))
            o.run = v;
        else if ((v = bench_option("--size", argc, argv, &i)))
            o.size = bench_number("--size", v, 1, UINT32_MAX);
        else if ((v = bench_option("--units", argc, argv, &i)))
            o.units = bench_number("--units", v, 1, UINT32_MAX);
        else {
            print_usage(name);
            exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
        }
    }
    return o;
}

/* ---- counting --------------------------------------------------------------------------------- */

static int run_one(const struct options *o)
{
    char                       why[200];
    const struct many_subject *subject = many_find(o->run);
    if (!subject) bench_die("no subject '%s'", o->run);
    if (o->size == 0) bench_die("--run needs a --size");
    void *state = subject->setup(subject, o->size, why, sizeof why);
    if (!state) bench_die("%s of %u: %s", subject->name, o->size, why);
    printf("%" PRIu64 "\n", subject->run(state, o->units));
    fflush(stdout);
    _Exit(0); /* what ends with the process is not counted */
}

/* Each of them has its turn twice in what is counted. */
static double instructions_of(const struct many_subject *subject, unsigned size)
{
    struct callgrind_profile profiles[2];
    uint64_t                 units[2];
    unsigned                 least = size > 20000 ? size : 20000;
    for (int i = 0; i < 2; i++) {
        char arguments[128];
        snprintf(arguments, sizeof arguments, "--run %s --size %u --units %u", subject->name, size,
                 i ? least * 3 : least);
        units[i] = callgrind_run(&profiles[i], arguments, false);
    }
    callgrind_subtract(&profiles[1], &profiles[0]);
    double each = (double)profiles[1].total / (double)(units[1] - units[0]);
    for (int i = 0; i < 2; i++) callgrind_fini(&profiles[i]);
    return each;
}

/* ---- measuring -------------------------------------------------------------------------------- */

/* false: not on this machine, and that was said. */
static bool open_lanes(const struct many_subject *subject, struct lane *lanes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char why[200];
        lanes[i].lane.state = many_child_start(subject, lanes[i].size, why, sizeof why);
        if (lanes[i].lane.state) continue;
        printf("%s of %u: not on this machine: %s\n", subject->name, lanes[i].size, why);
        while (i-- > 0) many_child_end(lanes[i].lane.state);
        return false;
    }
    return true;
}

static bool run_lanes(const struct many_subject *subject, struct lane *lanes, size_t len,
                      struct bench_plan plan)
{
    struct bench_lane *at[LANES_MAX];
    unsigned           part = plan.rounds > PARTS ? (plan.rounds + PARTS - 1) / PARTS : 1;
    for (size_t i = 0; i < len; i++) {
        at[i] = &lanes[i].lane;
        at[i]->measure = many_child_measure;
        bench_lane_init(at[i], plan.rounds);
    }
    for (unsigned from = 0; from < plan.rounds; from += part) {
        unsigned to = from + part < plan.rounds ? from + part : plan.rounds;
        if (!open_lanes(subject, lanes, len)) return false;
        bench_rounds(at, len, plan.window_ns, from, to);
        for (size_t i = 0; i < len; i++) many_child_end(lanes[i].lane.state);
    }
    return true;
}

static void report(const struct many_subject *subject, const struct lane *lanes, size_t len,
                   const struct options *o, FILE *out, const struct bench_host *host)
{
    bool holds = bench_aa_holds(
        bench_ratio(&lanes[len - 1].lane, &lanes[0].lane, BENCH_CPU, o->plan.rounds));
    for (size_t i = 0; i < len; i++) {
        const struct lane    *lane = &lanes[i];
        struct bench_interval r =
            bench_ratio(&lane->lane, &lanes[0].lane, BENCH_CPU, o->plan.rounds);
        double ns = bench_median(lane->lane.ns_per_unit[BENCH_CPU], o->plan.rounds);
        printf("%-14s %9u%s %10.1f   %6.3f [%6.3f .. %6.3f]%s", i ? "" : subject->name, lane->size,
               lane->control ? " A/A" : "    ", ns, r.mid, r.lo, r.hi, holds ? "" : " VOID");
        if (lane->instructions > 0) printf(" %10.1f", lane->instructions);
        printf("\n");
        struct bench_json json;
        bench_json_begin(&json, out, "many", host);
        bench_json_str(&json, "subject", subject->name);
        bench_json_str(&json, "unit", subject->unit);
        bench_json_int(&json, "size", lane->size);
        bench_json_bool(&json, "control", lane->control);
        bench_json_bool(&json, "void", !holds);
        bench_json_num(&json, "cpu_ns", ns);
        bench_json_interval(&json, "growth", r);
        if (lane->instructions > 0) bench_json_num(&json, "instructions", lane->instructions);
        bench_json_end(&json);
    }
    fflush(stdout);
}

static void measure(const struct many_subject *subject, const struct options *o, FILE *out,
                    const struct bench_host *host)
{
    struct lane lanes[LANES_MAX] = {{.size = 0}};
    size_t      len = 0;
    for (const unsigned *size = subject->sizes; *size; size++)
        if (*size <= o->size_max) lanes[len++].size = *size;
    if (len == 0) return;
    lanes[len++] = (struct lane){.size = lanes[0].size, .control = true};
    if (!run_lanes(subject, lanes, len, o->plan)) return;
    for (size_t i = 0; o->instr && i + 1 < len; i++)
        lanes[i].instructions = instructions_of(subject, lanes[i].size);
    report(subject, lanes, len, o, out, host);
    for (size_t i = 0; i < len; i++) bench_lane_fini(&lanes[i].lane);
}

int many_main(const char *name, const char *subjects, int argc, char **argv)
{
    struct options    o = parse(name, subjects, argc, argv);
    struct bench_host host;
    bench_raise_descriptor_limit();
    if (o.run) return run_one(&o);
    FILE *out = o.json ? fopen(o.json, "a") : NULL;
    if (o.json && !out) bench_die_errno(o.json);
    bench_host_get(&host);
    int cpu = bench_pin(BENCH_CPU_LAST);
    printf("%s: %s, %d CPUs (pinned to %d), Linux %s, commit %s\n", name, host.machine, host.cpus,
           cpu, host.kernel, host.commit);
    printf("%u rounds of %u ms, interleaved; growth is CPU time by that of the smallest\n",
           o.plan.rounds, (unsigned)(o.plan.window_ns / 1000000));
    printf("%-14s %9s     %10s   %s%s\n", "subject", "many", "CPU ns", "growth [95%]",
           o.instr ? "             instr." : "");
    for (const struct many_subject *s = many_subjects; s->name; s++)
        if (bench_in_list(o.only, s->name)) measure(s, &o, out, &host);
    if (out) fclose(out);
    return 0;
}
