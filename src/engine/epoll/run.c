/* The epoll engine's attempts: a step runs when its handle may be ready, makes one system call, and
 * either reports what came of it or waits for events.
 *
 * Each function returns how many records it wrote. */
#include "core/buffers.h"
#include "engine/epoll/state.h"

/* Connections that one run of a multishot accept takes, before others have their turn. */
enum { ACCEPTS_MAX = 16 };

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

/* Not now: the step waits for the events of its direction. */
PRI_APART int wait_for_events(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    int           direction = direction_of(step);
    if (direction == WRITE) h->wrong = 0; /* no level with EPOLLOUT */
    uint32_t events = events_for(h, direction);
    if (events != h->watched) {
        int error = pri_epoll_watch(loop, e, step->handle, events);
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

/* It goes on, behind the others. */
PRI_IN_PLACE int report_more(epoll_engine *e, pri_step *step, int64_t value, int32_t id,
                             uint32_t flags, pri_record *record)
{
    *record = (pri_record){.step = step, .value = value, .flags = flags, .lease = (uint32_t)id};
    if (!only_waits(e, step, words_of(step->handle))) append(e, step);
    return 1;
}

/* There is no buffer: the end, or none for now. */
PRI_APART int lack_buffer(pro_loop *loop, pri_step *step, int32_t id, pri_record *record)
{
    if (id == PRI_BUFFERS_NONE) return report_error(step, -ENOBUFS, record);
    own(step)->state = PAUSED;
    pri_buffers_pause(loop, &own(step)->paused);
    return 0;
}

/* A buffer only when there are bytes to put into it, or so it seems: it goes back if not. */
int pri_epoll_run_leased(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    if (!(h->bits & READABLE)) return wait_for_events(loop, e, step, record);
    pro_buffers *buffers = step->data;
    int32_t      id = pri_buffers_take(buffers);
    if (PRI_RARELY(id < 0)) return lack_buffer(loop, step, id, record);
    int64_t n;
    do {
        loop->stats.system_calls++;
        n = pri_os_recv(e->env, step->handle->pri_fd, pri_buffers_at(buffers, (uint32_t)id),
                        buffers->size);
    } while (n == -EINTR);
    learn_from_receive(h, step->handle->pri_family != PRO_FAMILY_NONE, n, buffers->size);
    if (n > 0 && step->flags & PRI_STEP_MULTI)
        return report_more(e, step, n, id, PRI_RECORD_MORE, record);
    if (n <= 0) pri_buffers_untake(buffers, (uint32_t)id);
    if (n == -EAGAIN) return wait_for_events(loop, e, step, record);
    if (n < 0) return report_error(step, n, record);
    report_in(READ, step, n, record);
    record->lease = (uint32_t)id;
    return 1;
}

static int run_leased_from(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    if (!(h->bits & READABLE)) return wait_for_events(loop, e, step, record);
    pro_buffers *buffers = step->data;
    int32_t      id = pri_buffers_take(buffers);
    int          is_truncated;
    if (id < 0) return lack_buffer(loop, step, id, record);
    loop->stats.system_calls++;
    int64_t n =
        pri_os_recv_datagram(e->env, step->handle->pri_fd, pri_buffers_at(buffers, (uint32_t)id),
                             buffers->size, &is_truncated);
    learn_from_receive(h, false, n, buffers->size);
    if (n >= 0)
        return report_more(e, step, n, id,
                           is_truncated ? PRI_RECORD_MORE | PRI_RECORD_TRUNCATED : PRI_RECORD_MORE,
                           record);
    pri_buffers_untake(buffers, (uint32_t)id);
    if (n == -EAGAIN) return wait_for_events(loop, e, step, record);
    return report_error(step, n, record);
}

/* What came of a receive of its step. */
PRI_IN_PLACE int received(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n,
                          pri_record *record)
{
    learn_from_receive(words_of(step->handle), is_tcp(step->handle), n, step->len);
    if (n >= 0) return report_in(READ, step, n, record);
    if (n != -EAGAIN) return report_error(step, n, record);
    return wait_for_events(loop, e, step, record);
}

int pri_epoll_received(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n,
                       pri_record *record)
{
    if (n != -EINTR) return received(loop, e, step, n, record);
    own(step)->state = RUNNABLE;
    append(e, step);
    return 0;
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
    return received(loop, e, step, n, record);
}

/* What came of a send. */
PRI_IN_PLACE int sent(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n,
                      pri_record *record)
{
    const pro_handle *handle = step->handle;
    /* A short batch says nothing: the next message may have met an error, and no edge would come. */
    if (n == -EAGAIN || (n > 0 && (size_t)n < step->len && handle->pri_kind == PRI_SOCKET))
        words_of(step->handle)->bits |= BLOCKED;
    if (n >= 0) return report_in(WRITE, step, n, record);
    if (n != -EAGAIN) return report_error(step, n, record);
    return wait_for_events(loop, e, step, record);
}

int pri_epoll_sent(pro_loop *loop, epoll_engine *e, pri_step *step, int64_t n, pri_record *record)
{
    if (n != -EINTR) return sent(loop, e, step, n, record);
    append(e, step);
    return 0;
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
    return sent(loop, e, step, n, record);
}

/* An attempt of the core's: what it gets says nothing of what is left. */
static int run_try(pro_loop *loop, epoll_engine *e, pri_step *step, pri_record *record)
{
    handle_words *h = words_of(step->handle);
    bool          in = direction_of(step) == READ;
    if (in ? !(h->bits & READABLE) : h->bits & BLOCKED)
        return wait_for_events(loop, e, step, record);
    pri_loop_count_system_call(loop);
    int64_t n = pri_step_try(step);
    if (in) learn_from_receive(h, false, n, step->len);
    if (n >= 0) return report(step, n, record);
    if (n != -EAGAIN) return report_error(step, n, record);
    if (!in) h->bits |= BLOCKED;
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
    int error = pri_epoll_watch(loop, e, step->handle, h->watched | events_of[WRITE] | EPOLLET);
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
    int error = events == h->watched ? 0 : pri_epoll_watch(loop, e, step->handle, events);
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
        /* An accept that a turn full of others kept from its attempt: who gives it a moment asks whether the
         * backlog is empty, and would close the listener on those who stand there. */
        bool     untried = step->kind == PRI_STEP_ACCEPT && words_of(step->handle)->bits & READABLE;
        intptr_t fd = -1;
        if (untried && !(step->flags & PRI_STEP_MULTI)) {
            pri_loop_count_system_call(loop);
            fd = pri_os_accept(e->env, step->handle->pri_fd, 1);
        }
        if (fd >= 0) return report(step, fd, records);
        report(step, 0, records);
        records->error = PRO_ECANCELED;
        return 1;
    }
    if (step->kind == PRI_STEP_RECV_LEASED) return pri_epoll_run_leased(loop, e, step, records);
    if (step->kind == PRI_STEP_RECV_FROM_LEASED) return run_leased_from(loop, e, step, records);
    if (step->kind == PRI_STEP_CONNECT) return run_connect(loop, e, step, records);
    if (step->kind == PRI_STEP_TRY_IN || step->kind == PRI_STEP_TRY_OUT)
        return run_try(loop, e, step, records);
    if (step->kind == PRI_STEP_POLL_IN || step->kind == PRI_STEP_POLL_OUT)
        return run_poll(loop, e, step, records);
    assert(step->kind == PRI_STEP_ACCEPT);
    return run_accept(loop, e, step, records, room);
}

/* Run what is on the list now, each step once, while there is room for records. */
#if defined(__GNUC__)
__attribute__((flatten))
#endif
int
pri_epoll_run_list(pro_loop *loop, epoll_engine *e, pri_record *records, int room)
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
