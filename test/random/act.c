/* What the random program may do: operations of all kinds, and wishes. */
#include "random/act.h"

/* ---- Initiating -------------------------------------------------------------------------------- */

static size_t choose_len(void)
{
    switch (program_below(64)) {
    case 0:
    case 1:
    case 2: return 0;
    case 3: return program_below(100000);
    case 4:
    case 5: return program_below(10000);
    default: return 1 + program_below(300);
    }
}

static size_t choose_vecs(pro_vec *vecs, size_t max, const task *t)
{
    size_t at = 0, count = 0, most = 1 + program_below((unsigned)max);
    while (count + 1 < most && at < t->len) {
        size_t len = program_below((unsigned)(t->len - at) + 1);
        vecs[count++] = (pro_vec){t->buf + at, len};
        at += len;
    }
    vecs[count++] = (pro_vec){t->buf + at, t->len - at};
    return count;
}

static void transfer(program_kind kind, end *e, task *t)
{
    pro_vec vecs[12];
    size_t  count;
    life   *l = program_choose_life(e->host, e, t);
    t->len = choose_len();
    t->buf = malloc(t->len + 1);
    if (!t->buf) abort();
    if (sends(kind)) {
        uint64_t word = program_bits();
        for (size_t i = 0; i < t->len; i++) {
            if (i % 64 == 0) word = word * UINT64_C(6364136223846793005) + 1442695040888963407u;
            t->buf[i] = (unsigned char)((word >> 40) + i);
        }
    } else {
        memset(t->buf, UNTOUCHED, t->len);
    }
    model_begin(t, kind, e->host, e, l);
    switch (kind) {
    case RECV: pro_recv(&t->op, &e->sock, t->buf, t->len, program_on_done); break;
    case RECV_EXACTLY: pro_recv_exactly(&t->op, &e->sock, t->buf, t->len, program_on_done); break;
    case SEND: pro_send(&t->op, &e->sock, t->buf, t->len, program_on_done); break;
    case SEND_ALL: pro_send_all(&t->op, &e->sock, t->buf, t->len, program_on_done); break;
    default:
        count = choose_vecs(vecs, 12, t);
        if (kind == RECVV) pro_recvv(&t->op, &e->sock, vecs, count, program_on_done);
        if (kind == RECVV_EXACTLY)
            pro_recvv_exactly(&t->op, &e->sock, vecs, count, program_on_done);
        if (kind == SENDV) pro_sendv(&t->op, &e->sock, vecs, count, program_on_done);
        if (kind == SENDV_ALL) pro_sendv_all(&t->op, &e->sock, vecs, count, program_on_done);
        memset(vecs, 0xff, sizeof vecs); /* the array is ours again */
    }
    model_begun(t);
}

static void begin_connect(host *h, task *t)
{
    end *e = program_end_new(h, true);
    e->line = model_line();
    pro_address to = p.hosts[program_below(PROGRAM_HOSTS)].address;
    if (!p.world.own_addresses) {
        pro_socket_init(&e->sock, h->loop, &e->life.scope);
    } else { /* 127.a.b.c: a port does not tell clients apart, the next one may have it again */
        uint32_t number = ++p.clients + 255;
        e->own = (pro_address){.family = PRO_IPV4, .bytes = {127}};
        for (int i = 1; i < 4; i++) e->own.bytes[i] = (uint8_t)(number >> (8 * (3 - i)));
        if (pro_socket_open(&e->sock, h->loop, &e->life.scope, PRO_IPV4) != PRO_OK ||
            pro_socket_bind(&e->sock, &e->own) != PRO_OK)
            model_fail("a socket could not be bound");
    }
    life *l = program_choose_life(h, e, t);
    if (program_below(3)) t->op.deadline_ns = PRO_NEVER; /* most live for some time */
    model_begin(t, CONNECT, h, e, l);
    pro_connect(&t->op, &e->sock, &to, program_on_done);
    memset(&to, 0xff, sizeof to);
    model_begun(t);
}

/* Once more, on a socket that is connected; only where nothing can have broken it. */
static bool connect_again(host *h, end *e, task *t)
{
    if (!e || !e->connected || !e->matched || e->closing || e->broken || e->line->may_break ||
        p.world.may_reset)
        return false;
    pro_address to = h->address;
    life       *l = program_choose_life(h, e, t);
    model_begin(t, CONNECT, h, e, l);
    pro_connect(&t->op, &e->sock, &to, program_on_done);
    model_begun(t);
    return true;
}

static program_kind choose_kind(void)
{
    static const int weights[] = {
#define WEIGHT(name, weight) weight,
        PROGRAM_KINDS(WEIGHT)
#undef WEIGHT
    };
    int total = 0;
    for (int i = 0; i < PROGRAM_KIND_COUNT; i++) total += weights[i];
    int at = (int)program_below((unsigned)total);
    for (int i = 0;; at -= weights[i++])
        if (at < weights[i]) return (program_kind)i;
}

static task *any_task(host *h)
{
    unsigned n = 0;
    task    *found = NULL;
    for (task *t = h->tasks; t; t = t->next)
        if (!t->is_tick && program_below(++n) == 0) found = t;
    return found;
}

void program_begin_timer(host *h, end *e, task *t)
{
    life    *l = program_choose_life(h, e, t);
    uint64_t when = program_some_time(h, 60);
    if (program_below(2)) when = pro_loop_now(h->loop) + program_below(8) * p.world.unit_ns;
    const task *other = any_task(h); /* or at the time of another one, or just beside it */
    if (other && other->when_ns && other->kind == TIMER && program_below(2))
        when = other->when_ns + program_below(3);
    if (e && program_below(4) == 0) { /* and hold a scope until then */
        t->held = program_below(2) && e->inner.alive ? &e->inner : &e->life;
        t->held->holds++;
        pro_scope_hold(&t->held->scope);
    }
    model_begin(t, TIMER, h, NULL, l);
    t->when_ns = when ? when : 1;
    pro_timer_start(&t->op, h->loop, when, program_on_done);
    model_begun(t);
}

/* Initiate something with a task that is idle. */
void program_initiate(host *h, task *t, program_kind kind)
{
    end *e = h->ends_count > 0 ? h->ends[program_below((unsigned)h->ends_count)] : NULL;
    if (program_below(4) == 0 && kind != POST && kind != CLOSE)
        t->op.deadline_ns = program_some_time(h, 40);

    /* What cannot be done now is a timer instead. */
    bool is_full = h->ends_count == ENDS_MAX;
    if ((transfers(kind) || kind == SHUTDOWN || kind == CLOSE) && !e)
        kind = is_full ? TIMER : CONNECT;
    if (kind == CONNECT && is_full) kind = TIMER;
    if (transfers(kind) && e->queued[sends(kind)] >= 6) kind = TIMER;
    if ((kind == SHUTDOWN || kind == CLOSE) && !e->broken && program_below(3)) kind = TIMER;
    if ((kind == ACCEPT || kind == ACCEPT_MULTI) && (h->accepting >= 4 || h->listener_closing))
        kind = TIMER;
    if (e && e->closing && kind > ACCEPT_MULTI && program_below(4)) kind = TIMER;
    switch (kind) {
    case POST: {
        host *to = &p.hosts[program_below(4) ? h->number : !h->number];
        t->op.scope = NULL;
        model_begin(t, POST, to, NULL, NULL);
        pro_post(&t->op, to->loop, program_on_done);
        model_begun(t);
        break;
    }
    case TIMER: program_begin_timer(h, e, t); break;
    case CONNECT:
        if (program_below(4) || !connect_again(h, e, t)) begin_connect(h, t);
        break;
    case ACCEPT:
    case ACCEPT_MULTI:
        h->accepting++;
        t->of_listener = true;
        t->op.scope = NULL;
        model_begin(t, kind, h, NULL, &h->life);
        if (kind == ACCEPT)
            pro_accept(&t->op, &h->listener, program_on_done);
        else
            pro_accept_multi(&t->op, &h->listener, program_on_done);
        model_begun(t);
        break;
    case SHUTDOWN: {
        life *l = program_choose_life(h, e, t);
        model_begin(t, SHUTDOWN, h, e, l);
        pro_shutdown(&t->op, &e->sock, program_on_done);
        model_begun(t);
        break;
    }
    case CLOSE: program_begin_close(e, t, program_below(3) == 0); break;
    default:
        transfer(kind, e, t);
        /* Another one behind it, so that there are queues. */
        if (program_below(2) && e->queued[sends(kind)] < 6)
            transfer((program_kind)((sends(kind) ? SEND : RECV) + (int)program_below(4)), e,
                     program_task_new());
    }
}

/* ---- Wishes ------------------------------------------------------------------------------------ */

static void wish(host *h)
{
    end  *e = h->ends_count > 0 ? h->ends[program_below((unsigned)h->ends_count)] : NULL;
    task *t = any_task(h);
    life *l = e ? e->inner.alive && program_below(3) ? &e->inner : &e->life : NULL;
    p.calling++;
    switch (program_below(16)) {
    case 0:
        if (!e || e->closing) break;
        model_cancel_socket(e);
        pro_socket_cancel(&e->sock);
        break;
    case 1:
        if (!l) break;
        model_cancel_life(l);
        pro_scope_cancel(&l->scope);
        break;
    case 2:
        if (!l || (l == &e->life && program_below(4))) break;
        model_close_life(l);
        pro_scope_close(&l->scope);
        break;
    case 3: {
        if (!l || (l == &e->life && program_below(4))) break;
        uint64_t at = program_below(2) ? PRO_NEVER : program_some_time(h, 200);
        model_drain_life(l, at);
        pro_scope_drain(&l->scope, at);
        break;
    }
    case 4:
        if (h->listener_closing || program_below(4)) break;
        for (task *o = h->tasks; o; o = o->next)
            if (o->of_listener) model_cancel(o);
        pro_listener_cancel(&h->listener);
        break;
    default:
        if (!t) break;
        model_cancel(t);
        pro_cancel(&t->op);
        if (program_below(4) == 0) pro_cancel(&t->op);
    }
    p.calling--;
}

/* One thing at random; with this idle task, if given. */
void program_act(host *h, task *t)
{
    if (!t && program_below(4) == 0) {
        wish(h);
        return;
    }
    program_initiate(h, t ? t : program_task_new(), choose_kind());
    if (program_below(6) == 0) wish(h); /* perhaps in the turn in which it was initiated */
}
