/* Readiness of descriptors that are not ours: one kernel step of its own kind, in the queue of its
 * direction like any other. */
#define PRO_NO_SITES
#include <proactor/poll.h>

#include "core/op.h"

int pro_pollable_open(pro_pollable *p, pro_loop *loop, pro_scope *scope, intptr_t descriptor)
{
    PRI_CHECKED_CALLER();
    if (pro_scope_closing(scope ? scope : &loop->root)) return PRO_ECANCELED;
    if (!(loop->engine->caps & PRI_CAPS_POLL)) return PRO_ENOTSUP;
    intptr_t fd = loop->net->duplicate(&loop->env, descriptor);
    if (fd < 0) return pri_os_error((int)fd);
    pri_handle_init(&p->handle, PRI_POLLABLE, loop, scope, fd);
    return PRO_OK;
}

void pro_poll_at(const char *site, pro_op *op, pro_pollable *p, uint32_t what, pro_handler *done)
{
    bool        is_out = what == PRO_POLL_OUT;
    pri_op_kind kind = is_out ? PRI_OP_POLL_OUT : PRI_OP_POLL_IN;
    pri_handle_must_be_made(&p->handle, site);
    if (!pri_op_begin(op, p->handle.pri_loop, &p->handle, kind, site, done)) return;
    if (what != PRO_POLL_IN && what != PRO_POLL_OUT) {
        pri_op_finish(op, PRO_EINVAL, 0);
        return;
    }
    op->pri_kernel_step.kind = is_out ? PRI_STEP_POLL_OUT : PRI_STEP_POLL_IN;
    pri_handle_queue(op, &p->handle, is_out ? PRI_WRITE : PRI_READ, true);
}

void pro_pollable_close_at(const char *site, pro_op *op, pro_pollable *p, pro_handler *done)
{
    pri_handle_close_op(site, op, &p->handle, false, done);
}

void pro_pollable_cancel(pro_pollable *p)
{
    if (p->handle.pri_state == PRI_HANDLE_OPEN) pri_handle_cancel(&p->handle, PRO_ECANCELED);
}

/* ---- Plain names ---------------------------------------------------------------------------- */

void pro_poll(pro_op *op, pro_pollable *p, uint32_t what, pro_handler *done)
{
    pro_poll_at("?", op, p, what, done);
}

void pro_pollable_close(pro_op *op, pro_pollable *p, pro_handler *done)
{
    pro_pollable_close_at("?", op, p, done);
}
