/* Timers: operations that need no engine, only the loop's wheel. */
#include <proactor/timer.h>

#include "core/op.h"

void pro_timer_start_at(const char *site, pro_op *op, pro_loop *loop, uint64_t when_ns,
                        pro_handler *done)
{
    if (pro_op_in_flight(op)) pri_op_begin(op, loop, NULL, PRI_OP_TIMER, site, done); /* aborts */
    if (when_ns == 0) when_ns = 1; /* past, as 0 was; 0 itself means never on the wheel */
    if (op->deadline_ns == PRO_NEVER || when_ns <= op->deadline_ns) op->deadline_ns = when_ns;
    if (!pri_op_begin(op, loop, NULL, PRI_OP_TIMER, site, done)) return;
    op->pri_kernel_step.len = when_ns;
    pri_op_wait(op);
}

void pro_sleep_at(const char *site, pro_op *op, pro_loop *loop, uint64_t delay_ns,
                  pro_handler *done)
{
    uint64_t now = pro_loop_now(loop);
    uint64_t when_ns = delay_ns > UINT64_MAX - now ? UINT64_MAX : now + delay_ns;
    pro_timer_start_at(site, op, loop, when_ns, done);
}

void(pro_timer_start)(pro_op *op, pro_loop *loop, uint64_t when_ns, pro_handler *done)
{
    pro_timer_start_at("?", op, loop, when_ns, done);
}

void(pro_sleep)(pro_op *op, pro_loop *loop, uint64_t delay_ns, pro_handler *done)
{
    pro_sleep_at("?", op, loop, delay_ns, done);
}
