/* A pool of buffers inside: what engines see of it, and what the core does with a lease. */
#ifndef PRI_BUFFERS_H
#define PRI_BUFFERS_H

#include <proactor/buffers.h>

#include "core/loop.h"

struct pro_buffers {
    char    *memory;
    uint32_t size, count;
    uint32_t available;
    bool     is_native; /* the kernel picks, and has the free ones */
    uint16_t group;     /* the engine's: its number there */
    void    *engine;    /* the engine's: where it hands buffers to the kernel */
    void (*give)(pro_buffers *buffers,
                 uint32_t     id); /* one more is free: to the kernel, or to the stack */
    uint16_t *free;            /* that stack, the last given first: it is warm */
    pro_loop *loop;
    pri_link  of_loop;
    pri_link  waiters; /* operations: pro_buffers_wait */
};

static inline void *pri_buffers_at(const pro_buffers *buffers, uint32_t id)
{
    return buffers->memory + (size_t)id * buffers->size;
}

/* Of a pool that is not native: a free buffer, which is leased now; negative: there is none. */
static inline int32_t pri_buffers_take(pro_buffers *buffers)
{
    return buffers->available > 0 ? buffers->free[--buffers->available] : -1;
}

/* It is free again. */
void pri_buffers_give(pro_buffers *buffers, uint32_t id);

/* The record of a leased receive. */
void pri_buffers_record(pro_loop *loop, pro_op *op, const pri_record *record);

/* The loop goes: what is left of pools, whoever has their buffers. */
void pri_buffers_end(pro_loop *loop);

#endif
