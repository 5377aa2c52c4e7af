/* The shadow model: what was asked for.  Memory that was given back, connections and their bytes, scopes
 * and what lives in them, wishes.  What may come of it: check.c. */
#include "random/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct program p;
uint64_t       program_outcomes[PROGRAM_KIND_COUNT][PROGRAM_ERRORS];
uint64_t       program_completed, program_bytes;

static const char *const kind_names[] = {
#define KIND_NAME(name, weight) #name,
    PROGRAM_KINDS(KIND_NAME)
#undef KIND_NAME
};

const char *program_kind_name(program_kind kind) { return kind_names[kind]; }

void model_fail(const char *format, ...)
{
    char    text[240];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p.failed = true;
    p.world.fail(p.world.arg, text);
}

/* The same, of an operation. */
void model_wrong(const task *t, const char *what)
{
    model_fail("%s: %s%s #%" PRIu64 " on host %d, initiated at %s: %s, %" PRId64 " of %lu", what,
               t->of_listener ? "listener " : "", kind_names[t->kind], t->serial, t->host->number,
               pro_op_site(&t->op), pro_error_name(t->op.error), t->op.value,
               (unsigned long)t->len);
}

void model_sometimes(const char *name, bool condition)
{
    if (p.world.sometimes) p.world.sometimes(p.world.arg, name, condition);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void open_grave(size_t i)
{
    const unsigned char *at = p.graves[i].at;
    if (!at) return;
    for (size_t j = 0; j < p.graves[i].size; j++)
        if (at[j] != BURIED) {
            model_fail("memory was written after it had been given back, at offset %lu of %lu",
                       (unsigned long)j, (unsigned long)p.graves[i].size);
            break;
        }
    free(p.graves[i].at);
    p.graves[i].at = NULL;
}

void model_bury(void *at, size_t size)
{
    size_t i = p.buried++ % GRAVES;
    open_grave(i);
    memset(at, BURIED, size);
    p.graves[i].at = at;
    p.graves[i].size = size;
}

void model_end(void)
{
    for (size_t i = 0; i < GRAVES; i++) open_grave(i);
}

/* ---- Lines: bytes ------------------------------------------------------------------------------ */

void model_append(struct bytes *b, const void *data, size_t len)
{
    if (len == 0) return;
    if (b->head == b->len) b->head = b->len = 0;
    if (b->len + len > b->size) {
        b->size = 2 * (b->len + len);
        b->at = realloc(b->at, b->size);
        if (!b->at) abort();
    }
    memcpy(b->at + b->len, data, len);
    b->len += len;
    b->total += len;
}

/* What is known from both sides must be the same; either may be known first. */
void model_compare(struct stream *s)
{
    size_t sent = s->sent.len - s->sent.head, received = s->received.len - s->received.head;
    size_t both = sent < received ? sent : received;
    if (both == 0) return;
    if (memcmp(s->sent.at + s->sent.head, s->received.at + s->received.head, both) != 0)
        model_fail("other bytes were received than were sent");
    s->sent.head += both;
    s->received.head += both;
}

line *model_line(void)
{
    line *n = calloc(1, sizeof *n);
    if (!n) abort();
    n->users = 1;
    return n;
}

void model_leave_line(line *n)
{
    if (!n || --n->users > 0) return;
    for (int i = 0; i < 2; i++) {
        struct stream *s = &n->stream[i];
        if (s->received.total > s->sent.total)
            model_fail("%" PRIu64 " bytes were received, %" PRIu64 " sent", s->received.total,
                       s->sent.total);
        if (s->ended && s->received.total != s->sent.total && !p.world.reset_is_end)
            model_fail("the end of the stream came after %" PRIu64 " of %" PRIu64 " bytes",
                       s->received.total, s->sent.total);
        free(s->sent.at);
        free(s->received.at);
    }
    free(n);
}

/* ---- Lives ------------------------------------------------------------------------------------- */

void model_life(life *l, host *h, life *parent, end *e)
{
    memset(l, 0, sizeof *l);
    l->host = h;
    l->parent = parent;
    l->end = e;
    l->alive = true;
    if (parent) parent->children++;
}

/* Was it, or one above, closed by us; or by the end of a drain? */
bool model_is_closed(const life *l)
{
    for (; l; l = l->parent)
        if (l->closed) return true;
    return false;
}

bool model_may_be_closed(const life *l)
{
    uint64_t now = l ? pro_loop_now(l->host->loop) : 0;
    for (; l; l = l->parent)
        if (l->closed || (l->close_at && l->close_at <= now)) return true;
    return false;
}

bool model_is_draining(const life *l)
{
    for (; l; l = l->parent)
        if (l->draining || l->closed) return true;
    return false;
}

static bool is_in(const life *l, const life *root)
{
    for (; l; l = l->parent)
        if (l == root) return true;
    return false;
}

void model_check_life(const life *l)
{
    for (; l && l->alive; l = l->parent) {
        uint32_t is = pro_scope_live(&l->scope), low = l->ops + l->children + l->holds;
        uint32_t high = low + l->owns_handle;
        bool going = model_is_draining(l) || (l->end ? l->end->closing : l->host->listener_closing);
        if (l->owns_handle && !going) low++;
        if (is < low || is > high)
            model_fail("a scope counts %u, and %u to %u live in it", is, low, high);
        if (model_is_closed(l) && !pro_scope_closing(&l->scope))
            model_fail("a scope was closed, and says it is not");
        if (model_is_draining(l) && !pro_scope_draining(&l->scope))
            model_fail("a scope was drained, and says it is not");
        if (!model_is_draining(l) && pro_scope_draining(&l->scope))
            model_fail("a scope says it drains, and nobody asked");
    }
}

/* ---- Initiating -------------------------------------------------------------------------------- */

void model_begin(task *t, program_kind kind, host *h, end *e, life *l)
{
    pro_loop_stats stats;
    pro_loop_stats_get(h->loop, &stats);
    t->kind = kind;
    t->host = h;
    t->end = e;
    t->life = l;
    t->serial = ++p.serial;
    t->turn = stats.turns;
    t->started_ns = pro_loop_now(h->loop);
    t->deadline_ns = t->op.deadline_ns;
    t->in_flight = true;
    t->canceled = t->overtaken = false;
    t->asked_ns = 0;
    /* A drain that found nothing but handles has become a close. */
    t->asked = l && model_is_draining(l) && pro_scope_closing(&l->scope);
    t->late = e ? e->closing || model_is_closed(&e->life) : t->of_listener && h->listener_closing;
    t->dead = model_is_closed(l);
    t->behind_connect = false;
    for (task *o = h->tasks; e && o; o = o->next) {
        if (o->end != e) continue;
        t->behind_connect |= o->kind == CONNECT;
        o->behind_connect |= kind == CONNECT && receives(o->kind); /* if it waits in its queue */
    }
    t->again = kind == CONNECT && e->connected;
    t->next = h->tasks;
    h->tasks = t;
    if (kind == POST)
        t->when_ns = h->posted++;
    else
        h->live++;
    if (l) l->ops++;
    if (e && transfers(kind)) e->queued[sends(kind)]++;
    if (e && (kind == SHUTDOWN || kind == CLOSE)) e->line->stream[e->side].may_end = true;
    if (kind == SHUTDOWN) e->shut_asked = true;
    if (kind == SHUTDOWN) e->shutting++;
    p.calling++;
}

/* What is initiated in a handler belongs to its story. */
void model_begun(task *t)
{
    const host *h = p.hosts[0].running ? &p.hosts[0] : &p.hosts[1];
    p.calling--;
    if (h->running && pro_op_correlation(&t->op) != h->correlation)
        model_wrong(t, "it did not inherit the correlation of its handler");
}

/* ---- Wishes ------------------------------------------------------------------------------------ */

/* Its deadline was accepted as the cause in an earlier turn, surely. */
static bool is_timed_out(const task *t)
{
    const host *h = t->host;
    return t->deadline_ns && h->turn_before > t->turn && h->now_before >= t->deadline_ns;
}

void model_cancel(task *t)
{
    if (!t->in_flight || t->kind == POST || t->kind == CLOSE || is_timed_out(t)) return;
    if (!t->asked) t->asked_ns = pro_loop_now(t->host->loop);
    t->asked = true;
    if (!t->deadline_ns || t->deadline_ns > pro_loop_now(t->host->loop)) t->canceled = true;
}

void model_cancel_socket(end *e)
{
    for (task *t = e->host->tasks; t; t = t->next)
        if (t->end == e) model_cancel(t);
}

void model_cancel_life(life *l)
{
    for (task *t = l->host->tasks; t; t = t->next)
        if (is_in(t->life, l)) model_cancel(t);
}

void model_closing(end *e)
{
    model_cancel_socket(e);
    e->closing = true;
    e->line->may_break = true;
    e->line->stream[e->side].may_end = true;
}

/* The ends of a host that lie in this life. */
static void ends_go(life *l)
{
    host *h = l->host;
    for (int i = 0; i < h->ends_count; i++)
        if (is_in(&h->ends[i]->life, l)) {
            h->ends[i]->line->may_break = true;
            h->ends[i]->line->stream[h->ends[i]->side].may_end = true;
        }
}

void model_close_life(life *l)
{
    host *h = l->host;
    model_cancel_life(l);
    l->closed = true;
    ends_go(l);
    for (int i = 0; i < h->ends_count; i++)
        if (is_in(&h->ends[i]->life, l)) model_closing(h->ends[i]);
}

void model_drain_life(life *l, uint64_t close_at)
{
    uint64_t now = pro_loop_now(l->host->loop);
    l->draining = true;
    if (close_at && close_at < now) close_at = now; /* as soon as may be */
    if (close_at && (!l->close_at || close_at < l->close_at)) l->close_at = close_at;
    if (close_at) l->limited = true;
    ends_go(l);
}

/* ---- Scopes ------------------------------------------------------------------------------------ */

void model_stopped(life *l)
{
    if (p.calling || l->host->running) model_fail("on_stop ran inside a call");
    if (!l->alive) model_fail("on_stop of a scope that is over");
    if (l->stop_told) model_fail("on_stop was told twice");
    if (!model_is_draining(l)) model_fail("on_stop was told, and nobody asked for a drain");
    if (model_is_closed(l)) model_fail("on_stop was told to a scope that was closed");
    if (!l->draining && l->parent && l->parent->draining && !l->parent->limited &&
        !l->parent->stop_told)
        model_fail("on_stop was told to a child before its parent");
    l->stop_told = true;
}

void model_drained(life *l)
{
    if (p.calling || l->host->running) model_fail("on_drained ran inside a call");
    if (!l->alive) model_fail("a scope was drained twice");
    if (!model_is_draining(l)) model_fail("a scope was drained, and nobody asked");
    if (pro_scope_live(&l->scope)) model_fail("a scope was drained in which something lives");
    if (l->ops || l->children || l->holds)
        model_fail("a scope was drained, and %u operations, %u children, %u holds are in it",
                   l->ops, l->children, l->holds);
    model_check_life(l->parent); /* which counts it until this returns */
    bool limited = false, asked = l->draining;
    for (const life *up = l; up; up = up->parent) limited |= up->limited || up->closed;
    if (asked && !limited && !l->stop_told)
        model_fail("a scope drained, and its on_stop was not told");
    l->alive = false;
}
