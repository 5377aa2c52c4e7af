/* Threads and CPUs, for the runtime: a contract, implemented for each system beside os.h.
 *
 * It is a table, since the simulator brings its own: threads that are stacks of one real thread, and
 * gates at which those wait (src/engine/sim/lane.c).  Which one counts: pri_threads_of in
 * core/engine.h. */
#ifndef PRI_OS_THREAD_H
#define PRI_OS_THREAD_H

#include <stddef.h>
#include <stdint.h>

typedef struct pri_thread pri_thread;
typedef struct pri_gate   pri_gate; /* a count that threads can wait for */

typedef struct pri_threads {
    /* Start run(arg) on a thread with this name (cut to what the system takes), pinned to cpu if that
     * is >= 0.  A cpu that cannot be had is no error: cpu tells.  0 or a negated number. */
    int (*start)(pri_thread **thread, const char *name, int cpu, void (*run)(void *arg), void *arg);

    /* Wait for its end, and free it. */
    void (*join)(pri_thread *thread);

    /* Let about a millisecond go by. */
    void (*pause)(void);

    pri_gate *(*gate_new)(void); /* NULL: no memory */
    void (*gate_free)(pri_gate *gate);
    void (*gate_add)(pri_gate *gate);                     /* one more */
    void (*gate_wait)(pri_gate *gate, uint64_t at_least); /* until it is that much */

    /* Call abandon(thing) if the machine that runs us goes down before disown(thing): only a simulated
     * one does while its program's memory stays.  May be NULL. */
    void (*own)(void *thing, void (*abandon)(void *thing));
    void (*disown)(void *thing);

    /* The CPUs that this process may use, in ascending order, at most max; returns how many there
     * are. */
    int (*cpus)(int *cpus, int max);

    /* The only CPU that the calling thread may use, or -1 if there are several. */
    int (*cpu)(void);

    /* Which CPUs take the interrupts of network devices, and others by default: lines of text, as far
     * as the system says; an empty text if it does not.  What does not fit in size, which is at least
     * 1, is left out. */
    void (*interrupts)(char *buf, size_t size);
} pri_threads;

extern const pri_threads pri_os_threads;

void pri_os_interrupts(char *buf, size_t size); /* where it is a file of its own */

/* ---- Locks: of real threads ------------------------------------------------------------------- */

/* A lock, and a place to wait inside of it. */
typedef struct pri_monitor pri_monitor;

pri_monitor *pri_os_monitor_new(void); /* NULL: no memory */
void         pri_os_monitor_free(pri_monitor *monitor);
void         pri_os_monitor_enter(pri_monitor *monitor);
void         pri_os_monitor_leave(pri_monitor *monitor);
int          pri_os_monitor_wait(pri_monitor *monitor, uint64_t ns); /* inside; 0: so long */
void         pri_os_monitor_wake(pri_monitor *monitor, int all); /* one who waits there, or all */

#endif
