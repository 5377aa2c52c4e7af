/* What the files of the io_uring engine share: its state, and how a step gets an entry.
 *
 *     uring.c   the contract: start, cancel, turn; the system call
 *     reap.c    from completions to records
 *     life.c    a ring's beginning and end
 *     slots.c   sockets in the ring's table in place of the process's
 *     memory.c  registered memory in the ring's table of buffers
 *     entry.h   what an entry says, by the step's kind; the words of a step
 *
 * Invariants (those of a step are in entry.h):
 *   timer_at_ns != NEVER  <==>  a timeout entry that fires then, or earlier, is in the ring */
#ifndef PRI_ENGINE_URING_STATE_H
#define PRI_ENGINE_URING_STATE_H

#include <stdatomic.h>

#include "core/plain.h"
#include "engine/uring/entry.h"
#include "engine/uring/kernel.h"
#include "engine/uring/slots.h"

#define NEVER UINT64_MAX

typedef struct uring {
    struct io_uring_sqe *next,
        *end; /* entries that are free, one after the other; end: look again */
    struct io_uring_sqe       *base; /* where next was when ring.sq.sqe_tail was written */
    const struct io_uring_cqe *at, *at_end,
        *at_begin; /* in run_plain: which is next, of a row of them */
    struct io_uring ring;
    pro_loop       *loop;
    const pro_env  *env;
    uint32_t        features;
    uint32_t        nonempty;    /* IORING_CQE_F_SOCK_NONEMPTY where it decides something, or 0 */
    uint64_t        recv_head;   /* of a receive's entry, after one that left nothing */
    uint16_t        group;       /* the next number of a pool of buffers */
    int             enter_fd;    /* the ring's descriptor, or its registered number */
    unsigned        enter_flags; /* of every io_uring_enter */
    unsigned        wait_flags;  /* of one that waits */
    bool            has_memory_table;
    bool            enter_to_poll; /* no flag says whether the kernel has work for us */
    bool            wake_armed;    /* the eventfd's read is in the ring */
    bool            woken;         /* in this turn */
    unsigned        delivered; /* the tail of completions when the kernel was last asked for them */
    int             failures;  /* of the call, one after the other */
    uintptr_t       bound;     /* the thread that enters, or 0 */

    pri_link waiting; /* steps without an entry, in order */
    pri_link cancels; /* steps whose cancel has no entry */
    pri_link asked;   /* steps whose cancel had one */
    pri_link missed;  /* of those: it may have found nothing, and is to be repeated */
    pri_link ended;   /* steps that report PRO_ECANCELED without the kernel; slots.aside_link */

    uint64_t                 timer_at_ns; /* on the system's clock */
    uint64_t                 fired_at_ns; /* where it stood when it fired in this turn; or NEVER */
    uint16_t                 timer_sequence;
    struct __kernel_timespec timer_at; /* read by the kernel when it takes the entry */
    uint64_t                 wake_count;
    pri_step own[OWN_STEPS]; /* never started: whose tags the engine's own entries have */

    pri_uring_slots slots;

    char        other_threads[64]; /* what they write is not on the lines above */
    atomic_bool waking;            /* the eventfd was written to and not yet read */
    int         wake_fd;
} uring;

static inline uring *uring_of(const pro_loop *loop) { return pri_loop_engine_state(loop); }

/* The tail of the submission queue, with the entries that were taken since it was last written down. */
static inline unsigned tail_of(const uring *u)
{
    return u->ring.sq.sqe_tail + (unsigned)(u->next - u->base);
}

static inline void write_tail(uring *u)
{
    u->ring.sq.sqe_tail = tail_of(u);
    u->base = u->next;
}

static inline unsigned unsubmitted(const uring *u)
{
    return tail_of(u) - IO_URING_READ_ONCE(*u->ring.sq.khead);
}

/* Look again for free entries; false: the submission queue is full. */
bool pri_uring_make_room(uring *u);

/* An empty entry, or NULL: the submission queue is full. */
static inline struct io_uring_sqe *entry(uring *u)
{
    if (u->next == u->end && !pri_uring_make_room(u)) return NULL;
    return memset(u->next++, 0, sizeof *u->next);
}

static inline uint64_t own_tag(const uring *u, unsigned what) { return tag_with(&u->own[what], 0); }

/* Give the step its entry, which is all zero: from now on the kernel's completion ends it.
 * state is what it has beside the phase.  Inline, and in this order, since every receive and send comes along here. */
PRI_IN_PLACE void fill_step(uring *u, pri_step *step, uint32_t state, struct io_uring_sqe *sqe)
{
    pro_handle *handle = step->handle;
    words_of(step)->state = state | IN_RING;
    sqe->user_data = tag_of(step);
    if (step->kind == PRI_STEP_CALL) { /* it may be of no handle */
        pri_uring_fill_call(step, sqe, u->features);
        return;
    }
    if ((state & POLLING) || step->kind > PRI_STEP_SEND) {
        fill_head(sqe, handle->pri_fd, 0);
        fill_other(step, sqe, u->features);
        return;
    }
    if (step->kind == PRI_STEP_RECV) {
        /* It waits first, unless the first word of the handle says that the last receive left something. */
        fill_head(sqe, handle->pri_fd, u->recv_head - handle->pri_engine[0] * HEAD_PER_NONEMPTY);
    } else {
        /* No MSG_WAITALL: a send may be short, and the core goes on where that is not wanted. */
        fill_head(sqe, handle->pri_fd, HEAD(IORING_OP_SEND, 0));
        sqe->msg_flags = MSG_NOSIGNAL;
    }
    sqe->addr = (uintptr_t)step->data;
    sqe->len = (uint32_t)(step->len < LEN_MAX ? step->len : LEN_MAX);
    if (step->flags & (PRI_STEP_VECTORS | PRI_STEP_BY_CALL | PRI_STEP_HOLDS))
        fill_other_transfer(sqe, step, u->features);
}

/* The submission queue is full: the step gets its entry in the next turn. */
void pri_uring_wait_for_entry(uring *u, pri_step *step, uint32_t state);

/* An entry at once if there is room, else in the next turn.  Entries become free in turns only, and
 * go to those who wait first: so there is room only if nobody waits. */
PRI_IN_PLACE void submit(uring *u, pri_step *step, uint32_t state)
{
    struct io_uring_sqe *sqe = entry(u);
    if (sqe)
        fill_step(u, step, state, sqe);
    else
        pri_uring_wait_for_entry(u, step, state);
}

/* Its record will be PRO_ECANCELED, without the kernel. */
static inline void end(uring *u, pri_step *step)
{
    set_phase(words_of(step), ENDED);
    pri_list_append(&u->ended, &words_of(step)->link);
}

static inline void fill_asked(uring *u, pri_step *step, struct io_uring_sqe *sqe)
{
    words_of(step)->state |= CANCEL_ASKED;
    pri_list_append(&u->asked, &words_of(step)->link);
    fill_cancel(step, sqe, own_tag(u, OWN_CANCEL), u->features);
}

static inline void owe_cancel(uring *u, pri_step *step)
{
    words_of(step)->state |= CANCEL_OWED;
    pri_list_append(&u->cancels, &words_of(step)->link);
}

/* Ask the kernel to end what the step's entry began, at once if there is room, else in the next turn. */
static inline void ask_to_end(uring *u, pri_step *step)
{
    if (words_of(step)->state & (CANCEL_OWED | CANCEL_ASKED)) return;
    struct io_uring_sqe *sqe = entry(u);
    if (sqe)
        fill_asked(u, step, sqe);
    else
        owe_cancel(u, step);
}

/* Turn completions into at most max records; those that are over stay in the queue, and so do, but
 * for plain_too, all from the first one of a plain step on. */
int pri_uring_reap(uring *u, pri_record *records, int max, bool plain_too);

/* A handler is about to change the completion queue: what run_plain has looked at leaves it. */
static inline void stop_running(uring *u)
{
    io_uring_smp_store_release(u->ring.cq.khead,
                               *u->ring.cq.khead + (unsigned)(u->at - u->at_begin));
    u->at_begin = u->at_end = u->at;
}

/* Those that were left, plain ones and others, to the core. */
void pri_uring_run_plain(pro_loop *loop, int max);

/* A step is no more plain: what its words would say. */
static inline void unplain(pri_step *step)
{
    if (!(step->op_state & PRI_STEP_PLAIN)) return;
    pri_step_unplain(step);
    words_of(step)->state = IN_RING;
}

/* Records of the steps that ended without the kernel. */
int pri_uring_report_ended(uring *u, pri_record *records, int max);

/* Make a turn that waits, or the next one that would, return.  Any thread, signal handlers. */
void pri_uring_wake(pro_loop *loop);

int  pri_uring_init(pro_loop *loop, const pri_engine_options *options, pri_why *why);
int  pri_uring_bind(pro_loop *loop);
void pri_uring_fini(pro_loop *loop);

#endif
