/* Faults between nodes: crashes, partitions, clogs, pauses; and healing.
 *
 * Where the seed's plan has any of them on, a WEATHER event comes now and then (its times are from a
 * long tail, so that some come in quick succession) and picks one kind and its victims.  Each ends by
 * itself after a while, or at healing.  Weather alone is no work: a world in which only weather is
 * left to come has come to its end. */
#include <string.h>

#include "engine/sim/lane.h"

static const pro_sim_fault kinds[] = {PRO_SIM_CLOG, PRO_SIM_PARTITION, PRO_SIM_PAUSE,
                                      PRO_SIM_CRASH};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void next_weather(pro_sim *w)
{
    uint64_t at = w->now_ns + pri_sim_long_tail(w, &w->weather_stream, 60 * PRO_SEC);
    pri_sim_push(w, at, EV_WEATHER, 0, 0, 0);
}

void pri_sim_weather_begin(pro_sim *w)
{
    for (int i = 0; i < KINDS; i++) {
        if (!w->rate[kinds[i]]) continue;
        next_weather(w);
        return;
    }
}

static pro_sim_node *any_node(pro_sim *w)
{
    if (w->nodes_count < 2) return NULL; /* the host alone has no weather */
    uint32_t      i = 1 + pri_sim_choice(w, &w->weather_stream, w->nodes_count - 1);
    pro_sim_node *node = w->nodes;
    while (i-- > 0) node = node->next;
    return node;
}

void pri_sim_weather(pro_sim *w)
{
    if (w->healed) return;
    if (!pri_sim_has_work(w)) return; /* it would only keep the time going */
    pro_sim_fault kind = kinds[pri_sim_choice(w, &w->weather_stream, KINDS)];
    pro_sim_node *from = any_node(w), *to = any_node(w);
    uint64_t      time = pri_sim_long_tail(w, &w->weather_stream, 300 * PRO_SEC);
    if (!from || !pri_sim_strikes(w, &w->weather_stream, kind)) {
        next_weather(w);
        return;
    }
    switch (kind) {
    case PRO_SIM_CLOG: pro_sim_clog(from, to, time); break;
    case PRO_SIM_PAUSE: pro_sim_pause(from, time); break;
    case PRO_SIM_CRASH:
        if (!from->on_crash || !from->up) break;
        pro_sim_crash(from);
        pri_sim_push(w, w->now_ns + time, EV_RESTART, from->id, 0, 0);
        break;
    default:
        if (from == to) break;
        pro_sim_partition(from, to);
        pri_sim_push(w, w->now_ns + time, EV_CLEAR, from->id, 0, to->id);
        if (pri_sim_choice(w, &w->weather_stream, 2)) {
            pro_sim_partition(to, from);
            pri_sim_push(w, w->now_ns + time, EV_CLEAR, to->id, 0, from->id);
        }
        break;
    }
    next_weather(w);
}

/* ---- Links ---------------------------------------------------------------------------------- */

void pro_sim_partition(pro_sim_node *from, pro_sim_node *to)
{
    pro_sim *w = from->world;
    pri_sim_link_of(w, from, to)->cuts++;
    w->stats.partitions++;
    pri_sim_note(w, EV_PARTITION, from, to->id, 0, 1, NULL);
}

static void let_go_of(pro_sim *w, const sim_link *link)
{
    for (uint32_t i = 0; i < w->sockets; i++) {
        sim_socket *s = pri_sim_socket(w, i);
        if (s && s->in == link) pri_sim_let_go(w, s);
    }
}

static void mend(pro_sim *w, sim_link *link)
{
    if (link->cuts == 0 || --link->cuts > 0) return;
    let_go_of(w, link);
}

void pro_sim_unpartition(pro_sim_node *from, pro_sim_node *to)
{
    pri_sim_note(from->world, EV_PARTITION, from, to->id, 0, 0, NULL);
    mend(from->world, pri_sim_link_of(from->world, from, to));
}

void pri_sim_clear(pro_sim *w, uint32_t from, uint32_t to)
{
    pro_sim_node *a = w->nodes, *b = w->nodes;
    while (a->id != from) a = a->next;
    while (b->id != to) b = b->next;
    pro_sim_unpartition(a, b);
}

void pro_sim_clog(pro_sim_node *from, pro_sim_node *to, uint64_t for_ns)
{
    sim_link *link = pri_sim_link_of(from->world, from, to);
    uint64_t  until = from->world->now_ns + for_ns;
    pri_sim_note(from->world, EV_CLOG, from, to->id, 0, (int64_t)for_ns, NULL);
    if (until > link->clogged_until) link->clogged_until = until;
}

/* ---- Nodes ---------------------------------------------------------------------------------- */

void pro_sim_pause(pro_sim_node *node, uint64_t for_ns)
{
    uint64_t until = node->world->now_ns + for_ns;
    pri_sim_note(node->world, EV_PAUSE, node, node->id, 0, (int64_t)for_ns, NULL);
    if (until > node->paused_until) node->paused_until = until;
}

/* A socket of a crashed node.  Either the system lives and resets what the process had, or the whole
 * machine is down and says nothing: then the peer learns it when what it sends stays unanswered. */
static void vanish(pro_sim *w, sim_socket *s, bool machine)
{
    sim_socket *peer = pri_sim_socket(w, s->peer);
    s->step[0] = s->step[1] = NULL;
    if (machine && peer) {
        peer->peer = PRI_SIM_NONE;
        peer->flags |= SOCK_SILENT;
        s->peer = PRI_SIM_NONE;
        uint64_t patience = (30 + pri_sim_choice(w, &peer->stream, 300)) * PRO_SEC;
        pri_sim_push(w, w->now_ns + patience, EV_GIVE_UP, peer->id, peer->generation, 0);
    }
    pri_sim_close(w, s, true);
}

static void crash(pro_sim_node *node, bool machine)
{
    pro_sim *w = node->world;
    pri_sim_note(w, EV_CRASH, node, node->id, 0, node->starts, NULL);
    w->stats.crashes++;
    for (sim_loop *l = w->loops, *next; l; l = next) {
        next = l->next;
        if (l->node == node && l->loop->running && !l->lane)
            pri_abort("sim: a node is crashed inside a handler of its own");
    }
    if (pri_sim_runs_on(node)) pri_abort("sim: a node is crashed by a thread of its own");
    for (uint32_t i = 0; i < w->sockets; i++) { /* those in backlogs go with their listeners */
        sim_socket *s = pri_sim_socket(w, i);
        if (s && s->node == node && s->flags & SOCK_TAKEN) vanish(w, s, machine);
    }
    pri_sim_files_crash(node, machine);
    for (sim_loop *l = w->loops, *next; l; l = next) {
        next = l->next;
        if (l->node == node) pri_loop_abandon(l->loop);
    }
    pri_sim_lanes_abandon(w, node);
    node->up = false;
    if (node->on_crash) node->on_crash(node->arg);
}

void pro_sim_crash(pro_sim_node *node)
{
    if (node->up) crash(node, pri_sim_choice(node->world, &node->stream, 2));
}

void pro_sim_power_cut(pro_sim_node *node)
{
    if (node->up) crash(node, true);
}

void pro_sim_restart(pro_sim_node *node)
{
    pro_sim *w = node->world;
    if (node->up) return;
    node->up = true;
    node->paused_until = 0;
    for (uint32_t i = 0; i < w->sockets;
         i++) { /* now the machine answers: it knows nothing of them */
        sim_socket *s = pri_sim_socket(w, i);
        if (!s || !(s->flags & SOCK_SILENT) ||
            pri_sim_node_by_address(w, s->node, &s->remote) != node)
            continue;
        s->flags &= (uint16_t)~SOCK_SILENT;
        if (s->step[PRI_SIM_WRITE]) pri_sim_send_segment(w, s, 0, SEG_RST);
    }
    node->is_due = node->main != NULL;
    if (node->main) pri_sim_push(w, w->now_ns, EV_MAIN, node->id, 0, 0);
}

void pro_sim_heal(pro_sim *w)
{
    pri_sim_note(w, EV_HEAL, NULL, 0, 0, 0, NULL);
    w->healed = true;
    for (int i = 0; i < PRI_SIM_LINKS; i++)
        for (sim_link *link = w->links[i]; link; link = link->next) {
            bool was_cut = link->cuts > 0;
            link->cuts = 0;
            link->clogged_until = 0;
            if (was_cut) let_go_of(w, link);
        }
    for (pro_sim_node *node = w->nodes; node; node = node->next) {
        if (!node->up && node->starts) pro_sim_restart(node);
        if (node->paused_until <= w->now_ns) continue;
        node->paused_until = 0;
        for (sim_loop *l = w->loops; l; l = l->next)
            if (l->node == node) pri_sim_turn_soon(l, w->now_ns);
        pri_sim_lanes_hurry(w, node);
    }
}
