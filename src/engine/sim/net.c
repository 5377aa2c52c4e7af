/* The synchronous network calls, on the sockets of the world.
 *
 * Answers are those of Linux.  What the system would count as descriptors is counted per node. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/sim/disk.h"
#include "engine/sim/net.h"

static sim_loop *loop_of(const pro_env *env) { return pri_loop_engine_state(env->ctx); }

static sim_socket *socket_of(const pro_env *env, intptr_t fd)
{
    return pri_sim_socket_of_fd(loop_of(env)->world, fd);
}

static sim_open *file_of(const pro_env *env, intptr_t fd)
{
    const sim_disk *disk = loop_of(env)->node->disk;
    return disk ? pri_sim_open_of(disk, fd) : NULL;
}

static intptr_t net_open(const pro_env *env, int family, int datagram, int nonblocking)
{
    if (family == PRO_UNIX) return -PRI_SIM_EOPNOTSUPP;
    (void)nonblocking;
    int fault = pri_os_fault(env, "socket");
    if (fault) return fault;
    if (family != PRO_IPV4 && family != PRO_IPV6) return -PRI_SIM_EAFNOSUPPORT;
    sim_loop     *l = loop_of(env);
    pro_sim_node *node = l->node;
    if ((node->handles_max && node->handles >= node->handles_max) ||
        (!l->world->healed && pri_sim_strikes(l->world, &node->stream, PRO_SIM_HANDLES)))
        return -PRI_SIM_EMFILE;
    sim_socket *s = pri_sim_socket_new(l->world, node, family == PRO_IPV6);
    s->flags |= datagram ? SOCK_TAKEN | SOCK_DATAGRAM : SOCK_TAKEN;
    s->group_hops = 1;
    node->handles++;
    return PRI_SIM_FD_BASE + (intptr_t)s->id;
}

static int net_adopt(const pro_env *env, intptr_t fd, int nonblocking)
{
    (void)nonblocking;
    int fault = pri_os_fault(env, "fcntl");
    if (fault) return fault;
    if (fd >= PRI_SIM_FILES) return file_of(env, fd) ? 0 : -PRI_SIM_EBADF;
    return socket_of(env, fd) ? 0 : -PRI_SIM_EBADF; /* real descriptors have no place here */
}

static int net_look(const pro_env *env, intptr_t fd)
{
    const sim_open   *file = file_of(env, fd);
    const sim_socket *s = socket_of(env, fd);
    if (s) return pri_sim_look(s);
    if (!file) return -PRI_SIM_EBADF;
    uint32_t access = file->flags & (PRO_FILE_READ | PRO_FILE_WRITE);
    int      what = PRI_OS_PLAIN | PRI_OS_FILE;
    if (access == PRO_FILE_WRITE) what |= PRI_OS_NO_READ;
    if (!(access & PRO_FILE_WRITE)) what |= PRI_OS_NO_WRITE;
    return what;
}

static bool overlaps(const sim_socket *a, const sim_socket *b)
{
    static const uint8_t any[16];
    bool a_any = memcmp(a->local.bytes, any, 16) == 0, b_any = memcmp(b->local.bytes, any, 16) == 0;
    if ((a->flags ^ b->flags) & SOCK_V6) { /* only a wildcard of both families meets the other */
        const sim_socket *six = a->flags & SOCK_V6 ? a : b;
        return (six == a ? a_any : b_any) && !(six->flags & SOCK_V6ONLY);
    }
    return a_any || b_any || memcmp(a->local.bytes, b->local.bytes, 16) == 0;
}

static bool is_in_use(pro_sim *w, const sim_socket *s)
{
    for (const sim_socket *o = pri_sim_socket(w, s->node->listeners); o;
         o = pri_sim_socket(w, o->next_free)) {
        if (o == s || o->local.port != s->local.port || !overlaps(o, s)) continue;
        if ((o->flags ^ s->flags) & SOCK_DATAGRAM) continue;
        if (!(o->flags & s->flags & SOCK_REUSE_PORT)) return true;
    }
    return false;
}

static int bind_to(pro_sim *w, sim_socket *s, const pro_address *address)
{
    pro_address before = s->local;
    bool        is_ip = address->family == PRO_IPV4 || address->family == PRO_IPV6;
    if (s->flags & SOCK_BOUND) return -PRI_SIM_EINVAL;
    if (!is_ip) return -PRI_SIM_EAFNOSUPPORT;
    if ((address->family == PRO_IPV6) != !!(s->flags & SOCK_V6)) return -PRI_SIM_EAFNOSUPPORT;
    if (!pri_sim_is_own(s->node, address)) return -PRI_SIM_EADDRNOTAVAIL;
    s->local = *address;
    if (s->local.port == 0) s->local.port = pri_sim_free_port(w, s->node);
    if (is_in_use(w, s)) {
        s->local = before;
        return -PRI_SIM_EADDRINUSE;
    }
    s->flags |= SOCK_BOUND;
    s->next_free = s->node->listeners;
    s->node->listeners = s->id;
    return 0;
}

static int net_bind(const pro_env *env, intptr_t fd, const pro_address *address)
{
    int fault = pri_os_fault(env, "bind");
    if (fault) return fault;
    sim_socket *s = socket_of(env, fd);
    return s ? bind_to(loop_of(env)->world, s, address) : -PRI_SIM_EBADF;
}

static int net_listen(const pro_env *env, intptr_t fd, int backlog)
{
    int fault = pri_os_fault(env, "listen");
    if (fault) return fault;
    sim_socket *s = socket_of(env, fd);
    if (!s) return -PRI_SIM_EBADF;
    if (s->flags & SOCK_DATAGRAM) return -PRI_SIM_EOPNOTSUPP;
    if (s->state != SOCK_OPEN) return -PRI_SIM_EINVAL;
    s->state = SOCK_LISTENING;
    s->backlog_max = backlog > 0 && backlog < 4096 ? (uint32_t)backlog : 4096;
    return 0;
}

static int net_shutdown(const pro_env *env, intptr_t fd)
{
    int fault = pri_os_fault(env, "shutdown");
    if (fault) return fault;
    sim_socket *s = socket_of(env, fd);
    if (!s) return -PRI_SIM_EBADF;
    if (s->state != SOCK_CONNECTED || s->flags & SOCK_BROKEN) return -PRI_SIM_ENOTCONN;
    if (s->flags & SOCK_SHUT) return 0;
    s->flags |= SOCK_SHUT;
    sim_socket *peer = pri_sim_socket(loop_of(env)->world, s->peer);
    if (peer) pri_sim_send_segment(loop_of(env)->world, peer, 0, SEG_FIN);
    return 0;
}

static void unlink_bound(pro_sim *w, sim_socket *s)
{
    uint32_t *at = &s->node->listeners;
    while (*at != s->id) at = &pri_sim_socket(w, *at)->next_free;
    *at = s->next_free;
}

void pri_sim_close(pro_sim *w, sim_socket *s, bool abortive)
{
    if (s->state == SOCK_LISTENING) pri_sim_stop_listening(w, s);
    if (s->flags & SOCK_BOUND) unlink_bound(w, s);
    if (s->flags & SOCK_READER) pri_sim_reader_gone(w, s);
    sim_socket *peer = pri_sim_socket(w, s->peer);
    if (peer) {
        bool is_unread = s->pipe.readable > 0;
        bool is_coming = s->pipe.stored > s->pipe.readable; /* finds nobody, later */
        peer->peer = PRI_SIM_NONE;
        peer->credit = s->pipe.limit > s->pipe.stored ? s->pipe.limit - s->pipe.stored : 0;
        if (!abortive && !is_unread && !(s->flags & SOCK_SHUT))
            pri_sim_send_segment(w, peer, 0, SEG_FIN);
        if (abortive || is_unread || is_coming) pri_sim_send_segment(w, peer, 0, SEG_RST);
    }
    if (s->flags & SOCK_TAKEN) s->node->handles--;
    pri_sim_socket_free(w, s);
}

static void net_close(const pro_env *env, intptr_t fd, int abortive)
{
    sim_socket *s = socket_of(env, fd);
    if (file_of(env, fd))
        pri_sim_close_file(loop_of(env)->node->disk, (uint32_t)(fd - PRI_SIM_FILES));
    if (!s) return;
    if (s->step[0] || s->step[1]) pri_abort("sim: a socket is closed with a step outstanding");
    pri_sim_close(loop_of(env)->world, s, abortive && !(s->flags & SOCK_PAIR));
}

static int net_local(const pro_env *env, intptr_t fd, pro_address *address)
{
    int fault = pri_os_fault(env, "getsockname");
    if (fault) return fault;
    const sim_socket *s = socket_of(env, fd);
    if (!s) return -PRI_SIM_EBADF;
    if (s->flags & SOCK_PAIR) return -PRI_SIM_EAFNOSUPPORT;
    *address = s->flags & SOCK_DATAGRAM ? pri_sim_datagram_local(s) : s->local;
    return 0;
}

static int net_peer(const pro_env *env, intptr_t fd, pro_address *address)
{
    int fault = pri_os_fault(env, "getpeername");
    if (fault) return fault;
    const sim_socket *s = socket_of(env, fd);
    if (!s) return -PRI_SIM_EBADF;
    if (s->state != SOCK_CONNECTED) return -PRI_SIM_ENOTCONN;
    if (s->flags & SOCK_PAIR) return -PRI_SIM_EAFNOSUPPORT;
    *address = s->remote;
    return 0;
}

static int net_associate(const pro_env *env, intptr_t fd, const pro_address *address)
{
    int fault = pri_os_fault(env, "connect");
    if (fault) return fault;
    sim_socket *s = socket_of(env, fd);
    return s ? pri_sim_associate(loop_of(env)->world, s, address) : -PRI_SIM_EBADF;
}

static int net_set(const pro_env *env, intptr_t fd, int option, int value)
{
    int fault = pri_os_fault(env, "setsockopt");
    if (fault) return fault;
    sim_socket *s = socket_of(env, fd);
    if (!s) return -PRI_SIM_EBADF;
    if (s->flags & SOCK_PAIR) return -PRI_SIM_EOPNOTSUPP;
    uint16_t flag = option == PRI_OPT_REUSE_PORT ? SOCK_REUSE_PORT
                    : option == PRI_OPT_V6ONLY   ? SOCK_V6ONLY
                                                 : 0;
    if (flag) {
        s->flags = (uint16_t)(value ? s->flags | flag : s->flags & ~flag);
        return 0;
    }
    if (option > PRO_OPT_REUSE_ADDRESS)
        return s->flags & SOCK_DATAGRAM ? pri_sim_datagram_set(s, option % PRI_OPT_OF_IPV6, value)
                                        : -PRI_SIM_EOPNOTSUPP;
    if (option == PRO_OPT_REUSE_ADDRESS)
        s->reuse = value != 0;
    else
        s->options[option] = (uint32_t)value;
    return 0;
}

static int net_get(const pro_env *env, intptr_t fd, int option, int *value)
{
    int fault = pri_os_fault(env, "getsockopt");
    if (fault) return fault;
    const sim_socket *s = socket_of(env, fd);
    if (!s) return -PRI_SIM_EBADF;
    switch (option) {
    case PRI_OPT_REUSE_PORT: *value = !!(s->flags & SOCK_REUSE_PORT); break;
    case PRI_OPT_V6ONLY: *value = !!(s->flags & SOCK_V6ONLY); break;
    case PRO_OPT_REUSE_ADDRESS: *value = s->reuse; break;
    case PRO_OPT_SEND_BUFFER:
    case PRO_OPT_RECV_BUFFER:
        *value = s->options[option] ? (int)s->options[option] : 64 * 1024;
        break;
    default:
        if (option > PRO_OPT_REUSE_ADDRESS)
            return s->flags & SOCK_DATAGRAM
                       ? pri_sim_datagram_get(s, option % PRI_OPT_OF_IPV6, value)
                       : -PRI_SIM_EOPNOTSUPP;
        *value = (int)s->options[option];
        break;
    }
    return 0;
}

/* Names are those of nodes; several of one name are several addresses, in the order of their making.
 * localhost is the node itself. */
static int64_t net_lookup(const pro_env *env, const char *host, const char *service, int family,
                          pro_address *found, size_t max)
{
    const pro_sim_node *node = loop_of(env)->world->nodes;
    size_t              count = 0;
    pro_address         port;
    char                text[32];
    snprintf(text, sizeof text, "0.0.0.0:%.15s", service);
    if (pro_address_parse(&port, text)) return PRO_EINVAL;
    for (int f = PRO_IPV6; f >= PRO_IPV4 && strcmp(host, "localhost") == 0 && count < max; f--)
        if (family == PRO_FAMILY_NONE || family == f)
            found[count++] = pro_address_loopback((pro_family)f, port.port);
    for (; node && count < max; node = node->next) {
        if (strcmp(node->name, host) != 0) continue;
        if (family != PRO_FAMILY_NONE && family != node->family) continue;
        found[count] = (pro_address){.family = node->family, .port = port.port};
        memcpy(found[count++].bytes, node->bytes, sizeof node->bytes);
    }
    return count ? (int64_t)count : PRO_ENOENT;
}

const pri_net pri_sim_net = {
    .open = net_open,
    .adopt = net_adopt,
    .bind = net_bind,
    .listen = net_listen,
    .shutdown = net_shutdown,
    .close = net_close,
    .local = net_local,
    .peer = net_peer,
    .lookup = net_lookup,
    .look = net_look,
    .pair = pri_sim_pair,
    .set = net_set,
    .get = net_get,
    .associate = net_associate,
};

/* ---- Numbers ---------------------------------------------------------------------------------- */

static const struct {
    int ours, system;
} numbers[] = {
    {PRO_EMFILE, PRI_SIM_EMFILE},
    {PRO_EINVAL, PRI_SIM_EINVAL},
    {PRO_ECONNRESET, PRI_SIM_ECONNRESET},
    {PRO_ECONNREFUSED, PRI_SIM_ECONNREFUSED},
    {PRO_ECONNABORTED, PRI_SIM_ECONNABORTED},
    {PRO_ETIMEDOUT, PRI_SIM_ETIMEDOUT},
    {PRO_ENETUNREACH, PRI_SIM_NUMBER(ENETUNREACH, 10051)},
    {PRO_EHOSTUNREACH, PRI_SIM_EHOSTUNREACH},
    {PRO_ENOTCONN, PRI_SIM_ENOTCONN},
    {PRO_EISCONN, PRI_SIM_EISCONN},
    {PRO_EAFNOSUPPORT, PRI_SIM_EAFNOSUPPORT},
    {PRO_EPIPE, PRI_SIM_EPIPE},
    {PRO_EMSGSIZE, PRI_SIM_NUMBER(EMSGSIZE, 10040)},
    {PRO_EACCES, PRI_SIM_NUMBER(EACCES, 10013)},
    {PRO_EBADF, PRI_SIM_EBADF},
    {PRO_ENOENT, PRI_SIM_NUMBER(ENOENT, 2)},
    {PRO_EEXIST, PRI_SIM_NUMBER(EEXIST, 80)},
    {PRO_ENOTDIR, PRI_SIM_NUMBER(ENOTDIR, 267)},
    {PRO_EISDIR, PRI_SIM_NUMBER(EISDIR, 336)},
    {PRO_ENOTEMPTY, PRI_SIM_NUMBER(ENOTEMPTY, 145)},
    {PRO_ENOSPC, PRI_SIM_NUMBER(ENOSPC, 112)},
    {PRO_EROFS, PRI_SIM_NUMBER(EROFS, 19)},
    {PRO_EFBIG, PRI_SIM_NUMBER(EFBIG, 223)},
    {PRO_ENAMETOOLONG, PRI_SIM_NUMBER(ENAMETOOLONG, 206)},
    {PRO_ELOOP, PRI_SIM_NUMBER(ELOOP, 1921)},
    {PRO_EPERM, PRI_SIM_NUMBER(EPERM, 1314)},
    {PRO_EBUSY, PRI_SIM_NUMBER(EBUSY, 170)},
    {PRO_EIO, PRI_SIM_NUMBER(EIO, 1117)},
};

int pri_sim_system_error(int error)
{
    if (!error) return 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].ours == error) return numbers[i].system;
    return 0;
}
