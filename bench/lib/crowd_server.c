/* The server of a crowd: what a program on the library holds for a connection, and no more.
 *
 * Each shard has a listener of the same port, one multishot accept, and for each connection a socket and
 * one operation: a multishot receive that leases its buffer when there are bytes.  What is on its way
 * back is a piece, and there are as many of those as buffers.  A connection belongs to the loop's root
 * scope: it needs none of its own, since its close says when it is over.
 *
 *     accepted --> receiving --(piece: send, give the buffer back)--> ... --> end or error --> close --> free
 *
 * Seats (the memory of connections) lie in one mapping for each shard, which is resident as far as it was
 * ever used. */
#include "crowd.h"

#include "bench.h"

#include <malloc.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BUFFERS = 128, BUFFER_SIZE = 64 }; /* messages are shorter */

typedef union seat {
    struct conn {
        pro_socket sock;
        pro_op     op; /* receives; waits for a buffer; closes */
    } conn;
    union seat *next; /* a free one */
} seat;

struct piece {
    pro_op        op;
    pro_lease     lease;
    struct shard *shard;
    struct piece *next;
};

struct shard {
    pro_loop           *loop;
    pro_listener        listener;
    pro_op              accepting, counting;
    pro_buffers        *buffers;
    struct crowd_shard *board;
    struct server      *server;
    seat               *seats, *free_seats;
    unsigned            seats_used, seats_max; /* those behind were never touched */
    struct piece        pieces[BUFFERS], *free_pieces;
};

struct server {
    const struct crowd_plan *plan;
    pro_address              address;
    pro_runtime             *runtime;
    struct shard            *shards[CROWD_SHARDS_MAX];
    sem_t                    counted;
    char                     engine[200];
};

size_t crowd_connection_size(void) { return sizeof(seat); }

/* ---- a connection ------------------------------------------------------------------------------ */

static seat *take_seat(struct shard *shard)
{
    seat *s = shard->free_seats;
    if (s) {
        shard->free_seats = s->next;
        memset(s, 0, sizeof *s);
        return s;
    }
    return shard->seats_used < shard->seats_max ? &shard->seats[shard->seats_used++] : NULL;
}

static void give_seat(struct shard *shard, seat *s)
{
    s->next = shard->free_seats;
    shard->free_seats = s;
}

static struct conn *conn_of(pro_op *op) { return pro_container_of(op, struct conn, op); }

static void on_sent(pro_op *op)
{
    struct piece *piece = pro_container_of(op, struct piece, op);
    struct shard *shard = piece->shard;
    struct conn  *conn = op->user;
    pro_lease_give(&piece->lease);
    if (op->error != PRO_OK) {
        atomic_fetch_add_explicit(&shard->board->broken, 1, memory_order_relaxed);
        pro_socket_cancel(&conn->sock); /* its receive ends, and closes */
    }
    piece->next = shard->free_pieces;
    shard->free_pieces = piece;
}

static void on_closed(pro_op *op)
{
    struct shard *shard = op->user;
    give_seat(shard, pro_container_of(conn_of(op), seat, conn));
    atomic_fetch_sub_explicit(&shard->board->live, 1, memory_order_relaxed);
}

static void on_shut(pro_op *op) { pro_close(op, &conn_of(op)->sock, on_closed); }

static void on_received(pro_op *op);

static void on_buffer(pro_op *op)
{
    const struct shard *shard = op->user;
    if (op->error == PRO_OK)
        pro_recv_multi(op, &conn_of(op)->sock, shard->buffers, on_received);
    else
        pro_close(op, &conn_of(op)->sock, on_closed);
}

static void on_received(pro_op *op)
{
    struct shard *shard = op->user;
    struct conn  *conn = conn_of(op);
    if (op->error == PRO_OK) {
        struct piece *piece = shard->free_pieces;
        shard->free_pieces = piece->next;
        pro_lease_take(op, &piece->lease);
        piece->op.user = conn;
        pro_send_all(&piece->op, &conn->sock, piece->lease.data, piece->lease.len, on_sent);
    } else if (op->error == PRO_ENOBUFS) {
        atomic_fetch_add_explicit(&shard->board->starved, 1, memory_order_relaxed);
        pro_buffers_wait(op, shard->buffers, on_buffer);
    } else if (op->error == PRO_EOF) {
        pro_shutdown(op, &conn->sock, on_shut); /* behind what is being sent */
    } else {
        pro_close(op, &conn->sock, on_closed);
    }
}

/* ---- a shard ----------------------------------------------------------------------------------- */

static void on_accepted(pro_op *op);

static void on_rested(pro_op *op)
{
    struct shard *shard = op->user;
    if (op->error == PRO_OK) pro_accept_multi(op, &shard->listener, on_accepted);
}

static void on_accepted(pro_op *op)
{
    struct shard *shard = op->user;
    if (op->error != PRO_OK) {
        if (op->error == PRO_ECANCELED) return;
        atomic_store(&shard->board->error, op->error);
        atomic_fetch_add(&shard->board->refused, 1);
        pro_sleep(op, shard->loop, 100 * PRO_MSEC, on_rested);
        return;
    }
    seat *s = take_seat(shard);
    if (!s || pro_accept_take(op, &s->conn.sock, NULL) != PRO_OK) { /* nobody's: closed */
        if (s) give_seat(shard, s);
        atomic_fetch_add(&shard->board->refused, 1);
        return;
    }
    atomic_fetch_add_explicit(&shard->board->live, 1, memory_order_relaxed);
    s->conn.op.user = shard;
    pro_recv_multi(&s->conn.op, &s->conn.sock, shard->buffers, on_received);
}

static int set_up(pro_loop *loop, unsigned number, void *arg)
{
    struct server *server = arg;
    pro_loop_stats stats;
    size_t         size = server->plan->table * sizeof(seat);
    struct shard  *shard = calloc(1, sizeof *shard);
    seat          *seats = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!shard || seats == MAP_FAILED) return PRO_ENOMEM;
    madvise(seats, size, MADV_NOHUGEPAGE); /* a page for each handful, not for each thousands */
    server->shards[number] = shard;
    pro_loop_stats_get(loop, &stats);
    pro_loop_explain_line(loop, server->engine, sizeof server->engine);
    if (server->plan->slots && stats.slots < server->plan->table) return PRO_ENOTSUP;
    *shard = (struct shard){.loop = loop,
                            .board = &server->plan->board->shards[number],
                            .server = server,
                            .seats = seats,
                            .seats_max = server->plan->table};
    for (unsigned i = 0; i < BUFFERS; i++) {
        shard->pieces[i].shard = shard;
        shard->pieces[i].next = shard->free_pieces;
        shard->free_pieces = &shard->pieces[i];
    }
    int error = pro_buffers_new(&shard->buffers, loop, BUFFERS, BUFFER_SIZE);
    if (error != PRO_OK) return error;
    pro_listen_options options = {.reuse_port = 1};
    error = pro_listen(&shard->listener, loop, NULL, &server->address, &options);
    if (error != PRO_OK) return error;
    if (number == 0)
        pro_listener_local(&shard->listener, &server->address); /* the others join it */
    shard->accepting.user = shard;
    pro_accept_multi(&shard->accepting, &shard->listener, on_accepted);
    return PRO_OK;
}

/* ---- the server -------------------------------------------------------------------------------- */

static void *counting_realloc(void *ctx, void *ptr, size_t size)
{
    struct crowd_board *board = ctx;
    long long           change = -(long long)malloc_usable_size(ptr);
    void               *memory = NULL;
    if (size == 0)
        free(ptr);
    else if (!(memory = realloc(ptr, size)))
        return NULL;
    if (memory) change += (long long)malloc_usable_size(memory);
    atomic_fetch_add_explicit(&board->allocated, change, memory_order_relaxed);
    return memory;
}

static void on_counting(pro_op *op)
{
    struct shard  *shard = op->user;
    pro_loop_stats stats;
    pro_loop_stats_get(shard->loop, &stats);
    atomic_store(&shard->board->handles, stats.live_handles);
    atomic_store(&shard->board->slots, stats.slots_used);
    sem_post(&shard->server->counted);
}

static void count(struct server *server)
{
    for (unsigned i = 0; i < server->plan->shards; i++) {
        struct shard *shard = server->shards[i];
        shard->counting.user = shard;
        pro_post(&shard->counting, shard->loop, on_counting);
    }
    for (unsigned i = 0; i < server->plan->shards; i++)
        while (sem_wait(&server->counted) != 0) continue;
}

static void free_shards(struct server *server)
{
    for (unsigned i = 0; i < server->plan->shards; i++) {
        struct shard *shard = server->shards[i];
        if (!shard) continue;
        munmap(shard->seats, shard->seats_max * sizeof(seat));
        free(shard);
    }
}

static int start(struct server *server)
{
    const struct crowd_plan *plan = server->plan;
    pro_runtime_options      o;
    pro_runtime_options_init(&o);
    o.shards = plan->shards;
    o.pin = PRO_PIN_CORES;
    o.name = "crowd";
    o.loop.engine = plan->engine;
    o.loop.fixed_slots = plan->slots ? plan->table : 0;
    o.loop.env.realloc = counting_realloc;
    o.loop.env.ctx = plan->board;
    int error = pro_runtime_new(&server->runtime, &o);
    if (error != PRO_OK) return error;
    error = pro_runtime_start(server->runtime, set_up, server);
    if (error != PRO_OK) pro_runtime_join(server->runtime);
    return error;
}

void crowd_server(int fd, void *arg)
{
    struct server server = {
        .plan = arg,
        .address = pro_address_loopback(PRO_IPV4, ((const struct crowd_plan *)arg)->port)};
    sem_init(&server.counted, 0, 0);
    int error = start(&server);
    if (error == PRO_ENOTSUP || error == PRO_EPERM || error == PRO_ENOSYS)
        crowd_lacks(fd, server.engine[0] ? server.engine : pro_error_text(error));
    if (error != PRO_OK) crowd_fail(fd, "the server: %s", pro_error_text(error));
    crowd_say(fd, server.address.port, server.engine);
    while (crowd_next_command(fd) == CROWD_COUNT) {
        count(&server);
        crowd_say(fd, 0, "");
    }
    pro_runtime_stop(server.runtime, 0);
    error = pro_runtime_join(server.runtime);
    free_shards(&server);
    sem_destroy(&server.counted);
    if (error != PRO_OK) crowd_fail(fd, "the server's end: %s", pro_error_text(error));
    crowd_say(fd, 0, "");
}
