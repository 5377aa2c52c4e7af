/* Threads and CPUs, for the runtime: a contract, implemented for each system beside os.h. */
#ifndef PRI_OS_THREAD_H
#define PRI_OS_THREAD_H

#include <stddef.h>
#include <stdint.h>

typedef struct pri_thread pri_thread;

/* Start run(arg) on a thread with this name (cut to what the system takes), pinned to cpu if that is
 * >= 0.  A cpu that cannot be had is no error: pri_os_thread_cpu tells.  0 or a negated number. */
int pri_os_thread_start(pri_thread **thread, const char *name, int cpu, void (*run)(void *arg),
                        void *arg);

/* Wait for its end, and free it. */
void pri_os_thread_join(pri_thread *thread);

/* Let about a millisecond go by. */
void pri_os_thread_pause(void);

/* A count that threads can wait for. */
typedef struct pri_gate pri_gate;

pri_gate *pri_os_gate_new(void); /* NULL: no memory */
void      pri_os_gate_free(pri_gate *gate);
void      pri_os_gate_add(pri_gate *gate);                     /* one more */
void      pri_os_gate_wait(pri_gate *gate, uint64_t at_least); /* until it is that much */

/* The CPUs that this process may use, in ascending order, at most max; returns how many there are. */
int pri_os_cpus(int *cpus, int max);

/* The only CPU that the calling thread may use, or -1 if there are several. */
int pri_os_thread_cpu(void);

/* Which CPUs take interrupts, as the system words it; an empty text if it does not say. */
void pri_os_interrupts(char *buf, size_t size);

#endif
