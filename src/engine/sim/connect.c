/* TCP, connecting: attempts, backlogs, accepts, ports.
 *
 *     client                       link                 target
 *     connect  --SYN-------------------------------->   a listener with room: a connection in its
 *     ANSWER   <-------------------------------------   backlog; none: refused; lost, full, down or
 *     SYN again after 1, 2, 4, ... s, and after six     cut off: nothing
 *     tries timed out
 *
 * An attempt that was canceled or closed is known by its number (tries): what comes later for it is
 * not listened to. */
#include <string.h>

#include "engine/sim/world.h"

enum { TRIES_MAX = 6 };

/* ---- Ports and listeners ---------------------------------------------------------------------- */

static bool matches(const sim_socket *l, const pro_address *a)
{
    static const uint8_t any[16];
    bool                 is_v6 = a->family == PRO_IPV6;
    if (l->local.port != a->port) return false;
    if (memcmp(l->local.bytes, any, 16) == 0)
        return (l->flags & SOCK_V6) ? is_v6 || !(l->flags & SOCK_V6ONLY) : !is_v6;
    return l->local.family == a->family && memcmp(l->local.bytes, a->bytes, is_v6 ? 16 : 4) == 0;
}

sim_socket *pri_sim_listener_at(pro_sim *w, const pro_sim_node *node, const pro_address *a,
                                uint64_t *stream)
{
    sim_socket *found = NULL;
    uint32_t    count = 0;
    for (sim_socket *l = pri_sim_socket(w, node->listeners); l;
         l = pri_sim_socket(w, l->next_free)) {
        if (l->state != SOCK_LISTENING || !matches(l, a)) continue;
        count++; /* of several that share a port each is taken equally often */
        if (count == 1 || pri_sim_choice(w, stream, count) == 0) found = l;
    }
    return found;
}

uint16_t pri_sim_free_port(pro_sim *w, pro_sim_node *node)
{
    for (;;) {
        uint16_t port = node->next_port;
        node->next_port = port == 65535 ? 32768 : (uint16_t)(port + 1);
        const sim_socket *l = pri_sim_socket(w, node->listeners);
        while (l && l->local.port != port) l = pri_sim_socket(w, l->next_free);
        if (!l) return port;
    }
}

void pri_sim_stop_listening(pro_sim *w, sim_socket *s)
{
    while (s->backlog_first != PRI_SIM_NONE) {
        sim_socket *c = pri_sim_socket(w, s->backlog_first);
        s->backlog_first = c->next_free;
        pri_sim_close(w, c, true);
    }
}

/* ---- Attempts --------------------------------------------------------------------------------- */

static void fail_now(pro_sim *w, sim_socket *s, int error)
{
    pri_sim_complete(w, s, PRI_SIM_WRITE, error, 0, 0);
}

static void send_syn(pro_sim *w, sim_socket *s, uint64_t at)
{
    s->tries++;
    pri_sim_push(w, at, EV_SYN, s->id, s->generation, s->tries);
}

void pri_sim_connect(pro_sim *w, sim_socket *s)
{
    const pri_side *side = s->step[PRI_SIM_WRITE]->data;
    pro_address     to = side->address;
    if (s->state == SOCK_CONNECTED || s->state == SOCK_LISTENING) {
        fail_now(w, s, PRO_EISCONN);
        return;
    }
    if ((to.family == PRO_IPV6) != !!(s->flags & SOCK_V6)) {
        fail_now(w, s, PRO_EAFNOSUPPORT);
        return;
    }
    if (to.family == PRO_IPV4 && to.bytes[0] >= 224) { /* TCP does not go there */
        fail_now(w, s, PRO_ENETUNREACH);
        return;
    }
    static const uint8_t any[16];
    if (memcmp(to.bytes, any, 16) == 0) {
        uint16_t port = to.port;
        to = pro_address_loopback((pro_family)to.family, port);
    }
    pro_sim_node *node = pri_sim_node_by_address(w, s->node, &to);
    if (!(s->flags & SOCK_BOUND)) {
        s->local = to;
        if (node != s->node && s->node->family == to.family)
            memcpy(s->local.bytes, s->node->bytes, 16);
        s->local.port = pri_sim_free_port(w, s->node);
    } else if (memcmp(s->local.bytes, any, 16) == 0) {
        memcpy(s->local.bytes, node == s->node ? to.bytes : s->node->bytes, 16);
    }
    s->remote = to;
    s->state = SOCK_CONNECTING;
    s->flags &= (uint16_t) ~(SOCK_EOF | SOCK_BROKEN | SOCK_SILENT);
    s->error = PRO_OK;
    s->peer = PRI_SIM_NONE;
    s->tries =
        (uint8_t)((s->tries / 16 + 1) * 16); /* a new attempt: nothing of an older one counts */
    s->out = pri_sim_link_of(w, s->node, node ? node : s->node);
    s->in = pri_sim_link_of(w, node ? node : s->node, s->node);
    send_syn(w, s, pri_sim_arrival(w, s->out, 0));
}

static void answer_later(pro_sim *w, sim_socket *s, int error, uint64_t at)
{
    pri_sim_push(w, at, EV_ANSWER, s->id, s->generation, s->tries | (uint32_t)-error << 8);
}

static void syn_lost(pro_sim *w, sim_socket *s)
{
    unsigned tries = s->tries % 16;
    uint64_t again = w->now_ns + (PRO_SEC << tries) / 2;
    if (tries < TRIES_MAX)
        send_syn(w, s, again);
    else
        answer_later(w, s, PRO_ETIMEDOUT, again);
}

/* The connection at the other side, in the backlog. */
static void establish(pro_sim *w, sim_socket *s, sim_socket *l)
{
    sim_socket *c = pri_sim_socket_new(w, l->node, l->flags & SOCK_V6);
    c->state = SOCK_CONNECTED;
    c->peer = s->id;
    s->peer = c->id;
    c->in = s->out;
    c->out = s->in;
    c->local = s->remote;
    c->remote = s->local;
    if (c->local.family == PRO_IPV4 && l->flags & SOCK_V6) { /* as the system shows them */
        for (pro_address *a = &c->local; a; a = a == &c->local ? &c->remote : NULL) {
            uint8_t ip[4];
            memcpy(ip, a->bytes, 4);
            memset(a->bytes, 0, 16);
            a->bytes[10] = a->bytes[11] = 0xff;
            memcpy(a->bytes + 12, ip, 4);
            a->family = PRO_IPV6;
        }
    }
    c->pipe.limit = c->in->is.buffer;
    s->pipe.limit = s->in->is.buffer;
    if (l->backlog_first == PRI_SIM_NONE)
        l->backlog_first = c->id;
    else
        pri_sim_socket(w, l->backlog_last)->next_free = c->id;
    l->backlog_last = c->id;
    l->backlog_count++;
    w->stats.connections++;
    answer_later(w, s, PRO_OK, pri_sim_arrival(w, s->in, 0));
    pri_sim_try_soon(w, l, PRI_SIM_READ);
}

void pri_sim_syn(pro_sim *w, sim_socket *s)
{
    pro_sim_node *node = pri_sim_node_by_address(w, s->node, &s->remote);
    pri_sim_note(w, EV_SYN, s->node, s->id, 0, s->tries, NULL);
    if (!node) {
        answer_later(w, s, PRO_EHOSTUNREACH, w->now_ns + 3 * PRO_SEC);
        return;
    }
    bool is_lost = !node->up || pri_sim_is_cut(s->out) || pri_sim_is_cut(s->in);
    if (is_lost || (!w->healed && pri_sim_strikes(w, &s->stream, PRO_SIM_LOST_SYN))) {
        syn_lost(w, s);
        return;
    }
    sim_socket *l = pri_sim_listener_at(w, node, &s->remote, &s->stream);
    if (!l || (!w->healed && pri_sim_strikes(w, &s->stream, PRO_SIM_REFUSE))) {
        answer_later(w, s, PRO_ECONNREFUSED, pri_sim_arrival(w, s->in, 0));
        return;
    }
    if (l->backlog_count > l->backlog_max)
        syn_lost(w, s);
    else
        establish(w, s, l);
}

void pri_sim_answer(pro_sim *w, sim_socket *s, int error)
{
    if (!s->step[PRI_SIM_WRITE]) return;
    s->state = error ? SOCK_OPEN : SOCK_CONNECTED;
    pri_sim_complete(w, s, PRI_SIM_WRITE, error, 0, 0);
}

/* ---- Accepting -------------------------------------------------------------------------------- */

static sim_socket *take_first(pro_sim *w, sim_socket *l)
{
    sim_socket *c = pri_sim_socket(w, l->backlog_first);
    l->backlog_first = c->next_free;
    l->backlog_count--;
    c->next_free = PRI_SIM_NONE;
    return c;
}

void pri_sim_accept(pro_sim *w, sim_socket *l)
{
    pro_sim_node *node = l->node;
    for (int i = 0; i < 16 && l->step[PRI_SIM_READ] && l->backlog_first != PRI_SIM_NONE; i++) {
        bool is_multi = l->step[PRI_SIM_READ]->flags & PRI_STEP_MULTI;
        if ((node->handles_max && node->handles >= node->handles_max) ||
            (!w->healed && pri_sim_strikes(w, &l->stream, PRO_SIM_HANDLES))) {
            pri_sim_complete(w, l, PRI_SIM_READ, PRO_EMFILE, 0, 0);
            return;
        }
        sim_socket *c = take_first(w, l);
        if (!w->healed && pri_sim_strikes(w, &l->stream, PRO_SIM_ABORTED)) {
            pri_sim_close(w, c, true);
            if (!is_multi) pri_sim_complete(w, l, PRI_SIM_READ, PRO_ECONNABORTED, 0, 0);
            continue;
        }
        c->flags |= SOCK_TAKEN;
        node->handles++;
        pri_sim_complete(w, l, PRI_SIM_READ, PRO_OK, PRI_SIM_FD_BASE + c->id,
                         is_multi ? PRI_RECORD_MORE : 0);
    }
    if (l->step[PRI_SIM_READ] && l->backlog_first != PRI_SIM_NONE && !l->trying[PRI_SIM_READ]) {
        l->trying[PRI_SIM_READ] = 1;
        pri_sim_push(w, w->now_ns + 1, EV_TRY, l->id, l->generation, PRI_SIM_READ);
    }
}
