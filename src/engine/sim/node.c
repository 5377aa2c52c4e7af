/* Nodes, their clocks, and the links between them.
 *
 * A node's clock is the world's plus what it is ahead, and gains drift_ppm: it is what the loops of
 * the node read.  A link has one direction; it is made when first used, with the defaults of the
 * seed's plan, and found by a hash of the two numbers. */
#include <stdio.h>
#include <string.h>

#include "engine/sim/world.h"

/* ---- Making --------------------------------------------------------------------------------- */

static bool is_taken(const pro_sim *w, uint16_t family, const uint8_t bytes[16])
{
    for (const pro_sim_node *n = w->nodes; n; n = n->next)
        if (n->family == family && memcmp(n->bytes, bytes, 16) == 0) return true;
    return false;
}

static void give_address(pro_sim *w, pro_sim_node *node, const char *text)
{
    pro_address a = {.family = PRO_IPV4, .bytes = {10, 0, 0, 1}};
    if (text) {
        char with_port[80];
        snprintf(with_port, sizeof with_port, "%s:0", text);
        if (pro_address_parse(&a, with_port) != PRO_OK) pri_abort("sim: no address: %s", text);
        if (is_taken(w, a.family, a.bytes)) pri_abort("sim: two nodes have the address %s", text);
    }
    for (uint32_t i = 1; !text && is_taken(w, a.family, a.bytes); i++) {
        a.bytes[1] = (uint8_t)(i >> 16);
        a.bytes[2] = (uint8_t)(i >> 8);
        a.bytes[3] = (uint8_t)(i + 1);
    }
    node->family = a.family;
    memcpy(node->bytes, a.bytes, 16);
}

pro_sim_node *pro_sim_node_new(pro_sim *w, const char *name, const char *address,
                               pro_sim_main *main, void *arg)
{
    pro_sim_node *node = pri_sim_realloc(NULL, sizeof *node);
    memset(node, 0, sizeof *node);
    node->world = w;
    node->id = w->nodes_count++;
    snprintf(node->name, sizeof node->name, "%s", name ? name : "node");
    give_address(w, node, address);
    node->main = main;
    node->arg = arg;
    node->up = true;
    node->next_port = 40000;
    node->listeners = PRI_SIM_NONE;
    node->stream = pri_sim_stream(w, STREAM_NODE, node->id, 0);
    if (w->rate[PRO_SIM_SKEW] && node->id > 0) {
        node->skew_ns = pri_sim_long_tail(w, &node->stream, 100 * PRO_SEC);
        node->drift_ppm = (int32_t)pri_sim_choice(w, &node->stream, 401) - 200;
    }
    if (w->last_node)
        w->last_node->next = node;
    else
        w->nodes = node;
    w->last_node = node;
    node->is_due = main != NULL;
    if (main) pri_sim_push(w, w->now_ns, EV_MAIN, node->id, 0, 0);
    return node;
}

pro_sim_node *pro_sim_host(pro_sim *w) { return w->host; }
pro_sim_node *pro_sim_here(pro_sim *w) { return w->here ? w->here : w->host; }
void          pro_sim_enter(pro_sim *w, pro_sim_node *node) { w->entered = w->here = node; }
const char   *pro_sim_node_name(const pro_sim_node *node) { return node->name; }
void          pro_sim_node_service(pro_sim_node *node) { node->service = true; }
int           pro_sim_is_up(const pro_sim_node *node) { return node->up; }
void          pro_sim_handles_max(pro_sim_node *node, uint32_t max) { node->handles_max = max; }

void pro_sim_node_on_crash(pro_sim_node *node, void (*on_crash)(void *arg))
{
    node->on_crash = on_crash;
}

pro_address pro_sim_node_address(const pro_sim_node *node, uint16_t port)
{
    pro_address a = {.family = node->family, .port = port};
    memcpy(a.bytes, node->bytes, 16);
    return a;
}

void pro_sim_skew(pro_sim_node *node, uint64_t ahead_ns, int32_t drift_ppm)
{
    node->skew_ns = ahead_ns;
    node->drift_ppm = drift_ppm;
}

/* ---- Addresses ------------------------------------------------------------------------------ */

static bool is_loopback(const pro_address *a)
{
    static const uint8_t one[16] = {[15] = 1}, mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    if (a->family == PRO_IPV4) return a->bytes[0] == 127;
    return memcmp(a->bytes, one, 16) == 0 || memcmp(a->bytes, mapped, 13) == 0;
}

static bool is_any(const pro_address *a)
{
    static const uint8_t none[16];
    return memcmp(a->bytes, none, a->family == PRO_IPV4 ? 4 : 16) == 0;
}

bool pri_sim_is_own(const pro_sim_node *node, const pro_address *a)
{
    if (is_loopback(a) || is_any(a)) return true;
    return a->family == node->family &&
           memcmp(a->bytes, node->bytes, a->family == PRO_IPV4 ? 4 : 16) == 0;
}

pro_sim_node *pri_sim_node_by_address(pro_sim *w, const pro_sim_node *from, const pro_address *a)
{
    for (pro_sim_node *n = w->nodes; n; n = n->next)
        if (n == from ? pri_sim_is_own(n, a)
                      : n->family == a->family && memcmp(n->bytes, a->bytes, 16) == 0)
            return n;
    return NULL;
}

/* ---- Clocks --------------------------------------------------------------------------------- */

static uint64_t parts_of(uint64_t ns, uint64_t ppm)
{
    return ns / 1000000 * ppm + ns % 1000000 * ppm / 1000000;
}

uint64_t pri_sim_node_now(const pro_sim_node *node, uint64_t world_ns)
{
    uint64_t now = world_ns + node->skew_ns;
    if (node->drift_ppm >= 0) return now + parts_of(world_ns, (uint64_t)node->drift_ppm);
    return now - parts_of(world_ns, (uint64_t)-node->drift_ppm);
}

/* The first time of the world's at which the node's clock has come to that time. */
uint64_t pri_sim_world_time(const pro_sim_node *node, uint64_t node_ns)
{
    if (node_ns <= node->skew_ns) return 0;
    uint64_t world = node_ns - node->skew_ns;
    if (node->drift_ppm == 0) return world;
    for (int i = 0; i < 4; i++) { /* each round leaves a thousandth of the difference, or less */
        uint64_t now = pri_sim_node_now(node, world);
        if (now < node_ns)
            world += node_ns - now;
        else
            world -= now - node_ns < world ? now - node_ns : 0;
    }
    while (pri_sim_node_now(node, world) < node_ns) world++;
    return world;
}

/* ---- Links ---------------------------------------------------------------------------------- */

sim_link *pri_sim_link_of(pro_sim *w, const pro_sim_node *from, const pro_sim_node *to)
{
    uint32_t   slot = (from->id * 2654435761u + to->id * 40503u) % PRI_SIM_LINKS;
    sim_link **at = &w->links[slot];
    for (; *at; at = &(*at)->next)
        if ((*at)->from == from->id && (*at)->to == to->id) return *at;

    sim_link *link = pri_sim_realloc(NULL, sizeof *link);
    *link = (sim_link){.from = from->id, .to = to->id};
    link->stream = pri_sim_stream(w, STREAM_LINK, from->id, to->id);
    link->is.delay_ns = from == to ? 2000 : 50000;
    link->is.buffer = 128 * 1024;
    if (w->rate[PRO_SIM_DELAY]) {
        link->is.delay_ns += pri_sim_long_tail(w, &link->stream, PRO_SEC / 4);
        link->is.jitter_ns = pri_sim_long_tail(w, &link->stream, PRO_SEC / 4);
        if (pri_sim_choice(w, &link->stream, 4) == 0)
            link->is.bytes_per_s = 1000u << pri_sim_choice(w, &link->stream, 16);
    }
    if (pri_sim_strikes(w, &link->stream, PRO_SIM_NARROW))
        link->is.buffer = 4096u << pri_sim_choice(w, &link->stream, 6);
    *at = link;
    w->links_count++;
    return link;
}

uint64_t pri_sim_arrival(pro_sim *w, sim_link *link, uint32_t len)
{
    uint64_t at = w->now_ns;
    if (link->is.bytes_per_s) {
        if (link->free_at > at) at = link->free_at;
        at += (uint64_t)len * PRO_SEC / link->is.bytes_per_s;
        link->free_at = at;
    }
    at += link->is.delay_ns;
    if (link->is.jitter_ns) at += pri_sim_bits(w, &link->stream) % link->is.jitter_ns;
    if (pri_sim_strikes(w, &link->stream, PRO_SIM_DELAY)) /* lost, and sent again */
        at += pri_sim_long_tail(w, &link->stream, 2 * PRO_SEC);
    return at > link->clogged_until ? at : link->clogged_until;
}

void pro_sim_link_set(pro_sim_node *from, pro_sim_node *to, const pro_sim_link *is)
{
    sim_link *link = pri_sim_link_of(from->world, from, to);
    link->is = *is;
    if (!link->is.buffer) link->is.buffer = 128 * 1024;
}
