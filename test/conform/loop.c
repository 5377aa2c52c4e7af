/* Loops: running, stopping, ending, full queues, no memory.
 * Covers 43, 58, 60, 61 of the list. */
#include "lib/net.h"
#include "lib/os.h"

#include <stdio.h>
#include <stdlib.h>

#define HOUR (3600 * PRO_SEC)

/* ---- 43: freeing ----------------------------------------------------------------------------- */

struct listing {
    int  lines;
    bool timer, recv, accept, site;
};

static void look_at(void *arg, const char *line)
{
    struct listing *x = arg;
    x->lines++;
    CHECK(strchr(line, '\n') == NULL);
    if (strstr(line, "timer") != NULL) x->timer = true;
    if (strstr(line, "recv") != NULL) x->recv = true;
    if (strstr(line, "accept") != NULL) x->accept = true;
    if (strstr(line, "loop.c:") != NULL) x->site = true;
}

CONFORM(freeing_a_loop_with_live_operations_is_refused_with_a_list_of_them)
{
    pro_loop      *loop = t_loop();
    t_pair        *pair = t_pair_new(loop);
    pro_listener  *l = t_new(pro_listener);
    t_op          *timer = t_new_op(), *recv = t_new_op(), *accept = t_new_op();
    struct listing list = {0};
    char           byte;
    t_listen(loop, l);
    pro_sleep(&timer->op, loop, HOUR, t_done);
    pro_recv(&recv->op, &pair->a, &byte, 1, t_done);
    pro_accept(&accept->op, l, t_done);
    t_poll(loop);
    CHECK_ERROR(pro_loop_free(loop), PRO_EBUSY);
    size_t count = pro_loop_dump(loop, look_at, &list);
    CHECK_EQ(count, list.lines);
    CHECK_GE(count, 3 + 3); /* operations, handles */
    CHECK(list.timer && list.recv && list.accept && list.site);
    CHECK(strstr(pro_op_site(&timer->op), "loop.c:") != NULL);

    /* Nothing happened: all goes on. */
    CHECK_EQ(timer->done + recv->done + accept->done, 0);
    t_op *send = t_new_op();
    pro_send(&send->op, &pair->b, "x", 1, t_done);
    t_wait_count(loop, &recv->done, 1);
    CHECK_DONE(recv, PRO_OK, 1);
    pro_scope_cancel(pro_loop_scope(loop));
    t_run(loop);
    CHECK_ERROR(pro_loop_free(loop), PRO_EBUSY); /* handles are open */
    t_pair_close(loop, pair);
    t_listener_close(loop, l);
    list = (struct listing){0};
    CHECK_EQ(pro_loop_dump(loop, look_at, &list), 0);
    t_loop_free(loop);
}

CONFORM(freeing_a_loop_with_a_live_scope_is_refused)
{
    pro_loop  *loop = t_loop();
    pro_scope *scope = t_new(pro_scope);
    pro_scope_init(scope, loop, NULL, NULL);
    CHECK_ERROR(pro_loop_free(loop), PRO_EBUSY);
    pro_scope_close(scope);
    t_run(loop);
    t_loop_free(loop);
}

CONFORM(freeing_no_loop_is_fine) { CHECK_ERROR(pro_loop_free(NULL), PRO_OK); }

CONFORM(a_loop_that_never_ran_can_be_freed) { t_loop_free(t_loop()); }

/* Memory and descriptors are compared by the runner, at the end. */
CONFORM(set_up_and_tear_down_ten_thousand_times_leaks_nothing)
{
    for (int i = 0, rounds = t_rounds(10000); i < rounds; i++) {
        pro_loop *loop = t_loop();
        t_op      post = {0};
        if (i % 4) {
            pro_post(&post.op, loop, t_done);
            if (i % 4 > 1) t_run(loop);
        }
        t_loop_free(loop);
        CHECK_EQ(post.done, i % 4 > 0);
        if (i % 4) CHECK_ERROR(post.error, i % 4 == 1 ? PRO_ECANCELED : PRO_OK);
    }
}

CONFORM(set_up_and_tear_down_with_connections_leaks_nothing)
{
    for (int i = 0, rounds = t_rounds(200); i < rounds; i++) {
        pro_loop *loop = t_loop();
        t_pair   *pair = t_pair_new(loop);
        t_op      recv = {0}, send = {0};
        char      byte;
        pro_recv(&recv.op, &pair->a, &byte, 1, t_done);
        if (i % 2) pro_send(&send.op, &pair->b, "x", 1, t_done);
        if (i % 3) t_poll(loop);
        pro_scope_close(pro_loop_scope(loop));
        t_run(loop);
        CHECK_EQ(recv.done, 1);
        CHECK_EQ(send.done, i % 2);
        t_loop_free(loop);
    }
}

/* ---- 58: run, run once, poll, stop, hold ----------------------------------------------------- */

static void stop_at_three(t_op *t)
{
    if (t->done == 3) pro_loop_stop(t->ctx);
    pro_post(&t->op, t->ctx, t_done);
}

CONFORM(run_returns_when_nothing_is_left_and_counts_handlers)
{
    pro_loop *loop = t_loop();
    CHECK_EQ(pro_loop_run(loop), 0);
    CHECK_EQ(pro_loop_run_once(loop), 0);
    CHECK_EQ(pro_loop_poll(loop), 0);
    t_op *t = t_array(t_op, 3);
    for (int i = 0; i < 3; i++) pro_sleep(&t[i].op, loop, 0, t_done);
    CHECK_EQ(pro_loop_run(loop), 3);
    CHECK_EQ(pro_loop_run(loop), 0);
    /* Open handles alone do not keep it running. */
    t_pair *pair = t_pair_new(loop);
    CHECK_EQ(pro_loop_run(loop), 0);
    t_pair_close(loop, pair);
}

CONFORM(poll_never_waits)
{
    pro_loop *loop = t_loop();
    t_op     *timer = t_new_op();
    pro_sleep(&timer->op, loop, HOUR, t_done);
    for (int i = 0; i < 100; i++) CHECK_EQ(pro_loop_poll(loop), 0);
    pro_cancel(&timer->op);
    CHECK_EQ(pro_loop_poll(loop), 1);
    CHECK_DONE(timer, PRO_ECANCELED, 0);
}

CONFORM(run_once_runs_one_turn)
{
    pro_loop *loop = t_loop();
    t_op     *t = t_array(t_op, 2);
    pro_sleep(&t[0].op, loop, 0, t_done);
    pro_sleep(&t[1].op, loop, HOUR, t_done);
    CHECK_EQ(pro_loop_run_once(loop), 1);
    CHECK_DONE(&t[0], PRO_OK, 0);
    CHECK_EQ(t[1].done, 0);
    pro_cancel(&t[1].op);
    t_run(loop);
}

CONFORM(stop_makes_run_return_after_its_turn_and_it_can_run_again)
{
    pro_loop *loop = t_loop();
    t_op     *t = t_new_op(), *timer = t_new_op();
    t->ctx = loop;
    t->then = stop_at_three;
    pro_post(&t->op, loop, t_done);
    pro_sleep(&timer->op, loop, HOUR, t_done);
    CHECK_GE(pro_loop_run(loop), 3);
    CHECK_GE(t->done, 3);
    CHECK_LE(t->done, 4);
    CHECK(pro_op_in_flight(&timer->op));
    t->then = NULL;
    pro_cancel(&timer->op);
    CHECK_EQ(pro_loop_run(loop), 2);
    CHECK_DONE(timer, PRO_ECANCELED, 0);
}

CONFORM(stop_before_run_makes_it_return_at_once_and_is_consumed)
{
    pro_loop *loop = t_loop();
    t_op     *timer = t_new_op(), *hour = t_new_op();
    pro_sleep(&hour->op, loop, HOUR, t_done);
    pro_loop_stop(loop);
    pro_loop_stop(loop);
    CHECK_EQ(pro_loop_run(loop), 0);
    pro_sleep(&timer->op, loop, 0, t_done);
    t_wait_count(loop, &timer->done, 1);
    CHECK_DONE(timer, PRO_OK, 0);
    pro_cancel(&hour->op);
    CHECK_EQ(pro_loop_run(loop), 1);
}

static void release_at_five(t_op *t)
{
    if (t->done < 5) {
        pro_sleep(&t->op, t->ctx, 100 * PRO_USEC, t_done);
    } else {
        pro_loop_release(t->ctx);
        pro_loop_release(t->ctx);
    }
}

static void post_from_outside(void *arg)
{
    t_op *t = arg;
    pro_post(&t->op, t->ctx, t_done);
}

CONFORM(a_hold_keeps_run_from_returning)
{
    pro_loop *loop = t_loop();
    t_op     *t = t_new_op();
    t->ctx = loop;
    t->then = release_at_five;
    pro_loop_hold(loop);
    pro_loop_hold(loop);
    /* Nothing is in flight until another thread posts. */
    t_thread *thread = t_thread_start(post_from_outside, t);
    t_run(loop);
    CHECK_EQ(t->done, 5);
    t_thread_join(thread);
}

static void stop_from_outside(void *arg) { pro_loop_stop(arg); }

CONFORM(stop_from_another_thread_ends_a_run_that_waits)
{
    pro_loop *loop = t_loop();
    for (int i = 0, rounds = t_rounds(100); i < rounds; i++) {
        pro_loop_hold(loop);
        t_thread *thread = t_thread_start(stop_from_outside, loop);
        t_run(loop);
        t_thread_join(thread);
        pro_loop_release(loop);
    }
    /* The last wish was consumed. */
    t_op *t = t_new_op();
    pro_sleep(&t->op, loop, 0, t_done);
    CHECK_EQ(pro_loop_run(loop), 1);
}

/* ---- What a loop says about itself ----------------------------------------------------------- */

CONFORM(a_loop_explains_itself)
{
    pro_loop *loop = t_loop();
    char      text[4096], line[512], cut[8];
    size_t    len = pro_loop_explain(loop, text, sizeof text);
    CHECK_GT(len, 0);
    CHECK_EQ(strlen(text), len < sizeof text ? len : sizeof text - 1);
    CHECK_EQ(pro_loop_explain(loop, cut, sizeof cut), len);
    CHECK_EQ(cut[7], 0);
    CHECK(memcmp(cut, text, 7) == 0);
    CHECK_EQ(pro_loop_explain(loop, NULL, 0), len);
    len = pro_loop_explain_line(loop, line, sizeof line);
    CHECK_GT(len, 0);
    CHECK(strchr(line, '\n') == NULL);
    CHECK(strlen(pro_loop_engine(loop)) > 0);
}

CONFORM(a_loop_counts_what_it_does)
{
    pro_loop      *loop = t_loop();
    pro_loop_stats stats;
    t_op          *done = t_new_op(), *canceled = t_new_op(), *timed_out = t_new_op();
    pro_sleep(&done->op, loop, 0, t_done);
    pro_sleep(&canceled->op, loop, HOUR, t_done);
    timed_out->op.deadline_ns = 1;
    pro_sleep(&timed_out->op, loop, HOUR, t_done);
    pro_loop_stats_get(loop, &stats);
    CHECK_EQ(stats.live_ops, 3);
    CHECK_EQ(stats.initiated, 3);
    pro_cancel(&canceled->op);
    t_run(loop);
    pro_loop_stats_get(loop, &stats);
    CHECK_EQ(stats.live_ops, 0);
    CHECK_EQ(stats.completed, 3);
    CHECK_EQ(stats.handlers, 3);
    CHECK_EQ(stats.canceled, 1);
    CHECK_EQ(stats.timed_out, 1);
    CHECK_GT(stats.turns, 0);
    CHECK_EQ(stats.live_handles, 0);
}

CONFORM(options_that_make_no_sense_are_refused)
{
    pro_loop        *loop = (pro_loop *)1;
    pro_loop_options o = t_loop_options();
    o.mask = "no_such_feature";
    CHECK_ERROR(pro_loop_new(&loop, &o), PRO_EINVAL);
    CHECK(loop == NULL);
    o = t_loop_options();
    o.engine = (pro_engine)77;
    CHECK(pro_loop_new(&loop, &o) != PRO_OK);
    CHECK(loop == NULL);
}

/* ---- The correlation id ---------------------------------------------------------------------- */

static void keep_correlation(t_op *t)
{
    uint64_t *first = t->ctx;
    CHECK_EQ(pro_op_correlation(&t->op), *first);
}

static void start_child(t_op *t)
{
    t_op     *child = t_new_op();
    uint64_t *mine = t_new(uint64_t);
    *mine = pro_op_correlation(&t->op);
    CHECK(*mine != 0);
    child->ctx = mine;
    child->then = keep_correlation;
    pro_sleep(&child->op, t->ctx, 0, t_done);
    CHECK_EQ(pro_op_correlation(&child->op), *mine);
}

CONFORM(a_correlation_id_is_inherited_from_the_handler)
{
    pro_loop *loop = t_loop();
    t_op     *a = t_new_op(), *b = t_new_op();
    CHECK_EQ(pro_op_correlation(&a->op), 0);
    a->ctx = b->ctx = loop;
    a->then = b->then = start_child;
    pro_sleep(&a->op, loop, 0, t_done);
    pro_sleep(&b->op, loop, 0, t_done);
    CHECK(pro_op_correlation(&a->op) != pro_op_correlation(&b->op));
    t_run(loop);
    CHECK_EQ(t_completions(), 4);
}

/* ---- 60: full queues ------------------------------------------------------------------------- */

/* Far more at once than the queues of the engine hold. */
CONFORM(nothing_is_lost_with_the_smallest_queues)
{
    enum { PAIRS = 40, ROUNDS = 5 };
    pro_loop_options o = t_loop_options();
    o.queue_len = 1;
    o.batch_max = 1;
    pro_loop *loop = t_loop_with(&o);
    t_pair   *pairs[PAIRS];
    t_op     *recv = t_array(t_op, 2 * PAIRS), *send = t_array(t_op, 2 * PAIRS);
    char      bytes[2 * PAIRS];
    for (int i = 0; i < PAIRS; i++) pairs[i] = t_pair_new(loop);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < 2 * PAIRS; i++) {
            t_pair *p = pairs[i / 2];
            pro_recv(&recv[i].op, i % 2 ? &p->a : &p->b, bytes + i, 1, t_done);
        }
        for (int i = 0; i < 2 * PAIRS; i++) {
            t_pair *p = pairs[i / 2];
            pro_send(&send[i].op, i % 2 ? &p->b : &p->a, "x", 1, t_done);
        }
        t_run(loop);
        for (int i = 0; i < 2 * PAIRS; i++) {
            CHECK_EQ(recv[i].done, round);
            CHECK_EQ(send[i].done, round);
            CHECK_ERROR(recv[i].error, PRO_OK);
            CHECK_ERROR(send[i].error, PRO_OK);
        }
    }
    /* All at once canceled, too. */
    for (int i = 0; i < 2 * PAIRS; i++)
        pro_recv(&recv[i].op, i % 2 ? &pairs[i / 2]->a : &pairs[i / 2]->b, bytes + i, 1, t_done);
    t_poll(loop);
    pro_scope_cancel(pro_loop_scope(loop));
    t_run(loop);
    for (int i = 0; i < 2 * PAIRS; i++) {
        CHECK_EQ(recv[i].done, ROUNDS + 1);
        CHECK_ERROR(recv[i].error, PRO_ECANCELED);
    }
    for (int i = 0; i < PAIRS; i++) t_pair_close(loop, pairs[i]);
}

/* A turn may take one completion, and a receive always has one. */
struct flow {
    t_op       op;
    pro_socket s;
    char       bytes[16];
    bool       is_over;
};

static void receive_again(t_op *t)
{
    struct flow *f = pro_container_of(t, struct flow, op);
    if (!f->is_over) pro_recv(&t->op, &f->s, f->bytes, sizeof f->bytes, t_done);
}

static void take_flow(t_op *t)
{
    struct flow *f = t->ctx;
    CHECK_ERROR(pro_accept_take(&t->op, &f->s, NULL), PRO_OK);
}

CONFORM(a_send_has_its_turn_beside_a_receive_that_never_has_to_wait)
{
    enum { TURNS_MAX = 100 };
    pro_loop_options o = t_loop_options();
    o.batch_max = 1;
    pro_loop    *loop = t_loop_with(&o);
    t_pair      *pair = t_pair_new(loop);
    struct flow *f = t_new(struct flow);
    t_op        *send = t_new_op();
    t_op        *accept = t_new_op();
    pro_listener listener;
    pro_address  address = t_listen(loop, &listener);
    peer         raw = peer_connect(&address);
    int          turns = 0;
    accept->ctx = f;
    accept->then = take_flow;
    pro_accept(&accept->op, &listener, t_done);
    t_wait(loop, accept);
    t_listener_close(loop, &listener);
    f->op.then = receive_again;
    receive_again(&f->op);
    for (int i = 0; i < 10; i++) { /* it is under way */
        CHECK(peer_write(raw, "x", 1));
        t_wait(loop, &f->op);
    }
    pro_send(&send->op, &pair->a, "x", 1, t_done);
    for (; !send->done && turns < TURNS_MAX; turns++) {
        CHECK(peer_write(raw, "x", 1));
        t_turn(loop);
    }
    CHECK_LT(turns, TURNS_MAX);
    CHECK_DONE(send, PRO_OK, 1);
    f->is_over = true;
    t_close(loop, &f->s);
    peer_close(raw);
    t_pair_close(loop, pair);
}

/* ---- 61: work pending at the exit, no memory ------------------------------------------------- */

CONFORM(work_pending_at_the_exit_completes_canceled)
{
    pro_loop     *loop = t_loop();
    t_pair       *pair = t_pair_narrow(loop);
    pro_listener *l = t_new(pro_listener);
    char         *out = t_alloc(CLOG_LEN), byte;
    t_op         *t = t_array(t_op, 6), *stuck = t_new_op();
    t_listen(loop, l);
    t_clog(loop, pair, stuck, out, CLOG_LEN);
    pro_send(&t[0].op, &pair->a, out, 1, t_done);
    pro_recv(&t[1].op, &pair->a, &byte, 1, t_done);
    pro_shutdown(&t[2].op, &pair->a, t_done);
    pro_accept(&t[3].op, l, t_done);
    pro_sleep(&t[4].op, loop, HOUR, t_done);
    pro_sleep(&t[5].op, loop, UINT64_MAX, t_done);
    pro_scope_close(pro_loop_scope(loop));
    t_run(loop);
    for (int i = 0; i < 6; i++) CHECK_DONE(&t[i], PRO_ECANCELED, 0);
    CHECK_DONE(stuck, PRO_ECANCELED, stuck->value);
    CHECK_EQ(pro_socket_descriptor(&pair->a), -1);
    CHECK_EQ(pro_listener_descriptor(l), -1);
    t_loop_free(loop);
}

/* One run through all that may want memory, of which the allocation `fails` fails and all behind it
 * (-1: none).  true: it got through without an error. */
static bool run_with_memory(long fails)
{
    enum { LEN = 3000 };
    pro_loop_options o = t_loop_options();
    pro_loop        *loop;
    bool             fine = true;
    t_memory_fails(fails);
    int error = pro_loop_new(&loop, &o);
    if (error != PRO_OK) {
        CHECK_ERROR(error, PRO_ENOMEM);
        CHECK(loop == NULL);
        t_memory_fails(-1);
        return false;
    }
    pro_listener *l = t_new(pro_listener);
    pro_socket   *s = t_new(pro_socket);
    pro_address   address = pro_address_loopback(PRO_IPV4, 0);
    error = pro_listen(l, loop, NULL, &address, NULL);
    if (error != PRO_OK) {
        CHECK_ERROR(error, PRO_ENOMEM);
        fine = false;
    } else {
        t_op   *t = t_array(t_op, 8);
        char   *out = t_alloc(LEN), *in = t_alloc(LEN);
        pro_vec vecs[64], one = {out, 8};
        int     wanted = 8;
        CHECK_ERROR(pro_listener_local(l, &address), PRO_OK);
        for (int i = 0; i < 64; i++) vecs[i] = (pro_vec){out + i * 8, 8};
        pro_socket_init(s, loop, NULL);
        pro_accept_multi(&t[0].op, l, t_done);
        pro_connect(&t[1].op, s, &address, t_done);
        pro_sendv_all(&t[2].op, s, vecs, 64, t_done);
        pro_sendv(&t[3].op, s, &one, 1, t_done);
        vecs[0] = (pro_vec){in, 64};
        pro_recvv(&t[4].op, s, vecs, 1, t_done);
        pro_recv(&t[5].op, s, in, 1, t_done);
        pro_sleep(&t[6].op, loop, PRO_USEC, t_done);
        pro_signal_wait(&t[7].op, loop, 15, t_done);
        t_wait_count(loop, &t[1].done, 1);
        t_wait_count(loop, &t[6].done, 1);
        for (int i = 0; i < 5; i++) t_poll(loop);
        pro_scope_close(pro_loop_scope(loop));
        t_run(loop);
        for (int i = 0; i < wanted; i++) {
            CHECK_GE(t[i].done, 1);
            if (t[i].error == PRO_ENOMEM || t[i].error == PRO_ENOBUFS) fine = false;
        }
    }
    t_memory_fails(-1);
    CHECK_ERROR(pro_loop_free(loop), PRO_OK);
    return fine;
}

CONFORM(memory_exhausted_at_any_point_is_an_error_and_loses_nothing)
{
    long fails = 0;
    while (!run_with_memory(fails)) {
        fails++;
        CHECK_LT(fails, 1000);
    }
    t_note("  fine with %ld allocations\n", fails);
}

CONFORM(the_steady_state_allocates_nothing)
{
    pro_loop      *loop = t_loop();
    t_pair        *pair = t_pair_new(loop);
    t_op          *send = t_new_op(), *recv = t_new_op(), *timer = t_new_op(), *post = t_new_op();
    char           in[8], out[8] = {0};
    pro_loop_stats warm, now;
    for (int i = 0; i < 200; i++) {
        pro_vec ins[2] = {{in, 3}, {in + 3, 5}}, outs[2] = {{out, 5}, {out + 5, 3}};
        pro_recvv_exactly(&recv->op, &pair->b, ins, 2, t_done);
        pro_sendv_all(&send->op, &pair->a, outs, 2, t_done);
        pro_sleep(&timer->op, loop, t_below(1000), t_done);
        pro_post(&post->op, loop, t_done);
        t_run(loop);
        if (i == 10) pro_loop_stats_get(loop, &warm);
    }
    pro_loop_stats_get(loop, &now);
    CHECK_EQ(now.allocations - warm.allocations, 0);
    t_pair_close(loop, pair);
}
