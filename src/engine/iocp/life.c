/* The engine on I/O completion ports: what the system has, and a port's beginning and end.
 *
 * Features, which a mask hides, so that a test can force every result through either door:
 *   skip_on_success   without it every success comes as a packet
 *   pending           without it a call that is pending gets a moment, and what completes in it takes
 *                     the ready list: also where the system at hand never completes at once
 *   from_memory       without it files are sent by TransmitFile, also where that is not to be trusted
 *   precise_timers    without it waits have a time-out, whatever the options say
 *
 * Invariants:
 *   whatever fails, end undoes what was made, and no more */
#include <string.h>

#include "engine/iocp/state.h"

static int extension(SOCKET s, GUID id, void *function, DWORD size)
{
    DWORD len;
    int   result = WSAIoctl(s, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, function, size,
                            &len, NULL, NULL);
    return result == 0 ? 0 : -WSAGetLastError();
}

/* What a socket of this system offers; into io.  0, or a negated number. */
static int look(iocp *io, const pri_engine_options *options, pri_why *why)
{
    intptr_t fd = pri_os_net.open(options->env, PRO_IPV4, 0, 0);
    if (fd < 0) return (int)fd;
    SOCKET            s = (SOCKET)fd;
    WSAPROTOCOL_INFOW info = {0};
    int               len = sizeof info;
    int error = extension(s, (GUID)WSAID_ACCEPTEX, &io->accept_ex, sizeof io->accept_ex);
    if (!error) error = extension(s, (GUID)WSAID_CONNECTEX, &io->connect_ex, sizeof io->connect_ex);
    if (error) pri_why_add(why, "iocp: no AcceptEx and ConnectEx (%d)", -error);
    pri_iocp_transmit_look(io, s, options, why);

    bool skips = !pri_masked(options->mask, "skip_on_success");
    /* With a layered provider, whose sockets are no files, a success may post a packet all the same. */
    if (getsockopt(s, SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&info, &len) != 0 ||
        !(info.dwServiceFlags1 & XP1_IFS_HANDLES)) {
        pri_why_add(why,
                    "iocp: skip_on_success: sockets are no files here, for a layered provider");
        skips = false;
    }
    io->skips = skips;
    io->hurries = pri_masked(options->mask, "pending");
    pri_os_net.close(options->env, fd, 0);
    return error;
}

int pri_iocp_probe(const pri_engine_options *options, pri_why *why)
{
    iocp seen;
    memset(&seen, 0, sizeof seen);
    int error = look(&seen, options, why);
    if (error) return error;
    pri_why_line(why, "iocp: native%s%s", seen.skips ? ", with skip_on_success" : "",
                 pri_iocp_can_be_precise(options, why) ? ", with precise_timers" : "");
    pri_why_add(why, "%s", why->line);
    return 0;
}

/* What was made is undone by end.  0, or a negated number. */
static int make(iocp *io, const pri_engine_options *options)
{
    int fault = pri_os_fault(io->env, "CreateIoCompletionPort");
    if (fault) return fault;
    io->port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    if (!io->port) return -(int)GetLastError();
    return pri_iocp_timer_make(io, options);
}

static void end(iocp *io)
{
    pri_iocp_timer_end(io);
    if (io->afd) CloseHandle(io->afd);
    if (io->port) CloseHandle(io->port);
    pri_env_realloc(io->env, io, 0);
}

int pri_iocp_init(pro_loop *loop, const pri_engine_options *options, pri_why *why)
{
    size_t size = sizeof(iocp) + options->batch_max * sizeof(OVERLAPPED_ENTRY);
    iocp  *io = pri_env_realloc(options->env, NULL, size);
    if (!io) return -ERROR_NOT_ENOUGH_MEMORY;
    memset(io, 0, sizeof *io);
    io->loop = loop;
    io->env = options->env;
    io->ready_end = &io->ready;
    pri_why again = *why; /* the probe has said it */
    int     error = look(io, options, &again);
    if (!error) error = make(io, options);
    if (error) {
        end(io);
        return error;
    }
    pri_loop_set_engine_state(loop, io);
    return 0;
}

void pri_iocp_fini(pro_loop *loop) { end(pri_loop_engine_state(loop)); }

/* Any thread may wait on a port, and calls outlive the thread that made them on a socket with one. */
int pri_iocp_bind(pro_loop *loop)
{
    (void)loop;
    return 0;
}
