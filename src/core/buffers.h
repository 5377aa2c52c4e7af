/* A pool of buffers inside: what engines see of it, and what the core does with a lease. */
#ifndef PRI_BUFFERS_H
#define PRI_BUFFERS_H

#include <proactor/buffers.h>

#include "core/layout.h"
#include "core/loop.h"

struct pro_buffers {
    char    *memory;
    uint32_t size, count;
    uint32_t available; /* those that records name included */
    uint32_t undelivered_max;
    uint32_t stack;       /* how many can be taken: of one that is not native */
    uint32_t spare;       /* how many are free, and none of these */
    bool     is_native;   /* the kernel picks, and has the free ones */
    bool     is_odd;      /* to give one back is more than to call give */
    uint8_t  idle_turns;  /* begun with one free while somebody waits: pri_buffers_serve */
    uint16_t group, mask; /* the engine's: its number there; of positions in its ring */
    void    *engine;      /* the engine's: where it hands buffers to the kernel */
    void    *engine_memory;
    void (*give)(pro_buffers *buffers,
                 uint32_t     id); /* to the kernel, or onto the stack; one is available more */
    uint16_t
        *free; /* stack at its beginning, the last given on top: it is warm; spare at its end */
    pro_loop *loop;
    pri_link  of_loop;
    pri_link  waiters; /* operations: pro_buffers_wait */
};

static inline char *pri_buffers_at(const pro_buffers *buffers, uint32_t id)
{
    return buffers->memory + (size_t)id * buffers->size;
}

/* In the place of a buffer: all are leased, which ends the receive; or too many are undelivered, and it pauses
 * until a handler ran. */
enum { PRI_BUFFERS_NONE = -1, PRI_BUFFERS_LATER = -2 };

/* Of a pool that is not native: a free buffer, for a record; or one of the two. */
PRI_IN_PLACE int32_t pri_buffers_take(pro_buffers *buffers)
{
    if (PRI_RARELY(buffers->stack == 0))
        return buffers->available > 0 ? PRI_BUFFERS_LATER : PRI_BUFFERS_NONE;
    return buffers->free[--buffers->stack];
}

/* It is free again. */
void pri_buffers_give(pro_buffers *buffers, uint32_t id);

/* The same for one that was taken and is for no record. */
PRI_IN_PLACE void pri_buffers_untake(pro_buffers *buffers, uint32_t id)
{
    buffers->give(buffers, id);
    buffers->loop->paused_at = UINT64_MAX; /* what waits for a handler need not */
}

/* A step that finds PRI_BUFFERS_LATER pauses, by a link of the engine's. */
static inline void pri_buffers_pause(pro_loop *loop, pri_link *link)
{
    if (pri_list_empty(&loop->paused)) loop->paused_at = pri_loop_ran(loop);
    pri_list_append(&loop->paused, link);
    loop->has_bound = true;
}

/* To be asked as a turn begins: spare buffers take the places of those that handlers kept.  true: something is paused, and
 * the engine is to try all of it again, since handlers have run, or there are buffers. */
bool               pri_buffers_see_to(pro_loop *loop);
static inline bool pri_buffers_resume(pro_loop *loop)
{
    return PRI_RARELY(loop->has_bound) && pri_buffers_see_to(loop);
}

/* To be asked as a turn begins, before it is decided whether it may wait: who waits beside buffers that nobody took is
 * served.  true: it may not, since somebody is about to be. */
bool pri_buffers_serve(pro_loop *loop);

/* Somebody waits for one. */
static inline void pri_buffers_wait(pro_buffers *buffers, pri_link *waiter)
{
    pri_list_append(&buffers->waiters, waiter);
    buffers->is_odd = true;
    buffers->loop->has_bound = true;
}

/* The record of a leased receive. */
void pri_buffers_record(pro_loop *loop, pro_op *op, const pri_record *record);

/* That of a receive of many datagrams. */
void pri_buffers_datagram(pro_loop *loop, pro_op *op, const pri_record *record);

/* The loop goes: what is left of pools, whoever has their buffers. */
void pri_buffers_end(pro_loop *loop);

#endif
