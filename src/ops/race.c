/* Connecting to the first of several endpoints that answers: happy eyeballs (RFC 8305).
 *
 * A race has its own memory, sockets and operations, in the loop's root scope, so that what it is run for
 * can be over at once, canceled or won, while the losers still go.
 *
 *     look-ups (one for each family) --> endpoints --> attempts: a socket and its connect each
 *
 *     go_on   begins the next attempt: after a failure, at next_ns (250 ms after the one before; with
 *             IPv4 alone 50 ms after it came), or when endpoints come and nothing is under way
 *     win     its descriptor moves to the caller's socket
 *     end     op is finished or gone: no new attempts, all that is under way is canceled; the last
 *             handler frees the race
 *
 * Invariants:
 *   op == NULL       ==>  nothing new begins
 *   busy              =   operations and look-ups of the race in flight, and calls inside it
 *   attempt.is_used  <==>  its connect or its close is in flight */
#define PRO_NO_SITES
#include <proactor/names.h>
#include <proactor/timer.h>

#include <string.h>

#include "core/op.h"
#include "lookup.h"

/* RFC 8305, section 8. */
#define RESOLUTION_DELAY_NS (50 * PRO_MSEC)
#define ATTEMPT_DELAY_NS (250 * PRO_MSEC)

/* Under way at once; beyond it the next one waits for a failure. */
enum { ATTEMPTS_MAX = 8 };

typedef struct race race;

typedef struct attempt {
    pro_socket sock;
    pro_op     connect, close;
    race      *of;
    bool       is_used;
} attempt;

/* Where to: in the order of the system, or of the caller. */
typedef struct endpoints {
    pro_address at[PRO_ENDPOINTS_MAX];
    size_t      next, count;
} endpoints;

struct race {
    pro_op     *op; /* for whom; NULL: it is over for them */
    pro_handle *handle;
    pro_loop   *loop;
    const char *site;
    pri_lookup *lookups[2]; /* IPv6, IPv4; NULL: over, or never begun */
    endpoints   to[2];
    int         turn; /* whose family is next */
    int         error;
    uint64_t    next_ns; /* no attempt before, but after a failure */
    unsigned    busy, trying;
    bool        has_tried;
    pro_op      timer;
    attempt     attempts[ATTEMPTS_MAX];
};

enum { IPV6, IPV4 };

static void go_on(race *r, bool now);

/* ---- The end ---------------------------------------------------------------------------------- */

static void leave(race *r)
{
    if (--r->busy == 0) pri_env_realloc(&r->loop->env, r, 0);
}

/* Nobody waits for it any more.  Only from within the race: busy > 0. */
static void end(race *r)
{
    r->op = NULL;
    for (int f = IPV6; f <= IPV4; f++) {
        if (!r->lookups[f]) continue;
        pri_lookup_leave(r->lookups[f]);
        r->lookups[f] = NULL;
        r->busy--;
    }
    pri_op_cancel(&r->timer, PRO_ECANCELED);
    for (int i = 0; i < ATTEMPTS_MAX; i++) pri_op_cancel(&r->attempts[i].connect, PRO_ECANCELED);
}

static void finish(race *r, int error)
{
    pro_op *op = r->op;
    end(r);
    pri_handle_finish(op, error, 0);
}

/* ---- Attempts --------------------------------------------------------------------------------- */

static void on_closed(pro_op *op)
{
    attempt *a = op->user;
    race    *r = a->of;
    a->is_used = false;
    if (r->op) go_on(r, false);
    leave(r);
}

static void on_connected(pro_op *op)
{
    attempt *a = op->user;
    race    *r = a->of;
    int      error = op->error;
    r->trying--;
    if (r->op && !error) {
        pri_handle_take(r->handle, &a->sock.handle);
        finish(r, PRO_OK);
    } else if (r->op) {
        r->error = error;
    }
    pro_close_at(r->site, &a->close, &a->sock, on_closed); /* busy is its now */
    if (r->op) go_on(r, true);
}

static void begin(race *r, attempt *a, const pro_address *to)
{
    memset(a, 0, sizeof *a);
    a->of = r;
    a->is_used = true;
    a->connect.user = a->close.user = a;
    r->busy++;
    r->trying++;
    pro_socket_init(&a->sock, r->loop, NULL);
    pro_connect_at(r->site, &a->connect, &a->sock, to, on_connected);
}

/* ---- What comes next -------------------------------------------------------------------------- */

static void on_time(pro_op *op)
{
    race *r = op->user;
    if (r->op && op->error == PRO_OK) go_on(r, false);
    leave(r);
}

/* next_ns only grows, so a timer that stands is early at worst, and looks again. */
static void wait_until_next(race *r)
{
    if ((pro_op_in_flight)(&r->timer)) return;
    r->busy++;
    r->timer.user = r;
    pro_timer_start_at(r->site, &r->timer, r->loop, r->next_ns, on_time);
}

static const pro_address *next_endpoint(race *r)
{
    for (int i = 0; i < 2; i++) {
        endpoints *to = &r->to[r->turn];
        r->turn = !r->turn;
        if (to->next < to->count) return &to->at[to->next++];
    }
    return NULL;
}

static bool has_endpoint(const race *r)
{
    return r->to[IPV6].next < r->to[IPV6].count || r->to[IPV4].next < r->to[IPV4].count;
}

/* now: an attempt failed, so the next one need not wait. */
static void go_on(race *r, bool now)
{
    if (!has_endpoint(r)) {
        bool is_over = r->trying == 0 && !r->lookups[IPV6] && !r->lookups[IPV4];
        if (is_over) finish(r, r->error);
        return;
    }
    if (!now && pro_loop_now(r->loop) < r->next_ns) {
        wait_until_next(r);
        return;
    }
    attempt *free = NULL;
    for (int i = 0; i < ATTEMPTS_MAX && !free; i++)
        if (!r->attempts[i].is_used) free = &r->attempts[i];
    if (!free) return; /* one that fails comes by */
    r->next_ns = pro_loop_now(r->loop) + ATTEMPT_DELAY_NS;
    r->has_tried = true;
    begin(r, free, next_endpoint(r));
    if (has_endpoint(r)) wait_until_next(r);
}

static void add(race *r, int family, const pro_address *found, size_t count)
{
    memcpy(r->to[family].at, found, count * sizeof *found);
    r->to[family].count = count;
}

/* The look-up of one family is over. */
static void on_found(race *r, int family, int error, const pro_address *found, size_t count)
{
    r->lookups[family] = NULL;
    if (count > 0) add(r, family, found, count);
    /* The better error: that a name exists only in the other family is none. */
    if (error && (!r->error || r->error == PRO_ENOENT)) r->error = error;
    bool is_held = family == IPV4 && count > 0 && r->lookups[IPV6] && !r->has_tried;
    if (is_held) r->next_ns = pro_loop_now(r->loop) + RESOLUTION_DELAY_NS;
    go_on(r, !is_held && r->trying == 0);
    leave(r);
}

static void on_found_v6(void *arg, int error, const pro_address *found, size_t count)
{
    on_found(arg, IPV6, error, found, count);
}

static void on_found_v4(void *arg, int error, const pro_address *found, size_t count)
{
    on_found(arg, IPV4, error, found, count);
}

/* ---- The operation ---------------------------------------------------------------------------- */

/* In the words of its step, which no engine sees. */
typedef struct __attribute__((may_alias)) race_words {
    race              *race;
    const char        *host, *service;
    const pro_address *addresses; /* or NULL: by name */
} race_words;

static race_words *words_of(pro_op *op) { return (race_words *)op->pri_kernel_step.engine; }

/* Begin to look for endpoints: PRO_OK, or nothing is under way. */
static int look_up(race *r, const char *host, const char *service)
{
    static pri_lookup_fn *const found[2] = {on_found_v6, on_found_v4};
    static const pro_family     families[2] = {PRO_IPV6, PRO_IPV4};
    pro_address                 address;
    if (pri_lookup_numeric(host, service, &address) == PRO_OK) {
        add(r, address.family == PRO_IPV4 ? IPV4 : IPV6, &address, 1);
        return PRO_OK;
    }
    for (int f = IPV6; f <= IPV4; f++) {
        int error = pri_lookup_start(&r->lookups[f], r->site, r->loop, host, service, families[f],
                                     found[f], r);
        if (error && f == IPV6) return error;
        if (error) r->error = error; /* with half of them then */
        if (!error) r->busy++;
    }
    return PRO_OK;
}

static void race_head(pro_op *op)
{
    race_words *words = words_of(op);
    pro_handle *handle = op->pri_kernel_step.handle;
    pro_loop   *loop = handle->pri_loop;
    size_t      count = op->pri_kernel_step.len;
    int         error = PRO_OK;
    if (handle->pri_fd >= 0)
        error = PRO_EISCONN;
    else if (words->addresses && (count == 0 || count > PRO_ENDPOINTS_MAX))
        error = PRO_EINVAL;
    race *r = error ? NULL : pri_env_realloc(&loop->env, NULL, sizeof *r);
    if (!r) {
        pri_handle_finish(op, error ? error : PRO_ENOMEM, 0);
        return;
    }
    memset(r, 0, sizeof *r);
    *r = (race){.op = op, .handle = handle, .loop = loop, .site = op->pri_site, .busy = 1};
    if (words->addresses)
        add(r, IPV6, words->addresses, count); /* as they are, whatever their families */
    else
        error = look_up(r, words->host, words->service);
    pri_op_wait(op);
    words->race = r;
    if (error)
        finish(r, error);
    else if (has_endpoint(r))
        go_on(r, true);
    leave(r);
}

static bool race_canceled(pro_op *op)
{
    race *r = words_of(op)->race;
    r->busy++;
    end(r);
    leave(r);
    return true;
}

static const pri_part race_part = {.head = race_head, .canceled = race_canceled};

static void start(const char *site, pro_op *op, pro_socket *s, const char *host,
                  const char *service, const pro_address *addresses, size_t count,
                  pro_handler *done)
{
    pro_handle *handle = &s->handle;
    pri_handle_must_be_made(handle, site);
    if (!pri_op_begin(op, handle->pri_loop, handle, PRI_OP_CONNECT_HOST, site, done)) return;
    op->pri_kernel_step.flags |= PRI_STEP_PART;
    op->pri_kernel_step.data = (void *)(uintptr_t)&race_part;
    op->pri_kernel_step.len = count;
    *words_of(op) = (race_words){.host = host, .service = service, .addresses = addresses};
    pri_handle_connecting(handle);
    pri_handle_queue(op, handle, PRI_WRITE, false);
}

void pro_connect_host_at(const char *site, pro_op *op, pro_socket *s, const char *host,
                         const char *service, pro_handler *done)
{
    start(site, op, s, host, service, NULL, 0, done);
}

void pro_connect_any_at(const char *site, pro_op *op, pro_socket *s, const pro_address *addresses,
                        size_t count, pro_handler *done)
{
    start(site, op, s, NULL, NULL, addresses, count, done);
}

/* ---- Plain names ------------------------------------------------------------------------------ */

void pro_connect_host(pro_op *op, pro_socket *s, const char *host, const char *service,
                      pro_handler *done)
{
    pro_connect_host_at("?", op, s, host, service, done);
}

void pro_connect_any(pro_op *op, pro_socket *s, const pro_address *addresses, size_t count,
                     pro_handler *done)
{
    pro_connect_any_at("?", op, s, addresses, count, done);
}
