/* From a file to a socket, without waiting for the socket; and from a stream by a pipe to another one.
 * posix/copy.c, win/copy.c. */
#ifndef PRI_OS_COPY_H
#define PRI_OS_COPY_H

#include <proactor/copy.h>

#include "os/os.h"

/* So much at a time, so that others come in between. */
enum { PRI_COPY_CHUNK = 1 << 20 };

/* What stands in the step of a copy, and how much of it is to go next. */
static inline pro_copy *pri_copy_of(const pri_step *step) { return (void *)(uintptr_t)step->len; }

static inline size_t pri_copy_chunk(const pro_copy *copy)
{
    uint64_t left = copy->len - copy->copied; /* of PRO_COPY_ALL always more than there can be */
    return left < PRI_COPY_CHUNK ? (size_t)left : PRI_COPY_CHUNK;
}

/* Would reading this part of the file not wait?  1: surely. */
int pri_os_is_cached(intptr_t file, uint64_t offset, size_t len);

/* Send some of it: how many bytes (0: the end of the file), or a negated number; -EAGAIN: the socket takes
 * no more.  May wait for the file.  Any thread. */
int64_t pri_os_send_file(intptr_t socket, intptr_t file, uint64_t offset, size_t len);

/* A pipe that never waits, where it is read and where it is written, and how much it takes: about
 * PRI_OS_TUBE_SIZE, if the system allows that.  0, or a negated number. */
enum { PRI_OS_TUBE_SIZE = 256 << 10 };
int  pri_os_tube_open(const pro_env *env, intptr_t fds[2], size_t *size);
void pri_os_tube_close(const intptr_t fds[2]);

/* What is there goes from a stream into a pipe (0: its end), from a pipe into a stream: how many bytes, or a
 * negated number, -EAGAIN among them.  -EINVAL: not of such a thing.  One attempt, EINTR is retried; neither
 * waits, if the descriptors are non-blocking, nor raises a signal. */
int64_t pri_os_splice_in(const pro_env *env, intptr_t from, intptr_t pipe, size_t len);
int64_t pri_os_splice_out(const pro_env *env, intptr_t pipe, intptr_t to, size_t len);

/* What is in the pipe goes to memory. */
int64_t pri_os_tube_drain(const pro_env *env, intptr_t pipe, void *buf, size_t len);

#endif
