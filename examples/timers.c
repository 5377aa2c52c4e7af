/* Timers: one that comes back without drifting, and one that is canceled.
 *
 *     timers
 *
 * What to see here: a timer is an operation like any other.  It completes once; to have it come
 * back its handler starts it again, at the time after the last one, not after now: lateness does
 * not add up.  A canceled timer completes too, and says so. */
#include <proactor.h>

#include <stdio.h>

#define PERIOD_NS (50 * PRO_MSEC)

static pro_loop *loop;
static pro_op    tick, patience;
static uint64_t  begin_ns, due_ns;
static int       ticks;

static void on_tick(pro_op *op)
{
    ticks++;
    printf("tick %d, due at %d ms\n", ticks, (int)((due_ns - begin_ns) / PRO_MSEC));
    if (ticks == 5) {
        pro_cancel(&patience); /* its handler runs later, not in here */
        return;
    }
    due_ns += PERIOD_NS;
    pro_timer_start(op, loop, due_ns, on_tick);
}

static void on_patience(pro_op *op)
{
    printf("an hour of patience: %s\n", op->error == PRO_OK ? "over" : pro_error_text(op->error));
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "usage: timers\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "timers: cannot make a loop: %s\n", pro_error_text(error));
        return 1;
    }
    begin_ns = pro_loop_now(loop);
    due_ns = begin_ns + PERIOD_NS;
    pro_timer_start(&tick, loop, due_ns, on_tick);
    pro_sleep(&patience, loop, 3600 * PRO_SEC, on_patience);
    pro_loop_run(loop); /* returns when nothing is in flight */
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
