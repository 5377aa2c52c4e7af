/* Child processes: what the system does to start, signal and reap one.  posix/child.c, win/child.c. */
#ifndef PRI_OS_CHILD_H
#define PRI_OS_CHILD_H

#include <proactor/process.h>

#include "os/os.h"

/* A child that is to be started: opaque, between prepare and end. */
typedef struct pri_os_plan pri_os_plan;

/* On the loop's thread: make what the child will get.  0, or a negated number and nothing. */
int pri_os_child_prepare(const pro_env *env, const pro_spawn_options *options, pri_os_plan **plan);

/* On any thread, and it may take long: start it.  0, or a negated number, and then there is none. */
int pri_os_child_start(pri_os_plan *plan);

/* On the loop's thread, after a start or in place of one: give back what only the child needed, hand
 * out our ends.  The child's id, what can be waited on, and if it has one its group (else 0); or a negated
 * number (that of start, or -ECANCELED without one). */
int64_t pri_os_child_end(const pro_env *env, pri_os_plan *plan, intptr_t *fd, intptr_t *group);

/* The child behind fd has ended: 0, and its status as in pro_process_wait; now it is gone, and what its group
 * was no longer its.  -EAGAIN: it lives.  Another negated number: it cannot be waited for. */
int pri_os_child_reap(intptr_t fd, intptr_t group, int64_t *status);

/* 0, or a negated number. */
int pri_os_child_signal(const pro_env *env, intptr_t fd, int32_t pid, intptr_t group, int number);

/* The signal that nothing survives. */
extern const int pri_os_kill_signal;

#endif
