/* Every initiated operation completes exactly once: a random program of all kinds of operations over
 * many connections, much of it canceled at once, reused or freed inside handlers.
 * Covers 32, 33, 34, 41, 45 of the list, and clauses 1, 2, 3, 5, 6, 8, 9, 11 of the contract, all at
 * once.
 *
 *     --count=N    how many operations (1,000,000 in the long step)
 *     --seed=HEX   the same decisions again
 *
 * Decisions: each step of the driver, and each handler, throws dice that depend on the seed and on its
 * own number only.  Connections come and go; each end is a scope of its own, and is freed when that has
 * drained.  What a stream carries is compared: the bytes that sends say went, in the order of their
 * completions, are the bytes that receives say came, in theirs.
 *
 * Which client an accepted socket belongs to is told by an address that no other client had, 127.a.b.c.
 * Its port does not tell: a client that is reset leaves it to the next one at once, while its own
 * connection may still wait to be accepted, with bytes in it.  Windows takes any free port for a
 * socket that is to be bound, so this happens.
 *
 * Invariants, looked at in each handler and at the end:
 *     initiated[kind] == completed[kind] + in flight, and nothing is in flight at the end
 *     a completed operation is not in flight
 *     no operation of a socket is pending when its close completes
 *     a receive writes to its buffer the bytes it says, and none behind them */
#include "lib/net.h"

#include <stdlib.h>

#define KINDS(X)                                                                                   \
    X(POST, 8)                                                                                     \
    X(TIMER, 12)                                                                                   \
    X(CONNECT, 4)                                                                                  \
    X(ACCEPT, 2)                                                                                   \
    X(ACCEPT_MULTI, 1)                                                                             \
    X(RECV, 14)                                                                                    \
    X(RECV_EXACTLY, 8)                                                                             \
    X(RECVV, 4)                                                                                    \
    X(RECVV_EXACTLY, 4)                                                                            \
    X(SEND, 15)                                                                                    \
    X(SEND_ALL, 9)                                                                                 \
    X(SENDV, 5)                                                                                    \
    X(SENDV_ALL, 5)                                                                                \
    X(SHUTDOWN, 2)                                                                                 \
    X(CLOSE, 3)

/* X(NAME, how often in 96) */
enum kind {
#define KIND(name, weight) name,
    KINDS(KIND)
#undef KIND
        KIND_COUNT
};

static const char *const kind_name[] = {
#define KIND(name, weight) #name,
    KINDS(KIND)
#undef KIND
};

static const int kind_weight[] = {
#define KIND(name, weight) weight,
    KINDS(KIND)
#undef KIND
};

/* How an operation is canceled in the turn in which it is initiated. */
enum way { NOT, BY_OPERATION, BY_HANDLE, BY_SCOPE, BY_DEADLINE, WAY_COUNT };

enum { ENDS_MAX = 32, CLIENTS_MAX = 12, QUEUE_MAX = 6, ACCEPTS_MAX = 4, UNTOUCHED = 0xa5 };

/* ---- What goes through one direction of a connection ----------------------------------------- */

struct bytes {
    unsigned char *at;
    size_t         head, len, size;
    uint64_t       total;
};

struct stream {
    int          users; /* of its two ends */
    struct bytes sent, received;
};

static void append(struct bytes *b, const void *data, size_t len)
{
    if (b->head == b->len) b->head = b->len = 0;
    if (b->len + len > b->size) {
        b->size = 2 * (b->len + len);
        b->at = realloc(b->at, b->size);
        CHECK(b->at != NULL);
    }
    if (len > 0) memcpy(b->at + b->len, data, len);
    b->len += len;
    b->total += len;
}

/* What is known from both sides must be the same. */
static void compare(struct stream *s)
{
    size_t sent = s->sent.len - s->sent.head, received = s->received.len - s->received.head;
    size_t both = sent < received ? sent : received;
    if (both == 0) return;
    if (memcmp(s->sent.at + s->sent.head, s->received.at + s->received.head, both) != 0)
        FAIL("a stream carried other bytes than were sent");
    s->sent.head += both;
    s->received.head += both;
}

static void stream_leave(struct stream *s)
{
    if (s == NULL || --s->users > 0) return;
    if (s->received.total > s->sent.total)
        FAIL("%llu bytes were received, %llu sent", (unsigned long long)s->received.total,
             (unsigned long long)s->sent.total);
    free(s->sent.at);
    free(s->received.at);
    free(s);
}

static struct stream *stream_new(void)
{
    struct stream *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->users = 1;
    return s;
}

/* ---- The world ------------------------------------------------------------------------------- */

struct world;

/* One end of a connection. */
struct end {
    pro_scope      scope;
    pro_socket     sock;
    struct world  *world;
    struct stream *out, *in;
    uint32_t       number; /* of a client: its address; 0: it has none of its own */
    bool           client, matched, broken, closing;
    int            pending;   /* operations before the close, not yet completed */
    int            queued[2]; /* of them, by direction */
};

struct task {
    pro_op         op;
    struct world  *world;
    enum kind      kind;
    struct end    *end;  /* NULL: of none */
    bool           late; /* initiated behind the close of its end */
    uint64_t       dice;
    unsigned char *buf;
    size_t         len;
    struct task   *next; /* of the spent ones */
};

static struct world {
    pro_loop    *loop;
    pro_listener listener;
    pro_address  address;
    struct end  *ends[ENDS_MAX];
    int          end_count, clients, accepting;
    uint32_t     connecting; /* clients so far */
    struct task *spent;
    bool         over, inside;
    uint64_t     serial;
    long         initiated[KIND_COUNT], completed[KIND_COUNT], all, more;
    long         ways[WAY_COUNT], deep[2], reused, freed, closed_by_scope, taken, bytes;
    long         ended[-PRO_EUNKNOWN + 1]; /* by error */
} world;

static uint64_t throw_dice(uint64_t *dice)
{
    uint64_t z = *dice += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(uint64_t *dice, unsigned bound)
{
    return (unsigned)(throw_dice(dice) % bound);
}

static void initiate(struct world *w, struct task *task, uint64_t *dice);

/* ---- Ends ------------------------------------------------------------------------------------ */

static void end_drained(pro_scope *scope)
{
    struct end   *end = pro_container_of(scope, struct end, scope);
    struct world *w = end->world;
    CHECK_EQ(end->pending, 0);
    for (int i = 0; i < w->end_count; i++)
        if (w->ends[i] == end) w->ends[i] = w->ends[--w->end_count];
    if (end->client) w->clients--;
    stream_leave(end->in);
    stream_leave(end->out);
    memset(end, 0xdd, sizeof *end);
    free(end);
}

static pro_address address_of(uint32_t number)
{
    pro_address address = {.family = PRO_IPV4, .bytes = {127}};
    for (int i = 1; i < 4; i++) address.bytes[i] = (uint8_t)(number >> (8 * (3 - i)));
    return address;
}

/* Every eighth client is left to pro_connect as a whole. */
static void client_new(struct world *w, struct end *end)
{
    uint32_t number = 256 + w->connecting++;
    w->clients++;
    if (number % 8 == 0) {
        pro_socket_init(&end->sock, w->loop, &end->scope);
        return;
    }
    CHECK_LT(number, 1u << 24);
    pro_address address = address_of(number);
    CHECK_ERROR(pro_socket_open(&end->sock, w->loop, &end->scope, PRO_IPV4), PRO_OK);
    CHECK_ERROR(pro_socket_bind(&end->sock, &address), PRO_OK);
    end->number = number;
}

static struct end *end_new(struct world *w, bool client)
{
    struct end *end = calloc(1, sizeof *end);
    CHECK(end != NULL);
    end->world = w;
    end->client = client;
    pro_scope_init(&end->scope, w->loop, NULL, end_drained);
    if (client) {
        end->out = stream_new();
        end->in = stream_new();
        client_new(w, end);
    }
    w->ends[w->end_count++] = end;
    return end;
}

/* The client with which an accepted socket is connected; NULL if that is gone, or not to be told. */
static struct end *client_of(struct world *w, const pro_socket *s)
{
    pro_address from;
    if (pro_socket_peer(s, &from) != PRO_OK) return NULL;
    for (int i = 0; i < w->end_count; i++) {
        struct end *end = w->ends[i];
        pro_address own = address_of(end->number);
        if (end->number && memcmp(from.bytes, own.bytes, 4) == 0) return end;
    }
    return NULL;
}

static void task_clear(struct world *w, struct task *task)
{
    free(task->buf);
    memset(task, 0, sizeof *task);
    task->world = w;
}

static struct task *task_new(struct world *w)
{
    struct task *task = w->spent;
    if (task != NULL)
        w->spent = task->next;
    else
        task = calloc(1, sizeof *task);
    CHECK(task != NULL);
    task_clear(w, task);
    return task;
}

static void task_done(pro_op *op);

static void begin(struct world *w, struct task *task, enum kind kind, struct end *end)
{
    task->kind = kind;
    task->end = end;
    task->late = end != NULL && end->closing;
    task->dice = throw_dice(&w->serial);
    w->initiated[kind]++;
    w->all++;
    if (end != NULL && !task->late && kind != CLOSE) end->pending++;
}

static void close_end(struct world *w, struct task *task, struct end *end, uint64_t *dice)
{
    unsigned how = below(dice, 4);
    if (how == 0 && !end->closing) {
        w->closed_by_scope++;
        end->closing = true;
        pro_scope_close(&end->scope);
        task->next = w->spent;
        w->spent = task;
        return;
    }
    begin(w, task, CLOSE, end);
    end->closing = true;
    if (how == 1)
        pro_close(&task->op, &end->sock, task_done);
    else
        pro_close_abort(&task->op, &end->sock, task_done);
}

static void accepted(struct world *w, struct task *task)
{
    if (below(&task->dice, 8) == 0 || w->end_count == ENDS_MAX || w->over) return; /* not taken */
    struct end *end = end_new(w, false);
    CHECK_ERROR(pro_accept_take(&task->op, &end->sock, &end->scope), PRO_OK);
    w->taken++;
    struct end *client = client_of(w, &end->sock);
    if (client == NULL) {
        end->in = stream_new();
        end->out = stream_new();
        close_end(w, task_new(w), end, &task->dice);
        return;
    }
    CHECK(!client->matched);
    client->matched = true;
    end->in = client->out;
    end->out = client->in;
    end->in->users++;
    end->out->users++;
}

/* ---- Completions ----------------------------------------------------------------------------- */

static bool receives(enum kind kind) { return kind >= RECV && kind <= RECVV_EXACTLY; }
static bool sends(enum kind kind) { return kind >= SEND && kind <= SENDV_ALL; }

static bool whole(enum kind kind)
{
    return kind == RECV_EXACTLY || kind == RECVV_EXACTLY || kind == SEND_ALL || kind == SENDV_ALL;
}

static void check_error(const struct task *task)
{
    int  error = task->op.error;
    bool fine = error == PRO_OK;
    switch (task->kind) {
    case POST:
    case CLOSE: break;
    case TIMER:
    case ACCEPT:
    case ACCEPT_MULTI: fine = fine || error == PRO_ECANCELED || error == PRO_ETIMEDOUT; break;
    default:
        fine = fine || error == PRO_ECANCELED || error == PRO_ETIMEDOUT || error == PRO_ECLOSED ||
               error == PRO_ENOTCONN || error == PRO_ECONNRESET || error == PRO_EPIPE ||
               error == PRO_EISCONN || error == PRO_EADDRNOTAVAIL ||
               (error == PRO_EOF && receives(task->kind) && task->len > 0);
    }
    if (!fine) FAIL("a %s ended with %s", kind_name[task->kind], pro_error_name(error));
}

static void check_bytes(struct task *task)
{
    size_t      value = (size_t)task->op.value;
    struct end *end = task->end;
    CHECK_GE(task->op.value, 0);
    CHECK_LE(value, task->len);
    if (task->op.error == PRO_OK) {
        if (whole(task->kind)) CHECK_EQ(value, task->len);
        if (task->len > 0) CHECK_GT(value, 0);
    } else if (task->op.error == PRO_ECLOSED || task->op.error == PRO_EPIPE) {
        if (receives(task->kind)) CHECK_EQ(value, 0);
    }
    task->world->bytes += (long)value;
    if (sends(task->kind)) {
        append(&end->out->sent, task->buf, value);
        compare(end->out);
        return;
    }
    for (size_t i = value; i < task->len; i++) CHECK_EQ(task->buf[i], UNTOUCHED);
    append(&end->in->received, task->buf, value);
    compare(end->in);
}

static void spend(struct world *w, struct task *task)
{
    uint64_t dice = task->dice;
    switch (below(&dice, 5)) {
    case 0:
        w->freed++;
        free(task->buf);
        memset(task, 0xdd, sizeof *task);
        free(task);
        return;
    case 1:
        if (!w->over) {
            w->reused++;
            task_clear(w, task);
            initiate(w, task, &dice);
            return;
        }
        break;
    default: break;
    }
    task->next = w->spent;
    w->spent = task;
}

static void task_done(pro_op *op)
{
    struct task  *task = pro_container_of(op, struct task, op);
    struct world *w = task->world;
    struct end   *end = task->end;

    if (w->inside) FAIL("a handler ran inside another call");
    w->inside = true;
    check_error(task);
    w->ended[-op->error]++;
    if (op->flags & PRO_MORE) {
        CHECK_EQ(task->kind, ACCEPT_MULTI);
        CHECK_ERROR(op->error, PRO_OK);
        CHECK(pro_op_in_flight(op));
        w->more++;
        accepted(w, task);
        w->inside = false;
        return;
    }
    CHECK(!pro_op_in_flight(op));
    w->completed[task->kind]++;
    if (w->completed[task->kind] > w->initiated[task->kind])
        FAIL("a %s completed twice", kind_name[task->kind]);

    if (receives(task->kind) || sends(task->kind)) {
        check_bytes(task);
        if (!task->late) end->queued[sends(task->kind)]--;
    }
    if (end != NULL && !task->late && task->kind != CLOSE) {
        end->pending--;
        if (op->error != PRO_OK && op->error != PRO_ECANCELED && op->error != PRO_ETIMEDOUT)
            end->broken = true;
        if (task->kind == CONNECT && op->error != PRO_OK) end->broken = true;
    }
    if (task->kind == ACCEPT || task->kind == ACCEPT_MULTI) w->accepting--;
    if (task->kind == ACCEPT && op->error == PRO_OK) accepted(w, task);
    if (task->kind == CLOSE) {
        if (end->pending != 0) FAIL("%d operations behind the close of a socket", end->pending);
        pro_scope_close(&end->scope);
    }
    spend(w, task);
    w->inside = false;
}

/* ---- Initiations ----------------------------------------------------------------------------- */

static enum kind choose_kind(uint64_t *dice)
{
    int total = 0;
    for (int i = 0; i < KIND_COUNT; i++) total += kind_weight[i];
    int at = (int)below(dice, (unsigned)total);
    for (int i = 0;; at -= kind_weight[i++])
        if (at < kind_weight[i]) return (enum kind)i;
}

static size_t choose_len(uint64_t *dice)
{
    switch (below(dice, 64)) {
    case 0:
    case 1: return 0;
    case 2: return below(dice, 300000);
    case 3:
    case 4:
    case 5: return below(dice, 20000);
    default: return 1 + below(dice, 200);
    }
}

static size_t choose_vecs(pro_vec *vecs, size_t max, struct task *task, uint64_t *dice)
{
    size_t at = 0, count = 0, most = 1 + below(dice, (unsigned)max);
    while (count + 1 < most && at < task->len) {
        size_t len = below(dice, (unsigned)(task->len - at) + 1);
        vecs[count++] = (pro_vec){task->buf + at, len};
        at += len;
    }
    vecs[count++] = (pro_vec){task->buf + at, task->len - at};
    return count;
}

static void transfer(struct world *w, struct task *task, enum kind kind, struct end *end,
                     uint64_t *dice)
{
    pro_vec vecs[12];
    size_t  count;
    bool    send = sends(kind);

    task->len = choose_len(dice);
    task->buf = malloc(task->len + 1);
    CHECK(task->buf != NULL);
    if (send)
        t_fill(task->buf, task->len, below(dice, 256), throw_dice(dice));
    else
        memset(task->buf, UNTOUCHED, task->len);
    begin(w, task, kind, end);
    if (!task->late && ++end->queued[send] > 1) w->deep[send]++;

    switch (kind) {
    case RECV: pro_recv(&task->op, &end->sock, task->buf, task->len, task_done); break;
    case RECV_EXACTLY:
        pro_recv_exactly(&task->op, &end->sock, task->buf, task->len, task_done);
        break;
    case SEND: pro_send(&task->op, &end->sock, task->buf, task->len, task_done); break;
    case SEND_ALL: pro_send_all(&task->op, &end->sock, task->buf, task->len, task_done); break;
    default:
        count = choose_vecs(vecs, 12, task, dice);
        if (kind == RECVV) pro_recvv(&task->op, &end->sock, vecs, count, task_done);
        if (kind == RECVV_EXACTLY) pro_recvv_exactly(&task->op, &end->sock, vecs, count, task_done);
        if (kind == SENDV) pro_sendv(&task->op, &end->sock, vecs, count, task_done);
        if (kind == SENDV_ALL) pro_sendv_all(&task->op, &end->sock, vecs, count, task_done);
        memset(vecs, 0xff, sizeof vecs);
    }
}

/* Another of the same direction behind it, so that there are queues. */
static void transfer_again(struct world *w, enum kind kind, struct end *end, uint64_t *dice)
{
    enum kind first = sends(kind) ? SEND : RECV;
    if (end->queued[sends(kind)] >= QUEUE_MAX) return;
    transfer(w, task_new(w), (enum kind)((unsigned)first + below(dice, 4)), end, dice);
}

static void cancel_now(struct world *w, struct task *task, enum way way)
{
    struct end *end = task->end;
    w->ways[way]++;
    switch (way) {
    case BY_OPERATION: pro_cancel(&task->op); break;
    case BY_HANDLE:
        if (end != NULL)
            pro_socket_cancel(&end->sock);
        else
            pro_cancel(&task->op);
        break;
    case BY_SCOPE:
        if (end != NULL)
            pro_scope_cancel(&end->scope);
        else
            pro_cancel(&task->op);
        break;
    default: break;
    }
}

/* Of the way there: by the deadline it must be set before. */
static enum way choose_way(uint64_t *dice)
{
    unsigned at = below(dice, 100);
    if (at < 16) return BY_OPERATION;
    if (at < 24) return BY_HANDLE;
    if (at < 32) return BY_SCOPE;
    return at < 42 ? BY_DEADLINE : NOT;
}

/* Initiate something with a task that is idle.  Throws about the same dice whatever it meets. */
static void initiate(struct world *w, struct task *task, uint64_t *dice)
{
    enum kind   kind = choose_kind(dice);
    enum way    way = choose_way(dice);
    unsigned    which = below(dice, ENDS_MAX);
    struct end *end = w->end_count > 0 ? w->ends[which % (unsigned)w->end_count] : NULL;
    bool        again = below(dice, 2);

    /* What cannot be done now is a timer instead. */
    if ((receives(kind) || sends(kind)) && (end == NULL || end->queued[sends(kind)] >= QUEUE_MAX))
        kind = TIMER;
    if ((kind == SHUTDOWN || kind == CLOSE) && end == NULL) kind = TIMER;
    if (kind == CONNECT && (w->clients >= CLIENTS_MAX || w->end_count == ENDS_MAX)) kind = TIMER;
    if ((kind == ACCEPT || kind == ACCEPT_MULTI) && w->accepting >= ACCEPTS_MAX) {
        pro_listener_cancel(
            &w->listener); /* an accept_multi at the head would stand there for good */
        kind = TIMER;
    }
    if (end != NULL && end->broken && !end->closing && below(dice, 2)) kind = CLOSE;
    /* Behind a close little is of interest. */
    if (end != NULL && end->closing && kind > ACCEPT_MULTI && below(dice, 4)) kind = TIMER;

    if (way == BY_DEADLINE && kind != POST && kind != CLOSE) {
        task->op.deadline_ns = 1;
        w->ways[way]++;
    }
    switch (kind) {
    case POST:
        begin(w, task, POST, NULL);
        pro_post(&task->op, w->loop, task_done);
        return;
    case TIMER:
        begin(w, task, TIMER, NULL);
        pro_sleep(&task->op, w->loop, below(dice, 4) ? 0 : below(dice, 200000), task_done);
        break;
    case CONNECT:
        end = end_new(w, true);
        begin(w, task, CONNECT, end);
        pro_connect(&task->op, &end->sock, &w->address, task_done);
        if (way != NOT && below(dice, 3)) way = NOT; /* most live for some time */
        break;
    case ACCEPT:
        w->accepting++;
        begin(w, task, ACCEPT, NULL);
        pro_accept(&task->op, &w->listener, task_done);
        break;
    case ACCEPT_MULTI:
        w->accepting++;
        begin(w, task, ACCEPT_MULTI, NULL);
        pro_accept_multi(&task->op, &w->listener, task_done);
        break;
    case SHUTDOWN:
        begin(w, task, SHUTDOWN, end);
        pro_shutdown(&task->op, &end->sock, task_done);
        break;
    case CLOSE:
        if (!end->broken && !end->closing && below(dice, 2)) end->broken = true;
        close_end(w, task, end, dice);
        return;
    default:
        transfer(w, task, kind, end, dice);
        if (again) transfer_again(w, kind, end, dice);
        break;
    }
    if (way != NOT && way != BY_DEADLINE) cancel_now(w, task, way);
}

/* ---- The program ----------------------------------------------------------------------------- */

static void check_sums(const struct world *w)
{
    for (int i = 0; i < KIND_COUNT; i++) {
        if (w->initiated[i] != w->completed[i])
            FAIL("%s: initiated %ld, completed %ld", kind_name[i], w->initiated[i],
                 w->completed[i]);
    }
    CHECK_EQ(w->end_count, 0);
    CHECK_EQ(w->accepting, 0);
    CHECK_EQ(w->clients, 0);
}

/* That the program was what it is said to be. */
static void check_shares(const struct world *w)
{
    long canceled = 0, transfers[2] = {0, 0};
    for (int i = 1; i < WAY_COUNT; i++) {
        canceled += w->ways[i];
        CHECK_GT(w->ways[i], 0);
    }
    for (int i = RECV; i <= SENDV_ALL; i++) transfers[sends((enum kind)i)] += w->initiated[i];
    CHECK_GE(canceled * 100, w->all * 20);
    CHECK_GE((w->reused + w->freed) * 100, w->all * 10);
    for (int i = 0; i < 2; i++) CHECK_GE(w->deep[i] * 100, transfers[i] * 10);
    for (int i = 0; i < KIND_COUNT; i++) CHECK_GT(w->initiated[i], 0);
    CHECK_GT(w->bytes, w->all);
    CHECK_GT(w->more, 0);
}

CONFORM(exactly_once_over_a_million_operations)
{
    struct world *w = &world;
    long          count = t_count(20000);
    memset(w, 0, sizeof *w);
    w->loop = t_loop();
    w->address = t_listen(w->loop, &w->listener);
    w->serial = t_random();
    uint64_t steps = t_random();

    while (w->all < count) {
        uint64_t dice = throw_dice(&steps);
        for (unsigned i = 0, n = 1 + below(&dice, 8); i < n; i++) initiate(w, task_new(w), &dice);
        if (w->accepting == 0) {
            w->accepting++;
            struct task *task = task_new(w);
            begin(w, task, ACCEPT_MULTI, NULL);
            pro_accept_multi(&task->op, &w->listener, task_done);
        }
        /* Turns that would wait need something that is sure to come. */
        if (below(&dice, 4) == 0) {
            struct task *tick = task_new(w);
            begin(w, tick, POST, NULL);
            pro_post(&tick->op, w->loop, task_done);
            t_turn(w->loop);
        } else {
            t_poll(w->loop);
        }
    }
    w->over = true;
    pro_scope_close(pro_loop_scope(w->loop));
    t_run(w->loop);
    check_sums(w);
    if (!t_has_weather()) check_shares(w);
    while (w->spent != NULL) free(task_new(w)); /* which is cleared */

    t_note("  %ld operations, %ld bytes, %ld connections taken, %ld + %ld reused and freed\n",
           w->all, w->bytes, w->taken, w->reused, w->freed);
    t_note("  canceled at once: %ld by operation, %ld by handle, %ld by scope, %ld by deadline\n",
           w->ways[BY_OPERATION], w->ways[BY_HANDLE], w->ways[BY_SCOPE], w->ways[BY_DEADLINE]);
    for (int i = 0; i < KIND_COUNT; i++)
        t_note("%s%s %ld", i ? ", " : "  ", kind_name[i], w->completed[i]);
    t_note("\n");
    for (int i = 0; i <= -PRO_EUNKNOWN; i++)
        if (w->ended[i]) t_note("  %s %ld", pro_error_name(-i), w->ended[i]);
    t_note("\n");
}
