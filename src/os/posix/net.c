/* The network as ops and the core see it: synchronous calls that never wait.
 *
 * Each call asks the environment before the system, but for those that undo: close (and what makes it
 * abortive) must happen whatever the weather, or a descriptor would leak. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/os.h"
#include "os/posix/posix.h"

/* What a call answered, in the form of os.h. */
static int answer(int result) { return result < 0 ? -errno : result; }

/* ---- Making and ending ---------------------------------------------------------------------- */

static intptr_t net_open(const pro_env *env, int family, int datagram, int nonblocking)
{
    int fault = pri_os_fault(env, "socket");
    if (fault) return fault;
    int domain = family == PRO_IPV4 ? AF_INET : family == PRO_IPV6 ? AF_INET6 : AF_UNIX;
    if (domain == AF_UNIX && family != PRO_UNIX) return -EAFNOSUPPORT;
    int type = datagram ? SOCK_DGRAM : SOCK_STREAM;
    type |= SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
    return answer(socket(domain, type, 0));
}

static int net_adopt(const pro_env *env, intptr_t fd, int nonblocking)
{
    int fault = pri_os_fault(env, "fcntl");
    if (fault) return fault;
    int flags = fcntl((int)fd, F_GETFL);
    if (flags < 0) return -errno;
    nonblocking |= pri_posix_look(env, fd) > 0; /* no socket: no call on it says so by itself */
    int wanted = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (wanted == flags) return 0;
    fault = pri_os_fault(env, "fcntl");
    if (fault) return fault;
    return answer(fcntl((int)fd, F_SETFL, wanted));
}

static intptr_t net_duplicate(const pro_env *env, intptr_t fd)
{
    int fault = pri_os_fault(env, "fcntl");
    if (fault) return fault;
    return answer(fcntl((int)fd, F_DUPFD_CLOEXEC, 0));
}

static int net_bind(const pro_env *env, intptr_t fd, const pro_address *address)
{
    int fault = pri_os_fault(env, "bind");
    if (fault) return fault;
    struct sockaddr_storage storage;
    size_t                  len = pri_os_address_out(address, &storage);
    if (len == 0) return -EAFNOSUPPORT;
    return answer(bind((int)fd, (struct sockaddr *)&storage, (socklen_t)len));
}

static int net_listen(const pro_env *env, intptr_t fd, int backlog)
{
    int fault = pri_os_fault(env, "listen");
    if (fault) return fault;
    return answer(listen((int)fd, backlog > 0 ? backlog : INT_MAX)); /* the system has its limit */
}

static int net_shutdown(const pro_env *env, intptr_t fd)
{
    int fault = pri_os_fault(env, "shutdown");
    if (fault) return fault;
    return answer(shutdown((int)fd, SHUT_WR));
}

static void net_close(const pro_env *env, intptr_t fd, int abortive)
{
    (void)env;
    if (abortive) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt((int)fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close((int)fd); /* not again after EINTR: the number may be somebody else's by then */
}

/* ---- Addresses ------------------------------------------------------------------------------ */

typedef int name_call(int fd, struct sockaddr *restrict address, socklen_t *restrict len);

static int name_of(name_call *call, intptr_t fd, pro_address *address)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    socklen_t               len = sizeof storage;
    if (call((int)fd, (struct sockaddr *)&storage, &len) != 0) return -errno;
    pri_os_address_in(address, &storage);
    return address->family == PRO_FAMILY_NONE ? -EAFNOSUPPORT : 0;
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

/* ---- Options -------------------------------------------------------------------------------- */

static int set_int(const pro_env *env, intptr_t fd, int level, int name, int value)
{
    int fault = pri_os_fault(env, "setsockopt");
    if (fault) return fault;
    return answer(setsockopt((int)fd, level, name, &value, sizeof value));
}

static int get_int(const pro_env *env, intptr_t fd, int level, int name, int *value)
{
    int fault = pri_os_fault(env, "getsockopt");
    if (fault) return fault;
    socklen_t len = sizeof *value;
    return answer(getsockopt((int)fd, level, name, value, &len));
}

/* Keep-alive has its own two functions: one of ours is two of the system's. */
static const struct {
    int option, level, name;
} options[] = {
    {PRO_OPT_NODELAY, IPPROTO_TCP, TCP_NODELAY},
    {PRO_OPT_SEND_BUFFER, SOL_SOCKET, SO_SNDBUF},
    {PRO_OPT_RECV_BUFFER, SOL_SOCKET, SO_RCVBUF},
    {PRO_OPT_REUSE_ADDRESS, SOL_SOCKET, SO_REUSEADDR},
    {PRI_OPT_REUSE_PORT, SOL_SOCKET, SO_REUSEPORT},
    {PRI_OPT_V6ONLY, IPPROTO_IPV6, IPV6_V6ONLY},
    {PRO_OPT_BROADCAST, SOL_SOCKET, SO_BROADCAST},
    {PRO_OPT_HOPS, IPPROTO_IP, IP_TTL},
    {PRO_OPT_MULTICAST_HOPS, IPPROTO_IP, IP_MULTICAST_TTL},
    {PRO_OPT_MULTICAST_LOOP, IPPROTO_IP, IP_MULTICAST_LOOP},
    {PRI_OPT_OF_IPV6 + PRO_OPT_HOPS, IPPROTO_IPV6, IPV6_UNICAST_HOPS},
    {PRI_OPT_OF_IPV6 + PRO_OPT_MULTICAST_HOPS, IPPROTO_IPV6, IPV6_MULTICAST_HOPS},
    {PRI_OPT_OF_IPV6 + PRO_OPT_MULTICAST_LOOP, IPPROTO_IPV6, IPV6_MULTICAST_LOOP},
    {PRI_OPT_OF_IPV6 + PRO_OPT_MULTICAST_INTERFACE, IPPROTO_IPV6, IPV6_MULTICAST_IF},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

static int set_keepalive(const pro_env *env, intptr_t fd, int seconds)
{
    if (seconds == 0) return set_int(env, fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    int error = set_int(env, fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds); /* first: it may refuse */
    return error ? error : set_int(env, fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static int get_keepalive(const pro_env *env, intptr_t fd, int *seconds)
{
    int is_on, error = get_int(env, fd, SOL_SOCKET, SO_KEEPALIVE, &is_on);
    if (error) return error;
    *seconds = 0;
    return is_on ? get_int(env, fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds) : 0;
}

/* Which of count listening sockets of a reuse-port group takes a connection: A = CPU mod count. */
static int set_steering(const pro_env *env, intptr_t fd, uint32_t count)
{
    struct sock_filter code[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_CPU)},
        {BPF_ALU | BPF_MOD | BPF_K, 0, 0, count},
        {BPF_RET | BPF_A, 0, 0, 0},
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    int               fault = pri_os_fault(env, "setsockopt");
    if (fault) return fault;
    return answer(
        setsockopt((int)fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program));
}

/* By its index; IPv6 takes it as a plain number. */
static int set_multicast_interface(const pro_env *env, intptr_t fd, int index)
{
    struct ip_mreqn by_index = {.imr_ifindex = index};
    int             fault = pri_os_fault(env, "setsockopt");
    if (fault) return fault;
    return answer(setsockopt((int)fd, IPPROTO_IP, IP_MULTICAST_IF, &by_index, sizeof by_index));
}

static int net_set(const pro_env *env, intptr_t fd, int option, int value)
{
    if (option == PRO_OPT_KEEPALIVE) return set_keepalive(env, fd, value);
    if (option == PRI_OPT_STEER_BY_CPU) return set_steering(env, fd, (uint32_t)value);
    if (option == PRO_OPT_MULTICAST_INTERFACE) return set_multicast_interface(env, fd, value);
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].option == option)
            return set_int(env, fd, options[i].level, options[i].name, value);
    return -EINVAL;
}

static int net_get(const pro_env *env, intptr_t fd, int option, int *value)
{
    if (option == PRO_OPT_KEEPALIVE) return get_keepalive(env, fd, value);
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].option == option)
            return get_int(env, fd, options[i].level, options[i].name, value);
    return option == PRO_OPT_MULTICAST_INTERFACE ? -ENOPROTOOPT : -EINVAL;
}

/* ---- Datagrams ------------------------------------------------------------------------------ */

/* With nobody: for a connection a reset, which has no way to fail, and on which the end of zero-copy sends
 * depends (core/hold.c). */
static int net_associate(const pro_env *env, intptr_t fd, const pro_address *address)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    int                     fault = address ? pri_os_fault(env, "connect") : 0;
    if (fault) return fault;
    size_t len = address ? pri_os_address_out(address, &storage) : sizeof(struct sockaddr);
    if (len == 0) return -EAFNOSUPPORT;
    return answer(connect((int)fd, (struct sockaddr *)&storage, (socklen_t)len));
}

static int net_group(const pro_env *env, intptr_t fd, int join, const pro_address *group,
                     const pro_address *source, uint32_t interface_index)
{
    struct group_source_req of_source = {.gsr_interface = interface_index};
    struct group_req        of_all = {.gr_interface = interface_index};
    int                     level = group->family == PRO_IPV4 ? IPPROTO_IP : IPPROTO_IPV6;
    int                     fault = pri_os_fault(env, "setsockopt");
    if (fault) return fault;
    if (pri_os_address_out(group, &of_all.gr_group) == 0) return -EAFNOSUPPORT;
    if (!source) {
        int name = join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP;
        return answer(setsockopt((int)fd, level, name, &of_all, sizeof of_all));
    }
    if (source->family != group->family) return -EAFNOSUPPORT;
    of_source.gsr_group = of_all.gr_group;
    pri_os_address_out(source, &of_source.gsr_source);
    int name = join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP;
    return answer(setsockopt((int)fd, level, name, &of_source, sizeof of_source));
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
    .bind_unix = pri_posix_bind_unix,
    .associate_unix = pri_posix_associate_unix,
    .unix_name = pri_posix_unix_name,
    .credentials = pri_posix_credentials,
    .pair = pri_posix_pair,
    .look = pri_posix_look,
    .standard = pri_posix_standard,
};
