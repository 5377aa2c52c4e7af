/* What the files of the epoll engine share: the words of a handle and of a step, the run list.
 *
 *     epoll.c   the contract: start, cancel, turn; beginning and end
 *     kernel.c  registering, waiting, and what an event changes
 *     run.c     a step's attempt, and what its answer means
 *
 * Invariants (h: a handle's words, s: a step's):
 *   h.step[d] == step               <==>  step was started, its final record not yet handed out
 *   s.state == WAITING               ==>  not on the run list, and h.watched has the events of d
 *   s.state in RUNNABLE, CANCELED    ==>  on the run list, once
 *   s.state == PAUSED                ==>  not on the run list, and in loop->paused
 *   h.watched == 0                  <==>  not registered
 *   h.watched has EPOLLONESHOT      <==>  its steps are those of readiness; alone: it was reported
 *   h.watched without EPOLLET        ==>  h.watched without EPOLLOUT: it would be reported for ever
 *   turn skipped the look            ==>  the next one does not; no step began to wait unseen */
#ifndef PRI_ENGINE_EPOLL_STATE_H
#define PRI_ENGINE_EPOLL_STATE_H

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "core/layout.h"
#include "core/plain.h"

enum { READ, WRITE };

/* Bits of a handle.  Zero is what holds for a new one: try to write, wait before reading. */
enum {
    READABLE = 1,
    BLOCKED = 2, /* the kernel takes no more to write */
    ENDING = 4,  /* a short receive does not mean that nothing is left */
    GUESSED = 8  /* READABLE only because a receive got all it asked for */
};

/* Wrong guesses in a row, after which reading is level-triggered. */
enum { WRONG_MAX = 3 };

/* What the engine keeps in a handle and in a step. */
typedef struct __attribute__((may_alias)) handle_words {
    pri_step *step[2]; /* by direction */
    uint32_t  watched; /* events for which it is registered */
    uint8_t   bits;
    uint8_t   wrong; /* guesses in a row */
} handle_words;

typedef struct __attribute__((may_alias)) step_words {
    union {
        pri_step *next;   /* on the run list */
        pri_link  paused; /* in loop->paused */
    };
    enum { RUNNABLE, WAITING, CANCELED, PAUSED } state;
    bool     begun; /* a connect: the kernel is at it */
    uint32_t told;  /* of a step of readiness: events */
} step_words;

_Static_assert(sizeof(handle_words) <= sizeof((pro_handle){0}.pri_engine), "it has room");
_Static_assert(sizeof(step_words) <= sizeof((pri_step){0}.engine), "it has room");

typedef struct epoll_engine {
    const pro_env      *env;
    int                 epoll_fd;
    int                 wake_fd; /* an eventfd; edge-triggered, so it is never read */
    pro_handle          wake; /* of whom events of wake_fd are told; nothing stands in its queues */
    pri_step           *first; /* the run list */
    pri_step           *last;
    pri_step           *woken_first; /* in run_plain: what events made run */
    pri_step           *woken_last;
    pri_step           *plain;        /* plain sends, in order, linked by next up to plain_end */
    pri_step          **plain_end;    /* where the next one is put: plain, or the last one's next */
    pri_step          **plain_before; /* plain_end as it was before the handlers of this turn */
    struct epoll_event *events;
    int                 events_max;
    int                 heard;      /* so many events wait for run_plain */
    bool                has_pwait2; /* waits are in nanoseconds */
    int  nosignal;  /* PRI_OS_NOSIGNAL, or 0: the system may be asked for writes without SIGPIPE */
    bool owes_look; /* the next turn may not skip looking at the kernel */
    atomic_bool woken; /* wake was called, and no waiting turn has returned since */
} epoll_engine;

static inline handle_words *words_of(pro_handle *handle)
{
    return (handle_words *)handle->pri_engine;
}
static inline step_words *own(pri_step *step) { return (step_words *)step->engine; }

_Static_assert((PRI_STEP_RECV & PRI_STEP_ACCEPT & PRI_STEP_POLL_IN & PRI_STEP_RECV_LEASED &
                PRI_STEP_TRY_IN & PRI_STEP_RECV_FROM_LEASED & 1) == 1,
               "odd kinds read");
_Static_assert(((PRI_STEP_SEND | PRI_STEP_CONNECT | PRI_STEP_POLL_OUT | PRI_STEP_TRY_OUT) & 1) == 0,
               "even kinds write");

static inline int direction_of(const pri_step *step) { return step->kind & 1 ? READ : WRITE; }

/* What a call answered: a value, or a negated error number. */
static inline int answer(int result) { return result < 0 ? -errno : result; }

/* The events that a direction waits for: of sockets, and of steps of readiness. */
static const uint32_t  events_of[2] = {EPOLLIN | EPOLLRDHUP | EPOLLPRI, EPOLLOUT};
static inline uint32_t poll_events(int direction) { return pri_os_poll_asked(direction == READ); }

/* ---- The run list --------------------------------------------------------------------------- */

static inline void append(epoll_engine *e, pri_step *step)
{
    own(step)->next = NULL;
    if (e->first)
        own(e->last)->next = step;
    else
        e->first = step;
    e->last = step;
}

static inline pri_step *pop(epoll_engine *e)
{
    pri_step *step = e->first;
    e->first = own(step)->next;
    return step;
}

static inline void make_runnable(epoll_engine *e, pri_step *step)
{
    assert(own(step)->state == WAITING);
    own(step)->state = RUNNABLE;
    append(e, step);
}

/* ---- Plain steps (core/plain.h): a receive waits, a send is on the plain list ---------------- */

static inline bool has_plain(const epoll_engine *e) { return e->plain_end != &e->plain; }

static inline void append_plain(epoll_engine *e, pri_step *step)
{
    *e->plain_end = step;
    e->plain_end = &own(step)->next;
}

static inline bool is_plain(const pri_step *step)
{
    return step->op_state == (PRI_STARTED | PRI_STEP_PLAIN);
}

/* As if start had begun it and it waited, or was to run but on no list. */
static inline void unplain(pri_step *step)
{
    int direction = direction_of(step);
    pri_step_unplain(step);
    words_of(step->handle)->step[direction] = step;
    own(step)->state = direction == READ ? WAITING : RUNNABLE;
    own(step)->begun = false;
    own(step)->told = 0;
}

/* Is a short receive a sign that the kernel has no more?  Not with messages, and a Unix socket stops at
 * one with descriptors. */
static inline bool is_tcp(const pro_handle *handle)
{
    bool is_ip = handle->pri_family == PRO_IPV4 || handle->pri_family == PRO_IPV6;
    return is_ip && handle->pri_kind == PRI_SOCKET;
}

/* ---- Waiting -------------------------------------------------------------------------------- */

/* What the kernel has to report while a step of this direction waits. */
static inline uint32_t events_for(const handle_words *h, int direction)
{
    bool is_level = direction == READ && h->wrong >= WRONG_MAX && !(h->bits & (ENDING | BLOCKED));
    return is_level ? events_of[READ] : h->watched | events_of[direction] | EPOLLET;
}

/* The common case of a receive whose run would only wait: it does already. */
PRI_IN_PLACE bool only_waits(epoll_engine *e, pri_step *step, const handle_words *h)
{
    if ((h->bits & READABLE) || h->watched != events_for(h, READ)) return false;
    own(step)->state = WAITING;
    e->owes_look = true;
    return true;
}

/* ---- kernel.c -------------------------------------------------------------------------------- */

/* epoll_ctl.  0, or a negated error number. */
int pri_epoll_control(pro_loop *loop, epoll_engine *e, int what, intptr_t fd, uint32_t events,
                      void *who);

/* Have the kernel report these events of the handle and no others. */
int pri_epoll_watch(pro_loop *loop, epoll_engine *e, pro_handle *handle, uint32_t events);

/* Wait until then.  How many events there are, or a negated error number. */
int pri_epoll_look(pro_loop *loop, epoll_engine *e, uint64_t until_ns);

/* The kernel said this of the handle: bits change, steps that waited for it run. */
void pri_epoll_hear(pro_loop *loop, epoll_engine *e, pro_handle *handle, uint32_t events);

/* Waits in nanoseconds, if the kernel can and the program lets it. */
void pri_epoll_choose_wait(epoll_engine *e, const char *mask);

/* ---- plain.c --------------------------------------------------------------------------------- */

pri_plain_start pri_epoll_recv, pri_epoll_send;
void            pri_epoll_run_plain(pro_loop *loop, int max);
void            pri_epoll_unplain(pro_loop *loop, pri_step *step);

/* ---- run.c ----------------------------------------------------------------------------------- */

/* Run what is on the list now, each step once, while there is room for records. */
int pri_epoll_run_list(pro_loop *loop, epoll_engine *e, pri_record *records, int room);

/* A call for the step, which waits or is on no list, came to this: how many records it makes. */
int pri_epoll_received(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n,
                       pri_record *record);
int pri_epoll_sent(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n, pri_record *record);

/* Run a leased receive, which is RUNNABLE and on no list: how many records it makes. */
int pri_epoll_run_leased(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record);

#endif
