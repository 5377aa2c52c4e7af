/* lib/raw.h on Windows. */
#include "lib/raw.h"

#include "lib/test.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#define PEER_CHECK(call, succeeded)                                                                \
    do {                                                                                           \
        if (!(succeeded)) FAIL("peer: %s: error %d", call, WSAGetLastError());                     \
    } while (0)

static void to_system(const pro_address *address, struct sockaddr_in *in)
{
    memset(in, 0, sizeof *in);
    in->sin_family = AF_INET;
    in->sin_port = htons(address->port);
    memcpy(&in->sin_addr, address->bytes, 4);
}

static SOCKET stream_socket(void)
{
    WSADATA data;
    PEER_CHECK("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data) == 0); /* counted, never ended */
    SOCKET s = WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED);
    PEER_CHECK("WSASocketW", s != INVALID_SOCKET);
    return s;
}

static peer listen_backlog(pro_address *address, int backlog)
{
    struct sockaddr_in in;
    int                len = sizeof in;
    SOCKET             s = stream_socket();
    *address = pro_address_loopback(PRO_IPV4, 0);
    to_system(address, &in);
    PEER_CHECK("bind", bind(s, (struct sockaddr *)&in, sizeof in) == 0);
    PEER_CHECK("listen", listen(s, backlog) == 0);
    PEER_CHECK("getsockname", getsockname(s, (struct sockaddr *)&in, &len) == 0);
    address->port = ntohs(in.sin_port);
    return (peer)s;
}

peer raw_listen(pro_address *address) { return listen_backlog(address, 1024); }

peer raw_accept(peer listener)
{
    SOCKET s = accept((SOCKET)listener, NULL, NULL);
    PEER_CHECK("accept", s != INVALID_SOCKET);
    return (peer)s;
}

peer raw_connect(const pro_address *address)
{
    struct sockaddr_in in;
    SOCKET             s = stream_socket();
    to_system(address, &in);
    PEER_CHECK("connect", connect(s, (struct sockaddr *)&in, sizeof in) == 0);
    return (peer)s;
}

void raw_pair(peer pair[2])
{
    pro_address address;
    peer        listener = raw_listen(&address);
    pair[0] = raw_connect(&address);
    pair[1] = raw_accept(listener);
    raw_close(listener);
}

static bool is_broken(int error)
{
    return error == WSAECONNRESET || error == WSAECONNABORTED || error == WSAESHUTDOWN;
}

int64_t raw_read(peer p, void *buf, size_t len)
{
    int n = recv((SOCKET)p, buf, len < INT32_MAX ? (int)len : INT32_MAX, 0);
    if (n < 0 && is_broken(WSAGetLastError())) return -1;
    PEER_CHECK("recv", n >= 0);
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
        int n = send((SOCKET)p, bytes, len < INT32_MAX ? (int)len : INT32_MAX, 0);
        if (n < 0 && is_broken(WSAGetLastError())) return false;
        PEER_CHECK("send", n >= 0);
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

void raw_shutdown(peer p) { PEER_CHECK("shutdown", shutdown((SOCKET)p, SD_SEND) == 0); }

void raw_close(peer p) { closesocket((SOCKET)p); }

static void set(peer p, int option, const void *value, int len)
{
    PEER_CHECK("setsockopt", setsockopt((SOCKET)p, SOL_SOCKET, option, value, len) == 0);
}

void raw_reset(peer p)
{
    struct linger now = {1, 0};
    set(p, SO_LINGER, &now, sizeof now);
    closesocket((SOCKET)p);
}

void raw_buffers(peer p, int send_len, int recv_len)
{
    if (send_len > 0) set(p, SO_SNDBUF, &send_len, sizeof send_len);
    if (recv_len > 0) set(p, SO_RCVBUF, &recv_len, sizeof recv_len);
}

/* A listener with a full backlog: Linux, under Wine, does not answer; Windows refuses, and tries again
 * for a while before it says so. */
bool raw_silence_begin(peer_silence *silence)
{
    struct sockaddr_in in;
    bool               silent = false;
    silence->listener = listen_backlog(&silence->address, 0);
    to_system(&silence->address, &in);
    for (int i = 0; i < 8; i++) {
        u_long on = 1;
        SOCKET s = stream_socket();
        silence->fillers[i] = (peer)s;
        ioctlsocket(s, FIONBIO, &on);
        if (connect(s, (struct sockaddr *)&in, sizeof in) == 0) continue;
        WSAPOLLFD poll_fd = {s, POLLOUT, 0};
        silent = WSAGetLastError() == WSAEWOULDBLOCK && WSAPoll(&poll_fd, 1, 10) == 0;
    }
    if (!silent) raw_silence_end(silence);
    return silent;
}

void raw_silence_end(peer_silence *silence)
{
    for (int i = 0; i < 8; i++) closesocket((SOCKET)silence->fillers[i]);
    closesocket((SOCKET)silence->listener);
}

pro_address raw_nobody(void)
{
    pro_address address;
    raw_close(listen_backlog(&address, 1));
    return address;
}
