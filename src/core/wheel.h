/* A hierarchical timer wheel: insert and remove in constant time, expiry in the order of deadlines.
 *
 * An entry is a pri_link with its deadline (a uint64_t in ns) in the eight bytes before it; both pro_op
 * and pro_scope are laid out so. */
#ifndef PRI_WHEEL_H
#define PRI_WHEEL_H

#include "core/list.h"

enum {
    PRI_WHEEL_SHIFT = 16, /* a tick is 2^16 ns, 65.5 us */
    PRI_WHEEL_DIGIT = 6,  /* bits of a tick per level */
    PRI_WHEEL_LEVELS = 8, /* 8 * 6 + 16 = 64: every time has a place */
    PRI_WHEEL_SLOTS = 1 << PRI_WHEEL_DIGIT
};

typedef struct pri_wheel {
    uint64_t cursor;                 /* the tick up to which all is expired */
    unsigned levels;                 /* a bit for each level that may hold something */
    uint64_t used[PRI_WHEEL_LEVELS]; /* a bit for each slot that may hold something */
    pri_link slots[PRI_WHEEL_LEVELS][PRI_WHEEL_SLOTS];
    uint64_t earliest[PRI_WHEEL_LEVELS][PRI_WHEEL_SLOTS]; /* at most the deadlines in the slot */

    /* Of two entries with one deadline, was a first?  NULL: as they stand. */
    bool (*before)(const pri_link *a, const pri_link *b);
} pri_wheel;

void pri_wheel_init(pri_wheel *wheel, uint64_t now_ns,
                    bool (*before)(const pri_link *a, const pri_link *b));

/* An entry on no wheel has link.next NULL. */
void pri_wheel_insert(pri_wheel *wheel, pri_link *link);

static inline void pri_wheel_remove(pri_link *link)
{
    pri_list_remove(link);
    link->next = NULL;
}

static inline bool pri_wheel_holds(const pri_link *link) { return link->next != NULL; }

/* A time before which nothing is due, the earliest deadline if nothing was removed lately; UINT64_MAX
 * if the wheel is empty. */
uint64_t pri_wheel_next(pri_wheel *wheel);

/* Nothing was ever put on it since it was last found empty: a quick look. */
static inline bool pri_wheel_idle(const pri_wheel *wheel) { return wheel->levels == 0; }

bool pri_wheel_empty(pri_wheel *wheel);

/* Move all that is due at now_ns to the end of due, ordered by deadline, then by before. */
void pri_wheel_expire(pri_wheel *wheel, uint64_t now_ns, pri_link *due);

#endif
