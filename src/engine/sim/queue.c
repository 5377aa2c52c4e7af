/* What happens next: a heap with four children to a node.
 *
 * The order is (virtual time, tie-break, sequence).  The tie-break is chosen by the seed where the
 * policy is not "in order"; the sequence makes the order total, so that nothing else can decide.
 *
 * Invariant:  0 < i < len  ==>  queue[(i - 1) / 4] comes before queue[i] */
#include "engine/sim/world.h"

static inline bool comes_before(const sim_event *a, const sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void pri_sim_push(pro_sim *w, uint64_t at, sim_event_kind kind, uint32_t target,
                  uint32_t generation, uint32_t extra)
{
    uint64_t tie = w->policy == PRO_SIM_IN_ORDER ? 0 : pri_sim_bits(w, &w->tie_stream) >> 48;
    if (w->queue_len == w->queue_capacity) {
        w->queue_capacity = w->queue_capacity ? w->queue_capacity * 2 : 64;
        w->queue = pri_sim_realloc(w->queue, w->queue_capacity * sizeof *w->queue);
    }
    if (kind == EV_WEATHER) w->idle_events++;
    sim_event event = {
        .at = at < w->now_ns ? w->now_ns : at,
        .order = tie << 48 | (w->seq++ & ((UINT64_C(1) << 48) - 1)),
        .target = target,
        .generation = generation,
        .extra = extra,
        .kind = kind,
    };
    size_t i = w->queue_len++;
    while (i > 0) {
        size_t parent = (i - 1) / 4;
        if (!comes_before(&event, &w->queue[parent])) break;
        w->queue[i] = w->queue[parent];
        i = parent;
    }
    w->queue[i] = event;
}

sim_event pri_sim_pop(pro_sim *w)
{
    sim_event *queue = w->queue;
    sim_event  first = queue[0], last = queue[--w->queue_len];
    size_t     len = w->queue_len, i = 0;
    for (;;) {
        size_t child = i * 4 + 1, end = child + 4;
        if (child >= len) break;
        if (end > len) end = len;
        size_t least = child;
        for (size_t c = child + 1; c < end; c++)
            if (comes_before(&queue[c], &queue[least])) least = c;
        if (!comes_before(&queue[least], &last)) break;
        queue[i] = queue[least];
        i = least;
    }
    queue[i] = last;
    if (first.kind == EV_WEATHER) w->idle_events--;
    return first;
}
