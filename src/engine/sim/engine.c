/* The engine: steps in, records out.
 *
 * start hands a step to its socket, which tries it (stream.c); what completes becomes a record in the
 * ring of its loop, and turn hands the ring out.  So nothing completes inside the call that started
 * it.  Two kinds of turns:
 *
 *   the world polls the loop      turn takes what is there, and notes what it would have waited for
 *   the program runs its loop     turn waits until something is there for this loop: on a lane by
 *                                 leaving it to the world, else by stepping the world from here,
 *                                 which is how time passes in a program of its own
 *
 * Buffers in flight are guarded: a receive's is scrambled, so that who reads it early reads nonsense,
 * and is itself again when the receive ends; of both kinds a sum is taken, which must be right then. */
#include <string.h>

#include "core/buffers.h"
#include "core/list.h"
#include "engine/sim/disk.h"
#include "engine/sim/lane.h"
#include "engine/sim/net.h"

enum { PATTERN = 0xdb, GUARDED_MAX = 1024 };

/* ---- Guards --------------------------------------------------------------------------------- */

/* What is kept in a step while it is started. */
typedef struct __attribute__((may_alias)) guard {
    uint64_t sum;
    uint32_t len; /* 0: not guarded */
} guard;

static guard *guard_of(pri_step *step) { return (guard *)step->engine; }

/* Is it of a kind that moves bytes one way or the other?  RECV, SEND, or NONE. */
static pri_step_kind moves(const pri_step *step)
{
    if (step->kind == PRI_STEP_RECV || step->kind == PRI_STEP_SEND) return step->kind;
    if (step->kind != PRI_STEP_CALL) return PRI_STEP_NONE;
    const pri_side *side = step->data;
    if (side->call.what == PRI_CALL_FILE_READ) return PRI_STEP_RECV;
    return side->call.what == PRI_CALL_FILE_WRITE ? PRI_STEP_SEND : PRI_STEP_NONE;
}

/* The first piece of what the step moves. */
static unsigned char *first_piece(const pri_step *step, size_t *len)
{
    unsigned char *bytes = step->data;
    *len = step->len;
    if (step->flags & PRI_STEP_VECTORS) {
        const pri_side *side = step->data;
        bool            is_none = side->first == side->count; /* an empty datagram */
        bytes = is_none ? NULL : side->vecs[side->first].base;
        *len = is_none ? 0 : side->vecs[side->first].len;
    } else if (step->flags & PRI_STEP_BY_CALL && step->handle->pri_kind == PRI_DATAGRAM) {
        const pro_message *messages = step->data;
        bytes = messages->buf;
        *len = messages->len;
    }
    if (*len > GUARDED_MAX) *len = GUARDED_MAX;
    return bytes;
}

static uint64_t sum_of(const unsigned char *bytes, size_t len)
{
    uint64_t sum = len, word;
    for (; len >= 8; bytes += 8, len -= 8) {
        memcpy(&word, bytes, 8);
        sum = (sum ^ word) * UINT64_C(0x9fb21c651e98df25);
        sum ^= sum >> 29;
    }
    for (; len > 0; len--) sum = (sum ^ *bytes++) * UINT64_C(0x9fb21c651e98df25);
    return sum;
}

/* Twice is not at all. */
static void scramble(unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) bytes[i] ^= PATTERN;
}

static void guard_begin(pri_step *step)
{
    size_t len;
    guard *g = guard_of(step);
    g->len = 0;
    pri_step_kind way = moves(step);
    if (way == PRI_STEP_NONE) return;
    unsigned char *bytes = first_piece(step, &len);
    g->len = (uint32_t)len;
    if (way == PRI_STEP_RECV) scramble(bytes, len);
    g->sum = sum_of(bytes, len);
}

void pri_sim_guard_end(pro_sim *w, pri_step *step)
{
    size_t len;
    guard *g = guard_of(step);
    if (g->len == 0) return;
    unsigned char *bytes = first_piece(step, &len);
    bool           is_touched = g->sum != sum_of(bytes, g->len);
    if (moves(step) == PRI_STEP_RECV) scramble(bytes, g->len);
    g->len = 0;
    if (!is_touched) return;
    const pro_op *op = pri_sim_op(step);
    pro_sim_fail(w, "the buffer of %s initiated at %s was touched while in flight", pro_op_name(op),
                 pro_op_site(op));
}

/* ---- Records -------------------------------------------------------------------------------- */

static void add_record(sim_loop *l, pri_record record)
{
    if (l->count == l->capacity) {
        uint32_t    capacity = l->capacity * 2;
        pri_record *records = pri_sim_realloc(NULL, capacity * sizeof *records);
        for (uint32_t i = 0; i < l->count; i++)
            records[i] = l->records[(l->head + i) & (l->capacity - 1)];
        pri_sim_realloc(l->records, 0);
        l->records = records;
        l->capacity = capacity;
        l->head = 0;
    }
    l->records[(l->head + l->count++) & (l->capacity - 1)] = record;
    pri_sim_turn_soon(l, l->world->now_ns);
}

/* In the ring a record of no step is a mark: a socket that reads again when all before it were delivered,
 * which is before any event. */
static void try_marked(pro_sim *w, const pri_record *mark)
{
    pri_sim_push(w, w->now_ns + 1, EV_TRY, (uint32_t)mark->value, mark->lease, PRI_SIM_READ);
}

void pri_sim_try_behind(sim_socket *s)
{
    sim_loop *l = pri_loop_engine_state(s->step[PRI_SIM_READ]->handle->pri_loop);
    s->trying[PRI_SIM_READ] = 1;
    add_record(l, (pri_record){.value = s->id, .lease = s->generation});
}

static int take_records(sim_loop *l, pri_record *records, int max)
{
    int count = 0;
    for (; count < max && l->count > 0; l->count--) {
        records[count] = l->records[l->head];
        l->head = (l->head + 1) & (l->capacity - 1);
        if (records[count].step)
            count++;
        else
            try_marked(l->world, &records[count]);
    }
    return count;
}

static void complete(pro_sim *w, sim_socket *s, int direction, int error, int64_t value,
                     uint32_t flags, uint32_t lease)
{
    pri_step *step = s->step[direction];
    sim_loop *l = pri_loop_engine_state(step->handle->pri_loop);
    pri_sim_guard_end(w, step);
    if (!(flags & PRI_RECORD_MORE)) s->step[direction] = NULL;
    pri_sim_note(w, EV_RECORD, s->node, s->id, error, value, step);
    add_record(l, (pri_record){.step = step,
                               .value = value,
                               .error = error,
                               .system = pri_sim_system_error(error),
                               .flags = flags,
                               .lease = lease});
}

void pri_sim_complete(pro_sim *w, sim_socket *s, int direction, int error, int64_t value,
                      uint32_t flags)
{
    complete(w, s, direction, error, value, flags, 0);
}

void pri_sim_complete_leased(pro_sim *w, sim_socket *s, int direction, int64_t value,
                             uint32_t flags, uint32_t lease)
{
    complete(w, s, direction, PRO_OK, value, flags, lease);
}

/* ---- Starting and canceling ----------------------------------------------------------------- */

static int direction_of(const pri_step *step)
{
    bool writes = step->kind == PRI_STEP_SEND || step->kind == PRI_STEP_CONNECT;
    return writes ? PRI_SIM_WRITE : PRI_SIM_READ;
}

/* Why it cannot even be tried. */
static int refusal(const sim_socket *s, const pri_step *step)
{
    switch (step->kind) {
    case PRI_STEP_RECV:
    case PRI_STEP_RECV_LEASED:
    case PRI_STEP_RECV_FROM_LEASED:
    case PRI_STEP_SEND:
        return s->state == SOCK_CONNECTED || s->flags & SOCK_DATAGRAM ? PRO_OK : PRO_ENOTCONN;
    case PRI_STEP_ACCEPT: return s->state == SOCK_LISTENING ? PRO_OK : PRO_EINVAL;
    default: return PRO_OK;
    }
}

void pri_sim_step_record(sim_loop *l, pri_step *step, int64_t result)
{
    int     error = result < 0 ? (int)result : PRO_OK;
    int64_t value = result > 0 ? result : 0;
    int     system = step->kind == PRI_STEP_CALL ? pri_sim_system_error(error) : 0;
    pri_sim_note(l->world, EV_RECORD, l->node, l->id, error, value, step);
    add_record(l, (pri_record){.step = step, .value = value, .error = error, .system = system});
}

static void start_job_or_call(pro_loop *loop, pri_step *step)
{
    sim_loop *l = pri_loop_engine_state(loop);
    pro_sim  *w = l->world;
    uint64_t  index = w->started++;
    int       error = PRO_OK;
    if (w->watch) w->watch(w->watch_arg, index, pri_sim_op(step));
    if (index == w->inject_at) error = w->inject_error;
    if (step->kind == PRI_STEP_CALL) {
        guard_begin(step);
        pri_sim_file_start(l, step, error);
        return;
    }
    if (!error && !l->lanes_used) error = pri_os_error(pri_os_fault(&loop->env, "thread"));
    pri_sim_job_start(l, step, error);
}

static bool is_job_or_call(const pri_step *step)
{
    return step->kind == PRI_STEP_JOB || step->kind == PRI_STEP_CALL;
}

static void start(pro_loop *loop, pri_step *step)
{
    static const char *const calls[PRI_STEP_KINDS] = {"", "recv", "send", "accept", "connect"};
    if (is_job_or_call(step)) {
        start_job_or_call(loop, step);
        return;
    }
    sim_loop   *l = pri_loop_engine_state(loop);
    pro_sim    *w = l->world;
    sim_socket *s = pri_sim_socket_of_fd(w, step->handle->pri_fd);
    int         direction = direction_of(step);
    if (PRI_RARELY(!s)) { /* a stream that is a file */
        if (step->handle->pri_fd < PRI_SIM_FILES)
            pri_abort("sim: a step on descriptor %lld, which is none of this world",
                      (long long)step->handle->pri_fd);
        start_job_or_call(loop, step);
        return;
    }
    if (s->step[direction]) pri_abort("sim: two steps at a time in one direction");
    s->step[direction] = step;
    s->steps[direction]++;
    guard_begin(step);

    uint64_t index = w->started++;
    if (w->watch) w->watch(w->watch_arg, index, pri_sim_op(step));
    int error = pri_os_error(pri_os_fault(&loop->env, calls[step->kind]));
    if (!error) error = refusal(s, step);
    if (index == w->inject_at) error = w->inject_error;
    if (error)
        pri_sim_complete(w, s, direction, error == PRO_EOF ? PRO_OK : error, 0, 0);
    else if (step->kind == PRI_STEP_CONNECT)
        pri_sim_connect(w, s);
    else
        pri_sim_try_soon(w, s, direction);
}

/* An attempt to connect that nobody waits for any more. */
static void abandon_connect(pro_sim *w, sim_socket *s)
{
    sim_socket *peer = pri_sim_socket(w, s->peer);
    if (peer) {
        peer->peer = PRI_SIM_NONE;
        pri_sim_send_segment(w, peer, 0, SEG_RST);
    }
    s->peer = PRI_SIM_NONE;
    s->state = SOCK_OPEN;
    s->pipe.stored = s->pipe.readable = s->pipe.segment_count = 0;
}

void pri_sim_canceled(pro_sim *w, sim_socket *s, int direction)
{
    pri_step *step = s->step[direction];
    bool      is_race = pri_sim_strikes(w, &s->stream, PRO_SIM_CANCEL);
    if (step->kind == PRI_STEP_CONNECT) {
        if (is_race && s->peer != PRI_SIM_NONE) {
            pri_sim_answer(w, s, PRO_OK);
            return;
        }
        abandon_connect(w, s);
    } else if (is_race) {
        if (step->kind == PRI_STEP_SEND && pri_sim_send_part(w, s)) return;
        pri_sim_try(w, s, direction);
        if (s->step[direction] != step) return;
    }
    pri_sim_complete(w, s, direction, PRO_ECANCELED, 0, 0);
}

static void cancel(pro_loop *loop, pri_step *step)
{
    sim_loop *l = pri_loop_engine_state(loop);
    if (step->kind == PRI_STEP_JOB ||
        (step->handle && step->handle->pri_fd >= PRI_SIM_FILES && step->kind != PRI_STEP_CALL)) {
        if (pri_sim_job_cancel(l, step)) pri_sim_step_record(l, step, PRO_ECANCELED);
        return;
    }
    if (step->kind == PRI_STEP_CALL) {
        pri_sim_file_cancel(l, step);
        return;
    }
    pro_sim    *w = l->world;
    sim_socket *s = pri_sim_socket_of_fd(w, step->handle->pri_fd);
    int         direction = direction_of(step);
    if (!s || s->step[direction] != step) return; /* its record is on its way */
    if (!w->latency_ns)
        pri_sim_canceled(w, s, direction);
    else
        pri_sim_push(w, w->now_ns + pri_sim_choice(w, &s->stream, w->latency_ns), EV_CANCEL, s->id,
                     s->generation, (uint32_t)direction | s->steps[direction] << 1);
}

static void detach(pro_loop *loop, pro_handle *handle)
{
    const sim_loop   *l = pri_loop_engine_state(loop);
    const sim_socket *s = pri_sim_socket_of_fd(l->world, handle->pri_fd);
    if (s && (s->step[0] || s->step[1])) pri_abort("sim: detach with a step outstanding");
}

/* ---- Turns ---------------------------------------------------------------------------------- */

static bool has_own_clock(const pro_loop *loop)
{
    return loop->given.clock_ns == pri_os_clock_ns; /* none was given */
}

/* Let real time pass until somebody (a real thread, a signal) calls wake; false: nobody did. */
static bool real_wake(const sim_loop *l, uint64_t patience_ns)
{
    l->world->outside++;
    uint64_t begin = pri_os_clock_ns(NULL);
    while (!atomic_load(&l->woken) && pri_os_clock_ns(NULL) - begin < patience_ns) {}
    l->world->outside--;
    return atomic_load(&l->woken);
}

/* Nothing is left in the world, and this turn waits for ever.  Where a program brought threads of its
 * own into a world of its own they may still wake it, which no deterministic run needs. */
static bool is_deadlock(pro_sim *w, const sim_loop *l)
{
    if (w->implicit && real_wake(l, 2 * PRO_SEC)) return false;
    pro_sim_fail(w, "deadlock: nothing is left to run, and the loop waits for ever");
    return true;
}

/* When a turn gives up, on the world's clock. */
static uint64_t patience(const pro_loop *loop, const sim_loop *l, uint64_t until_ns)
{
    uint64_t now = l->world->now_ns;
    if (until_ns == PRI_TURN_POLL) return now + 1000;
    if (until_ns == PRI_TURN_FOREVER) return UINT64_MAX;
    if (has_own_clock(loop)) return pri_sim_world_time(l->node, until_ns);
    return now + (until_ns - loop->now_ns);
}

/* The turn of a loop that a lane runs. */
static int wait_on_lane(sim_lane *lane, sim_loop *l, uint64_t until, bool is_poll,
                        pri_record *records, int max)
{
    pro_sim *w = l->world;
    for (;;) {
        pri_sim_hear_wakes(w);
        if (!is_poll && (l->count > 0 || atomic_load(&l->woken))) break;
        if (w->now_ns >= until) break;
        l->lane = lane;
        l->turn_at = PRI_TURN_FOREVER;
        if (until != UINT64_MAX) pri_sim_turn_soon(l, until);
        pri_sim_lane_wait(lane);
        l->lane = NULL;
    }
    if (!is_poll) atomic_store(&l->woken, false);
    return take_records(l, records, max);
}

static int drive(pro_loop *loop, sim_loop *l, uint64_t until_ns, pri_record *records, int max)
{
    pro_sim *w = l->world;
    bool     is_stuck = false;
    /* A turn that does not wait takes time all the same, or a busy program would stop it. */
    bool is_poll = until_ns == PRI_TURN_POLL || l->count > 0;
    if (is_poll) until_ns = PRI_TURN_POLL;
    uint64_t until = patience(loop, l, until_ns);
    l->by_lane = w->lane != NULL;
    if (w->lane) return wait_on_lane(w->lane, l, until, is_poll, records, max);
    bool      is_foreign = !is_poll && until != UINT64_MAX && !has_own_clock(loop);
    sim_loop *outer = w->turning;
    w->turning = l;
    for (;;) {
        pri_sim_hear_wakes(w);
        if (!is_poll && (l->count > 0 || atomic_load(&l->woken))) break;
        if (!w->queue_len || (until == UINT64_MAX && !pri_sim_has_work(w))) {
            if (until == UINT64_MAX)
                is_stuck = is_deadlock(w, l);
            else if (until > w->now_ns)
                w->now_ns = until;
            if (is_foreign) real_wake(l, PRO_MSEC); /* it is its clock that must move */
            break;
        }
        if (w->queue[0].at > until) {
            if (until > w->now_ns) w->now_ns = until;
            if (is_foreign) real_wake(l, PRO_MSEC);
            break;
        }
        pri_sim_step_one(w);
    }
    w->turning = outer;
    w->here = l->node;
    pri_op_set_current_loop(loop); /* a loop that the world polled meanwhile took it away */
    if (!is_poll) atomic_store(&l->woken, false);
    return is_stuck ? -PRI_SIM_EBUSY : take_records(l, records, max);
}

static int turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    sim_loop *l = pri_loop_engine_state(loop);
    pri_buffers_resume(
        loop); /* nothing stands in the list of the paused here, but spare buffers are lent */
    if (!l->polling) return drive(loop, l, until_ns, records, max);
    l->until = until_ns;
    atomic_store(&l->woken, false);
    return take_records(l, records, max);
}

static void wake(pro_loop *loop)
{
    sim_loop *l = pri_loop_engine_state(loop);
    atomic_store(&l->woken, true);
    atomic_store(&l->world->woken, true);
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

static int probe(const pri_engine_options *options, pri_why *why)
{
    (void)options, (void)why;
    return 0;
}

static int init(pro_loop *loop, const pri_engine_options *options, pri_why *why)
{
    sim_loop *l = pri_env_realloc(options->env, NULL, sizeof *l);
    if (!l) return -PRI_SIM_NUMBER(ENOMEM, 8);
    pro_sim *w = pri_sim_current_or_implicit();
    memset(l, 0, sizeof *l);
    l->world = w;
    l->node = pro_sim_here(w);
    l->loop = loop;
    l->id = w->loops_count++;
    l->manual = !w->in_main;
    l->until = l->turn_at = PRI_TURN_FOREVER;
    l->stream = pri_sim_stream(w, STREAM_RANDOM, l->id, 0);
    l->job_stream = pri_sim_stream(w, STREAM_JOB, l->id, 0);
    pri_list_init(&l->running);
    pri_list_init(&l->waiting);
    pri_list_init(&l->files);
    l->capacity = 64;
    l->records = pri_sim_realloc(NULL, l->capacity * sizeof *l->records);
    if (w->last_loop)
        w->last_loop->next = l;
    else
        w->loops = l;
    w->last_loop = l;
    pri_loop_set_engine_state(loop, l);
    pri_loop_set_native(loop, UINT64_MAX);             /* there are no threads here */
    if (!l->manual) atomic_store(&loop->asleep, true); /* whoever posts must wake the world */
    if (!l->manual) pri_sim_turn_soon(l, w->now_ns);
    char plan[200];
    pro_sim_plan(w, plan, sizeof plan);
    pri_why_line(why, "sim: virtual time and network, seed %llu, %s", (unsigned long long)w->seed,
                 plan);
    pri_why_add(why, "%s", why->line);
    return 0;
}

static void fini(pro_loop *loop)
{
    sim_loop  *l = pri_loop_engine_state(loop);
    pro_sim   *w = l->world;
    sim_loop **at = &w->loops, *last = NULL;
    while (*at != l) {
        last = *at;
        at = &(*at)->next;
    }
    *at = l->next;
    if (w->last_loop == l) w->last_loop = last;
    pri_sim_realloc(l->records, 0);
    pri_env_realloc(&loop->env, l, 0);
    pri_loop_set_engine_state(loop, NULL);
    pri_sim_release(w);
}

static int bind(pro_loop *loop)
{
    (void)loop;
    return 0;
}

static uint64_t clock_ns(const pro_loop *loop)
{
    const sim_loop *l = pri_loop_engine_state(loop);
    if (l) return pri_sim_node_now(l->node, l->world->now_ns);
    pro_sim *w = pri_sim_current(); /* while it is made */
    return w ? pri_sim_node_now(pro_sim_here(w), w->now_ns) : PRO_SEC;
}

static void random_bytes(pro_loop *loop, void *buf, size_t len)
{
    sim_loop *l = pri_loop_engine_state(loop);
    for (unsigned char *at = buf; len > 0;) {
        uint64_t bits = pri_sim_bits(l->world, &l->stream);
        size_t   part = len < 8 ? len : 8;
        memcpy(at, &bits, part);
        at += part;
        len -= part;
    }
}

const pri_engine pri_engine_sim = {
    .id = PRO_ENGINE_SIM,
    .name = "sim",
    .net = &pri_sim_net,
    .threads = &pri_sim_threads,
    .caps = PRI_CAPS_LEASE,
    .nonblocking = 1,
    .features = "",
    .call = pri_sim_call,
    .probe = probe,
    .init = init,
    .fini = fini,
    .bind = bind,
    .start = start,
    .cancel = cancel,
    .detach = detach,
    .turn = turn,
    .wake = wake,
    .clock_ns = clock_ns,
    .random = random_bytes,
};
