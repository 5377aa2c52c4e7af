/* Sends that are not copied, where the engine can: the memory is the library's until it is free, whatever
 * happens in between.  Everywhere else they are plain sends, and the same sentences hold. */
#include <errno.h>
#include <string.h>

#include "lib/net.h"

enum { LEN = 300000, BIG = 6 << 20 };

static pro_loop *loop_from(size_t zerocopy_min)
{
    pro_loop_options options = t_loop_options();
    options.zerocopy_min = zerocopy_min;
    return t_loop_with(&options);
}

/* The sender has more room than a receiver that does not read: what went to the system waits there. */
static t_pair *uneven_pair(pro_loop *loop, pro_scope *scope)
{
    t_pair *pair = t_pair_in(loop, scope, NULL);
    CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_SEND_BUFFER, 2 * LEN), PRO_OK);
    return pair;
}

CONFORM(a_send_that_is_not_copied_arrives_whole_and_in_its_place)
{
    pro_loop *loop = loop_from(1000);
    t_pair   *pair = t_pair_new(loop);
    char     *out = t_alloc(BIG), *in = t_alloc(BIG);
    t_op     *sends = t_array(t_op, 6), *recv = t_new_op(), *shut = t_new_op();
    size_t    at = 0;
    t_fill(out, BIG, 1, 0);
    pro_recv_exactly(&recv->op, &pair->b, in, BIG, t_done);
    pro_send_zerocopy(&sends[0].op, &pair->a, out, 999, t_done); /* too small */
    at += 999;
    pro_send_zerocopy(&sends[1].op, &pair->a, out + at, LEN, t_done);
    at += LEN;
    pro_send_all(&sends[2].op, &pair->a, out + at, 10, t_done);
    at += 10;
    pro_vec vecs[3] = {{out + at, LEN}, {NULL, 0}, {out + at + LEN, 1}};
    pro_sendv_zerocopy(&sends[3].op, &pair->a, vecs, 3, t_done);
    memset(vecs, 0, sizeof vecs);
    at += LEN + 1;
    pro_send_zerocopy(&sends[4].op, &pair->a, out + at, BIG - at - 5, t_done);
    pro_send_zerocopy(&sends[5].op, &pair->a, out + BIG - 5, 5, t_done);
    pro_shutdown(&shut->op, &pair->a, t_done);
    t_run(loop);
    const int64_t lens[] = {999, LEN, 10, LEN + 1, (int64_t)(BIG - at - 5), 5};
    for (int i = 0; i < 6; i++) {
        CHECK_DONE(&sends[i], PRO_OK, lens[i]);
        CHECK_LT(sends[i].order, i < 5 ? sends[i + 1].order : shut->order);
    }
    CHECK_DONE(shut, PRO_OK, 0);
    CHECK_DONE(recv, PRO_OK, BIG);
    CHECK_FILL(in, BIG, 1, 0);
    t_pair_close(loop, pair);
}

static void overwrite(t_op *t) { memset(t->ctx, 0xff, LEN); }

CONFORM(the_memory_of_a_send_that_is_not_copied_is_free_when_its_handler_begins)
{
    enum { SENDS = 8 };
    pro_loop *loop = loop_from(1);
    t_pair   *pair = uneven_pair(loop, NULL);
    char     *in = t_alloc((size_t)SENDS * LEN);
    t_op     *sends = t_array(t_op, SENDS), *recv = t_new_op();
    for (int i = 0; i < SENDS; i++) {
        sends[i].ctx = t_alloc(LEN);
        sends[i].then = overwrite;
        t_fill(sends[i].ctx, LEN, 2, (uint64_t)i * LEN);
        pro_send_zerocopy(&sends[i].op, &pair->a, sends[i].ctx, LEN, t_done);
    }
    t_settle(loop); /* nobody reads, and what has completed was overwritten */
    pro_recv_exactly(&recv->op, &pair->b, in, (size_t)SENDS * LEN, t_done);
    t_run(loop);
    for (int i = 0; i < SENDS; i++) {
        CHECK_DONE(&sends[i], PRO_OK, LEN);
        if (i > 0) CHECK_LT(sends[i - 1].order, sends[i].order);
    }
    CHECK_DONE(recv, PRO_OK, (int64_t)SENDS * LEN);
    CHECK_FILL(in, (size_t)SENDS * LEN, 2, 0);
    t_pair_close(loop, pair);
}

CONFORM(a_send_that_is_not_copied_and_has_nothing_to_send_completes)
{
    pro_loop *loop = loop_from(1);
    t_pair   *pair = t_pair_new(loop);
    t_op     *none = t_new_op(), *late = t_new_op(), *shut = t_new_op();
    pro_send_zerocopy(&none->op, &pair->a, NULL, 0, t_done);
    pro_shutdown(&shut->op, &pair->a, t_done);
    t_run(loop);
    CHECK_DONE(none, PRO_OK, 0);
    pro_send_zerocopy(&late->op, &pair->a, "x", 1, t_done);
    t_run(loop);
    CHECK_DONE(late, PRO_EPIPE, 0);
    t_pair_close(loop, pair);
}

/* ---- A cause, while nothing went, a part, all of it ------------------------------------------- */

enum way { BY_CANCEL, BY_DEADLINE, BY_CLOSE, BY_ABORT, BY_SCOPE, WAYS };

/* What the peer finds: bytes that were sent, at most as many as were said to be gone, and an end. */
static void look_at_the_rest(pro_loop *loop, t_pair *pair, int64_t gone)
{
    size_t room = 2 * (size_t)BIG;
    char  *in = t_alloc(room);
    t_op  *recv = t_new_op();
    pro_recv_exactly(&recv->op, &pair->b, in, room, t_done);
    t_wait(loop, recv);
    CHECK(recv->error == PRO_EOF || recv->error == PRO_ECONNRESET);
    CHECK_LE(recv->value, gone);
    CHECK_FILL(in, recv->value, 3, 0);
    t_close(loop, &pair->b);
}

/* queued: its bytes stand behind others that do not get on. */
static void cut_short(enum way way, size_t len, bool queued)
{
    pro_loop_options options = t_loop_options();
    options.zerocopy_min = 1;
    pro_loop  *loop = way == BY_DEADLINE ? t_loop_clocked() : t_loop_with(&options);
    pro_scope *scope = t_new(pro_scope);
    pro_scope_init(scope, loop, NULL, NULL);
    t_pair *pair = uneven_pair(loop, scope);
    char   *out = t_alloc(2 * len);
    t_op   *first = t_new_op(), *send = t_new_op(), *recv = t_new_op(), *close = t_new_op();
    char    byte;
    t_fill(out, 2 * len, 3, 0);
    pro_recv(&recv->op, &pair->a, &byte, 1, t_done);
    if (queued) pro_send_zerocopy(&first->op, &pair->a, out, len, t_done);
    char *mine = queued ? out + len : out;
    if (way == BY_DEADLINE) send->op.deadline_ns = pro_loop_now(loop) + 3600 * PRO_SEC;
    pro_send_zerocopy(&send->op, &pair->a, mine, len, t_done);
    t_settle(loop);
    bool was_over = send->done == 1;
    if (way == BY_CANCEL) pro_cancel(&send->op);
    if (way == BY_DEADLINE) t_clock_advance(3601 * PRO_SEC);
    if (way == BY_CLOSE) pro_close(&close->op, &pair->a, t_done);
    if (way == BY_ABORT) pro_close_abort(&close->op, &pair->a, t_done);
    if (way == BY_SCOPE) pro_scope_close(scope);
    CHECK_EQ(send->done, was_over);
    t_wait_count(loop, &send->done, 1);
    int cause = way == BY_DEADLINE ? PRO_ETIMEDOUT : PRO_ECANCELED;
    if (was_over) {
        CHECK_DONE(send, PRO_OK, (int64_t)len);
    } else {
        CHECK_DONE(send, cause, send->value);
        CHECK_GE(send->value, 0);
        CHECK_LE(send->value, (int64_t)len);
    }
    if (way == BY_CLOSE || way == BY_ABORT) {
        t_wait_count(loop, &close->done, 1);
        CHECK_DONE(close, PRO_OK, 0);
    } else if (way != BY_SCOPE) {
        t_close(loop, &pair->a);
    }
    t_wait_count(loop, &recv->done, 1);
    if (queued) t_wait_count(loop, &first->done, 1);
    look_at_the_rest(loop, pair, first->value + send->value);
    pro_scope_close(scope);
    t_run(loop);
    CHECK_EQ(send->done, 1);
}

CONFORM(a_cause_ends_a_send_that_is_not_copied_while_its_memory_is_in_use)
{
    for (int way = 0; way < WAYS; way++) cut_short((enum way)way, LEN, false);
}

CONFORM(a_cause_ends_a_send_that_is_not_copied_while_a_part_of_it_went)
{
    for (int way = 0; way < WAYS; way++) cut_short((enum way)way, BIG, false);
}

CONFORM(a_cause_ends_a_send_that_is_not_copied_behind_another)
{
    for (int way = 0; way < WAYS; way++) cut_short((enum way)way, LEN, true);
}

static bool connects_fail;

static int fail_connect(void *ctx, const char *call)
{
    (void)ctx;
    return connects_fail && strcmp(call, "connect") == 0 ? ENOMEM : 0;
}

CONFORM(a_close_frees_the_memory_of_a_send_that_is_not_copied_also_when_calls_fail)
{
    pro_loop_options options = t_loop_options();
    options.zerocopy_min = 1;
    options.env.fault = fail_connect;
    connects_fail = false;
    pro_loop *loop = t_loop_with(&options);
    t_pair   *pair = uneven_pair(loop, NULL);
    t_op     *send = t_new_op(), *close = t_new_op();
    pro_send_zerocopy(&send->op, &pair->a, t_alloc(BIG), BIG, t_done);
    t_settle(loop);
    connects_fail = true;
    pro_close(&close->op, &pair->a, t_done);
    t_wait_count(loop, &close->done, 1);
    connects_fail = false;
    CHECK_EQ(send->done, 1);
    t_close(loop, &pair->b);
}

CONFORM(a_peer_that_goes_ends_a_send_that_is_not_copied_once)
{
    for (int abortive = 0; abortive < 2; abortive++) {
        pro_loop *loop = loop_from(1);
        t_pair   *pair = uneven_pair(loop, NULL);
        char     *out = t_alloc(BIG);
        t_op     *sends = t_array(t_op, 3), *close = t_new_op();
        pro_send_zerocopy(&sends[0].op, &pair->a, out, LEN / 2, t_done);
        pro_send_zerocopy(&sends[1].op, &pair->a, out, BIG, t_done);
        pro_send_all(&sends[2].op, &pair->a, out, 10, t_done);
        t_settle(loop);
        if (abortive)
            pro_close_abort(&close->op, &pair->b, t_done);
        else
            pro_close(&close->op, &pair->b, t_done);
        t_run(loop);
        CHECK_EQ(sends[0].done, 1);
        CHECK_EQ(sends[1].done, 1);
        CHECK(sends[1].error == PRO_ECONNRESET || sends[1].error == PRO_EPIPE);
        CHECK_DONE(&sends[2], PRO_EPIPE, 0);
        CHECK_LT(sends[0].order, sends[1].order);
        CHECK_LT(sends[1].order, sends[2].order);
        t_close(loop, &pair->a);
    }
}

/* Random sends of both kinds, sizes and ends; the bytes that were said to be gone, and none else. */
CONFORM(random_sends_of_both_kinds_complete_once_in_order)
{
    enum { OPS = 24 };
    for (int round = 0; round < t_rounds(40); round++) {
        pro_loop *loop = loop_from(1 + t_below(3000));
        t_pair   *pair = t_below(2) ? uneven_pair(loop, NULL) : t_pair_new(loop);
        size_t    total = 0, lens[OPS];
        t_op     *ops = t_array(t_op, OPS), *recv = t_new_op();
        for (int i = 0; i < OPS; i++) total += lens[i] = 1 + t_below(t_below(4) ? 20000 : LEN);
        char *out = t_alloc(total), *in = t_alloc(total + 1);
        t_fill(out, total, 4, 0);
        pro_recv_exactly(&recv->op, &pair->b, in, total + 1, t_done);
        size_t at = 0;
        for (int i = 0; i < OPS; at += lens[i++]) {
            if (t_below(3))
                pro_send_zerocopy(&ops[i].op, &pair->a, out + at, lens[i], t_done);
            else
                pro_send_all(&ops[i].op, &pair->a, out + at, lens[i], t_done);
            if (t_below(3) == 0) t_poll(loop);
        }
        int cut = t_below(2) ? (int)t_below(OPS) : OPS;
        if (cut < OPS) pro_cancel(&ops[cut].op);
        for (int i = 0; i < OPS; i++) t_wait_count(loop, &ops[i].done, 1);
        int64_t gone = 0;
        for (int i = 0; i < OPS; i++) {
            CHECK_EQ(ops[i].done, 1);
            if (i > 0 && i != cut && i != cut + 1) CHECK_LT(ops[i - 1].order, ops[i].order);
            gone += ops[i].value;
        }
        t_close(loop, &pair->a);
        t_wait_count(loop, &recv->done, 1);
        CHECK_LE(recv->value, gone);
        if (cut == OPS) CHECK_EQ(recv->value, (int64_t)total);
        t_close(loop, &pair->b);
        t_run(loop);
        t_loop_free(loop);
    }
}
