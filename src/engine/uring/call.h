/* Calls of files (os/call.h) as entries of the ring. */
#ifndef PRI_URING_CALL_H
#define PRI_URING_CALL_H

#include <liburing.h>

#include "core/engine.h"

/* Ask the kernel for what the step's call says; the entry is all zero but for its tag. */
void pri_uring_fill_call(pri_step *step, struct io_uring_sqe *sqe, uint32_t features);

/* The kernel is done with it, and it was no error. */
void pri_uring_call_done(pri_step *step, int result);

#endif
