/* Receives into a buffer that is picked when there are bytes for it.
 *
 * The system takes a receive of no bytes, which is done when there is something to receive (of datagrams one that
 * only looks, or the first of them would be gone).  Then a buffer of the pool is picked and the step called once more, to
 * fill it, which is done at once:
 *
 *     call of no bytes --> something is there --> call with a buffer --> record --> (multishot) call of no bytes
 *                                             no buffer: the record says so, and the bytes stay
 *                                             none for now: it pauses, then call of no bytes
 *
 * Invariant:  handle->lease = 1 + the number of the buffer of the call that is under way; 0: it has none;
 *             PAUSED: there is no call, and the step is in loop->paused */
#include <string.h>

#include "core/buffers.h"
#include "engine/iocp/state.h"

int pri_iocp_lease_call(iocp *io, pri_step *step, DWORD *bytes)
{
    const pro_buffers *buffers = step->data;
    uint32_t           lease = words_of_handle(step->handle)->lease;
    WSABUF             piece = {0, NULL};
    DWORD              flags = 0;
    if (lease) {
        int fault = pri_os_fault(io->env, "recv");
        if (fault) return -fault;
        piece = (WSABUF){buffers->size, pri_buffers_at(buffers, lease - 1)};
    }
    int result = WSARecv((SOCKET)step->handle->pri_fd, &piece, 1, bytes, &flags,
                         &words_of(step)->overlapped, NULL);
    return result == 0 ? 0 : WSAGetLastError();
}

/* Where in its head the system keeps the length of the name while the call is under way: aligned for it. */
static INT *len_in(char *buffer)
{
    uintptr_t at = (uintptr_t)(buffer + offsetof(pri_os_head, system));
    return (INT *)((at + sizeof(INT) - 1) & ~(uintptr_t)(sizeof(INT) - 1));
}

int pri_iocp_lease_from_call(iocp *io, pri_step *step, DWORD *bytes)
{
    const pro_buffers *buffers = step->data;
    uint32_t           lease = words_of_handle(step->handle)->lease;
    OVERLAPPED        *overlapped = &words_of(step)->overlapped;
    WSABUF             piece = {0, NULL};
    if (!lease)
        return pri_iocp_receive_from(io, step, &piece, MSG_PEEK, bytes, NULL, NULL, overlapped);
    char *buffer = pri_buffers_at(buffers, lease - 1);
    INT  *len = len_in(buffer);
    piece = (WSABUF){buffers->size - PRO_DATAGRAM_HEAD, buffer + PRO_DATAGRAM_HEAD};
    *len = sizeof(((pri_os_head *)NULL)->name);
    return pri_iocp_receive_from(io, step, &piece, 0, bytes, buffer + offsetof(pri_os_head, name),
                                 len, overlapped);
}

static bool is_datagram(const pri_step *step) { return step->kind == PRI_STEP_RECV_FROM_LEASED; }

static pri_link *link_of(pri_step *step) { return &words_of(step)->paused; }

/* There is something, or so it seems.  true: call it again, with a buffer, unless it is paused. */
static bool pick(pri_step *step, int *error)
{
    if (is_datagram(step) && pri_iocp_was_truncated(*error)) *error = 0;
    if (*error) return false;
    int32_t id = -1;
    if (*canceled_of(step))
        *error = ERROR_OPERATION_ABORTED;
    else if ((id = pri_buffers_take(step->data)) == PRI_BUFFERS_NONE)
        *error = WSAENOBUFS;
    if (*error) return false;
    words_of_handle(step->handle)->lease = id < 0 ? PRI_IOCP_PAUSED : (uint32_t)id + 1;
    if (id < 0) pri_buffers_pause(step->handle->pri_loop, link_of(step));
    return true;
}

void pri_iocp_resume(pro_loop *loop, void (*again)(iocp *io, pri_step *step))
{
    pri_link now;
    pri_list_init(&now);
    pri_list_splice(&now, &loop->paused);
    while (!pri_list_empty(&now)) {
        step_words *words = pro_container_of(pri_list_pop(&now), step_words, paused);
        pri_step   *step = pro_container_of(words, pri_step, engine);
        words_of_handle(step->handle)->lease = 0;
        again(pri_loop_engine_state(loop), step);
    }
}

bool pri_iocp_unpause(pri_step *step)
{
    uint32_t *lease = &words_of_handle(step->handle)->lease;
    if (!pri_step_is_leased(step) || *lease != PRI_IOCP_PAUSED) return false;
    *lease = 0;
    pri_list_remove(link_of(step));
    return true;
}

/* A datagram came, as an error if there was more of it. */
static void received_from(const pri_step *step, int *error, pri_record *record)
{
    char    *buffer = pri_buffers_at(step->data, record->lease);
    uint32_t name_len = (uint32_t)*len_in(buffer);
    memcpy(buffer, &name_len, sizeof name_len);
    if (!pri_iocp_was_truncated(*error)) return;
    *error = 0;
    record->value = (int64_t)((const pro_buffers *)step->data)->size - PRO_DATAGRAM_HEAD;
    record->flags = PRI_RECORD_TRUNCATED;
}

bool pri_iocp_leased(pri_step *step, int *error, pri_record *record)
{
    uint32_t *lease = &words_of_handle(step->handle)->lease;
    if (!*lease) return pick(step, error);
    record->lease = *lease - 1;
    *lease = 0;
    if (is_datagram(step)) received_from(step, error, record);
    if (*error || (record->value == 0 && !is_datagram(step))) {
        pri_buffers_untake(step->data, record->lease);
        return false;
    }
    bool is_multi = step->flags & PRI_STEP_MULTI;
    if (is_multi) record->flags |= PRI_RECORD_MORE;
    return is_multi;
}
