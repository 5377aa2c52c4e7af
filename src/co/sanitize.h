/* What sanitizers and valgrind have to be told, since they follow a stack and we change it under them.
 * Nothing in other builds, but for valgrind, whose requests are a few instructions that do nothing.
 *
 *     pri_fiber_leave(from, to);           right before the switch
 *     pri_fiber_end(from, to);             the same, for good
 *     pri_context_switch(...);
 *     pri_fiber_arrive(at, came_from);     the first thing where the switch ends up
 *
 * A loop's fiber is the one to which the others go back: to it, arrive(at, NULL). */
#ifndef PRI_SANITIZE_H
#define PRI_SANITIZE_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PRI_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define PRI_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(PRI_ASAN)
#define PRI_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(PRI_TSAN)
#define PRI_TSAN 1
#endif

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define PRI_VALGRIND 1
#endif
#endif

typedef struct pri_fiber {
#if defined(PRI_ASAN)
    void       *fake; /* ASan's stack for use after return */
    const void *low;
    size_t      size;
#elif defined(PRI_TSAN)
    void *tsan;
    void *ended; /* of a loop: it ended, and can be destroyed now that it does not run */
#else
    char nothing;
#endif
} pri_fiber;

#if defined(PRI_ASAN)

void __sanitizer_start_switch_fiber(void **fake_save, const void *low, size_t size);
void __sanitizer_finish_switch_fiber(void *fake, const void **low_old, size_t *size_old);
void __asan_unpoison_memory_region(const volatile void *addr, size_t size);
void __lsan_register_root_region(const void *low, size_t size);
void __lsan_unregister_root_region(const void *low, size_t size);

static inline void pri_fiber_init(pri_fiber *fiber, const void *low, size_t size)
{
    *fiber = (pri_fiber){.low = low, .size = size};
}

static inline void pri_fiber_leave(pri_fiber *from, const pri_fiber *to)
{
    __sanitizer_start_switch_fiber(&from->fake, to->low, to->size);
}

static inline void pri_fiber_end(const pri_fiber *from, const pri_fiber *to)
{
    (void)from;
    __sanitizer_start_switch_fiber(NULL, to->low, to->size);
}

/* came_from learns its bounds, if it is not NULL: the loop's stack is made by others. */
static inline void pri_fiber_arrive(pri_fiber *at, pri_fiber *came_from)
{
    __sanitizer_finish_switch_fiber(at->fake, came_from ? &came_from->low : NULL,
                                    came_from ? &came_from->size : NULL);
}

#define pri_fiber_here(fiber) ((void)(fiber))

#elif defined(PRI_TSAN)

void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);

static inline void pri_fiber_init(pri_fiber *fiber, const void *low, size_t size)
{
    (void)low, (void)size;
    *fiber = (pri_fiber){.tsan = __tsan_create_fiber(0)};
}

static inline void pri_fiber_leave(const pri_fiber *from, const pri_fiber *to)
{
    (void)from;
    __tsan_switch_to_fiber(to->tsan, 0);
}

static inline void pri_fiber_end(const pri_fiber *from, pri_fiber *to)
{
    to->ended = from->tsan;
    __tsan_switch_to_fiber(to->tsan, 0);
}

static inline void pri_fiber_arrive(pri_fiber *at, const pri_fiber *came_from)
{
    if (!came_from && at->ended) {
        __tsan_destroy_fiber(at->ended);
        at->ended = NULL;
    }
}

/* The one that runs now. */
static inline void pri_fiber_here(pri_fiber *fiber) { fiber->tsan = __tsan_get_current_fiber(); }

#else

#define pri_fiber_init(fiber, low, size) ((void)(fiber), (void)(low), (void)(size))
#define pri_fiber_leave(from, to) ((void)(from), (void)(to))
#define pri_fiber_end(from, to) ((void)(from), (void)(to))
#define pri_fiber_arrive(at, came_from) ((void)(at), (void)(came_from))
#define pri_fiber_here(fiber) ((void)(fiber))

#endif

/* A new stack; its id for valgrind. */
static inline unsigned pri_sanitize_stack_made(const char *low, size_t size)
{
    unsigned id = 0;
#if defined(PRI_ASAN)
    __lsan_register_root_region(low, size); /* what only a waiting coroutine points to is no leak */
#endif
#if defined(PRI_VALGRIND)
    id = VALGRIND_STACK_REGISTER(low, low + size - 1);
#endif
    (void)low, (void)size;
    return id;
}

/* It gets a new life: frames that never returned left their red zones. */
static inline void pri_sanitize_stack_again(const char *low, size_t size)
{
#if defined(PRI_ASAN)
    __asan_unpoison_memory_region(low, size);
#endif
    (void)low, (void)size;
}

static inline void pri_sanitize_stack_over(const char *low, size_t size, unsigned id)
{
#if defined(PRI_ASAN)
    __asan_unpoison_memory_region(low, size);
    __lsan_unregister_root_region(low, size);
#endif
#if defined(PRI_VALGRIND)
    VALGRIND_STACK_DEREGISTER(id);
#endif
    (void)low, (void)size, (void)id;
}

#endif
