/* The io_uring engine: from completions to records.
 *
 * The whole success of a plain transfer is one look at its step, then the core's (pri_uring_run_plain).
 * Everything else goes through completed: the kernel's word is the last one and becomes a record, or the step
 * gets another entry (the kernel merely stopped; a poll said that there is something to do).
 *
 * Leased receives for which the kernel does not pick are a poll, then a buffer, then a plain
 * receive; what is no socket is a poll, then a call of ours. */
#include <assert.h>
#include <errno.h>

#include "engine/uring/lend.h"
#include "engine/uring/sanitize.h"
#include "engine/uring/state.h"

PRI_APART void completed_own(uring *u, unsigned what, uint16_t sequence, int result)
{
    switch (what) {
    case OWN_WAKE:
        u->wake_armed = false;
        u->woken = true;
        /* By exchange: who finds the flag up and so does not write has its doings seen by us. */
        if (result > 0) atomic_exchange(&u->waking, false);
        break;
    case OWN_TIMER:
        if (sequence != u->timer_sequence) break; /* one that was removed */
        u->fired_at_ns = u->timer_at_ns;
        u->timer_at_ns = NEVER;
        break;
    case OWN_TIMER_MOVE:
        if (result != -EINVAL) break;
        u->features &= ~(uint32_t)PRI_URING_TIMEOUT_UPDATE;
        u->timer_sequence++; /* what stands there counts no more */
        u->timer_at_ns = NEVER;
        break;
    case OWN_CLOSE: pri_uring_slot_closed(u, sequence); break;
    case OWN_NOW: pri_uring_answered_late(u, sequence, result); break;
    case OWN_CANCEL:
        /* Most often what it was for is over, and was said to be before this.  But an entry that is about to be
         * tried again stands nowhere where the kernel looks, and may then wait as before: quirk cancel_misses. */
        if (result == -ENOENT) pri_list_splice(&u->missed, &u->asked);
        break; /* whatever else is said of a cancel does not matter: its step says it */
    default: break;
    }
}

static void report(pri_record *record, pri_step *step, int64_t value, int error, int number)
{
    *record = (pri_record){.step = step, .value = value, .error = error, .system = number};
}

/* The kernel's word on a step was not the last one. */
static void submit_again(uring *u, pri_step *step, uint32_t flags)
{
    uint32_t state = (words_of(step)->state & (CANCEL_WISHED | ONE_SHOT)) | AGAIN | flags;
    words_of(step)->state = state;
    if (state & CANCEL_WISHED)
        end(u, step);
    else
        submit(u, step, state);
}

static uint32_t multishot_of(const pri_step *step)
{
    switch (step->kind) {
    case PRI_STEP_ACCEPT: return PRI_URING_MULTISHOT_ACCEPT;
    case PRI_STEP_RECV_LEASED: return PRI_URING_MULTISHOT_RECV;
    default: return 0; /* there is no other way */
    }
}

/* A step of a multishot accept goes on as long as nobody ends it and nothing is wrong. */
static void accepted(uring *u, pri_step *step, int64_t fd, bool more, pri_record *record)
{
    report(record, step, fd, PRO_OK, 0);
    record->flags = PRI_RECORD_MORE;
    if (more) return;
    /* One-shot worked where multishot did not. */
    if (words_of(step)->state & ONE_SHOT) u->features &= ~(uint32_t)PRI_URING_MULTISHOT_ACCEPT;
    submit_again(u, step, 0);
}

/* The descriptor may be ready: a call of our own that does not wait.  A batch of messages, since no entry
 * could carry many of them and several entries keep no order; or what is no socket: an entry would raise
 * SIGPIPE, and hold a worker thread where the descriptor does not know how not to wait; or an attempt of the
 * core's. */
PRI_APART bool run_call(uring *u, pri_step *step, pri_record *record)
{
    bool     in = step->kind == PRI_STEP_RECV;
    intptr_t fd = step->handle->pri_fd;
    pri_loop_count_system_call(u->loop);
    int64_t n;
    if (step->kind == PRI_STEP_TRY_IN || step->kind == PRI_STEP_TRY_OUT) {
        n = pri_step_try(step);
    } else if (step->handle->pri_kind == PRI_DATAGRAM) {
        n = in ? pri_os_recv_batch(u->env, fd, step->data, step->len)
               : pri_os_send_batch(u->env, fd, step->data, step->len);
    } else {
        const pro_vec   whole = {step->data, step->len};
        const pri_side *side = step->flags & PRI_STEP_VECTORS ? step->data : NULL;
        const pro_vec  *vecs = side ? side->vecs + side->first : &whole;
        size_t          count = side ? side->count - side->first : 1;
        int             flags = step->handle->pri_family & PRI_PLAIN_SHARED ? PRI_OS_SHARED : 0;
        if (u->features & PRI_URING_NOSIGNAL) flags |= PRI_OS_NOSIGNAL;
        n = in ? pri_os_read(u->env, fd, vecs, count, flags & PRI_OS_SHARED)
               : pri_os_write(u->env, fd, vecs, count, flags);
    }
    if (n == -EAGAIN) {
        submit_again(u, step, POLLING);
        return false;
    }
    set_phase(words_of(step), REPORTED);
    report(record, step, n < 0 ? 0 : n, n < 0 ? pri_os_error((int)n) : PRO_OK, n < 0 ? (int)-n : 0);
    return true;
}

/* A leased receive for which the kernel does not pick (feature buffer_ring) is a poll, then a buffer, then
 * a plain receive; whatever follows begins with the poll. */
static void drop_buffer(pri_step *step)
{
    if (!(words_of(step)->state & PICKED)) return;
    words_of(step)->state &= ~(uint32_t)PICKED;
    pri_buffers_untake(step->data, words_of(step)->lease);
}

/* A worker thread of the kernel's keeps the buffer that it picked, also when nothing came to be in it. */
static void give_unused(pri_step *step, uint32_t flags)
{
    if (pri_step_is_leased(step) && flags & IORING_CQE_F_BUFFER)
        pri_uring_give(step->data, flags >> IORING_CQE_BUFFER_SHIFT);
}

/* Too many records of its pool are undelivered: it gets an entry when some of them were delivered. */
static void pause_step(uring *u, pri_step *step)
{
    step_words *words = words_of(step);
    words->state = WAITING | AGAIN | (words->state & ONE_SHOT);
    pri_buffers_pause(u->loop, &words->link);
}

/* There are bytes for a leased receive for which the kernel does not pick: a buffer, and a plain receive into it. */
PRI_APART bool pick_buffer(uring *u, pri_step *step, pri_record *record)
{
    int32_t id = pri_buffers_take(step->data);
    if (id >= 0) {
        words_of(step)->lease = (uint32_t)id;
        submit_again(u, step, PICKED);
    } else if (id == PRI_BUFFERS_LATER) {
        pause_step(u, step);
    } else {
        set_phase(words_of(step), REPORTED);
        report(record, step, 0, PRO_ENOBUFS, ENOBUFS);
        return true;
    }
    return false;
}

/* A datagram, perhaps: a call of our own that does not wait.  false: no record, the step goes on. */
PRI_APART bool receive_from(uring *u, pri_step *step, pri_record *record)
{
    pro_buffers *buffers = step->data;
    int32_t      id = pri_buffers_take(buffers);
    int          is_truncated = 0;
    int64_t      n = -ENOBUFS;
    if (id == PRI_BUFFERS_LATER) {
        pause_step(u, step);
        return false;
    }
    if (id >= 0) {
        pri_loop_count_system_call(u->loop);
        n = pri_os_recv_datagram(u->env, step->handle->pri_fd,
                                 pri_buffers_at(buffers, (uint32_t)id), buffers->size,
                                 &is_truncated);
        if (n < 0) pri_buffers_untake(buffers, (uint32_t)id);
    }
    if (n < 0 && n != -EAGAIN) {
        set_phase(words_of(step), REPORTED);
        report(record, step, 0, pri_os_error((int)n), (int)-n);
        return true;
    }
    if (n >= 0) {
        report(record, step, n, PRO_OK, 0);
        record->flags = is_truncated ? PRI_RECORD_MORE | PRI_RECORD_TRUNCATED : PRI_RECORD_MORE;
        record->lease = (uint32_t)id;
    }
    submit_again(u, step, 0);
    return n >= 0;
}

static void forget_cancel(step_words *words)
{
    if (!(words->state & (CANCEL_OWED | CANCEL_ASKED))) return;
    words->state &= ~(uint32_t)(CANCEL_OWED | CANCEL_ASKED);
    pri_list_remove(&words->link);
}

/* Bytes in a leased buffer.  A multishot receive goes on as long as nobody ends it and nothing is wrong. */
static void leased(uring *u, pri_step *step, int bytes, uint32_t flags, pri_record *record)
{
    step_words *words = words_of(step);
    bool        multi = step->flags & PRI_STEP_MULTI;
    report(record, step, bytes, PRO_OK, 0);
    record->lease = words->state & PICKED ? words->lease : flags >> IORING_CQE_BUFFER_SHIFT;
    words->state &= ~(uint32_t)PICKED;
    step->handle->pri_engine[0] = flags & u->nonempty;
    pri_uring_lent_filled(step, record->lease, (size_t)bytes);
    if (multi) record->flags = PRI_RECORD_MORE;
    if (flags & IORING_CQE_F_MORE) return;
    forget_cancel(words);
    if (!multi) {
        set_phase(words, REPORTED);
        return;
    }
    /* One-shot worked where multishot did not. */
    if (words->state & ONE_SHOT) u->features &= ~(uint32_t)PRI_URING_MULTISHOT_RECV;
    submit_again(u, step, 0);
}

/* A datagram in a buffer of the kernel's choice.  After an empty one it stops. */
static void leased_from(uring *u, pri_step *step, int result, uint32_t flags, pri_record *record)
{
    struct io_uring_recvmsg_out head;
    report(record, step, result - PRO_DATAGRAM_HEAD, PRO_OK, 0);
    record->lease = flags >> IORING_CQE_BUFFER_SHIFT;
    pri_uring_lent_filled(step, record->lease, (size_t)result);
    memcpy(&head, pri_buffers_at(step->data, record->lease), sizeof head);
    record->flags =
        head.flags & MSG_TRUNC ? PRI_RECORD_MORE | PRI_RECORD_TRUNCATED : PRI_RECORD_MORE;
    step->handle->pri_engine[0] = flags & u->nonempty;
    if (flags & IORING_CQE_F_MORE) return;
    forget_cancel(words_of(step));
    submit_again(u, step, 0);
}

/* Everything but the plain success of a transfer: all of the kernel's moods.  false: no record. */
PRI_APART bool completed(uring *u, pri_step *step, int result, bool more, pri_record *record)
{
    step_words *words = words_of(step);
    bool        multi = step->flags & PRI_STEP_MULTI;
    bool        connect = step->kind == PRI_STEP_CONNECT;
    int64_t     value = result;
    if (!more) forget_cancel(words);
    if (words->state & IN_SLOT) value = pri_uring_slot_came(u, step, result, more);
    drop_buffer(step);
    if (result >= 0 && step->flags & PRI_STEP_BY_CALL) return run_call(u, step, record);
    if (connect && is_unix(step)) set_blocking(step->handle, true);
    if (words->state & POLLING && result >= 0) {
        bool is_for_us = pri_step_is_leased(step) && is_late(step);
        if (is_for_us && !(words->state & CANCEL_WISHED))
            return step->kind == PRI_STEP_RECV_LEASED ? pick_buffer(u, step, record)
                                                      : receive_from(u, step, record);
        submit_again(u, step, 0);
        return false;
    }
    /* A connect that was taken up again finds what it had begun. */
    if (connect && (words->state & AGAIN) && result == -EISCONN) result = 0;
    if (connect && (words->state & AGAIN) && (result == -EALREADY || result == -EINPROGRESS)) {
        submit_again(u, step, POLLING);
        return false;
    }
    if (result >= 0 && multi && step->kind == PRI_STEP_ACCEPT) {
        accepted(u, step, value, more, record);
        return true;
    }
    if (more) return false;
    if (step->kind == PRI_STEP_CALL) {
        if (result == -EINTR) {
            submit_again(u, step, 0);
            return false;
        }
        if (words->state & FIXED && pri_uring_memory_is_refused(result)) {
            submit_again(u, step, UNFIXED);
            return false;
        }
        if (words->state & FIXED && result >= 0) pri_loop_count_registered(u->loop);
        if (result >= 0) pri_uring_call_done(step, result);
        goto over;
    }

    switch (result) {
    case -EINTR: submit_again(u, step, step->flags & PRI_STEP_BY_CALL ? POLLING : 0); return false;
    case -EAGAIN:
        if (connect) { /* no ports left, or a full backlog: no poll would help */
            if (is_unix(step)) result = -ECONNREFUSED;
            break;
        }
        if (words->state & OTHER && ((pri_side *)step->data)->message.never_waits) {
            result = -ENOBUFS;
            break;
        }
        submit_again(u, step, POLLING);
        return false;
    case -ENOBUFS:
        if (!pri_step_is_leased(step) || is_late(step) ||
            ((const pro_buffers *)step->data)->available == 0)
            break;
        if (words->state & CANCEL_WISHED)
            end(u, step);
        else /* not yet: a handler before it may cancel it */
            pri_uring_wait_for_entry(u, step, (words->state & ONE_SHOT) | AGAIN);
        return false;
    case -ENFILE: /* in a table that was not expected to be full */
        if (!(words->state & IN_SLOT)) break;
        submit_again(u, step, NO_SLOT);
        return false;
    case -ECANCELED:
        if (!(words->state & NARROWED) || words->state & CANCEL_WISHED) break;
        submit_again(u, step, 0);
        return false;
    case -ECONNABORTED: /* errors of a connection that would have been accepted, not of the listener */
    case -EPROTO:
    case -EPERM: /* a firewall's rule */
    case -ENETDOWN:
    case -ENETUNREACH:
    case -EHOSTDOWN:
    case -EHOSTUNREACH:
    case -ENOPROTOOPT:
        if (!multi || step->kind != PRI_STEP_ACCEPT) break;
        submit_again(u, step, 0);
        return false;
    case -EINVAL:
        if (!multi || (words->state & ONE_SHOT) || !(u->features & multishot_of(step))) break;
        submit_again(u, step, ONE_SHOT);
        return false;
    default: break;
    }
over:
    set_phase(words, REPORTED);
    if (result >= 0) {
        bool is_poll = step->kind == PRI_STEP_POLL_IN || step->kind == PRI_STEP_POLL_OUT;
        report(record, step, is_poll ? pri_os_poll_told((uint32_t)result) : value, PRO_OK, 0);
        if (step->kind == PRI_STEP_RECV) pri_uring_filled(step, (size_t)result);
        if (step->kind == PRI_STEP_RECV && words->state & OTHER) {
            pri_side *side = step->data;
            pri_os_message_in(&side->message, &side->address);
        }
    } else {
        report(record, step, 0, result == -ECANCELED ? PRO_ECANCELED : pri_os_error(result),
               -result);
    }
    return true;
}

/* A zero-copy send is heard of twice, unless the kernel says at once that the memory is free: the bytes,
 * and a notification.  An error is kept until then. */
PRI_APART bool completed_zerocopy(uring *u, pri_step *step, int result, uint32_t flags,
                                  pri_record *record)
{
    step_words *words = words_of(step);
    bool        is_over = !(flags & IORING_CQE_F_MORE);
    forget_cancel(words); /* of what is only kept there is nothing to find */
    if (flags & IORING_CQE_F_NOTIF) {
        pri_loop_count_zerocopy(u->loop, (uint32_t)result & PRI_IORING_NOTIF_USAGE_ZC_COPIED);
        if (words->state & HELD) {
            words->state = REPORTED;
            report(record, step, 0, PRO_OK, 0);
            return true;
        }
        result = (int)words->lease;
    } else if (result > 0) {
        report(record, step, result, PRO_OK, 0);
        if (words->state & FIXED) pri_loop_count_registered(u->loop);
        if (is_over) {
            words->state = REPORTED;
            return true;
        }
        words->state |= HELD;
        record->flags = PRI_RECORD_MORE;
        return true;
    } else if (!is_over) {
        words->lease = (uint32_t)result;
        return false;
    }
    words->state &= ~(uint32_t)ZEROCOPY;
    if (words->state & FIXED && pri_uring_memory_is_refused(result)) {
        submit_again(u, step, UNFIXED);
        return false;
    }
    if (result == -EINVAL && u->features & PRI_URING_ZC_REPORT) { /* quirk zc_report_einval */
        u->features &= ~(uint32_t)PRI_URING_ZC_REPORT;
        submit_again(u, step, 0);
        return false;
    }
    if (result == -EOPNOTSUPP || result == -ENOMEM || result == -ENOBUFS) {
        submit_again(u, step, ONE_SHOT); /* no such thing here, or no memory may be locked */
        return false;
    }
    return completed(u, step, result, false, record);
}

/* What a completion says; false: no record. */
static bool completion(uring *u, const struct io_uring_cqe *cqe, pri_record *record)
{
    pri_step *step = step_of_tag(cqe->user_data);
    int       result = cqe->res;
    if (step >= u->own && step < u->own + OWN_STEPS) {
        completed_own(u, (unsigned)(step - u->own), (uint16_t)cqe->user_data, result);
        return false;
    }
    unplain(step);
    step_words *words = words_of(step);
    assert(cqe->user_data == tag_of(step) && words->state & IN_RING);
    if (step->kind == PRI_STEP_RECV_LEASED && result > 0 && !(words->state & POLLING)) {
        leased(u, step, result, cqe->flags, record);
        return true;
    }
    if (step->kind == PRI_STEP_RECV_FROM_LEASED && result > 0 && !(words->state & POLLING)) {
        leased_from(u, step, result, cqe->flags, record);
        return true;
    }
    if (words->state & ZEROCOPY) return completed_zerocopy(u, step, result, cqe->flags, record);
    give_unused(step, cqe->flags);
    if (step->kind == PRI_STEP_RECV_LEASED && result == -ENOBUFS) /* there are bytes */
        step->handle->pri_engine[0] = u->nonempty;
    if (step->kind == PRI_STEP_RECV && result >= 0 && words->state == IN_RING)
        step->handle->pri_engine[0] = cqe->flags & u->nonempty;
    return completed(u, step, result, cqe->flags & IORING_CQE_F_MORE, record);
}

/* Bytes in a buffer that the kernel picked, and more to come. */
PRI_IN_PLACE bool is_leased(pri_step *step, const struct io_uring_cqe *cqe)
{
    return step->kind == PRI_STEP_RECV_LEASED &&
           (words_of(step)->state & ~(uint32_t)AGAIN) == IN_RING &&
           (cqe->flags & IORING_CQE_F_MORE) && cqe->res > 0;
}

/* Is it for run_plain? */
static bool is_plain(const uring *u, const struct io_uring_cqe *cqe)
{
    pri_step *step = step_of_tag(cqe->user_data);
    return step->op_state == (PRI_STARTED | PRI_STEP_PLAIN) ||
           (is_leased(step, cqe) && u->loop->engine->run_plain);
}

int pri_uring_reap(uring *u, pri_record *records, int max, bool plain_too)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    unsigned                  head = *cq->khead, tail = io_uring_smp_load_acquire(cq->ktail);
    int                       n = 0;
    for (; head != tail && n < max; head++) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
        if (!plain_too && is_plain(u, cqe)) break;
        n += completion(u, cqe, &records[n]);
    }
    io_uring_smp_store_release(cq->khead, head); /* the kernel may write over what we have read */
    return n;
}

PRI_APART void run_other(pro_loop *loop, const struct io_uring_cqe *cqe)
{
    pri_record record;
    loop->plain = NULL;
    if (completion(uring_of(loop), cqe, &record)) pri_op_run_records(loop, &record, 1);
}

/* A row of completions, up to at_end: a handler may end it early (stop_running). */
PRI_IN_PLACE void run_row(pro_loop *loop, uring *u)
{
    while (u->at != u->at_end) {
        const struct io_uring_cqe *cqe = u->at++;
        pri_step                  *step = step_of_tag(cqe->user_data);
        int64_t                    result = cqe->res;
        if (PRI_RARELY(step->op_state != (PRI_STARTED | PRI_STEP_PLAIN) ||
                       !pri_step_is_over(step, result))) {
            if (is_leased(step, cqe)) {
                uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
                pri_uring_lent_filled(step, id, (size_t)result);
                pri_op_run_leased(loop, step, id, result);
            } else {
                run_other(loop, cqe);
            }
        } else if (step->kind == PRI_STEP_RECV) {
            step->handle->pri_engine[0] = cqe->flags & u->nonempty;
            pri_uring_filled(step, (size_t)result);
            pri_op_run_plain(loop, step, PRI_READ, result);
        } else {
            pri_op_run_plain(loop, step, PRI_WRITE, result);
        }
    }
}

/* Handlers run in here: they take entries of the submission queue, and a call at once of theirs (slots.c) may
 * rearrange this one, which it says by stop_running.  What such a call set aside came before all that is here
 * now, perhaps of the same step: the next turn has it, and then this. */
void pri_uring_run_plain(pro_loop *loop, int max)
{
    uring                    *u = uring_of(loop);
    const struct io_uring_cq *cq = &u->ring.cq;
    for (unsigned left = (unsigned)max; u->slots.aside_head == u->slots.aside_tail;) {
        unsigned head = *cq->khead, tail = io_uring_smp_load_acquire(cq->ktail);
        unsigned index = head & cq->ring_mask, count = cq->ring_entries - index;
        if (count > tail - head) count = tail - head;
        if (count > left) count = left;
        if (count == 0) return;
        const struct io_uring_cqe *end = &cq->cqes[index] + count;
        u->at = u->at_begin = &cq->cqes[index];
        u->at_end = end;
        run_row(loop, u);
        stop_running(u);
        if (count == tail - head && u->at == end) return; /* nobody cut it short */
        left -= count;
    }
}

int pri_uring_report_ended(uring *u, pri_record *records, int max)
{
    int n = 0;
    while (n < max && !pri_list_empty(&u->ended)) {
        pri_link *link = pri_list_pop(&u->ended);
        if (link == &u->slots.aside_link) {
            n += pri_uring_reap_aside(u, &records[n], max - n);
            continue;
        }
        pri_step *step = step_of_link(link);
        drop_buffer(step);
        set_phase(words_of(step), REPORTED);
        report(&records[n++], step, 0, PRO_ECANCELED, 0);
    }
    return n;
}
