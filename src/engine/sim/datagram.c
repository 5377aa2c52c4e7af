/* UDP: datagrams on the way, and those that wait to be received.
 *
 * A datagram that is sent becomes a packet with an event of its own; who gets it is decided as it
 * arrives: the socket whose peer the sender is, else the one bound to that address, else to any.  Of
 * several that share a port one is picked by the sender, always the same.  What finds no room in the
 * receive buffer is lost; what finds nobody goes back as a refusal, which a connected sender hears.
 *
 * In calm weather, and in mild, each link keeps the order and loses nothing; LOSS, TWICE and OVERTAKE
 * are faults, and a link that is cut loses everything.  Addresses on the way are those of the link: IPv4
 * in an IPv6 socket's clothes is IPv4.
 *
 * A packet is one of the slots of the world, on the way or linked in the backlog of one socket. */
#include <string.h>

#include "core/buffers.h"
#include "engine/sim/net.h"

enum { ROOM = 64 * 1024, HOPS = 64 }; /* of a new socket */

struct sim_packet {
    uint32_t      next; /* slot in a backlog */
    uint32_t      len;
    sim_link     *link;
    uint32_t      sender, generation;
    pro_address   from, to;
    unsigned char bytes[];
};

/* ---- Slots ---------------------------------------------------------------------------------- */

static uint32_t take_slot(pro_sim *w)
{
    if (w->packets_free == w->packets_capacity) {
        uint32_t capacity = w->packets_capacity ? w->packets_capacity * 2 : 16;
        w->packets = pri_sim_realloc(w->packets, capacity * sizeof *w->packets);
        for (uint32_t i = w->packets_capacity; i < capacity; i++)
            w->packets[i] = (sim_slot){.next_free = i + 1};
        w->packets_capacity = capacity;
    }
    uint32_t slot = w->packets_free;
    w->packets_free = w->packets[slot].next_free;
    return slot;
}

static void drop(pro_sim *w, uint32_t slot)
{
    pri_sim_realloc(w->packets[slot].packet, 0);
    w->packets[slot] = (sim_slot){.next_free = w->packets_free};
    w->packets_free = slot;
}

void pri_sim_packets_free(pro_sim *w)
{
    for (uint32_t i = 0; i < w->packets_capacity; i++)
        if (w->packets[i].packet) pri_sim_realloc(w->packets[i].packet, 0);
    if (w->packets) pri_sim_realloc(w->packets, 0);
}

static sim_packet *first_of(const pro_sim *w, const sim_socket *s)
{
    return s->backlog_first == PRI_SIM_NONE ? NULL : w->packets[s->backlog_first].packet;
}

static void drop_first(pro_sim *w, sim_socket *s)
{
    uint32_t slot = s->backlog_first;
    s->backlog_count--;
    s->pipe.stored -= w->packets[slot].packet->len;
    s->backlog_first = w->packets[slot].packet->next;
    drop(w, slot);
}

void pri_sim_drop_unreceived(pro_sim *w, sim_socket *s)
{
    while (s->backlog_first != PRI_SIM_NONE) drop_first(w, s);
}

/* ---- Addresses ------------------------------------------------------------------------------ */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, none[16];

static bool is_any(const pro_address *a) { return memcmp(a->bytes, none, 16) == 0; }

static pro_address of_link(pro_address a)
{
    if (a.family == PRO_IPV6 && memcmp(a.bytes, mapped, 12) == 0) {
        pro_address v4 = {.family = PRO_IPV4, .port = a.port};
        memcpy(v4.bytes, a.bytes + 12, 4);
        a = v4;
    }
    return is_any(&a) ? pro_address_loopback((pro_family)a.family, a.port) : a;
}

static pro_address of_socket(const sim_socket *s, pro_address a)
{
    if (a.family == PRO_IPV6 || !(s->flags & SOCK_V6)) return a;
    pro_address v6 = {.family = PRO_IPV6, .port = a.port};
    memcpy(v6.bytes, mapped, 12);
    memcpy(v6.bytes + 12, a.bytes, 4);
    return v6;
}

/* To all machines of the link, or to all sockets of this one. */
static bool is_broadcast(const pro_address *a)
{
    static const uint8_t all[4] = {255, 255, 255, 255};
    if (a->family != PRO_IPV4 || memcmp(a->bytes + 1, all, 3) != 0) return false;
    return a->bytes[0] == 255 || a->bytes[0] == 127;
}

static bool is_loopback(const pro_address *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == PRO_IPV4 ? a->bytes[0] == 127 : memcmp(a->bytes, one, 16) == 0;
}

/* Where what this socket sends to an address of the link comes from. */
static pro_address source_of(const sim_socket *s, const pro_address *to)
{
    pro_address from = s->local;
    if (is_any(&from)) {
        from = pro_address_loopback((pro_family)to->family, s->local.port);
        if (!is_loopback(to) && s->node->family == to->family)
            memcpy(from.bytes, s->node->bytes, 16);
    }
    return of_link(from);
}

/* ---- Binding, the peer ---------------------------------------------------------------------- */

static void be_bound(pro_sim *w, sim_socket *s)
{
    if (s->flags & SOCK_BOUND) return;
    s->local.port = pri_sim_free_port(w, s->node);
    s->flags |= SOCK_BOUND;
    s->next_free = s->node->listeners;
    s->node->listeners = s->id;
}

int pri_sim_associate(pro_sim *w, sim_socket *s, const pro_address *peer)
{
    s->error = PRO_OK;
    s->state = SOCK_OPEN;
    if (!peer) return 0;
    if ((peer->family == PRO_IPV6) != !!(s->flags & SOCK_V6)) return -PRI_SIM_EAFNOSUPPORT;
    s->state = SOCK_CONNECTED;
    s->remote = of_socket(s, of_link(*peer));
    be_bound(w, s);
    return 0;
}

pro_address pri_sim_datagram_local(const sim_socket *s)
{
    if (s->state != SOCK_CONNECTED || !is_any(&s->local)) return s->local;
    pro_address to = of_link(s->remote);
    return of_socket(s, source_of(s, &to));
}

/* ---- Arriving ------------------------------------------------------------------------------- */

static bool is_heard(const sim_socket *s, const sim_packet *p)
{
    if (!(s->flags & SOCK_DATAGRAM) || s->local.port != p->to.port) return false;
    bool is_v6 = s->flags & SOCK_V6;
    if (p->to.family == PRO_IPV6 ? !is_v6 : is_v6 && s->flags & SOCK_V6ONLY) return false;
    if (!is_any(&s->local)) {
        pro_address to = of_socket(s, p->to);
        if (memcmp(s->local.bytes, to.bytes, 16) != 0) return false;
    }
    pro_address from = of_socket(s, p->from);
    return s->state != SOCK_CONNECTED || pro_address_equal(&s->remote, &from);
}

/* The better of those that hear it; among equals the sender decides. */
static uint64_t rank(const sim_socket *s, const sim_packet *p)
{
    uint64_t closeness = (s->state == SOCK_CONNECTED ? 2u : 0u) + (is_any(&s->local) ? 0u : 1u);
    uint32_t hash = (p->from.port * 2654435761u) ^ (s->id * 2246822519u);
    return (closeness + 1) << 32 | (hash ^ hash >> 15) * 3266489917u >> 1;
}

static void put_into(pro_sim *w, sim_socket *s, uint32_t slot)
{
    sim_packet *p = w->packets[slot].packet;
    uint32_t    given = s->options[PRO_OPT_RECV_BUFFER], room = given ? given : ROOM;
    if (s->pipe.stored + p->len > room || s->backlog_count >= room / 256) {
        pri_sim_note(w, EV_LOST, s->node, s->id, 0, p->len, NULL);
        drop(w, slot);
        return;
    }
    pri_sim_note(w, EV_DATAGRAM, s->node, s->id, 0, p->len, NULL);
    p->next = PRI_SIM_NONE;
    if (s->backlog_first == PRI_SIM_NONE)
        s->backlog_first = slot;
    else
        w->packets[s->backlog_last].packet->next = slot;
    s->backlog_last = slot;
    s->backlog_count++;
    s->pipe.stored += p->len;
    w->stats.bytes += p->len;
    pri_sim_try_soon(w, s, PRI_SIM_READ);
}

static uint32_t copy_of(pro_sim *w, uint32_t slot)
{
    size_t   size = sizeof(sim_packet) + w->packets[slot].packet->len;
    uint32_t copy = take_slot(w);
    w->packets[copy].packet = pri_sim_realloc(NULL, size);
    memcpy(w->packets[copy].packet, w->packets[slot].packet, size);
    return copy;
}

static pro_sim_node *node_of(const pro_sim *w, uint32_t id)
{
    pro_sim_node *node = w->nodes;
    while (node->id != id) node = node->next;
    return node;
}

static void refuse(pro_sim *w, const pro_sim_node *node, const sim_packet *p)
{
    const sim_socket *s = pri_sim_socket(w, p->sender);
    if (!s || s->generation != p->generation || s->state != SOCK_CONNECTED) return;
    if (!w->healed && pri_sim_strikes(w, &p->link->stream, PRO_SIM_LOSS)) return;
    sim_link *back = pri_sim_link_of(w, node, s->node);
    pri_sim_push(w, pri_sim_arrival(w, back, 0), EV_REFUSED, s->id, s->generation, p->to.port);
}

void pri_sim_refused(pro_sim *w, sim_socket *s, uint32_t port)
{
    if (s->state != SOCK_CONNECTED || s->remote.port != port) return; /* it asks another now */
    pri_sim_note(w, EV_REFUSED, s->node, s->id, 0, port, NULL);
    s->error = PRO_ECONNREFUSED;
    pri_sim_try_soon(w, s, PRI_SIM_READ);
}

void pri_sim_datagram_arrives(pro_sim *w, uint32_t slot)
{
    sim_packet   *p = w->packets[slot].packet;
    pro_sim_node *node = node_of(w, p->link->to);
    sim_socket   *best = NULL;
    bool          is_to_all = is_broadcast(&p->to), is_lost = !node->up || pri_sim_is_cut(p->link);
    if (is_lost) {
        pri_sim_note(w, EV_LOST, node, PRI_SIM_NONE, 0, p->len, NULL);
        drop(w, slot);
        return;
    }
    for (sim_socket *s = pri_sim_socket(w, node->listeners), *next; s; s = next) {
        next = pri_sim_socket(w, s->next_free);
        if (!is_heard(s, p)) continue;
        if (is_to_all)
            put_into(w, s, copy_of(w, slot));
        else if (!best || rank(s, p) > rank(best, p))
            best = s;
    }
    if (best) {
        put_into(w, best, slot);
        return;
    }
    if (!is_to_all) refuse(w, node, p);
    drop(w, slot);
}

/* ---- Pieces --------------------------------------------------------------------------------- */

/* One message of a step, whatever form it has. */
typedef struct message {
    pro_vec            whole;
    const pro_vec     *vecs;
    size_t             count, len;
    const pro_address *to; /* NULL: the peer */
    pro_message       *batch;
    pri_side          *side;
} message;

static void message_of(message *m, const pri_step *step, size_t i)
{
    *m = (message){.count = 1};
    m->vecs = &m->whole;
    if (step->flags & PRI_STEP_BY_CALL) {
        m->batch = (pro_message *)step->data + i;
        m->whole = (pro_vec){m->batch->buf, m->batch->len};
        if (m->batch->address.family != PRO_FAMILY_NONE) m->to = &m->batch->address;
    } else if (step->flags & PRI_STEP_VECTORS) {
        m->side = step->data;
        m->vecs = m->side->vecs + m->side->first;
        m->count = m->side->count - m->side->first;
        if (step->flags & PRI_STEP_MESSAGE && m->side->address.family != PRO_FAMILY_NONE)
            m->to = &m->side->address;
    } else {
        m->whole = (pro_vec){step->data, step->len};
    }
    for (size_t k = 0; k < m->count; k++) m->len += m->vecs[k].len;
}

/* ---- Sending -------------------------------------------------------------------------------- */

static void send_over(pro_sim *w, const sim_socket *s, sim_link *link, const message *m,
                      const pro_address *from, const pro_address *to)
{
    bool     is_inside = link->from == link->to; /* no wire: it is there when its send is done */
    uint64_t at = is_inside ? w->now_ns : pri_sim_arrival(w, link, (uint32_t)m->len);
    if (!w->healed && pri_sim_strikes(w, &link->stream, PRO_SIM_LOSS)) {
        pri_sim_note(w, EV_LOST, s->node, s->id, 0, (int64_t)m->len, NULL);
        return;
    }
    bool is_late = !w->healed && pri_sim_strikes(w, &link->stream, PRO_SIM_OVERTAKE);
    bool is_twice = !w->healed && pri_sim_strikes(w, &link->stream, PRO_SIM_TWICE);
    if (is_late) {
        at += 1 + pri_sim_long_tail(w, &link->stream, 5 * PRO_SEC);
    } else if (!is_inside) {
        if (at <= link->last_at) at = link->last_at + 1; /* no tie, which could be broken anyhow */
        link->last_at = at;
    }
    for (int copies = is_twice ? 2 : 1; copies > 0; copies--) {
        uint32_t    slot = take_slot(w);
        sim_packet *p = pri_sim_realloc(NULL, sizeof *p + m->len);
        *p = (sim_packet){.len = (uint32_t)m->len, .link = link, .sender = s->id};
        p->generation = s->generation;
        p->from = *from;
        p->to = *to;
        size_t done = 0;
        for (size_t k = 0; k < m->count; done += m->vecs[k++].len)
            if (m->vecs[k].len > 0) memcpy(p->bytes + done, m->vecs[k].base, m->vecs[k].len);
        w->packets[slot].packet = p;
        if (at > w->now_ns)
            pri_sim_push(w, at, EV_DATAGRAM, slot, 0, 0);
        else
            pri_sim_datagram_arrives(w, slot);
        at += 1 + pri_sim_long_tail(w, &link->stream, PRO_SEC);
    }
}

static int send_one(pro_sim *w, sim_socket *s, const message *m)
{
    if (!m->to && s->state != SOCK_CONNECTED) return PRO_ENOTCONN;
    const pro_address *given = m->to ? m->to : &s->remote;
    if ((given->family == PRO_IPV6) != !!(s->flags & SOCK_V6)) return PRO_EAFNOSUPPORT;
    pro_address to = of_link(*given);
    if (to.port == 0) return PRO_EINVAL;
    if (m->len > (to.family == PRO_IPV4 ? 65507u : 65527u)) return PRO_EMSGSIZE;
    if (to.family == PRO_IPV4 && s->flags & SOCK_V6 && s->flags & SOCK_V6ONLY)
        return PRO_ENETUNREACH;
    if (is_broadcast(&to) && !(s->flags & SOCK_BROADCAST)) return PRO_EACCES;
    be_bound(w, s);
    pro_address from = source_of(s, &to);
    if (is_broadcast(&to) && to.bytes[0] == 255) {
        for (pro_sim_node *node = w->nodes; node; node = node->next)
            if (node->family == PRO_IPV4)
                send_over(w, s, pri_sim_link_of(w, s->node, node), m, &from, &to);
        return PRO_OK;
    }
    pro_sim_node *node = pri_sim_node_by_address(w, s->node, &to);
    if (node) send_over(w, s, pri_sim_link_of(w, s->node, node), m, &from, &to);
    return PRO_OK; /* a router far away may know better, and nobody hears of it */
}

/* What a refusal left is told once, in place of what was to be done. */
static bool tell_error(pro_sim *w, sim_socket *s, int direction)
{
    int error = s->error;
    if (!error) return false;
    s->error = PRO_OK;
    pri_sim_complete(w, s, direction, error, 0, 0);
    return true;
}

void pri_sim_send_datagrams(pro_sim *w, sim_socket *s)
{
    const pri_step *step = s->step[PRI_SIM_WRITE];
    bool            is_batch = step->flags & PRI_STEP_BY_CALL;
    size_t          count = is_batch ? step->len : 1, i = 0;
    message         m;
    int             error = PRO_OK;
    if (tell_error(w, s, PRI_SIM_WRITE)) return;
    if (count > 1 && pri_sim_strikes(w, &s->stream, PRO_SIM_SHORT_WRITE))
        count = 1 + pri_sim_choice(w, &s->stream, (uint32_t)count - 1);
    for (; i < count && !error; i += !error) {
        message_of(&m, step, i);
        error = send_one(w, s, &m);
        if (m.batch && !error) m.batch->size = m.len;
    }
    if (i > 0) error = PRO_OK; /* some went: the next step begins with the one that did not */
    pri_sim_complete(w, s, PRI_SIM_WRITE, error,
                     error      ? 0
                     : is_batch ? (int64_t)i
                                : (int64_t)m.len,
                     0);
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static int64_t receive_one(const sim_socket *s, const sim_packet *p, message *m)
{
    size_t      done = 0;
    pro_address from = of_socket(s, p->from);
    for (size_t k = 0; k < m->count && done < p->len; k++) {
        size_t part = p->len - done < m->vecs[k].len ? p->len - done : m->vecs[k].len;
        if (part > 0) memcpy(m->vecs[k].base, p->bytes + done, part);
        done += part;
    }
    if (m->batch) {
        m->batch->address = from;
        m->batch->size = done;
        m->batch->flags = done < p->len ? PRO_TRUNCATED : 0;
    } else if (m->side) {
        m->side->address = from;
        m->side->message.is_truncated = done < p->len;
        m->side->message.control_len = 0;
    }
    return (int64_t)done;
}

void pri_sim_recv_datagrams(pro_sim *w, sim_socket *s)
{
    pri_step *step = s->step[PRI_SIM_READ];
    bool      is_batch = step->flags & PRI_STEP_BY_CALL;
    size_t    count = is_batch ? step->len : 1, i = 0;
    int64_t   value = 0;
    message   m;
    if (tell_error(w, s, PRI_SIM_READ) || !first_of(w, s)) return;
    pri_sim_guard_end(w, step);
    for (; i < count && first_of(w, s); i++) {
        message_of(&m, step, i);
        value = receive_one(s, first_of(w, s), &m);
        drop_first(w, s);
    }
    pri_sim_complete(w, s, PRI_SIM_READ, PRO_OK, is_batch ? (int64_t)i : value, 0);
}

/* Into a buffer of a pool, one at a time. */
void pri_sim_recv_leased_datagram(pro_sim *w, sim_socket *s)
{
    pri_step    *step = s->step[PRI_SIM_READ];
    pro_buffers *buffers = step->data;
    if (tell_error(w, s, PRI_SIM_READ) || !first_of(w, s)) return;
    int32_t id = pri_buffers_take(buffers);
    if (id < 0) {
        pri_sim_lack_buffer(w, s, id);
        return;
    }
    const sim_packet *p = first_of(w, s);
    char             *buffer = pri_buffers_at(buffers, (uint32_t)id);
    pro_address       from = of_socket(s, p->from);
    uint32_t name_len = (uint32_t)pri_os_address_out(&from, buffer + offsetof(pri_os_head, name));
    uint32_t room = buffers->size - PRO_DATAGRAM_HEAD, len = p->len < room ? p->len : room;
    uint32_t flags = len < p->len ? PRI_RECORD_MORE | PRI_RECORD_TRUNCATED : PRI_RECORD_MORE;
    memcpy(buffer, &name_len, sizeof name_len);
    if (len > 0) memcpy(buffer + PRO_DATAGRAM_HEAD, p->bytes, len);
    drop_first(w, s);
    pri_sim_complete_leased(w, s, PRI_SIM_READ, len, flags, (uint32_t)id);
    pri_sim_go_on(w, s);
}

/* ---- Options -------------------------------------------------------------------------------- */

/* Those that only datagrams have; groups are not in a world, so that these are only remembered. */
int pri_sim_datagram_set(sim_socket *s, int option, int value)
{
    uint16_t flag = option == PRO_OPT_BROADCAST ? SOCK_BROADCAST : SOCK_NO_GROUP_LOOP;
    switch (option) {
    case PRO_OPT_HOPS:
        s->hops = (uint8_t)value;
        return value < 1 || value > 255 ? -PRI_SIM_EINVAL : 0;
    case PRO_OPT_MULTICAST_HOPS:
        s->group_hops = (uint8_t)value;
        return value > 255 ? -PRI_SIM_EINVAL : 0;
    case PRO_OPT_BROADCAST:
    case PRO_OPT_MULTICAST_LOOP: break;
    default: return -PRI_SIM_EOPNOTSUPP;
    }
    bool is_on = (value != 0) == (option == PRO_OPT_BROADCAST);
    s->flags = (uint16_t)(is_on ? s->flags | flag : s->flags & ~flag);
    return 0;
}

int pri_sim_datagram_get(const sim_socket *s, int option, int *value)
{
    switch (option) {
    case PRO_OPT_HOPS: *value = s->hops ? s->hops : HOPS; return 0;
    case PRO_OPT_MULTICAST_HOPS: *value = s->group_hops; return 0;
    case PRO_OPT_BROADCAST: *value = !!(s->flags & SOCK_BROADCAST); return 0;
    case PRO_OPT_MULTICAST_LOOP: *value = !(s->flags & SOCK_NO_GROUP_LOOP); return 0;
    default: return -PRI_SIM_EOPNOTSUPP;
    }
}
