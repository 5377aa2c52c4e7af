/* What tests need of the system and C does not have: threads, events, the clock, descriptors.
 * os_posix.c has it for POSIX. */
#ifndef TEST_LIB_OS_H
#define TEST_LIB_OS_H

#include <stdbool.h>
#include <stdint.h>

/* ---- Of the system: for the runner --------------------------------------------------------------- */

typedef struct t_os_thread t_os_thread;

t_os_thread *t_os_thread_start(void (*fn)(void *arg), void *arg);
void         t_os_thread_join(t_os_thread *thread);

/* Counts what was set and not yet waited for. */
typedef struct t_os_event t_os_event;

t_os_event *t_os_event_new(void);
void        t_os_event_free(t_os_event *event);
void        t_os_event_set(t_os_event *event);
bool        t_os_event_wait_ns(t_os_event *event, uint64_t ns); /* false: it was not set in time */

/* Block this thread for good. */
_Noreturn void t_os_park(void);

/* Monotonic. */
uint64_t t_os_clock_ns(void);

/* How many descriptors are open; -1 where that cannot be told. */
int t_os_descriptors(void);

/* So many of them are the test library's own, and stay. */
void t_os_descriptors_keep(int count);

/* Let no further descriptor be had, and undo it.  false: not possible here. */
bool t_os_descriptors_exhaust(void);
void t_os_descriptors_restore(void);

/* As in pro_env, of all loops of the tests: so that a system without such a limit can pretend. */
int t_os_fault(void *ctx, const char *call);

/* Have a signal interrupt this thread again and again, every so many microseconds, with a handler that does
 * nothing and without SA_RESTART: every call that can say EINTR says it now and then; until the end is
 * said.  false: there are no such signals here. */
bool t_os_signals_begin(unsigned us);
void t_os_signals_end(void);

/* How many have come, to all threads. */
unsigned long t_os_signals_taken(void);

/* How many times slower than usual the program runs, by the looks of it: 1, 5, 20. */
int t_os_slowness(void);

/* ---- Of the sentence: in a simulated world they are that one's (threads.c) ------------------------ */

typedef struct t_thread t_thread;
typedef struct t_event  t_event;

/* Start fn(arg), as a part of the running sentence; wait for its end. */
t_thread *t_thread_start(void (*fn)(void *arg), void *arg);
void      t_thread_join(t_thread *thread);

t_event *t_event_new(void);
void     t_event_free(t_event *event);
void     t_event_set(t_event *event);
void     t_event_wait(t_event *event); /* by one thread at a time */

/* Monotonic; never the same twice in a row for ever. */
uint64_t t_clock_ns(void);

/* As t_os_descriptors_exhaust and restore. */
bool t_descriptors_exhaust(void);
void t_descriptors_restore(void);

#endif
