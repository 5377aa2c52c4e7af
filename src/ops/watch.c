/* Watching: a handle whose descriptor the system makes readable when something changed.
 *
 * A pro_watch first takes what an earlier one left behind; then it waits for readiness, reads without
 * waiting, and takes its share.  What is over stays in the watcher.
 *
 * Invariant:  pri_first <= pri_len; between them in pri_said: whole records of the system's, not told */
#define PRO_NO_SITES
#include <proactor/watch.h>

#include "core/op.h"
#include "os/watch.h"

static pro_watcher *watcher_of(const pro_op *op)
{
    return pro_container_of(op->pri_kernel_step.handle, pro_watcher, handle);
}

/* Tell what is there: how many changes that were.  They stand where op->value says the array begins. */
static int64_t tell(pro_op *op)
{
    pro_watcher *w = watcher_of(op);
    pro_change  *changes = (pro_change *)(uintptr_t)op->value;
    size_t       count = 0, max = op->pri_kernel_step.len;
    while (count < max && w->pri_first < w->pri_len) {
        w->pri_first +=
            (uint32_t)pri_os_watch_take((char *)w->pri_said + w->pri_first, &changes[count]);
        if (changes[count].what) count++;
    }
    return (int64_t)count;
}

static void watch_record(pro_op *op, const pri_record *record)
{
    pro_watcher *w = watcher_of(op);
    int64_t      told = tell(op);
    int          error = told ? PRO_OK : record->error;
    if (!told && !error) {
        int64_t n = pri_os_watch_read(&op->pri_loop->env, w->handle.pri_fd, w->pri_said,
                                      sizeof w->pri_said);
        w->pri_first = 0;
        w->pri_len = n > 0 ? (uint32_t)n : 0;
        error = n < 0 ? pri_os_error((int)n) : PRO_OK;
        if (n > 0) told = tell(op);
    }
    if (told)
        pri_handle_finish(op, PRO_OK, told);
    else if (op->pri_cause)
        pri_handle_finish(op, -(int)op->pri_cause, 0);
    else if (error && error != PRO_EAGAIN)
        pri_handle_finish(op, error, 0);
    else
        pri_op_start(op); /* nothing after all */
}

/* At the head of the queue: with something left from before it needs no wait. */
static void watch_head(pro_op *op)
{
    int64_t told = tell(op);
    if (told) {
        pri_handle_finish(op, PRO_OK, told);
        return;
    }
    op->pri_kernel_step.kind = PRI_STEP_POLL_IN;
    pri_op_start(op);
}

static const pri_part watch_part = {.head = watch_head, .record = watch_record};

/* ---- What users call -------------------------------------------------------------------------- */

int pro_watcher_open(pro_watcher *w, pro_loop *loop, pro_scope *scope)
{
    PRI_CHECKED_CALLER();
    if (pro_scope_closing(scope ? scope : &loop->root)) return PRO_ECANCELED;
    if (!(loop->engine->caps & PRI_CAPS_POLL)) return PRO_ENOTSUP;
    intptr_t fd = pri_os_watch_open(&loop->env);
    if (fd < 0) return pri_os_error((int)fd);
    pri_handle_init(&w->handle, PRI_WATCHER, loop, scope, fd);
    w->pri_first = w->pri_len = 0;
    return PRO_OK;
}

int pro_watcher_add(pro_watcher *w, const char *path, uint32_t what)
{
    PRI_CHECKED_CALLER();
    if (w->handle.pri_state != PRI_HANDLE_OPEN) return PRO_ECLOSED;
    if (!(what & PRO_CHANGE_ALL) || (what & ~PRO_CHANGE_ALL)) return PRO_EINVAL;
    int id = pri_os_watch_add(&w->handle.pri_loop->env, w->handle.pri_fd, path, what);
    return id < 0 ? pri_os_error(id) : id;
}

int pro_watcher_remove(pro_watcher *w, int path)
{
    PRI_CHECKED_CALLER();
    if (w->handle.pri_state != PRI_HANDLE_OPEN) return PRO_ECLOSED;
    return pri_os_error(pri_os_watch_remove(&w->handle.pri_loop->env, w->handle.pri_fd, path));
}

void pro_watch_at(const char *site, pro_op *op, pro_watcher *w, pro_change *changes, size_t count,
                  pro_handler *done)
{
    pri_handle_must_be_made(&w->handle, site);
    if (!pri_op_begin(op, w->handle.pri_loop, &w->handle, PRI_OP_WATCH, site, done)) return;
    if (count == 0) {
        pri_op_finish(op, PRO_EINVAL, 0);
        return;
    }
    op->value = (int64_t)(uintptr_t)changes; /* until its result stands */
    op->pri_kernel_step.flags |= PRI_STEP_PART;
    op->pri_kernel_step.data = (void *)(uintptr_t)&watch_part;
    op->pri_kernel_step.len = count;
    pri_handle_queue(op, &w->handle, PRI_READ, false);
}

void pro_watcher_close_at(const char *site, pro_op *op, pro_watcher *w, pro_handler *done)
{
    pri_handle_close_op(site, op, &w->handle, false, done);
}

/* ---- Plain names ------------------------------------------------------------------------------ */

void pro_watch(pro_op *op, pro_watcher *w, pro_change *changes, size_t count, pro_handler *done)
{
    pro_watch_at("?", op, w, changes, count, done);
}

void pro_watcher_close(pro_op *op, pro_watcher *w, pro_handler *done)
{
    pro_watcher_close_at("?", op, w, done);
}
