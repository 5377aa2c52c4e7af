/* The network as ops and the core see it: synchronous calls that never wait.
 *
 * Each call asks the environment before the system, but for those that undo: close (and what makes it
 * abortive) must happen whatever the weather, or a descriptor would leak.
 *
 * Where Windows means something else by the same name than POSIX:
 *   SO_REUSEADDR   lets a socket take a port that another one listens on.  What POSIX allows by it, a
 *                  port whose old connections are still fading, Windows always allows; its opposite is
 *                  SO_EXCLUSIVEADDRUSE.  So reuse_address is the inverse of that one, and a port in
 *                  use is an error either way.
 *   SO_REUSEPORT   does not exist: several listeners on one address, and to steer between them, is
 *                  not supported.
 *   IPV6_V6ONLY    is on for a new socket; here it is off, as on POSIX, unless asked for. */
#include <limits.h>

#include "os/os.h"
#include "os/win/pipe.h"

#include <mstcpip.h>
#include <mswsock.h>

#ifndef SIO_UDP_CONNRESET
#define SIO_UDP_CONNRESET _WSAIOW(IOC_VENDOR, 12)
#endif

#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE 3 /* ws2ipdef.h: since Windows 10, version 1709 */
#endif

/* What a call answered, in the form of os.h. */
static int answer(int result) { return result == SOCKET_ERROR ? -WSAGetLastError() : 0; }

/* ---- Winsock itself ------------------------------------------------------------------------- */

static BOOL CALLBACK startup(INIT_ONCE *once, void *result, void **context)
{
    (void)once;
    (void)context;
    WSADATA data;
    *(int *)result = -WSAStartup(MAKEWORD(2, 2), &data);
    return *(int *)result == 0; /* after a failure the next caller tries again */
}

int pri_win_sockets(void)
{
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    int              error = 0;
    InitOnceExecuteOnce(&once, startup, &error, NULL);
    return error;
}

/* ---- Options -------------------------------------------------------------------------------- */

static int set_int(const pro_env *env, intptr_t fd, int level, int name, int value)
{
    int fault = pri_os_fault(env, "setsockopt");
    if (fault) return fault;
    return answer(setsockopt((SOCKET)fd, level, name, (const char *)&value, sizeof value));
}

static int get_int(const pro_env *env, intptr_t fd, int level, int name, int *value)
{
    int fault = pri_os_fault(env, "getsockopt");
    if (fault) return fault;
    int len = sizeof *value;
    *value = 0; /* some answer with one byte */
    return answer(getsockopt((SOCKET)fd, level, name, (char *)value, &len));
}

/* Keep-alive has its own two functions: one of ours is two of the system's. */
static const struct {
    int option, level, name, inverse;
} options[] = {
    {PRO_OPT_NODELAY, IPPROTO_TCP, TCP_NODELAY, 0},
    {PRO_OPT_SEND_BUFFER, SOL_SOCKET, SO_SNDBUF, 0},
    {PRO_OPT_RECV_BUFFER, SOL_SOCKET, SO_RCVBUF, 0},
    {PRO_OPT_REUSE_ADDRESS, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1},
    {PRI_OPT_V6ONLY, IPPROTO_IPV6, IPV6_V6ONLY, 0},
    {PRO_OPT_BROADCAST, SOL_SOCKET, SO_BROADCAST, 0},
    {PRO_OPT_HOPS, IPPROTO_IP, IP_TTL, 0},
    {PRO_OPT_MULTICAST_HOPS, IPPROTO_IP, IP_MULTICAST_TTL, 0},
    {PRO_OPT_MULTICAST_LOOP, IPPROTO_IP, IP_MULTICAST_LOOP, 0},
    {PRI_OPT_OF_IPV6 + PRO_OPT_HOPS, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 0},
    {PRI_OPT_OF_IPV6 + PRO_OPT_MULTICAST_HOPS, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 0},
    {PRI_OPT_OF_IPV6 + PRO_OPT_MULTICAST_LOOP, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0},
    {PRI_OPT_OF_IPV6 + PRO_OPT_MULTICAST_INTERFACE, IPPROTO_IPV6, IPV6_MULTICAST_IF, 0},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

/* On systems before TCP_KEEPIDLE; there, how long it is cannot be read. */
static int set_keepalive_values(intptr_t fd, int seconds)
{
    ULONG                time_ms = seconds < INT_MAX / 1000 ? (ULONG)seconds * 1000 : INT_MAX;
    struct tcp_keepalive values = {.onoff = 1, .keepalivetime = time_ms, .keepaliveinterval = 1000};
    DWORD                len;
    return answer(WSAIoctl((SOCKET)fd, SIO_KEEPALIVE_VALS, &values, sizeof values, NULL, 0, &len,
                           NULL, NULL));
}

static int set_keepalive(const pro_env *env, intptr_t fd, int seconds)
{
    if (seconds == 0) return set_int(env, fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    int error = set_int(env, fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds); /* first: it may refuse */
    if (error == -WSAENOPROTOOPT) return set_keepalive_values(fd, seconds);
    return error ? error : set_int(env, fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static int get_keepalive(const pro_env *env, intptr_t fd, int *seconds)
{
    int is_on, error = get_int(env, fd, SOL_SOCKET, SO_KEEPALIVE, &is_on);
    if (error) return error;
    *seconds = 0;
    return is_on ? get_int(env, fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds) : 0;
}

/* Multicast goes by the interface's index, which stands in an address of 0.x.x.x. */
static int set_multicast_interface(const pro_env *env, intptr_t fd, int index)
{
    return set_int(env, fd, IPPROTO_IP, IP_MULTICAST_IF, (int)htonl((u_long)index));
}

static int net_set(const pro_env *env, intptr_t fd, int option, int value)
{
    if (option == PRO_OPT_KEEPALIVE) return set_keepalive(env, fd, value);
    if (option == PRO_OPT_MULTICAST_INTERFACE) return set_multicast_interface(env, fd, value);
    if (option == PRI_OPT_REUSE_PORT || option == PRI_OPT_STEER_BY_CPU)
        return value ? -WSAEOPNOTSUPP : 0;
    for (int i = 0; i < OPTIONS; i++) {
        if (options[i].option != option) continue;
        if (options[i].inverse) value = !value;
        return set_int(env, fd, options[i].level, options[i].name, value);
    }
    return -WSAEINVAL;
}

static int net_get(const pro_env *env, intptr_t fd, int option, int *value)
{
    if (option == PRO_OPT_KEEPALIVE) return get_keepalive(env, fd, value);
    for (int i = 0; i < OPTIONS; i++) {
        if (options[i].option != option) continue;
        int error = get_int(env, fd, options[i].level, options[i].name, value);
        if (options[i].inverse) *value = !*value;
        return error;
    }
    if (option == PRI_OPT_REUSE_PORT) return *value = 0;
    return option == PRO_OPT_MULTICAST_INTERFACE ? -WSAENOPROTOOPT : -WSAEINVAL;
}

/* Whether a receive fails when something that was sent found nobody: for a connected socket only, of the
 * others nobody could tell whom it was sent to. */
static void hear_unreachable(intptr_t fd, BOOL on)
{
    DWORD len;
    WSAIoctl((SOCKET)fd, SIO_UDP_CONNRESET, &on, sizeof on, NULL, 0, &len, NULL, NULL);
}

/* ---- Making and ending ---------------------------------------------------------------------- */

/* What is no socket says so, and is a handle of another kind. */
static void net_close(const pro_env *env, intptr_t fd, int abortive)
{
    (void)env;
    if (abortive) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt((SOCKET)fd, SOL_SOCKET, SO_LINGER, (const char *)&now, sizeof now);
    }
    if (closesocket((SOCKET)fd) == 0) return;
    int error = WSAGetLastError();
    if (error == WSAENOTSOCK || error == WSANOTINITIALISED) CloseHandle((HANDLE)fd);
}

static intptr_t net_open(const pro_env *env, int family, int datagram, int nonblocking)
{
    if (family == PRO_UNIX) return -WSAEOPNOTSUPP;
    int error = pri_os_fault(env, "socket");
    if (!error) error = pri_win_sockets();
    if (error) return error;
    if (family != PRO_IPV4 && family != PRO_IPV6) return -WSAEAFNOSUPPORT;
    DWORD  flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    SOCKET s =
        WSASocketW(family == PRO_IPV4 ? AF_INET : AF_INET6, datagram ? SOCK_DGRAM : SOCK_STREAM,
                   datagram ? IPPROTO_UDP : IPPROTO_TCP, NULL, 0, flags);
    if (s == INVALID_SOCKET) return -WSAGetLastError();
    u_long on = 1;
    if (family == PRO_IPV6) error = set_int(env, (intptr_t)s, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (datagram) hear_unreachable((intptr_t)s, 0);
    if (!error && nonblocking) error = answer(ioctlsocket(s, FIONBIO, &on));
    if (!error) return (intptr_t)s;
    net_close(env, (intptr_t)s, 0);
    return error;
}

/* The blocking mode means nothing to overlapped calls, but it is what was asked for.  What is no socket has
 * none, and may be a stream all the same. */
static int net_adopt(const pro_env *env, intptr_t fd, int nonblocking)
{
    int error = pri_os_fault(env, "ioctlsocket");
    if (!error) error = pri_win_sockets();
    if (error) return error;
    u_long on = nonblocking != 0;
    error = answer(ioctlsocket((SOCKET)fd, FIONBIO, &on));
    bool is_other = error && !pri_win_is_socket((HANDLE)fd);
    return is_other && GetFileType((HANDLE)fd) != FILE_TYPE_UNKNOWN ? 0 : error;
}

/* Another SOCKET of the same thing; what is no socket is refused. */
static intptr_t net_duplicate(const pro_env *env, intptr_t fd)
{
    WSAPROTOCOL_INFOW info;
    int               error = pri_os_fault(env, "WSADuplicateSocket");
    if (!error) error = pri_win_sockets();
    if (error) return error;
    if (WSADuplicateSocketW((SOCKET)fd, GetCurrentProcessId(), &info) != 0)
        return -WSAGetLastError();
    SOCKET s = WSASocketW(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &info, 0,
                          WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    return s == INVALID_SOCKET ? -WSAGetLastError() : (intptr_t)s;
}

static int net_bind(const pro_env *env, intptr_t fd, const pro_address *address)
{
    int fault = pri_os_fault(env, "bind");
    if (fault) return fault;
    struct sockaddr_storage storage;
    int                     len = (int)pri_os_address_out(address, &storage);
    if (len == 0) return -WSAEAFNOSUPPORT;
    return answer(bind((SOCKET)fd, (struct sockaddr *)&storage, len));
}

static int net_listen(const pro_env *env, intptr_t fd, int backlog)
{
    int fault = pri_os_fault(env, "listen");
    if (fault) return fault;
    return answer(listen((SOCKET)fd, backlog > 0 ? backlog : SOMAXCONN));
}

static int net_shutdown(const pro_env *env, intptr_t fd)
{
    int fault = pri_os_fault(env, "shutdown");
    if (fault) return fault;
    return answer(shutdown((SOCKET)fd, SD_SEND));
}

/* ---- Addresses ------------------------------------------------------------------------------ */

typedef int WSAAPI name_call(SOCKET s, struct sockaddr *address, int *len);

static int name_of(name_call *call, intptr_t fd, pro_address *address)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    int                     len = sizeof storage;
    if (call((SOCKET)fd, (struct sockaddr *)&storage, &len) != 0) return -WSAGetLastError();
    pri_os_address_in(address, &storage);
    return address->family == PRO_FAMILY_NONE ? -WSAEAFNOSUPPORT : 0;
}

static int net_local(const pro_env *env, intptr_t fd, pro_address *address)
{
    int fault = pri_os_fault(env, "getsockname");
    if (fault) return fault;
    return name_of(getsockname, fd, address);
}

static int net_peer(const pro_env *env, intptr_t fd, pro_address *address)
{
    int fault = pri_os_fault(env, "getpeername");
    if (fault) return fault;
    return name_of(getpeername, fd, address);
}

/* ---- Datagrams ------------------------------------------------------------------------------ */

static int net_associate(const pro_env *env, intptr_t fd, const pro_address *address)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC}; /* all zero: no peer any more */
    int                     fault = pri_os_fault(env, "connect");
    if (fault) return fault;
    int len = address ? (int)pri_os_address_out(address, &storage) : (int)sizeof(struct sockaddr);
    if (len == 0) return -WSAEAFNOSUPPORT;
    int error = answer(connect((SOCKET)fd, (struct sockaddr *)&storage, len));
    if (!error) hear_unreachable(fd, address != NULL);
    return error;
}

static int net_group(const pro_env *env, intptr_t fd, int join, const pro_address *group,
                     const pro_address *source, uint32_t interface_index)
{
    struct group_source_req of_source = {.gsr_interface = interface_index};
    struct group_req        of_all = {.gr_interface = interface_index};
    int                     level = group->family == PRO_IPV4 ? IPPROTO_IP : IPPROTO_IPV6;
    int                     fault = pri_os_fault(env, "setsockopt");
    if (fault) return fault;
    if (pri_os_address_out(group, &of_all.gr_group) == 0) return -WSAEAFNOSUPPORT;
    if (!source) {
        int name = join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP;
        return answer(setsockopt((SOCKET)fd, level, name, (const char *)&of_all, sizeof of_all));
    }
    if (source->family != group->family) return -WSAEAFNOSUPPORT;
    of_source.gsr_group = of_all.gr_group;
    pri_os_address_out(source, &of_source.gsr_source);
    int name = join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP;
    return answer(setsockopt((SOCKET)fd, level, name, (const char *)&of_source, sizeof of_source));
}

const pri_net pri_os_net = {
    .open = net_open,
    .adopt = net_adopt,
    .duplicate = net_duplicate,
    .bind = net_bind,
    .listen = net_listen,
    .shutdown = net_shutdown,
    .close = net_close,
    .local = net_local,
    .peer = net_peer,
    .lookup = pri_os_lookup,
    .set = net_set,
    .get = net_get,
    .associate = net_associate,
    .group = net_group,
    .pair = pri_win_pair,
    .look = pri_win_look,
    .standard = pri_win_standard,
};
