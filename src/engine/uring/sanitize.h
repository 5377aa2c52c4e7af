/* What sanitizers have to be told, since they see none of the kernel's doings: what one thread wrote
 * before it submitted is visible to whoever reaps a consequence of it (one sync object for all rings:
 * coarser than the truth, but never wrong), and the kernel filled a buffer.  Nothing in other
 * builds. */
#ifndef PRI_URING_SANITIZE_H
#define PRI_URING_SANITIZE_H

#include "core/buffers.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PRI_TSAN 1
#endif
#if __has_feature(memory_sanitizer)
#define PRI_MSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(PRI_TSAN)
#define PRI_TSAN 1
#endif

#ifdef PRI_TSAN
void        __tsan_acquire(void *addr);
void        __tsan_release(void *addr);
extern char pri_uring_tsan_sync; /* uring.c */
#define PRI_URING_SUBMITTED() __tsan_release(&pri_uring_tsan_sync)
#define PRI_URING_COMPLETED() __tsan_acquire(&pri_uring_tsan_sync)
#else
#define PRI_URING_SUBMITTED() ((void)0)
#define PRI_URING_COMPLETED() ((void)0)
#endif

#ifdef PRI_MSAN
void               __msan_unpoison(const volatile void *addr, size_t size);
static inline void pri_uring_filled(const pri_step *step, size_t bytes)
{
    if (!(step->flags & PRI_STEP_VECTORS)) {
        __msan_unpoison(step->data, bytes);
        return;
    }
    const pri_side *side = step->data;
    for (uint32_t i = side->first; i < side->count && bytes > 0; i++) {
        size_t part = bytes < side->vecs[i].len ? bytes : side->vecs[i].len;
        __msan_unpoison(side->vecs[i].base, part);
        bytes -= part;
    }
}
static inline void pri_uring_lent_filled(const pri_step *step, uint32_t id, size_t bytes)
{
    __msan_unpoison(pri_buffers_at(step->data, id), bytes);
}
#else
#define pri_uring_lent_filled(step, id, bytes) ((void)0)
#define pri_uring_filled(step, bytes) ((void)0)
#endif

#endif
