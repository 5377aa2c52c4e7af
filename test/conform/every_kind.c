/* Exactly once over what exactly_once.c leaves out: a random program of pipes, Unix streams, leased and
 * multishot receives, copies, readiness, datagrams, files, paths, blocking functions, names, races,
 * children and watchers; much of it canceled in the turn in which it is initiated, timed out, closed under,
 * reused or freed in its handler.
 * Covers 32, 33, 34, 41, 45 of the list for these kinds.
 *
 *     --count=N    how many operations
 *     --seed=HEX   the same decisions again
 *
 * A place is a scope with some handles: they are closed one by one, or at once with their scope, and the
 * place is freed when that has drained.  Some operations come behind a close.  Every byte that a
 * place sends is its own letter, so that one that turns up elsewhere, or out of a buffer of another
 * receive, is seen.
 *
 * What an engine does not have completes once as well, with PRO_ENOTSUP; the engines of Linux have
 * all of it, and there each kind must have succeeded at least once.
 *
 * Invariants, looked at in each handler and at the end:
 *     initiated[kind] == completed[kind] + in flight, and nothing is in flight at the end
 *     no operation of a handle is pending when its close completes, none of a scope when it drained
 *     a stream gives no more bytes than it took; a receive writes none behind those that it says
 *     a function ran once, exactly if its operation says so; every lease comes back to its pool */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/net.h"
#include "lib/world.h"

/* X(NAME, how often, sort of place) */
#define KINDS(X)                                                                                   \
    X(POST, 1, NOWHERE)                                                                            \
    X(TIMER, 4, NOWHERE)                                                                           \
    X(BLOCKING, 5, NOWHERE)                                                                        \
    X(BLOCKING_WAIT, 3, NOWHERE)                                                                   \
    X(RESOLVE, 3, NOWHERE)                                                                         \
    X(BUFFERS_WAIT, 2, NOWHERE)                                                                    \
    X(PATH_STAT, 2, NOWHERE)                                                                       \
    X(PATH_READ, 2, NOWHERE)                                                                       \
    X(PATH_REPLACE, 1, NOWHERE)                                                                    \
    X(CONNECT_ANY, 2, RACE)                                                                        \
    X(CONNECT_HOST, 2, RACE)                                                                       \
    X(SEND, 10, STREAM)                                                                            \
    X(SENDV_ALL, 5, STREAM)                                                                        \
    X(SEND_HANDLES, 2, STREAM)                                                                     \
    X(COPY_FILE, 4, STREAM)                                                                        \
    X(COPY_STREAM, 4, STREAM)                                                                      \
    X(RECV, 7, STREAM)                                                                             \
    X(RECV_EXACTLY, 3, STREAM)                                                                     \
    X(RECV_HANDLES, 3, STREAM)                                                                     \
    X(RECV_LEASED, 8, STREAM)                                                                      \
    X(RECV_MULTI, 5, STREAM)                                                                       \
    X(SHUTDOWN, 1, STREAM)                                                                         \
    X(POLL, 6, STREAM)                                                                             \
    X(SEND_TO, 8, DATAGRAM)                                                                        \
    X(SEND_BATCH, 3, DATAGRAM)                                                                     \
    X(RECV_FROM, 6, DATAGRAM)                                                                      \
    X(RECV_BATCH, 3, DATAGRAM)                                                                     \
    X(RECV_FROM_MULTI, 5, DATAGRAM)                                                                \
    X(FILE_OPEN, 0, ON_FILE)                                                                       \
    X(FILE_READ, 6, ON_FILE)                                                                       \
    X(FILE_READV_EXACTLY, 3, ON_FILE)                                                              \
    X(FILE_WRITE, 6, ON_FILE)                                                                      \
    X(FILE_WRITEV, 2, ON_FILE)                                                                     \
    X(FILE_DATASYNC, 1, ON_FILE)                                                                   \
    X(FILE_TRUNCATE, 1, ON_FILE)                                                                   \
    X(FILE_STAT, 1, ON_FILE)                                                                       \
    X(SPAWN, 2, PROCESS)                                                                           \
    X(PROCESS_WAIT, 2, PROCESS)                                                                    \
    X(WATCH, 4, WATCHER)                                                                           \
    X(CLOSE, 5, NOWHERE)

enum sort { NOWHERE, RACE, STREAM, DATAGRAM, ON_FILE, PROCESS, WATCHER, SORT_COUNT };

enum kind {
#define KIND(name, often, sort) name,
    KINDS(KIND)
#undef KIND
        KIND_COUNT
};

static const struct {
    const char *name;
    int         often;
    enum sort   sort;
} kinds[] = {
#define KIND(name, often, sort) {#name, often, sort},
    KINDS(KIND)
#undef KIND
};

/* The handles of each sort: of a stream its two ends and one that polls the first. */
static const int handle_count[SORT_COUNT] = {0, 1, 3, 1, 1, 1, 1};

/* How an operation is canceled in the turn in which it is initiated. */
enum way { NOT, BY_OPERATION, BY_HANDLE, BY_SCOPE, BY_DEADLINE, WAY_COUNT };

enum {
    PLACES_MAX = 14,
    HANDLES_MAX = 3,
    PENDING_MAX = 8, /* of one handle */
    LEASES_MAX = 4,
    WAITS_MAX = 6,
    BUFFERS = 8,
    BUFFER_ROOM = 128, /* for the data of a datagram: some are longer */
    BUFFER_SIZE = PRO_DATAGRAM_HEAD + BUFFER_ROOM,
    FILE_LEN = 60000,
    BATCH = 4,
    ENOUGH = 5000, /* operations, for each kind to be among them */
    UNTOUCHED = 0xa5
};

struct place {
    pro_scope     scope;
    struct world *world;
    enum sort     sort;
    bool          is_pipe, is_open, is_spent, closing[HANDLES_MAX];
    char          letter;
    int           pending[HANDLES_MAX]; /* operations before the close, not yet completed */
    int           all, closed;          /* operations; handles */
    int64_t       sent[2], received[2]; /* by end */
    pro_address   address;
    pro_socket   *ends[HANDLES_MAX], own[2]; /* the third is none */
    pro_pollable  pollable;
    pro_datagram  datagram;
    pro_file      file;
    pro_process   process;
    pro_watcher   watcher;
};

struct task {
    pro_op            op;
    struct world     *world;
    enum kind         kind;
    struct place     *place; /* NULL: of none */
    int               at;    /* which of its handles */
    bool              late;  /* initiated behind the close of that */
    uint64_t          dice;
    unsigned char    *buf;
    size_t            len;
    pro_copy          copy;
    pro_flow          flow;
    int               from; /* of a flow: at is where to */
    pro_address       addresses[2];
    pro_message       messages[BATCH];
    pro_stat          stat;
    pro_bytes         bytes;
    pro_change        changes[4];
    pro_spawn_options spawn;
    pro_stdio         stdio[3];
    struct task      *next; /* of the spent ones */
};

static struct world {
    pro_loop     *loop;
    pro_listener  listener;
    pro_op        accept;
    pro_address   address;
    char          port[8];
    pro_buffers  *buffers;
    pro_lease     leases[LEASES_MAX];
    int           leased, waits;
    const char   *dir, *data, *whole, *shell;
    intptr_t      file; /* of FILE_LEN bytes, all of them F */
    struct place *places[PLACES_MAX];
    int           place_count;
    struct task  *spent;
    bool          over, inside, has_all;
    uint64_t      serial;
    long          initiated[KIND_COUNT], completed[KIND_COUNT], fine[KIND_COUNT], all, more;
    long          ways[WAY_COUNT], late, reused, freed, places_made, scopes_closed, spawned;
    long          ended[-PRO_EXDEV + 1]; /* by error */
    long          returned;              /* functions, as their operations say */
    atomic_long   ran;                   /* as they say themselves */
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
static void task_done(pro_op *op);

/* ---- Tasks ----------------------------------------------------------------------------------- */

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

static void begin(struct world *w, struct task *task, enum kind kind, struct place *place, int at)
{
    task->kind = kind;
    task->place = place;
    task->at = at;
    task->dice = throw_dice(&w->serial);
    w->initiated[kind]++;
    w->all++;
    if (place == NULL) return;
    task->late = place->closing[at];
    w->late += task->late;
    place->all++;
    if (!task->late && kind != CLOSE) place->pending[at]++;
}

/* ---- Places ---------------------------------------------------------------------------------- */

static void drained(pro_scope *scope)
{
    struct place *place = pro_container_of(scope, struct place, scope);
    struct world *w = place->world;
    CHECK_EQ(place->all, 0);
    for (int i = 0; i < 2; i++) CHECK_LE(place->received[1 - i], place->sent[i]);
    for (int i = 0; i < w->place_count; i++)
        if (w->places[i] == place) w->places[i] = w->places[--w->place_count];
    memset(place, 0xdd, sizeof *place);
    free(place);
}

static int open_stream(struct world *w, struct place *place, uint64_t *dice)
{
    pro_socket *a = place->ends[0], *b = place->ends[1];
    place->is_pipe = below(dice, 3) == 0;
    int error = place->is_pipe ? pro_pipe_pair(a, b, w->loop, &place->scope)
                               : pro_socket_pair(a, b, w->loop, &place->scope);
    if (error == PRO_ENOTSUP && !w->has_all) { /* a connection, and no readiness */
        t_pair *pair = t_pair_in(w->loop, &place->scope, &place->scope);
        place->ends[0] = &pair->a;
        place->ends[1] = &pair->b;
        place->closing[2] = true;
        place->closed = 1;
        return PRO_OK;
    }
    if (error != PRO_OK) return error;
    error = pro_pollable_open(&place->pollable, w->loop, &place->scope, pro_socket_descriptor(a));
    bool is_none = error == PRO_ENOTSUP || (error == PRO_EBADF && place->is_pipe);
    if (!is_none || w->has_all) return error;
    place->closing[2] = true; /* it has no readiness here */
    place->closed = 1;
    return PRO_OK;
}

static int open_datagram(struct world *w, struct place *place)
{
    pro_address any = pro_address_loopback(PRO_IPV4, 0);
    int         error = pro_datagram_open(&place->datagram, w->loop, &place->scope, PRO_IPV4);
    if (error != PRO_OK) return error;
    CHECK_ERROR(pro_datagram_bind(&place->datagram, &any), PRO_OK);
    return pro_datagram_local(&place->datagram, &place->address);
}

/* One more, if there is room for it, and the engine has such. */
static void place_new(struct world *w, enum sort sort, uint64_t *dice)
{
    int error = PRO_OK;
    if (w->place_count == PLACES_MAX || w->inside || w->over) return;
    struct place *place = calloc(1, sizeof *place);
    CHECK(place != NULL);
    place->world = w;
    place->sort = sort;
    place->letter = (char)('a' + w->places_made++ % 26);
    for (int i = 0; i < 2; i++) place->ends[i] = &place->own[i];
    pro_scope_init(&place->scope, w->loop, NULL, drained);
    w->places[w->place_count++] = place;
    switch (sort) {
    case RACE: pro_socket_init(place->ends[0], w->loop, &place->scope); break;
    case STREAM: error = open_stream(w, place, dice); break;
    case DATAGRAM: error = open_datagram(w, place); break;
    case PROCESS: pro_process_init(&place->process, w->loop, &place->scope); break;
    case WATCHER:
        error = pro_watcher_open(&place->watcher, w->loop, &place->scope);
        if (error == PRO_OK) CHECK_GE(pro_watcher_add(&place->watcher, w->dir, PRO_CHANGE_ALL), 0);
        break;
    default: break;
    }
    place->is_open = error == PRO_OK && sort != ON_FILE;
    if (error != PRO_OK) {
        if (w->has_all || error != PRO_ENOTSUP) CHECK_ERROR(error, PRO_OK);
        pro_scope_close(&place->scope);
    }
    if (sort == ON_FILE) {
        struct task *task = task_new(w);
        if (below(dice, 8) == 0) task->op.deadline_ns = 1;
        begin(w, task, FILE_OPEN, place, 0);
        pro_file_open(&task->op, &place->file, w->loop, &place->scope, w->data,
                      PRO_FILE_READ | PRO_FILE_WRITE | PRO_FILE_CREATE, 0644, task_done);
        if (below(dice, 8) == 0) pro_cancel(&task->op);
    }
}

static struct place *place_of(struct world *w, enum sort sort, uint64_t *dice)
{
    unsigned first = below(dice, PLACES_MAX);
    for (int i = 0; i < w->place_count; i++) {
        struct place *place = w->places[(first + (unsigned)i) % (unsigned)w->place_count];
        if (place->is_open && (sort == NOWHERE || place->sort == sort)) return place;
    }
    return NULL;
}

static void close_scope(struct world *w, struct place *place)
{
    for (int i = 0; i < HANDLES_MAX; i++) place->closing[i] = true;
    w->scopes_closed++;
    pro_scope_close(&place->scope);
}

static void close_handle(struct world *w, struct task *task, struct place *place, int at,
                         uint64_t *dice)
{
    pro_op *op = &task->op;
    begin(w, task, CLOSE, place, at);
    place->closing[at] = true;
    switch (place->sort) {
    case DATAGRAM: pro_datagram_close(op, &place->datagram, task_done); break;
    case ON_FILE: pro_file_close(op, &place->file, task_done); break;
    case PROCESS: pro_process_close(op, &place->process, task_done); break;
    case WATCHER: pro_watcher_close(op, &place->watcher, task_done); break;
    default:
        if (at == 2)
            pro_pollable_close(op, &place->pollable, task_done);
        else if (below(dice, 2))
            pro_close(op, place->ends[at], task_done);
        else
            pro_close_abort(op, place->ends[at], task_done);
    }
}

static void cancel_handle(struct task *task, struct place *place, int at)
{
    if (place != NULL && place->sort == DATAGRAM)
        pro_datagram_cancel(&place->datagram);
    else if (place != NULL && place->sort == ON_FILE)
        pro_file_cancel(&place->file);
    else if (place != NULL && (place->sort == STREAM || place->sort == RACE))
        (void)(at == 2 ? pro_pollable_cancel(&place->pollable)
                       : pro_socket_cancel(place->ends[at]));
    else if (task != NULL)
        pro_cancel(&task->op);
}

/* ---- Completions ----------------------------------------------------------------------------- */

static bool sends(enum kind kind) { return kind >= SEND && kind <= COPY_FILE; }
static bool receives(enum kind kind) { return kind >= RECV && kind <= RECV_MULTI; }

static bool is_one_of(int error, const int *errors)
{
    for (; *errors; errors++)
        if (*errors == error) return true;
    return false;
}

static bool may_end_with(const struct task *task, int error)
{
    static const int any[] = {PRO_ECANCELED, PRO_ETIMEDOUT, PRO_ECLOSED, 0};
    static const int race[] = {PRO_ECONNREFUSED, PRO_EISCONN, 0};
    static const int stream[] = {PRO_EPIPE, PRO_ECONNRESET, PRO_ENOTCONN, 0};
    static const int pipe[] = {PRO_EBADF, PRO_ENOTSUP, 0}; /* one way, no leases, no handles */
    static const int child[] = {PRO_EBUSY, PRO_ENOENT, 0};
    if (error == PRO_OK) return true;
    if (task->kind == POST || task->kind == CLOSE) return false;
    if (is_one_of(error, any) || (error == PRO_ENOTSUP && !task->world->has_all)) return true;
    switch (task->kind) {
    case BLOCKING: return error == PRO_EBUSY || error == PRO_EIO;
    case BLOCKING_WAIT: return error == PRO_EIO;
    case PATH_STAT:
    case PATH_READ: /* where a file that somebody has open cannot be replaced */
        return error == PRO_ENOENT || (error == PRO_EACCES && !task->world->has_all);
    case PATH_REPLACE: return error == PRO_EACCES && !task->world->has_all;
    case FILE_READ:
    case FILE_READV_EXACTLY: return error == PRO_EOF;
    case RECV_LEASED:
    case RECV_MULTI:
    case RECV_FROM_MULTI:
        if (error == PRO_ENOBUFS) return true;
        break;
    default: break;
    }
    if (error == PRO_EOF && (receives(task->kind) || task->kind == COPY_STREAM)) return true;
    switch (kinds[task->kind].sort) {
    case RACE: return is_one_of(error, race);
    case STREAM:
        return is_one_of(error, stream) || (task->place->is_pipe && is_one_of(error, pipe));
    case PROCESS: return is_one_of(error, child);
    default: return false;
    }
}

static void check_letters(const struct task *task, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != (unsigned char)task->place->letter && bytes[i] != 'F')
            FAIL("a %s of place %c has a byte %02x", kinds[task->kind].name, task->place->letter,
                 bytes[i]);
}

static void check_received(struct task *task)
{
    size_t n = (size_t)task->op.value;
    check_letters(task, task->buf, n);
    for (size_t i = n; i < task->len; i++) CHECK_EQ(task->buf[i], UNTOUCHED);
}

static void check_lease(struct world *w, struct task *task)
{
    unsigned char *bytes = pro_lease_peek(&task->op);
    if (task->op.error != PRO_OK) {
        CHECK(bytes == NULL);
        CHECK_EQ(task->op.value, 0);
        return;
    }
    CHECK(bytes != NULL);
    CHECK_GT(task->op.value, 0);
    CHECK_LE(task->op.value, task->kind == RECV_FROM_MULTI ? BUFFER_ROOM : BUFFER_SIZE);
    check_letters(task, bytes, (size_t)task->op.value);
    if (w->leased < LEASES_MAX && below(&task->dice, 3) == 0)
        CHECK_ERROR(pro_lease_take(&task->op, &w->leases[w->leased++]), PRO_OK);
}

static void give_leases(struct world *w)
{
    while (w->leased > 0) pro_lease_give(&w->leases[--w->leased]);
}

static void check_messages(struct task *task)
{
    int64_t n = task->op.value;
    CHECK_LE(n, BATCH);
    for (int64_t i = 0; i < n; i++)
        check_letters(task, task->messages[i].buf, task->messages[i].size);
}

static void check_result(struct world *w, struct task *task)
{
    pro_op       *op = &task->op;
    struct place *place = task->place;
    CHECK_GE(op->value, 0);
    if (sends(task->kind)) place->sent[task->at] += op->value;
    if (receives(task->kind)) place->received[task->at] += op->value;
    switch (task->kind) {
    case BLOCKING:
    case BLOCKING_WAIT: w->returned += op->error == PRO_OK || op->error == PRO_EIO; break;
    case RESOLVE:
        if (op->error == PRO_OK) CHECK_EQ(op->value, 1);
        break;
    case PATH_READ:
        CHECK((task->bytes.data != NULL) == (op->error == PRO_OK));
        pro_bytes_free(w->loop, &task->bytes);
        break;
    case SENDV_ALL:
    case SEND_HANDLES:
        if (op->error == PRO_OK) CHECK_EQ(op->value, task->len);
        break;
    case COPY_FILE:
        CHECK_LE(op->value, task->copy.len);
        if (op->error == PRO_OK) CHECK_EQ(op->value, task->copy.len);
        break;
    case COPY_STREAM:
        CHECK_EQ(op->value, task->flow.copied);
        CHECK((uint64_t)op->value <= task->flow.taken);
        CHECK(task->flow.taken <= task->flow.max);
        place->sent[task->at] += op->value;
        place->received[task->from] += (int64_t)task->flow.taken;
        break;
    case RECV:
    case RECV_HANDLES:
    case RECV_EXACTLY:
    case RECV_FROM: check_received(task); break;
    case RECV_FROM_MULTI:
        if (op->error == PRO_OK) CHECK(pro_address_equal(&task->addresses[0], &place->address));
        check_lease(w, task);
        break;
    case RECV_LEASED:
    case RECV_MULTI: check_lease(w, task); break;
    case RECV_BATCH: check_messages(task); break;
    case POLL:
        if ((op->error == PRO_OK) != (op->value != 0))
            FAIL("a poll ended with %s and %d", pro_error_name(op->error), (int)op->value);
        break;
    case FILE_OPEN: place->is_open = op->error == PRO_OK; break;
    case FILE_READ: /* zeroes: behind a truncation */
        for (int64_t i = 0; i < op->value; i++) CHECK(task->buf[i] == 0 || task->buf[i] == 'F');
        break;
    case FILE_WRITE:
    case FILE_WRITEV:
        if (op->error == PRO_OK) CHECK_EQ(op->value, task->len);
        break;
    case WATCH:
        if (op->error == PRO_OK) CHECK(op->value >= 1 && op->value <= 4);
        break;
    default: break;
    }
}

static void spend(struct world *w, struct task *task)
{
    uint64_t dice = task->dice;
    unsigned how = below(&dice, 5);
    if (how == 0) {
        w->freed++;
        free(task->buf);
        memset(task, 0xdd, sizeof *task);
        free(task);
        return;
    }
    if (how == 1 && !w->over) {
        w->reused++;
        task_clear(w, task);
        initiate(w, task, &dice);
        return;
    }
    task->next = w->spent;
    w->spent = task;
}

static void task_done(pro_op *op)
{
    struct task  *task = pro_container_of(op, struct task, op);
    struct world *w = task->world;
    struct place *place = task->place;

    if (w->inside) FAIL("a handler ran inside another call");
    w->inside = true;
    if (!may_end_with(task, op->error))
        FAIL("a %s ended with %s", kinds[task->kind].name, pro_error_name(op->error));
    w->ended[-op->error]++;
    w->fine[task->kind] += op->error == PRO_OK;
    check_result(w, task);
    if (op->flags & PRO_MORE) {
        CHECK(task->kind == RECV_MULTI || task->kind == RECV_FROM_MULTI);
        CHECK_ERROR(op->error, PRO_OK);
        CHECK(pro_op_in_flight(op));
        w->more++;
        w->inside = false;
        return;
    }
    CHECK(!pro_op_in_flight(op));
    if (++w->completed[task->kind] > w->initiated[task->kind])
        FAIL("a %s completed twice", kinds[task->kind].name);
    w->waits -= task->kind == BUFFERS_WAIT;
    if (place != NULL) {
        if (place->sort == STREAM)
            place->is_spent |= op->error == PRO_EPIPE || op->error == PRO_EOF;
        if (place->sort == RACE) place->is_spent = true;
        place->all--;
        if (!task->late && task->kind != CLOSE) place->pending[task->at]--;
    }
    if (task->kind == FILE_OPEN && !place->is_open) pro_scope_close(&place->scope);
    if (task->kind == CLOSE) {
        if (place->pending[task->at] != 0)
            FAIL("%d operations behind the close of a handle", place->pending[task->at]);
        if (!task->late && ++place->closed == handle_count[place->sort])
            pro_scope_close(&place->scope);
    }
    spend(w, task);
    w->inside = false;
}

/* ---- Initiations ----------------------------------------------------------------------------- */

static enum kind choose_kind(uint64_t *dice)
{
    int total = 0;
    for (int i = 0; i < KIND_COUNT; i++) total += kinds[i].often;
    int at = (int)below(dice, (unsigned)total);
    for (int i = 0;; at -= kinds[i++].often)
        if (at < kinds[i].often) return (enum kind)i;
}

static enum way choose_way(uint64_t *dice)
{
    unsigned at = below(dice, 100);
    if (at < 14) return BY_OPERATION;
    if (at < 20) return BY_HANDLE;
    if (at < 23) return BY_SCOPE;
    return at < 33 ? BY_DEADLINE : NOT;
}

static void fill(struct task *task, size_t len, int byte)
{
    task->len = len;
    task->buf = malloc(len + 1);
    CHECK(task->buf != NULL);
    memset(task->buf, byte, len);
}

static int64_t function(void *arg)
{
    long n = atomic_fetch_add(&((struct world *)arg)->ran, 1);
    return n % 4 == 3 ? PRO_EIO : n;
}

static void somewhere(struct world *w, struct task *task, uint64_t *dice)
{
    pro_op *op = &task->op;
    switch (task->kind) {
    case TIMER: pro_sleep(op, w->loop, below(dice, 100000), task_done); break;
    case BLOCKING: pro_run_blocking(op, w->loop, function, w, task_done); break;
    case BLOCKING_WAIT: pro_run_blocking_wait(op, w->loop, function, w, task_done); break;
    case RESOLVE:
        pro_resolve(op, w->loop, "127.0.0.1", w->port, task->addresses, 2, task_done);
        break;
    case BUFFERS_WAIT:
        w->waits++;
        pro_buffers_wait(op, w->buffers, task_done);
        break;
    case PATH_STAT: pro_path_stat(op, w->loop, w->whole, 0, &task->stat, task_done); break;
    case PATH_READ: pro_path_read(op, w->loop, w->whole, 1000, &task->bytes, task_done); break;
    case PATH_REPLACE:
        fill(task, below(dice, 500), 'F');
        pro_path_replace(op, w->loop, w->whole, task->buf, task->len, 0644, task_done);
        break;
    default: pro_post(op, w->loop, task_done);
    }
}

static void on_socket(struct world *w, struct task *task, uint64_t *dice)
{
    pro_op       *op = &task->op;
    struct place *place = task->place;
    pro_socket   *s = place->ends[task->at];
    size_t        half;
    if (sends(task->kind)) fill(task, 1 + below(dice, 600), place->letter);
    if (receives(task->kind)) fill(task, 1 + below(dice, 400), UNTOUCHED);
    half = below(dice, (unsigned)task->len + 1);
    const pro_vec vecs[2] = {{task->buf, half}, {task->buf + half, task->len - half}};
    switch (task->kind) {
    case CONNECT_ANY:
        task->addresses[0] = pro_address_loopback(PRO_IPV4, 1); /* nobody */
        task->addresses[1] = w->address;
        pro_connect_any(op, s, task->addresses, 1 + below(dice, 2), task_done);
        break;
    case CONNECT_HOST:
        pro_connect_host(op, s, "127.0.0.1", below(dice, 4) ? w->port : "1", task_done);
        break;
    case SEND: pro_send(op, s, task->buf, task->len, task_done); break;
    case SENDV_ALL: pro_sendv_all(op, s, vecs, 2, task_done); break;
    case SEND_HANDLES: pro_send_handles(op, s, task->buf, task->len, &w->file, 1, task_done); break;
    case COPY_FILE:
        task->copy.file = w->file;
        task->copy.offset = below(dice, FILE_LEN / 2);
        task->copy.len = below(dice, 8) ? below(dice, 2000) : FILE_LEN / 2;
        pro_copy_file(op, s, &task->copy, task_done);
        break;
    case COPY_STREAM: /* back to who sent it, or round and round: the letters stay in their place */
        task->flow.max = below(dice, 8) ? 1 + below(dice, 2000) : PRO_COPY_ALL;
        task->from = place->is_pipe || below(dice, 2) ? 1 - task->at : task->at;
        pro_copy_stream(op, place->ends[task->from], s, &task->flow, task_done);
        break;
    case RECV: pro_recv(op, s, task->buf, task->len, task_done); break;
    case RECV_EXACTLY: pro_recv_exactly(op, s, task->buf, task->len, task_done); break;
    case RECV_HANDLES: pro_recv_handles(op, s, task->buf, task->len, task_done); break;
    case RECV_LEASED: pro_recv_leased(op, s, w->buffers, task_done); break;
    case RECV_MULTI: pro_recv_multi(op, s, w->buffers, task_done); break;
    case SHUTDOWN: pro_shutdown(op, s, task_done); break;
    default: pro_poll(op, &place->pollable, below(dice, 4) ? PRO_POLL_IN : PRO_POLL_OUT, task_done);
    }
}

static void on_datagram(struct task *task, uint64_t *dice)
{
    pro_op       *op = &task->op;
    struct place *place = task->place;
    bool          out = task->kind == SEND_TO || task->kind == SEND_BATCH;
    size_t        len = 1 + below(dice, 300), count = 1 + below(dice, BATCH);
    fill(task, BATCH * len, out ? place->letter : UNTOUCHED);
    for (size_t i = 0; i < BATCH; i++)
        task->messages[i] = (pro_message){.buf = task->buf + i * len, .len = len};
    for (size_t i = 0; out && i < BATCH; i++) task->messages[i].address = place->address;
    switch (task->kind) {
    case SEND_TO:
        pro_send_to(op, &place->datagram, task->buf, len, &place->address, task_done);
        break;
    case SEND_BATCH: pro_send_batch(op, &place->datagram, task->messages, count, task_done); break;
    case RECV_FROM:
        pro_recv_from(op, &place->datagram, task->buf, len, task->addresses, task_done);
        break;
    case RECV_FROM_MULTI:
        pro_recv_from_multi(op, &place->datagram, task->world->buffers, task->addresses, task_done);
        break;
    default: pro_recv_batch(op, &place->datagram, task->messages, count, task_done);
    }
}

static void on_file(struct task *task, uint64_t *dice)
{
    pro_op   *op = &task->op;
    pro_file *f = &task->place->file;
    uint64_t  offset = below(dice, 8000);
    size_t    half;
    fill(task, 1 + below(dice, 3000), 'F');
    half = below(dice, (unsigned)task->len);
    const pro_vec vecs[2] = {{task->buf, half}, {task->buf + half, task->len - half}};
    switch (task->kind) {
    case FILE_READ: pro_file_read(op, f, task->buf, task->len, offset, task_done); break;
    case FILE_READV_EXACTLY: pro_file_readv_exactly(op, f, vecs, 2, offset, task_done); break;
    case FILE_WRITE: pro_file_write(op, f, task->buf, task->len, offset, task_done); break;
    case FILE_WRITEV: pro_file_writev(op, f, vecs, 2, offset, task_done); break;
    case FILE_DATASYNC: pro_file_datasync(op, f, task_done); break;
    case FILE_TRUNCATE: pro_file_truncate(op, f, offset, task_done); break;
    default: pro_file_stat(op, f, &task->stat, task_done);
    }
}

/* One that ends, one that does not, and one that there is not. */
static void on_process(struct world *w, struct task *task, uint64_t *dice)
{
    static const char *const        ends[] = {"sh", "-c", "exit 0", NULL};
    static const char *const        stays[] = {"sh", "-c", "sleep 600", NULL};
    static const char *const        none[] = {"/there/is/none", NULL};
    static const char *const *const each[] = {ends, ends, stays, none};
    pro_process                    *p = &task->place->process;
    if (task->kind == PROCESS_WAIT) {
        pro_process_wait(&task->op, p, task_done);
        return;
    }
    w->spawned++;
    task->spawn.args = each[below(dice, 4)];
    task->spawn.file = task->spawn.args == none ? none[0] : w->shell;
    task->spawn.stdio = task->stdio; /* zeroed: PRO_STDIO_NULL */
    task->spawn.stdio_count = 3;
    pro_spawn(&task->op, p, &task->spawn, task_done);
}

static void cancel_now(struct world *w, struct task *task, enum way way)
{
    w->ways[way]++;
    if (way == BY_HANDLE)
        cancel_handle(task, task->place, task->at);
    else if (way == BY_SCOPE && task->place != NULL)
        pro_scope_cancel(&task->place->scope);
    else
        pro_cancel(&task->op);
}

/* Initiate something with a task that is idle. */
static void initiate(struct world *w, struct task *task, uint64_t *dice)
{
    enum kind     kind = choose_kind(dice);
    enum way      way = choose_way(dice);
    enum sort     sort = kinds[kind].sort;
    struct place *place = NULL;
    int           at = 0;

    if (sort != NOWHERE || kind == CLOSE) place = place_of(w, sort, dice);
    if (place != NULL && place->sort == STREAM)
        at = kind == POLL ? 2 : (int)below(dice, kind == CLOSE ? 3 : 2);
    if (place != NULL && place->is_pipe && below(dice, 8)) /* its right end, most of the time */
        at = receives(kind) ? 0 : sends(kind) || kind == COPY_STREAM ? 1 : at;

    /* What cannot be done now is a timer instead. */
    if (place == NULL && (sort != NOWHERE || kind == CLOSE)) kind = TIMER;
    if (place != NULL && place->closing[at] &&
        (below(dice, 4) || (at == 2 && place->closed && !w->has_all)))
        kind = TIMER;
    if (place != NULL && place->pending[at] >= PENDING_MAX && kind != CLOSE) {
        cancel_handle(NULL, place, at);
        kind = TIMER;
    }
    if (place != NULL && place->is_spent && below(dice, 4) == 0) {
        kind = CLOSE;
        at = (int)below(dice, (unsigned)handle_count[place->sort]);
        if (place->closing[at]) kind = TIMER;
    }
    if (kind == SPAWN && w->spawned * 300 > w->all) kind = TIMER;
    if (kind == BUFFERS_WAIT && w->waits == WAITS_MAX) kind = TIMER;
    if (w->buffers == NULL && (kind == BUFFERS_WAIT || kind == RECV_LEASED || kind == RECV_MULTI ||
                               kind == RECV_FROM_MULTI))
        kind = TIMER;
    if (kind == TIMER) place = NULL;

    if (kind == CLOSE) {
        if (below(dice, 4))
            close_handle(w, task, place, at, dice);
        else {
            close_scope(w, place);
            task->next = w->spent;
            w->spent = task;
        }
        return;
    }
    if (way == BY_DEADLINE && kind != POST) {
        task->op.deadline_ns = below(dice, 2) ? 1 : pro_loop_now(w->loop) + below(dice, 50000);
        w->ways[way]++;
    }
    begin(w, task, kind, place, at);
    switch (kinds[kind].sort) {
    case NOWHERE: somewhere(w, task, dice); break;
    case DATAGRAM: on_datagram(task, dice); break;
    case ON_FILE: on_file(task, dice); break;
    case PROCESS: on_process(w, task, dice); break;
    case WATCHER: pro_watch(&task->op, &place->watcher, task->changes, 4, task_done); break;
    default: on_socket(w, task, dice);
    }
    if (way != NOT && way != BY_DEADLINE) cancel_now(w, task, way);
}

/* ---- The program ----------------------------------------------------------------------------- */

static void not_taken(pro_op *op) { CHECK(op->error == PRO_OK || op->error == PRO_ECANCELED); }

static void world_new(struct world *w)
{
    memset(w, 0, sizeof *w);
    pro_loop_options options = t_loop_options();
    options.undelivered_max = 1 + (uint32_t)t_below(BUFFERS);
    w->loop = t_loop_with(&options);
    const char *engine = pro_loop_engine(w->loop);
    w->has_all = strcmp(engine, "uring") == 0 || strcmp(engine, "epoll") == 0;
    w->address = t_listen(w->loop, &w->listener);
    pro_accept_multi(&w->accept, &w->listener, not_taken);
    snprintf(w->port, sizeof w->port, "%u", w->address.port);
    int error = pro_buffers_new(&w->buffers, w->loop, BUFFERS, BUFFER_SIZE);
    if (w->has_all || error != PRO_ENOTSUP) CHECK_ERROR(error, PRO_OK);
    char *text = t_alloc(FILE_LEN + 1);
    memset(text, 'F', FILE_LEN);
    w->shell = t_shell();
    w->dir = t_path("every-kind");
    t_make_directory(w->dir);
    w->data = t_path_in(w->dir, "data");
    w->whole = t_path_in(w->dir, "whole");
    t_write_file(w->data, text);
    t_write_file(w->whole, "whole");
    const char *path = t_path_in(w->dir, "copied");
    t_write_file(path, text);
    w->file = t_open(path);
    t_remove(path);
    w->serial = t_random();
}

static void world_end(struct world *w)
{
    w->over = true;
    give_leases(w);
    pro_scope_close(pro_loop_scope(w->loop));
    t_run(w->loop);
    give_leases(w);
    for (int i = 0; i < KIND_COUNT; i++)
        if (w->initiated[i] != w->completed[i])
            FAIL("%s: initiated %ld, completed %ld", kinds[i].name, w->initiated[i],
                 w->completed[i]);
    CHECK_EQ(w->place_count, 0);
    CHECK_EQ(w->returned, atomic_load(&w->ran));
    if (w->buffers != NULL) {
        CHECK_EQ(pro_buffers_available(w->buffers), BUFFERS);
        CHECK_ERROR(pro_buffers_free(w->buffers), PRO_OK);
    }
    t_close_fd(w->file);
    t_remove(w->data);
    t_remove(w->whole);
    t_remove_directory(w->dir);                 /* nothing else is left in it */
    while (w->spent != NULL) free(task_new(w)); /* which is cleared */
}

/* Has each kind succeeded?  Where files are slow, most are canceled before: then there are some more. */
static bool is_lacking(const struct world *w, long count)
{
    if (!w->has_all || t_has_weather() || count < ENOUGH) return false;
    for (int i = 0; i < KIND_COUNT; i++)
        if (w->fine[i] == 0 && w->all > 50 * count)
            FAIL("no %s has succeeded", kinds[i].name);
        else if (w->fine[i] == 0)
            return true;
    return false;
}

/* Before more of them: what a slow disk has still to do, as long as it does some of it. */
static void wait_for_files(struct world *w)
{
    for (int i = 0; i < KIND_COUNT; i++) {
        bool is_of_files = kinds[i].sort == ON_FILE || i == PATH_STAT || i == PATH_READ;
        for (int turns = 0; turns < 1000 && is_of_files && w->initiated[i] > w->completed[i];
             turns++)
            t_turn(w->loop);
    }
}

/* That the program was what it is said to be. */
static void check_shares(const struct world *w)
{
    long canceled = 0;
    for (int i = 1; i < WAY_COUNT; i++) {
        canceled += w->ways[i];
        CHECK_GT(w->ways[i], 0);
    }
    CHECK_GE(canceled * 100, w->all * 20);
    CHECK_GE((w->reused + w->freed) * 100, w->all * 10);
    CHECK_GT(w->late, 0);
    CHECK_GT(w->scopes_closed, 0);
    if (w->has_all) CHECK_GT(w->more, 0);
}

CONFORM(operations_of_every_other_kind_complete_once)
{
    struct world *w = &world;
    long          count = t_count(20000);
    world_new(w);
    uint64_t steps = t_random();
    while (w->all < count || is_lacking(w, count)) {
        uint64_t dice = throw_dice(&steps);
        if (below(&dice, 4) == 0)
            place_new(w, (enum sort)(1 + below(&dice, SORT_COUNT - 1)), &dice);
        for (unsigned i = 0, n = 1 + below(&dice, 8); i < n; i++) initiate(w, task_new(w), &dice);
        if (below(&dice, 16) == 0) give_leases(w);
        if (w->all >= count) wait_for_files(w);
        /* Turns that would wait need something that is sure to come. */
        if (below(&dice, 4) == 0) {
            struct task *tick = task_new(w);
            begin(w, tick, POST, NULL, 0);
            pro_post(&tick->op, w->loop, task_done);
            t_turn(w->loop);
        } else {
            t_poll(w->loop);
        }
    }
    world_end(w);
    if (!t_has_weather() && count >= ENOUGH) check_shares(w);

    t_note("  %ld operations at %ld places, %ld behind a close, %ld + %ld reused and freed\n",
           w->all, w->places_made, w->late, w->reused, w->freed);
    t_note("  canceled at once: %ld by operation, %ld by handle, %ld by scope, %ld by deadline\n",
           w->ways[BY_OPERATION], w->ways[BY_HANDLE], w->ways[BY_SCOPE], w->ways[BY_DEADLINE]);
    for (int i = 0; i < KIND_COUNT; i++)
        t_note("%s%s %ld/%ld", i ? ", " : "  ", kinds[i].name, w->fine[i], w->completed[i]);
    t_note("\n");
    for (int i = 0; i <= -PRO_EXDEV; i++)
        if (w->ended[i]) t_note("  %s %ld", pro_error_name(-i), w->ended[i]);
    t_note("\n");
}
