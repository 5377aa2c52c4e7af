/* What a stream is copied by: a pipe of the kernel's, or a buffer.  Kept by the loop for reuse. */
#ifndef PRI_VESSEL_H
#define PRI_VESSEL_H

#include "core/op.h"

/* A buffer has so much; of a pipe the first bytes too, since they may have to move to a buffer. */
enum { PRI_VESSEL_SIZE = 64 << 10 };

typedef struct pri_vessel {
    pri_link  link;
    intptr_t  fds[2]; /* a pipe: where it is read, where it is written; -1: a buffer */
    size_t    size;
    char     *buf;  /* of a buffer, */
    pri_side *side; /* and the one vector over a part of it */
} pri_vessel;

/* NULL: no descriptors, or no memory. */
pri_vessel *pri_vessel_pipe(pro_loop *loop);
pri_vessel *pri_vessel_buffer(pro_loop *loop);

/* Give it back.  is_empty: nothing is in it. */
void pri_vessel_give(pro_loop *loop, pri_vessel *v, bool is_empty);

#endif
