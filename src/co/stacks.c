/* The stacks of one loop; stacks.h has the picture.
 *
 * Colour.  Slots are a multiple of the page apart, and so would be the hot lines at their tops: all in
 * the same few sets of the first cache, which holds eight or twelve lines a set.  So each slot's block
 * lies some lines lower than that of the slot before, sixteen colours in turn.  Block, colour and the
 * frames of a coroutine that waits still fit in one page.
 *
 * Invariants:
 *   cut of every slab but the newest  =  its count
 *   made  =  sum of cut over all slabs */
#include "co/stacks.h"

#include "co/sanitize.h"
#include "os/stack.h"

enum { COLOURS = 16, COLOUR_STEP = 128, GUARD_PAGES = 4, SLAB_FIRST = 16 };

static const size_t slab_bytes_max = (size_t)512 << 20;

size_t pri_stack_guard_size(void) { return GUARD_PAGES * pri_os_page_size(); }

static size_t slot_size(const pri_stack_size *of) { return pri_stack_guard_size() + of->size; }

/* The lowest byte of a slot's stack, and its block. */
static char *low_of(const pri_stack_size *of, const pri_slab *slab, size_t slot)
{
    return slab->base + slot * slot_size(of) + pri_stack_guard_size();
}

static pri_stack *stack_of(const pri_stacks *stacks, const pri_stack_size *of, const pri_slab *slab,
                           size_t slot)
{
    size_t from_top = slot % COLOURS * COLOUR_STEP + stacks->block_size;
    return (pri_stack *)(void *)(low_of(of, slab, slot) + ((of->size - from_top) & ~(size_t)63));
}

/* A slab as large as all before it together; smaller ones if memory is that short. */
static int grow(pro_loop *loop, pri_stack_size *of)
{
    size_t count = of->count > SLAB_FIRST ? of->count : SLAB_FIRST;
    size_t max = slab_bytes_max / slot_size(of);
    if (count > max) count = max > 0 ? max : 1;
    pri_slab *slab = pri_env_realloc(&loop->env, NULL, sizeof *slab);
    if (!slab) return PRO_ENOMEM;
    void *base;
    int   error;
    while ((error = pri_os_stacks_map(&loop->env, count * slot_size(of), &base)) != 0 && count > 1)
        count /= 2;
    if (error) {
        pri_env_realloc(&loop->env, slab, 0);
        return pri_os_error(error);
    }
    *slab = (pri_slab){.next = of->slabs, .base = base, .count = count};
    of->slabs = slab;
    of->count += count;
    return PRO_OK;
}

/* The next slot of the newest slab becomes a stack. */
static pri_stack *cut(pro_loop *loop, pri_stacks *stacks, pri_stack_size *of, int *error)
{
    if (!of->slabs || of->slabs->cut == of->slabs->count) {
        *error = grow(loop, of);
        if (*error) return NULL;
    }
    pri_slab *slab = of->slabs;
    char     *low = low_of(of, slab, slab->cut);
    size_t    guard = pri_stack_guard_size();
    *error = pri_os_error(pri_os_stack_guard(&loop->env, low - guard, guard));
    if (*error) return NULL;

    pri_stack *stack = stack_of(stacks, of, slab, slab->cut);
    *stack = (pri_stack){.of = of, .low = low};
    slab->cut++;
    stacks->made++;
    stack->valgrind_id = pri_sanitize_stack_made(low, pri_stack_room(stack));
    return stack;
}

static pri_stack_size *add_size(pro_loop *loop, pri_stacks *stacks, size_t size)
{
    pri_stack_size *of = pri_env_realloc(&loop->env, NULL, sizeof *of);
    if (!of) return NULL;
    *of = (pri_stack_size){.next = stacks->sizes, .size = size};
    stacks->sizes = of;
    return of;
}

/* All stacks of this size; it moves to the front. */
static pri_stack_size *find_size(pro_loop *loop, pri_stacks *stacks, size_t size)
{
    for (pri_stack_size **at = &stacks->sizes; *at; at = &(*at)->next) {
        pri_stack_size *of = *at;
        if (of->size != size) continue;
        *at = of->next;
        of->next = stacks->sizes;
        stacks->sizes = of;
        return of;
    }
    return add_size(loop, stacks, size);
}

pri_stack *pri_stack_take(pro_loop *loop, pri_stacks *stacks, size_t size, int *error)
{
    if (size == 0) size = PRI_STACK_DEFAULT;
    pri_stack_size *of = stacks->sizes;
    if (!of || of->size != size) {
        if (size < PRI_STACK_MIN) size = PRI_STACK_MIN;
        *error = PRO_EINVAL;
        if (size > PRI_STACK_MAX) return NULL;
        size_t page = pri_os_page_size();
        of = find_size(loop, stacks, (size + page - 1) & ~(page - 1));
        *error = PRO_ENOMEM;
        if (!of) return NULL;
    }
    pri_stack *stack = of->free;
    if (!stack) return cut(loop, stacks, of, error);
    of->free = stack->next;
    pri_sanitize_stack_again(stack->low, pri_stack_room(stack));
    return stack;
}

size_t pri_stacks_touched(const pri_stacks *stacks)
{
    size_t touched_max = 0;
    for (const pri_stack_size *of = stacks->sizes; of; of = of->next)
        for (const pri_slab *slab = of->slabs; slab; slab = slab->next)
            for (size_t i = 0; i < slab->cut; i++) {
                size_t touched = pri_os_stack_touched(low_of(of, slab, i), of->size);
                if (touched > touched_max) touched_max = touched;
            }
    return touched_max;
}

void pri_stacks_trim(pri_stacks *stacks)
{
    for (pri_stack_size *of = stacks->sizes; of; of = of->next)
        for (pri_stack *stack = of->free; stack; stack = stack->next)
            pri_os_stack_discard(stack->low, of->size - pri_os_page_size());
}

static void free_size(pro_loop *loop, const pri_stacks *stacks, pri_stack_size *of)
{
    for (pri_slab *slab = of->slabs, *next; slab; slab = next) {
        next = slab->next;
        for (size_t i = 0; i < slab->cut; i++) {
            pri_stack *stack = stack_of(stacks, of, slab, i);
            pri_sanitize_stack_over(stack->low, pri_stack_room(stack), stack->valgrind_id);
        }
        pri_os_stacks_unmap(slab->base, slab->count * slot_size(of));
        pri_env_realloc(&loop->env, slab, 0);
    }
    pri_env_realloc(&loop->env, of, 0);
}

void pri_stacks_fini(pro_loop *loop, pri_stacks *stacks)
{
    for (pri_stack_size *of = stacks->sizes, *next; of; of = next) {
        next = of->next;
        free_size(loop, stacks, of);
    }
    stacks->sizes = NULL;
    stacks->made = 0;
}
