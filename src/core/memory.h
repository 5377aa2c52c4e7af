/* Registered memory inside: which regions a loop has, and what the engine calls them. */
#ifndef PRI_MEMORY_H
#define PRI_MEMORY_H

#include <proactor/memory.h>

#include <stdbool.h>

/* A piece of what was registered, small enough for an engine. */
typedef struct pri_piece {
    uintptr_t from, to; /* to: behind its last byte */
    uint16_t  entry;    /* its number, the engine's name for it */
    bool      is_first; /* of what was registered; those behind it are its rest */
    bool      is_known; /* the engine has it under that number */
} pri_piece;

typedef struct pri_memory {
    pri_piece *regions;
    uint32_t   count, capacity; /* from count on: the numbers that are free */
    bool       is_explained;    /* it was said what the engine makes of them */
} pri_memory;

/* The piece known to the engine in which all of these bytes lie; or NULL. */
const pri_piece *pri_memory_look(const pri_memory *memory, const void *base, size_t len);

/* For most there is nothing to look through. */
static inline const pri_piece *pri_memory_of(const pri_memory *memory, const void *base, size_t len)
{
    return memory->count ? pri_memory_look(memory, base, len) : NULL;
}

static inline bool pri_piece_has(const pri_piece *region, const void *base, size_t len)
{
    return (uintptr_t)base >= region->from && (uintptr_t)base <= region->to &&
           len <= region->to - (uintptr_t)base;
}

/* The loop goes, and its engine with what it knows. */
void pri_memory_end(pro_loop *loop);

#endif
