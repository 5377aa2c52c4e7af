/* The server of a crowd by hand: what io_uring itself asks for a connection, with nothing above it.
 *
 * A thread a shard, each with its ring, a table of fixed files, a listener of the same port, one multishot
 * accept straight into the table, and a ring of buffers that all receives pick from.  A connection is a
 * number, its place in that table: no deadline, no cancel, no owner, no state.  What stands beside it is
 * the least that a receive without a buffer needs: its place in a list of those that wait for one.
 *
 *     accepted --> receive, multishot --(send from the buffer, give it back)--> ... --> end or error --> close
 *
 * It is the floor under crowd_server.c, and not a program to copy: a send that is cut short counts as broken. */
#include "crowd.h"

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ENTRIES = 256, COMPLETIONS = 4096, BUFFERS = 128, BUFFER_SIZE = 64 };

enum what { ACCEPT, RECEIVE, SEND, CLOSE, WAKE };

struct shard {
    struct io_uring           ring;
    struct io_uring_buf_ring *lent;
    unsigned char             buffers[BUFFERS][BUFFER_SIZE];
    int                       listener, wake;       /* wake: an eventfd that ends it */
    unsigned                 *waiting, waiting_len; /* for a buffer */
    struct crowd_shard       *board;
    const struct crowd_plan  *plan;
    pthread_t                 thread;
    bool                      stops;
    struct ready             *ready;
};

/* What a thread says when it has begun. */
struct ready {
    pthread_mutex_t lock;
    pthread_cond_t  said;
    unsigned        count;
    int             error; /* the first, as errno has it */
};

/* ---- entries ----------------------------------------------------------------------------------- */

static uint64_t pack(enum what what, unsigned place, unsigned buffer)
{
    return (uint64_t)what << 56 | (uint64_t)buffer << 32 | place;
}

static struct io_uring_sqe *entry(struct shard *shard)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&shard->ring))) io_uring_submit(&shard->ring);
    return sqe;
}

static void accept_them(struct shard *shard)
{
    struct io_uring_sqe *sqe = entry(shard);
    io_uring_prep_multishot_accept_direct(sqe, shard->listener, NULL, NULL, 0);
    io_uring_sqe_set_data64(sqe, pack(ACCEPT, 0, 0));
}

static void receive(struct shard *shard, unsigned place)
{
    struct io_uring_sqe *sqe = entry(shard);
    io_uring_prep_recv_multishot(sqe, (int)place, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, pack(RECEIVE, place, 0));
}

static void send_back(struct shard *shard, unsigned place, unsigned buffer, unsigned len)
{
    struct io_uring_sqe *sqe = entry(shard);
    io_uring_prep_send(sqe, (int)place, shard->buffers[buffer], len, MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, pack(SEND, place, buffer));
}

static void close_place(struct shard *shard, unsigned place)
{
    struct io_uring_sqe *sqe = entry(shard);
    io_uring_prep_close_direct(sqe, place);
    io_uring_sqe_set_data64(sqe, pack(CLOSE, place, 0));
}

static void give_buffer(struct shard *shard, unsigned buffer)
{
    io_uring_buf_ring_add(shard->lent, shard->buffers[buffer], BUFFER_SIZE, (unsigned short)buffer,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(shard->lent, 1);
    if (shard->waiting_len) receive(shard, shard->waiting[--shard->waiting_len]);
}

/* ---- completions ------------------------------------------------------------------------------- */

static void accepted(struct shard *shard, int result, unsigned flags)
{
    if (result >= 0) {
        atomic_fetch_add_explicit(&shard->board->live, 1, memory_order_relaxed);
        receive(shard, (unsigned)result);
    } else {
        atomic_fetch_add(&shard->board->refused, 1);
    }
    if (!(flags & IORING_CQE_F_MORE)) accept_them(shard);
}

static void received(struct shard *shard, unsigned place, int result, unsigned flags)
{
    if (result > 0) send_back(shard, place, flags >> IORING_CQE_BUFFER_SHIFT, (unsigned)result);
    if (flags & IORING_CQE_F_MORE) return;
    if (result > 0) {
        receive(shard, place);
    } else if (result == -ENOBUFS) {
        atomic_fetch_add_explicit(&shard->board->starved, 1, memory_order_relaxed);
        shard->waiting[shard->waiting_len++] = place;
    } else {
        close_place(shard, place);
    }
}

static void completed(struct shard *shard, const struct io_uring_cqe *cqe)
{
    uint64_t data = io_uring_cqe_get_data64(cqe);
    unsigned place = (unsigned)data, buffer = (unsigned)(data >> 32) & 0xffff;
    switch ((enum what)(data >> 56)) {
    case ACCEPT: accepted(shard, cqe->res, cqe->flags); break;
    case RECEIVE: received(shard, place, cqe->res, cqe->flags); break;
    case SEND:
        /* Never short, by MSG_WAITALL, but for an end that meets it. */
        if (cqe->res < 0) atomic_fetch_add_explicit(&shard->board->broken, 1, memory_order_relaxed);
        give_buffer(shard, buffer);
        break;
    case CLOSE: atomic_fetch_sub_explicit(&shard->board->live, 1, memory_order_relaxed); break;
    case WAKE: shard->stops = true; break;
    }
}

/* ---- a shard ----------------------------------------------------------------------------------- */

static int open_listener(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
    close(fd);
    return -1;
}

static uint16_t port_of(int listener)
{
    struct sockaddr_in at;
    socklen_t          len = sizeof at;
    return getsockname(listener, (struct sockaddr *)&at, &len) == 0 ? ntohs(at.sin_port) : 0;
}

/* Returns 0 or what errno would be. */
static int open_ring(struct shard *shard)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_CQSIZE,
                                     .cq_entries = COMPLETIONS};
    int                    error = io_uring_queue_init_params(ENTRIES, &shard->ring, &params);
    if (error) return -error;
    struct io_uring_buf_reg lent = {.ring_addr = (uintptr_t)shard->lent, .ring_entries = BUFFERS};
    io_uring_buf_ring_init(shard->lent);
    error = io_uring_register_files_sparse(&shard->ring, shard->plan->table);
    if (!error) error = io_uring_register_buf_ring(&shard->ring, &lent, 0);
    if (error) io_uring_queue_exit(&shard->ring);
    return -error;
}

static void say(struct ready *ready, int error)
{
    pthread_mutex_lock(&ready->lock);
    ready->count++;
    if (error && !ready->error) ready->error = error;
    pthread_cond_signal(&ready->said);
    pthread_mutex_unlock(&ready->lock);
}

static void *run(void *arg)
{
    struct shard *shard = arg;
    int           error = open_ring(shard);
    say(shard->ready, error);
    if (error) return NULL;
    for (unsigned i = 0; i < BUFFERS; i++) give_buffer(shard, i);
    accept_them(shard);
    struct io_uring_sqe *sqe = entry(shard);
    io_uring_prep_poll_add(sqe, shard->wake, POLLIN);
    io_uring_sqe_set_data64(sqe, pack(WAKE, 0, 0));
    while (!shard->stops) {
        error = io_uring_submit_and_wait(&shard->ring, 1);
        if (error < 0 && error != -EINTR && error != -EBUSY)
            bench_die("by hand: io_uring_enter: %s", strerror(-error));
        struct io_uring_cqe *cqe;
        unsigned             head, seen = 0;
        io_uring_for_each_cqe(&shard->ring, head, cqe)
        {
            completed(shard, cqe);
            seen++;
        }
        io_uring_cq_advance(&shard->ring, seen);
    }
    io_uring_queue_exit(&shard->ring);
    return NULL;
}

/* ---- the server -------------------------------------------------------------------------------- */

static struct shard *new_shard(const struct crowd_plan *plan, unsigned number, uint16_t *port,
                               struct ready *ready)
{
    struct shard *shard = calloc(1, sizeof *shard);
    if (!shard) return NULL;
    shard->plan = plan;
    shard->board = &plan->board->shards[number];
    shard->ready = ready;
    shard->wake = eventfd(0, EFD_CLOEXEC);
    shard->listener = open_listener(*port);
    /* Resident only as far as it was ever needed. */
    shard->waiting = mmap(NULL, plan->table * sizeof *shard->waiting, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    shard->lent = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (shard->lent == MAP_FAILED || shard->wake < 0 || shard->listener < 0 ||
        shard->waiting == MAP_FAILED) {
        say(ready, errno);
        return NULL;
    }
    *port = port_of(shard->listener); /* the others join it */
    return shard;
}

static void count(const struct crowd_plan *plan)
{
    for (unsigned i = 0; i < plan->shards; i++) {
        unsigned live = atomic_load(&plan->board->shards[i].live);
        atomic_store(&plan->board->shards[i].handles, live + 1); /* with the listener */
        atomic_store(&plan->board->shards[i].slots, live);
    }
}

static void end(struct shard *shard)
{
    uint64_t one = 1;
    (void)!write(shard->wake, &one, sizeof one);
    pthread_join(shard->thread, NULL);
    close(shard->wake);
    close(shard->listener);
    munmap(shard->lent, BUFFERS * sizeof(struct io_uring_buf));
    munmap(shard->waiting, shard->plan->table * sizeof *shard->waiting);
    free(shard);
}

void crowd_server_by_hand(int fd, void *arg)
{
    static struct shard     *shards[CROWD_SHARDS_MAX];
    const struct crowd_plan *plan = arg;
    struct ready ready = {.lock = PTHREAD_MUTEX_INITIALIZER, .said = PTHREAD_COND_INITIALIZER};
    uint16_t     port = plan->port;
    for (unsigned i = 0; i < plan->shards; i++) {
        if (!(shards[i] = new_shard(plan, i, &port, &ready)))
            crowd_fail(fd, "the server by hand: %s", strerror(ready.error ? ready.error : ENOMEM));
        if (pthread_create(&shards[i]->thread, NULL, run, shards[i]) != 0)
            crowd_fail(fd, "the server by hand: no thread");
    }
    pthread_mutex_lock(&ready.lock);
    while (ready.count < plan->shards) pthread_cond_wait(&ready.said, &ready.lock);
    pthread_mutex_unlock(&ready.lock);
    if (ready.error == EPERM || ready.error == ENOSYS || ready.error == EINVAL)
        crowd_lacks(fd, strerror(ready.error));
    if (ready.error) crowd_fail(fd, "the server by hand: %s", strerror(ready.error));
    crowd_say(fd, port, "by hand: io_uring, a thread and a table a shard");
    while (crowd_next_command(fd) == CROWD_COUNT) {
        count(plan);
        crowd_say(fd, 0, "");
    }
    for (unsigned i = 0; i < plan->shards; i++) end(shards[i]);
    crowd_say(fd, 0, "");
}
