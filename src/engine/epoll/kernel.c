/* The epoll engine and the kernel: registering, waiting, and what an event changes. */
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/epoll/state.h"

int pri_epoll_control(pro_loop *loop, epoll_engine *e, int what, intptr_t fd, uint32_t events,
                      void *who)
{
    int fault = pri_os_fault(e->env, "epoll_ctl");
    if (fault) return fault;
    struct epoll_event event = {.events = events, .data.ptr = who};
    if (loop) pri_loop_count_system_call(loop);
    return answer(epoll_ctl(e->epoll_fd, what, (int)fd, &event));
}

/* Have the kernel report these events and no others. */
int pri_epoll_watch(pro_loop *loop, epoll_engine *e, pro_handle *handle, uint32_t events)
{
    handle_words *h = words_of(handle);
    int           what = h->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int           error = pri_epoll_control(loop, e, what, handle->pri_fd, events, handle);
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
int pri_epoll_look(pro_loop *loop, epoll_engine *e, uint64_t until_ns)
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
    pri_epoll_watch(loop, e, handle, words_of(handle)->watched | EPOLLET);
}

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

void pri_epoll_hear(pro_loop *loop, epoll_engine *e, pro_handle *handle, uint32_t events)
{
    handle_words *h = words_of(handle);
    if (h->watched & EPOLLONESHOT) {
        hear_readiness(e, h, events);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR)) {
        pri_step *reader = h->step[READ];
        bool      nobody_comes = !reader || own(reader)->state == PAUSED;
        if (!(h->watched & EPOLLET) && nobody_comes && (h->bits & READABLE)) calm(loop, e, handle);
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

void pri_epoll_choose_wait(epoll_engine *e, const char *mask)
{
    e->has_pwait2 = !pri_masked(mask, "epoll_pwait2") && call_pwait2(e, 0) >= 0;
}
