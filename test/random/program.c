/* The random program; what it does is drawn from its own dice, so that a seed is a program.
 *
 * Each host has a ticking timer; at each tick, and in handlers now and then, it does something at
 * random: operations of all kinds on its ends of connections, wishes to cancel of all kinds, drains
 * and closes of scopes.  After its last action it drains: every end says that it sends no more and
 * reads until its peer has said the same, so what waits in a queue must go by itself; nothing is
 * canceled that does not break. */
#include "random/act.h"

uint64_t program_bits(void)
{
    uint64_t z = p.dice += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

unsigned program_below(unsigned n) { return (unsigned)(((program_bits() >> 32) * n) >> 32); }

static void on_end_drained(pro_scope *scope);

/* ---- Tasks ------------------------------------------------------------------------------------- */

task *program_task_new(void)
{
    task *t = calloc(1, sizeof *t);
    if (!t) abort();
    return t;
}

static void task_free(task *t)
{
    if (t->buf) model_bury(t->buf, t->len + 1);
    model_bury(t, sizeof *t);
}

/* A time some units away; now and then one that is past, or of any size up to an hour. */
uint64_t program_some_time(host *h, unsigned units)
{
    uint64_t now = pro_loop_now(h->loop);
    switch (program_below(24)) {
    case 0: return 1;
    case 1: return now + (UINT64_C(1) << program_below(42)) + program_below(1u << 20);
    default:
        return now + (uint64_t)program_below(units) * p.world.unit_ns + program_below(1000) + 1;
    }
}

/* Where an operation counts: mostly with its handle. */
life *program_choose_life(host *h, end *e, task *t)
{
    life *l = e ? &e->life : &h->life;
    switch (program_below(6)) {
    case 0:
        if (e && e->inner.alive) l = &e->inner;
        break;
    case 1: /* what is refused would not keep the end alive */
        if (!e || !(e->closing || pro_scope_draining(&e->life.scope))) l = &h->life;
        break;
    default: break;
    }
    t->op.scope = &l->scope;
    return l;
}

/* ---- Ends -------------------------------------------------------------------------------------- */

void program_begin_close(end *e, task *t, bool abortive)
{
    t->op.scope = program_below(2) ? NULL : &e->life.scope;
    model_begin(t, CLOSE, e->host, e, &e->life);
    model_closing(e);
    if (abortive)
        pro_close_abort(&t->op, &e->sock, program_on_done);
    else
        pro_close(&t->op, &e->sock, program_on_done);
    model_begun(t);
}

/* A draining end: no more is sent; what comes is read until the peer says so too. */
static void go_on_finishing(end *e)
{
    if (!e->finishing || e->closing) return;
    if (e->broken) {
        program_begin_close(e, program_task_new(), false);
        return;
    }
    if (!e->connected) return;
    if (!e->shut && !e->shutting) {
        task *t = program_task_new();
        model_begin(t, SHUTDOWN, e->host, e, &e->life);
        pro_shutdown(&t->op, &e->sock, program_on_done);
        model_begun(t);
    }
    if (e->queued[0] > 0 || e->line->stream[!e->side].ended) return;
    task *t = program_task_new();
    t->len = 1 + program_below(4000);
    t->buf = malloc(t->len + 1);
    if (!t->buf) abort();
    memset(t->buf, UNTOUCHED, t->len);
    model_begin(t, RECV, e->host, e, &e->life);
    pro_recv(&t->op, &e->sock, t->buf, t->len, program_on_done);
    model_begun(t);
}

static void on_end_stop(pro_scope *scope)
{
    life *l = pro_container_of(scope, life, scope);
    model_stopped(l);
    l->end->finishing = true;
    go_on_finishing(l->end);
}

static void on_stop(pro_scope *scope) { model_stopped(pro_container_of(scope, life, scope)); }

static void init_scope(life *l, pro_scope_fn *stop, pro_scope_fn *drained)
{
    p.calling++;
    pro_scope_init(&l->scope, l->host->loop, l->parent ? &l->parent->scope : NULL, drained);
    pro_scope_on_stop(&l->scope, stop);
    p.calling--;
}

static void on_inner_drained(pro_scope *scope)
{
    life *l = pro_container_of(scope, life, scope);
    end  *e = l->end;
    model_drained(l);
    /* It may live again: within what drains, it drains from the start. */
    if (!pro_scope_draining(&e->life.scope) && program_below(2)) {
        e->life.children--; /* counted until this returns, but the new one counts too */
        model_life(l, e->host, &e->life, e);
        e->life.children++;
        init_scope(l, on_stop, on_inner_drained);
    }
    e->life.children--;
}

end *program_end_new(host *h, bool is_client)
{
    end *e = calloc(1, sizeof *e);
    if (!e) abort();
    e->host = h;
    e->side = !is_client;
    model_life(&e->life, h, &h->life, e);
    init_scope(&e->life, on_end_stop, on_end_drained);
    model_life(&e->inner, h, &e->life, e);
    init_scope(&e->inner, on_stop, on_inner_drained);
    e->life.owns_handle = true;
    h->ends[h->ends_count++] = e;
    return e;
}

static void on_end_drained(pro_scope *scope)
{
    life *l = pro_container_of(scope, life, scope);
    end  *e = l->end;
    host *h = e->host;
    model_drained(l);
    for (int i = 0; i < h->ends_count; i++)
        if (h->ends[i] == e) h->ends[i] = h->ends[--h->ends_count];
    model_leave_line(e->line);
    h->life.children--;
    model_bury(e, sizeof *e);
}

/* The client that an accepted socket is connected with; NULL: it is gone. */
static end *client_of(const pro_socket *s)
{
    pro_address peer, local;
    if (pro_socket_peer(s, &peer) != PRO_OK) return NULL;
    for (int i = 0; i < PROGRAM_HOSTS; i++)
        for (int j = 0; j < p.hosts[i].ends_count; j++) {
            end *e = p.hosts[i].ends[j];
            if (e->side != 0 || e->matched || e->closing) continue;
            if (p.world.own_addresses ? memcmp(e->own.bytes, peer.bytes, 4) == 0
                                      : pro_socket_local(&e->sock, &local) == PRO_OK &&
                                            pro_address_equal(&local, &peer))
                return e;
        }
    return NULL;
}

static void on_accepted(host *h, task *t)
{
    if (program_below(8) == 0 || h->ends_count == ENDS_MAX || pro_scope_closing(&h->life.scope))
        return; /* not taken: the library closes it, and the client hears of it */
    end *e = program_end_new(h, false);
    if (pro_accept_take(&t->op, &e->sock, &e->life.scope) != PRO_OK)
        model_fail("a connection could not be taken");
    e->connected = true;
    end *client = client_of(&e->sock);
    if (client) {
        client->matched = e->matched = true;
        e->line = client->line;
        e->line->users++;
    } else {
        e->line = model_line();
        e->broken = true; /* its other half stays unknown: nothing to compare with */
        program_begin_close(e, program_task_new(), program_below(2));
    }
}

/* ---- Handlers ---------------------------------------------------------------------------------- */

static void on_more(task *t)
{
    host *h = t->host;
    model_more(t);
    on_accepted(h, t);
    h->running = false;
}

void program_on_done(pro_op *op)
{
    task *t = pro_container_of(op, task, op);
    host *h = t->host;
    end  *e = t->end;
    life *l = t->life;
    if (op->flags & PRO_MORE) {
        on_more(t);
        return;
    }
    model_completed(t);
    int error = op->error;
    if (p.failed) { /* no more; but let go of what would keep it alive */
        model_left(h, l);
        return;
    }
    if (t->held) {
        t->held->holds--;
        pro_scope_release(&t->held->scope);
    }
    if (t->kind == ACCEPT || t->kind == ACCEPT_MULTI) h->accepting--;
    if (t->kind == ACCEPT && error == PRO_OK) on_accepted(h, t);
    bool is_weather = error && error != PRO_ECANCELED && error != PRO_ETIMEDOUT && error != PRO_EOF;
    if (e && t->kind != CLOSE && !e->closing) {
        if (is_weather && error != PRO_EISCONN) e->broken = true;
        if (t->kind == CONNECT && error && !e->connected) e->broken = true;
        if (error == PRO_ETIMEDOUT && !t->deadline_ns) e->broken = true;
        /* A connect that was given up may still be going on: close. */
        if (t->kind == CONNECT && !e->connected) program_begin_close(e, program_task_new(), false);
    }
    if (t->kind == CLOSE && e && !is_weather) {
        if (!e->life.closed) {
            model_close_life(&e->life);
            pro_scope_close(&e->life.scope);
        }
    }
    if (e) go_on_finishing(e);
    unsigned what = program_below(4);
    if (what == 0 && !h->drained && !t->is_tick && !pro_scope_draining(&h->life.scope)) {
        if (t->buf) model_bury(t->buf, t->len + 1);
        pro_op used = t->op; /* the same operation again, as it is */
        memset(t, 0, sizeof *t);
        t->op = used;
        t->op.scope = NULL;
        program_act(h, t);
    } else if (!t->is_tick) {
        task_free(t);
    }
    model_left(h, l);
}

/* ---- The course of it -------------------------------------------------------------------------- */

static void on_host_drained(pro_scope *scope)
{
    life *l = pro_container_of(scope, life, scope);
    model_drained(l);
    l->host->drained = true;
    if (l->host->ends_count > 0) model_fail("a host drained, and ends are left");
}

static void on_host_stop(pro_scope *scope)
{
    life *l = pro_container_of(scope, life, scope);
    host *h = l->host;
    model_stopped(l);
    task *t = program_task_new();
    t->of_listener = true;
    model_begin(t, CLOSE, h, NULL, &h->life);
    for (task *o = h->tasks; o; o = o->next)
        if (o->of_listener) model_cancel(o);
    h->listener_closing = true;
    pro_listener_close(&t->op, &h->listener, program_on_done);
    model_begun(t);
    for (int i = 0; i < 8; i++)
        program_begin_timer(h, NULL, program_task_new()); /* nobody cancels these */
}

static void on_tick(pro_op *op)
{
    task *t = pro_container_of(op, task, op);
    host *h = t->host;
    model_completed(t);
    if (t->op.error == PRO_OK && !p.failed && --h->actions > 0) {
        for (unsigned i = 0, n = 1 + program_below(6); i < n; i++) program_act(h, NULL);
        if (h->accepting == 0)
            program_initiate(h, program_task_new(), program_below(2) ? ACCEPT_MULTI : ACCEPT);
        uint64_t when = pro_loop_now(h->loop) + program_below(8) * p.world.unit_ns / 2;
        model_begin(t, TIMER, h, NULL, &h->life);
        t->when_ns = when;
        pro_timer_start(&t->op, h->loop, when, on_tick);
        model_begun(t);
    } else {
        p.calling++;
        model_drain_life(&h->life, PRO_NEVER);
        pro_scope_drain(&h->life.scope, PRO_NEVER);
        p.calling--;
    }
    model_left(h, &h->life);
}

void program_begin(const program_world *world)
{
    for (size_t i = 0; i < GRAVES; i++) free(p.graves[i].at); /* of a program that failed */
    memset(&p, 0, sizeof p);
    p.world = *world;
    p.dice = world->seed;
}

void program_host(int number, pro_loop *loop, const pro_address *at)
{
    host *h = &p.hosts[number];
    h->number = number;
    h->loop = loop;
    model_life(&h->life, h, NULL, NULL);
    init_scope(&h->life, on_host_stop, on_host_drained);
    int error = pro_listen(&h->listener, loop, &h->life.scope, at, NULL);
    while (error == PRO_EMFILE && p.world.may_exhaust)
        error = pro_listen(&h->listener, loop, &h->life.scope, at, NULL);
    if (error) {
        model_fail("listening: %s", pro_error_name(error));
        return;
    }
    h->life.owns_handle = true;
    pro_address local;
    pro_listener_local(&h->listener, &local);
    h->address = *at;
    h->address.port = local.port;
    h->actions = p.world.actions;
}

void program_start(int number)
{
    host *h = &p.hosts[number];
    task *t = program_task_new();
    h->tick = t;
    t->is_tick = true;
    t->op.scope = &h->life.scope;
    model_begin(t, TIMER, h, NULL, &h->life);
    t->when_ns = pro_loop_now(h->loop);
    pro_timer_start(&t->op, h->loop, t->when_ns, on_tick);
    model_begun(t);
}

bool program_is_draining(void)
{
    for (int i = 0; i < PROGRAM_HOSTS; i++)
        if (!p.hosts[i].life.draining) return false;
    return true;
}

bool program_has_failed(void) { return p.failed; }

bool program_is_over(void)
{
    for (int i = 0; i < PROGRAM_HOSTS; i++)
        if (!p.hosts[i].drained || p.hosts[i].post_seen != p.hosts[i].posted) return false;
    return true;
}

void program_end(void)
{
    for (int i = 0; i < PROGRAM_HOSTS; i++) {
        host *h = &p.hosts[i];
        if (!p.failed && (h->live > 0 || h->tasks))
            model_fail("%u operations never completed", h->live);
        free(h->tick);
        h->tick = NULL;
    }
    if (!p.failed) model_end();
}
