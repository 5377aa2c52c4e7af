/* The io_uring engine.
 *
 * The happy path: start fills a submission entry; turn makes one system call that submits all entries
 * and waits; every completion becomes a record.  Nothing is copied and nothing is allocated.
 *
 * What can come between:
 *   - the submission queue is full: the step waits on a list, in order, and gets its entry in the
 *     next turn; a cancel and the read of the wake wait likewise;
 *   - the kernel merely stopped (EINTR, EAGAIN, a multishot accept without F_MORE): the step gets a
 *     new entry, unless it was canceled;
 *   - cancel: a step without an entry ends here, for others the kernel is asked, and its word on the
 *     step itself is what counts; of what it says to the cancel only that there is no such entry: it
 *     may be one that is about to be tried again, and so the kernel is asked again (cancel_misses);
 *   - deadlines: one timeout entry stands in the ring, for the earliest time that a turn wanted so
 *     far.  It is moved when it must be earlier; when it comes too early it is armed again;
 *   - wake: an eventfd that the ring reads. */
#include "engine/uring/uring.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "engine/uring/lend.h"
#include "engine/uring/sanitize.h"
#include "engine/uring/state.h"

enum { FAILURES_MAX = 100, REPEATS_MAX = 8 };

#ifdef PRI_TSAN
char pri_uring_tsan_sync;
#endif

/* ---- The submission queue --------------------------------------------------------------------- */

bool pri_uring_make_room(uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;
    write_tail(u);
    unsigned at = sq->sqe_tail & sq->ring_mask;
    unsigned room = sq->ring_entries - unsubmitted(u), until_wrap = sq->ring_entries - at;
    u->base = u->next = &sq->sqes[at];
    u->end = u->next + (room < until_wrap ? room : until_wrap);
    return room > 0;
}

/* ---- The system call -------------------------------------------------------------------------- */

static bool has_completions(const uring *u)
{
    return io_uring_smp_load_acquire(u->ring.cq.ktail) != *u->ring.cq.khead;
}

/* Has the kernel something for us that it can only deliver when called? */
static bool has_work(const uring *u)
{
    unsigned flags = IO_URING_READ_ONCE(*u->ring.sq.kflags);
    return u->enter_to_poll || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

enum entering { SUBMIT, DELIVER, WAIT };

/* Submit all entries; let the kernel deliver, too; wait for one completion, too.  0, or a negated
 * system number; either way it may have taken some of the entries only. */
static int enter(uring *u, enum entering how)
{
    int result = pri_os_fault(u->env, "io_uring_enter");
    if (result) return result;
    write_tail(u);
    /* The index array is the identity (see init), so the tail is all that the kernel has to see;
     * and what it points to before it: hence release. */
    io_uring_smp_store_release(u->ring.sq.ktail, u->ring.sq.sqe_tail);
    PRI_URING_SUBMITTED();
    unsigned flags = u->enter_flags | (how == WAIT ? u->wait_flags : 0);
    if (how == SUBMIT) flags &= ~IORING_ENTER_GETEVENTS;
    pri_loop_count_system_call(u->loop);
    result = io_uring_enter((unsigned)u->enter_fd, unsubmitted(u), how == WAIT, flags, NULL);
    PRI_URING_COMPLETED();
    if (result < 0) return result;
    if (how != SUBMIT) u->delivered = io_uring_smp_load_acquire(u->ring.cq.ktail);
    u->failures = 0;
    return 0;
}

/* ---- Entries ---------------------------------------------------------------------------------- */

void pri_uring_wait_for_entry(uring *u, pri_step *step, uint32_t state)
{
    words_of(step)->state = state | WAITING;
    pri_list_append(&u->waiting, &words_of(step)->link);
}

/* Give entries to what waits for one.  false: the queue is full, and something still waits.
 *
 * Of the cancels that may have found nothing only some are repeated at a time.  Which one it was is not known, and
 * where many thousand are closed at once most of them are about to be heard of: each repeat of one that is over
 * finds nothing, too, and would have all that are left repeated. */
PRI_APART bool flush_waiting(uring *u)
{
    struct io_uring_sqe *sqe;
    if (!u->wake_armed) {
        if (!(sqe = entry(u))) return false;
        sqe->opcode = IORING_OP_READ;
        sqe->fd = u->wake_fd;
        sqe->addr = (uintptr_t)&u->wake_count;
        sqe->len = sizeof u->wake_count;
        sqe->user_data = own_tag(u, OWN_WAKE);
        u->wake_armed = true;
    }
    while (!pri_list_empty(&u->cancels)) {
        if (!(sqe = entry(u))) return false;
        pri_step *step = step_of_link(pri_list_pop(&u->cancels));
        words_of(step)->state &= ~(uint32_t)CANCEL_OWED;
        fill_asked(u, step, sqe);
    }
    for (int n = 0; n < REPEATS_MAX && !pri_list_empty(&u->missed); n++) {
        if (!(sqe = entry(u))) return false;
        fill_asked(u, step_of_link(pri_list_pop(&u->missed)), sqe);
    }
    while (!pri_list_empty(&u->waiting)) {
        if (!(sqe = entry(u))) return false;
        pri_step *step = step_of_link(pri_list_pop(&u->waiting));
        uint32_t  state = words_of(step)->state & ~(uint32_t)PHASES;
        fill_step(u, step, state, sqe);
    }
    return true;
}

/* The same, where most often nothing waits. */
static bool flush(uring *u)
{
    bool is_done = u->wake_armed && pri_list_empty(&u->cancels) && pri_list_empty(&u->missed) &&
                   pri_list_empty(&u->waiting);
    return is_done || flush_waiting(u);
}

/* The ring's timer shall fire at this time or earlier.  false: the queue is full. */
PRI_APART bool move_timer(uring *u, uint64_t at_ns)
{
    bool stands = u->timer_at_ns != NEVER;
    bool update = stands && (u->features & PRI_URING_TIMEOUT_UPDATE);
    if (unsubmitted(u) + (stands && !update) >= u->ring.sq.ring_entries) return false;

    struct io_uring_sqe *sqe = entry(u);
    u->timer_at_ns = at_ns;
    u->timer_at.tv_sec = (long long)(at_ns / PRO_SEC);
    u->timer_at.tv_nsec = (long long)(at_ns % PRO_SEC);
    sqe->fd = -1;
    if (stands) {
        /* If it has just fired this finds nothing, and its completion ends the turn as well. */
        sqe->opcode = IORING_OP_TIMEOUT_REMOVE;
        sqe->addr = tag_with(&u->own[OWN_TIMER], u->timer_sequence);
        sqe->user_data = own_tag(u, OWN_TIMER_MOVE);
        if (u->features & PRI_URING_CQE_SKIP) sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    }
    if (update) {
        sqe->addr2 = (uintptr_t)&u->timer_at;
        sqe->timeout_flags = IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS;
        return true;
    }
    if (stands) {
        sqe = entry(u);
        sqe->fd = -1;
    }
    sqe->opcode = IORING_OP_TIMEOUT;
    sqe->addr = (uintptr_t)&u->timer_at;
    sqe->len = 1;
    sqe->timeout_flags = IORING_TIMEOUT_ABS;
    sqe->user_data = tag_with(&u->own[OWN_TIMER], ++u->timer_sequence);
    return true;
}

static bool arm_timer(uring *u, uint64_t at_ns)
{
    return at_ns >= u->timer_at_ns || move_timer(u, at_ns);
}

/* ---- Turning ---------------------------------------------------------------------------------- */

/* Submit, wait if nothing is there: one system call in all but rare cases, none if nothing is to do.
 *
 * While this turn (room) has enough in what the kernel delivered when it was last asked, it is not asked again:
 * it would deliver twenty and more at each call, into buffers, and we take them no faster; the queue would
 * grow until there is a completion in it for every connection, whose bytes have left the cache, and every
 * buffer of a pool.  What completes as it is submitted does not count for that, so that the rest has its turn
 * soon.  0, or a negated number. */
static int submit_and_wait(uring *u, bool wait, uint64_t until_ns, int room)
{
    int error = 0;
    while (!flush(u) && !error) error = enter(u, DELIVER); /* more than the queue holds */
    if ((int)(u->delivered - *u->ring.cq.khead) >= room && has_completions(u))
        return !error && unsubmitted(u) ? enter(u, SUBMIT) : error;
    wait = wait && !has_completions(u) && pri_list_empty(&u->missed);
    while (wait && !error && !arm_timer(u, until_ns)) error = enter(u, DELIVER);
    if (!error && (wait || unsubmitted(u) || has_work(u))) error = enter(u, wait ? WAIT : DELIVER);
    return error;
}

/* A call failed and nothing was there.  The ring is as it was, so the core may simply turn again;
 * where that would go on for long it is told. */
static int failed(uring *u, int error)
{
    if (error == -EINTR) return 0;
    bool short_of_memory = error == -EAGAIN || error == -EBUSY;
    if (!short_of_memory || ++u->failures >= FAILURES_MAX) return error;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return 0;
}

/* Then there is nothing to reap. */
static bool is_plain_first(const uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    if (!has_completions(u)) return false;
    const pri_step *step = step_of_tag(cq->cqes[*cq->khead & cq->ring_mask].user_data);
    return step->op_state == (PRI_STARTED | PRI_STEP_PLAIN);
}

static int report_ended(uring *u, pri_record *records, int max)
{
    return pri_list_empty(&u->ended) ? 0 : pri_uring_report_ended(u, records, max);
}

PRI_APART void resume(pro_loop *loop)
{
    pri_link now;
    pri_list_init(&now);
    pri_list_splice(&now, &loop->paused);
    while (!pri_list_empty(&now)) {
        pri_step *step = step_of_link(pri_list_pop(&now));
        submit(uring_of(loop), step, words_of(step)->state & ~(uint32_t)PHASES);
    }
}

static int uring_turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    uring *u = uring_of(loop);
    u->woken = false;
    if (pri_buffers_resume(loop)) resume(loop);
    int      n = report_ended(u, records, max);
    bool     wait = n == 0 && until_ns != PRI_TURN_POLL;
    uint64_t until = NEVER;
    if (wait && until_ns != PRI_TURN_FOREVER) until = pri_loop_system_time(loop, until_ns);
    for (;;) {
        int      error = submit_and_wait(u, wait, until, max - n);
        unsigned head = *u->ring.cq.khead;
        u->fired_at_ns = NEVER;
        if (!is_plain_first(u)) n += pri_uring_reap(u, &records[n], max - n, false);
        n += report_ended(u, &records[n], max - n);
        if (n > 0 || u->woken) return n;
        if (has_completions(u)) return 0; /* of plain steps */
        if (error) return failed(u, error);
        if (!wait) return 0;
        if (u->fired_at_ns != NEVER && u->fired_at_ns >= until) return 0;
        if (head == *u->ring.cq.khead) return 0; /* interrupted by a signal */
        /* Only something of our own, like a timer that came too early: go on waiting. */
    }
}

/* ---- From the core ---------------------------------------------------------------------------- */

static void uring_start(pro_loop *loop, pri_step *step) { submit(uring_of(loop), step, 0); }

PRI_APART void start_unplain(uring *u, pri_step *step)
{
    pri_step_unplain(step);
    submit(u, step, 0);
}

/* Every word of the entry is written once, but for what is zero in all of them.  This order of stores and no
 * other is no accident: docs/design/performance.md. */
PRI_IN_PLACE void start_plain(uring *u, pri_step *step, const pro_handle *handle, uint64_t head,
                              const void *data, size_t len, uint32_t msg_flags)
{
    struct io_uring_sqe *sqe = u->next;
    if (PRI_RARELY(sqe == u->end || len > LEN_MAX)) {
        start_unplain(u, step);
        return;
    }
    u->next = sqe + 1;
    fill_head(sqe, handle->pri_fd, head);
    sqe->off = 0;
    sqe->addr = (uintptr_t)data;
    sqe->len = (uint32_t)len;
    sqe->msg_flags = msg_flags;
    sqe->user_data = tag_of(step);
    memset(&sqe->buf_index, 0, sizeof *sqe - offsetof(struct io_uring_sqe, buf_index));
}

static void uring_recv(pro_loop *loop, pri_step *step, pro_handle *handle, void *data, size_t len)
{
    uring *u = uring_of(loop);
    /* It waits first, unless the first word of the handle says that the last receive left something. */
    uint64_t head = u->recv_head - handle->pri_engine[0] * HEAD_PER_NONEMPTY;
    start_plain(u, step, handle, head, data, len, 0);
}

static void uring_send(pro_loop *loop, pri_step *step, pro_handle *handle, void *data, size_t len)
{
    start_plain(uring_of(loop), step, handle, HEAD(IORING_OP_SEND, 0), data, len, MSG_NOSIGNAL);
}

static void uring_unplain(pro_loop *loop, pri_step *step)
{
    (void)loop;
    unplain(step);
}

static void uring_cancel(pro_loop *loop, pri_step *step)
{
    uring      *u = uring_of(loop);
    step_words *words = words_of(step);
    unplain(step);
    if (words->state & WAITING) {
        pri_list_remove(&words->link);
        end(u, step);
        return;
    }
    if (!(words->state & IN_RING) || (words->state & CANCEL_WISHED)) return;
    words->state |= CANCEL_WISHED;
    ask_to_end(u, step);
}

/* Where it would not pick for datagrams it shall not pick for streams either: a pool is for both. */
static int uring_buffers_lend(pro_loop *loop, pro_buffers *buffers, uint32_t count)
{
    const uint32_t needed = PRI_URING_BUFFER_RING | PRI_URING_MULTISHOT_RECVMSG;
    uring         *u = uring_of(loop);
    if ((u->features & needed) != needed) return -EOPNOTSUPP;
    return pri_uring_lend(&u->ring, u->env, buffers, count, &u->group);
}

static void uring_buffers_back(pro_loop *loop, pro_buffers *buffers)
{
    pri_uring_take_back(&uring_of(loop)->ring, uring_of(loop)->env, buffers);
}

static void uring_detach(pro_loop *loop, pro_handle *handle)
{
    (void)loop;
    memset(handle->pri_engine, 0, sizeof handle->pri_engine);
}

/* Safe in signal handlers: an atomic flag and a write. */
void pri_uring_wake(pro_loop *loop)
{
    uring *u = uring_of(loop);
    if (atomic_exchange(&u->waking, true)) return;
    int            saved = errno;
    const uint64_t one = 1;
    ssize_t        written = write(u->wake_fd, &one, sizeof one);
    (void)written; /* cannot fail: the counter is far from its end */
    errno = saved;
}

const pri_engine pri_engine_uring = {
    .id = PRO_ENGINE_URING,
    .caps = PRI_CAPS_POLL | PRI_CAPS_LEASE | PRI_CAPS_SLOTS | PRI_CAPS_TRY,
    .name = "uring",
    .net = &pri_os_net,
    .call = pri_os_call,
    .nonblocking = 0,
#define COMMA_WORD(id, word, without) "," word
#define COMMA_NAME(what, name) "," name
    .features = &("" PRI_URING_FEATURES(COMMA_WORD) PRI_CALLS(COMMA_NAME))[1],
#undef COMMA_WORD
#undef COMMA_NAME
    .probe = pri_uring_probe,
    .init = pri_uring_init,
    .fini = pri_uring_fini,
    .bind = pri_uring_bind,
    .start = uring_start,
    .start_plain = {[PRI_READ] = uring_recv, [PRI_WRITE] = uring_send},
    .run_plain = pri_uring_run_plain,
    .unplain = uring_unplain,
    .cancel = uring_cancel,
    .detach = uring_detach,
    .close = pri_uring_close,
    .buffers_lend = uring_buffers_lend,
    .buffers_back = uring_buffers_back,
    .buffers_give = pri_uring_give,
    .memory_lend = pri_uring_memory_lend,
    .memory_back = pri_uring_memory_back,
    .turn = uring_turn,
    .wake = pri_uring_wake,
};
