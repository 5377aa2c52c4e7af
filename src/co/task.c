/* A coroutine seen from outside: join, cancel, detach.
 *
 * Joins are operations like all others, in the list of the task until the coroutine ends; so they can be
 * canceled, have deadlines, count in scopes, and keep the loop running.
 *
 * Invariant: state == RUNNING  <==>  pri_co is the coroutine, and its task is this one. */
#include "co/co.h"

enum { NEVER, RUNNING, ENDED, DETACHED };

void pri_task_begin(pro_task *task, pri_co *co, const char *site)
{
    if (task->pri_state == RUNNING) pri_abort("%s: a task that is running is started again", site);
    *task = (pro_task){.pri_co = co, .pri_loop = co->home->loop, .pri_state = RUNNING};
    pri_list_init(&task->pri_joins);
    co->task = task;
}

/* The caller's again: nothing of it is touched after this. */
static void let_go(pro_task *task, int state, int error, int64_t value)
{
    task->pri_co = NULL;
    task->pri_state = (uint8_t)state;
    while (!pri_list_empty(&task->pri_joins)) {
        pro_op *op = pro_container_of(pri_list_pop(&task->pri_joins), pro_op, pri_queue);
        pri_op_finish(op, error, value);
    }
}

void pri_task_end(pri_co *co)
{
    pro_task *task = co->task;
    task->result = co->result;
    let_go(task, ENDED, PRO_OK, co->result);
}

void pro_join_at(const char *site, pro_op *op, pro_task *task, pro_handler *done)
{
    const pri_co *co = pri_co_current();
    if (task->pri_co && task->pri_co == co)
        pri_abort("%s: a coroutine joins itself: %s, started at %s", site, co->name, co->site);
    pro_loop *loop = task->pri_loop;
    if (!loop) pri_abort("%s: pro_join of a task that was never started", site);
    if (done == pri_co_awake && loop != co->home->loop)
        pri_abort("%s: join of another loop than the coroutine's: %s, started at %s", site,
                  co->name, co->site);
    if (!pri_op_begin(op, loop, NULL, PRI_OP_JOIN, site, done)) return;
    if (task->pri_state != RUNNING) {
        bool ended = task->pri_state == ENDED;
        pri_op_finish(op, ended ? PRO_OK : PRO_ECANCELED, ended ? task->result : 0);
        return;
    }
    pri_list_append(&task->pri_joins, &op->pri_queue);
    pri_op_wait(op);
}

void(pro_join)(pro_op *op, pro_task *task, pro_handler *done) { pro_join_at("?", op, task, done); }

void pro_task_cancel(pro_task *task)
{
    if (task->pri_state != RUNNING) return;
    pri_co *co = task->pri_co;
    co->is_canceled = true;
    pri_co_mind(co);
    pro_op *awaited = pri_co_awaited(co);
    if (awaited && co->shields == 0) pro_cancel(awaited);
}

void pro_task_detach(pro_task *task)
{
    if (task->pri_state != RUNNING) return;
    task->pri_co->task = NULL;
    let_go(task, DETACHED, PRO_ECANCELED, 0);
}

int pro_task_running(const pro_task *task) { return task->pri_state == RUNNING; }
