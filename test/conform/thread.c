/* Threads and posts.
 * Covers 57 of the list, posts in order, posts from signal handlers, and what is left at free. */
#include "lib/net.h"
#include "lib/os.h"

#include <signal.h>

/* ---- 57: a wake is never lost ---------------------------------------------------------------- */

struct ping {
    pro_op    op;
    pro_loop *loop;
    t_event  *answer;
    int       count, want;
};

static void answer(pro_op *op)
{
    struct ping *x = pro_container_of(op, struct ping, op);
    x->count++;
    if (x->count == x->want) pro_loop_release(x->loop);
    t_event_set(x->answer); /* from here on the other thread has op */
}

static void ping_main(void *arg)
{
    struct ping *x = arg;
    for (int i = 0; i < x->want; i++) {
        pro_post(&x->op, x->loop, answer);
        t_event_wait(x->answer);
    }
}

/* Each post finds the loop asleep, about to sleep, or just awake. */
CONFORM(a_wake_from_another_thread_is_never_lost)
{
    pro_loop    *loop = t_loop();
    struct ping *x = t_new(struct ping);
    x->loop = loop;
    x->want = t_rounds(20000);
    x->answer = t_event_new();
    pro_loop_hold(loop);
    t_thread *thread = t_thread_start(ping_main, x);
    t_run(loop);
    t_thread_join(thread);
    CHECK_EQ(x->count, x->want);
    t_event_free(x->answer);
}

enum { POSTERS = 4 };

struct burst {
    pro_op op;
    int    thread, number;
};

struct poster {
    pro_loop     *loop;
    struct burst *bursts;
    int           count;
};

static int       last_of[POSTERS], total, total_want;
static pro_loop *burst_loop;

static void one_of_burst(pro_op *op)
{
    struct burst *x = pro_container_of(op, struct burst, op);
    CHECK_ERROR(op->error, PRO_OK);
    CHECK_EQ(x->number, last_of[x->thread] + 1);
    last_of[x->thread] = x->number;
    if (++total == total_want) pro_loop_release(burst_loop);
}

static void poster_main(void *arg)
{
    struct poster *x = arg;
    for (int i = 0; i < x->count; i++) pro_post(&x->bursts[i].op, x->loop, one_of_burst);
}

CONFORM(posts_of_one_thread_run_in_order)
{
    pro_loop      *loop = t_loop();
    int            count = t_rounds(20000);
    struct poster *posters = t_array(struct poster, POSTERS);
    t_thread      *threads[POSTERS];
    burst_loop = loop;
    total = 0;
    total_want = POSTERS * count;
    pro_loop_hold(loop);
    for (int i = 0; i < POSTERS; i++) {
        last_of[i] = -1;
        posters[i] = (struct poster){loop, t_array(struct burst, count), count};
        for (int j = 0; j < count; j++) {
            posters[i].bursts[j].thread = i;
            posters[i].bursts[j].number = j;
        }
    }
    for (int i = 0; i < POSTERS; i++) threads[i] = t_thread_start(poster_main, &posters[i]);
    t_run(loop);
    for (int i = 0; i < POSTERS; i++) t_thread_join(threads[i]);
    CHECK_EQ(total, total_want);
}

/* What a thread wrote before its post is there in the handler: plain memory, for the eyes of a thread
 * sanitizer. */
struct letter {
    pro_op op;
    int    plain[16];
    bool   read;
};

static void read_letter(pro_op *op)
{
    struct letter *x = pro_container_of(op, struct letter, op);
    for (int i = 0; i < 16; i++) CHECK_EQ(x->plain[i], i * 3);
    x->read = true;
}

static void write_letter(void *arg)
{
    struct letter *x = arg;
    for (int i = 0; i < 16; i++) x->plain[i] = i * 3;
    pro_post(&x->op, x->op.user, read_letter);
}

CONFORM(what_was_written_before_a_post_is_seen_in_its_handler)
{
    pro_loop      *loop = t_loop();
    struct letter *x = t_new(struct letter);
    x->op.user = loop;
    pro_loop_hold(loop);
    t_thread *thread = t_thread_start(write_letter, x);
    while (!x->read) t_turn(loop);
    pro_loop_release(loop);
    t_thread_join(thread);
}

/* ---- Posts ----------------------------------------------------------------------------------- */

static void post_again(t_op *t)
{
    if (t->done < 10) pro_post(&t->op, t->ctx, t_done);
}

CONFORM(a_post_runs_on_a_later_turn_never_inside)
{
    pro_loop *loop = t_loop();
    t_op     *t = t_new_op();
    t->ctx = loop;
    t->then = post_again;
    pro_post(&t->op, loop, t_done);
    CHECK_EQ(t->done, 0);
    for (int i = 1; i <= 10; i++) {
        CHECK_EQ(t_turn(loop), 1);
        CHECK_EQ(t->done, i);
        CHECK_EQ(t->value, 0);
    }
    t_run(loop);
    CHECK_EQ(t->done, 10);
}

static void post_it(void *arg)
{
    t_op *t = arg;
    pro_post(&t->op, t->ctx, t_done);
}

CONFORM(posts_before_the_first_run_are_run)
{
    pro_loop *loop = t_loop();
    t_op     *ours = t_new_op(), *theirs = t_new_op();
    theirs->ctx = loop;
    pro_post(&ours->op, loop, t_done);
    t_thread_join(t_thread_start(post_it, theirs));
    CHECK_EQ(t_completions(), 0);
    t_run(loop);
    CHECK_DONE(ours, PRO_OK, 0);
    CHECK_DONE(theirs, PRO_OK, 0);
}

CONFORM(posts_left_over_at_free_complete_canceled_in_order)
{
    enum { COUNT = 10 };
    pro_loop *loop = t_loop();
    t_op     *posts = t_array(t_op, COUNT);
    for (int i = 0; i < COUNT; i++) pro_post(&posts[i].op, loop, t_done);
    t_loop_free(loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_DONE(&posts[i], PRO_ECANCELED, 0);
        CHECK_EQ(posts[i].order, i + 1);
    }
}

CONFORM(a_post_ignores_its_deadline_and_keeps_its_user_pointer)
{
    pro_loop *loop = t_loop_clocked();
    t_op     *t = t_new_op();
    t->op.user = t;
    t->op.deadline_ns = 1;
    pro_post(&t->op, loop, t_done);
    t_clock_advance(PRO_SEC);
    t_run(loop);
    CHECK_DONE(t, PRO_OK, 0);
    CHECK(t->op.user == t);
}

/* ---- Signal handlers ------------------------------------------------------------------------- */

static pro_loop *signal_loop;
static t_op      from_signal;

static void on_signal(int number)
{
    (void)number;
    pro_post(&from_signal.op, signal_loop, t_done);
}

static void stop_on_signal(int number)
{
    (void)number;
    pro_loop_stop(signal_loop);
}

static void raise_it(t_op *t)
{
    (void)t;
    raise(SIGTERM);
}

CONFORM(a_post_from_a_signal_handler_works)
{
    t_op *timer = t_new_op();
    signal_loop = t_loop();
    for (int i = 1; i <= 20; i++) {
        memset(&from_signal, 0, sizeof from_signal);
        void (*before)(int) = signal(SIGTERM, on_signal);
        if (i % 2) {
            raise(SIGTERM); /* between turns */
        } else {
            timer->then = raise_it; /* in a handler */
            pro_sleep(&timer->op, signal_loop, 0, t_done);
        }
        t_wait_count(signal_loop, &from_signal.done, 1);
        signal(SIGTERM, before);
        CHECK_DONE(&from_signal, PRO_OK, 0);
    }
}

CONFORM(stop_from_a_signal_handler_works)
{
    t_op *timer = t_new_op(), *hour = t_new_op();
    signal_loop = t_loop();
    void (*before)(int) = signal(SIGTERM, stop_on_signal);
    timer->then = raise_it;
    pro_sleep(&timer->op, signal_loop, 0, t_done);
    pro_sleep(&hour->op, signal_loop, 3600 * PRO_SEC, t_done);
    t_run(signal_loop);
    signal(SIGTERM, before);
    CHECK_EQ(timer->done, 1);
    CHECK_EQ(hour->done, 0);
    pro_cancel(&hour->op);
    t_run(signal_loop);
}

/* ---- Several loops --------------------------------------------------------------------------- */

struct hop {
    pro_op    op;
    pro_loop *loops[2];
    int       hops, want;
};

static void end_here(pro_op *op) { pro_loop_release(op->user); }

static pro_op enders[2];

static void hop_handler(pro_op *op)
{
    struct hop *x = pro_container_of(op, struct hop, op);
    x->hops++;
    if (x->hops < x->want) {
        pro_post(op, x->loops[x->hops % 2], hop_handler);
        return;
    }
    for (int i = 0; i < 2; i++) {
        enders[i].user = x->loops[i];
        pro_post(&enders[i], x->loops[i], end_here);
    }
}

/* The second loop, bound to this thread by its first run, and freed here; but not while the other
 * thread may still be inside a post to it. */
struct second {
    pro_loop *loop;
    t_event  *ran, *free_it;
};

static void second_main(void *arg)
{
    struct second *x = arg;
    t_run(x->loop);
    t_event_set(x->ran);
    t_event_wait(x->free_it);
    t_loop_free(x->loop);
}

CONFORM(two_loops_on_two_threads_hand_an_operation_to_and_fro)
{
    struct hop *x = t_new(struct hop);
    memset(enders, 0, sizeof enders);
    x->want = t_rounds(10000);
    for (int i = 0; i < 2; i++) {
        x->loops[i] = t_loop();
        pro_loop_hold(x->loops[i]);
    }
    pro_post(&x->op, x->loops[0], hop_handler);
    struct second second = {x->loops[1], t_event_new(), t_event_new()};
    t_thread     *thread = t_thread_start(second_main, &second);
    t_run(x->loops[0]);
    t_event_wait(second.ran);
    t_event_set(second.free_it);
    t_thread_join(thread);
    t_event_free(second.ran);
    t_event_free(second.free_it);
    CHECK_EQ(x->hops, x->want);
}

static void free_there(void *arg)
{
    pro_loop *loop = arg;
    t_op     *t = t_new_op();
    pro_sleep(&t->op, loop, 0, t_done);
    t_run(loop);
    CHECK_DONE(t, PRO_OK, 0);
    t_loop_free(loop);
}

static void make_and_free_there(void *arg)
{
    (void)arg;
    free_there(t_loop());
}

CONFORM(a_loop_may_be_made_run_and_freed_on_any_thread)
{
    t_thread *threads[4];
    for (int i = 0; i < 4; i++) threads[i] = t_thread_start(make_and_free_there, NULL);
    for (int i = 0; i < 4; i++) t_thread_join(threads[i]);
}
