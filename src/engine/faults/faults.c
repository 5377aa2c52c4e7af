/* An engine over another one, which makes bad days by seed: proactor/test.h.
 *
 * What the core starts goes on to the inner engine, perhaps with a shorter length; or it never gets
 * there, and a record says why.  What the inner engine reports is handed out, or held for a while.
 * The contract of an engine (core/engine.h) holds for the whole if it holds for the inner one: each
 * step still ends with exactly one record, by a later turn; only "no allocation" is broken.
 *
 * A socket that is reset here is lost: from then on nothing of it reaches the system but its close,
 * which is an abortive one, so that the peer hears of it too.
 *
 * The layer lives in its own pri_engine, which is what loop->engine points to: no state is needed
 * elsewhere, and whatever it does not change is the inner engine's function.
 *
 * Invariants, for each direction of a handle that has an entry:
 *   step == NULL                   nothing is started, or it was handed out
 *   step, and inside               the inner engine has it; cut: its length is to be restored
 *   step, and not inside           its final record is held */
#include "engine/faults/faults.h"

#include <stdatomic.h>
#include <string.h>

#include <proactor/test.h>

#include "core/op.h"
#include "engine/faults/inside.h"

enum { READ, WRITE };
enum { BUCKETS = 1024 };

#define SLOW_MAX_NS (16 * PRO_MSEC)

typedef struct lane {
    pri_step *step;
    bool      inside, cut;
    size_t    len, vec_len; /* before it was cut */
    uint32_t  vecs;
    uint64_t  last_at; /* of what is held: later records are not handed out before */
    uint32_t  held;
} lane;

typedef struct entry {
    struct entry *next;
    pro_handle   *handle;
    uint64_t      stream; /* its choices */
    bool          lost;
    lane          lanes[2];
} entry;

typedef struct held {
    uint64_t   at;
    pri_record record;
} held;

typedef struct faults {
    pri_engine        engine; /* first: loop->engine is this */
    const pri_engine *inner;
    pro_env           env;
    faults_plan       plan;
    uint64_t          stream, handles;
    held             *held;
    size_t            held_count, held_capacity;
    uint64_t          struck[PRO_SIM_FAULT_KINDS];
    entry            *buckets[BUCKETS];
} faults;

static int turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max);

static faults *faults_of(const pro_loop *loop) { return (faults *)(uintptr_t)loop->engine; }

static bool strikes(faults *f, entry *e, pro_sim_fault kind)
{
    uint32_t rate = f->plan.rate[kind];
    if (!rate || faults_choice(&e->stream, rate) != 0) return false;
    f->struck[kind]++;
    return true;
}

/* ---- Handles --------------------------------------------------------------------------------- */

static entry **slot_of(faults *f, const pro_handle *handle)
{
    entry **at = &f->buckets[((uintptr_t)handle / 16) % BUCKETS];
    while (*at && (*at)->handle != handle) at = &(*at)->next;
    return at;
}

/* Made when its first step is started; choices follow the order in which that happens, and no address.
 * NULL: no memory, so no faults for this one. */
static entry *entry_of(faults *f, pro_handle *handle)
{
    entry **at = slot_of(f, handle);
    if (*at) return *at;
    entry *e = pri_env_realloc(&f->env, NULL, sizeof *e);
    if (!e) return NULL;
    memset(e, 0, sizeof *e);
    e->handle = handle;
    e->stream = f->stream + ++f->handles * UINT64_C(0xd6e8feb86659fd93);
    *at = e;
    return e;
}

static int lane_of(const pri_step *step)
{
    return step->kind == PRI_STEP_SEND || step->kind == PRI_STEP_CONNECT ? WRITE : READ;
}

static bool is_transfer(const pri_step *step)
{
    return step->kind == PRI_STEP_RECV || step->kind == PRI_STEP_SEND || pri_step_is_leased(step);
}

/* Steps of the network, of which a handle has one in each direction; all others go by untouched. */
static bool is_ours(const pri_step *step)
{
    return is_transfer(step) || step->kind == PRI_STEP_ACCEPT || step->kind == PRI_STEP_CONNECT;
}

/* The lane in which this step is; NULL if it is none of ours. */
static lane *find(faults *f, const pri_step *step, entry **e)
{
    *e = is_ours(step) ? *slot_of(f, step->handle) : NULL;
    if (!*e) return NULL;
    lane *l = &(*e)->lanes[lane_of(step)];
    return l->step == step ? l : NULL;
}

/* ---- Cutting --------------------------------------------------------------------------------- */

static void cut(entry *e, lane *l, pri_step *step)
{
    if (step->len < 2) return;
    size_t len = 1 + faults_choice(&e->stream,
                                   step->len > UINT32_MAX ? UINT32_MAX : (uint32_t)step->len - 1);
    l->cut = true;
    l->len = step->len;
    step->len = len;
    if (!(step->flags & PRI_STEP_VECTORS)) return;
    pri_side *side = step->data;
    uint32_t  i = side->first;
    for (; side->vecs[i].len < len; i++) len -= side->vecs[i].len;
    l->vecs = side->count;
    l->vec_len = side->vecs[i].len;
    side->vecs[i].len = len;
    side->count = i + 1;
}

/* The core must find its step as it was. */
static void restore(lane *l, pri_step *step)
{
    if (!l->cut) return;
    l->cut = false;
    step->len = l->len;
    if (!(step->flags & PRI_STEP_VECTORS)) return;
    pri_side *side = step->data;
    side->vecs[side->count - 1].len = l->vec_len;
    side->count = l->vecs;
}

/* ---- Holding --------------------------------------------------------------------------------- */

static bool hold(faults *f, lane *l, const pri_record *record, uint64_t at)
{
    if (f->held_count == f->held_capacity) {
        size_t capacity = f->held_capacity ? 2 * f->held_capacity : 64;
        held  *more = pri_env_realloc(&f->env, f->held, capacity * sizeof *more);
        if (!more) return false;
        f->held = more;
        f->held_capacity = capacity;
    }
    if (at < l->last_at) at = l->last_at;
    l->last_at = at;
    l->held++;
    f->held[f->held_count++] = (held){at, *record};
    return true;
}

/* It goes to the core: the step is the core's again. */
static void hand_out(lane *l, const pri_record *record)
{
    if (!(record->flags & PRI_RECORD_MORE)) l->step = NULL;
}

/* What is due of the held, in the order in which it came. */
static int take_due(faults *f, uint64_t now, pri_record *records, int max)
{
    int    count = 0;
    size_t left = 0;
    for (size_t i = 0; i < f->held_count; i++) {
        const held *h = &f->held[i];
        if (count == max || h->at > now) {
            f->held[left++] = *h;
            continue;
        }
        entry *e;
        lane  *l = find(f, h->record.step, &e);
        if (--l->held == 0) l->last_at = 0;
        records[count++] = h->record;
        hand_out(l, &h->record);
    }
    f->held_count = left;
    return count;
}

static uint64_t next_due(const faults *f)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < f->held_count; i++)
        if (f->held[i].at < at) at = f->held[i].at;
    return at;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* The connection breaks, as far as this side can tell. */
static void lose(faults *f, pro_loop *loop, entry *e, int direction)
{
    const lane *other = &e->lanes[!direction];
    e->lost = true;
    e->handle->pri_flags |= PRI_HANDLE_ABORTIVE;
    if (other->step && other->inside && is_transfer(other->step))
        f->inner->cancel(loop, other->step);
}

/* Bytes in order, which may come in parts; messages are whole, and their loss is no reset. */
static bool is_stream(const pri_step *step)
{
    return step->handle->pri_kind == PRI_SOCKET &&
           !(step->flags & (PRI_STEP_MESSAGE | PRI_STEP_BY_CALL));
}

/* The error with which this step ends at once, or PRO_OK; it may have been cut. */
static int strike(faults *f, pro_loop *loop, entry *e, pri_step *step)
{
    int   direction = lane_of(step);
    bool  reads = direction == READ;
    lane *l = &e->lanes[direction];
    switch (step->kind) {
    case PRI_STEP_RECV:
    case PRI_STEP_SEND:
    case PRI_STEP_RECV_LEASED:
    case PRI_STEP_RECV_FROM_LEASED:
        if (!is_stream(step)) return PRO_OK;
        if (e->lost) return reads ? PRO_ECONNRESET : PRO_EPIPE;
        if (strikes(f, e, PRO_SIM_RESET)) {
            lose(f, loop, e, direction);
            return PRO_ECONNRESET;
        }
        if (step->kind == PRI_STEP_RECV_LEASED) return PRO_OK; /* how much is the buffer's matter */
        if (strikes(f, e, reads ? PRO_SIM_SHORT_READ : PRO_SIM_SHORT_WRITE)) cut(e, l, step);
        return PRO_OK;
    case PRI_STEP_CONNECT:
        return is_stream(step) && strikes(f, e, PRO_SIM_REFUSE) ? PRO_ECONNREFUSED : PRO_OK;
    case PRI_STEP_ACCEPT:
        if (strikes(f, e, PRO_SIM_HANDLES)) return PRO_EMFILE;
        if (!(step->flags & PRI_STEP_MULTI) && strikes(f, e, PRO_SIM_ABORTED))
            return PRO_ECONNABORTED;
        return PRO_OK;
    default: return PRO_OK;
    }
}

static uint64_t when(faults *f, const pro_loop *loop, entry *e)
{
    uint64_t now = loop->env.clock_ns(loop->env.ctx);
    if (!strikes(f, e, PRO_SIM_SLOW)) return now;
    return now + (SLOW_MAX_NS >> faults_choice(&e->stream, 12));
}

static void start(pro_loop *loop, pri_step *step)
{
    faults *f = faults_of(loop);
    entry  *e = is_ours(step) ? entry_of(f, step->handle) : NULL;
    if (!e) {
        f->inner->start(loop, step);
        return;
    }
    if (step->kind == PRI_STEP_SEND) step->flags &= (uint8_t)~PRI_STEP_HOLDS; /* one record each */
    lane *l = &e->lanes[lane_of(step)];
    l->step = step;
    l->inside = false;
    l->cut = false;
    int error = strike(f, loop, e, step);
    if (error) {
        pri_record record = {.step = step, .error = error};
        if (hold(f, l, &record, when(f, loop, e))) return;
    }
    l->inside = true; /* without memory for the fault there is none */
    f->inner->start(loop, step);
}

static void cancel(pro_loop *loop, pri_step *step)
{
    faults *f = faults_of(loop);
    entry  *e;
    lane   *l = find(f, step, &e);
    if (!l || l->inside) {
        f->inner->cancel(loop, step);
        return;
    }
    l->last_at = 0;
    for (size_t i = 0; i < f->held_count; i++) /* its result stands: no need to wait for it */
        if (f->held[i].record.step == step) f->held[i].at = 0;
}

static void detach(pro_loop *loop, pro_handle *handle)
{
    faults *f = faults_of(loop);
    f->inner->detach(loop, handle);
    entry **at = slot_of(f, handle), *e = *at;
    if (!e) return;
    *at = e->next;
    pri_env_realloc(&f->env, e, 0);
}

/* A record of the inner engine; true: it is handed out now. */
static bool pass(faults *f, pro_loop *loop, pri_record *record)
{
    entry *e;
    lane  *l = find(f, record->step, &e);
    if (!l) return true;
    bool is_final = !(record->flags & PRI_RECORD_MORE);
    if (is_final) {
        restore(l, record->step);
        l->inside = false;
    }
    if (e->lost && is_transfer(record->step) && (record->error || record->value == 0)) {
        record->error = PRO_ECONNRESET; /* it was ended by lose */
        record->system = 0;
    }
    if (!is_final && record->step->kind == PRI_STEP_RECV_LEASED && !e->lost &&
        strikes(f, e, PRO_SIM_RESET)) { /* a multishot one is begun once for many bytes */
        lose(f, loop, e, READ);
        f->inner->cancel(loop, record->step);
    }
    uint64_t now = loop->env.clock_ns(loop->env.ctx), at = when(f, loop, e);
    if ((at > now || l->held > 0) && hold(f, l, record, at)) return false;
    hand_out(l, record);
    return true;
}

static int turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    faults  *f = faults_of(loop);
    int      count = take_due(f, loop->env.clock_ns(loop->env.ctx), records, max);
    uint64_t due = next_due(f);
    if (count == max) return count;
    if (count > 0)
        until_ns = PRI_TURN_POLL;
    else if (due < until_ns)
        until_ns = due;
    int more = f->inner->turn(loop, until_ns, records + count, max - count);
    if (more < 0) return count > 0 ? count : more;
    for (int i = 0, n = count; i < more; i++) {
        pri_record record = records[n + i];
        if (pass(f, loop, &record)) records[count++] = record;
    }
    return count;
}

/* ---- Making, ending -------------------------------------------------------------------------- */

static void fini(pro_loop *loop)
{
    faults *f = faults_of(loop);
    f->inner->fini(loop);
    pri_faults_free(&f->engine);
}

void pri_faults_free(const pri_engine *layer)
{
    faults *f = (faults *)(uintptr_t)layer;
    pro_env env = f->env;
    for (int i = 0; i < BUCKETS; i++)
        for (entry *e = f->buckets[i], *next; e; e = next) {
            next = e->next;
            pri_env_realloc(&env, e, 0);
        }
    if (f->held) pri_env_realloc(&env, f->held, 0);
    pri_env_realloc(&env, f, 0);
}

const pri_engine *pri_faults_over(const pri_engine *inner, const char *plan, const pro_env *env,
                                  pri_why *why)
{
    static _Atomic uint64_t loops;
    char                    text[200];
    faults                 *f = pri_env_realloc(env, NULL, sizeof *f);
    if (!f) return NULL;
    memset(f, 0, sizeof *f);
    f->engine = *inner;
    f->engine.fini = fini;
    f->engine.start = start;
    f->engine.start_plain[0] = f->engine.start_plain[1] = NULL; /* every record comes by here */
    f->engine.run_plain = NULL;
    f->engine.unplain = NULL;
    f->engine.cancel = cancel;
    f->engine.detach = detach;
    f->engine.turn = turn;
    f->inner = inner;
    f->env = *env;
    pri_faults_plan_read(&f->plan, plan);
    f->stream = f->plan.seed + atomic_fetch_add(&loops, 1) * UINT64_C(0x9fb21c651e98df25);
    pri_faults_plan_tell(&f->plan, text, sizeof text);
    pri_why_add(why, "faults are injected: %s", text);
    return &f->engine;
}

uint64_t pro_test_faults_count(const pro_loop *loop, pro_sim_fault kind)
{
    if (loop->engine->turn != turn || (unsigned)kind >= PRO_SIM_FAULT_KINDS) return 0;
    return faults_of(loop)->struck[kind];
}
