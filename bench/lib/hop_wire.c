/* The sockets of the hop program, connected and non-blocking, and a buffer for each end.
 * All or nothing: a failed init leaves nothing behind. */
#include "hop.h"

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* Room for several messages, so that no variant ever meets a short send and the comparison
 * stays one of equal calls. */
static int tune_tcp(int fd, unsigned size)
{
    if (set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0) return -1;
    if (size <= 4096) return 0;
    return set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)size * 4);
}

static int tcp_listen(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    int       fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)address, sizeof *address) == 0 && listen(fd, 16) == 0 &&
        getsockname(fd, (struct sockaddr *)address, &len) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Connects while still blocking, then makes both ends non-blocking. */
static int tcp_pair(int pair[2], unsigned size)
{
    struct sockaddr_in address;
    int                one = -1, other = -1, listener = tcp_listen(&address);
    if (listener < 0) return -1;
    one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one < 0 || connect(one, (struct sockaddr *)&address, sizeof address) != 0) goto close_all;
    other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (other < 0 || tune_tcp(one, size) != 0 || tune_tcp(other, size) != 0) goto close_all;
    close(listener);
    pair[0] = one;
    pair[1] = other;
    return 0;

close_all:;
    int saved = errno;
    close(listener);
    if (one >= 0) close(one);
    if (other >= 0) close(other);
    errno = saved;
    return -1;
}

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static int connect_pair(const struct hop_shape *shape, int pair[2])
{
    if (shape->transport == HOP_UNIX)
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
    if (tcp_pair(pair, shape->size) != 0) return -1;
    if (set_nonblocking(pair[0]) == 0 && set_nonblocking(pair[1]) == 0) return 0;
    int saved = errno;
    close(pair[0]);
    close(pair[1]);
    errno = saved;
    return -1;
}

/* A cache line between two buffers keeps their ends from sharing one; the odd stride keeps big
 * ones off the same sets. */
static int allocate(struct hop_wire *wire)
{
    wire->stride = ((size_t)wire->shape.size + 63) / 64 * 64 + 64;
    wire->fd = malloc(wire->ends_len * sizeof *wire->fd);
    wire->memory = aligned_alloc(64, wire->stride * wire->ends_len);
    if (!wire->fd || !wire->memory) return -1;
    memset(wire->memory, 'x', wire->stride * wire->ends_len); /* and so the pages are there */
    for (unsigned end = 0; end < wire->ends_len; end++) wire->fd[end] = -1;
    return 0;
}

int hop_wire_init(struct hop_wire *wire, const struct hop_shape *shape, char *why, size_t why_size)
{
    *wire = (struct hop_wire){.shape = *shape};
    wire->ends_len = shape->pairs * 2;
    if (allocate(wire) != 0) {
        snprintf(why, why_size, "no memory for %u ends of %u bytes", wire->ends_len, shape->size);
        goto free_all;
    }
    for (unsigned end = 0; end < wire->ends_len; end += 2) {
        if (connect_pair(shape, &wire->fd[end]) == 0) continue;
        snprintf(why, why_size, "%s pair %u of %u: %s", hop_transport_name(shape->transport),
                 end / 2 + 1, shape->pairs, strerror(errno));
        wire->fd[end] = wire->fd[end + 1] = -1;
        goto free_all;
    }
    return 0;

free_all:
    hop_wire_fini(wire);
    return -1;
}

unsigned char *hop_wire_buf(const struct hop_wire *wire, unsigned end)
{
    return wire->memory + wire->stride * end;
}

void hop_wire_kick(const struct hop_wire *wire)
{
    for (unsigned end = 0; end < wire->ends_len; end += 2) {
        ssize_t sent = send(wire->fd[end], hop_wire_buf(wire, end), wire->shape.size, MSG_NOSIGNAL);
        if (sent != (ssize_t)wire->shape.size)
            bench_die("first message on pair %u: sent %zd of %u", end / 2, sent, wire->shape.size);
    }
}

void hop_wire_fini(struct hop_wire *wire)
{
    for (unsigned end = 0; wire->fd && end < wire->ends_len; end++)
        if (wire->fd[end] >= 0) close(wire->fd[end]);
    free(wire->fd);
    free(wire->memory);
    *wire = (struct hop_wire){.ends_len = 0};
}
