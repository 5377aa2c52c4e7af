/* Signals as operations (55 of the list). */
#include <signal.h>

#include "lib/net.h"
#include "lib/world.h"

/* It comes, and is heard by the time this returns: the witness was there after all other loops, and each
 * hears before those that came later. */
static void raise_heard(pro_loop *witness)
{
    t_op *heard = t_new_op();
    pro_signal_wait(&heard->op, witness, t_signal(), t_done);
    t_raise();
    t_wait_count(witness, &heard->done, 1);
    CHECK_ERROR(heard->error, PRO_OK);
}

CONFORM(a_signal_completes_the_waits_of_all_loops)
{
    pro_loop *one = t_loop(), *two = t_loop();
    t_op     *a = t_new_op(), *b = t_new_op(), *c = t_new_op();
    pro_signal_wait(&a->op, one, t_signal(), t_done);
    pro_signal_wait(&b->op, one, t_signal(), t_done);
    pro_signal_wait(&c->op, two, t_signal(), t_done);
    for (int i = 0; i < 3; i++) t_poll(one);
    CHECK_EQ(t_completions(), 0);
    t_raise();
    CHECK_EQ(t_completions(), 0); /* not inside the signal's handler */
    t_wait_count(one, &b->done, 1);
    t_wait_count(two, &c->done, 1);
    CHECK_DONE(a, PRO_OK, 1);
    CHECK_DONE(b, PRO_OK, 1);
    CHECK_DONE(c, PRO_OK, 1);
}

CONFORM(a_signal_that_comes_between_two_waits_is_told_to_the_second)
{
    pro_loop *loop = t_loop(), *witness = t_loop();
    t_op     *first = t_new_op(), *second = t_new_op(), *third = t_new_op();
    pro_signal_wait(&first->op, loop, t_signal(), t_done);
    raise_heard(witness);
    t_wait_count(loop, &first->done, 1);
    raise_heard(witness);
    raise_heard(witness);
    t_poll(loop);
    pro_signal_wait(&second->op, loop, t_signal(), t_done);
    CHECK_EQ(second->done, 0);
    t_wait_count(loop, &second->done, 1);
    CHECK_DONE(second, PRO_OK, 2);
    pro_signal_wait(&third->op, loop, t_signal(), t_done); /* and no more than that */
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(third->done, 0);
    pro_cancel(&third->op);
    t_wait_count(loop, &third->done, 1);
    CHECK_DONE(third, PRO_ECANCELED, 0);
}

CONFORM(a_wait_for_a_signal_that_does_not_come_ends_once)
{
    pro_loop  *loop = t_loop(), *other = t_loop();
    pro_scope *scope = t_new(pro_scope);
    t_op *canceled = t_new_op(), *timed = t_new_op(), *closed = t_new_op(), *stays = t_new_op();
    pro_scope_init(scope, loop, NULL, NULL);
    timed->op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
    closed->op.scope = scope;
    pro_signal_wait(&stays->op, other, t_signal(), t_done);
    pro_signal_wait(&canceled->op, loop, t_signal(), t_done);
    pro_signal_wait(&timed->op, loop, t_signal(), t_done);
    pro_signal_wait(&closed->op, loop, t_signal(), t_done);
    t_poll(loop);
    pro_cancel(&canceled->op);
    pro_scope_close(scope);
    t_run(loop);
    CHECK_DONE(canceled, PRO_ECANCELED, 0);
    CHECK_DONE(timed, PRO_ETIMEDOUT, 0);
    CHECK_DONE(closed, PRO_ECANCELED, 0);
    t_loop_free(loop); /* the other one still hears */
    t_raise();
    t_wait_count(other, &stays->done, 1);
    CHECK_DONE(stays, PRO_OK, 1);
    t_loop_free(other);
    if (t_is_posix()) CHECK(signal(t_signal(), SIG_DFL) == SIG_DFL); /* as it was before */
}

CONFORM(a_signal_that_nobody_can_hear_is_an_error)
{
    static const int numbers[] = {0, -1, 9 /* SIGKILL */, 10000};
    pro_loop        *loop = t_loop();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        t_op *wait = t_new_op();
        pro_signal_wait(&wait->op, loop, numbers[i], t_done);
        CHECK_EQ(wait->done, 0);
        t_wait_count(loop, &wait->done, 1);
        CHECK_DONE(wait, PRO_EINVAL, 0);
    }
}
