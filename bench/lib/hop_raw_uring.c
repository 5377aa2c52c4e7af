/* The hop by hand on io_uring, one-shot: a receive, at its completion a send, at the send's
 * completion the next receive.
 *
 * The set-up that won in our measurements: SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL, a
 * registered ring descriptor, a completion queue that cannot overflow, one submit-and-wait a
 * turn, one advance of the queue. Ordinary descriptors. Receives are armed with POLL_FIRST:
 * the peer has not answered yet when we arm, so trying first is a wasted call. */
#include "hop.h"

#include "bench.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct end {
    int            fd;
    unsigned       got;     /* bytes of the current message so far */
    bool           sending; /* what the completion in flight is of */
    unsigned char *buf;
};

struct raw_uring {
    struct hop_wire wire;
    struct io_uring ring;
    struct end     *ends;
};

static struct io_uring_sqe *entry(struct raw_uring *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
    if (!sqe) bench_die("raw-uring: submission queue full"); /* our mistake: each end has room */
    return sqe;
}

static void arm_recv(struct raw_uring *r, struct end *end)
{
    struct io_uring_sqe *sqe = entry(r);
    io_uring_prep_recv(sqe, end->fd, end->buf + end->got, r->wire.shape.size - end->got, 0);
    sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
    io_uring_sqe_set_data(sqe, end);
    end->sending = false;
}

static void arm_send(struct raw_uring *r, struct end *end)
{
    struct io_uring_sqe *sqe = entry(r);
    io_uring_prep_send(sqe, end->fd, end->buf, r->wire.shape.size, MSG_WAITALL | MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, end);
    end->sending = true;
}

static int open_ring(struct raw_uring *r)
{
    unsigned entries = 1;
    while (entries < r->wire.ends_len) entries *= 2;
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
        .cq_entries = entries * 4,
    };
    int error = io_uring_queue_init_params(entries, &r->ring, &params);
    for (int tries = 0; error == -ENOMEM && tries < 100;
         tries++) { /* a ring just closed is freed a little later */
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        error = io_uring_queue_init_params(entries, &r->ring, &params);
    }
    return error;
}

static void *setup(const struct hop_shape *shape, char *why, size_t why_size)
{
    struct raw_uring *r = calloc(1, sizeof *r);
    if (!r) bench_die("out of memory");
    if (hop_wire_init(&r->wire, shape, why, why_size) != 0) goto free_state;
    int error = open_ring(r);
    if (error) {
        snprintf(why, why_size, "io_uring_setup: %s", strerror(-error));
        goto close_wire;
    }
    error = io_uring_register_ring_fd(&r->ring);
    if (error != 1) {
        snprintf(why, why_size, "registering the ring descriptor: %s", strerror(-error));
        goto close_ring;
    }
    r->ends = calloc(r->wire.ends_len, sizeof *r->ends);
    if (!r->ends) bench_die("out of memory");
    for (unsigned i = 0; i < r->wire.ends_len; i++) {
        r->ends[i] = (struct end){.fd = r->wire.fd[i], .buf = hop_wire_buf(&r->wire, i)};
        arm_recv(r, &r->ends[i]);
    }
    hop_wire_kick(&r->wire);
    return r;

close_ring:
    io_uring_queue_exit(&r->ring);
close_wire:
    hop_wire_fini(&r->wire);
free_state:
    free(r);
    return NULL;
}

/* Returns 1 if a whole message arrived and its send is on the way. */
static unsigned completed(struct raw_uring *r, struct end *end, int result)
{
    if (end->sending) {
        if (result != (int)r->wire.shape.size)
            bench_die("raw-uring: send answered %d of %u", result, r->wire.shape.size);
        arm_recv(r, end);
        return 0;
    }
    if (result <= 0) bench_die("raw-uring: recv answered %d: %s", result, strerror(-result));
    end->got += (unsigned)result;
    if (end->got < r->wire.shape.size) {
        arm_recv(r, end);
        return 0;
    }
    end->got = 0;
    arm_send(r, end);
    return 1;
}

static uint64_t run(void *state, uint64_t hops_min)
{
    struct raw_uring *r = state;
    uint64_t          hops = 0;
    while (hops < hops_min) {
        int error = io_uring_submit_and_wait(&r->ring, 1);
        if (error < 0 && error != -EINTR)
            bench_die("raw-uring: io_uring_enter: %s", strerror(-error));
        struct io_uring_cqe *cqe;
        unsigned             head, seen = 0;
        io_uring_for_each_cqe(&r->ring, head, cqe)
        {
            hops += completed(r, io_uring_cqe_get_data(cqe), cqe->res);
            seen++;
        }
        io_uring_cq_advance(&r->ring, seen);
    }
    return hops;
}

/* The ring goes first: its release ends the receives that still point into our memory. */
static void teardown(void *state)
{
    struct raw_uring *r = state;
    io_uring_queue_exit(&r->ring);
    hop_wire_fini(&r->wire);
    free(r->ends);
    free(r);
}

const struct hop_variant hop_raw_uring = {
    .name = "raw-uring",
    .raw = "raw-uring",
    .what = "by hand: io_uring one-shot, deferred task work, registered ring",
    .setup = setup,
    .run = run,
    .teardown = teardown,
};
