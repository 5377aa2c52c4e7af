/* What every server here shares, in C and in C++: its options, how it says that it is ready, and the
 * work that a message may ask for.
 *
 * Each file of this directory is one echo server: what comes on a connection goes back on it, as a
 * stream of bytes.  It takes
 *
 *     --buffer N         bytes of a buffer (a connection's own, or the common one)
 *     --connections N    how many will come: for those who make pools beforehand
 *     and words of its own
 *
 * listens on a free port of 127.0.0.1, prints "port N", and serves until it is killed.  All set
 * TCP_NODELAY, and none has limits, deadlines or an orderly end: they are the same little program, once
 * by each model.
 *
 * A piece of the stream that begins with b or c makes its handler work before it answers: "b5000." blocks its
 * thread for 5000 us, "c5000." computes for as much time of the CPU. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline bool peer_word(int argc, char **argv, const char *word)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], word) == 0) return true;
    return false;
}

static inline unsigned peer_number(int argc, char **argv, const char *name, unsigned otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return (unsigned)strtoul(argv[i + 1], NULL, 10);
    return otherwise;
}

static inline unsigned peer_buffer(int argc, char **argv)
{
    return peer_number(argc, argv, "--buffer", 4096);
}

static inline unsigned peer_connections(int argc, char **argv)
{
    return peer_number(argc, argv, "--connections", 1000);
}

static inline void peer_die(const char *what)
{
    perror(what);
    exit(1);
}

/* Called before anything is opened, so that as many connections as the system allows find room. */
static inline void peer_begin(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void peer_ready(unsigned port)
{
    printf("port %u\n", port);
    fflush(stdout);
}

/* ---- for those who open their sockets by hand ------------------------------------------------- */

static inline unsigned peer_port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t          len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) peer_die("getsockname");
    return ntohs(address.sin_port);
}

static inline int peer_listen(int flags)
{
    struct sockaddr_in address;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, SOMAXCONN) != 0)
        peer_die("listen");
    return fd;
}

static inline void peer_nodelay(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- work ----------------------------------------------------------------------------------- */

static inline bool peer_is_work(const char *piece)
{
    return __builtin_expect(piece[0] == 'b' || piece[0] == 'c', 0);
}

static inline uint64_t peer_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* By the CPU's time and not by the wall's: who is preempted has not computed. */
static inline void peer_compute(uint64_t ns)
{
    uint64_t end = peer_clock(CLOCK_THREAD_CPUTIME_ID) + ns;
    while (peer_clock(CLOCK_THREAD_CPUTIME_ID) < end) {}
}

/* Does what the piece asks for, if it does. */
static inline void peer_work(const char *piece)
{
    if (!peer_is_work(piece)) return;
    uint64_t us = strtoul(piece + 1, NULL, 10);
    if (piece[0] == 'c') {
        peer_compute(us * 1000);
    } else {
        struct timespec rest;
        rest.tv_sec = (time_t)(us / 1000000);
        rest.tv_nsec = (long)(us % 1000000 * 1000);
        nanosleep(&rest, NULL);
    }
}

#endif
