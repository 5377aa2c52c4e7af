/* Pipes and pairs, and what a handle is that is no socket.
 *
 * A pipe is a named one whose name nobody has to know: an overlapped call needs a handle that was made for
 * it, which those of CreatePipe are not.  The name is random, the only instance is ours from the start, and
 * nobody can be between the two calls: one who is makes the second fail, and there is another name.
 *
 * A pair of stream sockets is a TCP connection over the loopback interface, a pair of datagram sockets two
 * of UDP, each connected with the other, since either way ends by itself (shutdown) only where there are
 * sockets.  Who else finds the port for that moment is turned away: both ends look whom they have. */
#include <stdbool.h>
#include <string.h>

#include "os/os.h"
#include "os/win/pipe.h"

#include <winternl.h>

enum { TRIES = 8, ROOM = 65536 /* of a pipe */ };

/* ---- Pipes ---------------------------------------------------------------------------------- */

static void name_pipe(wchar_t *name)
{
    static const wchar_t prefix[] = L"\\\\.\\pipe\\proactor-", digits[] = L"0123456789abcdef";
    unsigned char        random[PRI_WIN_PIPE_DIGITS / 2];
    pri_os_random(NULL, random, sizeof random);
    memcpy(name, prefix, sizeof prefix);
    name += sizeof prefix / sizeof *prefix - 1;
    for (size_t i = 0; i < sizeof random; i++) {
        *name++ = digits[random[i] >> 4];
        *name++ = digits[random[i] & 15];
    }
    *name = 0;
}

/* 0, or a negated number; ERROR_PIPE_BUSY: somebody was faster. */
static int try_pipe(HANDLE ends[2], const pri_win_end how[2])
{
    wchar_t name[PRI_WIN_PIPE_NAME];
    name_pipe(name);
    DWORD mode = PIPE_ACCESS_INBOUND | FILE_FLAG_FIRST_PIPE_INSTANCE;
    if (how[0] & PRI_WIN_OVERLAPPED) mode |= FILE_FLAG_OVERLAPPED;
    ends[0] = CreateNamedPipeW(name, mode, PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS, 1, ROOM,
                               ROOM, 0, NULL);
    if (ends[0] == INVALID_HANDLE_VALUE) return -(int)GetLastError();
    SECURITY_ATTRIBUTES security = {.nLength = sizeof security};
    DWORD               flags = how[1] & PRI_WIN_OVERLAPPED ? FILE_FLAG_OVERLAPPED : 0;
    /* The attributes: so that it can be asked about, and what it is about can be changed. */
    ends[1] = CreateFileW(name, GENERIC_WRITE | FILE_READ_ATTRIBUTES, 0, &security, OPEN_EXISTING,
                          flags | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS, NULL);
    if (ends[1] != INVALID_HANDLE_VALUE) return 0;
    int error = -(int)GetLastError();
    CloseHandle(ends[0]);
    return error;
}

int pri_win_pipe(const pro_env *env, HANDLE ends[2], const pri_win_end how[2])
{
    int error = pri_os_fault(env, "pipe");
    for (int i = 0; i < TRIES && !error; i++) {
        error = try_pipe(ends, how);
        if (!error) return 0;
        if (error == -ERROR_PIPE_BUSY && i + 1 < TRIES) error = 0;
    }
    return error;
}

/* ---- Pairs ---------------------------------------------------------------------------------- */

static int answer(int result) { return result == SOCKET_ERROR ? -WSAGetLastError() : 0; }

static SOCKET socket_of(int type, DWORD flags)
{
    return WSASocketW(AF_INET, type, 0, NULL, 0, flags | WSA_FLAG_NO_HANDLE_INHERIT);
}

/* To a port of the system's choice, at home; where that is. */
static int bind_home(SOCKET s, struct sockaddr_in *at)
{
    int len = sizeof *at;
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int error = answer(bind(s, (struct sockaddr *)at, len));
    return error ? error : answer(getsockname(s, (struct sockaddr *)at, &len));
}

static int connect_to(SOCKET s, const struct sockaddr_in *to)
{
    return answer(connect(s, (const struct sockaddr *)to, sizeof *to));
}

/* The listener's next connection, if it comes from there; INVALID_SOCKET: it does not, and is gone. */
static SOCKET accept_from(SOCKET listener, const struct sockaddr_in *from)
{
    struct sockaddr_in peer;
    int                len = sizeof peer;
    SOCKET             s = accept(listener, (struct sockaddr *)&peer, &len);
    if (s == INVALID_SOCKET) return s;
    if (peer.sin_port == from->sin_port && peer.sin_addr.s_addr == from->sin_addr.s_addr) return s;
    closesocket(s);
    WSASetLastError(WSAECONNABORTED);
    return INVALID_SOCKET;
}

/* Listens for one at a time, so one that is in the way is accepted first. */
static int connect_pair(SOCKET listener, SOCKET ends[2])
{
    struct sockaddr_in at, from;
    int                error = bind_home(listener, &at);
    if (!error) error = answer(listen(listener, TRIES));
    if (!error) error = bind_home(ends[0], &from);
    if (!error) error = connect_to(ends[0], &at);
    for (int i = 0; i < TRIES && !error && ends[1] == INVALID_SOCKET; i++)
        ends[1] = accept_from(listener, &from);
    if (!error && ends[1] == INVALID_SOCKET) error = -WSAGetLastError();
    return error;
}

/* What an accepted socket is, its listener was. */
static int stream_pair(SOCKET ends[2], const pri_win_end how[2])
{
    SOCKET listener = socket_of(SOCK_STREAM, how[1] & PRI_WIN_OVERLAPPED ? WSA_FLAG_OVERLAPPED : 0);
    int    error = listener == INVALID_SOCKET ? -WSAGetLastError() : 0;
    ends[0] = socket_of(SOCK_STREAM, how[0] & PRI_WIN_OVERLAPPED ? WSA_FLAG_OVERLAPPED : 0);
    ends[1] = INVALID_SOCKET;
    if (!error && ends[0] == INVALID_SOCKET) error = -WSAGetLastError();
    if (listener != INVALID_SOCKET && ends[0] != INVALID_SOCKET)
        error = connect_pair(listener, ends);
    if (listener != INVALID_SOCKET) closesocket(listener);
    return error;
}

static int datagram_pair(SOCKET ends[2])
{
    struct sockaddr_in at[2];
    int                error = 0;
    for (int i = 0; i < 2; i++) ends[i] = socket_of(SOCK_DGRAM, WSA_FLAG_OVERLAPPED);
    for (int i = 0; i < 2 && !error; i++)
        error = ends[i] == INVALID_SOCKET ? -WSAGetLastError() : bind_home(ends[i], &at[i]);
    for (int i = 0; i < 2 && !error; i++) error = connect_to(ends[i], &at[!i]);
    return error;
}

int pri_win_socket_pair(const pro_env *env, int what, SOCKET ends[2], const pri_win_end how[2])
{
    int error = pri_os_fault(env, "socketpair");
    if (!error) error = pri_win_sockets();
    if (error) return error;
    error = what == PRI_OS_DATAGRAM_PAIR ? datagram_pair(ends) : stream_pair(ends, how);
    for (int i = 0; i < 2 && error; i++)
        if (ends[i] != INVALID_SOCKET) closesocket(ends[i]);
    return error;
}

int pri_win_pair(const pro_env *env, int what, int nonblocking, intptr_t fds[2])
{
    static const pri_win_end both[2] = {PRI_WIN_OVERLAPPED, PRI_WIN_OVERLAPPED};
    HANDLE                   pipes[2];
    SOCKET                   sockets[2];
    (void)nonblocking; /* overlapped calls do not ask */
    int error = what == PRI_OS_PIPE ? pri_win_pipe(env, pipes, both)
                                    : pri_win_socket_pair(env, what, sockets, both);
    for (int i = 0; i < 2 && !error; i++)
        fds[i] = what == PRI_OS_PIPE ? (intptr_t)pipes[i] : (intptr_t)sockets[i];
    return error;
}

/* ---- What there is -------------------------------------------------------------------------- */

bool pri_win_is_socket(HANDLE handle)
{
    int type, len = sizeof type;
    return pri_win_sockets() == 0 &&
           getsockopt((SOCKET)handle, SOL_SOCKET, SO_TYPE, (char *)&type, &len) == 0;
}

/* A handle that may do less than both is one-way. */
static int access_of(HANDLE handle)
{
    PUBLIC_OBJECT_BASIC_INFORMATION basic;
    NTSTATUS status = NtQueryObject(handle, ObjectBasicInformation, &basic, sizeof basic, NULL);
    if (status != 0) return -(int)RtlNtStatusToDosError(status);
    return (basic.GrantedAccess & FILE_READ_DATA ? 0 : PRI_OS_NO_READ) |
           (basic.GrantedAccess & FILE_WRITE_DATA ? 0 : PRI_OS_NO_WRITE);
}

int pri_win_look(const pro_env *env, intptr_t fd)
{
    BY_HANDLE_FILE_INFORMATION info;
    HANDLE                     handle = (HANDLE)fd;
    int                        fault = pri_os_fault(env, "GetFileType");
    if (fault) return fault;
    SetLastError(0);
    DWORD type = GetFileType(handle);
    if (type == FILE_TYPE_UNKNOWN)
        return -(int)(GetLastError() ? GetLastError() : ERROR_INVALID_HANDLE);
    if (type == FILE_TYPE_PIPE && pri_win_is_socket(handle)) return 0;
    if (type == FILE_TYPE_DISK && GetFileInformationByHandle(handle, &info) &&
        info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)
        return -ERROR_DIRECTORY_NOT_SUPPORTED;
    int access = access_of(handle);
    if (access < 0) return access;
    return PRI_OS_PLAIN | access | (type == FILE_TYPE_DISK ? PRI_OS_FILE : 0);
}

/* A handle that its process has no more may be another thing's by now, or no number of one at all. */
intptr_t pri_win_standard(const pro_env *env, int which, int *is_shared)
{
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE             copy, self = GetCurrentProcess(), handle = GetStdHandle(names[which]);
    int                fault = pri_os_fault(env, "open");
    *is_shared = 0;
    if (fault) return fault;
    if (!handle || handle == INVALID_HANDLE_VALUE) return -ERROR_INVALID_HANDLE;
    if (pri_win_is_socket(handle)) return pri_os_net.duplicate(env, (intptr_t)handle);
    if (!DuplicateHandle(self, handle, self, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return -(int)GetLastError();
    return (intptr_t)copy;
}
