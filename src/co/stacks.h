/* The stacks of one loop: taken, given back, and taken again while they are still warm.
 *
 * Picture of a slot, low addresses left:
 *
 *     | guard | stack, growing to the left <----- | the coroutine itself | colour | (page end)
 *
 * The block of a coroutine lies at the top of its stack, so that an idle one costs a page and no
 * more.  Slots are cut from slabs, one mapping each, that double: 100,000 stacks are some thirty
 * mappings.  What was cut once is guarded and coloured for good, and kept until the loop is freed. */
#ifndef PRI_STACKS_H
#define PRI_STACKS_H

#include "core/loop.h"

/* The head of a coroutine's block; pri_co begins with it. */
typedef struct pri_stack {
    struct pri_stack      *next; /* among the free ones */
    struct pri_stack_size *of;
    char                  *low; /* the lowest byte of it that may be used; the guard lies below */
    unsigned               valgrind_id;
} pri_stack;

typedef struct pri_slab {
    struct pri_slab *next;
    char            *base;
    size_t           count; /* slots in it */
    size_t           cut;   /* how many of them are stacks by now */
} pri_slab;

/* All stacks of one size. */
typedef struct pri_stack_size {
    struct pri_stack_size *next;
    size_t                 size;  /* of the usable part, whole pages */
    pri_stack             *free;  /* the warmest first */
    pri_slab              *slabs; /* the newest first; only that one has slots to cut */
    size_t                 count; /* slots in all slabs */
} pri_stack_size;

typedef struct pri_stacks {
    size_t          block_size; /* of the coroutine itself; set once */
    pri_stack_size *sizes;      /* the last one asked for first */
    size_t          made;       /* stacks cut so far */
} pri_stacks;

/* The size in force where an option says 0, and the smallest. */
#define PRI_STACK_DEFAULT ((size_t)64 << 10)
#define PRI_STACK_MIN ((size_t)16 << 10)
#define PRI_STACK_MAX ((size_t)1 << 30)

/* A stack of size bytes (0: the default) with the block at its top, which is what comes back: zero
 * beyond its head on its first life, later as it was left.  NULL and *error (one of ours) if there is
 * none. */
pri_stack *pri_stack_take(pro_loop *loop, pri_stacks *stacks, size_t size, int *error);

static inline void pri_stack_give(pri_stack *stack)
{
    stack->next = stack->of->free;
    stack->of->free = stack;
}

/* Bytes of the guard below each stack: a single frame that is larger can step over it. */
size_t pri_stack_guard_size(void);

/* Bytes from stack->low up to the block. */
static inline size_t pri_stack_room(const pri_stack *stack)
{
    return (size_t)((const char *)stack - stack->low);
}

/* The deepest that any of them was used since it was cut or trimmed, in whole pages. */
size_t pri_stacks_touched(const pri_stacks *stacks);

/* Give back the memory below the topmost page of each free stack. */
void pri_stacks_trim(pri_stacks *stacks);

/* Unmap all.  No stack may be in use. */
void pri_stacks_fini(pro_loop *loop, pri_stacks *stacks);

#endif
