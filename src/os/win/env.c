/* The system's own clock, randomness and memory: what a pro_env has where its caller gave nothing.
 *
 * None of them can fail but for memory: a system without random numbers is not one that a program
 * could go on with, so that aborts.  The performance counter works on every Windows that we run on. */
#include <stdatomic.h>
#include <stdlib.h>

#include "os/os.h"
#include "os/win/win.h"

#include <bcrypt.h>

uint64_t pri_os_clock_ns(void *ctx)
{
    (void)ctx;
    static atomic_uint_fast64_t cached; /* ticks a second: fixed when the system starts */
    LARGE_INTEGER               ticks;
    uint64_t                    rate = atomic_load_explicit(&cached, memory_order_relaxed);
    if (!rate) {
        QueryPerformanceFrequency(&ticks);
        rate = (uint64_t)ticks.QuadPart;
        atomic_store_explicit(&cached, rate, memory_order_relaxed);
    }
    QueryPerformanceCounter(&ticks);
    /* In two parts, so that the product does not overflow: right for rates up to 18 GHz. */
    uint64_t count = (uint64_t)ticks.QuadPart;
    uint64_t ns = count / rate * PRO_SEC + count % rate * PRO_SEC / rate;
    return ns ? ns : 1;
}

void pri_os_random(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    for (UCHAR *at = buf; len > 0;) {
        ULONG part = len < 1u << 30 ? (ULONG)len : 1u << 30;
        if (BCryptGenRandom(NULL, at, part, BCRYPT_USE_SYSTEM_PREFERRED_RNG) != 0) abort();
        at += part;
        len -= part;
    }
}

void *pri_os_realloc(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size > 0) return realloc(ptr, size);
    free(ptr);
    return NULL;
}

uintptr_t pri_os_thread_self(void) { return GetCurrentThreadId(); }

unsigned pri_os_generation(void) { return 0; }
