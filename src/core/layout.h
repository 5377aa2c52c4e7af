/* What the compiler cannot know: which way most calls go.  The way of a receive and a send is worth its
 * copies and stays in one piece; what is seldom walked stands apart, so that the plain way needs no
 * frame for its sake.  What that is worth: docs/design/performance.md. */
#ifndef PRI_LAYOUT_H
#define PRI_LAYOUT_H

#if defined(__GNUC__)
#define PRI_RARELY(condition) __builtin_expect(!!(condition), 0)
#define PRI_IN_PLACE static inline __attribute__((always_inline))
#define PRI_APART static __attribute__((noinline, cold))
#define PRI_BESIDE                                                                                 \
    static __attribute__((noinline)) /* walked often, but would crowd what it is called by */
#define PRI_FETCH(address) __builtin_prefetch(address) /* it will be read or written soon */
#else
#define PRI_RARELY(condition) (condition)
#define PRI_IN_PLACE static inline
#define PRI_APART static
#define PRI_BESIDE static
#define PRI_FETCH(address) (void)(address)
#endif

/* Of each thread, read by signal handlers and on every await: no lazy allocation, no call. */
#if defined(__GNUC__)
#define PRI_OF_THREAD __attribute__((tls_model("initial-exec"))) _Thread_local
#else
#define PRI_OF_THREAD _Thread_local
#endif

#endif
