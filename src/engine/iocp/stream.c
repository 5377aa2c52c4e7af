/* Streams that are no sockets: pipes, by overlapped calls with the packets of the port like all others.
 *
 * One call has one buffer, so of several pieces the first; what is left over is a short transfer.
 *
 * A write that does not fit into the pipe is pending until it does, and one that is canceled meanwhile says
 * nothing of the bytes that somebody has read of it already.  So no write has more than the pipe has room
 * for: then it is in the pipe as a whole, or none of it is read before it is.
 *
 * The ends of a pipe are told as errors, and its end for those who read is one of them.  A write of
 * nothing by the other side is a read of nothing here: no end, and no news.  (Of a terminal a read of nothing is the end.)
 *
 * A handle that was not made for overlapped calls makes its callers wait: helper.c. */
#include "engine/iocp/state.h"

#include <winternl.h>

enum { ROOM_MAX = UINT16_MAX, ROOM_UNKNOWN = 4096 };

/* How much one write may have.  What Wine takes from a Unix shell looks like a pipe, and is none. */
static void look(handle_words *words, HANDLE file)
{
    DWORD flags, out, in, room = 0;
    if (GetFileType(file) != FILE_TYPE_PIPE) return; /* no limit */
    words->is_pipe = GetNamedPipeInfo(file, &flags, &out, &in, NULL);
    if (words->is_pipe) room = flags & PIPE_SERVER_END ? out : in;
    words->room = (uint16_t)(room == 0 ? ROOM_UNKNOWN : room < ROOM_MAX ? room : ROOM_MAX);
}

int pri_iocp_stream_attach(iocp *io, pro_handle *handle)
{
    handle_words         *words = words_of_handle(handle);
    HANDLE                file = (HANDLE)handle->pri_fd;
    IO_STATUS_BLOCK       io_status;
    FILE_MODE_INFORMATION mode;
    pri_loop_count_system_call(io->loop);
    NTSTATUS status =
        NtQueryInformationFile(file, &io_status, &mode, sizeof mode, FileModeInformation);
    if (status != 0) return (int)RtlNtStatusToDosError(status);
    look(words, file);
    words->waits = mode.Mode & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT);
    words->attached = words->waits; /* there is nothing else to do */
    return 0;
}

int pri_iocp_stream_call(iocp *io, pri_step *step, const WSABUF *piece, DWORD *bytes)
{
    bool        is_read = step->kind == PRI_STEP_RECV;
    HANDLE      file = (HANDLE)step->handle->pri_fd;
    OVERLAPPED *overlapped = &words_of(step)->overlapped;
    int         fault = pri_os_fault(io->env, is_read ? "read" : "write");
    if (fault) return -fault;
    DWORD    len = piece->len;
    uint32_t room = words_of_handle(step->handle)->room;
    if (!is_read && room && len > room) len = room;
    if (words_of_handle(step->handle)->waits)
        return pri_iocp_helper_call(io, step, piece->buf, len);
    BOOL done = is_read ? ReadFile(file, piece->buf, len, bytes, overlapped)
                        : WriteFile(file, piece->buf, len, bytes, overlapped);
    if (done) return 0;
    DWORD error = GetLastError();
    return error == ERROR_MORE_DATA ? WSA_IO_PENDING
                                    : (int)error; /* for that, too, a packet comes */
}

int pri_iocp_stream_result(const pri_step *step)
{
    if (words_of_handle(step->handle)->waits) return pri_iocp_helper_result(step);
    const OVERLAPPED *overlapped = &((const step_words *)(const void *)step->engine)->overlapped;
    DWORD             error = RtlNtStatusToDosError((NTSTATUS)overlapped->Internal);
    return error == ERROR_MORE_DATA ? 0
                                    : (int)error; /* the rest of a message is for the next read */
}

int pri_iocp_stream_done(const pri_step *step, int error, int64_t bytes, bool *again)
{
    if (step->kind != PRI_STEP_RECV) return error;
    if (error == ERROR_BROKEN_PIPE || error == ERROR_PIPE_NOT_CONNECTED ||
        error == ERROR_HANDLE_EOF)
        return 0; /* with no bytes: the end */
    *again = !error && bytes == 0 && words_of_handle(step->handle)->is_pipe;
    return error;
}
