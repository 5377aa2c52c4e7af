/* bench/hop: how much time does the library add to a receive and a send, beside the same
 * program written by hand?
 *
 * Variants take turns in one thread on one CPU (see lib/hop.h for the program, lib/bench.h for
 * the method). Each raw variant runs twice, the second time as the A/A control of its engine;
 * a shape whose control leaves 1.5% is void. Sockets, rings and loops are made anew every few
 * rounds, since two instances of one program differ for as long as they live. `bench/hop
 * --help` for options. */
#include "lib/bench.h"
#include "lib/hop.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 8, LANES_MAX = 32, ROUNDS_A_LIFE = 4 };

struct list {
    unsigned at[LIST_MAX], len;
};

struct options {
    struct bench_plan plan;
    struct list       pairs, sizes, transports;
    const char       *only;
    enum bench_clock  clock; /* the one that decides about void */
    int               cpu;
    const char       *json;
};

struct lane {
    const struct hop_variant *variant;
    bool                      control; /* the second copy of a raw variant */
    struct hop_run            run;
    struct bench_lane         lane;
};

struct lanes {
    struct lane at[LANES_MAX];
    size_t      len;
};

static const char usage[] =
    "usage: bench/hop [--rounds N] [--window-ms N] [--pairs N,...] [--size BYTES,...]\n"
    "                 [--transport unix,tcp] [--only VARIANT,...] [--clock wall|cpu]\n"
    "                 [--cpu N|any] [--json FILE] [--quick]\n"
    "defaults: 160 rounds of 12 ms, pairs 1,16,256, sizes 64,16384, Unix sockets, all variants,\n"
    "          wall clock, last CPU\n"
    "--quick:  24 rounds of 10 ms, pairs 1,16, size 64: for a look, not for a claim\n"
    "--clock:  the time by which a shape is void; both are shown\n";

/* ---- options ------------------------------------------------------------------------------- */

static struct list parse_list(const char *name, const char *text, unsigned min, unsigned max)
{
    struct list list = {.len = 0};
    char        copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, ","); word; word = strtok(NULL, ",")) {
        if (list.len == LIST_MAX) bench_die("%s: at most %d values", name, LIST_MAX);
        list.at[list.len++] = bench_number(name, word, min, max);
    }
    if (list.len == 0) bench_die("%s: no values", name);
    return list;
}

static struct list parse_transports(const char *text)
{
    struct list list = {.len = 0};
    if (bench_in_list(text, "unix")) list.at[list.len++] = HOP_UNIX;
    if (bench_in_list(text, "tcp")) list.at[list.len++] = HOP_TCP;
    if (list.len == 0) bench_die("--transport: want unix, tcp or both");
    return list;
}

static enum bench_clock parse_clock(const char *text)
{
    if (strcmp(text, "cpu") == 0) return BENCH_CPU;
    if (strcmp(text, "wall") != 0) bench_die("--clock: want wall or cpu");
    return BENCH_WALL;
}

static int parse_cpu(const char *text)
{
    return strcmp(text, "any") == 0 ? BENCH_CPU_ANY : (int)bench_number("--cpu", text, 0, 1023);
}

static struct options parse(int argc, char **argv)
{
    struct options o = {
        .plan = {.rounds = 160, .window_ns = 12000000},
        .pairs = {{1, 16, 256}, 3},
        .sizes = {{64, 16384}, 2},
        .transports = {{HOP_UNIX}, 1},
        .clock = BENCH_WALL,
        .cpu = BENCH_CPU_LAST,
    };
    for (int i = 1; i < argc; i++) {
        const char *v;
        if (strcmp(argv[i], "--quick") == 0) {
            o.plan = (struct bench_plan){.rounds = 24, .window_ns = 10000000};
            o.pairs = (struct list){{1, 16}, 2};
            o.sizes = (struct list){{64}, 1};
        } else if ((v = bench_option("--rounds", argc, argv, &i)))
            o.plan.rounds = bench_number("--rounds", v, 1, 1000);
        else if ((v = bench_option("--window-ms", argc, argv, &i)))
            o.plan.window_ns = bench_number("--window-ms", v, 1, 10000) * UINT64_C(1000000);
        else if ((v = bench_option("--pairs", argc, argv, &i)))
            o.pairs = parse_list("--pairs", v, 1, 4096);
        else if ((v = bench_option("--size", argc, argv, &i)))
            o.sizes = parse_list("--size", v, 1, 1 << 16);
        else if ((v = bench_option("--transport", argc, argv, &i)))
            o.transports = parse_transports(v);
        else if ((v = bench_option("--only", argc, argv, &i)))
            o.only = v;
        else if ((v = bench_option("--clock", argc, argv, &i)))
            o.clock = parse_clock(v);
        else if ((v = bench_option("--cpu", argc, argv, &i)))
            o.cpu = parse_cpu(v);
        else if ((v = bench_option("--json", argc, argv, &i)))
            o.json = v;
        else {
            fputs(usage, stderr);
            hop_variants_list(stderr);
            exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
        }
    }
    return o;
}

/* ---- lanes --------------------------------------------------------------------------------- */

static bool is_raw(const struct hop_variant *variant)
{
    return strcmp(variant->name, variant->raw) == 0;
}

/* A raw variant is wanted too when something compared to it is. */
static bool wanted(const struct options *o, const struct hop_variant *variant)
{
    if (!o->only || bench_in_list(o->only, variant->name)) return true;
    for (size_t i = 0; is_raw(variant) && hop_variants[i]; i++)
        if (strcmp(hop_variants[i]->raw, variant->name) == 0 &&
            bench_in_list(o->only, hop_variants[i]->name))
            return true;
    return false;
}

static void add(struct lanes *lanes, const struct hop_variant *variant, bool control)
{
    if (lanes->len == LANES_MAX) bench_die("more than %d lanes", LANES_MAX);
    lanes->at[lanes->len++] = (struct lane){.variant = variant, .control = control};
}

/* Engine by engine: the raw variant, what is compared to it, the raw one again. */
static void list_lanes(struct lanes *lanes, const struct options *o, const struct hop_shape *shape)
{
    lanes->len = 0;
    for (size_t i = 0; hop_variants[i]; i++) {
        const struct hop_variant *raw = hop_variants[i];
        if (!is_raw(raw) || !wanted(o, raw) || !hop_possible(raw, shape)) continue;
        add(lanes, raw, false);
        for (size_t j = 0; hop_variants[j]; j++) {
            const struct hop_variant *other = hop_variants[j];
            if (j != i && strcmp(other->raw, raw->name) == 0 && wanted(o, other) &&
                hop_possible(other, shape))
                add(lanes, other, false);
        }
        add(lanes, raw, true);
    }
}

/* Alternately from the first and from the last, so that no lane always gets the best memory. */
static void open_lanes(struct lanes *lanes, const struct hop_shape *shape, bool backwards)
{
    for (size_t i = 0; i < lanes->len; i++) {
        struct lane *lane = &lanes->at[backwards ? lanes->len - 1 - i : i];
        char         why[256];
        if (hop_run_init(&lane->run, lane->variant, shape, why, sizeof why) != 0)
            bench_die("%s: %s", lane->variant->name, why);
    }
}

static void close_lanes(struct lanes *lanes)
{
    for (size_t i = 0; i < lanes->len; i++) hop_run_fini(&lanes->at[i].run);
}

static void run_lanes(struct lanes *lanes, const struct hop_shape *shape, struct bench_plan plan)
{
    struct bench_lane *at[LANES_MAX];
    for (size_t i = 0; i < lanes->len; i++) {
        at[i] = &lanes->at[i].lane;
        *at[i] = (struct bench_lane){.state = &lanes->at[i].run, .run_for = hop_run_for};
        bench_lane_init(at[i], plan.rounds);
    }
    for (unsigned from = 0; from < plan.rounds; from += ROUNDS_A_LIFE) {
        unsigned to = from + ROUNDS_A_LIFE < plan.rounds ? from + ROUNDS_A_LIFE : plan.rounds;
        open_lanes(lanes, shape, from / ROUNDS_A_LIFE % 2 == 1);
        bench_rounds(at, lanes->len, plan.window_ns, from, to);
        close_lanes(lanes);
    }
}

static const struct lane *find(const struct lanes *lanes, const char *name, bool control)
{
    for (size_t i = 0; i < lanes->len; i++)
        if (lanes->at[i].control == control && strcmp(lanes->at[i].variant->name, name) == 0)
            return &lanes->at[i];
    return NULL;
}

/* ---- results ------------------------------------------------------------------------------- */

struct result {
    const struct lane    *lane;
    double                ns[BENCH_CLOCKS];
    struct bench_interval ratio[BENCH_CLOCKS]; /* to the raw variant of its engine */
    bool                  is_void;
};

static struct result evaluate(const struct lanes *lanes, const struct lane *lane,
                              const struct options *o)
{
    struct result      r = {.lane = lane};
    const struct lane *raw = find(lanes, lane->variant->raw, false),
                      *control = find(lanes, lane->variant->raw, true);
    unsigned rounds = o->plan.rounds;
    for (int clock = 0; clock < BENCH_CLOCKS; clock++) {
        r.ns[clock] = bench_median(lane->lane.ns_per_unit[clock], rounds);
        r.ratio[clock] = bench_ratio(&lane->lane, &raw->lane, (enum bench_clock)clock, rounds);
    }
    r.is_void =
        !control || !bench_aa_holds(bench_ratio(&control->lane, &raw->lane, o->clock, rounds));
    return r;
}

static void print_result(const struct result *r)
{
    char                         name[64];
    const struct bench_interval *wall = &r->ratio[BENCH_WALL], *cpu = &r->ratio[BENCH_CPU];
    snprintf(name, sizeof name, "%s%s", r->lane->variant->name, r->lane->control ? " (A/A)" : "");
    printf("  %-18s %8.0f %8.0f", name, r->ns[BENCH_WALL], r->ns[BENCH_CPU]);
    if (is_raw(r->lane->variant) && !r->lane->control)
        printf("   %-26s %-26s", "1", "1");
    else
        printf("   %.3f  [%.3f .. %.3f]    %.3f  [%.3f .. %.3f]   ", wall->mid, wall->lo, wall->hi,
               cpu->mid, cpu->lo, cpu->hi);
    puts(r->is_void ? " VOID" : "");
}

static void write_result(const struct result *r, const struct hop_shape *shape,
                         const struct options *o, FILE *out, const struct bench_host *host)
{
    static const char *const ns_keys[] = {"wall_ns", "cpu_ns"}, *const ratio_keys[] = {"wall_ratio",
                                                                                       "cpu_ratio"};
    struct bench_json json;
    bench_json_begin(&json, out, "hop", host);
    bench_json_str(&json, "transport", hop_transport_name(shape->transport));
    bench_json_int(&json, "pairs", shape->pairs);
    bench_json_int(&json, "size", shape->size);
    bench_json_int(&json, "window_ns", o->plan.window_ns);
    bench_json_str(&json, "variant", r->lane->variant->name);
    bench_json_str(&json, "raw", r->lane->variant->raw);
    bench_json_bool(&json, "control", r->lane->control);
    bench_json_bool(&json, "void", r->is_void);
    for (int clock = 0; clock < BENCH_CLOCKS; clock++) {
        bench_json_interval(&json, ratio_keys[clock], r->ratio[clock]);
        bench_json_nums(&json, ns_keys[clock], r->lane->lane.ns_per_unit[clock], o->plan.rounds);
    }
    bench_json_end(&json);
}

static void measure_shape(const struct hop_shape *shape, const struct options *o, FILE *out,
                          const struct bench_host *host)
{
    static struct lanes lanes;
    printf("\n%s, %u pair%s, %u bytes\n", hop_transport_name(shape->transport), shape->pairs,
           shape->pairs == 1 ? "" : "s", shape->size);
    list_lanes(&lanes, o, shape);
    if (lanes.len == 0) return;
    run_lanes(&lanes, shape, o->plan);
    printf("  %-18s %8s %8s   %-26s %-26s\n", "variant", "wall ns", "CPU ns", "wall / raw  [95%]",
           "CPU / raw  [95%]");
    for (size_t i = 0; i < lanes.len; i++) {
        struct result r = evaluate(&lanes, &lanes.at[i], o);
        print_result(&r);
        write_result(&r, shape, o, out, host);
    }
    fflush(stdout);
    for (size_t i = 0; i < lanes.len; i++) bench_lane_fini(&lanes.at[i].lane);
}

int main(int argc, char **argv)
{
    struct options    o = parse(argc, argv);
    struct bench_host host;
    FILE             *out = o.json ? fopen(o.json, "a") : NULL;
    if (o.json && !out) bench_die_errno(o.json);
    bench_host_get(&host);
    bench_raise_descriptor_limit();
    int cpu = bench_pin(o.cpu);
    printf("hop: %s, %d CPUs (pinned to %d), Linux %s, commit %s\n", host.machine, host.cpus, cpu,
           host.kernel, host.commit);
    printf("%u rounds of %u ms, interleaved; void is decided on %s time\n", o.plan.rounds,
           (unsigned)(o.plan.window_ns / 1000000), o.clock == BENCH_WALL ? "wall" : "CPU");
    for (unsigned t = 0; t < o.transports.len; t++)
        for (unsigned s = 0; s < o.sizes.len; s++)
            for (unsigned p = 0; p < o.pairs.len; p++)
                measure_shape(
                    &(struct hop_shape){.transport = (enum hop_transport)o.transports.at[t],
                                        .pairs = o.pairs.at[p],
                                        .size = o.sizes.at[s]},
                    &o, out, &host);
    if (out) fclose(out);
    return 0;
}
