/* The hop by hand on epoll: level-triggered, one wait for many events, then recv and send at
 * once. No error is expected here; each one ends the program with its name. */
#include "hop.h"

#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 256 };

struct end {
    int            fd;
    unsigned       got; /* bytes of the current message so far */
    unsigned char *buf;
};

struct raw_epoll {
    struct hop_wire    wire;
    int                epfd;
    struct end        *ends;
    struct epoll_event events[EVENTS_MAX];
};

static void teardown(void *state)
{
    struct raw_epoll *r = state;
    if (r->epfd >= 0) close(r->epfd);
    hop_wire_fini(&r->wire);
    free(r->ends);
    free(r);
}

static int watch(struct raw_epoll *r, unsigned i)
{
    struct end *end = &r->ends[i];
    *end = (struct end){.fd = r->wire.fd[i], .buf = hop_wire_buf(&r->wire, i)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    return epoll_ctl(r->epfd, EPOLL_CTL_ADD, end->fd, &event);
}

static int register_ends(struct raw_epoll *r)
{
    r->epfd = epoll_create1(EPOLL_CLOEXEC);
    r->ends = calloc(r->wire.ends_len, sizeof *r->ends);
    if (r->epfd < 0 || !r->ends) return -1;
    for (unsigned i = 0; i < r->wire.ends_len; i++)
        if (watch(r, i) != 0) return -1;
    return 0;
}

static void *setup(const struct hop_shape *shape, char *why, size_t why_size)
{
    struct raw_epoll *r = calloc(1, sizeof *r);
    if (!r) bench_die("out of memory");
    r->epfd = -1;
    if (hop_wire_init(&r->wire, shape, why, why_size) != 0) {
        free(r);
        return NULL;
    }
    if (register_ends(r) != 0) {
        snprintf(why, why_size, "epoll: %s", strerror(errno));
        teardown(r);
        return NULL;
    }
    hop_wire_kick(&r->wire);
    return r;
}

/* Returns 1 if a whole message arrived and went back. */
static unsigned serve(struct end *end, unsigned size)
{
    ssize_t n = recv(end->fd, end->buf + end->got, size - end->got, 0);
    if (n <= 0) bench_die("raw-epoll: recv answered %zd: %s", n, strerror(errno));
    end->got += (unsigned)n;
    if (end->got < size) return 0;
    end->got = 0;
    n = send(end->fd, end->buf, size, MSG_NOSIGNAL);
    if (n != (ssize_t)size)
        bench_die("raw-epoll: send answered %zd of %u: %s", n, size, strerror(errno));
    return 1;
}

static uint64_t run(void *state, uint64_t hops_min)
{
    struct raw_epoll *r = state;
    unsigned          size = r->wire.shape.size;
    uint64_t          hops = 0;
    while (hops < hops_min) {
        int n = epoll_wait(r->epfd, r->events, EVENTS_MAX, -1);
        if (n < 0 && errno != EINTR) bench_die_errno("raw-epoll: epoll_wait");
        for (int i = 0; i < n; i++) hops += serve(r->events[i].data.ptr, size);
    }
    return hops;
}

const struct hop_variant hop_raw_epoll = {
    .name = "raw-epoll",
    .raw = "raw-epoll",
    .what = "by hand: level-triggered epoll, recv and send at readiness",
    .setup = setup,
    .run = run,
    .teardown = teardown,
};
