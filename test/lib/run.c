/* What a sentence has: memory, random numbers, loops; and the look back at its end. */
#include "lib/sim.h"

#include "lib/form.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Checks ---------------------------------------------------------------------------------- */

void t_check_eq(const char *file, int line, const char *what, long long is, long long want)
{
    if (is != want) t_fail(file, line, "%s %lld, want %lld", what, is, want);
}

void t_check_error(const char *file, int line, const char *what, int is, int want)
{
    if (is != want)
        t_fail(file, line, "%s %s, want %s", what, pro_error_name(is), pro_error_name(want));
}

/* ---- Memory ---------------------------------------------------------------------------------- */

struct t_piece {
    t_piece *next;
    void    *memory;
};

void *t_alloc(size_t size)
{
    t_run_state *run = t_current;
    t_piece     *piece = malloc(sizeof *piece);
    void        *memory = calloc(1, size ? size : 1);
    if (piece == NULL || memory == NULL) FAIL("no memory for the sentence");
    piece->memory = memory;
    piece->next = atomic_load(&run->pieces);
    while (!atomic_compare_exchange_weak(&run->pieces, &piece->next, piece)) {}
    return memory;
}

void t_run_free(t_run_state *run)
{
    for (t_piece *piece = atomic_load(&run->pieces), *next; piece != NULL; piece = next) {
        next = piece->next;
        free(piece->memory);
        free(piece);
    }
    free(run);
}

/* ---- Random numbers, patterns ---------------------------------------------------------------- */

/* Vigna's splitmix64. */
uint64_t t_random(void)
{
    uint64_t z = t_current->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t t_below(uint64_t bound) { return t_random() % bound; }

static unsigned char pattern(unsigned key, uint64_t at)
{
    return (unsigned char)(key + at * 167 + (at >> 8) * 13 + (at >> 16) * 7);
}

void t_fill(void *buf, size_t len, unsigned key, uint64_t offset)
{
    unsigned char *bytes = buf;
    for (size_t i = 0; i < len; i++) bytes[i] = pattern(key, offset + i);
}

void t_check_fill(const char *file, int line, const void *buf, size_t len, unsigned key,
                  uint64_t offset)
{
    const unsigned char *bytes = buf;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != pattern(key, offset + i))
            t_fail_firmly(file, line, "byte %llu of the stream is %d, want %d",
                          (unsigned long long)(offset + i), bytes[i], pattern(key, offset + i));
    }
}

/* ---- Loops ----------------------------------------------------------------------------------- */

static void *counted_realloc(void *ctx, void *ptr, size_t size)
{
    t_run_state *run = ctx;
    if (size == 0) {
        if (ptr != NULL) atomic_fetch_sub(&run->memory_live, 1);
        free(ptr);
        return NULL;
    }
    atomic_fetch_add(&run->memory_asked, 1);
    long left = atomic_load(&run->memory_left);
    if (left == 0) return NULL;
    if (left > 0) atomic_store(&run->memory_left, left - 1);
    void *memory = realloc(ptr, size);
    if (memory != NULL && ptr == NULL) atomic_fetch_add(&run->memory_live, 1);
    return memory;
}

void t_memory_fails(long after)
{
    atomic_store(&t_current->memory_left, after);
    atomic_store(&t_current->memory_asked, 0);
}

long t_memory_asked(void) { return atomic_load(&t_current->memory_asked); }

pro_loop_options t_loop_options(void)
{
    pro_loop_options o;
    pro_loop_options_init(&o);
    o.engine = t_current->engine;
    o.mask = t_current->mask;
    o.fixed_slots = t_current->slots;
    o.zerocopy_min = t_form_zerocopy_min();
    o.env.ctx = t_current;
    o.env.realloc = counted_realloc;
    o.env.fault = t_os_fault;
    return o;
}

pro_loop *t_loop_with(const pro_loop_options *options)
{
    pro_loop *loop = NULL;
    int       error = pro_loop_new(&loop, options);
    CHECK_ERROR(error, PRO_OK);
    CHECK(loop != NULL);
    for (int i = 0; i < T_LOOPS_MAX; i++) {
        pro_loop *none = NULL;
        if (atomic_compare_exchange_strong(&t_current->loops[i], &none, loop)) return loop;
    }
    FAIL("more than %d loops", T_LOOPS_MAX);
}

pro_loop *t_loop(void)
{
    pro_loop_options o = t_loop_options();
    return t_loop_with(&o);
}

pro_loop *t_loop_of_descriptors(void)
{
    pro_loop_options o = t_loop_options();
    o.fixed_slots = 0;
    return t_loop_with(&o);
}

static uint64_t clock_ahead(void *ctx)
{
    t_run_state *run = ctx;
    return t_os_clock_ns() + atomic_load(&run->clock_ahead_ns);
}

pro_loop *t_loop_clocked(void)
{
    pro_loop_options o = t_loop_options();
    if (!t_world_here()) o.env.clock_ns = clock_ahead; /* a world has the time */
    return t_loop_with(&o);
}

void t_clock_advance(uint64_t ns)
{
    if (t_world_here())
        t_world_sleep(ns);
    else
        atomic_fetch_add(&t_current->clock_ahead_ns, ns);
}

static void print_alive(void *arg, const char *line)
{
    (void)arg;
    t_note("  alive: %s\n", line);
}

/* Nothing is left in a slot, but for what a turn would close. */
static void check_slots(pro_loop *loop)
{
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    if (stats.slots_used == 0 || stats.live_handles > 0) return;
    pro_loop_poll(loop);
    pro_loop_stats_get(loop, &stats);
    if (stats.slots_used > 0) FAIL_FIRMLY("slots in use at the end %u, want 0", stats.slots_used);
}

void t_loop_free(pro_loop *loop)
{
    check_slots(loop);
    int error = pro_loop_free(loop);
    if (error == PRO_EBUSY) pro_loop_dump(loop, print_alive, NULL);
    if (error != PRO_OK) FAIL_FIRMLY("pro_loop_free %s, want PRO_OK", pro_error_name(error));
    for (int i = 0; i < T_LOOPS_MAX; i++) {
        pro_loop *freed = loop;
        atomic_compare_exchange_strong(&t_current->loops[i], &freed, NULL);
    }
}

static int64_t turned(int64_t handlers)
{
    if (handlers < 0) FAIL("a turn of the loop: %s", pro_error_name((int)handlers));
    if (!t_world_here()) return handlers; /* a watchdog looks after it, and there may be threads */
    t_current->idle_turns = handlers > 0 ? 0 : t_current->idle_turns + 1;
    if (t_current->idle_turns > 100000) /* nobody else would stop it there */
        FAIL("100,000 turns with nothing to run");
    return handlers;
}

void    t_run(pro_loop *loop) { turned(pro_loop_run(loop)); }
int64_t t_turn(pro_loop *loop) { return turned(pro_loop_run_once(loop)); }
int64_t t_poll(pro_loop *loop) { return turned(pro_loop_poll(loop)); }

void t_settle(pro_loop *loop)
{
    for (int i = 0; i < 5; i++) {
        if (t_world_here()) t_world_sleep(PRO_MSEC);
        t_poll(loop);
    }
}

void t_wait_count(pro_loop *loop, const int *count, int want)
{
    int idle = 0;
    while (*count < want) {
        idle = t_turn(loop) > 0 ? 0 : idle + 1;
        if (idle > 10000) {
            pro_loop_dump(loop, print_alive, NULL);
            FAIL("the loop has nothing to run: completions %d, want %d", *count, want);
        }
    }
}

/* ---- The look back --------------------------------------------------------------------------- */

void t_run_finish(void)
{
    t_run_state *run = t_current;
    for (int i = 0; i < T_LOOPS_MAX; i++) {
        pro_loop *loop = atomic_load(&run->loops[i]);
        if (loop != NULL) t_loop_free(loop);
    }
    if (atomic_load(&run->memory_live) != 0)
        FAIL("allocations left over: %ld, want 0", atomic_load(&run->memory_live));
    if (t_world_here()) return; /* which counts its descriptors itself */
    int descriptors = run->descriptors < 0 ? -1 : t_os_descriptors();
    if (descriptors != run->descriptors)
        FAIL("open descriptors at the end %d, want %d as before", descriptors, run->descriptors);
}
