/* libevent, in both of the ways of its book: with --bufferevents an evbuffer is moved from the input to the
 * output of each connection; by default persistent events by hand, which is faster, and what the book has
 * for those who want to buffer by themselves. */
#include "peer.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

struct connection {
    struct event *readable, *writable;
    size_t        at, len; /* what waits to be sent */
    char          buf[];
};

static struct event_base *base;
static unsigned           buffer;
static bool               buffered;

/* ---- buffer events ---------------------------------------------------------------------------- */

static void on_input(struct bufferevent *stream, void *arg)
{
    (void)arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    const char      *first = (const char *)evbuffer_pullup(input, 1);
    if (first && peer_is_work(first)) {
        char   head[16];
        size_t len = (size_t)evbuffer_copyout(input, head, sizeof head - 1);
        head[len] = '\0';
        peer_work(head);
    }
    evbuffer_add_buffer(bufferevent_get_output(stream), input);
}

static void on_end(struct bufferevent *stream, short what, void *arg)
{
    (void)arg;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(stream);
}

static void serve_buffered(evutil_socket_t fd)
{
    struct bufferevent *stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!stream) peer_die("bufferevent_socket_new");
    bufferevent_setcb(stream, on_input, NULL, on_end, NULL);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

/* ---- events ----------------------------------------------------------------------------------- */

static void end(struct connection *c)
{
    evutil_socket_t fd = event_get_fd(c->readable);
    event_free(c->readable);
    event_free(c->writable);
    close(fd);
    free(c);
}

static void push(struct connection *c)
{
    ssize_t sent = send(event_get_fd(c->readable), c->buf + c->at, c->len - c->at, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(c);
        return;
    }
    if (sent > 0) c->at += (size_t)sent;
    if (c->at == c->len) {
        if (!event_pending(c->readable, EV_READ, NULL)) event_add(c->readable, NULL);
        return;
    }
    event_del(c->readable);
    event_add(c->writable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    push(arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct connection *c = arg;
    ssize_t            got = recv(fd, c->buf, buffer, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) end(c);
        return;
    }
    peer_work(c->buf);
    c->at = 0;
    c->len = (size_t)got;
    /* The common way is short: nothing to add, nothing to ask. */
    ssize_t sent = send(fd, c->buf, c->len, MSG_NOSIGNAL);
    if (sent == got) return;
    if (sent > 0) c->at = (size_t)sent;
    push(c);
}

static void serve(evutil_socket_t fd)
{
    struct connection *c = malloc(sizeof *c + buffer);
    if (!c) peer_die("malloc");
    c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(base, fd, EV_WRITE, on_writable, c);
    event_add(c->readable, NULL);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
                          struct sockaddr *address, int len, void *arg)
{
    (void)listener;
    (void)address;
    (void)len;
    (void)arg;
    peer_nodelay(fd);
    if (buffered)
        serve_buffered(fd);
    else
        serve(fd);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    peer_begin();
    buffer = peer_buffer(argc, argv);
    buffered = peer_word(argc, argv, "--bufferevents");
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    base = event_base_new_with_config(config);
    if (!base) peer_die("event_base_new");
    struct evconnlistener *listener = evconnlistener_new_bind(
        base, on_connection, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOMAXCONN,
        (struct sockaddr *)&address, sizeof address);
    if (!listener) peer_die("evconnlistener_new_bind");
    peer_ready(peer_port_of(evconnlistener_get_fd(listener)));
    return event_base_dispatch(base);
}
