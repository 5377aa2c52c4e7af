/* Watching paths, without waiting.  posix/watch.c, win/watch.c. */
#ifndef PRI_OS_WATCH_H
#define PRI_OS_WATCH_H

#include <proactor/watch.h>

#include "os/os.h"

/* A descriptor that is readable when there are changes, or a negated number. */
intptr_t pri_os_watch_open(const pro_env *env);

/* The number of the path, or a negated number. */
int pri_os_watch_add(const pro_env *env, intptr_t fd, const char *path, uint32_t what);
int pri_os_watch_remove(const pro_env *env, intptr_t fd, int path);

/* What the system has to say, at most size bytes in its form: how many, or a negated number (-EAGAIN:
 * nothing). */
int64_t pri_os_watch_read(const pro_env *env, intptr_t fd, void *said, size_t size);

/* Take one change from what it said.  How many bytes that were; change->what is 0 if it is no news. */
size_t pri_os_watch_take(const void *said, pro_change *change);

#endif
