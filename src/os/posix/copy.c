/* From a file to a socket, from a stream to another. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
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

/* Neither sendfile nor splice has a flag against SIGPIPE: it is taken back before anybody sees it, but for one
 * that was pending before.  Each is several sends inside: the signal also comes with bytes, of a call whose
 * first ones went and whose next ones did not. */
typedef struct quiet {
    sigset_t pipe, before;
    bool     was_pending;
} quiet;

static bool is_pending(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE);
}

static void quiet_begin(quiet *q)
{
    sigemptyset(&q->pipe);
    sigaddset(&q->pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &q->pipe, &q->before);
    q->was_pending = sigismember(&q->before, SIGPIPE) && is_pending();
}

/* n: what the call said that was to move len. */
static void quiet_end(const quiet *q, int64_t n, size_t len)
{
    bool may_have_come = n == -EPIPE || (n > 0 && (uint64_t)n < len);
    if (may_have_come && !q->was_pending && is_pending())
        sigtimedwait(&q->pipe, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &q->before, NULL);
}

/* Nor has sendfile one not to wait: so the socket must be non-blocking for the moment, where it is not. */
int64_t pri_os_send_file(intptr_t socket, intptr_t file, uint64_t offset, size_t len)
{
    quiet q;
    int   flags = fcntl((int)socket, F_GETFL);
    if (flags < 0) return -errno;
    quiet_begin(&q);
    if (!(flags & O_NONBLOCK)) fcntl((int)socket, F_SETFL, flags | O_NONBLOCK);

    int64_t n = send_some(socket, file, offset, len);

    if (!(flags & O_NONBLOCK)) fcntl((int)socket, F_SETFL, flags);
    quiet_end(&q, n, len);
    return n;
}

/* ---- Streams ---------------------------------------------------------------------------------- */

int pri_os_tube_open(const pro_env *env, intptr_t fds[2], size_t *size)
{
    int made[2];
    int fault = pri_os_fault(env, "pipe");
    if (fault) return fault;
    if (pipe2(made, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
    int room = fcntl(made[1], F_SETPIPE_SZ, PRI_OS_TUBE_SIZE); /* or what a user may have */
    if (room < 0) room = fcntl(made[1], F_GETPIPE_SZ);
    fds[0] = made[0];
    fds[1] = made[1];
    *size = room > 0 ? (size_t)room : 1;
    return 0;
}

void pri_os_tube_close(const intptr_t fds[2])
{
    close((int)fds[0]);
    close((int)fds[1]);
}

static int64_t answer(ssize_t result) { return result < 0 ? -errno : result; }

static int64_t move(const pro_env *env, intptr_t from, intptr_t to, size_t len)
{
    const unsigned flags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE;
    int64_t        n;
    do {
        int fault = pri_os_fault(env, "splice");
        n = fault ? fault : answer(splice((int)from, NULL, (int)to, NULL, len, flags));
    } while (n == -EINTR);
    return n;
}

int64_t pri_os_splice_in(const pro_env *env, intptr_t from, intptr_t pipe, size_t len)
{
    return move(env, from, pipe, len);
}

int64_t pri_os_splice_out(const pro_env *env, intptr_t pipe, intptr_t to, size_t len)
{
    quiet q;
    quiet_begin(&q);
    int64_t n = move(env, pipe, to, len);
    quiet_end(&q, n, len);
    return n;
}

int64_t pri_os_tube_drain(const pro_env *env, intptr_t pipe, void *buf, size_t len)
{
    const pro_vec all = {buf, len};
    return pri_os_read(env, pipe, &all, 1, 0);
}
