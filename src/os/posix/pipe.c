/* Streams that are no sockets: pipes, terminals, devices, files; and the standard streams.
 *
 * The blocking mode belongs to the open file, which standard streams share with other processes: a shell
 * finds its terminal non-blocking when the program is gone, and reports errors.  So a terminal, a pipe or a
 * device is opened once more, by its name under /proc, which makes an open file of our own.  Not so:
 *
 *     a file      its position is shared on purpose ("(a; b) > file"), and it never blocks: duplicated
 *     a socket    cannot be opened, and each call says by itself that it does not wait: duplicated
 *
 * Where it may not be opened (a pipe or a terminal of another user, no /proc) it is duplicated too, and is
 * shared: each call has to see to it that it does not wait.
 *
 * Writing to a pipe without a reader raises SIGPIPE, and there is no flag against it but on the newest
 * kernels (RWF_NOSIGNAL); elsewhere the signal is blocked for the call, and taken away if it came. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "os/posix/posix.h"

enum { RWF_NOSIGNAL_BIT = 0x100 }; /* Linux 6.18 */

static int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

/* Past AddressSanitizer: transfer.c. */
#if defined(PROACTOR_CHECKED) && defined(SYS_readv)
#define readv(fd, vecs, count) syscall(SYS_readv, fd, vecs, count)
#define preadv2(fd, vecs, count, at, flags)                                                        \
    syscall(SYS_preadv2, fd, vecs, (long)(count), (long)(at), (long)(at), flags)
#endif

/* ---- Making and looking --------------------------------------------------------------------- */

int pri_posix_pair(const pro_env *env, int what, int nonblocking, intptr_t fds[2])
{
    int made[2];
    int fault = pri_os_fault(env, what == PRI_OS_PIPE ? "pipe" : "socketpair");
    if (fault) return fault;
    int type = what == PRI_OS_DATAGRAM_PAIR ? SOCK_DGRAM : SOCK_STREAM;
    type |= SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
    int error = what == PRI_OS_PIPE ? pipe2(made, O_CLOEXEC | O_NONBLOCK)
                                    : socketpair(AF_UNIX, type, 0, made);
    if (error) return -errno;
    fds[0] = made[0];
    fds[1] = made[1];
    return 0;
}

int pri_posix_look(const pro_env *env, intptr_t fd)
{
    struct stat st;
    int         fault = pri_os_fault(env, "fstat");
    if (fault) return fault;
    if (fstat((int)fd, &st) != 0) return -errno;
    if (S_ISSOCK(st.st_mode)) return 0;
    if (S_ISDIR(st.st_mode)) return -EISDIR;
    int flags = fcntl((int)fd, F_GETFL);
    if (flags < 0) return -errno;
    int mode = flags & O_ACCMODE;
    int is_file = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
    return PRI_OS_PLAIN | (is_file ? PRI_OS_FILE : 0) | (mode == O_WRONLY ? PRI_OS_NO_READ : 0) |
           (mode == O_RDONLY ? PRI_OS_NO_WRITE : 0);
}

/* The other side of a pseudo-terminal: opening it makes a new one. */
static bool is_master(int fd)
{
    unsigned number;
    return ioctl(fd, TIOCGPTN, &number) == 0;
}

/* No more descriptors, or no memory: opening it by another way would meet the same. */
static bool is_exhausted(int64_t error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

intptr_t pri_posix_standard(const pro_env *env, int which, int *is_shared)
{
    char        path[40];
    struct stat st;
    int64_t     fd;
    int         fault = pri_os_fault(env, "open");
    *is_shared = 0;
    if (fault) return fault;
    int flags = fcntl(which, F_GETFL);
    if (flags < 0 || fstat(which, &st) != 0) return -errno;
    /* The process had none, and the number went to a ring, say. */
    if ((st.st_mode & S_IFMT) == 0) return -EBADF;
    if (!S_ISSOCK(st.st_mode) && !S_ISREG(st.st_mode)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", which);
        flags = (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
        fd = is_master(which) ? -EBUSY : answer(open(path, flags));
        if (fd >= 0 || is_exhausted(fd)) return (intptr_t)fd;
        *is_shared = 1;
    }
    return (intptr_t)answer(fcntl(which, F_DUPFD_CLOEXEC, 3));
}

/* ---- Reading and writing -------------------------------------------------------------------- */

static int at_most(size_t count) { return count < IOV_MAX ? (int)count : IOV_MAX; }

static bool is_ready(int fd, short events)
{
    struct pollfd look = {fd, events, 0};
    return poll(&look, 1, 0) > 0;
}

/* Does this answer mean that there is no such flag, or not for this kind of thing? */
static bool is_unknown(int64_t n) { return n == -EOPNOTSUPP || n == -ENOSYS || n == -EINVAL; }

/* Not to wait is asked of the call.  What cannot be asked so (a terminal) is looked at first: then it
 * waits only where somebody else was faster to take what was there. */
static int64_t read_shared(int fd, const struct iovec *pieces, int count)
{
    int64_t n = answer(preadv2(fd, pieces, count, -1, RWF_NOWAIT));
    if (!is_unknown(n)) return n;
    return is_ready(fd, POLLIN) ? answer(readv(fd, pieces, count)) : -EAGAIN;
}

int64_t pri_os_read(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count,
                    int is_shared)
{
    const struct iovec *pieces = (const struct iovec *)(const void *)vecs;
    int                 len = at_most(count);
    int64_t             n;
    do {
        int fault = pri_os_fault(env, "read");
        n = fault       ? fault
            : is_shared ? read_shared((int)fd, pieces, len)
                        : answer(readv((int)fd, pieces, len));
    } while (n == -EINTR);
    return n;
}

/* A terminal that is ready takes so much without waiting. */
static int64_t write_shared(int fd, const struct iovec *pieces, int count)
{
    enum { ROOM = 256 };
    int64_t n = answer(pwritev2(fd, pieces, count, -1, RWF_NOWAIT));
    if (!is_unknown(n)) return n;
    size_t len = pieces[0].iov_len < ROOM ? pieces[0].iov_len : ROOM;
    return is_ready(fd, POLLOUT) ? answer(write(fd, pieces[0].iov_base, len)) : -EAGAIN;
}

/* SIGPIPE is this thread's; one that was pending before stays so. */
static int64_t write_masked(int fd, const struct iovec *pieces, int count, int is_shared)
{
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    sigpending(&pending);
    int64_t n = is_shared ? write_shared(fd, pieces, count) : answer(writev(fd, pieces, count));
    if (n == -EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &(struct timespec){0}) < 0 && errno == EINTR) {}
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n;
}

static int64_t write_once(int fd, const struct iovec *pieces, int count, int flags)
{
    static atomic_bool is_refused; /* this kernel has no such flag, or this device no such call */
    int                is_shared = flags & PRI_OS_SHARED;
    bool               may_ask = !atomic_load_explicit(&is_refused, memory_order_relaxed);
    if (flags & PRI_OS_NOSIGNAL && may_ask && !is_shared) {
        int64_t n = answer(pwritev2(fd, pieces, count, -1, RWF_NOSIGNAL_BIT));
        if (!is_unknown(n)) return n;
        atomic_store_explicit(&is_refused, true, memory_order_relaxed);
    }
    return write_masked(fd, pieces, count, is_shared);
}

int64_t pri_os_write(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count, int flags)
{
    const struct iovec *pieces = (const struct iovec *)(const void *)vecs;
    int64_t             n;
    do {
        int fault = pri_os_fault(env, "write");
        n = fault ? fault : write_once((int)fd, pieces, at_most(count), flags);
    } while (n == -EINTR);
    return n;
}
