/* What each handler may see, by the clauses of the contract (docs/design, proactor/op.h):
 *
 *    1 exactly once, all of it            completed twice; on no list; live_ops is what we count
 *    2 never inside                       calling, running
 *    3 the operation is ours again        what we gave back stays as we left it
 *    5 error and value                    each kind has its own rule
 *    6 precedence                         canceled only if somebody asked; a first cause stays
 *    7 deadlines                          not before, consumed, not on the next life of the operation
 *    8 order                              posts, timers, each direction of a connection
 *    9 holes                              what is behind one moves nothing
 *   10 ends                               only after the peer began to end, and after all its bytes
 *   11 close                              last, always PRO_OK; later use: closed
 *   12 scopes                             counts; each told once, from the top, and only if asked
 *   13 accept                             what is not taken is closed: its client hears of it
 *   15 time                               never early; in one turn by deadline, then by initiation */
#include "random/model.h"

#include <inttypes.h>

static void observe(host *h)
{
    pro_loop_stats stats;
    pro_loop_stats_get(h->loop, &stats);
    uint64_t now = pro_loop_now(h->loop);
    if (now < h->now) model_fail("the time of a loop went back");
    if (stats.turns != h->turn) {
        h->turn_before = h->turn;
        h->now_before = h->now;
    }
    h->turn = stats.turns;
    h->now = now;
    if (stats.live_ops != h->live)
        model_fail("a loop counts %u operations in flight, and there are %u", stats.live_ops,
                   h->live);
    if (stats.canceled != h->canceled || stats.timed_out != h->timed_out)
        model_fail("a loop counts %" PRIu64 " canceled and %" PRIu64 " timed out, and %" PRIu64
                   " and %" PRIu64 " were",
                   stats.canceled, stats.timed_out, h->canceled, h->timed_out);
}

/* It failed, and not by a cause of its own: so a connect before it is over. */
static void check_waited(const task *t)
{
    for (const task *o = t->host->tasks; o; o = o->next)
        if (o->end == t->end && o->kind == CONNECT && o->serial < t->serial && t->len > 0 &&
            !o->asked && !model_may_be_closed(o->life) &&
            !(o->deadline_ns && o->deadline_ns <= t->host->now))
            model_wrong(t, "it did not wait for the connect before it");
}

static void check_causes(const task *t)
{
    int        error = t->op.error;
    uint64_t   now = t->host->now;
    const end *e = t->end;
    if (t->kind == POST) {
        if (error) model_wrong(t, "a post failed");
        return;
    }
    if (t->kind == CLOSE) {
        if (error || t->op.value) model_wrong(t, "a close does not fail");
        return;
    }
    if (e && (!e->connected || t->behind_connect) && t->kind != CONNECT && error) {
        if (error != PRO_ECANCELED && error != PRO_ETIMEDOUT && error != PRO_ECLOSED)
            check_waited(t);
        return; /* behind a connect that failed: they fail with it */
    }
    bool goes =
        model_may_be_closed(t->life) || (e && (e->closing || model_is_draining(&e->life))) ||
        (t->of_listener && (t->host->listener_closing || model_is_draining(&t->host->life)));
    if (error == PRO_ECANCELED && !t->asked && !goes)
        model_wrong(t, "canceled, and nobody asked, or its deadline was first");
    if (error == PRO_ETIMEDOUT) {
        bool due = t->deadline_ns && now >= t->deadline_ns;
        if (t->canceled) model_wrong(t, "a later cause replaced the first");
        if (!due && !(e && p.world.may_time_out)) model_wrong(t, "timed out, and it was not due");
    }
    if (t->late && error != PRO_ECLOSED) model_wrong(t, "the handle was closed before");
    if (t->dead && !t->late && error != PRO_ECANCELED && error != PRO_ECLOSED)
        model_wrong(t, "its scope was closed before");
    if (error == PRO_ECLOSED && !t->late && !t->dead && !goes)
        model_wrong(t, "the handle is closed, and nobody asked");
    if (t->canceled && (error == PRO_EOF || (error == PRO_ECONNRESET && e && e->connected)))
        model_wrong(t, "the cause comes before the error");
    if (p.world.late_ns && t->asked_ns && now > t->asked_ns + p.world.late_ns)
        model_wrong(t, "it was canceled, and went on");
    for (const life *l = t->life; p.world.late_ns && l; l = l->parent) {
        uint64_t stop = l->close_at > t->started_ns ? l->close_at : t->started_ns;
        if (l->close_at && now > stop + p.world.late_ns)
            model_wrong(t, "the end of a drain did not reach it");
    }
    uint64_t due = t->deadline_ns > t->started_ns ? t->deadline_ns : t->started_ns;
    if (p.world.late_ns && t->deadline_ns && now > due + p.world.late_ns)
        model_wrong(t, "its deadline was not kept");
}

static void check_timer(const task *t)
{
    host *h = t->host;
    if (t->op.error == PRO_OK) {
        if (h->now < t->when_ns) model_wrong(t, "a timer ran early");
        if (p.world.late_ns && h->now > p.world.late_ns + t->when_ns &&
            h->now > p.world.late_ns + t->started_ns)
            model_wrong(t, "a timer ran late");
        if (h->timer_turn == h->turn &&
            (h->timer_when > t->when_ns ||
             (h->timer_when == t->when_ns && h->timer_serial > t->serial)))
            model_wrong(t, "timers of one turn ran out of order");
        h->timer_turn = h->turn;
        h->timer_when = t->when_ns;
        h->timer_serial = t->serial;
    } else if (t->op.error == PRO_ETIMEDOUT && t->when_ns <= t->deadline_ns) {
        model_wrong(t, "a timer timed out that was due before");
    }
}

static void check_post(const task *t)
{
    host *h = t->host;
    if (h->post_seen != t->when_ns) model_wrong(t, "posts of one thread ran out of order");
    h->post_seen = t->when_ns + 1;
    if (h->turn <= t->turn) model_wrong(t, "a post ran in the turn in which it was posted");
}

/* Something of this direction was done: what was initiated before it is over, and did nothing more. */
static void check_order(const task *t, bool writes)
{
    for (task *o = t->host->tasks; o; o = o->next) {
        bool same = o->end == t->end && (transfers(o->kind) || o->kind == SHUTDOWN);
        if (same && o->serial < t->serial && (o->kind == SHUTDOWN || sends(o->kind)) == writes)
            o->overtaken = true;
    }
}

static bool is_anything_behind(const task *t)
{
    for (const task *o = t->host->tasks; o; o = o->next)
        if (o->end == t->end && o->serial > t->serial && o->len > 0 && sends(o->kind) &&
            !o->asked && !o->late && !o->dead &&
            !(o->deadline_ns && o->deadline_ns <= o->host->now) && !model_may_be_closed(o->life))
            return true;
    return false;
}

static void check_transfer(task *t)
{
    end    *e = t->end;
    int     error = t->op.error;
    int64_t value = t->op.value;
    bool    writes = sends(t->kind), may_break;
    size_t  n = (size_t)value;
    if (value < 0 || n > t->len) {
        model_wrong(t, "such a value cannot be");
        return;
    }
    program_bytes += n;
    may_break = p.world.may_reset || !e->matched || e->line->may_break || !e->connected;
    if (error == PRO_OK && t->len > 0) {
        if (n == 0) model_wrong(t, "nothing moved, and that is no error");
        if (is_whole(t->kind) && n != t->len) model_wrong(t, "a part was taken for the whole");
        if (writes && n < t->len && is_anything_behind(t))
            model_wrong(t, "a send was short, with others behind it");
        if (!e->connected) model_wrong(t, "it moved bytes before its connect was over");
    }
    if (error && n == t->len && t->len > 0) model_wrong(t, "a complete result is no error");
    if (error && n > 0 && (t->kind == RECV || t->kind == RECVV))
        model_wrong(t, "a receive with bytes is complete");
    if (n > 0 && (t->overtaken || t->late || t->dead))
        model_wrong(t, "it moved bytes out of order, or of what was closed");
    if (error == PRO_OK && t->overtaken && t->len > 0) model_wrong(t, "it was overtaken");
    switch (error) {
    case PRO_OK:
    case PRO_ECANCELED:
    case PRO_ETIMEDOUT:
    case PRO_ECLOSED: break;
    case PRO_EOF:
        if (writes || t->len == 0) model_wrong(t, "an end of stream, where there is none");
        if (e->matched && !e->line->stream[!e->side].may_end && !p.world.may_reset)
            model_wrong(t, "an end of stream, and the peer has not ended it");
        e->line->stream[!e->side].ended = true;
        break;
    case PRO_ENOTCONN:
    case PRO_ECONNRESET:
    case PRO_EPIPE:
        if (error == PRO_EPIPE && writes && ((e->hole && e->hole < t->serial) || e->shut_asked))
            break;
        if (!may_break) model_wrong(t, "the connection broke, and nothing broke it");
        break;
    default:
        if (e->connected) model_wrong(t, "an unexpected error");
    }
    if (n > 0 || (error == PRO_OK && t->len > 0)) check_order(t, writes);
    if (writes) {
        if (n > 0 && e->hole && e->hole < t->serial) model_wrong(t, "a send went on behind a hole");
        if (n > 0 && e->shut && e->shut < t->serial)
            model_wrong(t, "a send went on behind a shutdown");
        if (error && n > 0 && (!e->hole || t->serial < e->hole)) e->hole = t->serial;
        model_append(&e->line->stream[e->side].sent, t->buf, n);
        model_compare(&e->line->stream[e->side]);
        model_sometimes("a send was cut after some bytes", error && n);
        model_sometimes("a broken pipe", error == PRO_EPIPE);
        return;
    }
    struct stream *in = &e->line->stream[!e->side];
    if (n > 0 && in->ended && error != PRO_EOF)
        model_wrong(t, "bytes came after the end of the stream");
    for (size_t i = n; i < t->len; i++)
        if (t->buf[i] != UNTOUCHED) {
            model_wrong(t, "a byte beyond the value was written");
            break;
        }
    model_append(&in->received, t->buf, n);
    model_compare(in);
    model_sometimes("a receive was cut after some bytes", error && n);
    model_sometimes("the end of a stream", error == PRO_EOF);
}

static void check_other(const task *t)
{
    int  error = t->op.error;
    bool is_cause =
        error == PRO_OK || error == PRO_ECANCELED || error == PRO_ETIMEDOUT || error == PRO_ECLOSED;
    if (t->op.value != 0) model_wrong(t, "such a value cannot be");
    switch (t->kind) {
    case CONNECT:
        if (t->again) { /* on a socket that is connected */
            if (error != PRO_OK && (is_cause || error == PRO_EISCONN)) return;
            break;
        }
        if (is_cause || error == PRO_EADDRNOTAVAIL) return;
        if (p.world.may_refuse || t->host->drained) return;
        if ((error == PRO_ECONNREFUSED || error == PRO_ECONNRESET) &&
            (p.hosts[0].listener_closing || p.hosts[1].listener_closing))
            return;
        /* The other side took it and aborted it before this was seen. */
        if (error == PRO_ECONNRESET && (p.world.may_reset || t->end->line->may_break)) return;
        if (error == PRO_EMFILE && p.world.may_exhaust) return;
        break;
    case ACCEPT:
    case ACCEPT_MULTI:
        if (is_cause || (error == PRO_EMFILE && p.world.may_exhaust)) return;
        break;
    case SHUTDOWN:
        if (is_cause) return;
        if (!t->end->connected || t->end->hole || t->end->line->may_break || !t->end->matched ||
            p.world.may_reset)
            return;
        break;
    default:
        if (is_cause) return;
    }
    model_wrong(t, "an unexpected error");
}

/* A close comes last. */
static void check_close(const task *t)
{
    for (const task *o = t->host->tasks; o; o = o->next) {
        bool same =
            t->of_listener ? o->of_listener && o->host == t->host : o->end && o->end == t->end;
        if (same && o->serial < t->serial && !o->late && !o->dead) {
            model_wrong(o, "a close completed before what it canceled");
            return;
        }
    }
}

static void unlink(task *t)
{
    task **at = &t->host->tasks;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
}

void model_completed(task *t)
{
    host *h = t->host;
    if (!t->in_flight) {
        model_wrong(t, "it completed twice");
        return;
    }
    if (p.calling) model_wrong(t, "a handler ran inside a call");
    if (h->running) model_wrong(t, "a handler ran inside another one of its loop");
    if (pro_op_in_flight(&t->op)) model_wrong(t, "it is in flight, and its handler runs");
    if (t->op.deadline_ns != PRO_NEVER) model_wrong(t, "its deadline was not consumed");
    if (t->op.flags) model_wrong(t, "flags are set");
    t->in_flight = false;
    unlink(t);
    if (t->kind != POST) h->live--;
    h->canceled += t->op.error == PRO_ECANCELED;
    h->timed_out += t->op.error == PRO_ETIMEDOUT;
    observe(h);
    model_check_life(t->life);
    program_outcomes[t->kind][-t->op.error]++;
    program_completed++;
    h->running = true;
    h->correlation = pro_op_correlation(&t->op);
    check_causes(t);
    if (t->kind == POST)
        check_post(t);
    else if (t->kind == TIMER)
        check_timer(t);
    else if (t->kind == CLOSE)
        check_close(t);
    if (transfers(t->kind)) {
        t->end->queued[sends(t->kind)]--;
        check_transfer(t);
    } else {
        check_other(t);
    }
    if (t->kind == CONNECT && t->op.error == PRO_OK) t->end->connected = true;
    if (t->kind == SHUTDOWN) t->end->shutting--;
    if (t->kind == SHUTDOWN && t->op.error == PRO_OK) {
        check_order(t, true);
        if (t->overtaken) model_wrong(t, "it was overtaken");
        if (!t->end->shut || t->serial < t->end->shut) t->end->shut = t->serial;
    }
}

void model_more(task *t)
{
    host *h = t->host;
    if (!t->in_flight) model_wrong(t, "more of what is over");
    if (p.calling || h->running) model_wrong(t, "a handler ran inside a call");
    if (!pro_op_in_flight(&t->op)) model_wrong(t, "more is to come, and it is not in flight");
    if (t->op.error || t->op.value || t->late || t->dead) model_wrong(t, "more, and an error");
    observe(h);
    program_outcomes[t->kind][0]++;
    program_completed++;
    h->running = true;
    h->correlation = pro_op_correlation(&t->op);
}

void model_left(host *h, life *l)
{
    if (l) l->ops--;
    h->running = false;
}
