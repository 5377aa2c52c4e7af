/* From a file to a socket. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/copy.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* Since Linux 6.5; older ones say no, and a thread does the work. */
int pri_os_is_cached(intptr_t file, uint64_t offset, size_t len)
{
    struct {
        uint64_t offset, len;
    } range = {offset, len};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } stat = {0};
    const uint64_t page = 4096;
    if (syscall(SYS_cachestat, (int)file, &range, &stat, 0u) != 0) return 0;
    uint64_t pages = (offset + len + page - 1) / page - offset / page;
    return stat.cached * (uint64_t)sysconf(_SC_PAGESIZE) >= pages * page;
}

/* Through memory: what the system will not send from where it is. */
static int64_t through_buffer(intptr_t socket, intptr_t file, uint64_t offset, size_t len)
{
    char    buf[16384];
    ssize_t n = pread((int)file, buf, len < sizeof buf ? len : sizeof buf, (off_t)offset);
    if (n <= 0) return n < 0 ? -errno : 0;
    n = send((int)socket, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

static int64_t send_some(intptr_t socket, intptr_t file, uint64_t offset, size_t len)
{
    off_t   at = (off_t)offset;
    ssize_t n;
    do n = sendfile((int)socket, (int)file, &at, len);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EINVAL || errno == ENOSYS))
        return through_buffer(socket, file, offset, len);
    return n < 0 ? -errno : n;
}

/* sendfile has no flags: so the socket must be non-blocking for the moment, where it is not, and a SIGPIPE
 * is taken back before anybody sees it. */
int64_t pri_os_send_file(intptr_t socket, intptr_t file, uint64_t offset, size_t len)
{
    sigset_t pipe, before, pending;
    int      flags = fcntl((int)socket, F_GETFL);
    if (flags < 0) return -errno;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    if (!(flags & O_NONBLOCK)) fcntl((int)socket, F_SETFL, flags | O_NONBLOCK);

    int64_t n = send_some(socket, file, offset, len);

    if (!(flags & O_NONBLOCK)) fcntl((int)socket, F_SETFL, flags);
    if (n == -EPIPE && !sigismember(&before, SIGPIPE) && sigpending(&pending) == 0 &&
        sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n;
}
