/* Signals: 64 slots for the whole process, each a listener to one number.
 *
 * hear and forget take a lock; the handler takes none.  It may run on any thread, at any time, also
 * while another thread forgets the slot it looks at: both sides announce before they look.
 *
 *     handler   users++ ; is number still mine? ; hear(arg) ; users--
 *     forget    number = 0 ; wait until users == 0
 *
 * All of these are sequentially consistent, so either the handler sees 0 and stays away, or forget
 * sees the user and waits.  The wait is short: hear does next to nothing.  A handler that interrupts
 * the waiting thread itself runs to its end before the wait goes on.
 *
 * Invariants (the lock held):
 *   slot.number == 0             ==>  the slot is free; hear and arg are written only then
 *   used[n] > 0                 <==>  our handler is installed for n, and former[n] is what was there
 *   used[n]                       =   number of slots with number == n */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "os/os.h"

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a handler may use it");

enum { SLOTS = 64 };

static struct {
    atomic_int number; /* 0: free */
    atomic_int users;  /* handlers that look at it now */
    void (*hear)(void *arg);
    void *arg;
} slots[SLOTS];

static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction former[NSIG];
static int              used[NSIG];

static void handle(int number)
{
    int saved = errno;
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_load(&slots[i].number) != number) continue;
        atomic_fetch_add(&slots[i].users, 1);
        if (atomic_load(&slots[i].number) == number) slots[i].hear(slots[i].arg);
        atomic_fetch_sub(&slots[i].users, 1);
    }
    errno = saved;
}

/* SA_ONSTACK: a program with small stacks of its own may have given us a larger one. */
static int install(int number)
{
    struct sigaction ours = {.sa_handler = handle, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    return sigaction(number, &ours, &former[number]) == 0 ? 0 : -errno;
}

/* Nobody is called through this slot any more.  The lock is held. */
static void leave(int slot)
{
    atomic_store(&slots[slot].number, 0);
    while (atomic_load(&slots[slot].users) > 0) sched_yield();
}

/* The lock is held. */
static int take(int number, void (*hear)(void *arg), void *arg)
{
    int slot = 0;
    while (slot < SLOTS && atomic_load(&slots[slot].number) != 0) slot++;
    if (slot == SLOTS) return -EBUSY;
    slots[slot].hear = hear;
    slots[slot].arg = arg;
    atomic_store(&slots[slot].number, number); /* before the handler is there: none is missed */
    int error = used[number] == 0 ? install(number) : 0;
    if (error) {
        leave(slot);
        return error;
    }
    used[number]++;
    return slot;
}

int pri_os_signal_hear(int number, void (*hear)(void *arg), void *arg)
{
    if (number < 1 || number >= NSIG) return -EINVAL;
    pthread_mutex_lock(&lock);
    int slot = take(number, hear, arg);
    pthread_mutex_unlock(&lock);
    return slot;
}

void pri_os_signal_forget(int slot)
{
    pthread_mutex_lock(&lock);
    int number = atomic_load(&slots[slot].number);
    if (--used[number] == 0) sigaction(number, &former[number], NULL);
    leave(slot);
    pthread_mutex_unlock(&lock);
}
