/* Pools of buffers lent to the kernel: a ring of the free ones for each, in memory that both see.  The
 * kernel takes from its head as data arrives, we give at its tail, with no system call. */
#ifndef PRI_URING_LEND_H
#define PRI_URING_LEND_H

#include <liburing.h>

#include "core/buffers.h"

/* Register a ring of the pool's first count buffers.  *group is the number to try first; it is left at the next one.
 * 0, or a negated system number, and then nothing is left behind. */
int pri_uring_lend(struct io_uring *ring, const pro_env *env, pro_buffers *buffers, uint32_t count,
                   uint16_t *group);

/* Undo it.  No step would use the pool any more, or the ring is about to go. */
void pri_uring_take_back(struct io_uring *ring, const pro_env *env, pro_buffers *buffers);

/* A buffer is free again. */
void pri_uring_give(pro_buffers *buffers, uint32_t id);

#endif
