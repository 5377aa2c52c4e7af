/* Threads and CPUs on Linux, by POSIX threads. */
#include "os/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct pri_thread {
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
    int   cpu;
    char  name[16]; /* what the kernel keeps, NUL included */
};

static void *thread_main(void *arg)
{
    pri_thread *thread = arg;
    pthread_setname_np(pthread_self(), thread->name);
    if (thread->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(thread->cpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
    thread->run(thread->arg);
    return NULL;
}

static int start(pri_thread **out, const char *name, int cpu, void (*run)(void *arg), void *arg)
{
    pri_thread *thread = malloc(sizeof *thread);
    if (!thread) return -ENOMEM;
    *thread = (pri_thread){.run = run, .arg = arg, .cpu = cpu < CPU_SETSIZE ? cpu : -1};
    snprintf(thread->name, sizeof thread->name, "%.15s", name);
    int error = pthread_create(&thread->id, NULL, thread_main, thread);
    if (error) {
        free(thread);
        return -error;
    }
    *out = thread;
    return 0;
}

static void join(pri_thread *thread)
{
    pthread_join(thread->id, NULL);
    free(thread);
}

static void pause_a_while(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

struct pri_gate {
    pthread_mutex_t mutex;
    pthread_cond_t  changed;
    uint64_t        count;
};

static pri_gate *gate_new(void)
{
    pri_gate *gate = malloc(sizeof *gate);
    if (!gate) return NULL;
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->changed, NULL);
    gate->count = 0;
    return gate;
}

static void gate_free(pri_gate *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
    free(gate);
}

static void gate_add(pri_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->count++;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_wait(pri_gate *gate, uint64_t at_least)
{
    pthread_mutex_lock(&gate->mutex);
    while (gate->count < at_least) pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

struct pri_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t  changed;
};

pri_monitor *pri_os_monitor_new(void)
{
    pri_monitor *monitor = malloc(sizeof *monitor);
    if (!monitor) return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&monitor->mutex, NULL);
    pthread_cond_init(&monitor->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return monitor;
}

void pri_os_monitor_free(pri_monitor *monitor)
{
    pthread_cond_destroy(&monitor->changed);
    pthread_mutex_destroy(&monitor->mutex);
    free(monitor);
}

void pri_os_monitor_enter(pri_monitor *monitor) { pthread_mutex_lock(&monitor->mutex); }

void pri_os_monitor_leave(pri_monitor *monitor) { pthread_mutex_unlock(&monitor->mutex); }

int pri_os_monitor_wait(pri_monitor *monitor, uint64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    return pthread_cond_timedwait(&monitor->changed, &monitor->mutex, &until) != ETIMEDOUT;
}

void pri_os_monitor_wake(pri_monitor *monitor, int all)
{
    if (all)
        pthread_cond_broadcast(&monitor->changed);
    else
        pthread_cond_signal(&monitor->changed);
}

static int cpus(int *found, int max)
{
    cpu_set_t set;
    int       count = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set)) continue;
        if (count < max) found[count] = cpu;
        count++;
    }
    return count;
}

static int cpu_of_thread(void)
{
    cpu_set_t set;
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) != 0 || CPU_COUNT(&set) != 1)
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set)) return cpu;
    return -1;
}

const pri_threads pri_os_threads = {
    .start = start,
    .join = join,
    .pause = pause_a_while,
    .gate_new = gate_new,
    .gate_free = gate_free,
    .gate_add = gate_add,
    .gate_wait = gate_wait,
    .cpus = cpus,
    .cpu = cpu_of_thread,
    .interrupts = pri_os_interrupts,
};
