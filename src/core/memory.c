/* Registered memory: the book of a loop's regions.
 *
 * The same on every engine, so that the same calls succeed: an engine that makes nothing of memory (it has no
 * memory_lend, or says so) has all of it in the book, too.  A region longer than an engine takes at once
 * stands there in pieces; what lies across two of them is memory like any other.
 *
 * The regions are in the order of their addresses and do not overlap, so a look-up halves its way.  Behind
 * them stand, in the same array, the numbers that no region has: who comes takes the first of those, and
 * who goes puts its own there.
 *
 * Invariants:
 *   i + 1 < count   ==>  regions[i].to <= regions[i + 1].from
 *   the entries of regions[0 .. capacity) are the numbers 0 .. capacity - 1, each once */
#include "core/memory.h"

#include <string.h>

#include "core/loop.h"

enum { PIECE_MAX = PRI_MEMORY_PIECE_MAX, CAPACITY_MIN = 8 };

/* The first region that ends behind this address. */
static uint32_t place_of(const pri_memory *m, uintptr_t address)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (m->regions[middle].to > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const pri_piece *pri_memory_look(const pri_memory *m, const void *base, size_t len)
{
    uint32_t         at = place_of(m, (uintptr_t)base);
    const pri_piece *region = at < m->count ? &m->regions[at] : NULL;
    return region && region->is_known && pri_piece_has(region, base, len) ? region : NULL;
}

/* Room for so many more.  false: no memory. */
static bool reserve(pro_loop *loop, size_t more)
{
    pri_memory *m = &loop->memory;
    uint32_t    capacity = m->capacity ? m->capacity : CAPACITY_MIN;
    while (capacity < m->count + more) capacity *= 2;
    if (capacity == m->capacity) return true;
    pri_piece *regions = pri_env_realloc(&loop->env, m->regions, capacity * sizeof *regions);
    if (!regions) return false;
    for (uint32_t i = m->capacity; i < capacity; i++)
        regions[i] = (pri_piece){.entry = (uint16_t)i};
    m->regions = regions;
    m->capacity = capacity;
    return true;
}

_Static_assert((PRO_MEMORY_REGIONS_MAX & (PRO_MEMORY_REGIONS_MAX - 1)) == 0 &&
                   PRO_MEMORY_REGIONS_MAX <= UINT16_MAX + 1,
               "doubling ends there, and a number has room");

static void explain(pro_loop *loop)
{
    if (loop->memory.is_explained) return;
    loop->memory.is_explained = true;
    pri_why_add(&loop->why, "registered memory: nothing is gained by it here, or lost");
}

/* The engine has it from now on, if it makes anything of it.  PRO_OK or one of ours. */
static int lend(pro_loop *loop, pri_piece *region)
{
    const pri_engine *engine = loop->engine;
    size_t            len = region->to - region->from;
    int               known = 0;
    if (engine->memory_lend)
        known = engine->memory_lend(loop, region->entry, (void *)region->from, len);
    if (known < 0) return pri_os_error(known);
    region->is_known = known > 0;
    if (region->is_known)
        loop->stats.registered_bytes += len;
    else
        explain(loop);
    return PRO_OK;
}

/* The engine has it no more, and it leaves the book. */
static void drop(pro_loop *loop, uint32_t at)
{
    pri_memory *m = &loop->memory;
    pri_piece   region = m->regions[at];
    if (region.is_known) {
        loop->engine->memory_back(loop, region.entry);
        loop->stats.registered_bytes -= region.to - region.from;
    }
    m->count--;
    memmove(&m->regions[at], &m->regions[at + 1], (m->count - at) * sizeof region);
    m->regions[m->count] = (pri_piece){.entry = region.entry};
}

/* A piece, at its place in the book.  PRO_OK or one of ours, and then it is not there. */
static int add(pro_loop *loop, uint32_t at, uintptr_t from, size_t len, bool is_first)
{
    pri_memory *m = &loop->memory;
    uint16_t    entry = m->regions[m->count].entry;
    memmove(&m->regions[at + 1], &m->regions[at], (m->count - at) * sizeof m->regions[0]);
    m->regions[at] =
        (pri_piece){.from = from, .to = from + len, .entry = entry, .is_first = is_first};
    m->count++;
    int error = lend(loop, &m->regions[at]);
    if (error) drop(loop, at);
    return error;
}

int pro_memory_register(pro_loop *loop, void *base, size_t bytes)
{
    const pri_memory *m = &loop->memory;
    uintptr_t         from = (uintptr_t)base;
    if (!base || bytes == 0 || bytes > UINTPTR_MAX - from) return PRO_EINVAL;
    uint32_t begin = place_of(m, from), at = begin;
    if (at < m->count && m->regions[at].from < from + bytes) return PRO_EEXIST;
    size_t pieces = bytes / PIECE_MAX + (bytes % PIECE_MAX > 0);
    if (pieces > PRO_MEMORY_REGIONS_MAX - m->count) return PRO_ENOBUFS;
    if (!reserve(loop, pieces)) return PRO_ENOMEM;
    for (size_t left = bytes; left > 0;) {
        size_t len = left < PIECE_MAX ? left : PIECE_MAX;
        int    error = add(loop, at, from, len, at == begin);
        if (error) {
            while (at > begin) drop(loop, --at);
            return error;
        }
        at++;
        from += len;
        left -= len;
    }
    return PRO_OK;
}

int pro_memory_unregister(pro_loop *loop, void *base)
{
    const pri_memory *m = &loop->memory;
    uint32_t          at = place_of(m, (uintptr_t)base);
    if (at == m->count || m->regions[at].from != (uintptr_t)base || !m->regions[at].is_first)
        return PRO_ENOENT;
    do drop(loop, at);
    while (at < m->count && !m->regions[at].is_first);
    return PRO_OK;
}

void pri_memory_end(pro_loop *loop)
{
    if (loop->memory.regions) pri_env_realloc(&loop->env, loop->memory.regions, 0);
    loop->memory = (pri_memory){0};
}
