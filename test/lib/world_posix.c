/* lib/world.h for POSIX. */
#include "lib/world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/test.h"
#include "lib/world_sim.h"

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) < 0) FAIL("%s: errno %d", #call, errno);                                        \
    } while (0)

const char *t_path(const char *name)
{
    static atomic_int count;
    const char       *top = getenv("TMPDIR");
    char             *path = t_alloc(512);
    if (sim_path(name, path, 512)) return path;
    snprintf(path, 512, "%s/%d-%d-%s", top ? top : "/tmp", (int)getpid(),
             atomic_fetch_add(&count, 1), name);
    return path;
}

const char *t_path_in(const char *directory, const char *name)
{
    char *path = t_alloc(1024);
    snprintf(path, 1024, "%s/%s", directory, name);
    return path;
}

void t_make_directory(const char *path)
{
    if (!sim_make_directory(path)) MUST(mkdir(path, 0700));
}

void t_remove_directory(const char *path)
{
    if (!sim_remove_directory(path)) MUST(rmdir(path));
}

void t_rename(const char *from, const char *to)
{
    if (!sim_rename(from, to)) MUST(rename(from, to));
}

void t_remove(const char *path)
{
    if (!sim_remove(path)) MUST(unlink(path));
}

void t_write_file(const char *path, const char *text)
{
    if (sim_write_file(path, text)) return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    MUST(fd);
    t_write_fd(fd, text);
    close(fd);
}

intptr_t t_open(const char *path)
{
    intptr_t simulated;
    if (sim_open(path, &simulated)) return simulated;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(fd);
    return fd;
}

intptr_t t_pattern_file(const char *path, size_t len, unsigned key)
{
    intptr_t simulated;
    if (sim_pattern_file(path, len, key, &simulated)) return simulated;
    int   fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *bytes = t_alloc(len);
    MUST(fd);
    t_fill(bytes, len, key, 0);
    if (write(fd, bytes, len) != (ssize_t)len) FAIL("write: errno %d", errno);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return fd;
}

void t_touch(const char *path)
{
    MUST(chmod(path, 0644));
    MUST(chmod(path, 0600));
}

size_t t_read_all(intptr_t fd, char *buf, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read((int)fd, buf + len, size - len);
        if (n < 0 && errno == EINTR) continue;
        MUST(n);
        if (n == 0) break;
        len += (size_t)n;
    }
    return len;
}

void t_write_fd(intptr_t fd, const char *text)
{
    size_t len = strlen(text);
    if (write((int)fd, text, len) != (ssize_t)len) FAIL("write: errno %d", errno);
}

void t_close_fd(intptr_t fd)
{
    if (!sim_close_fd(fd)) MUST(close((int)fd));
}

bool t_pipe(intptr_t fds[2])
{
    int made[2];
    if (sim_is_here()) return false;
    MUST(pipe2(made, O_CLOEXEC));
    fds[0] = made[0];
    fds[1] = made[1];
    return true;
}

bool t_is_posix(void) { return true; }

const char *t_shell(void) { return "sh"; }

int t_signal(void) { return SIGTERM; }

void t_raise(void) { raise(t_signal()); }

bool t_has_children(void)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

bool t_has_pidfds(void)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

void t_steal_child(int64_t pid)
{
    pid_t got;
    do got = waitpid((pid_t)pid, NULL, 0);
    while (got < 0 && errno == EINTR);
    MUST(got);
}

void t_name_of_fd(intptr_t fd, char *buf, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", (int)fd);
    ssize_t n = readlink(path, buf, size - 1);
    MUST(n);
    buf[n] = 0;
}

void t_leak_fd(intptr_t fd, int number) { MUST(dup2((int)fd, number)); }

void t_odd_signals(bool odd)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(odd ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR2, odd ? SIG_IGN : SIG_DFL);
}

bool t_is_alive(int64_t pid) { return kill((pid_t)pid, 0) == 0 || errno == EPERM; }
