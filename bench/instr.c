/* bench/instr: how many user instructions does a hop cost?
 *
 * Counted by valgrind's callgrind, so the figure is the same on every run and fit for a gate.
 * The program that is counted is this one: with --variant NAME --hops N it runs N hops and prints
 * how many it really ran. Without --variant it runs itself so under callgrind, twice a variant with
 * two lengths, and prints the difference per hop. Tracing, checks and all else that a release has
 * on is counted; the kernel's part is not. */
#include "lib/bench.h"
#include "lib/callgrind.h"
#include "lib/hop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LIMITS_MAX = 8, SHORT_HOPS = 20000, LONG_HOPS = 60000 };

struct limit {
    char     name[32];
    unsigned instructions;
};

struct options {
    struct hop_shape shape;
    const char      *variant; /* run this one, uncounted; NULL: measure */
    unsigned         hops;
    const char      *only, *json;
    unsigned         top;
    struct limit     limits[LIMITS_MAX];
    size_t           limits_len;
};

static const char usage[] =
    "usage: bench/instr [--only NAME,...] [--limit NAME=N]... [--top N] [--json FILE] [shape]\n"
    "       bench/instr --variant NAME --hops N [shape]\n"
    "shape: [--pairs 16] [--size 64] [--transport unix|tcp]\n"
    "--limit:   leave with 1 if the variant needs more than N instructions a hop\n"
    "--top:     show the N functions that cost most\n"
    "--variant: run this one for N hops, uncounted: what the first form runs under valgrind\n";

static struct limit parse_limit(const char *text)
{
    struct limit limit;
    const char  *equals = strchr(text, '=');
    size_t       len = equals ? (size_t)(equals - text) : 0;
    if (len == 0 || len >= sizeof limit.name) bench_die("--limit: want NAME=N, got '%s'", text);
    memcpy(limit.name, text, len);
    limit.name[len] = '\0';
    if (!hop_variant_find(limit.name)) bench_die("--limit: no variant '%s'", limit.name);
    limit.instructions = bench_number("--limit", equals + 1, 1, 1000000);
    return limit;
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.shape = {.transport = HOP_UNIX, .pairs = 16, .size = 64},
                        .hops = SHORT_HOPS};
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--variant", argc, argv, &i)))
            o.variant = v;
        else if ((v = bench_option("--hops", argc, argv, &i)))
            o.hops = bench_number("--hops", v, 1, 1000000000);
        else if ((v = bench_option("--only", argc, argv, &i)))
            o.only = v;
        else if ((v = bench_option("--top", argc, argv, &i)))
            o.top = bench_number("--top", v, 0, 1000);
        else if ((v = bench_option("--json", argc, argv, &i)))
            o.json = v;
        else if ((v = bench_option("--limit", argc, argv, &i)) && o.limits_len < LIMITS_MAX)
            o.limits[o.limits_len++] = parse_limit(v);
        else if ((v = bench_option("--pairs", argc, argv, &i)))
            o.shape.pairs = bench_number("--pairs", v, 1, 4096);
        else if ((v = bench_option("--size", argc, argv, &i)))
            o.shape.size = bench_number("--size", v, 1, 1 << 16);
        else if ((v = bench_option("--transport", argc, argv, &i)))
            o.shape.transport = strcmp(v, "tcp") == 0 ? HOP_TCP : HOP_UNIX;
        else {
            fputs(usage, stderr);
            hop_variants_list(stderr);
            exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
        }
    }
    return o;
}

/* ---- the program that is counted ----------------------------------------------------------- */

static int run_variant(const struct options *o)
{
    char                      why[256];
    struct hop_run            run;
    const struct hop_variant *variant = hop_variant_find(o->variant);
    if (!variant) bench_die("no variant '%s'", o->variant);
    if (hop_run_init(&run, variant, &o->shape, why, sizeof why) != 0)
        bench_die("%s: %s", variant->name, why);
    printf("%" PRIu64 "\n", variant->run(run.state, o->hops));
    fflush(stdout);
    hop_run_fini(&run);
    return 0;
}

/* ---- counting ------------------------------------------------------------------------------ */

struct count {
    struct callgrind_profile profile;
    uint64_t                 hops;
};

static struct count count_run(const struct options *o, const char *variant, unsigned hops)
{
    char         arguments[256];
    struct count count;
    snprintf(arguments, sizeof arguments,
             "--variant %s --hops %u --pairs %u --size %u --transport %s", variant, hops,
             o->shape.pairs, o->shape.size, hop_transport_name(o->shape.transport));
    count.hops = callgrind_run(&count.profile, arguments, hops == LONG_HOPS);
    return count;
}

static const struct limit *limit_of(const struct options *o, const char *variant)
{
    for (size_t i = 0; i < o->limits_len; i++)
        if (strcmp(o->limits[i].name, variant) == 0) return &o->limits[i];
    return NULL;
}

static void print_top(const struct callgrind_profile *profile, double hops, unsigned top)
{
    for (size_t i = 0; i < profile->len && i < top; i++) {
        double each = (double)profile->at[i].self / hops;
        if (each < 0.05) break;
        printf("    %8.1f  %s\n", each, profile->at[i].name ? profile->at[i].name : "?");
    }
}

/* Returns instructions per hop; the difference of the runs is left in longer. */
static double count_variant(const struct options *o, const char *variant, struct count *longer)
{
    struct count shorter = count_run(o, variant, SHORT_HOPS);
    *longer = count_run(o, variant, LONG_HOPS);
    callgrind_subtract(&longer->profile, &shorter.profile);
    longer->hops -= shorter.hops;
    callgrind_fini(&shorter.profile);
    callgrind_sort(&longer->profile);
    return (double)longer->profile.total / (double)longer->hops;
}

static bool report(const struct options *o, const struct hop_variant *variant, double each,
                   const struct count *count, FILE *out, const struct bench_host *host)
{
    struct bench_json   json;
    const struct limit *limit = limit_of(o, variant->name);
    bool                over = limit && each > limit->instructions;
    printf("  %-14s %8.1f", variant->name, each);
    if (limit) printf("   %s %u", over ? "OVER" : "within", limit->instructions);
    putchar('\n');
    print_top(&count->profile, (double)count->hops, o->top);
    fflush(stdout);
    bench_json_begin(&json, out, "instr", host);
    bench_json_str(&json, "transport", hop_transport_name(o->shape.transport));
    bench_json_int(&json, "pairs", o->shape.pairs);
    bench_json_int(&json, "size", o->shape.size);
    bench_json_str(&json, "variant", variant->name);
    bench_json_num(&json, "instructions_per_hop", each);
    bench_json_end(&json);
    return over;
}

static int measure(const struct options *o)
{
    struct bench_host host;
    FILE             *out = o->json ? fopen(o->json, "a") : NULL;
    bool              over = false;
    if (o->json && !out) bench_die_errno(o->json);
    bench_host_get(&host);
    printf("instr: Linux %s, commit %s; user instructions per hop, %s, %u pairs, %u bytes\n",
           host.kernel, host.commit, hop_transport_name(o->shape.transport), o->shape.pairs,
           o->shape.size);
    for (size_t i = 0; hop_variants[i]; i++) {
        const struct hop_variant *variant = hop_variants[i];
        if ((o->only && !bench_in_list(o->only, variant->name)) ||
            !hop_possible(variant, &o->shape))
            continue;
        struct count count;
        double       each = count_variant(o, variant->name, &count);
        over |= report(o, variant, each, &count, out, &host);
        callgrind_fini(&count.profile);
    }
    if (out) fclose(out);
    return over ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    bench_raise_descriptor_limit();
    return o.variant ? run_variant(&o) : measure(&o);
}
