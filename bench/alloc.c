/* bench/alloc: how often is memory asked for in steady state? The goal is never.
 *
 * The program's own malloc family counts, so nothing escapes: not the library, not what it
 * links. Each variant warms up (pools may grow, once), then runs again, counted. Leaves with 1
 * if a library variant allocated.
 *
 *   bench/alloc [--hops 100000] [--only NAME,...] [--pairs 16] [--size 64]
 *               [--transport unix|tcp] */
#include "lib/bench.h"
#include "lib/hop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPERATIONS_PER_HOP = 2 };

static uint64_t allocations;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

static const bool counting; /* a sanitizer has its own malloc: leave it alone */

#else

static const bool counting = true;

/* glibc's own entry points, behind the names that a program may replace. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
    allocations++;
    return __libc_realloc(ptr, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **ptr, size_t alignment, size_t size)
{
    allocations++;
    *ptr = __libc_memalign(alignment, size);
    return *ptr ? 0 : ENOMEM;
}

#endif

struct options {
    struct hop_shape shape;
    unsigned         hops;
    const char      *only;
};

static struct options parse(int argc, char **argv)
{
    struct options o = {.shape = {.transport = HOP_UNIX, .pairs = 16, .size = 64}, .hops = 100000};
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--hops", argc, argv, &i)))
            o.hops = bench_number("--hops", v, 1, 1000000000);
        else if ((v = bench_option("--only", argc, argv, &i)))
            o.only = v;
        else if ((v = bench_option("--pairs", argc, argv, &i)))
            o.shape.pairs = bench_number("--pairs", v, 1, 4096);
        else if ((v = bench_option("--size", argc, argv, &i)))
            o.shape.size = bench_number("--size", v, 1, 1 << 16);
        else if ((v = bench_option("--transport", argc, argv, &i)))
            o.shape.transport = strcmp(v, "tcp") == 0 ? HOP_TCP : HOP_UNIX;
        else {
            fputs("usage: bench/alloc [--hops N] [--only NAME,...] [--pairs N] [--size BYTES]\n"
                  "                   [--transport unix|tcp]\n",
                  stderr);
            exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
        }
    }
    return o;
}

/* Returns true if a library variant allocated. */
static bool count(const struct hop_variant *variant, const struct options *o)
{
    char           why[256];
    struct hop_run run;
    if (hop_run_init(&run, variant, &o->shape, why, sizeof why) != 0) {
        printf("  %-14s not on this machine: %s\n", variant->name, why);
        return false;
    }
    variant->run(run.state, o->hops);
    uint64_t before = allocations;
    uint64_t hops = variant->run(run.state, o->hops);
    uint64_t made = allocations - before;
    printf("  %-14s %12" PRIu64 " %10" PRIu64 " %12.6f\n", variant->name, hops * OPERATIONS_PER_HOP,
           made, (double)made / (double)(hops * OPERATIONS_PER_HOP));
    hop_run_fini(&run);
    return made > 0 && strcmp(variant->name, variant->raw) != 0;
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    bool           failed = false;
    if (!counting) {
        puts("alloc: a sanitizer owns malloc in this build: nothing to count");
        return 0;
    }
    bench_raise_descriptor_limit();
    printf("alloc: %s, %u pairs, %u bytes, after a warm-up of %u hops\n",
           hop_transport_name(o.shape.transport), o.shape.pairs, o.shape.size, o.hops);
    printf("  %-14s %12s %10s %12s\n", "variant", "operations", "allocated", "each");
    for (size_t i = 0; hop_variants[i]; i++)
        if (!o.only || bench_in_list(o.only, hop_variants[i]->name))
            failed |= count(hop_variants[i], &o);
    return failed ? 1 : 0;
}
