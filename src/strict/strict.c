/* What a simulated program must not call: the time, the chance, the threads and the waiting of the real
 * world.  Each of these functions stands before the system's own, tells the world that runs (if one does)
 * who called, and goes on to the system's.
 *
 *     link with libproactor-strict.a, or LD_PRELOAD=libproactor-strict.so for a program on the shared library
 *
 * The linker takes this object when something in the program calls one of them, so that all are there.
 * Nothing in the library calls them while a simulated program runs; it says so with pro_sim_is_inside. */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <proactor/sim.h>

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort(); /* the system has it, or nobody could have called it */
    return found;
}

/* A function of this name that stands before the system's. */
#define BEFORE(what, type, name, parameters, arguments)                                            \
    type name parameters;                                                                          \
    type name parameters                                                                           \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        if (pro_sim_is_inside()) pro_sim_caught(what, #name, __builtin_return_address(0));         \
        if (!real) real = (type(*) parameters)next(#name);                                         \
        return real arguments;                                                                     \
    }

#define TIME "real time"
#define CHANCE "real random numbers"
#define THREAD "a real thread"
#define WAIT "a call that blocks"
#define NETWORK "a real socket"

/* The system declares some of them with attributes or as macros; here only the name counts. */
#undef timespec_get

/* ---- Time ----------------------------------------------------------------------------------- */

BEFORE(TIME, int, clock_gettime, (clockid_t id, struct timespec *t), (id, t))
BEFORE(TIME, int, gettimeofday, (struct timeval * t, void *zone), (t, zone))
BEFORE(TIME, time_t, time, (time_t * t), (t))
BEFORE(TIME, int, timespec_get, (struct timespec * t, int base), (t, base))
BEFORE(TIME, clock_t, clock, (void), ())

/* ---- Chance --------------------------------------------------------------------------------- */

BEFORE(CHANCE, ssize_t, getrandom, (void *buf, size_t len, unsigned flags), (buf, len, flags))
BEFORE(CHANCE, int, getentropy, (void *buf, size_t len), (buf, len))
BEFORE(CHANCE, int, rand, (void), ())
BEFORE(CHANCE, long, random, (void), ())
BEFORE(CHANCE, double, drand48, (void), ())
BEFORE(CHANCE, long, lrand48, (void), ())
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 36)
BEFORE(CHANCE, uint32_t, arc4random, (void), ())
BEFORE(CHANCE, uint32_t, arc4random_uniform, (uint32_t bound), (bound))
#endif

static int is_random_device(const char *path)
{
    return strcmp(path, "/dev/urandom") == 0 || strcmp(path, "/dev/random") == 0;
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *path, int flags, ...);
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (is_random_device(path) && pro_sim_is_inside())
        pro_sim_caught(CHANCE, path, __builtin_return_address(0));
    if (!real) real = (int (*)(const char *, int, ...))next("open");
    return real(path, flags, mode);
}

/* ---- Threads and processes -------------------------------------------------------------------- */

BEFORE(THREAD, int, pthread_create,
       (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg),
       (thread, attributes, run, arg))
BEFORE(THREAD, int, thrd_create, (thrd_t * thread, thrd_start_t run, void *arg), (thread, run, arg))
BEFORE("a real process", pid_t, fork, (void), ())

/* ---- Waiting ---------------------------------------------------------------------------------- */

BEFORE(WAIT, int, pthread_join, (pthread_t thread, void **result), (thread, result))
BEFORE(WAIT, unsigned, sleep, (unsigned seconds), (seconds))
BEFORE(WAIT, int, usleep, (useconds_t us), (us))
BEFORE(WAIT, int, nanosleep, (const struct timespec *t, struct timespec *left), (t, left))
BEFORE(WAIT, int, clock_nanosleep,
       (clockid_t id, int flags, const struct timespec *t, struct timespec *left),
       (id, flags, t, left))
BEFORE(WAIT, int, poll, (struct pollfd * fds, nfds_t count, int ms), (fds, count, ms))
BEFORE(WAIT, int, ppoll,
       (struct pollfd * fds, nfds_t count, const struct timespec *t, const sigset_t *mask),
       (fds, count, t, mask))
BEFORE(WAIT, int, select, (int count, fd_set *r, fd_set *w, fd_set *e, struct timeval *t),
       (count, r, w, e, t))
BEFORE(WAIT, int, epoll_wait, (int fd, struct epoll_event *events, int max, int ms),
       (fd, events, max, ms))
BEFORE(WAIT, int, pause, (void), ())
BEFORE(WAIT, pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags))
BEFORE(WAIT, int, getaddrinfo,
       (const char *node, const char *service, const struct addrinfo *hints,
        struct addrinfo **found),
       (node, service, hints, found))

/* ---- The network ------------------------------------------------------------------------------ */

BEFORE(NETWORK, int, socket, (int family, int type, int protocol), (family, type, protocol))
BEFORE(NETWORK, int, socketpair, (int family, int type, int protocol, int fds[2]),
       (family, type, protocol, fds))
BEFORE(NETWORK, int, connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len))
BEFORE(NETWORK, int, accept, (int fd, struct sockaddr *from, socklen_t *len), (fd, from, len))
BEFORE(NETWORK, ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))
BEFORE(NETWORK, ssize_t, send, (int fd, const void *buf, size_t len, int flags),
       (fd, buf, len, flags))

static int is_socket(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* Of files and terminals they are no matter of the world's. */
ssize_t read(int fd, void *buf, size_t len)
{
    static ssize_t (*real)(int fd, void *buf, size_t len);
    if (pro_sim_is_inside() && is_socket(fd))
        pro_sim_caught(NETWORK, "read", __builtin_return_address(0));
    if (!real) real = (ssize_t(*)(int, void *, size_t))next("read");
    return real(fd, buf, len);
}

ssize_t write(int fd, const void *buf, size_t len)
{
    static ssize_t (*real)(int fd, const void *buf, size_t len);
    if (pro_sim_is_inside() && is_socket(fd))
        pro_sim_caught(NETWORK, "write", __builtin_return_address(0));
    if (!real) real = (ssize_t(*)(int, const void *, size_t))next("write");
    return real(fd, buf, len);
}
