/* Linux epoll: completions made of readiness.
 *
 * The kernel says when a descriptor may be tried; the engine tries, and reports what came of it.  A
 * handle remembers what the kernel said (its bits), so that no call is made that must fail:
 *
 *     start   puts a step on the run list; no system call
 *     turn    1. runs what is on the list: ready -> one system call -> a record
 *                                          not   -> the step waits in its handle
 *             2. looks at the kernel (epoll_wait): events set bits, and put steps that wait for them
 *                back on the list; sleeps only if there is nothing to hand out and nothing to run
 *             3. runs the list again
 *     cancel  marks the step and puts it on the list; it reports instead of running
 *
 * A handle is registered when one of its steps has to wait for the first time, and for a direction
 * when that has to be waited for; registering reports what is ready already.  Edge-triggered: the
 * kernel speaks once, so a bit stays until something takes it down: EAGAIN, or a transfer that was
 * shorter than asked.  A short receive says nothing once the stream is ending (the end or the error
 * is still to be fetched, and no further edge comes) or has urgent data (a receive stops there).
 *
 * A receive that gets all it asked for leaves a guess: there may be more, or not.  Where the guess is
 * wrong again and again (messages of a known length, one at a time) each one costs a call in vain;
 * then the handle's reading becomes level-triggered, where the kernel looks again by itself, until
 * data comes that nobody waits for.
 *
 * A step of readiness (poll) is most often of a descriptor that others use, so that no bit would hold:
 * it is registered level-triggered and for one report, for the directions that wait, each time anew.
 *
 * What goes wrong: the kernel refuses to register (that step ends with the error), or to be looked at
 * (turn says so, if it has no records; nothing is lost).  The process has no descriptors left: an
 * accept ends with that error, and its bit stays, since the connection is still in the backlog.
 *
 * Invariants (h: a handle's words, s: a step's):
 *   h.step[d] == step               <==>  step was started, its final record not yet handed out
 *   s.state == WAITING               ==>  not on the run list, and h.watched has the events of d
 *   s.state in RUNNABLE, CANCELED    ==>  on the run list, once
 *   h.watched == 0                  <==>  not registered
 *   h.watched has EPOLLONESHOT      <==>  its steps are those of readiness; alone: it was reported
 *   h.watched without EPOLLET        ==>  h.watched without EPOLLOUT: it would be reported for ever
 *   turn skipped the look            ==>  the next one does not; no step began to wait unseen */
#include "engine/epoll/epoll.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/buffers.h"
#include "core/layout.h"

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

/* Connections that one run of a multishot accept takes, before others have their turn. */
enum { ACCEPTS_MAX = 16 };
enum { EVENTS_MAX = 1024 };

static const uint32_t events_of[2] = {EPOLLIN | EPOLLRDHUP | EPOLLPRI, EPOLLOUT};

/* What the engine keeps in a handle and in a step. */
typedef struct __attribute__((may_alias)) handle_words {
    pri_step *step[2]; /* by direction */
    uint32_t  watched; /* events for which it is registered */
    uint8_t   bits;
    uint8_t   wrong; /* guesses in a row */
} handle_words;

typedef struct __attribute__((may_alias)) step_words {
    pri_step *next; /* on the run list */
    enum { RUNNABLE, WAITING, CANCELED } state;
    bool     begun; /* a connect: the kernel is at it */
    uint32_t told;  /* of a step of readiness: events */
} step_words;

_Static_assert(sizeof(handle_words) <= sizeof((pro_handle){0}.pri_engine), "it has room");
_Static_assert(sizeof(step_words) <= sizeof((pri_step){0}.engine), "it has room");

typedef struct epoll_engine {
    const pro_env      *env;
    int                 epoll_fd;
    int                 wake_fd; /* an eventfd; edge-triggered, so it is never read */
    pri_step           *first;   /* the run list */
    pri_step           *last;
    struct epoll_event *events;
    int                 events_max;
    bool                has_pwait2; /* waits are in nanoseconds */
    int  nosignal;  /* PRI_OS_NOSIGNAL, or 0: the system may be asked for writes without SIGPIPE */
    bool owes_look; /* the next turn may not skip looking at the kernel */
    atomic_bool woken; /* wake was called, and no waiting turn has returned since */
} epoll_engine;

static handle_words *words_of(pro_handle *handle) { return (handle_words *)handle->pri_engine; }
static step_words   *own(pri_step *step) { return (step_words *)step->engine; }

_Static_assert((PRI_STEP_RECV & PRI_STEP_ACCEPT & PRI_STEP_POLL_IN & PRI_STEP_RECV_LEASED & 1) == 1,
               "odd kinds read");
_Static_assert(((PRI_STEP_SEND | PRI_STEP_CONNECT | PRI_STEP_POLL_OUT) & 1) == 0,
               "even kinds write");

static int direction_of(const pri_step *step) { return step->kind & 1 ? READ : WRITE; }

/* ---- The run list --------------------------------------------------------------------------- */

static void append(epoll_engine *e, pri_step *step)
{
    own(step)->next = NULL;
    if (e->first)
        own(e->last)->next = step;
    else
        e->first = step;
    e->last = step;
}

static pri_step *pop(epoll_engine *e)
{
    pri_step *step = e->first;
    e->first = own(step)->next;
    return step;
}

static void make_runnable(epoll_engine *e, pri_step *step)
{
    assert(own(step)->state == WAITING);
    own(step)->state = RUNNABLE;
    append(e, step);
}

/* ---- The kernel's side ---------------------------------------------------------------------- */

/* What a call answered: a value, or a negated error number. */
static int answer(int result) { return result < 0 ? -errno : result; }

static int control(pro_loop *loop, epoll_engine *e, int what, intptr_t fd, uint32_t events,
                   void *who)
{
    int fault = pri_os_fault(e->env, "epoll_ctl");
    if (fault) return fault;
    struct epoll_event event = {.events = events, .data.ptr = who};
    if (loop) pri_loop_count_system_call(loop);
    return answer(epoll_ctl(e->epoll_fd, what, (int)fd, &event));
}

/* Have the kernel report these events and no others. */
static int watch(pro_loop *loop, epoll_engine *e, pro_handle *handle, uint32_t events)
{
    handle_words *h = words_of(handle);
    int           what = h->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int           error = control(loop, e, what, handle->pri_fd, events, handle);
    if (!error) h->watched = events;
    return error;
}

/* An end of the wait at this time on the loop's clock, as what is left of it. */
static uint64_t left_until(const pro_loop *loop, uint64_t until_ns)
{
    uint64_t until = pri_loop_system_time(loop, until_ns), now = pri_os_clock_ns(NULL);
    return until > now ? until - now : 0;
}

static int call_pwait2(epoll_engine *e, uint64_t left_ns)
{
#ifdef SYS_epoll_pwait2
    struct {
        int64_t sec, nsec; /* the kernel's timespec, whatever the C library's is */
    } left = {(int64_t)(left_ns / PRO_SEC), (int64_t)(left_ns % PRO_SEC)};
    return (int)syscall(SYS_epoll_pwait2, e->epoll_fd, e->events, e->events_max, &left, NULL,
                        (size_t)0);
#else
    (void)e, (void)left_ns;
    errno = ENOSYS;
    return -1;
#endif
}

static int call_wait(const pro_loop *loop, epoll_engine *e, uint64_t until_ns)
{
    if (until_ns == PRI_TURN_POLL) return epoll_wait(e->epoll_fd, e->events, e->events_max, 0);
    if (until_ns == PRI_TURN_FOREVER) return epoll_wait(e->epoll_fd, e->events, e->events_max, -1);
    uint64_t left_ns = left_until(loop, until_ns);
    if (e->has_pwait2) return call_pwait2(e, left_ns);
    uint64_t left_ms = left_ns / PRO_MSEC + (left_ns % PRO_MSEC != 0); /* never too early */
    return epoll_wait(e->epoll_fd, e->events, e->events_max,
                      left_ms < INT_MAX ? (int)left_ms : INT_MAX);
}

/* How many events there are, or a negated error number. */
static int look(pro_loop *loop, epoll_engine *e, uint64_t until_ns)
{
    int count;
    do {
        if (atomic_load(&e->woken)) until_ns = PRI_TURN_POLL;
        count = pri_os_fault(e->env, "epoll_wait");
        if (count) continue;
        pri_loop_count_system_call(loop);
        count = answer(call_wait(loop, e, until_ns));
    } while (count == -EINTR);
    return count;
}

/* Level-triggered, and nobody came for it: back to edges, or the kernel would say it for ever.
 * If that is refused, it is tried again the next time the kernel says it. */
static void calm(pro_loop *loop, epoll_engine *e, pro_handle *handle)
{
    words_of(handle)->wrong = 0;
    watch(loop, e, handle, words_of(handle)->watched | EPOLLET);
}

static uint32_t poll_events(int direction) { return pri_os_poll_asked(direction == READ); }

/* It was reported, and is not watched any more.  A step that this was not for is run to ask anew. */
static void hear_readiness(epoll_engine *e, handle_words *h, uint32_t events)
{
    h->watched = EPOLLONESHOT;
    for (int d = READ; d <= WRITE; d++) {
        pri_step *step = h->step[d];
        if (!step || own(step)->state != WAITING) continue;
        own(step)->told = events & (poll_events(d) | EPOLLHUP | EPOLLERR);
        make_runnable(e, step);
    }
}

static void hear(pro_loop *loop, epoll_engine *e, pro_handle *handle, uint32_t events)
{
    handle_words *h = words_of(handle);
    if (h->watched & EPOLLONESHOT) {
        hear_readiness(e, h, events);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR)) {
        pri_step *reader = h->step[READ];
        if (!(h->watched & EPOLLET) && !reader && (h->bits & READABLE)) calm(loop, e, handle);
        h->bits = (uint8_t)((h->bits | READABLE) & ~GUESSED);
        if (events & (EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR)) h->bits |= ENDING;
        if (reader && own(reader)->state == WAITING) make_runnable(e, reader);
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        pri_step *writer = h->step[WRITE];
        h->bits &= (uint8_t)~BLOCKED;
        if (writer && own(writer)->state == WAITING) make_runnable(e, writer);
    }
}

/* ---- Steps: each function returns how many records it wrote --------------------------------- */

PRI_IN_PLACE int report_in(int direction, pri_step *step, int64_t value, pri_record *record)
{
    pri_step **place = &words_of(step->handle)->step[direction];
    assert(*place == step);
    *place = NULL;
    *record = (pri_record){.step = step, .value = value};
    return 1;
}

static int report(pri_step *step, int64_t value, pri_record *record)
{
    return report_in(direction_of(step), step, value, record);
}

PRI_APART int report_error(pri_step *step, int64_t error, pri_record *record)
{
    report(step, 0, record);
    record->error = pri_os_error((int)error);
    record->system = (int32_t)-error;
    return 1;
}

/* What the kernel has to report while a step of this direction waits. */
static uint32_t events_for(const handle_words *h, int direction)
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

/* Not now: the step waits for the events of its direction. */
PRI_APART int wait_for_events(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    int           direction = direction_of(step);
    if (direction == WRITE) h->wrong = 0; /* no level with EPOLLOUT */
    uint32_t events = events_for(h, direction);
    if (events != h->watched) {
        int error = watch(loop, e, step->handle, events);
        if (error == -EPERM && step->flags & PRI_STEP_BY_CALL) {
            /* A file: always ready, and it stays so. */
            h->bits = READABLE | ENDING;
            append(e, step);
            return 0;
        }
        if (error) return report_error(step, error, record);
    }
    own(step)->state = WAITING;
    e->owes_look = true;
    return 0;
}

/* Transfers that are not over one buffer. */
enum { OTHER = PRI_STEP_VECTORS | PRI_STEP_MESSAGE | PRI_STEP_BY_CALL };

/* Is a short receive a sign that the kernel has no more?  Not with messages, and a Unix socket stops at
 * one with descriptors. */
static bool is_tcp(const pro_handle *handle)
{
    bool is_ip = handle->pri_family == PRO_IPV4 || handle->pri_family == PRO_IPV6;
    return is_ip && handle->pri_kind == PRI_SOCKET;
}

/* How this receive changes what is known: of n, what it got, and len, what it asked for. */
PRI_IN_PLACE void learn_from_receive(handle_words *h, bool is_tcp, int64_t n, size_t len)
{
    if (n == -EAGAIN) {
        if ((h->bits & GUESSED) && h->wrong < WRONG_MAX) h->wrong++;
        h->bits &= (uint8_t) ~(READABLE | GUESSED);
        return;
    }
    if (h->bits & GUESSED) h->wrong = 0;
    if (n <= 0 || (h->bits & ENDING)) return; /* more to fetch: the end again, an error */
    if ((size_t)n < len && is_tcp) /* a Unix socket also stops at a message with descriptors */
        h->bits &= (uint8_t) ~(READABLE | GUESSED);
    else if (h->watched & EPOLLET)
        h->bits |= GUESSED;
    else
        h->bits &= (uint8_t)~READABLE; /* the kernel says it again if there is more */
}

/* What is no plain buffer. */
PRI_APART int64_t transfer_other(epoll_engine *e, const pri_step *step)
{
    bool     in = step->kind == PRI_STEP_RECV;
    intptr_t fd = step->handle->pri_fd;
    if (step->flags & PRI_STEP_BY_CALL && step->handle->pri_kind == PRI_DATAGRAM)
        return in ? pri_os_recv_batch(e->env, fd, step->data, step->len)
                  : pri_os_send_batch(e->env, fd, step->data, step->len);
    const pro_vec  whole = {step->data, step->len};
    pri_side      *side = step->flags & PRI_STEP_VECTORS ? step->data : NULL;
    const pro_vec *vecs = side ? side->vecs + side->first : &whole;
    size_t         count = side ? side->count - side->first : 1;
    bool           is_shared = step->handle->pri_family & PRI_PLAIN_SHARED;
    if (step->flags & PRI_STEP_BY_CALL)
        return in ? pri_os_read(e->env, fd, vecs, count, is_shared)
                  : pri_os_write(e->env, fd, vecs, count,
                                 (is_shared ? PRI_OS_SHARED : 0) | e->nosignal);
    if (!(step->flags & PRI_STEP_MESSAGE))
        return in ? pri_os_recvv(e->env, fd, vecs, count) : pri_os_sendv(e->env, fd, vecs, count);
    if (!in) return pri_os_send_message(e->env, fd, &side->message, vecs, count);
    int64_t n = pri_os_recv_message(e->env, fd, &side->message, vecs, count);
    if (n >= 0) pri_os_message_in(&side->message, &side->address);
    return n;
}

/* A buffer only when there are bytes to put into it, or so it seems: it goes back if not.  A multishot one
 * is run again behind the others. */
static int run_leased(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    if (!(h->bits & READABLE)) return wait_for_events(loop, e, step, record);
    pro_buffers *buffers = step->data;
    int32_t      id = pri_buffers_take(buffers);
    if (id < 0) return report_error(step, -ENOBUFS, record);
    int64_t n;
    do {
        pri_loop_count_system_call(loop);
        n = pri_os_recv(e->env, step->handle->pri_fd, pri_buffers_at(buffers, (uint32_t)id),
                        buffers->size);
    } while (n == -EINTR);
    learn_from_receive(h, step->handle->pri_family != PRO_FAMILY_NONE, n, buffers->size);
    if (n <= 0) pri_buffers_give(buffers, (uint32_t)id);
    if (n == -EAGAIN) return wait_for_events(loop, e, step, record);
    if (n < 0) return report_error(step, n, record);
    if (n == 0 || !(step->flags & PRI_STEP_MULTI)) {
        report_in(READ, step, n, record);
        record->lease = (uint32_t)id;
        return 1;
    }
    *record =
        (pri_record){.step = step, .value = n, .flags = PRI_RECORD_MORE, .lease = (uint32_t)id};
    if (!only_waits(e, step, h)) append(e, step);
    return 1;
}

PRI_IN_PLACE int run_recv(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    pro_handle   *handle = step->handle;
    handle_words *h = words_of(handle);
    if (!(h->bits & READABLE)) return wait_for_events(loop, e, step, record);

    int64_t n;
    do {
        pri_loop_count_system_call(loop);
        n = PRI_RARELY(step->flags & OTHER)
                ? transfer_other(e, step)
                : pri_os_recv(e->env, step->handle->pri_fd, step->data, step->len);
    } while (n == -EINTR);
    learn_from_receive(h, is_tcp(handle), n, step->len);
    if (n >= 0) return report_in(READ, step, n, record);
    if (n != -EAGAIN) return report_error(step, n, record);
    return wait_for_events(loop, e, step, record);
}

PRI_IN_PLACE int run_send(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    pro_handle   *handle = step->handle;
    handle_words *h = words_of(handle);
    if (h->bits & BLOCKED) return wait_for_events(loop, e, step, record);

    int64_t n;
    do {
        pri_loop_count_system_call(loop);
        n = PRI_RARELY(step->flags & OTHER)
                ? transfer_other(e, step)
                : pri_os_send(e->env, step->handle->pri_fd, step->data, step->len);
    } while (n == -EINTR);
    /* A short batch says nothing: the next message may have met an error, and no edge would come. */
    if (n == -EAGAIN || (n > 0 && (size_t)n < step->len && handle->pri_kind == PRI_SOCKET))
        h->bits |= BLOCKED;
    if (n >= 0) return report_in(WRITE, step, n, record);
    if (n != -EAGAIN) return report_error(step, n, record);
    return wait_for_events(loop, e, step, record);
}

/* What the kernel said about a handle before its connection attempt means nothing after it, unless it
 * was connected already: then there is no attempt, and no edge would come again.  The next
 * event is the end of the attempt; how it ended is asked by connecting again, which also ends it for
 * the socket: after SO_ERROR alone Linux would take the next connect for the end of this one. */
static int run_connect(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words   *h = words_of(step->handle);
    const pri_side *side = step->data;
    bool            begun = own(step)->begun;
    pri_loop_count_system_call(loop);
    int error =
        pri_os_connect(e->env, step->handle->pri_fd, side->message.name, side->message.name_len);
    if (!begun && error != -EISCONN) h->bits = 0;
    if (error == -EINPROGRESS || (begun && error == -EALREADY)) {
        own(step)->begun = true;
        h->bits |= BLOCKED;
        return wait_for_events(loop, e, step, record);
    }
    if (begun && error == -EISCONN) error = 0;
    return error ? report_error(step, error, record) : report(step, 0, record);
}

/* Room for writing in a socket of our own, on which a call of somebody else's (a thread's, perhaps a
 * while ago) found none: what its bits say is older than that.  Registering reports anew. */
static int run_poll_of_socket(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    if (own(step)->begun && !(h->bits & BLOCKED)) return report(step, PRO_POLL_OUT, record);
    own(step)->begun = true;
    own(step)->state = WAITING;
    h->bits |= BLOCKED;
    h->wrong = 0; /* no level with EPOLLOUT */
    int error = watch(loop, e, step->handle, h->watched | events_of[WRITE] | EPOLLET);
    if (error) return report_error(step, error, record);
    e->owes_look = true;
    return 0;
}

/* What cannot be watched, like a file, is always ready. */
static int run_poll(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    if (step->handle->pri_kind == PRI_SOCKET) return run_poll_of_socket(loop, e, step, record);
    if (own(step)->told) return report(step, pri_os_poll_told(own(step)->told), record);
    uint32_t events = EPOLLONESHOT;
    own(step)->state = WAITING;
    for (int d = READ; d <= WRITE; d++)
        if (h->step[d] && own(h->step[d])->state == WAITING) events |= poll_events(d);
    int error = events == h->watched ? 0 : watch(loop, e, step->handle, events);
    if (error == -EPERM)
        return report(step, pri_os_poll_told(poll_events(direction_of(step))), record);
    if (error) return report_error(step, error, record);
    e->owes_look = true;
    return 0;
}

/* Errors of the connection that would have been accepted, not of the listener. */
static bool is_of_connection(intptr_t error)
{
    switch (-error) {
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a firewall's rule */
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT: return true;
    default: return false;
    }
}

static int run_accept(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *records,
                      int room)
{
    handle_words *h = words_of(step->handle);
    bool          is_multi = step->flags & PRI_STEP_MULTI;
    int           count = 0;
    if (!(h->bits & READABLE)) return wait_for_events(loop, e, step, records);

    for (int i = 0; i < ACCEPTS_MAX && count < room; i++) {
        pri_loop_count_system_call(loop);
        intptr_t fd = pri_os_accept(e->env, step->handle->pri_fd, 1);
        if (fd >= 0 && !is_multi) return report(step, fd, records);
        if (fd >= 0) {
            records[count++] = (pri_record){.step = step, .value = fd, .flags = PRI_RECORD_MORE};
        } else if (fd == -EAGAIN) {
            h->bits &= (uint8_t)~READABLE;
            return count + wait_for_events(loop, e, step, &records[count]);
        } else if (!is_multi || !is_of_connection(fd)) {
            return count + report_error(step, fd, &records[count]);
        }
    }
    append(e, step); /* still runnable: behind the others */
    return count;
}

PRI_APART int run_other(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *records,
                        int room)
{
    if (own(step)->state == CANCELED) {
        report(step, 0, records);
        records->error = PRO_ECANCELED;
        return 1;
    }
    if (step->kind == PRI_STEP_RECV_LEASED) return run_leased(loop, e, step, records);
    if (step->kind == PRI_STEP_CONNECT) return run_connect(loop, e, step, records);
    if (step->kind == PRI_STEP_POLL_IN || step->kind == PRI_STEP_POLL_OUT)
        return run_poll(loop, e, step, records);
    assert(step->kind == PRI_STEP_ACCEPT);
    return run_accept(loop, e, step, records, room);
}

/* Run what is on the list now, each step once, while there is room for records. */
#if defined(__GNUC__)
__attribute__((flatten))
#endif
static int
run_list(pro_loop *loop, epoll_engine *e, pri_record *records, int room)
{
    const pri_step   *last = e->last; /* what is appended meanwhile is behind it */
    pri_record       *record = records;
    const pri_record *end = records + room;
    while (e->first && record < end) {
        pri_step *step = pop(e);
        if (PRI_RARELY(own(step)->state == CANCELED || step->kind > PRI_STEP_SEND))
            record += run_other(loop, e, step, record, (int)(end - record));
        else if (step->kind == PRI_STEP_RECV)
            record += run_recv(loop, e, step, record);
        else
            record += run_send(loop, e, step, record);
        if (step == last) break;
    }
    return (int)(record - records);
}

/* ---- The contract --------------------------------------------------------------------------- */

static void epoll_start(pro_loop *loop, pri_step *step)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    handle_words *h = words_of(step->handle);
    int           direction = direction_of(step);
    assert(!h->step[direction]);
    h->step[direction] = step;
    bool is_recv = step->kind == PRI_STEP_RECV || step->kind == PRI_STEP_RECV_LEASED;
    if (is_recv && only_waits(e, step, h)) return;
    own(step)->state = RUNNABLE;
    own(step)->begun = false;
    own(step)->told = 0;
    append(e, step);
}

static void epoll_cancel(pro_loop *loop, pri_step *step)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    if (words_of(step->handle)->step[direction_of(step)] != step) return; /* handed out already */
    if (own(step)->state == WAITING) make_runnable(e, step);
    own(step)->state = CANCELED;
}

/* Explicitly: a copy of the descriptor elsewhere (dup, fork) would keep the registration, and with it
 * a pointer to the handle.  Not a call that the environment may forbid. */
static void epoll_detach(pro_loop *loop, pro_handle *handle)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    handle_words *h = words_of(handle);
    assert(!h->step[READ] && !h->step[WRITE]);
    if (h->watched) {
        struct epoll_event ignored = {0};
        pri_loop_count_system_call(loop);
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, (int)handle->pri_fd, &ignored);
    }
    *h = (handle_words){.watched = 0};
}

/* A turn that has records may leave the kernel alone, but not twice in a row (others wait there), and
 * not if a step began to wait: it is promised an attempt in this turn. */
static int epoll_turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    int           count = run_list(loop, e, records, max);
    if (count > 0 && !e->owes_look) {
        e->owes_look = true;
        return count;
    }
    if (count > 0 || e->first) until_ns = PRI_TURN_POLL;
    int events = look(loop, e, until_ns);
    if (until_ns != PRI_TURN_POLL) atomic_exchange(&e->woken, false);
    if (events < 0) return count > 0 ? count : events;
    e->owes_look = false;
    for (int i = 0; i < events; i++) {
        pro_handle *handle = e->events[i].data.ptr;
        if (handle) hear(loop, e, handle, e->events[i].events);
    }
    return count + run_list(loop, e, &records[count], max - count);
}

/* The flag is for turns that have yet to look, the eventfd for one that sleeps. */
static void epoll_wake(pro_loop *loop)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    if (atomic_exchange(&e->woken, true)) return;
    int      saved = errno;
    uint64_t one = 1;
    if (write(e->wake_fd, &one, sizeof one) < 0) assert(errno == EAGAIN); /* counted to the brim */
    errno = saved;
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

static void choose_wait(epoll_engine *e, const char *mask, pri_why *why)
{
    e->nosignal = pri_masked(mask, "rwf_nosignal") ? 0 : PRI_OS_NOSIGNAL;
    bool is_masked = pri_masked(mask, "epoll_pwait2");
    e->has_pwait2 = !is_masked && call_pwait2(e, 0) >= 0;
    pri_why_line(why, "epoll: emulated, edge-triggered, waits in %s",
                 e->has_pwait2 ? "nanoseconds" : "milliseconds");
    pri_why_add(why, "epoll_pwait2: %s", e->has_pwait2 ? "used" : is_masked ? "masked" : "refused");
}

/* All of the engine but its own memory. */
static int set_up(epoll_engine *e, const pri_engine_options *options, pri_why *why)
{
    const pro_env *env = options->env;
    const char    *what = "epoll_create";
    int            error;
    *e = (epoll_engine){.env = env};
    e->events_max = options->batch_max < EVENTS_MAX ? (int)options->batch_max : EVENTS_MAX;
    error = pri_os_fault(env, what);
    if (!error) e->epoll_fd = error = answer(epoll_create1(EPOLL_CLOEXEC));
    if (error < 0) goto refused;
    what = "eventfd";
    error = pri_os_fault(env, what);
    if (!error) e->wake_fd = error = answer(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (error < 0) goto close_epoll;
    what = "epoll_ctl";
    error = control(NULL, e, EPOLL_CTL_ADD, e->wake_fd, EPOLLIN | EPOLLET, NULL);
    if (error < 0) goto close_eventfd;
    what = "memory";
    error = -ENOMEM;
    e->events = pri_env_realloc(env, NULL, (size_t)e->events_max * sizeof e->events[0]);
    if (!e->events) goto close_eventfd;
    choose_wait(e, options->mask, why);
    return 0;

close_eventfd:
    close(e->wake_fd);
close_epoll:
    close(e->epoll_fd);
refused:
    pri_why_line(why, "epoll: refused: %s (system error %d)", what, -error);
    pri_why_add(why, "epoll: refused: %s (system error %d)", what, -error);
    return error;
}

static void tear_down(epoll_engine *e)
{
    pri_env_realloc(e->env, e->events, 0);
    close(e->wake_fd);
    close(e->epoll_fd);
}

static int epoll_probe(const pri_engine_options *options, pri_why *why)
{
    epoll_engine trial;
    pri_why      before = *why;
    int          error = set_up(&trial, options, why);
    if (error) return error;
    tear_down(&trial);
    *why = before; /* init will say it */
    return 0;
}

static int epoll_init(pro_loop *loop, const pri_engine_options *options, pri_why *why)
{
    epoll_engine *e = pri_env_realloc(options->env, NULL, sizeof *e);
    if (!e) return -ENOMEM;
    int error = set_up(e, options, why);
    if (error) {
        pri_env_realloc(options->env, e, 0);
        return error;
    }
    pri_loop_set_engine_state(loop, e);
    return 0;
}

static void epoll_fini(pro_loop *loop)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    assert(!e->first);
    const pro_env *env = e->env;
    tear_down(e);
    pri_env_realloc(env, e, 0);
    pri_loop_set_engine_state(loop, NULL);
}

static int epoll_bind(pro_loop *loop)
{
    (void)loop; /* any thread may wait */
    return 0;
}

const pri_engine pri_engine_epoll = {
    .id = PRO_ENGINE_EPOLL,
    .caps = PRI_CAPS_POLL | PRI_CAPS_LEASE,
    .name = "epoll",
    .net = &pri_os_net,
    .call = pri_os_call,
    .nonblocking = 1,
    .features = "epoll_pwait2,rwf_nosignal",
    .probe = epoll_probe,
    .init = epoll_init,
    .fini = epoll_fini,
    .bind = epoll_bind,
    .start = epoll_start,
    .cancel = epoll_cancel,
    .detach = epoll_detach,
    .turn = epoll_turn,
    .wake = epoll_wake,
};
