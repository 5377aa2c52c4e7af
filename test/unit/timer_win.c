/* precise_timers on Windows: who asks for them gets a timer of the system, and it is never early. */
#include "unit.h"

#include <stdbool.h>

#include <proactor.h>

#include "core/loop.h"

enum { SLEEPS = 40 };

static pro_loop *loop_with(int precise, const char *mask)
{
    pro_loop_options options;
    pro_loop        *loop;
    pro_loop_options_init(&options);
    options.precise_timers = precise;
    options.mask = mask;
    CHECK_EQ(pro_loop_new(&loop, &options), PRO_OK);
    return loop;
}

static bool is_precise(const pro_loop *loop)
{
    char line[300];
    pro_loop_explain_line(loop, line, sizeof line);
    return strstr(line, "precise_timers") != NULL;
}

UNIT(precise_timers_are_there_when_asked_for_and_not_masked)
{
    static const struct {
        int         precise;
        const char *mask;
        bool        want;
    } cases[] = {{0, NULL, false}, {1, NULL, true}, {1, "precise_timers", false}};
    for (int i = 0; i < 3; i++) {
        pro_loop *loop = loop_with(cases[i].precise, cases[i].mask);
        CHECK_EQ(is_precise(loop), cases[i].want);
        CHECK_EQ(pro_loop_free(loop), PRO_OK);
    }
}

static void count(pro_op *op) { ++*(int *)op->user; }

/* How late the earliest of some sleeps was; none is early. */
static uint64_t sleep_some(pro_loop *loop, uint64_t delay_ns)
{
    uint64_t least = UINT64_MAX;
    int      done = 0;
    pro_op   op = {.user = &done};
    for (int i = 0; i < SLEEPS; i++) {
        uint64_t before = pri_os_clock_ns(NULL);
        pro_sleep(&op, loop, delay_ns, count);
        CHECK(pro_loop_run(loop) > 0);
        uint64_t took = pri_os_clock_ns(NULL) - before;
        CHECK_EQ(done, i + 1);
        CHECK(took >= delay_ns);
        if (took - delay_ns < least) least = took - delay_ns;
    }
    return least;
}

UNIT(a_timer_is_never_early_precise_or_not)
{
    for (int precise = 0; precise < 2; precise++) {
        pro_loop *loop = loop_with(precise, NULL);
        for (uint64_t delay = 100 * PRO_USEC; delay < 4 * PRO_MSEC; delay = delay * 2 + 7777) {
            uint64_t late = sleep_some(loop, delay);
            printf("# %s, %4d us: late by %4d us at best\n", precise ? "precise" : "plain",
                   (int)(delay / PRO_USEC), (int)(late / PRO_USEC));
        }
        CHECK_EQ(pro_loop_free(loop), PRO_OK);
    }
}

/* The engine by itself: with no time-out to end its wait, that it ends shows the timer. */
UNIT(the_timer_of_the_system_ends_the_wait)
{
    pro_loop      *loop = loop_with(1, NULL);
    pri_record     records[4];
    pro_loop_stats before, after;
    const uint64_t until = pri_os_clock_ns(NULL) + 300 * PRO_USEC;
    pro_loop_stats_get(loop, &before);
    CHECK_EQ(loop->engine->turn(loop, until, records, 4), 0);
    pro_loop_stats_get(loop, &after);
    CHECK(pri_os_clock_ns(NULL) >= until);
    CHECK_EQ(after.system_calls - before.system_calls, 2); /* set the timer, wait */
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

/* A wait that something else ends leaves the timer set: the next one finds it so, or fired. */
UNIT(a_wake_does_not_lose_the_timer)
{
    pro_loop *loop = loop_with(1, NULL);
    for (int i = 0; i < 200; i++) {
        pri_record     records[4];
        const uint64_t until = pri_os_clock_ns(NULL) + (uint64_t)(i % 8) * 50 * PRO_USEC;
        loop->engine->wake(loop);
        while (pri_os_clock_ns(NULL) < until)
            CHECK_EQ(loop->engine->turn(loop, until, records, 4), 0);
    }
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

static int fail_call(void *ctx, const char *call)
{
    return strcmp(call, ctx) == 0 ? 8 /* ERROR_NOT_ENOUGH_MEMORY */ : 0;
}

UNIT(without_the_timer_a_wait_has_a_time_out)
{
    pro_loop_options options;
    pro_loop        *loop;
    pro_loop_options_init(&options);
    options.precise_timers = 1;
    options.env.fault = fail_call;
    options.env.ctx = "SetWaitableTimer";
    CHECK_EQ(pro_loop_new(&loop, &options), PRO_OK);
    sleep_some(loop, PRO_MSEC);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
    options.env.ctx = "RegisterWaitForSingleObject";
    CHECK_EQ(pro_loop_new(&loop, &options), PRO_ENOMEM);
    CHECK(!loop);
}
