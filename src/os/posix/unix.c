/* Unix sockets: names, who is there, and descriptors beside data.
 *
 * A name is text: a path, or "@" and an abstract name, which is no file and goes with its last socket.
 * In the system's form that is sun_path, where an abstract name begins with a NUL and ends with the
 * length of the whole. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "os/posix/posix.h"

enum { PATH_AT = offsetof(struct sockaddr_un, sun_path) };

_Static_assert(sizeof(struct sockaddr_un) <= PRI_OS_ADDRESS_SIZE, "a name has room");
_Static_assert(sizeof(((struct sockaddr_un *)NULL)->sun_path) < PRO_UNIX_NAME_MAX,
               "any name has room as text");
_Static_assert(CMSG_SPACE(PRO_HANDLES_MAX * sizeof(int)) <= PRI_OS_CONTROL_SIZE, "so do handles");

static int answer(int result) { return result < 0 ? -errno : result; }

/* ---- Names ---------------------------------------------------------------------------------- */

size_t pri_os_unix_out(const char *name, void *storage)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t             len = strlen(name);
    if (len == 0 || len >= sizeof address.sun_path + (name[0] == '@')) return 0;
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    else
        len++; /* with its NUL */
    memcpy(storage, &address, sizeof address);
    return PATH_AT + len;
}

size_t pri_os_unix_in(const void *storage, size_t len, char *buf, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    memcpy(&address, storage, len < sizeof address ? len : sizeof address);
    bool is_named = address.sun_family == AF_UNIX && len > PATH_AT;
    if (is_named && address.sun_path[0] == '\0') address.sun_path[0] = '@';
    int room = is_named ? (int)(len - PATH_AT) : 0;
    int n = snprintf(buf, size, "%.*s", room, address.sun_path);
    return n < 0 ? 0 : (size_t)n;
}

typedef int name_call(int fd, const struct sockaddr *address, socklen_t len);

static int by_name(const pro_env *env, const char *what, name_call *call, intptr_t fd,
                   const char *name)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    int                     fault = pri_os_fault(env, what);
    if (fault) return fault;
    size_t len = name ? pri_os_unix_out(name, &storage) : sizeof(struct sockaddr);
    if (len == 0) return -EINVAL;
    return answer(call((int)fd, (struct sockaddr *)&storage, (socklen_t)len));
}

int pri_posix_bind_unix(const pro_env *env, intptr_t fd, const char *name)
{
    return by_name(env, "bind", bind, fd, name);
}

int pri_posix_associate_unix(const pro_env *env, intptr_t fd, const char *name)
{
    return by_name(env, "connect", connect, fd, name);
}

int pri_posix_unix_name(const pro_env *env, intptr_t fd, int peer, char *buf, size_t size)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    socklen_t               len = sizeof storage;
    struct sockaddr        *address = (struct sockaddr *)&storage;
    int                     fault = pri_os_fault(env, peer ? "getpeername" : "getsockname");
    if (fault) return fault;
    int error =
        answer(peer ? getpeername((int)fd, address, &len) : getsockname((int)fd, address, &len));
    if (error) return error;
    if (storage.ss_family != AF_UNIX) return -EAFNOSUPPORT;
    pri_os_unix_in(&storage, len, buf, size);
    return 0;
}

int pri_posix_credentials(const pro_env *env, intptr_t fd, pro_credentials *who)
{
    struct ucred peer;
    socklen_t    len = sizeof peer;
    int          fault = pri_os_fault(env, "getsockopt");
    if (fault) return fault;
    if (getsockopt((int)fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) return -errno;
    if (peer.uid == (uid_t)-1) return -ENOTCONN; /* no Unix socket, or not connected */
    *who = (pro_credentials){.pid = peer.pid, .user = peer.uid, .group = peer.gid};
    return 0;
}

/* ---- Descriptors beside data ---------------------------------------------------------------- */

void pri_os_control_put(pri_os_message *m, const intptr_t *descriptors, size_t count)
{
    int fds[PRO_HANDLES_MAX];
    m->control_len = 0;
    if (count == 0) return;
    for (size_t i = 0; i < count; i++) fds[i] = (int)descriptors[i];
    struct cmsghdr header = {
        .cmsg_len = CMSG_LEN(count * sizeof(int)),
        .cmsg_level = SOL_SOCKET,
        .cmsg_type = SCM_RIGHTS,
    };
    memset(m->control, 0, sizeof m->control);
    memcpy(m->control, &header, sizeof header);
    memcpy((char *)m->control + CMSG_LEN(0), fds, count * sizeof(int));
    m->control_len = CMSG_SPACE(count * sizeof(int));
}

/* One that was taken is -1 in its place. */
intptr_t pri_os_control_take(pri_os_message *m)
{
    struct cmsghdr header;
    char          *control = (char *)m->control;
    for (size_t at = 0; at + CMSG_LEN(0) <= m->control_len; at += CMSG_ALIGN(header.cmsg_len)) {
        memcpy(&header, control + at, sizeof header);
        if (header.cmsg_len < CMSG_LEN(0)) break;
        if (header.cmsg_level != SOL_SOCKET || header.cmsg_type != SCM_RIGHTS) continue;
        for (size_t i = CMSG_LEN(0); i + sizeof(int) <= header.cmsg_len; i += sizeof(int)) {
            const int none = -1;
            int       fd;
            memcpy(&fd, control + at + i, sizeof fd);
            memcpy(control + at + i, &none, sizeof none);
            if (fd >= 0) return fd;
        }
    }
    return -1;
}
