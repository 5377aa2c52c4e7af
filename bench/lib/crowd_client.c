/* A client of a crowd: blocking sockets, by hand, in batches.
 *
 * A batch is connected, then a message is sent on each of it, then each is waited for: so the server
 * has accepted them before the next batch comes, and no backlog overflows.  A message carries the
 * number of its connection and of its round, and what comes back must be that.
 *
 * Failures are answered in one line.  A server that does not answer is noticed by who started us:
 * nothing here has a time limit. */
#include "crowd.h"

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct message {
    char     text[48];
    uint32_t number, round;
};

struct client {
    const struct crowd_client *crowd;
    int                        fd; /* to who started us */
    int                       *sockets;
    unsigned                   held; /* so many, the first ones */
    unsigned                   round;
    unsigned                   spare; /* ports of the current address that were used as such */
};

static bool is_stopped(const struct client *c)
{
    return atomic_load_explicit(&c->crowd->board->stop, memory_order_relaxed);
}

/* ---- connecting -------------------------------------------------------------------------------- */

static struct sockaddr_in source(const struct client *c, unsigned number)
{
    uint32_t host =
        INADDR_LOOPBACK - 1 + ((uint32_t)c->crowd->port << 8) + 1 + number / CROWD_PORTS;
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port =
                                    htons((uint16_t)(CROWD_PORT_FIRST + number % CROWD_PORTS)),
                                .sin_addr.s_addr = htonl(host)};
}

/* Somebody who listens on a port at every address has it here too: take another then. */
static void bind_source(struct client *c, int fd, unsigned number)
{
    struct sockaddr_in from = source(c, number);
    if (number % CROWD_PORTS == 0) c->spare = 0;
    while (bind(fd, (struct sockaddr *)&from, sizeof from) != 0) {
        if (errno != EADDRINUSE) crowd_fail(c->fd, "bind: %s", strerror(errno));
        if (c->spare == CROWD_PORTS_SPARE) crowd_fail(c->fd, "no port is free for a connection");
        from.sin_port = htons((uint16_t)(CROWD_PORT_FIRST + CROWD_PORTS + c->spare++));
    }
}

static int connect_one(struct client *c, unsigned number)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(c->crowd->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) crowd_fail(c->fd, "socket: %s, after %u of a process", strerror(errno), c->held);
    bind_source(c, fd, number);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        crowd_fail(c->fd, "connect: %s, after %u of a process", strerror(errno), c->held);
    return fd;
}

/* ---- a message there and back ------------------------------------------------------------------ */

static struct message message_of(const struct client *c, unsigned at)
{
    struct message m = {
        .text = "one of a crowd", .number = c->crowd->first + at, .round = c->round};
    return m;
}

static void echo(struct client *c, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct message m = message_of(c, i);
        if (send(c->sockets[i], &m, sizeof m, MSG_NOSIGNAL) != sizeof m)
            crowd_fail(c->fd, "send: %s", strerror(errno));
    }
    for (unsigned i = from; i < to; i++) {
        struct message m = message_of(c, i), back;
        ssize_t        got = recv(c->sockets[i], &back, sizeof back, MSG_WAITALL);
        if (got < 0) crowd_fail(c->fd, "recv: %s", strerror(errno));
        if (got != sizeof back) crowd_fail(c->fd, "connection %u was closed", m.number);
        if (memcmp(&m, &back, sizeof m) != 0)
            crowd_fail(c->fd, "connection %u got the message of %u", m.number, back.number);
    }
    atomic_fetch_add(&c->crowd->board->echoed, to - from);
}

/* ---- commands ---------------------------------------------------------------------------------- */

static unsigned end_of_batch(const struct client *c, unsigned from, unsigned end)
{
    return end - from < c->crowd->batch ? end : from + c->crowd->batch;
}

static unsigned connect_all(struct client *c)
{
    while (c->held < c->crowd->count && !is_stopped(c)) {
        unsigned from = c->held, to = end_of_batch(c, from, c->crowd->count);
        for (; c->held < to; c->held++)
            c->sockets[c->held] = connect_one(c, c->crowd->first + c->held);
        echo(c, from, to);
        atomic_fetch_add(&c->crowd->board->connected, to - from);
    }
    return c->held;
}

static unsigned echo_all(struct client *c)
{
    unsigned at = 0;
    for (c->round++; at < c->held && !is_stopped(c);) {
        unsigned to = end_of_batch(c, at, c->held);
        echo(c, at, to);
        at = to;
    }
    return at;
}

static unsigned close_all(struct client *c)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    unsigned            held = c->held;
    for (; c->held > 0; c->held--) {
        int fd = c->sockets[c->held - 1];
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(fd);
    }
    return held;
}

void crowd_client(int fd, void *arg)
{
    struct client c = {.crowd = arg, .fd = fd};
    c.sockets = malloc(c.crowd->count * sizeof *c.sockets);
    if (!c.sockets) crowd_fail(fd, "no memory");
    for (;;) {
        switch (crowd_next_command(fd)) {
        case CROWD_CONNECT: crowd_say(fd, connect_all(&c), ""); break;
        case CROWD_ECHO: crowd_say(fd, echo_all(&c), ""); break;
        case CROWD_CLOSE: crowd_say(fd, close_all(&c), ""); break;
        case CROWD_COUNT:
        case CROWD_QUIT: free(c.sockets); return;
        }
    }
}
