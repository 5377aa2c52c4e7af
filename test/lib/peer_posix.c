/* lib/raw.h on POSIX. */
#include "lib/raw.h"

#include "lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_CHECK(call, value)                                                                    \
    do {                                                                                           \
        if ((value) < 0) FAIL("peer: %s: %s", call, strerror(errno));                              \
    } while (0)

static void to_system(const pro_address *address, struct sockaddr_in *in)
{
    memset(in, 0, sizeof *in);
    in->sin_family = AF_INET;
    in->sin_port = htons(address->port);
    memcpy(&in->sin_addr, address->bytes, 4);
}

static int stream_socket(int flags)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    PEER_CHECK("socket", fd);
    return fd;
}

static peer listen_backlog(pro_address *address, int backlog)
{
    struct sockaddr_in in;
    socklen_t          len = sizeof in;
    int                fd = stream_socket(0);
    *address = pro_address_loopback(PRO_IPV4, 0);
    to_system(address, &in);
    PEER_CHECK("bind", bind(fd, (struct sockaddr *)&in, sizeof in));
    PEER_CHECK("listen", listen(fd, backlog));
    PEER_CHECK("getsockname", getsockname(fd, (struct sockaddr *)&in, &len));
    address->port = ntohs(in.sin_port);
    return fd;
}

peer raw_listen(pro_address *address) { return listen_backlog(address, 1024); }

peer raw_accept(peer listener)
{
    int fd;
    do fd = accept((int)listener, NULL, NULL);
    while (fd < 0 && errno == EINTR);
    PEER_CHECK("accept", fd);
    return fd;
}

/* A connect that a signal interrupted goes on by itself. */
static int finish_connect(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t     len = sizeof errno;
    while (poll(&p, 1, -1) < 0 && errno == EINTR) continue;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &errno, &len) < 0 || errno ? -1 : 0;
}

peer raw_connect(const pro_address *address)
{
    struct sockaddr_in in;
    int                fd = stream_socket(0);
    to_system(address, &in);
    int result = connect(fd, (struct sockaddr *)&in, sizeof in);
    if (result < 0 && errno == EINTR) result = finish_connect(fd);
    PEER_CHECK("connect", result);
    return fd;
}

void raw_pair(peer pair[2])
{
    int fds[2];
    PEER_CHECK("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    pair[0] = fds[0];
    pair[1] = fds[1];
}

int64_t raw_read(peer p, void *buf, size_t len)
{
    ssize_t n;
    do n = recv((int)p, buf, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == ECONNRESET || errno == EPIPE)) return -1;
    PEER_CHECK("recv", n);
    return n;
}

int64_t raw_read_exactly(peer p, void *buf, size_t len)
{
    size_t got = 0;
    while (got < len) {
        int64_t n = raw_read(p, (char *)buf + got, len - got);
        if (n < 0) return -1;
        if (n == 0) break;
        got += (size_t)n;
    }
    return (int64_t)got;
}

bool raw_write(peer p, const void *buf, size_t len)
{
    const char *bytes = buf;
    while (len > 0) {
        ssize_t n = send((int)p, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return false;
        PEER_CHECK("send", n);
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

void raw_shutdown(peer p) { PEER_CHECK("shutdown", shutdown((int)p, SHUT_WR)); }

void raw_close(peer p) { close((int)p); }

void raw_reset(peer p)
{
    struct linger now = {1, 0};
    PEER_CHECK("setsockopt", setsockopt((int)p, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close((int)p);
}

void raw_buffers(peer p, int send, int recv)
{
    if (send > 0)
        PEER_CHECK("setsockopt", setsockopt((int)p, SOL_SOCKET, SO_SNDBUF, &send, sizeof send));
    if (recv > 0)
        PEER_CHECK("setsockopt", setsockopt((int)p, SOL_SOCKET, SO_RCVBUF, &recv, sizeof recv));
}

/* A listener with a full backlog does not answer: fill it until a connect stays under way. */
bool raw_silence_begin(peer_silence *silence)
{
    struct sockaddr_in in;
    bool               silent = false;
    silence->listener = listen_backlog(&silence->address, 0);
    to_system(&silence->address, &in);
    for (int i = 0; i < 8; i++) {
        int fd = stream_socket(SOCK_NONBLOCK);
        silence->fillers[i] = fd;
        if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0) continue;
        struct pollfd poll_fd = {fd, POLLOUT, 0};
        silent = errno == EINPROGRESS && poll(&poll_fd, 1, 0) == 0;
    }
    if (!silent) raw_silence_end(silence);
    return silent;
}

void raw_silence_end(peer_silence *silence)
{
    for (int i = 0; i < 8; i++) close((int)silence->fillers[i]);
    close((int)silence->listener);
}

pro_address raw_nobody(void)
{
    pro_address address;
    raw_close(listen_backlog(&address, 1));
    return address;
}
