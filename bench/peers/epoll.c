/* A reactor by hand: level-triggered epoll, one wait for many events, then receive and send at once.
 *
 * Each connection has a buffer of its own, as the contenders that must name one beforehand; with --shared
 * all have one in common, which only a reactor can: the bytes are there when it takes the buffer, and gone
 * when it returns.  What the kernel does not take at once is kept by the connection, and waits for EPOLLOUT
 * in place of EPOLLIN. */
#include "peer.h"

#include <errno.h>
#include <sys/epoll.h>

enum { EVENTS = 256 };

struct connection {
    int    fd;
    size_t at, len; /* what waits to be sent */
    char  *rest;    /* that, where the buffer is shared */
    char   buf[];
};

static unsigned buffer;
static char    *shared;
static int      set;

static void watch(struct connection *c, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(set, how, c->fd, &event) != 0) peer_die("epoll_ctl");
}

static void end(struct connection *c)
{
    close(c->fd);
    free(c->rest);
    free(c);
}

static void keep(struct connection *c, const char *buf, size_t at, size_t len)
{
    if (shared) {
        c->rest = malloc(len - at);
        if (!c->rest) peer_die("malloc");
        memcpy(c->rest, buf + at, len - at);
        len -= at;
        at = 0;
    }
    c->at = at;
    c->len = len;
    watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

static void on_readable(struct connection *c)
{
    char   *buf = shared ? shared : c->buf;
    ssize_t got = recv(c->fd, buf, buffer, 0);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        end(c);
        return;
    }
    peer_work(buf);
    ssize_t sent = send(c->fd, buf, (size_t)got, MSG_NOSIGNAL);
    if (sent == got) return;
    if (sent < 0 && errno != EAGAIN)
        end(c);
    else
        keep(c, buf, sent < 0 ? 0 : (size_t)sent, (size_t)got);
}

static void on_writable(struct connection *c)
{
    const char *from = shared ? c->rest : c->buf;
    ssize_t     sent = send(c->fd, from + c->at, c->len - c->at, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) end(c);
        return;
    }
    c->at += (size_t)sent;
    if (c->at < c->len) return;
    free(c->rest);
    c->rest = NULL;
    c->at = c->len = 0;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void on_connections(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = malloc(sizeof *c + (shared ? 0 : buffer));
        if (!c) peer_die("malloc");
        *c = (struct connection){.fd = fd};
        peer_nodelay(fd);
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENTS];
    peer_begin();
    buffer = peer_buffer(argc, argv);
    if (peer_word(argc, argv, "--shared")) shared = malloc(buffer);
    int                listener = peer_listen(SOCK_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) != 0) peer_die("epoll");
    peer_ready(peer_port_of(listener));
    for (;;) {
        int len = epoll_wait(set, events, EVENTS, -1);
        for (int i = 0; i < len; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                on_connections(listener);
            else if (c->len > 0)
                on_writable(c);
            else
                on_readable(c);
        }
    }
}
