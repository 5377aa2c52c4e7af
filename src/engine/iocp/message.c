/* Datagrams: calls with a name beside the data, and batches of them.
 *
 * A name must stay where it is until the call is over.  Of one message it stands in the side object; a
 * batch has none, so the names of its first message stand in memory of the handle, allocated by its
 * first batch.
 *
 * A batch is one overlapped call, for its first message.  When that is done the others follow by calls
 * that never wait, as many as are there or have room: the system has no call for many.
 *
 * A datagram longer than its buffer is a success that the system calls an error: the only error of a
 * call for which a packet comes all the same.  Whether it comes also where no packet is to come for a
 * success is told nowhere, and under Wine it does not: so these sockets are without skip_on_success.
 *
 * A receive on a socket that is not bound yet waits, as on POSIX, so it is bound first. */
#include <string.h>

#include "engine/iocp/state.h"

typedef struct name {
    uint64_t at[PRI_OS_ADDRESS_SIZE / 8];
    INT      len;
} name;

struct pri_iocp_names {
    name of[2]; /* by direction */
};

_Static_assert(sizeof(INT) == sizeof(((pri_os_message *)0)->name_len), "a length is one for both");

static bool is_receive(const pri_step *step) { return step->kind == PRI_STEP_RECV; }

static name *name_of(const pri_step *step)
{
    return &words_of_handle(step->handle)->names->of[is_receive(step)];
}

/* ---- Calls ---------------------------------------------------------------------------------- */

static int answer(int result) { return result == 0 ? 0 : WSAGetLastError(); }

static int bind_anywhere(iocp *io, const pro_handle *handle)
{
    pro_address any = {.family = handle->pri_family};
    return -pri_os_net.bind(io->env, handle->pri_fd, &any);
}

/* Overlapped (NULL: it does not wait); name_len NULL: who sent it is not asked for. */
static int receive(iocp *io, const pri_step *step, WSABUF *pieces, DWORD count, DWORD flags,
                   DWORD *bytes, void *at, INT *len, OVERLAPPED *overlapped)
{
    int fault = pri_os_fault(io->env, "WSARecvFrom");
    if (fault) return -fault;
    return answer(WSARecvFrom((SOCKET)step->handle->pri_fd, pieces, count, bytes, &flags,
                              len ? at : NULL, len, overlapped, NULL));
}

/* Where it was not bound it is. */
static int receive_bound(iocp *io, const pri_step *step, WSABUF *pieces, DWORD count, DWORD flags,
                         DWORD *bytes, void *at, INT *len, OVERLAPPED *overlapped)
{
    int error = receive(io, step, pieces, count, flags, bytes, at, len, overlapped);
    if (error == WSAEINVAL && bind_anywhere(io, step->handle) == 0)
        error = receive(io, step, pieces, count, flags, bytes, at, len, overlapped);
    return pri_iocp_was_truncated(error) ? WSA_IO_PENDING : error;
}

int pri_iocp_receive_from(iocp *io, const pri_step *step, WSABUF *piece, DWORD flags, DWORD *bytes,
                          void *at, INT *len, OVERLAPPED *overlapped)
{
    return receive_bound(io, step, piece, 1, flags, bytes, at, len, overlapped);
}

/* len 0: to the peer. */
static int send_one(iocp *io, const pri_step *step, WSABUF *pieces, DWORD count, DWORD *bytes,
                    const void *at, INT len, OVERLAPPED *overlapped)
{
    int fault = pri_os_fault(io->env, "WSASendTo");
    if (fault) return -fault;
    return answer(WSASendTo((SOCKET)step->handle->pri_fd, pieces, count, bytes, 0, len ? at : NULL,
                            len, overlapped, NULL));
}

/* 0, or the system's number. */
static int make_names(iocp *io, pro_handle *handle)
{
    handle_words *words = words_of_handle(handle);
    u_long        on = 1;
    if (words->names) return 0;
    if (ioctlsocket((SOCKET)handle->pri_fd, FIONBIO, &on) != 0) return WSAGetLastError();
    words->names = pri_env_realloc(io->env, NULL, sizeof *words->names);
    return words->names ? 0 : ERROR_NOT_ENOUGH_MEMORY;
}

/* Longer than any datagram can be; the system's word for that is one of those for which a packet may
 * come or not. */
static bool is_too_long(const pri_step *step, size_t len, const pro_address *to)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool                 is_ipv4 = step->handle->pri_family == PRO_IPV4 || to->family == PRO_IPV4 ||
                   (to->family == PRO_IPV6 && memcmp(to->bytes, mapped, sizeof mapped) == 0);
    return len > (is_ipv4 ? 65507 : 65527);
}

/* The name of a message to send, into n.  0, or the system's number. */
static int name_message(const pri_step *step, const pro_message *m, name *n)
{
    const pro_address *to = &m->address;
    n->len = 0;
    if (is_too_long(step, m->len, to)) return WSAEMSGSIZE;
    if (to->family == PRO_FAMILY_NONE) return 0;
    n->len = (INT)pri_os_address_out(to, n->at);
    if (n->len == 0) return WSAEAFNOSUPPORT;
    return to->port == 0 ? WSAEINVAL : 0;
}

int pri_iocp_message_call(iocp *io, pri_step *step, WSABUF *pieces, DWORD count, DWORD *bytes)
{
    OVERLAPPED     *overlapped = &words_of(step)->overlapped;
    pri_os_message *m = &((pri_side *)step->data)->message;
    void           *at = m->name;
    INT            *len = (INT *)&m->name_len;
    if (step->flags & PRI_STEP_BY_CALL) {
        int error = make_names(io, step->handle);
        if (error) return error;
        name *n = name_of(step);
        at = n->at;
        len = &n->len;
        n->len = sizeof n->at;
        error = is_receive(step) ? 0 : name_message(step, step->data, n);
        if (error) return error;
    }
    if (!is_receive(step)) {
        const pri_side *side = step->flags & PRI_STEP_BY_CALL ? NULL : step->data;
        if (side && is_too_long(step, step->len, &side->address)) return WSAEMSGSIZE;
        if (side && *len && side->address.port == 0) return WSAEINVAL;
        int error = send_one(io, step, pieces, count, bytes, at, *len, overlapped);
        return error == WSAEINVAL && *len == 0 ? WSAENOTCONN : error; /* Wine: there is no peer */
    }
    if (*len == 0) len = NULL;
    return receive_bound(io, step, pieces, count, 0, bytes, at, len, overlapped);
}

/* ---- Results -------------------------------------------------------------------------------- */

static void received(pro_message *m, const name *from, DWORD bytes, bool truncated)
{
    m->size = bytes;
    m->flags = truncated ? PRO_TRUNCATED : 0;
    pri_os_address_in(&m->address, from->at);
}

/* The messages behind the first one, until one would wait or fails; how many in all. */
static int64_t the_others(iocp *io, const pri_step *step)
{
    pro_message *messages = step->data;
    size_t       done = 1;
    for (; done < step->len; done++) {
        pro_message *m = &messages[done];
        WSABUF       piece = {(ULONG)m->len, m->buf};
        name         n = {.len = sizeof n.at};
        DWORD        bytes = 0;
        int          error = is_receive(step) ? 0 : name_message(step, m, &n);
        if (error) break;
        pri_loop_count_system_call(io->loop);
        error = is_receive(step) ? receive(io, step, &piece, 1, 0, &bytes, n.at, &n.len, NULL)
                                 : send_one(io, step, &piece, 1, &bytes, n.at, n.len, NULL);
        bool truncated = is_receive(step) && pri_iocp_was_truncated(error);
        if (error && !truncated) break; /* what it was a later call says again */
        if (is_receive(step)) {
            received(m, &n, truncated ? (DWORD)m->len : bytes, truncated);
        } else {
            m->size = bytes;
            m->flags = 0;
        }
    }
    return (int64_t)done;
}

int pri_iocp_message_done(iocp *io, pri_step *step, int error, int64_t *value)
{
    bool truncated = is_receive(step) && pri_iocp_was_truncated(error);
    if (error && !truncated) {
        *value = 0; /* all or nothing */
        return error;
    }
    if (step->flags & PRI_STEP_BY_CALL) {
        pro_message *first = step->data;
        if (is_receive(step)) {
            received(first, name_of(step), (DWORD)*value, truncated);
        } else {
            first->size = (size_t)*value;
            first->flags = 0;
        }
        *value = *canceled_of(step) ? 1 : the_others(io, step);
        return 0;
    }
    pri_side *side = step->data;
    if (is_receive(step)) {
        side->message.is_truncated = truncated;
        side->address = (pro_address){.family = PRO_FAMILY_NONE};
        if (side->message.name_len) pri_os_address_in(&side->address, side->message.name);
    }
    return 0;
}

void pri_iocp_message_detach(iocp *io, pro_handle *handle)
{
    struct pri_iocp_names *made = words_of_handle(handle)->names;
    if (made) pri_env_realloc(io->env, made, 0);
}
