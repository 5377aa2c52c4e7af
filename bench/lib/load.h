/* A load generator for echo servers over TCP: connections of one process, on one epoll set.
 *
 * A closed loop: each connection has `depth` messages in flight; for each that has come back whole the next
 * is sent at once.  A run warms up, measures for a window while messages keep flowing, and lets what is in
 * flight come back, so that a server is silent when it is not its turn.  The latency of a message is from the
 * call that sends it to its last byte, so it contains the time it queues behind the others of its generator.
 *
 * Some connections may ask for work (peers/peer.h): they are the ones that disturb, and what is counted and
 * timed are the others. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct load_shape {
    unsigned    connections, size, depth;
    const char *work;    /* "b5000", "c5000"; NULL: no connection asks for work */
    unsigned    workers; /* connections that do, beside the others or, if all of them, instead */
};

struct load_result {
    uint64_t messages, wall_ns;
    uint64_t cpu_ns;     /* of the server's process */
    uint64_t own_cpu_ns; /* of the generator */
    double   p50_us, p99_us, p999_us;
};

struct load;

/* Connects to 127.0.0.1.  server is the process whose CPU time is read, 0 for none.  Dies if it cannot. */
struct load *load_open(const struct load_shape *shape, unsigned port, pid_t server);

void load_run(struct load *load, uint64_t warm_ns, uint64_t window_ns, struct load_result *result);

/* Just so many messages on each connection; nothing is warmed up. */
void load_count(struct load *load, uint64_t messages_each, struct load_result *result);

void load_close(struct load *load);

#endif
