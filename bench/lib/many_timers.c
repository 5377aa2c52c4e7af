/* Many timers; see many.h. */
#include "bench.h"
#include "many_subjects.h"

#include <proactor.h>
#include <stdlib.h>
#include <string.h>

#ifdef BENCH_UV
#include <uv.h>
#endif

/* One event a microsecond, whatever their number, and a turn for each 64 of them. */
enum { GAP_NS = 1000, BATCH = 64, HOT = 16 };

struct timers {
    pro_loop *loop;
    pro_op   *ops;
    unsigned  size;
    bool      is_hot; /* the first few again and again */
    uint64_t  now_ns, random, units;
};

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13; /* xorshift64 */
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static uint64_t clock_of(void *ctx) { return ((struct timers *)ctx)->now_ns; }

/* Somewhere in twice the time that it takes for all to have their turn. */
static uint64_t somewhen(struct timers *t)
{
    return t->now_ns + GAP_NS + next_random(&t->random) % ((uint64_t)t->size * GAP_NS * 2);
}

static void start_anew(pro_op *op)
{
    struct timers *t = op->user;
    t->units++;
    pro_timer_start(op, t->loop, somewhen(t), start_anew);
}

void *many_timers(const struct many_subject *subject, unsigned size, char *why, size_t why_size)
{
    struct timers *t = calloc(1, sizeof *t);
    if (t) t->ops = calloc(size, sizeof *t->ops);
    if (!t || !t->ops) bench_die("out of memory for %u timers", size);
    t->size = size;
    t->is_hot = strcmp(subject->name, "timer-hot") == 0;
    t->now_ns = PRO_SEC;
    t->random = UINT64_C(0x9e3779b97f4a7c15);
    pro_loop_options options;
    pro_loop_options_init(&options);
    options.env.ctx = t;
    options.env.clock_ns = clock_of;
    int error = pro_loop_new(&t->loop, &options);
    if (error) {
        snprintf(why, why_size, "pro_loop_new: %s", pro_error_name(error));
        return NULL;
    }
    pro_loop_poll(t->loop);
    for (unsigned i = 0; i < size; i++) {
        t->ops[i].user = t;
        pro_timer_start(&t->ops[i], t->loop, somewhen(t), start_anew);
    }
    return t;
}

/* Time stands still. */
uint64_t many_timers_rearm(void *state, uint64_t units_min)
{
    struct timers *t = state;
    t->units = 0;
    while (t->units < units_min) {
        int batch = t->is_hot ? HOT : BATCH;
        for (int i = 0; i < batch; i++)
            pro_cancel(&t->ops[t->is_hot ? (uint64_t)i : next_random(&t->random) % t->size]);
        pro_loop_poll(t->loop);
    }
    return t->units;
}

uint64_t many_timers_expire(void *state, uint64_t units_min)
{
    struct timers *t = state;
    t->units = 0;
    while (t->units < units_min) {
        t->now_ns += GAP_NS * BATCH;
        pro_loop_poll(t->loop);
    }
    return t->units;
}

#ifdef BENCH_UV

struct uv_timers {
    uv_loop_t   loop;
    uv_timer_t *at;
    unsigned    size;
    bool        is_hot;
    uint64_t    random;
};

static void never(uv_timer_t *timer) { (void)timer; }

static void arm(struct uv_timers *t, unsigned i)
{
    uint64_t ms = 3600000 + next_random(&t->random) % ((uint64_t)t->size + 1000);
    uv_timer_start(&t->at[i], never, ms, 0);
}

void *many_uv_timers(const struct many_subject *subject, unsigned size, char *why, size_t why_size)
{
    (void)why, (void)why_size;
    struct uv_timers *t = calloc(1, sizeof *t);
    if (t) t->at = calloc(size, sizeof *t->at);
    if (!t || !t->at) bench_die("out of memory for %u timers", size);
    t->size = size;
    t->is_hot = strcmp(subject->name, "uv-hot") == 0;
    t->random = UINT64_C(0x9e3779b97f4a7c15);
    uv_loop_init(&t->loop);
    for (unsigned i = 0; i < size; i++) {
        uv_timer_init(&t->loop, &t->at[i]);
        arm(t, i);
    }
    return t;
}

uint64_t many_uv_timers_rearm(void *state, uint64_t units_min)
{
    struct uv_timers *t = state;
    uint64_t          units = 0;
    while (units < units_min) {
        unsigned batch = t->is_hot ? HOT : BATCH;
        for (unsigned i = 0; i < batch; i++)
            arm(t, t->is_hot ? i : (unsigned)(next_random(&t->random) % t->size));
        units += batch;
        uv_run(&t->loop, UV_RUN_NOWAIT);
    }
    return units;
}

#else

void *many_uv_timers(const struct many_subject *subject, unsigned size, char *why, size_t why_size)
{
    (void)subject, (void)size;
    snprintf(why, why_size, "libuv1-dev is not installed");
    return NULL;
}

uint64_t many_uv_timers_rearm(void *state, uint64_t units_min)
{
    (void)state;
    return units_min;
}

#endif
