/* lib/os.h on POSIX. */
#include "lib/os.h"

#include "lib/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- Threads, events ------------------------------------------------------------------------- */

struct t_os_thread {
    pthread_t id;
    void (*fn)(void *arg);
    void        *arg;
    t_run_state *run;
};

static void *thread_main(void *arg)
{
    t_os_thread *thread = arg;
    t_current = thread->run;
    thread->fn(thread->arg);
    return NULL;
}

t_os_thread *t_os_thread_start(void (*fn)(void *arg), void *arg)
{
    t_os_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) abort();
    thread->fn = fn;
    thread->arg = arg;
    thread->run = t_current;
    if (pthread_create(&thread->id, NULL, thread_main, thread) != 0) abort();
    return thread;
}

void t_os_thread_join(t_os_thread *thread)
{
    pthread_join(thread->id, NULL);
    free(thread);
}

struct t_os_event {
    pthread_mutex_t mutex;
    pthread_cond_t  cond;
    unsigned        count;
};

t_os_event *t_os_event_new(void)
{
    t_os_event        *event = calloc(1, sizeof *event);
    pthread_condattr_t attr;
    if (event == NULL) abort();
    pthread_mutex_init(&event->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&event->cond, &attr);
    pthread_condattr_destroy(&attr);
    return event;
}

void t_os_event_free(t_os_event *event)
{
    pthread_cond_destroy(&event->cond);
    pthread_mutex_destroy(&event->mutex);
    free(event);
}

void t_os_event_set(t_os_event *event)
{
    pthread_mutex_lock(&event->mutex);
    event->count++;
    pthread_cond_signal(&event->cond);
    pthread_mutex_unlock(&event->mutex);
}

bool t_os_event_wait_ns(t_os_event *event, uint64_t ns)
{
    uint64_t        end = t_os_clock_ns() + ns;
    struct timespec at = {(time_t)(end / PRO_SEC), (long)(end % PRO_SEC)};
    int             error = 0;
    pthread_mutex_lock(&event->mutex);
    while (event->count == 0 && error == 0)
        error = pthread_cond_timedwait(&event->cond, &event->mutex, &at);
    bool set = event->count > 0;
    if (set) event->count--;
    pthread_mutex_unlock(&event->mutex);
    return set;
}

_Noreturn void t_os_park(void)
{
    for (;;) pause();
}

uint64_t t_os_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * PRO_SEC + (uint64_t)now.tv_nsec;
}

int t_os_fault(void *ctx, const char *call)
{
    (void)ctx;
    (void)call;
    return 0;
}

/* ---- How fast we are ------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Valgrind shows itself in what it preloads. */
static bool in_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

int t_os_slowness(void) { return in_valgrind() ? 20 : SANITIZED ? 5 : 1; }

/* ---- Descriptors ----------------------------------------------------------------------------- */

/* Nothing in the tests comes near it. */
#define DESCRIPTORS_MAX 4096

void t_os_descriptors_keep(int count) { (void)count; } /* there are none */

int t_os_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static struct rlimit limit_before;
static bool          limited;

bool t_os_descriptors_exhaust(void)
{
    if (t_current->in_crowd) FAIL("a sentence that needs a row: alone, in lib/rows.c");
    if (limited) return true;
    /* There an accept beyond the limit takes the connection, closes it, and then fails. */
    if (in_valgrind()) return false;
    /* The next one would be the lowest that is free, so all below are taken. */
    int lowest = dup(0);
    if (lowest < 0) lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (lowest < 0) return false;
    close(lowest);
    if (getrlimit(RLIMIT_NOFILE, &limit_before) != 0) return false;
    struct rlimit none = limit_before;
    none.rlim_cur = (rlim_t)lowest;
    limited = setrlimit(RLIMIT_NOFILE, &none) == 0;
    return limited;
}

void t_os_descriptors_restore(void)
{
    if (limited) setrlimit(RLIMIT_NOFILE, &limit_before);
    limited = false;
}

/* ---- Signals that interrupt ----------------------------------------------------------------------- */

static atomic_ulong          taken;
static _Thread_local timer_t interrupter;
static _Thread_local bool    is_interrupted;

static void take(int number)
{
    (void)number;
    atomic_fetch_add_explicit(&taken, 1, memory_order_relaxed);
}

bool t_os_signals_begin(unsigned us)
{
    int              number = SIGRTMAX - 1; /* no sentence uses it */
    struct sigaction action = {.sa_handler = take};
    struct sigevent  event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};
    struct timespec  every = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    event._sigev_un._tid = gettid();
    if (sigaction(number, &action, NULL) != 0) abort();
    if (timer_create(CLOCK_MONOTONIC, &event, &interrupter) != 0) abort();
    is_interrupted = true;
    return timer_settime(interrupter, 0, &(struct itimerspec){every, every}, NULL) == 0;
}

void t_os_signals_end(void)
{
    if (!is_interrupted) return;
    is_interrupted = false;
    timer_delete(interrupter);
}

unsigned long t_os_signals_taken(void) { return atomic_load(&taken); }
