/* Fixed slots: sockets in the table of the ring.
 *
 * A slot is what stands in pri_fd in place of a descriptor (PRI_SLOT).  The kernel picks it, as a
 * connection is accepted or a socket is made, and has it back when it is closed. */
#ifndef PRI_URING_SLOTS_H
#define PRI_URING_SLOTS_H

#include <liburing.h>

#include "core/engine.h"

struct uring;

typedef struct pri_uring_slots {
    uint32_t max;      /* slots in the table; 0: none, and nothing else here counts */
    uint32_t margin;   /* what multishot accepts may take before we hear of it */
    uint32_t standing; /* multishot accepts into slots in the ring */
    uint32_t promised; /* slots that one-shot accepts in the ring may take */
    uint16_t sequence; /* of calls that do not wait */

    /* Closes in the ring, by the number in their tags: whose handle it is, or the next free number. */
    union pri_uring_ticket {
        pro_handle *handle;
        uint32_t    next;
    } * tickets;
    uint32_t tickets_len, ticket; /* the first free one */

    /* Completions that stood in the way of an answer, in a queue like the ring's. */
    struct io_uring_cq aside;
    unsigned           aside_head, aside_tail;
    pri_link           aside_link; /* in the list of the ended, while there are any */

    pri_net net;
} pri_uring_slots;

/* The ring is open, with a table of max slots.  0, or -ENOMEM. */
int pri_uring_slots_init(struct uring *u, uint32_t max);

/* No step is left, and no handle. */
void pri_uring_slots_fini(struct uring *u);

/* Decide where what comes of an accept shall be, and fill that in; whether it may be multishot, if
 * wanted. */
bool pri_uring_slot_for(pri_step *step, struct io_uring_sqe *sqe, bool multi);

/* Such an entry, of state IN_SLOT, said this: the value of the record, if it will be one. */
int64_t pri_uring_slot_came(struct uring *u, pri_step *step, int result, bool more);

/* pri_engine.close. */
bool pri_uring_close(pro_loop *loop, pro_handle *handle, bool abortive);

/* Completions of entries of our own: a close; an answer for which nobody waits any more. */
void pri_uring_slot_closed(struct uring *u, uint16_t ticket);
void pri_uring_answered_late(struct uring *u, uint16_t sequence, int result);

/* Of completions that were set aside, as pri_uring_reap. */
int pri_uring_reap_aside(struct uring *u, pri_record *records, int max);

#endif
