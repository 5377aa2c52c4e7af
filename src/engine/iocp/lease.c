/* Receives into a buffer that is picked when there are bytes for it.
 *
 * The system takes a receive of no bytes, which is done when there is something to receive.  Then a buffer of
 * the pool is picked and the step called once more, to fill it, which is done at once:
 *
 *     call of no bytes --> something is there --> call with a buffer --> record --> (multishot) call of no bytes
 *                                             no buffer: the record says so, and the bytes stay
 *
 * Invariant:  handle->lease = 1 + the number of the buffer of the call that is under way; 0: it has none */
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

/* There is something, or so it seems. */
static bool pick(pri_step *step, int *error)
{
    if (*error) return false;
    int32_t id = -1;
    if (*canceled_of(step))
        *error = ERROR_OPERATION_ABORTED;
    else if ((id = pri_buffers_take(step->data)) < 0)
        *error = WSAENOBUFS;
    words_of_handle(step->handle)->lease = (uint32_t)(id + 1);
    return id >= 0;
}

bool pri_iocp_leased(pri_step *step, int *error, pri_record *record)
{
    uint32_t *lease = &words_of_handle(step->handle)->lease;
    if (!*lease) return pick(step, error);
    record->lease = *lease - 1;
    *lease = 0;
    if (*error || record->value == 0) {
        pri_buffers_give(step->data, record->lease);
        return false;
    }
    bool is_multi = step->flags & PRI_STEP_MULTI;
    if (is_multi) record->flags = PRI_RECORD_MORE;
    return is_multi;
}
