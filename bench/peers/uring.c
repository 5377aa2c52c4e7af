/* A proactor by hand: io_uring in the set-up that won where we measured (docs/benchmarks).
 *
 * One issuer, deferred task work, a completion queue that is large, the ring's descriptor registered;
 * accepted connections go straight into a sparse table of files (multishot accept); each has one multishot
 * receive, whose bytes come in buffers of a ring given to the kernel; a piece goes back from the buffer it
 * came in, MSG_WAITALL, and the buffer returns to the ring at the send's completion.  One submit-and-wait
 * a turn, one advance of the queue.
 *
 *     a buffer:  in the ring --recv--> in a connection's queue, the first one in the kernel --send--> in the ring
 *
 * Sends of one connection are in order, so only one is in the kernel.  When the ring is out of buffers
 * the receive ends with ENOBUFS; the connection rests in a list and is armed again as buffers return. */
#include "peer.h"

#include <liburing.h>

enum { ACCEPT, RECEIVE, SEND, CLOSE, KIND_BITS = 2, GROUP = 0, NONE = -1 };

struct piece { /* by number of buffer */
    int      next;
    unsigned len;
};

struct connection {   /* by number of file */
    int  first, last; /* pieces to send; the first is in the kernel */
    int  next_starved;
    bool over; /* nothing more will be received */
};

static struct io_uring           ring;
static struct io_uring_buf_ring *pool;
static char                     *memory;
static struct piece             *pieces;
static struct connection        *connections;
static unsigned                  buffer, buffers, files, returned;
static int                       listener, starved = NONE;

static struct io_uring_sqe *entry(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (!sqe) { /* more was begun in one turn than the queue has room for */
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static void mark(struct io_uring_sqe *sqe, unsigned kind, int file)
{
    sqe->user_data = (uint64_t)file << KIND_BITS | kind;
}

static void arm_accept(void)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    mark(sqe, ACCEPT, 0);
}

static void arm_receive(int file, bool poll_first)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_recv_multishot(sqe, file, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    if (poll_first) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    mark(sqe, RECEIVE, file);
}

static void arm_send(int file)
{
    struct io_uring_sqe *sqe = entry();
    int                  first = connections[file].first;
    io_uring_prep_send(sqe, file, memory + (size_t)first * buffer, pieces[first].len,
                       MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE;
    mark(sqe, SEND, file);
}

static void give(int number)
{
    io_uring_buf_ring_add(pool, memory + (size_t)number * buffer, buffer, (unsigned short)number,
                          io_uring_buf_ring_mask(buffers), (int)returned++);
}

static void end_if_over(int file)
{
    struct connection *c = &connections[file];
    if (!c->over || c->first != NONE) return;
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_close_direct(sqe, (unsigned)file);
    mark(sqe, CLOSE, file);
}

static void on_accepted(const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE)) arm_accept();
    if (cqe->res < 0) return;
    connections[cqe->res] = (struct connection){.first = NONE, .last = NONE};
    arm_receive(cqe->res, true);
}

static void on_received(int file, const struct io_uring_cqe *cqe)
{
    struct connection *c = &connections[file];
    if (cqe->res > 0) {
        int number = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        peer_work(memory + (size_t)number * buffer);
        pieces[number] = (struct piece){.next = NONE, .len = (unsigned)cqe->res};
        if (c->first == NONE) {
            c->first = c->last = number;
            arm_send(file);
        } else {
            c->last = pieces[c->last].next = number;
        }
    }
    if (cqe->flags & IORING_CQE_F_MORE) return;
    if (cqe->res == -ENOBUFS) {
        c->next_starved = starved;
        starved = file;
    } else if (cqe->res > 0) {
        arm_receive(file, false);
    } else {
        c->over = true;
        end_if_over(file);
    }
}

static void on_sent(int file, const struct io_uring_cqe *cqe)
{
    struct connection *c = &connections[file];
    int                number = c->first;
    give(number);
    c->first = pieces[number].next;
    if (cqe->res < 0) c->over = true;
    if (c->first != NONE)
        arm_send(file);
    else
        end_if_over(file);
}

static void complete(const struct io_uring_cqe *cqe)
{
    int file = (int)(cqe->user_data >> KIND_BITS);
    switch (cqe->user_data & ((1 << KIND_BITS) - 1)) {
    case ACCEPT: on_accepted(cqe); break;
    case RECEIVE: on_received(file, cqe); break;
    case SEND: on_sent(file, cqe); break;
    default: break; /* closed: its place in the table is free */
    }
}

static void must(int error, const char *what)
{
    if (error >= 0) return;
    fprintf(stderr, "%s: %s\n", what, strerror(-error));
    exit(1);
}

static void make_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
        .cq_entries = 16384,
    };
    must(io_uring_queue_init_params(1024, &ring, &params), "io_uring_setup");
    must(io_uring_register_ring_fd(&ring), "registering the ring");
    must(io_uring_register_files_sparse(&ring, files), "registering files");

    struct io_uring_buf_reg reg = {.ring_entries = buffers, .bgid = GROUP};
    pool = aligned_alloc(4096, (buffers * sizeof(struct io_uring_buf) + 4095) / 4096 * 4096);
    memory = aligned_alloc(4096, (size_t)buffers * buffer);
    pieces = calloc(buffers, sizeof *pieces);
    connections = calloc(files, sizeof *connections);
    if (!pool || !memory || !pieces || !connections) peer_die("malloc");
    reg.ring_addr = (uint64_t)(uintptr_t)pool;
    must(io_uring_register_buf_ring(&ring, &reg, 0), "registering buffers");
    io_uring_buf_ring_init(pool);
    for (unsigned i = 0; i < buffers; i++) give((int)i);
    io_uring_buf_ring_advance(pool, (int)returned);
}

int main(int argc, char **argv)
{
    peer_begin();
    buffer = (peer_buffer(argc, argv) + 63) / 64 * 64;
    buffers = peer_number(argc, argv, "--buffers", 256);
    files = peer_connections(argc, argv) + 64;
    make_ring();
    listener = peer_listen(0);
    peer_nodelay(listener); /* what it accepts inherits it: a file of the table has no setsockopt */
    peer_ready(peer_port_of(listener));
    arm_accept();
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned             head, seen = 0;
        io_uring_submit_and_wait(&ring, 1);
        returned = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            complete(cqe);
            seen++;
        }
        io_uring_buf_ring_advance(pool, (int)returned);
        io_uring_cq_advance(&ring, seen);
        while (starved != NONE && returned > 0) {
            int file = starved;
            starved = connections[file].next_starved;
            arm_receive(file, false);
        }
    }
}
