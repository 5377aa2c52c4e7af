/* Side objects: what an operation needs beside its 192 bytes (vectors, an address, room for the
 * engine's headers).  Small ones are kept for reuse, so that a steady state allocates nothing; those
 * with more vectors than usual come from the allocator and go back to it. */
#include "core/loop.h"

enum { SMALL = PRI_SIDE_SMALL };

pri_side *pri_side_take(pro_loop *loop, size_t count)
{
    pri_side *side = loop->sides;
    if (count <= SMALL && side) {
        loop->sides = side->next;
    } else {
        size_t capacity = count <= SMALL ? SMALL : count;
        side = pri_env_realloc(&loop->env, NULL, sizeof *side + capacity * sizeof(pro_vec));
        if (!side) return NULL;
        side->capacity = (uint32_t)capacity;
    }
    side->next = NULL;
    side->first = 0;
    side->count = (uint32_t)count;
    return side;
}

void pri_side_give(pro_loop *loop, pri_side *side)
{
    if (side->capacity > SMALL) {
        pri_env_realloc(&loop->env, side, 0);
        return;
    }
    side->next = loop->sides;
    loop->sides = side;
}

void pri_sides_free(pro_loop *loop)
{
    for (pri_side *side = loop->sides, *next; side; side = next) {
        next = side->next;
        pri_env_realloc(&loop->env, side, 0);
    }
    loop->sides = NULL;
}
