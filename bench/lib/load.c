/* See load.h.
 *
 * Invariants:  in_flight messages of a connection were begun and have not come back; began[] has when
 *              unsent bytes of them are still ours, and then, and only then, EPOLLOUT is asked for */
#include "load.h"

#include "bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, CHUNK = 1 << 18, STUCK_MS = 20000 };

/* A histogram with 32 steps to an octave: 3% at most between two of them. */
enum { STEPS_BITS = 5, STEPS = 1 << STEPS_BITS, BUCKETS = 64 * STEPS };

struct connection {
    int       fd;
    bool      works;
    unsigned  in_flight, first; /* first of a ring of depth entries */
    size_t    got, unsent;
    uint64_t  left; /* messages still to begin, when they are counted */
    uint64_t *began;
};

struct load {
    struct load_shape  shape;
    int                set;
    pid_t              server;
    clockid_t          server_clock;
    struct connection *connections;
    uint64_t          *times;
    char              *message, *work, *chunk;
    bool               sending; /* new messages are begun */
    bool               counts;  /* messages are counted and timed */
    uint64_t           in_flight, messages, histogram[BUCKETS];
};

/* ---- latencies ------------------------------------------------------------------------------ */

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS) return (unsigned)ns;
    unsigned octave = 63 - (unsigned)__builtin_clzll(ns);
    return (octave - STEPS_BITS + 1) * STEPS + (unsigned)(ns >> (octave - STEPS_BITS)) % STEPS;
}

static double middle_us(unsigned bucket)
{
    if (bucket < STEPS) return bucket / 1e3;
    unsigned shift = bucket / STEPS - 1;
    uint64_t low = (uint64_t)(STEPS + bucket % STEPS) << shift;
    return ((double)low + (double)(UINT64_C(1) << shift) / 2) / 1e3;
}

static double percentile_us(const struct load *l, double part)
{
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) total += l->histogram[i];
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += l->histogram[i];
        if (seen > 0 && (double)seen >= part * (double)total) return middle_us(i);
    }
    return 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

static void watch(const struct load *l, struct connection *c, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(l->set, how, c->fd, &event) != 0) bench_die_errno("load: epoll_ctl");
}

/* All messages are alike, so what is sent of them begins anywhere in a row of them. */
static void push(struct load *l, struct connection *c)
{
    while (c->unsent > 0) {
        size_t  size = l->shape.size, within = (size - c->unsent % size) % size;
        size_t  len = c->works ? size - within : c->unsent < CHUNK ? c->unsent : CHUNK;
        ssize_t sent = send(c->fd, c->works ? l->work + within : l->message, len, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN) return;
            bench_die_errno("load: send");
        }
        c->unsent -= (size_t)sent;
    }
}

static void begin(struct load *l, struct connection *c, unsigned count, uint64_t now)
{
    if (c->left < count) count = (unsigned)c->left;
    if (count == 0) return;
    c->left -= count;
    bool waited = c->unsent > 0;
    for (unsigned i = 0; i < count; i++) {
        c->began[(c->first + c->in_flight) % l->shape.depth] = now;
        c->in_flight++;
    }
    l->in_flight += count;
    c->unsent += (size_t)count * l->shape.size;
    if (waited) return;
    push(l, c);
    if (c->unsent > 0) watch(l, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void finish(struct load *l, struct connection *c, unsigned count, uint64_t now)
{
    bool timed = l->counts && (!c->works || l->shape.workers == l->shape.connections);
    for (unsigned i = 0; i < count; i++) {
        if (timed) l->histogram[bucket_of(now - c->began[c->first])]++;
        c->first = (c->first + 1) % l->shape.depth;
    }
    if (timed) l->messages += count;
    c->in_flight -= count;
    l->in_flight -= count;
}

static void receive(struct load *l, struct connection *c)
{
    ssize_t got = recv(c->fd, l->chunk, CHUNK, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) bench_die("load: the server closed a connection: %s", got ? strerror(errno) : "");
    if (c->got == 0 && l->chunk[0] != (c->works ? l->work : l->message)[0])
        bench_die("load: something else came back than was sent");
    c->got += (size_t)got;
    unsigned count = (unsigned)(c->got / l->shape.size);
    if (count == 0) return;
    if (count > c->in_flight) bench_die("load: more came back than was sent");
    uint64_t now = bench_now_ns();
    c->got %= l->shape.size;
    finish(l, c, count, now);
    if (l->sending) begin(l, c, count, now);
}

static void turn(struct load *l)
{
    struct epoll_event events[EVENTS];
    int                len = epoll_wait(l->set, events, EVENTS, STUCK_MS);
    if (len == 0) bench_die("load: the server does not answer");
    for (int i = 0; i < len; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & ~(unsigned)EPOLLOUT) receive(l, c);
        if (events[i].events & EPOLLOUT && c->unsent > 0) {
            push(l, c);
            if (c->unsent == 0) watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
        }
    }
}

static void begin_all(struct load *l, uint64_t messages_each)
{
    l->sending = true;
    for (unsigned i = 0; i < l->shape.connections; i++) {
        l->connections[i].left = messages_each;
        begin(l, &l->connections[i], l->shape.depth, bench_now_ns());
    }
}

/* ---- runs ----------------------------------------------------------------------------------- */

static uint64_t server_cpu_ns(const struct load *l)
{
    struct timespec ts;
    if (l->server == 0) return 0;
    if (clock_gettime(l->server_clock, &ts) != 0) bench_die_errno("load: the server's CPU clock");
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void start_counting(struct load *l, struct load_result *result)
{
    memset(l->histogram, 0, sizeof l->histogram);
    l->messages = 0;
    l->counts = true;
    *result = (struct load_result){.cpu_ns = server_cpu_ns(l), .own_cpu_ns = bench_thread_cpu_ns()};
    result->wall_ns = bench_now_ns();
}

static void end_counting(struct load *l, struct load_result *result)
{
    result->wall_ns = bench_now_ns() - result->wall_ns;
    result->cpu_ns = server_cpu_ns(l) - result->cpu_ns;
    result->own_cpu_ns = bench_thread_cpu_ns() - result->own_cpu_ns;
    result->messages = l->messages;
    result->p50_us = percentile_us(l, 0.5);
    result->p99_us = percentile_us(l, 0.99);
    result->p999_us = percentile_us(l, 0.999);
    l->counts = false;
}

void load_run(struct load *l, uint64_t warm_ns, uint64_t window_ns, struct load_result *result)
{
    uint64_t end = bench_now_ns() + warm_ns;
    begin_all(l, UINT64_MAX);
    while (bench_now_ns() < end) turn(l);
    start_counting(l, result);
    end = bench_now_ns() + window_ns;
    while (bench_now_ns() < end) turn(l);
    end_counting(l, result);
    l->sending = false;
    while (l->in_flight > 0) turn(l);
}

void load_count(struct load *l, uint64_t messages_each, struct load_result *result)
{
    start_counting(l, result);
    begin_all(l, messages_each);
    while (l->in_flight > 0) turn(l);
    end_counting(l, result);
}

/* ---- opening -------------------------------------------------------------------------------- */

static int connect_one(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    /* A reset at the end: no connection lingers and takes a port from the next run. */
    struct linger  linger = {.l_onoff = 1, .l_linger = 0};
    struct timeval patience = {.tv_sec = STUCK_MS / 1000};
    int            one = 1, on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0 ||
        ioctl(fd, FIONBIO, &on) != 0)
        bench_die_errno("load: connecting");
    return fd;
}

static char *filled(size_t size, char byte)
{
    char *memory = malloc(size);
    if (!memory) bench_die("load: out of memory");
    memset(memory, byte, size);
    return memory;
}

struct load *load_open(const struct load_shape *shape, unsigned port, pid_t server)
{
    struct load *l = calloc(1, sizeof *l);
    unsigned     count = shape->connections;
    if (!l) bench_die("load: out of memory");
    l->shape = *shape;
    l->server = server;
    if (server != 0 && clock_getcpuclockid(server, &l->server_clock) != 0)
        bench_die("load: the server has no CPU clock");
    l->set = epoll_create1(EPOLL_CLOEXEC);
    l->connections = calloc(count, sizeof *l->connections);
    l->times = calloc((size_t)count * shape->depth, sizeof *l->times);
    l->chunk = filled(CHUNK, 0);
    l->message = filled(CHUNK, 'x');
    l->work = filled(shape->size, 'x');
    if (l->set < 0 || !l->connections || !l->times) bench_die_errno("load");
    if (shape->work) {
        if (strlen(shape->work) >= shape->size) bench_die("load: no room for the work");
        memcpy(l->work, shape->work, strlen(shape->work));
    }
    for (unsigned i = 0; i < count; i++) {
        struct connection *c = &l->connections[i];
        *c = (struct connection){.fd = connect_one(port),
                                 .works = shape->work && i < shape->workers,
                                 .began = l->times + (size_t)i * shape->depth};
        watch(l, c, EPOLL_CTL_ADD, EPOLLIN);
    }
    return l;
}

void load_close(struct load *l)
{
    for (unsigned i = 0; i < l->shape.connections; i++) close(l->connections[i].fd);
    close(l->set);
    free(l->connections);
    free(l->times);
    free(l->message);
    free(l->work);
    free(l->chunk);
    free(l);
}
