/* Registered memory: buffers in a table of the ring, which an entry names in place of having the kernel look
 * for the pages behind an address. */
#ifndef PRI_URING_MEMORY_H
#define PRI_URING_MEMORY_H

#include <liburing.h>

#include "core/engine.h"

/* pri_engine.memory_lend and memory_back. */
int  pri_uring_memory_lend(pro_loop *loop, unsigned entry, void *base, size_t len);
void pri_uring_memory_back(pro_loop *loop, unsigned entry);

/* Is all of it in one piece that the ring has?  Then the entry names that, and the step's state says so
 * (FIXED); the opcode is the caller's. */
bool pri_uring_memory_named(pri_step *step, struct io_uring_sqe *sqe, const pro_vec *vecs,
                            size_t count);

/* The kernel did not want the form with the memory's name, and no byte moved. */
static inline bool pri_uring_memory_is_refused(int result)
{
    return result == -EFAULT || result == -EINVAL || result == -EOPNOTSUPP;
}

#endif
