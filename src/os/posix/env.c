/* The system's own clock, randomness and memory: what a pro_env has where its caller gave nothing.
 *
 * None of them can fail but for memory: a system without a monotonic clock or without random numbers
 * is not one that a program could go on with, so that aborts. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

uint64_t pri_os_clock_ns(void *ctx)
{
    (void)ctx;
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) abort();
    uint64_t ns = (uint64_t)now.tv_sec * PRO_SEC + (uint64_t)now.tv_nsec;
    return ns ? ns : 1;
}

void pri_os_random(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    for (char *at = buf; len > 0;) {
        size_t part = len < 256 ? len : 256; /* as much as one call gives */
        if (getentropy(at, part) != 0) abort();
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

uintptr_t pri_os_thread_self(void) { return (uintptr_t)pthread_self(); }

/* ---- Fork ----------------------------------------------------------------------------------- */

static unsigned generation;

static void in_child(void) { generation++; }

/* Where there is no memory for it (some bytes) a child is not told apart. */
static void tell_child(void) { pthread_atfork(NULL, NULL, in_child); }

unsigned pri_os_generation(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, tell_child);
    return generation;
}
