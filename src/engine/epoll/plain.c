/* The epoll engine's plain way (core/plain.h): a plain receive waits for the event that a turn left here, a
 * plain send for its place on the plain list; each is one system call, and if that moved all its bytes the
 * handler runs.  Whatever else happens makes the step a general one, as if it had always been one.
 *
 * Nothing is written down for a plain step but the link of a send: it stands alone in its handle's queue, so an
 * event finds it there.
 *
 * Of events, of sends and of steps that events woke there are so many in a turn at most, of each kind: where
 * events fill every turn, sends have theirs all the same.
 *
 * Handlers run between one event and the next.  A handle of a later event may have been closed by then, which
 * takes its registration away; its memory is there until the turn is over, since the end of a close is told
 * after all this.  What handlers send goes out in the same turn, behind the events; what is sent by the handlers of
 * sends waits for the next one.
 *
 * Nothing that was begun in this turn may overtake a result that stands already and is told at its end
 * (loop->ready): while there is one, events are only heard, and sends of this turn wait for the next.  General
 * steps that were begun in this turn wait for the next one in any case; those that events woke stand on a
 * list of their own for that. */
#include "engine/epoll/state.h"

PRI_APART void start_unplain(pro_loop *loop, pri_step *step)
{
    pri_step_unplain(step);
    loop->engine->start(loop, step);
}

/* Would it only wait?  Reading is most often level-triggered, or edge-triggered, with nothing else to say. */
PRI_IN_PLACE bool is_waiting(const handle_words *h)
{
    if (h->bits != 0) return false;
    if (h->wrong >= WRONG_MAX) return h->watched == events_of[READ];
    return (h->watched & (EPOLLET | EPOLLIN)) == (EPOLLET | EPOLLIN);
}

void pri_epoll_recv(pro_loop *loop, pri_step *step, pro_handle *handle, void *data, size_t len)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    (void)data, (void)len;
    if (PRI_RARELY(!is_waiting(words_of(handle)))) {
        start_unplain(loop, step);
        return;
    }
    e->owes_look = true;
}

void pri_epoll_send(pro_loop *loop, pri_step *step, pro_handle *handle, void *data, size_t len)
{
    (void)data, (void)len;
    if (PRI_RARELY(words_of(handle)->bits & BLOCKED))
        start_unplain(loop, step);
    else
        append_plain(pri_loop_engine_state(loop), step);
}

void pri_epoll_unplain(pro_loop *loop, pri_step *step)
{
    (void)loop;
    if (step->op_state & PRI_STEP_PLAIN) unplain(step);
}

/* ---- Running -------------------------------------------------------------------------------- */

PRI_APART void run_record(pro_loop *loop, const pri_record *record)
{
    loop->plain = NULL;
    pri_op_run_records(loop, record, 1);
}

PRI_APART void received_other(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n)
{
    pri_record record;
    unplain(step);
    words_of(step->handle)->bits |= READABLE;
    if (pri_epoll_received(loop, e, step, n, &record)) run_record(loop, &record);
}

PRI_APART void sent_other(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n)
{
    pri_record record;
    unplain(step);
    if (pri_epoll_sent(loop, e, step, n, &record)) run_record(loop, &record);
}

static void swap_lists(epoll_engine *e)
{
    pri_step *first = e->first, *last = e->last;
    e->first = e->woken_first;
    e->last = e->woken_last;
    e->woken_first = first;
    e->woken_last = last;
}

PRI_APART void hear_other(pro_loop *loop, epoll_engine *e, pro_handle *handle, uint32_t events)
{
    if (!words_of(handle)->watched) return; /* closed by one of the handlers before */
    pro_op *op = pri_handle_plain_op(handle, PRI_READ);
    if (op) unplain(&op->pri_kernel_step);
    swap_lists(e);
    pri_epoll_hear(loop, e, handle, events);
    swap_lists(e);
}

/* What events woke: now, or in the next turn, before all else. */
PRI_APART void run_woken(pro_loop *loop, epoll_engine *e, int max)
{
    int count = 0;
    swap_lists(e);
    if (max > 0 && pri_list_empty(&loop->ready))
        count = pri_epoll_run_list(loop, e, loop->records, max);
    if (e->first && e->woken_first) own(e->last)->next = e->woken_first;
    if (!e->first) e->first = e->woken_first;
    if (e->woken_first) e->last = e->woken_last;
    e->woken_first = NULL;
    pri_op_run_records(loop, loop->records, count);
}

PRI_IN_PLACE void run_receive(pro_loop *loop, epoll_engine *e, const pro_env *env, pri_step *step)
{
    pro_handle   *handle = step->handle;
    handle_words *h = words_of(handle);
    loop->stats.system_calls++;
    int64_t n = pri_os_recv(env, handle->pri_fd, step->data, step->len);
    if (PRI_RARELY(!pri_step_is_over(step, n))) {
        received_other(loop, e, step, n);
        return;
    }
    if ((h->watched & EPOLLET) && ((size_t)n == step->len || !is_tcp(handle)))
        h->bits |= READABLE | GUESSED; /* there may be more */
    pri_op_run_plain(loop, step, PRI_READ, n);
}

/* Nothing is said but that there is data; that there is room to write as well, which is said of what connected or
 * was blocked once, is news only to who found none. */
PRI_IN_PLACE bool is_of_data(pro_handle *handle, uint32_t events)
{
    if (events == EPOLLIN) return true;
    return events == (EPOLLIN | EPOLLOUT) && !(words_of(handle)->bits & BLOCKED);
}

/* The plain receive of a handle, or NULL. */
PRI_IN_PLACE pri_step *plain_receive(const pro_handle *handle)
{
    pri_link *first = handle->pri_queue[PRI_READ];
    if (!first) return NULL;
    pri_step *step = &pro_container_of(first, pro_op, pri_queue)->pri_kernel_step;
    return is_plain(step) ? step : NULL;
}

PRI_IN_PLACE void run_send(pro_loop *loop, epoll_engine *e, const pro_env *env, pri_step *step)
{
    loop->stats.system_calls++;
    int64_t n = pri_os_send(env, step->handle->pri_fd, step->data, step->len);
    if (PRI_RARELY((size_t)n != step->len))
        sent_other(loop, e, step, n);
    else
        pri_op_run_plain(loop, step, PRI_WRITE, n);
}

/* A leased receive that waits: it is no plain step, and nearly every completion of a multishot one is of this
 * kind.  false: there is none. */
#if defined(__GNUC__)
__attribute__((flatten))
#endif
PRI_BESIDE bool
run_leased(pro_loop *loop, epoll_engine *e, pro_handle *handle)
{
    handle_words *h = words_of(handle);
    pri_step     *step = h->step[READ];
    if (!step || step->kind != PRI_STEP_RECV_LEASED || own(step)->state != WAITING) return false;
    pri_record record;
    h->bits = (uint8_t)((h->bits | READABLE) & ~GUESSED);
    own(step)->state = RUNNABLE;
    if (!pri_epoll_run_leased(loop, e, step, &record)) return true;
    if (record.flags & PRI_RECORD_MORE)
        pri_op_run_leased(loop, step, record.lease, record.value);
    else
        run_record(loop, &record);
    return true;
}

/* It stands on the plain list, and is not plain, or others wait behind it. */
PRI_APART void run_other_send(pro_loop *loop, epoll_engine *e, pri_step *step)
{
    if (!(step->op_state & PRI_STEP_PLAIN)) {
        append(e, step); /* it was canceled, or the like */
        return;
    }
    loop->stats.system_calls++;
    sent_other(loop, e, step, pri_os_send(e->env, step->handle->pri_fd, step->data, step->len));
}

/* Of the list up to end at most max; what is left stands before what came meanwhile. */
PRI_IN_PLACE void run_sends(pro_loop *loop, epoll_engine *e, const pro_env *env, pri_step **end,
                            int max)
{
    pri_step *step = e->plain, *next, *last = pro_container_of(end, pri_step, engine);
    if (PRI_RARELY(end != e->plain_end))
        e->plain = *end;
    else
        e->plain_end = &e->plain;
    for (;; step = next) {
        next = own(step)->next; /* before the handler, which may use it again */
        if (PRI_RARELY(!is_plain(step)))
            run_other_send(loop, e, step);
        else
            run_send(loop, e, env, step);
        if (step == last) return;
        if (PRI_RARELY(--max <= 0)) break;
    }
    own(last)->next = e->plain;
    if (!has_plain(e)) e->plain_end = &own(last)->next;
    e->plain = next;
}

PRI_IN_PLACE void run_plain(pro_loop *loop, epoll_engine *e, const pro_env *env, int max)
{
    const struct epoll_event *event = e->events, *end = event + e->heard;
    e->heard = 0;
    for (; event != end; event++) { /* at most max: there is room for no more of them */
        pro_handle *handle = event->data.ptr;
        bool        is_first = pri_list_empty(&loop->ready) && is_of_data(handle, event->events);
        pri_step   *step = is_first ? plain_receive(handle) : NULL;
        if (step)
            run_receive(loop, e, env, step);
        else if (!is_first || !run_leased(loop, e, handle))
            hear_other(loop, e, handle, event->events);
    }
    pri_step **to = PRI_RARELY(!pri_list_empty(&loop->ready)) ? e->plain_before : e->plain_end;
    if (to != &e->plain) run_sends(loop, e, env, to, max);
}

/* Nearly no program has a hook for faults: whether to ask it before each call is decided here, once a turn. */
#if defined(__GNUC__)
__attribute__((flatten))
#endif
void
pri_epoll_run_plain(pro_loop *loop, int max)
{
    static const pro_env no_faults = {0};
    epoll_engine        *e = pri_loop_engine_state(loop);
    if (PRI_RARELY(e->env->fault))
        run_plain(loop, e, e->env, max);
    else
        run_plain(loop, e, &no_faults, max);
    if (!e->woken_first) return;
    loop->plain = NULL;
    run_woken(loop, e, max);
}
