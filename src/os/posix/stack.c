/* Memory for stacks, and the report of an overflow.
 *
 * Guards.  mprotect splits a mapping in three, and the kernel has a limit on mappings
 * (vm.max_map_count, 65,530): it ends at 32,750 guarded stacks.  MADV_GUARD_INSTALL (Linux 6.13) puts
 * markers into the page tables and splits nothing.  Whether the kernel has it is asked once, by
 * using it; EINVAL is its answer when it has not.
 *
 * Overflow.  The stack that overflowed has no room for a handler, so each watched thread gets an
 * alternate one.  The handler of SIGSEGV is the process's: installed with the first watch, taken away
 * with the last one if it is still there.  It chains: to the handler that was there before if there
 * was one, else the former disposition is put back and the fault happens again, with its core file
 * and its status.
 *
 * Invariants (the lock held):
 *   watches > 0   ==>  is_installed
 *   is_installed  ==>  our handler is SIGSEGV's, or below one that came later; former is what was
 *                      there before it
 *   here.watches > 0  ==>  this thread has an alternate stack (ours, or one it had already) */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/stack.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PRI_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(PRI_ASAN)
#define PRI_ASAN 1
#endif

/* ---- Memory --------------------------------------------------------------------------------- */

size_t pri_os_page_size(void)
{
    static atomic_size_t known;
    size_t               size = atomic_load_explicit(&known, memory_order_relaxed);
    if (size == 0) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size;
}

int pri_os_stacks_map(const pro_env *env, size_t size, void **base)
{
    int fault = pri_os_fault(env, "mmap");
    if (fault) return fault;
    int   flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (at == MAP_FAILED) return -errno;
#ifdef MADV_NOHUGEPAGE
    madvise(at, size,
            MADV_NOHUGEPAGE); /* one touched page would cost 2 MiB; a kernel without: fine */
#endif
    *base = at;
    return 0;
}

void pri_os_stacks_unmap(void *base, size_t size) { munmap(base, size); }

int pri_os_stack_guard(const pro_env *env, void *low, size_t size)
{
    static atomic_bool has_no_markers;
    int                fault = pri_os_fault(env, "guard");
    if (fault == -EINVAL) /* an old kernel, for tests */
        return mprotect(low, size, PROT_NONE) == 0 ? 0 : -errno;
    if (fault) return fault;
    if (!atomic_load_explicit(&has_no_markers, memory_order_relaxed)) {
        if (madvise(low, size, MADV_GUARD_INSTALL) == 0) return 0;
        if (errno != EINVAL && errno != ENOSYS) return -errno;
        atomic_store_explicit(&has_no_markers, true, memory_order_relaxed);
    }
    return mprotect(low, size, PROT_NONE) == 0 ? 0 : -errno;
}

void pri_os_stack_discard(void *low, size_t size) { madvise(low, size, MADV_DONTNEED); }

size_t pri_os_stack_touched(void *low, size_t size)
{
    unsigned char has_memory[256];
    size_t        page = pri_os_page_size();
    for (size_t at = 0; at < size;) {
        size_t part = sizeof has_memory * page;
        if (part > size - at) part = size - at;
        if (mincore((char *)low + at, part, (void *)has_memory) != 0) return 0;
        for (size_t i = 0; i < part / page; i++)
            if (has_memory[i] & 1) return size - at - i * page;
        at += part;
    }
    return 0;
}

/* ---- Overflow ------------------------------------------------------------------------------- */

#ifdef PRI_ASAN

int pri_os_stack_watch(size_t (*describe)(uintptr_t address, char *line, size_t size))
{
    (void)describe;
    return 0;
}

void pri_os_stack_unwatch(void) {}

#else

enum { ALTERNATE_SIZE = 64 << 10 };

static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned         watches;
static bool             is_installed;
static struct sigaction former;
static size_t (*describe_fault)(uintptr_t address, char *line, size_t size);

/* Of this thread. */
#if defined(__GNUC__)
__attribute__((tls_model("initial-exec"))) /* the shared library needs no dynamic linker's help */
#endif
static _Thread_local struct {
    unsigned watches;
    void    *alternate; /* ours; NULL: the thread had one of its own */
} here;

static void chain(int number, siginfo_t *info, void *context)
{
    if (former.sa_flags & SA_SIGINFO) {
        former.sa_sigaction(number, info, context);
    } else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN) {
        former.sa_handler(number);
    } else {
        /* Back to what was; the instruction runs again and faults again.  A SIGSEGV that somebody
         * sent has no instruction to run again: send it once more. */
        sigaction(number, &former, NULL);
        if (info->si_code <= 0) raise(number);
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    int    saved = errno;
    char   line[512];
    size_t len = 0;
    if (info->si_code > 0) len = describe_fault((uintptr_t)info->si_addr, line, sizeof line);
    if (len > 0 && write(STDERR_FILENO, line, len) < 0) {
        /* Nowhere to say it; the process ends all the same. */
    }
    errno = saved;
    chain(number, info, context);
}

static int give_alternate_stack(void)
{
    stack_t had;
    if (sigaltstack(NULL, &had) != 0) return -errno;
    if (!(had.ss_flags & SS_DISABLE)) return 0; /* the thread's own will do */
    void *at =
        mmap(NULL, ALTERNATE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return -errno;
    stack_t ours = {.ss_sp = at, .ss_size = ALTERNATE_SIZE};
    if (sigaltstack(&ours, NULL) != 0) {
        int error = -errno;
        munmap(at, ALTERNATE_SIZE);
        return error;
    }
    here.alternate = at;
    return 0;
}

static void take_alternate_stack(void)
{
    stack_t had;
    if (!here.alternate || sigaltstack(NULL, &had) != 0) return;
    if (had.ss_sp == here.alternate) { /* else somebody put another one in its place: leave that */
        stack_t none = {.ss_flags = SS_DISABLE};
        if (sigaltstack(&none, NULL) != 0) return; /* in use: better a leak */
    }
    munmap(here.alternate, ALTERNATE_SIZE);
    here.alternate = NULL;
}

static int install(void)
{
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    if (is_installed) return 0; /* still there, below one that came later: no second time */
    is_installed = sigaction(SIGSEGV, &ours, &former) == 0;
    return is_installed ? 0 : -errno;
}

static void uninstall(void)
{
    struct sigaction now;
    if (sigaction(SIGSEGV, NULL, &now) != 0) return;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)
        is_installed = sigaction(SIGSEGV, &former, NULL) != 0;
}

int pri_os_stack_watch(size_t (*describe)(uintptr_t address, char *line, size_t size))
{
    int error = here.watches > 0 ? 0 : give_alternate_stack();
    if (error) return error;
    pthread_mutex_lock(&lock);
    describe_fault = describe;
    if (watches == 0) error = install();
    if (!error) watches++;
    pthread_mutex_unlock(&lock);
    if (!error) here.watches++;
    if (here.watches == 0) take_alternate_stack();
    return error;
}

void pri_os_stack_unwatch(void)
{
    pthread_mutex_lock(&lock);
    if (--watches == 0) uninstall();
    pthread_mutex_unlock(&lock);
    if (--here.watches == 0) take_alternate_stack();
}

#endif
