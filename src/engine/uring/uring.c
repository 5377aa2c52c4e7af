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
 *     step itself is what counts; what it says to the cancel does not;
 *   - deadlines: one timeout entry stands in the ring, for the earliest time that a turn wanted so
 *     far.  It is moved when it must be earlier; when it comes too early it is armed again;
 *   - wake: an eventfd that the ring reads.
 *
 * Invariants (those of a step are in entry.h):
 *   timer_at_ns != NEVER  <==>  a timeout entry that fires then, or earlier, is in the ring */
#include "engine/uring/uring.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/list.h"
#include "engine/uring/entry.h"
#include "engine/uring/kernel.h"
#include "engine/uring/lend.h"
#include "engine/uring/sanitize.h"

#define NEVER UINT64_MAX

enum { FAILURES_MAX = 100 };

typedef struct uring {
    struct io_uring ring;
    pro_loop       *loop;
    const pro_env  *env;
    uint32_t        features;
    uint16_t        sequence;      /* of tags */
    uint16_t        group;         /* the next number of a pool of buffers */
    int             enter_fd;      /* the ring's descriptor, or its registered number */
    unsigned        enter_flags;   /* of every io_uring_enter */
    unsigned        wait_flags;    /* of one that waits */
    bool            enter_to_poll; /* no flag says whether the kernel has work for us */
    bool            wake_armed;    /* the eventfd's read is in the ring */
    bool            woken;         /* in this turn */
    int             failures;      /* of the call, one after the other */
    uintptr_t       bound;         /* the thread that enters, or 0 */

    pri_link waiting; /* steps without an entry, in order */
    pri_link cancels; /* steps whose cancel has no entry */
    pri_link ended;   /* steps that report PRO_ECANCELED without the kernel */

    uint64_t                 timer_at_ns; /* on the system's clock */
    uint64_t                 fired_at_ns; /* where it stood when it fired in this turn; or NEVER */
    uint16_t                 timer_sequence;
    struct __kernel_timespec timer_at; /* read by the kernel when it takes the entry */
    uint64_t                 wake_count;

    char        other_threads[64]; /* what they write is not on the lines above */
    atomic_bool waking;            /* the eventfd was written to and not yet read */
    int         wake_fd;
} uring;

#ifdef PRI_TSAN
char pri_uring_tsan_sync;
#endif

static uring *uring_of(const pro_loop *loop) { return pri_loop_engine_state(loop); }

/* ---- The two queues -------------------------------------------------------------------------- */

/* An empty entry, or NULL: the submission queue is full. */
PRI_IN_PLACE struct io_uring_sqe *entry(uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;
    if (sq->sqe_tail - IO_URING_READ_ONCE(*sq->khead) >= sq->ring_entries) return NULL;
    struct io_uring_sqe *sqe = &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

static unsigned unsubmitted(const uring *u)
{
    return u->ring.sq.sqe_tail - IO_URING_READ_ONCE(*u->ring.sq.khead);
}

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

/* Submit all entries, let the kernel deliver, wait for one completion if asked.  0, or a negated
 * system number; either way it may have taken some of the entries only. */
static int enter(uring *u, bool wait)
{
    int result = pri_os_fault(u->env, "io_uring_enter");
    if (result) return result;
    /* The index array is the identity (see init), so the tail is all that the kernel has to see;
     * and what it points to before it: hence release. */
    io_uring_smp_store_release(u->ring.sq.ktail, u->ring.sq.sqe_tail);
    PRI_URING_SUBMITTED();
    unsigned flags = u->enter_flags | (wait ? u->wait_flags : 0);
    pri_loop_count_system_call(u->loop);
    result = io_uring_enter((unsigned)u->enter_fd, unsubmitted(u), wait, flags, NULL);
    PRI_URING_COMPLETED();
    if (result < 0) return result;
    u->failures = 0;
    return 0;
}

/* ---- Entries ---------------------------------------------------------------------------------- */

PRI_APART void wait_for_entry(uring *u, pri_step *step, uint32_t state)
{
    words_of(step)->state = state | WAITING;
    pri_list_append(&u->waiting, &words_of(step)->link);
}

/* An entry at once if there is room, else in the next turn.  Entries become free in turns only, and
 * go to those who wait first: so there is room only if nobody waits. */
PRI_IN_PLACE void submit(uring *u, pri_step *step, uint32_t state)
{
    struct io_uring_sqe *sqe = entry(u);
    if (sqe)
        fill_step(step, state, sqe, u->features, ++u->sequence);
    else
        wait_for_entry(u, step, state);
}

/* Its record will be PRO_ECANCELED, without the kernel. */
static void end(uring *u, pri_step *step)
{
    set_phase(words_of(step), ENDED);
    pri_list_append(&u->ended, &words_of(step)->link);
}

/* Give entries to what waits for one.  false: the queue is full, and something still waits. */
static bool flush(uring *u)
{
    struct io_uring_sqe *sqe;
    if (!u->wake_armed) {
        if (!(sqe = entry(u))) return false;
        sqe->opcode = IORING_OP_READ;
        sqe->fd = u->wake_fd;
        sqe->addr = (uintptr_t)&u->wake_count;
        sqe->len = sizeof u->wake_count;
        sqe->user_data = OWN_WAKE;
        u->wake_armed = true;
    }
    while (!pri_list_empty(&u->cancels)) {
        if (!(sqe = entry(u))) return false;
        pri_step *step = step_of_link(pri_list_pop(&u->cancels));
        words_of(step)->state &= ~(uint32_t)CANCEL_OWED;
        fill_cancel(step, sqe, u->features);
    }
    while (!pri_list_empty(&u->waiting)) {
        if (!(sqe = entry(u))) return false;
        pri_step *step = step_of_link(pri_list_pop(&u->waiting));
        uint32_t  state = words_of(step)->state & ~(uint32_t)PHASES;
        fill_step(step, state, sqe, u->features, ++u->sequence);
    }
    return true;
}

/* The ring's timer shall fire at this time or earlier.  false: the queue is full. */
static bool arm_timer(uring *u, uint64_t at_ns)
{
    if (at_ns >= u->timer_at_ns) return true;
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
        sqe->addr = (uint64_t)u->timer_sequence << ADDRESS_BITS | OWN_TIMER;
        sqe->user_data = OWN_TIMER_MOVE;
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
    sqe->user_data = (uint64_t)++u->timer_sequence << ADDRESS_BITS | OWN_TIMER;
    return true;
}

/* ---- Completions ------------------------------------------------------------------------------ */

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
    default: break; /* what is said of a cancel does not matter: its step says it */
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
    return step->kind == PRI_STEP_ACCEPT ? PRI_URING_MULTISHOT_ACCEPT : PRI_URING_MULTISHOT_RECV;
}

/* A step of a multishot accept goes on as long as nobody ends it and nothing is wrong. */
static void accepted(uring *u, pri_step *step, int fd, bool more, pri_record *record)
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
 * SIGPIPE, and hold a worker thread where the descriptor does not know how not to wait. */
PRI_APART bool run_call(uring *u, pri_step *step, pri_record *record)
{
    bool     in = step->kind == PRI_STEP_RECV;
    intptr_t fd = step->handle->pri_fd;
    pri_loop_count_system_call(u->loop);
    int64_t n;
    if (step->handle->pri_kind == PRI_DATAGRAM) {
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
    pri_buffers_give(step->data, words_of(step)->lease);
}

/* A worker thread of the kernel's keeps the buffer that it picked, also when nothing came to be in it. */
static void give_unused(pri_step *step, uint32_t flags)
{
    if (step->kind == PRI_STEP_RECV_LEASED && flags & IORING_CQE_F_BUFFER)
        pri_uring_give(step->data, flags >> IORING_CQE_BUFFER_SHIFT);
}

/* There are bytes, and a buffer for them?  state: what it has beside its phase. */
static bool pick_buffer(pri_step *step, uint32_t *state)
{
    if (step->kind != PRI_STEP_RECV_LEASED || !is_late(step)) return true;
    if (words_of(step)->state & CANCEL_WISHED) return true;
    int32_t id = pri_buffers_take(step->data);
    words_of(step)->lease = (uint32_t)id;
    *state = PICKED;
    return id >= 0;
}

static void forget_cancel(step_words *words)
{
    if (!(words->state & CANCEL_OWED)) return;
    words->state &= ~(uint32_t)CANCEL_OWED;
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
    step->handle->pri_engine[0] = flags & IORING_CQE_F_SOCK_NONEMPTY;
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

/* Everything but the plain success of a transfer: all of the kernel's moods.  false: no record. */
PRI_APART bool completed(uring *u, pri_step *step, int result, bool more, pri_record *record)
{
    step_words *words = words_of(step);
    bool        multi = step->flags & PRI_STEP_MULTI;
    bool        connect = step->kind == PRI_STEP_CONNECT;
    if (!more) forget_cancel(words);
    drop_buffer(step);
    if (result >= 0 && step->flags & PRI_STEP_BY_CALL) return run_call(u, step, record);
    if (connect && is_unix(step)) set_blocking(step->handle, true);
    if (words->state & POLLING && result >= 0) {
        uint32_t picked = 0;
        if (!pick_buffer(step, &picked)) {
            set_phase(words, REPORTED);
            report(record, step, 0, PRO_ENOBUFS, ENOBUFS);
            return true;
        }
        submit_again(u, step, picked);
        return false;
    }
    /* A connect that was taken up again finds what it had begun. */
    if (connect && (words->state & AGAIN) && result == -EISCONN) result = 0;
    if (connect && (words->state & AGAIN) && (result == -EALREADY || result == -EINPROGRESS)) {
        submit_again(u, step, POLLING);
        return false;
    }
    if (result >= 0 && multi && step->kind == PRI_STEP_ACCEPT) {
        accepted(u, step, result, more, record);
        return true;
    }
    if (more) return false;
    if (step->kind == PRI_STEP_CALL) {
        if (result == -EINTR) {
            submit_again(u, step, 0);
            return false;
        }
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
        report(record, step, is_poll ? pri_os_poll_told((uint32_t)result) : result, PRO_OK, 0);
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

/* Turn completions into at most max records; those that are over stay in the queue. */
__attribute__((noinline)) static int reap(uring *u, pri_record *records, int max)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    unsigned head = *cq->khead, tail = io_uring_smp_load_acquire(cq->ktail), mask = cq->ring_mask;
    pri_record       *record = records;
    const pri_record *end_of_records = records + max;
    for (; head != tail && record < end_of_records; head++) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & mask];
        uint64_t                   tag = cqe->user_data;
        int                        result = cqe->res;
        pri_step                  *step = step_of_tag(tag);
        if ((uintptr_t)step < OWN_ENTRIES) {
            completed_own(u, (unsigned)(uintptr_t)step, (uint16_t)(tag >> ADDRESS_BITS), result);
            continue;
        }
        step_words *words = words_of(step);
        assert(words->tag == tag);
        if (words->state != IN_RING || result < 0 || step->kind > PRI_STEP_SEND) {
            assert(words->state & IN_RING);
            if (step->kind == PRI_STEP_RECV_LEASED && result > 0 && !(words->state & POLLING)) {
                leased(u, step, result, cqe->flags, record++);
                continue;
            }
            give_unused(step, cqe->flags);
            record += completed(u, step, result, cqe->flags & IORING_CQE_F_MORE, record);
            continue;
        }
        words->state = REPORTED;
        report(record++, step, result, PRO_OK, 0);
        if (step->kind == PRI_STEP_RECV) {
            step->handle->pri_engine[0] = cqe->flags & IORING_CQE_F_SOCK_NONEMPTY;
            pri_uring_filled(step, (size_t)result);
        }
    }
    io_uring_smp_store_release(cq->khead, head); /* the kernel may write over what we have read */
    return (int)(record - records);
}

static int report_ended(uring *u, pri_record *records, int max)
{
    int n = 0;
    while (n < max && !pri_list_empty(&u->ended)) {
        pri_step *step = step_of_link(pri_list_pop(&u->ended));
        drop_buffer(step);
        set_phase(words_of(step), REPORTED);
        report(&records[n++], step, 0, PRO_ECANCELED, 0);
    }
    return n;
}

/* ---- Turning ---------------------------------------------------------------------------------- */

/* Submit, wait if nothing is there: one system call in all but rare cases, none if nothing is to do.
 * 0, or a negated number. */
static int submit_and_wait(uring *u, bool wait, uint64_t until_ns)
{
    int error = 0;
    while (!flush(u) && !error) error = enter(u, false); /* more than the queue holds */
    wait = wait && !has_completions(u);
    while (wait && !error && !arm_timer(u, until_ns)) error = enter(u, false);
    if (!error && (wait || unsubmitted(u) || has_work(u))) error = enter(u, wait);
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

static int uring_turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    uring   *u = uring_of(loop);
    int      n = report_ended(u, records, max);
    bool     wait = n == 0 && until_ns != PRI_TURN_POLL;
    uint64_t until = NEVER;
    if (wait && until_ns != PRI_TURN_FOREVER) until = pri_loop_system_time(loop, until_ns);
    u->woken = false;
    for (;;) {
        int      error = submit_and_wait(u, wait, until);
        unsigned head = *u->ring.cq.khead;
        u->fired_at_ns = NEVER;
        n += reap(u, &records[n], max - n);
        n += report_ended(u, &records[n], max - n);
        if (n > 0 || u->woken) return n;
        if (error) return failed(u, error);
        if (!wait) return 0;
        if (u->fired_at_ns != NEVER && u->fired_at_ns >= until) return 0;
        if (head == *u->ring.cq.khead) return 0; /* interrupted by a signal */
        /* Only something of our own, like a timer that came too early: go on waiting. */
    }
}

/* ---- From the core ---------------------------------------------------------------------------- */

static void uring_start(pro_loop *loop, pri_step *step) { submit(uring_of(loop), step, 0); }

static void uring_cancel(pro_loop *loop, pri_step *step)
{
    uring      *u = uring_of(loop);
    step_words *words = words_of(step);
    if (words->state & WAITING) {
        pri_list_remove(&words->link);
        end(u, step);
        return;
    }
    if (!(words->state & IN_RING) || (words->state & CANCEL_WISHED)) return;
    words->state |= CANCEL_WISHED;
    struct io_uring_sqe *sqe = entry(u);
    if (sqe) {
        fill_cancel(step, sqe, u->features);
        return;
    }
    words->state |= CANCEL_OWED;
    pri_list_append(&u->cancels, &words->link);
}

static int uring_buffers_lend(pro_loop *loop, pro_buffers *buffers)
{
    uring *u = uring_of(loop);
    if (!(u->features & PRI_URING_BUFFER_RING)) return -EOPNOTSUPP;
    return pri_uring_lend(&u->ring, u->env, buffers, &u->group);
}

static void uring_buffers_back(pro_loop *loop, pro_buffers *buffers)
{
    pri_uring_take_back(&uring_of(loop)->ring, uring_of(loop)->env, buffers);
}

static void uring_buffers_give(pro_loop *loop, pro_buffers *buffers, uint32_t id)
{
    (void)loop;
    pri_uring_give(buffers, id);
}

static void uring_detach(pro_loop *loop, pro_handle *handle)
{
    (void)loop;
    memset(handle->pri_engine, 0, sizeof handle->pri_engine);
}

/* Safe in signal handlers: an atomic flag and a write. */
static void uring_wake(pro_loop *loop)
{
    uring *u = uring_of(loop);
    if (atomic_exchange(&u->waking, true)) return;
    int            saved = errno;
    const uint64_t one = 1;
    ssize_t        written = write(u->wake_fd, &one, sizeof one);
    (void)written; /* cannot fail: the counter is far from its end */
    errno = saved;
}

/* ---- Life ------------------------------------------------------------------------------------- */

static int uring_init(pro_loop *loop, const pri_engine_options *options, pri_why *why)
{
    (void)why; /* probe has said it */
    const pro_env *env = pri_loop_env(loop);
    uring         *u = pri_env_realloc(env, NULL, sizeof *u);
    if (!u) return -ENOMEM;
    memset(u, 0, sizeof *u);
    u->loop = loop;
    u->env = env;

    int error = pri_os_fault(env, "eventfd");
    if (error) goto free_state;
    u->wake_fd = eventfd(0, EFD_CLOEXEC); /* blocking: else its read in the ring would not wait */
    if (u->wake_fd < 0) {
        error = -errno;
        goto free_state;
    }
    uint64_t calls;
    error = pri_uring_open(&u->ring, &u->features, &calls, options, NULL);
    if (error) goto close_wake;
    PRI_URING_COMPLETED();

    /* Entries are always used in order, so the index array never changes. */
    for (unsigned i = 0; i < u->ring.sq.ring_entries; i++) u->ring.sq.array[i] = i;
    u->enter_fd = u->ring.ring_fd;
    u->enter_flags = IORING_ENTER_GETEVENTS;
    u->wait_flags = u->features & PRI_URING_NO_IOWAIT ? PRI_IORING_ENTER_NO_IOWAIT : 0;
    u->enter_to_poll = (u->features & (PRI_URING_DEFER_TASKRUN | PRI_URING_COOP_TASKRUN)) &&
                       !(u->features & PRI_URING_TASKRUN_FLAG);
    u->timer_at_ns = NEVER;
    pri_list_init(&u->waiting);
    pri_list_init(&u->cancels);
    pri_list_init(&u->ended);
    pri_loop_set_engine_state(loop, u);
    pri_loop_set_native(loop, calls);
    return 0;

close_wake:
    close(u->wake_fd);
free_state:
    pri_env_realloc(env, u, 0);
    return error;
}

/* The number under which this thread's calls may name the ring; it saves a look-up each. */
static void register_ring(uring *u)
{
    struct io_uring_rsrc_update update = {.offset = ~0u, .data = (unsigned)u->ring.ring_fd};
    int                         result = pri_os_fault(u->env, "io_uring_register");
    pri_loop_count_system_call(u->loop);
    if (!result)
        result = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_RING_FDS, &update, 1);
    if (result != 1) { /* quirk ring_fd_full */
        u->features &= ~(uint32_t)PRI_URING_RING_FD;
        return;
    }
    u->enter_fd = (int)update.offset;
    u->enter_flags |= IORING_ENTER_REGISTERED_RING;
}

static int uring_bind(pro_loop *loop)
{
    uring *u = uring_of(loop);
    if (u->ring.flags & IORING_SETUP_R_DISABLED) {
        int error = pri_os_fault(u->env, "io_uring_register");
        if (error) return error;
        pri_loop_count_system_call(loop);
        error = io_uring_enable_rings(&u->ring);
        if (error < 0) return error;
    }
    u->bound = pri_os_thread_self();
    if (u->features & PRI_URING_RING_FD) register_ring(u);
    return 0;
}

/* The kernel ends what stands in the ring (the timer, the eventfd's read) by itself. */
static void uring_fini(pro_loop *loop)
{
    uring *u = uring_of(loop);
    assert(pri_list_empty(&u->waiting) && pri_list_empty(&u->cancels) && pri_list_empty(&u->ended));
    /* The number is the bound thread's: in another thread it would be another ring's. */
    if ((u->enter_flags & IORING_ENTER_REGISTERED_RING) && u->bound == pri_os_thread_self()) {
        struct io_uring_rsrc_update update = {.offset = (unsigned)u->enter_fd};
        io_uring_register((unsigned)u->ring.ring_fd, IORING_UNREGISTER_RING_FDS, &update, 1);
    }
    PRI_URING_SUBMITTED(); /* the next ring may be mapped where this one was */
    io_uring_queue_exit(&u->ring);
    close(u->wake_fd);
    pri_loop_set_engine_state(loop, NULL);
    pri_env_realloc(u->env, u, 0);
}

const pri_engine pri_engine_uring = {
    .id = PRO_ENGINE_URING,
    .caps = PRI_CAPS_POLL | PRI_CAPS_LEASE,
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
    .init = uring_init,
    .fini = uring_fini,
    .bind = uring_bind,
    .start = uring_start,
    .cancel = uring_cancel,
    .detach = uring_detach,
    .buffers_lend = uring_buffers_lend,
    .buffers_back = uring_buffers_back,
    .buffers_give = uring_buffers_give,
    .turn = uring_turn,
    .wake = uring_wake,
};
