/* One attempt each at what an engine does with a socket: receive, send, accept, connect.
 *
 * The descriptor is non-blocking, so none of them waits.  EINTR is retried here (but for the plain
 * receive and send, see os.h), one from the environment too: it is asked again before each attempt, and
 * counts down. */
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/os.h"

_Static_assert(sizeof(pro_vec) == sizeof(struct iovec) &&
                   offsetof(pro_vec, base) == offsetof(struct iovec, iov_base) &&
                   offsetof(pro_vec, len) == offsetof(struct iovec, iov_len),
               "a vector of ours is one of the system's");

/* In a checked build the buffers of receives are poisoned for AddressSanitizer, which looks at what
 * the C library is given: past it. */
#if defined(PROACTOR_CHECKED) && defined(SYS_recvfrom) && defined(SYS_recvmsg)
#define recv(fd, buf, len, flags) syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL)
#define recvmsg(fd, message, flags) syscall(SYS_recvmsg, fd, message, flags)
#endif

/* What a call answered, in the form of os.h. */
static int64_t answer(ssize_t result) { return result < 0 ? -errno : result; }

/* ---- Data ----------------------------------------------------------------------------------- */

int64_t pri_os_recv(const pro_env *env, intptr_t fd, void *buf, size_t len)
{
    int fault = pri_os_fault(env, "recv");
    return fault ? fault : answer(recv((int)fd, buf, len, MSG_DONTWAIT));
}

int64_t pri_os_send(const pro_env *env, intptr_t fd, const void *buf, size_t len)
{
    int fault = pri_os_fault(env, "send");
    return fault ? fault : answer(send((int)fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static struct msghdr message_of(const pro_vec *vecs, size_t count)
{
    return (struct msghdr){
        .msg_iov = (struct iovec *)(uintptr_t)vecs,
        .msg_iovlen = count < IOV_MAX ? count : IOV_MAX, /* a short transfer is allowed */
    };
}

int64_t pri_os_recvv(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count)
{
    struct msghdr message = message_of(vecs, count);
    int64_t       n;
    do {
        int fault = pri_os_fault(env, "recvmsg");
        n = fault ? fault : answer(recvmsg((int)fd, &message, MSG_DONTWAIT));
    } while (n == -EINTR);
    return n;
}

int64_t pri_os_sendv(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count)
{
    struct msghdr message = message_of(vecs, count);
    int64_t       n;
    do {
        int fault = pri_os_fault(env, "sendmsg");
        n = fault ? fault : answer(sendmsg((int)fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
    } while (n == -EINTR);
    return n;
}

/* ---- Connections ---------------------------------------------------------------------------- */

intptr_t pri_os_accept(const pro_env *env, intptr_t fd, int nonblocking)
{
    int64_t made;
    do {
        int fault = pri_os_fault(env, "accept");
        int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
        made = fault ? fault : answer(accept4((int)fd, NULL, NULL, flags));
    } while (made == -EINTR);
    return (intptr_t)made;
}

int pri_os_connect(const pro_env *env, intptr_t fd, const void *name, size_t name_len)
{
    const struct sockaddr *address = name;
    socklen_t              len = (socklen_t)name_len;
    int                    fault;
    do fault = pri_os_fault(env, "connect");
    while (fault == -EINTR);
    if (fault) return fault;

    if (connect((int)fd, address, len) == 0) return 0;
    /* After an attempt that failed Linux answers the next one with this, once, and makes none. */
    if (errno == ECONNABORTED && connect((int)fd, address, len) == 0) return 0;
    if (errno == EAGAIN && address->sa_family == AF_UNIX) return -ECONNREFUSED; /* a full backlog */
    return errno == EINTR ? -EINPROGRESS : -errno; /* interrupted, it goes on all the same */
}
