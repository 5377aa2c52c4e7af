/* What the files of the io_uring engine share: its state, and how a step gets an entry.
 *
 *     uring.c   the contract: start, cancel, turn; the system call
 *     reap.c    from completions to records
 *     life.c    a ring's beginning and end
 *     entry.h   what an entry says, by the step's kind; the words of a step
 *
 * Invariants (those of a step are in entry.h):
 *   timer_at_ns != NEVER  <==>  a timeout entry that fires then, or earlier, is in the ring */
#ifndef PRI_ENGINE_URING_STATE_H
#define PRI_ENGINE_URING_STATE_H

#include <stdatomic.h>

#include "core/list.h"
#include "engine/uring/entry.h"
#include "engine/uring/kernel.h"

#define NEVER UINT64_MAX

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

static inline uring *uring_of(const pro_loop *loop) { return pri_loop_engine_state(loop); }

/* An empty entry, or NULL: the submission queue is full. */
PRI_IN_PLACE struct io_uring_sqe *entry(uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;
    if (sq->sqe_tail - IO_URING_READ_ONCE(*sq->khead) >= sq->ring_entries) return NULL;
    struct io_uring_sqe *sqe = &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

static inline unsigned unsubmitted(const uring *u)
{
    return u->ring.sq.sqe_tail - IO_URING_READ_ONCE(*u->ring.sq.khead);
}

/* The submission queue is full: the step gets its entry in the next turn. */
void pri_uring_wait_for_entry(uring *u, pri_step *step, uint32_t state);

/* An entry at once if there is room, else in the next turn.  Entries become free in turns only, and
 * go to those who wait first: so there is room only if nobody waits. */
PRI_IN_PLACE void submit(uring *u, pri_step *step, uint32_t state)
{
    struct io_uring_sqe *sqe = entry(u);
    if (sqe)
        fill_step(step, state, sqe, u->features, ++u->sequence);
    else
        pri_uring_wait_for_entry(u, step, state);
}

/* Its record will be PRO_ECANCELED, without the kernel. */
static inline void end(uring *u, pri_step *step)
{
    set_phase(words_of(step), ENDED);
    pri_list_append(&u->ended, &words_of(step)->link);
}

/* Turn completions into at most max records; those that are over stay in the queue. */
int pri_uring_reap(uring *u, pri_record *records, int max);

/* Records of the steps that ended without the kernel. */
int pri_uring_report_ended(uring *u, pri_record *records, int max);

int  pri_uring_init(pro_loop *loop, const pri_engine_options *options, pri_why *why);
int  pri_uring_bind(pro_loop *loop);
void pri_uring_fini(pro_loop *loop);

#endif
