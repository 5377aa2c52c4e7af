/* Readiness: the socket driver's own poll, an overlapped call on a handle of the driver.
 *
 * There is no documented call that completes by packet when a socket is ready.  select, WSAPoll and
 * WSAEventSelect are all made of one, IOCTL_AFD_POLL, which the driver \\Device\\Afd has taken in the same
 * form since Windows NT 4, and Wine as well.  The loop opens the driver once, when something is polled for
 * the first time, and attaches that handle to its port; the sockets are attached to nothing.
 *
 * What the driver writes to must stay where it is until its packet comes, and is more than a step or a
 * handle has room for: it is allocated by the first poll of a pollable and lives until detach.
 *
 * A poll that finds its socket ready comes by packet as well.  It never ends by itself with nothing, so a
 * success without an event would be the driver's; then the hint is that what was asked for holds. */
#include "engine/iocp/state.h"

#include <winternl.h>

enum { IOCTL_AFD_POLL = 0x00012024 };

typedef struct afd_poll {
    LARGE_INTEGER timeout;
    ULONG         handles;
    ULONG         exclusive;
    HANDLE        handle;
    ULONG         events;
    NTSTATUS      status;
} afd_poll;

typedef struct polls {
    OVERLAPPED overlapped; /* its first two words are an IO_STATUS_BLOCK */
    pri_step  *step;
    afd_poll   poll;
} polls;

struct pri_iocp_polls {
    polls  of[2]; /* by direction */
    HANDLE base;  /* the socket below all layered providers */
};

static polls *polls_of(const pri_step *step)
{
    return &words_of_handle(step->handle)->polls->of[step->kind == PRI_STEP_POLL_OUT];
}

/* ---- The driver ----------------------------------------------------------------------------- */

static int error_of(NTSTATUS status) { return status ? (int)RtlNtStatusToDosError(status) : 0; }

/* 0, or the system's number. */
static int open_driver(iocp *io)
{
    static wchar_t    path[] = L"\\Device\\Afd\\proactor";
    UNICODE_STRING    name = {sizeof path - sizeof *path, sizeof path, path};
    OBJECT_ATTRIBUTES attributes = {.Length = sizeof attributes, .ObjectName = &name};
    IO_STATUS_BLOCK   status;
    HANDLE            afd;
    if (io->afd) return 0;
    int fault = pri_os_fault(io->env, "NtCreateFile");
    if (fault) return -fault;
    int error = error_of(NtCreateFile(&afd, SYNCHRONIZE, &attributes, &status, NULL, 0,
                                      FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN, 0, NULL, 0));
    if (error) return error;
    if (!CreateIoCompletionPort(afd, io->port, KEY_POLL, 0)) {
        error = (int)GetLastError();
        CloseHandle(afd);
        return error;
    }
    io->afd = afd;
    return 0;
}

/* ---- Pollables ------------------------------------------------------------------------------ */

/* 0, or the system's number. */
static int make_polls(iocp *io, pro_handle *handle)
{
    handle_words *words = words_of_handle(handle);
    if (words->polls) return 0;
    int error = open_driver(io);
    if (error) return error;
    words->polls = pri_env_realloc(io->env, NULL, sizeof *words->polls);
    if (!words->polls) return ERROR_NOT_ENOUGH_MEMORY;
    DWORD len;
    if (WSAIoctl((SOCKET)handle->pri_fd, SIO_BASE_HANDLE, NULL, 0, &words->polls->base,
                 sizeof words->polls->base, &len, NULL, NULL) != 0)
        words->polls->base = (HANDLE)handle->pri_fd;
    return 0;
}

int pri_iocp_poll_call(iocp *io, pri_step *step)
{
    int error = make_polls(io, step->handle);
    if (error) return error;
    error = -pri_os_fault(io->env, "NtDeviceIoControlFile");
    if (error) return error;
    polls *p = polls_of(step);
    *p = (polls){
        .overlapped.Internal = (ULONG_PTR)STATUS_PENDING,
        .step = step,
        .poll =
            {
                .timeout.QuadPart = INT64_MAX,
                .handles = 1,
                .handle = words_of_handle(step->handle)->polls->base,
                .events = pri_os_poll_asked(step->kind == PRI_STEP_POLL_IN),
            },
    };
    NTSTATUS status = NtDeviceIoControlFile(
        io->afd, NULL, NULL, &p->overlapped, (IO_STATUS_BLOCK *)(void *)&p->overlapped,
        IOCTL_AFD_POLL, &p->poll, sizeof p->poll, &p->poll, sizeof p->poll);
    return status == 0 || status == (NTSTATUS)STATUS_PENDING ? WSA_IO_PENDING : error_of(status);
}

pri_step *pri_iocp_poll_step(OVERLAPPED *overlapped)
{
    return pro_container_of(overlapped, polls, overlapped)->step;
}

int pri_iocp_poll_result(const pri_step *step, int64_t *told)
{
    const polls *p = polls_of(step);
    int64_t      asked = step->kind == PRI_STEP_POLL_IN ? PRO_POLL_IN : PRO_POLL_OUT;
    uint32_t     events = p->poll.handles ? p->poll.events : 0;
    *told = pri_os_poll_told(events) & (asked | PRO_POLL_HUP | PRO_POLL_ERR);
    if (!*told) *told = asked;
    return error_of((NTSTATUS)p->overlapped.Internal);
}

OVERLAPPED *pri_iocp_poll_overlapped(const pri_step *step) { return &polls_of(step)->overlapped; }

void pri_iocp_poll_detach(iocp *io, pro_handle *handle)
{
    struct pri_iocp_polls *made = words_of_handle(handle)->polls;
    if (made) pri_env_realloc(io->env, made, 0);
}
