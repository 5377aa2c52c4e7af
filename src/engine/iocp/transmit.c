/* Sending a part of a file, by TransmitFile: from the system's cache, which reads what is not in it, without
 * waiting here.
 *
 * Where the sink is no socket, or TransmitFile is not to be had, the core does it (PRO_ENOTSUP), behind the same
 * look at the file.  Under Wine 8 it is not: a call that waits for the socket after it has sent a part is
 * not told of a reset that comes while it is on the way into that wait, and never ends.
 *
 * It is asked for no more than the file has, since what it says of an end before that is not written down;
 * and never for nothing, which would be the whole file.  A file whose length says nothing (0, as that of
 * what is made while it is read) is asked for all the same. */
#include "engine/iocp/state.h"

#include "os/copy.h"

/* How much of the next part there is; 0: nothing, and *error says whether that is the end. */
static DWORD look(const pro_copy *copy, int *error)
{
    HANDLE        file = (HANDLE)copy->file;
    LARGE_INTEGER size;
    uint64_t      at = copy->offset + copy->copied;
    size_t        len = pri_copy_chunk(copy);
    *error = 0;
    if (GetFileType(file) != FILE_TYPE_DISK) { /* it has no offsets */
        *error =
            GetLastError() == ERROR_INVALID_HANDLE ? ERROR_INVALID_HANDLE : ERROR_INVALID_PARAMETER;
        return 0;
    }
    if (!GetFileSizeEx(file, &size)) {
        *error = (int)GetLastError();
        return 0;
    }
    if (size.QuadPart == 0) return (DWORD)len;
    uint64_t end = (uint64_t)size.QuadPart;
    if (at >= end) return 0;
    return end - at < len ? (DWORD)(end - at) : (DWORD)len;
}

int pri_iocp_transmit_call(iocp *io, pri_step *step, DWORD *bytes)
{
    const pro_copy *copy = pri_copy_of(step);
    OVERLAPPED     *overlapped = &words_of(step)->overlapped;
    int             error, fault = pri_os_fault(io->env, "sendfile");
    if (fault) return -fault;
    DWORD len = look(copy, &error);
    *bytes = 0;
    if (len == 0) return error ? error : ERROR_HANDLE_EOF;
    bool is_plain = step->handle->pri_family & PRI_PLAIN;
    if (is_plain || !io->transmit_file) return WSAEOPNOTSUPP;
    uint64_t at = copy->offset + copy->copied;
    overlapped->Offset = (DWORD)at;
    overlapped->OffsetHigh = (DWORD)(at >> 32);
    BOOL done = io->transmit_file((SOCKET)step->handle->pri_fd, (HANDLE)copy->file, len, 0,
                                  overlapped, NULL, 0);
    if (done) *bytes = (DWORD)overlapped->InternalHigh;
    return done ? 0 : WSAGetLastError();
}

/* Only Wine's has it. */
static bool is_wine(void)
{
    return GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version") != NULL;
}

void pri_iocp_transmit_look(iocp *io, SOCKET s, const pri_engine_options *options, pri_why *why)
{
    GUID  id = WSAID_TRANSMITFILE;
    DWORD len;
    if (WSAIoctl(s, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, &io->transmit_file,
                 sizeof io->transmit_file, &len, NULL, NULL) != 0) {
        pri_why_add(why, "iocp: transmit_file: none here (%d), files are sent from memory",
                    WSAGetLastError());
        io->transmit_file = NULL;
    } else if (is_wine() && !pri_masked(options->mask, "from_memory")) {
        pri_why_add(
            why,
            "iocp: transmit_file: Wine's does not end at every reset, files are sent from memory");
        io->transmit_file = NULL;
    }
}
