/* The engine on I/O completion ports.
 *
 * The happy path: start makes an overlapped call, whose OVERLAPPED is the step's engine words; the
 * system posts a packet to the loop's port when it is done; turn takes packets in batches and makes
 * records of them.  Nothing is copied and nothing is allocated.
 *
 * What can come between:
 *   - the call fails, or is done at once on a handle that posts no packets then ("skip on success"):
 *     the result waits on the ready list for the next turn.  Both doors, packet and ready list, lead
 *     to the same function: record_of;
 *   - cancel: the system is asked, and its word on the step counts.  For a multishot accept, which
 *     may be between two calls, and because any error of a canceled step is a cancel, the handle
 *     remembers that it was asked, by direction;
 *   - a multishot accept is one call after the other: it is armed again as its record is made.  If
 *     that is not to be, or fails, a last result goes to the ready list;
 *   - wake: a packet without an OVERLAPPED, at most one at a time; and the timer's (timer.c);
 *   - a step of readiness: its packet is that of another handle (poll.c);
 *   - a step with a name beside its data, or of many messages (message.c);
 *   - a leased receive is two calls (lease.c);
 *   - the end of a child, and news of what is watched (object.c);
 *   - a part of a file (transmit.c);
 *   - a step on what is no socket (stream.c), and perhaps of one whose calls wait (helper.c).
 * How a port is made, and what is found out about the system before: life.c.
 *
 * AcceptEx wants a socket and room for two addresses.  The socket is made in start and stands in the
 * words of the listener.  The addresses are asked for from the socket later, and nobody reads what
 * AcceptEx writes: one piece of memory serves all listeners of the loop.
 *
 * Invariants:
 *   a step is started  <==>  a packet for it will come, or it is on the ready list once
 *   handle->accepting != NONE  <==>  an AcceptEx of this listener has its packet or result to come
 *   iocp->waking  <==>  a wake packet is in the port */
#include "engine/iocp/iocp.h"

#include <string.h>

#include "core/buffers.h"
#include "engine/iocp/state.h"

enum {
    LEN_MAX = 1 << 30, /* of one call: its count has 32 bits */
    MOMENT_MS = 1,
    CANCEL_TRIES = 4,
};
#define NONE INVALID_SOCKET

static iocp *iocp_of(const pro_loop *loop) { return pri_loop_engine_state(loop); }

/* ---- The ready list --------------------------------------------------------------------------- */

/* The system is done with the step: this is what it said. */
static void put_ready(iocp *io, pri_step *step, int error, int64_t bytes)
{
    step_words *words = words_of(step);
    words->ready.next = NULL;
    words->ready.bytes = bytes;
    words->ready.error = error;
    *io->ready_end = step;
    io->ready_end = &words->ready.next;
}

static pri_step *take_ready(iocp *io)
{
    pri_step *step = io->ready;
    io->ready = words_of(step)->ready.next;
    if (!io->ready) io->ready_end = &io->ready;
    return step;
}

/* ---- Packets ---------------------------------------------------------------------------------- */

/* At most max packets; 0 on time-out; or a negated system number. */
static int take_packets(iocp *io, OVERLAPPED_ENTRY *entries, int max, DWORD timeout_ms)
{
    ULONG count = 0;
    pri_loop_count_system_call(io->loop);
    if (GetQueuedCompletionStatusEx(io->port, entries, (ULONG)max, &count, timeout_ms, FALSE))
        return (int)count;
    DWORD error = GetLastError(); /* and count may be anything */
    return error == WAIT_TIMEOUT ? 0 : -(int)error;
}

/* Whose packet this is; NULL: the wake's or the timer's. */
static pri_step *step_of(iocp *io, const OVERLAPPED_ENTRY *entry)
{
    if (entry->lpCompletionKey == KEY_POLL) return pri_iocp_poll_step(entry->lpOverlapped);
    if (entry->lpOverlapped) return pro_container_of(entry->lpOverlapped, pri_step, engine);
    if (entry->lpCompletionKey == KEY_TIMER)
        io->timer_ns = 0;
    else
        atomic_store(&io->waking, false);
    io->woken = true;
    return NULL;
}

/* It fails for want of memory in the system only, and none of these packets must be lost. */
void pri_iocp_post(const iocp *io, ULONG_PTR key)
{
    while (!PostQueuedCompletionStatus(io->port, 0, key, NULL)) Sleep(1);
}

void pri_iocp_post_step(const iocp *io, pri_step *step, DWORD bytes)
{
    OVERLAPPED *overlapped = &words_of(step)->overlapped;
    while (!PostQueuedCompletionStatus(io->port, bytes, 0, overlapped)) Sleep(1);
}

static bool is_poll(const pri_step *step)
{
    return (step->kind == PRI_STEP_POLL_IN || step->kind == PRI_STEP_POLL_OUT) && !is_object(step);
}

/* What a packet says: 0 with a value, or the number behind it, in Winsock's terms. */
static int result_of(pri_step *step, const OVERLAPPED_ENTRY *entry, int64_t *value)
{
    DWORD bytes, flags;
    if (is_poll(step)) return pri_iocp_poll_result(step, value);
    *value = entry->dwNumberOfBytesTransferred;
    if (is_object(step)) {
        pri_iocp_object_result(step);
        return 0;
    }
    if (is_stream(step)) return pri_iocp_stream_result(step);
    if (entry->lpOverlapped->Internal == 0) return 0;
    if (WSAGetOverlappedResult((SOCKET)step->handle->pri_fd, entry->lpOverlapped, &bytes, FALSE,
                               &flags))
        return 0;
    int error = WSAGetLastError();
    return error ? error : ERROR_GEN_FAILURE;
}

/* ---- Starting --------------------------------------------------------------------------------- */

/* 0, or the system's number. */
static int attach(iocp *io, pro_handle *handle)
{
    handle_words *words = words_of_handle(handle);
    if (words->attached) return 0;
    if (handle->pri_kind == PRI_LISTENER) words->accepting = NONE;
    int fault = pri_os_fault(io->env, "CreateIoCompletionPort");
    if (fault) return -fault;
    if (handle->pri_family & PRI_PLAIN) {
        int error = pri_iocp_stream_attach(io, handle);
        if (error || words->waits) return error;
    }
    HANDLE file = (HANDLE)handle->pri_fd;
    pri_loop_count_system_call(io->loop);
    if (!CreateIoCompletionPort(file, io->port, 0, 0)) return (int)GetLastError();
    words->attached = true;
    UCHAR modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
    if (io->skips && handle->pri_kind != PRI_DATAGRAM) { /* why: message.c */
        pri_loop_count_system_call(io->loop);
        words->skips = SetFileCompletionNotificationModes(file, modes);
    }
    return 0;
}

/* The pieces of a transfer, as many as one call takes: what is left over is a short transfer. */
static DWORD pieces_of(const pri_step *step, WSABUF *pieces)
{
    const pri_side    *side = step->data;
    const pro_message *first = step->data;
    bool               batch = is_batch(step);
    const pro_vec      whole = {batch ? first->buf : step->data, batch ? first->len : step->len};
    bool               vectors = step->flags & PRI_STEP_VECTORS;
    const pro_vec     *vec = vectors ? &side->vecs[side->first] : &whole;
    size_t             count = vectors ? side->count - side->first : 1;
    ULONG              room = LEN_MAX;
    DWORD              used = 0;
    while (used < count && used < PRO_VECS_MAX && room > 0) {
        WSABUF *piece = &pieces[used];
        piece->buf = vec[used].base;
        piece->len = vec[used].len < room ? (ULONG)vec[used].len : room;
        room -= piece->len;
        used++;
    }
    return used;
}

/* Each makes the call: 0 for a success at once with *bytes, WSA_IO_PENDING, or another number. */

static bool is_message(const pri_step *step)
{
    return step->flags & PRI_STEP_MESSAGE || is_batch(step);
}

static int call_recv(iocp *io, pri_step *step, DWORD *bytes)
{
    DWORD flags = 0, count = pieces_of(step, io->pieces);
    if (is_message(step)) return pri_iocp_message_call(io, step, io->pieces, count, bytes);
    if (is_stream(step)) return pri_iocp_stream_call(io, step, io->pieces, bytes);
    int fault = pri_os_fault(io->env, "recv");
    if (fault) return -fault;
    int result = WSARecv((SOCKET)step->handle->pri_fd, io->pieces, count, bytes, &flags,
                         &words_of(step)->overlapped, NULL);
    return result == 0 ? 0 : WSAGetLastError();
}

static int call_send(iocp *io, pri_step *step, DWORD *bytes)
{
    DWORD count = pieces_of(step, io->pieces);
    if (is_message(step)) return pri_iocp_message_call(io, step, io->pieces, count, bytes);
    if (is_stream(step)) return pri_iocp_stream_call(io, step, io->pieces, bytes);
    int fault = pri_os_fault(io->env, "send");
    if (fault) return -fault;
    int result = WSASend((SOCKET)step->handle->pri_fd, io->pieces, count, bytes, 0,
                         &words_of(step)->overlapped, NULL);
    return result == 0 ? 0 : WSAGetLastError();
}

static int call_accept(iocp *io, pri_step *step, DWORD *bytes)
{
    pro_handle *listener = step->handle;
    int         fault = pri_os_fault(io->env, "accept");
    if (fault) return -fault;
    pri_loop_count_system_call(io->loop);
    intptr_t fd = pri_os_net.open(io->env, listener->pri_family, 0, 0);
    if (fd < 0) return (int)-fd;
    words_of_handle(listener)->accepting = (SOCKET)fd;
    BOOL done = io->accept_ex((SOCKET)listener->pri_fd, (SOCKET)fd, io->addresses, 0,
                              ACCEPT_ADDRESS, ACCEPT_ADDRESS, bytes, &words_of(step)->overlapped);
    return done ? 0 : WSAGetLastError();
}

/* ConnectEx wants a bound socket; to bind one that the caller bound is an error that says just that. */
static int call_connect(iocp *io, pri_step *step, DWORD *bytes)
{
    SOCKET    s = (SOCKET)step->handle->pri_fd;
    pri_side *side = step->data;
    int       fault = pri_os_fault(io->env, "connect");
    if (fault) return -fault;
    int family = step->handle->pri_family; /* 0: it was made elsewhere */
    if (family && family != side->address.family) return WSAEAFNOSUPPORT;
    pro_address any = {.family = side->address.family};
    int         len = (int)pri_os_address_out(&any, side->scratch);
    pri_loop_count_system_call(io->loop);
    if (bind(s, (struct sockaddr *)side->scratch, len) != 0) {
        int error = WSAGetLastError();
        if (error != WSAEINVAL) return error;
    }
    pri_os_address_out(&side->address, side->scratch);
    BOOL done = io->connect_ex(s, (struct sockaddr *)side->scratch, len, NULL, 0, bytes,
                               &words_of(step)->overlapped);
    return done ? 0 : WSAGetLastError();
}

static int call_poll(iocp *io, pri_step *step, DWORD *bytes)
{
    (void)bytes;
    return is_object(step) ? pri_iocp_object_call(io, step) : pri_iocp_poll_call(io, step);
}

static int (*const calls[PRI_STEP_KINDS])(iocp *io, pri_step *step, DWORD *bytes) = {
    [PRI_STEP_RECV] = call_recv,
    [PRI_STEP_SEND] = call_send,
    [PRI_STEP_ACCEPT] = call_accept,
    [PRI_STEP_CONNECT] = call_connect,
    [PRI_STEP_POLL_IN] = call_poll,
    [PRI_STEP_POLL_OUT] = call_poll,
    [PRI_STEP_RECV_LEASED] = pri_iocp_lease_call,
    [PRI_STEP_SEND_FILE] = pri_iocp_transmit_call,
    [PRI_STEP_RECV_FROM_LEASED] = pri_iocp_lease_from_call,
};

/* Without the feature "pending": wait a moment for the step's packet.  Whatever comes meanwhile goes
 * to the ready list. */
static void hurry(iocp *io, const pri_step *step)
{
    OVERLAPPED_ENTRY entry;
    while (take_packets(io, &entry, 1, MOMENT_MS) == 1) {
        int64_t   value;
        pri_step *done = step_of(io, &entry);
        if (!done) continue;
        int error = result_of(done, &entry, &value);
        put_ready(io, done, error, value);
        if (done == step) return;
    }
}

static void call(iocp *io, pri_step *step)
{
    DWORD bytes = 0;
    memset(step->engine, 0, sizeof step->engine);
    int error = is_poll(step) || is_object(step) ? 0 : attach(io, step->handle);
    if (!error) {
        pri_loop_count_system_call(io->loop);
        error = calls[step->kind](io, step, &bytes);
        bool by_packet = error == 0 && !words_of_handle(step->handle)->skips;
        if (error == WSA_IO_PENDING || by_packet) {
            if (io->hurries) hurry(io, step);
            return;
        }
    }
    put_ready(io, step, error, error ? 0 : bytes);
}

static void iocp_start(pro_loop *loop, pri_step *step)
{
    *canceled_of(step) = false;
    call(iocp_of(loop), step);
}

/* If the system has nothing of it any more, its result is on the way to us, and asking again costs a
 * call.  Wine 8 says so also when it has just told our thread to try a send once more, and then one that
 * could not be finished is pending as before, with the wish forgotten; but by then the thread has tried. */
static void iocp_cancel(pro_loop *loop, pri_step *step)
{
    iocp *io = iocp_of(loop);
    if (is_object(step)) {
        if (pri_iocp_object_cancel(step)) put_ready(io, step, ERROR_OPERATION_ABORTED, 0);
        return;
    }
    *canceled_of(step) = true;
    if (pri_iocp_unpause(step)) {
        put_ready(io, step, ERROR_OPERATION_ABORTED, 0);
        return;
    }
    HANDLE      file = is_poll(step) ? io->afd : (HANDLE)step->handle->pri_fd;
    OVERLAPPED *overlapped = /* of a step on the ready list no more one, but completed */
        is_poll(step) ? pri_iocp_poll_overlapped(step) : &words_of(step)->overlapped;
    if (words_of_handle(step->handle)->waits) {
        pri_iocp_helper_cancel(step);
        return;
    }
    for (int i = 0; i < CANCEL_TRIES; i++) {
        pri_loop_count_system_call(loop);
        bool failed = pri_os_fault(io->env, "CancelIoEx") || !CancelIoEx(file, overlapped);
        if (!failed || HasOverlappedIoCompleted(overlapped)) return;
    }
}

static void iocp_detach(pro_loop *loop, pro_handle *handle)
{
    /* A socket leaves its port as it is closed. */
    if (handle->pri_kind == PRI_POLLABLE) pri_iocp_poll_detach(iocp_of(loop), handle);
    if (handle->pri_kind == PRI_DATAGRAM) pri_iocp_message_detach(iocp_of(loop), handle);
    if (words_of_handle(handle)->waits) pri_iocp_helper_detach(iocp_of(loop), handle);
    memset(handle->pri_engine, 0, sizeof handle->pri_engine);
}

/* A socket stays with its port, and cannot be told again. */
static void iocp_move(pro_handle *from, pro_handle *to)
{
    memcpy(to->pri_engine, from->pri_engine, sizeof to->pri_engine);
}

/* ---- Records ---------------------------------------------------------------------------------- */

/* Make an accepted or connected socket a full one: until then shutdown and its addresses fail. */
static int update(iocp *io, SOCKET s, int option, SOCKET listener)
{
    int len = option == SO_UPDATE_ACCEPT_CONTEXT ? sizeof listener : 0;
    int fault = pri_os_fault(io->env, "setsockopt");
    if (fault) return -fault;
    pri_loop_count_system_call(io->loop);
    int result = setsockopt(s, SOL_SOCKET, option, len ? (char *)&listener : NULL, len);
    return result == 0 ? 0 : WSAGetLastError();
}

/* The socket of an accept that ended goes into the record, or away.  0, or the system's number. */
static int accepted(iocp *io, pri_step *step, int error, pri_record *record)
{
    SOCKET      *accepting = &words_of_handle(step->handle)->accepting;
    const SOCKET s = *accepting;
    *accepting = NONE;
    if (s == NONE) return error; /* there was no call */
    if (!error) error = update(io, s, SO_UPDATE_ACCEPT_CONTEXT, (SOCKET)step->handle->pri_fd);
    if (error) {
        pri_os_net.close(io->env, (intptr_t)s, 0);
        return error;
    }
    record->value = (int64_t)s;
    if (step->flags & PRI_STEP_MULTI) {
        record->flags = PRI_RECORD_MORE;
        if (*canceled_of(step))
            put_ready(io, step, ERROR_OPERATION_ABORTED, 0);
        else
            call(io, step);
    }
    return 0;
}

static int ours(const pri_step *step, int error)
{
    if (*canceled_of(step)) return PRO_ECANCELED;
    int mine = pri_os_error(error);
    /* What a datagram socket hears of a port where nobody listens. */
    if (step->handle->pri_kind == PRI_DATAGRAM && mine == PRO_ECONNRESET) return PRO_ECONNREFUSED;
    if (is_stream(step) && mine == PRO_ENOTCONN) return PRO_EPIPE; /* a pipe that was cut */
    /* It was connected; TransmitFile of Wine 8 asks for the peer first. */
    if (step->kind == PRI_STEP_SEND_FILE && mine == PRO_ENOTCONN) return PRO_ECONNRESET;
    bool gone = mine == PRO_ECONNRESET || mine == PRO_ENOTCONN; /* before it was accepted */
    return gone && step->kind == PRI_STEP_ACCEPT ? PRO_ECONNABORTED : mine;
}

/* The system is done with the step; what it said, by either door, becomes a record.  false: nothing was
 * said, and the step goes on. */
static bool record_of(iocp *io, pri_step *step, int error, int64_t bytes, pri_record *record)
{
    bool again = false;
    *record = (pri_record){.step = step, .value = bytes};
    if (step->kind == PRI_STEP_ACCEPT)
        error = accepted(io, step, error, record);
    else if (step->kind == PRI_STEP_CONNECT && !error)
        error = update(io, (SOCKET)step->handle->pri_fd, SO_UPDATE_CONNECT_CONTEXT, NONE);
    else if (is_message(step))
        error = pri_iocp_message_done(io, step, error, &record->value);
    else if (is_stream(step))
        error = pri_iocp_stream_done(step, error, bytes, &again);
    else if (step->kind == PRI_STEP_SEND_FILE)
        error = error == ERROR_HANDLE_EOF ? 0 : error;
    else if (pri_step_is_leased(step))
        again = pri_iocp_leased(step, &error, record);
    if (again && pri_step_is_leased(step) &&
        words_of_handle(step->handle)->lease == PRI_IOCP_PAUSED)
        return false;
    bool ends = *canceled_of(step);
    if (again && !ends) {
        call(io, step);
        return record->flags & PRI_RECORD_MORE;
    }
    if (again && record->flags & PRI_RECORD_MORE) {
        put_ready(io, step, ERROR_OPERATION_ABORTED, 0);
        return true;
    }
    if (again) error = ERROR_OPERATION_ABORTED;
    if (!error) return true;
    record->error = ours(step, error);
    record->system = error;
    return true;
}

/* ---- Turning ---------------------------------------------------------------------------------- */

static int turn_ready(iocp *io, pri_record *records, int max)
{
    int made = 0;
    while (made < max && io->ready) {
        pri_step *step = take_ready(io);
        int       error = words_of(step)->ready.error;
        made += record_of(io, step, error, words_of(step)->ready.bytes, &records[made]);
    }
    return made;
}

static int turn_packets(iocp *io, DWORD timeout_ms, pri_record *records, int max)
{
    int made = 0, count = take_packets(io, io->entries, max, timeout_ms);
    for (int i = 0; i < count; i++) {
        const OVERLAPPED_ENTRY *entry = &io->entries[i];
        pri_step               *step = step_of(io, entry);
        if (!step) continue;
        int64_t value;
        int     error = result_of(step, entry, &value);
        made += record_of(io, step, error, value, &records[made]);
    }
    return count < 0 ? count : made;
}

static int iocp_turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    iocp *io = iocp_of(loop);
    int   fault = pri_os_fault(io->env, "GetQueuedCompletionStatusEx");
    if (fault) return fault;

    int made = 0;
    if (pri_buffers_resume(loop)) pri_iocp_resume(loop, call);
    if (io->ready || io->woken) until_ns = PRI_TURN_POLL;
    io->packets_first = !io->packets_first;
    if (!io->packets_first) made = turn_ready(io, records, max);
    if (made < max) {
        int count = turn_packets(io, pri_iocp_timeout(io, until_ns), records + made, max - made);
        if (count < 0 && made == 0) return count; /* else it comes again */
        if (count > 0) made += count;
    }
    if (io->packets_first) made += turn_ready(io, records + made, max - made);
    io->woken = false;
    return made;
}

static void iocp_wake(pro_loop *loop)
{
    iocp *io = iocp_of(loop);
    if (!atomic_exchange(&io->waking, true)) pri_iocp_post(io, KEY_WAKE);
}

const pri_engine pri_engine_iocp = {
    .id = PRO_ENGINE_IOCP,
    .caps = PRI_CAPS_POLL | PRI_CAPS_LEASE | PRI_CAPS_SEND_FILE,
    .name = "iocp",
    .net = &pri_os_net,
    .nonblocking = 0,
    .features = "skip_on_success,pending,precise_timers,from_memory",
    .probe = pri_iocp_probe,
    .init = pri_iocp_init,
    .fini = pri_iocp_fini,
    .bind = pri_iocp_bind,
    .start = iocp_start,
    .cancel = iocp_cancel,
    .detach = iocp_detach,
    .move = iocp_move,
    .turn = iocp_turn,
    .call = pri_os_call,
    .wake = iocp_wake,
};
