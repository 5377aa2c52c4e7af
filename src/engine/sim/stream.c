/* TCP, established: bytes on the way, ends, resets.
 *
 * Each socket has a pipe: a ring of bytes that stand for what is on the way to it or waits to be
 * read, and the segments that are on the way, in order.  A send copies what has room into the pipe of
 * the peer and appends a segment that arrives later; at its arrival the bytes become readable.  An
 * end (FIN) and a reset (RST) are segments too, so neither overtakes the bytes before it.
 *
 * A step is tried when it is started and when something has changed: at once, or a little later
 * (TRY) where the seed's plan has latencies; it completes or waits for the next change.  Window
 * updates travel back over the link, as a TRY at the sender.
 *
 * Where the link is cut the pipe is held, and goes on some time after healing; a sender whose bytes
 * are held for too long gives up. */
#include <string.h>

#include "core/buffers.h"
#include "engine/sim/world.h"

/* ---- Sockets -------------------------------------------------------------------------------- */

sim_socket *pri_sim_socket(const pro_sim *w, uint32_t id)
{
    if (id >= w->sockets) return NULL;
    sim_socket *s = &w->chunks[id / PRI_SIM_CHUNK][id % PRI_SIM_CHUNK];
    return s->state == SOCK_FREE ? NULL : s;
}

sim_socket *pri_sim_socket_of_fd(const pro_sim *w, intptr_t fd)
{
    return fd < PRI_SIM_FD_BASE ? NULL : pri_sim_socket(w, (uint32_t)(fd - PRI_SIM_FD_BASE));
}

static void add_chunk(pro_sim *w)
{
    uint32_t chunk = w->sockets / PRI_SIM_CHUNK;
    if (chunk == w->chunks_capacity) {
        w->chunks_capacity = w->chunks_capacity ? w->chunks_capacity * 2 : 8;
        w->chunks = pri_sim_realloc(w->chunks, w->chunks_capacity * sizeof *w->chunks);
    }
    w->chunks[chunk] = pri_sim_realloc(NULL, PRI_SIM_CHUNK * sizeof(sim_socket));
    memset(w->chunks[chunk], 0, PRI_SIM_CHUNK * sizeof(sim_socket));
    for (uint32_t i = PRI_SIM_CHUNK; i-- > 0;) {
        w->chunks[chunk][i].id = w->sockets + i;
        w->chunks[chunk][i].next_free = w->free_socket;
        w->free_socket = w->sockets + i;
    }
    w->sockets += PRI_SIM_CHUNK;
}

sim_socket *pri_sim_socket_new(pro_sim *w, pro_sim_node *node, bool v6)
{
    if (w->free_socket == PRI_SIM_NONE) add_chunk(w);
    uint32_t    id = w->free_socket;
    sim_socket *s = &w->chunks[id / PRI_SIM_CHUNK][id % PRI_SIM_CHUNK];
    w->free_socket = s->next_free;
    uint32_t generation = s->generation + 1;
    memset(s, 0, sizeof *s);
    s->id = id;
    s->generation = generation;
    s->state = SOCK_OPEN;
    s->flags = v6 ? SOCK_V6 : 0;
    s->node = node;
    s->peer = s->next_free = PRI_SIM_NONE;
    s->backlog_first = s->backlog_last = PRI_SIM_NONE;
    s->stream = pri_sim_stream(w, STREAM_SOCKET, id, generation);
    s->local.family = s->remote.family = v6 ? PRO_IPV6 : PRO_IPV4;
    return s;
}

static void free_pipe(sim_pipe *p)
{
    if (p->ring) pri_sim_realloc(p->ring, 0);
    if (p->segments) pri_sim_realloc(p->segments, 0);
    p->ring = NULL;
    p->segments = NULL;
}

void pri_sim_socket_free(pro_sim *w, sim_socket *s)
{
    if (s->flags & SOCK_DATAGRAM) pri_sim_drop_unreceived(w, s);
    free_pipe(&s->pipe);
    if (s->script) pri_sim_realloc(s->script, 0);
    s->script = NULL;
    s->state = SOCK_FREE;
    s->generation++;
    s->next_free = w->free_socket;
    w->free_socket = s->id;
}

/* ---- Pipes ---------------------------------------------------------------------------------- */

static void make_room(sim_pipe *p, uint32_t len)
{
    uint32_t capacity = p->capacity ? p->capacity : 256;
    while (capacity - p->stored < len) capacity *= 2;
    if (capacity == p->capacity) return;
    unsigned char *ring = pri_sim_realloc(NULL, capacity);
    if (p->ring) {
        uint32_t first = p->capacity - p->head < p->stored ? p->capacity - p->head : p->stored;
        memcpy(ring, p->ring + p->head, first);
        memcpy(ring + first, p->ring, p->stored - first);
        pri_sim_realloc(p->ring, 0);
    }
    p->ring = ring;
    p->capacity = capacity;
    p->head = 0;
}

static void put(sim_pipe *p, const void *bytes, uint32_t len)
{
    uint32_t tail = (p->head + p->stored) & (p->capacity - 1);
    uint32_t first = p->capacity - tail < len ? p->capacity - tail : len;
    memcpy(p->ring + tail, bytes, first);
    memcpy(p->ring, (const char *)bytes + first, len - first);
    p->stored += len;
}

static void take(sim_pipe *p, void *bytes, uint32_t len)
{
    uint32_t first = p->capacity - p->head < len ? p->capacity - p->head : len;
    memcpy(bytes, p->ring + p->head, first);
    memcpy((char *)bytes + first, p->ring, len - first);
    p->head = (p->head + len) & (p->capacity - 1);
    p->stored -= len;
    p->readable -= len;
}

static sim_segment *segment_at(const sim_pipe *p, unsigned i)
{
    return &p->segments[(p->segment_head + i) & (p->segment_capacity - 1u)];
}

static void append_segment(sim_pipe *p, sim_segment segment)
{
    if (p->segment_count > 0) { /* what arrives at one time is one segment */
        sim_segment *last = segment_at(p, p->segment_count - 1u);
        bool         full = p->segment_count == UINT16_MAX / 2;
        if (last->flags == 0 && segment.flags == 0 && (last->at == segment.at || full)) {
            last->len += segment.len;
            last->at = segment.at;
            return;
        }
    }
    if (p->segment_count == p->segment_capacity) {
        unsigned     capacity = p->segment_capacity ? p->segment_capacity * 2u : 4u;
        sim_segment *segments = pri_sim_realloc(NULL, capacity * sizeof *segments);
        for (unsigned i = 0; i < p->segment_count; i++) segments[i] = *segment_at(p, i);
        if (p->segments) pri_sim_realloc(p->segments, 0);
        p->segments = segments;
        p->segment_capacity = (uint16_t)capacity;
        p->segment_head = 0;
    }
    p->segment_count++;
    *segment_at(p, p->segment_count - 1u) = segment;
}

static void arm(pro_sim *w, sim_socket *s)
{
    sim_pipe *p = &s->pipe;
    if (p->armed || p->held || p->segment_count == 0) return;
    p->armed = true;
    pri_sim_push(w, segment_at(p, 0)->at, EV_ARRIVE, s->id, s->generation, 0);
}

void pri_sim_send_segment(pro_sim *w, sim_socket *to, uint32_t len, uint32_t flags)
{
    sim_pipe *p = &to->pipe;
    uint64_t  at = pri_sim_arrival(w, to->in, len);
    if (at < p->last_at) at = p->last_at;
    p->last_at = at;
    append_segment(p, (sim_segment){at, len, flags});
    arm(w, to);
}

/* ---- Breaking ------------------------------------------------------------------------------- */

static void drop_unread(sim_pipe *p)
{
    p->stored = p->readable = p->head = 0;
    p->segment_count = 0;
}

/* The connection is over for this side: what waits ends with the error, the next one learns it. */
void pri_sim_break(pro_sim *w, sim_socket *s, int error)
{
    if (s->flags & SOCK_BROKEN && !s->error) return;
    s->error = error;
    s->flags |= SOCK_EOF | SOCK_BROKEN;
    w->stats.resets++;
    pri_sim_note(w, EV_RESET, s->node, s->id, error, 0, NULL);
    pri_sim_try_soon(w, s, PRI_SIM_READ);
    pri_sim_try_soon(w, s, PRI_SIM_WRITE);
}

static void break_both(pro_sim *w, sim_socket *s)
{
    sim_socket *peer = pri_sim_socket(w, s->peer);
    if (pri_sim_choice(w, &s->stream, 2)) drop_unread(&s->pipe);
    pri_sim_break(w, s, PRO_ECONNRESET);
    s->peer = PRI_SIM_NONE;
    if (!peer) return;
    peer->peer = PRI_SIM_NONE;
    pri_sim_send_segment(w, peer, 0, SEG_RST);
}

/* ---- Arriving ------------------------------------------------------------------------------- */

static void hold(pro_sim *w, sim_socket *s)
{
    s->pipe.held = true;
    uint64_t patience = (60 + pri_sim_choice(w, &s->stream, 600)) * PRO_SEC;
    pri_sim_push(w, w->now_ns + patience, EV_GIVE_UP, s->id, s->generation, 0);
}

void pri_sim_arrive(pro_sim *w, sim_socket *s)
{
    sim_pipe *p = &s->pipe;
    p->armed = false;
    if (p->held) return;
    if (pri_sim_is_cut(s->in)) {
        hold(w, s);
        return;
    }
    while (p->segment_count > 0 && segment_at(p, 0)->at <= w->now_ns) {
        sim_segment segment = *segment_at(p, 0);
        p->segment_head = (uint16_t)((p->segment_head + 1u) & (p->segment_capacity - 1u));
        p->segment_count--;
        pri_sim_note(w, EV_ARRIVE, s->node, s->id, (int)segment.flags, segment.len, NULL);
        p->readable += segment.len;
        w->stats.bytes += segment.len;
        if (segment.flags & SEG_FIN) s->flags |= SOCK_EOF;
        if (segment.flags & SEG_RST) {
            /* Systems differ: what was not read may be lost; and after an orderly end a reset is told
             * to nobody (sends learn of a broken pipe), or is one all the same. */
            bool is_quiet = s->flags & SOCK_EOF && pri_sim_choice(w, &s->stream, 4) > 0;
            if (!is_quiet && p->readable && pri_sim_choice(w, &s->stream, 2)) drop_unread(p);
            s->peer = PRI_SIM_NONE;
            pri_sim_break(w, s, is_quiet ? PRO_OK : PRO_ECONNRESET);
            return;
        }
        if (segment.len && !w->healed && !(s->flags & SOCK_PAIR) &&
            pri_sim_strikes(w, &s->stream, PRO_SIM_RESET)) {
            break_both(w, s);
            return;
        }
    }
    arm(w, s);
    pri_sim_try_soon(w, s, PRI_SIM_READ);
}

void pri_sim_let_go(pro_sim *w, sim_socket *s)
{
    sim_pipe *p = &s->pipe;
    if (!p->held || pri_sim_is_cut(s->in)) return;
    p->held = false;
    uint64_t at = w->now_ns + pri_sim_long_tail(w, &s->stream, 4 * PRO_SEC); /* sent again */
    if (p->segment_count > 0 && segment_at(p, 0)->at < at) segment_at(p, 0)->at = at;
    if (p->last_at < at) p->last_at = at;
    arm(w, s);
}

/* Nothing was acknowledged for too long: the sender's side ends. */
void pri_sim_give_up(pro_sim *w, sim_socket *s)
{
    if (s->flags & SOCK_SILENT) { /* our own bytes went nowhere */
        s->flags &= (uint16_t)~SOCK_SILENT;
        pri_sim_break(w, s, PRO_ETIMEDOUT);
        return;
    }
    if (!s->pipe.held) return;
    sim_socket *peer = pri_sim_socket(w, s->peer);
    if (!peer) return;
    peer->peer = PRI_SIM_NONE;
    s->peer = PRI_SIM_NONE;
    pri_sim_break(w, peer, PRO_ETIMEDOUT);
}

/* ---- Trying --------------------------------------------------------------------------------- */

static uint64_t latency(pro_sim *w, sim_socket *s)
{
    if (!w->latency_ns) return 0;
    uint64_t ns = pri_sim_choice(w, &s->stream, w->latency_ns);
    if (pri_sim_strikes(w, &s->stream, PRO_SIM_SLOW))
        ns += pri_sim_long_tail(w, &s->stream, PRO_SEC);
    if (w->policy == PRO_SIM_ADVERSARY && !w->healed) {
        if (w->now_ns >= w->victim_until && pri_sim_choice(w, &w->weather_stream, 64) == 0) {
            w->victim = s->id;
            w->victim_until = w->now_ns + pri_sim_long_tail(w, &w->weather_stream, 30 * PRO_SEC);
        }
        if (w->victim == s->id && w->now_ns < w->victim_until) ns += w->victim_until - w->now_ns;
    }
    return ns + 1;
}

void pri_sim_try_soon(pro_sim *w, sim_socket *s, int direction)
{
    if (!s->step[direction] || s->trying[direction]) return;
    uint64_t ns = latency(w, s);
    if (ns == 0) {
        pri_sim_try(w, s, direction);
        return;
    }
    s->trying[direction] = 1;
    pri_sim_push(w, w->now_ns + ns, EV_TRY, s->id, s->generation, (uint32_t)direction);
}

/* A scripted fault: the most that may move, or an error. */
static bool scripted(pro_sim *w, sim_socket *s, int direction, uint32_t *max)
{
    sim_script *script = s->script;
    if (!script || script->count[direction] == 0) return false;
    unsigned i = script->head[direction];
    int      error = script->error[direction][i];
    if (error == PRO_OK) {
        if (*max == 0) return false; /* nothing could move yet */
        if (*max > script->bytes_max[direction][i]) *max = script->bytes_max[direction][i];
    }
    script->head[direction] = (uint8_t)((i + 1) % PRI_SIM_SCRIPT);
    script->count[direction]--;
    if (error == PRO_OK) return false;
    if (error == PRO_ECONNRESET) {
        drop_unread(&s->pipe);
        break_both(w, s); /* which tries the step again: it learns it now, or soon */
        return true;
    }
    pri_sim_complete(w, s, direction, error == PRO_EOF ? PRO_OK : error, 0, 0);
    return true;
}

/* Copy between the pieces of a step and a pipe. */
static void scatter(const pri_step *step, sim_pipe *p, uint32_t len)
{
    if (!(step->flags & PRI_STEP_VECTORS)) {
        take(p, step->data, len);
        return;
    }
    const pri_side *side = step->data;
    for (uint32_t i = side->first; len > 0; i++) {
        uint32_t part = side->vecs[i].len < len ? (uint32_t)side->vecs[i].len : len;
        take(p, side->vecs[i].base, part);
        len -= part;
    }
}

static void gather(const pri_step *step, sim_pipe *p, uint32_t len)
{
    if (!(step->flags & PRI_STEP_VECTORS)) {
        put(p, step->data, len);
        return;
    }
    const pri_side *side = step->data;
    for (uint32_t i = side->first; len > 0; i++) {
        uint32_t part = side->vecs[i].len < len ? (uint32_t)side->vecs[i].len : len;
        put(p, side->vecs[i].base, part);
        len -= part;
    }
}

static uint32_t at_most(uint64_t a, uint32_t b) { return a < b ? (uint32_t)a : b; }

/* A receive that goes on: for what is left, the rest or the end. */
void pri_sim_go_on(pro_sim *w, sim_socket *s)
{
    if (s->trying[PRI_SIM_READ]) return;
    s->trying[PRI_SIM_READ] = 1;
    pri_sim_push(w, w->now_ns + 1, EV_TRY, s->id, s->generation, PRI_SIM_READ);
}

void pri_sim_lack_buffer(pro_sim *w, sim_socket *s, int32_t id)
{
    if (id == PRI_BUFFERS_NONE)
        pri_sim_complete(w, s, PRI_SIM_READ, PRO_ENOBUFS, 0, 0);
    else if (!s->trying[PRI_SIM_READ])
        pri_sim_try_behind(s);
}

static void try_recv(pro_sim *w, sim_socket *s)
{
    pri_step *step = s->step[PRI_SIM_READ];
    sim_pipe *p = &s->pipe;
    uint32_t  n = at_most(step->len, p->readable);
    if (scripted(w, s, PRI_SIM_READ, &n)) return;
    if (n > 0) {
        bool    is_leased = step->kind == PRI_STEP_RECV_LEASED;
        int32_t lease = is_leased ? pri_buffers_take(step->data) : 0;
        if (lease < 0) {
            pri_sim_lack_buffer(w, s, lease);
            return;
        }
        if (n > 1 && pri_sim_strikes(w, &s->stream, PRO_SIM_SHORT_READ))
            n = 1 + pri_sim_choice(w, &s->stream, n - 1);
        pri_sim_guard_end(w, step);
        if (is_leased)
            take(p, pri_buffers_at(step->data, (uint32_t)lease), n);
        else
            scatter(step, p, n);
        sim_socket *peer = pri_sim_socket(w, s->peer);
        if (peer && peer->step[PRI_SIM_WRITE] && !peer->trying[PRI_SIM_WRITE] &&
            peer->state == SOCK_CONNECTED) { /* the window opens, a link later */
            peer->trying[PRI_SIM_WRITE] = 1;
            pri_sim_push(w, pri_sim_arrival(w, s->out, 0), EV_TRY, peer->id, peer->generation,
                         PRI_SIM_WRITE);
        }
        bool is_multi = step->flags & PRI_STEP_MULTI;
        pri_sim_complete_leased(w, s, PRI_SIM_READ, n, is_multi ? PRI_RECORD_MORE : 0,
                                (uint32_t)lease);
        if (is_multi) pri_sim_go_on(w, s);
        return;
    }
    if (s->error) {
        int error = s->error;
        s->error = 0;
        pri_sim_complete(w, s, PRI_SIM_READ, error, 0, 0);
    } else if (s->flags & SOCK_EOF) {
        pri_sim_complete(w, s, PRI_SIM_READ, PRO_OK, 0, 0);
    }
}

static void try_send(pro_sim *w, sim_socket *s)
{
    pri_step *step = s->step[PRI_SIM_WRITE];
    if (s->error || s->flags & (SOCK_BROKEN | SOCK_SHUT)) {
        int error = s->error ? s->error : PRO_EPIPE;
        s->error = 0;
        pri_sim_complete(w, s, PRI_SIM_WRITE, error, 0, 0);
        return;
    }
    sim_socket *peer = pri_sim_socket(w, s->peer);
    uint32_t    room = s->credit;
    if (peer)
        room = peer->pipe.limit > peer->pipe.stored ? peer->pipe.limit - peer->pipe.stored : 0;
    if (!peer && s->flags & SOCK_SILENT) return; /* nothing is acknowledged */
    uint32_t n = at_most(step->len, room);
    if (scripted(w, s, PRI_SIM_WRITE, &n)) return;
    if (n == 0) return;
    if (n > 1 && pri_sim_strikes(w, &s->stream, PRO_SIM_SHORT_WRITE))
        n = 1 + pri_sim_choice(w, &s->stream, n - 1);
    if (peer) {
        make_room(&peer->pipe, n);
        gather(step, &peer->pipe, n);
        pri_sim_send_segment(w, peer, n, 0);
    } else {
        s->credit -= n;
        bool is_coming = s->pipe.segment_count &&
                         segment_at(&s->pipe, s->pipe.segment_count - 1u)->flags == SEG_RST;
        if (!is_coming) pri_sim_send_segment(w, s, 0, SEG_RST); /* it says so in a while */
    }
    pri_sim_complete(w, s, PRI_SIM_WRITE, PRO_OK, n, 0);
}

bool pri_sim_send_part(pro_sim *w, sim_socket *s)
{
    sim_socket *peer = pri_sim_socket(w, s->peer);
    pri_step   *step = s->step[PRI_SIM_WRITE];
    if (!peer || s->error || s->flags & (SOCK_BROKEN | SOCK_SHUT)) return false;
    if (peer->pipe.limit <= peer->pipe.stored) return false;
    uint32_t n = at_most(step->len, peer->pipe.limit - peer->pipe.stored);
    n = 1 + pri_sim_choice(w, &s->stream, n);
    make_room(&peer->pipe, n);
    gather(step, &peer->pipe, n);
    pri_sim_send_segment(w, peer, n, 0);
    pri_sim_complete(w, s, PRI_SIM_WRITE, PRO_ECANCELED, n, 0);
    return true;
}

void pri_sim_try(pro_sim *w, sim_socket *s, int direction)
{
    pri_step *step = s->step[direction];
    if (!step) return;
    switch (step->kind) {
    case PRI_STEP_RECV:
        if (s->flags & SOCK_DATAGRAM)
            pri_sim_recv_datagrams(w, s);
        else
            try_recv(w, s);
        break;
    case PRI_STEP_RECV_LEASED: try_recv(w, s); break;
    case PRI_STEP_RECV_FROM_LEASED: pri_sim_recv_leased_datagram(w, s); break;
    case PRI_STEP_SEND:
        if (s->flags & SOCK_DATAGRAM)
            pri_sim_send_datagrams(w, s);
        else
            try_send(w, s);
        break;
    case PRI_STEP_ACCEPT: pri_sim_accept(w, s); break;
    default: break; /* a connection attempt has events of its own */
    }
}
