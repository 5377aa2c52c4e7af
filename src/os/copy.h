/* From a file to a socket, without waiting for the socket.  posix/copy.c, win/copy.c. */
#ifndef PRI_OS_COPY_H
#define PRI_OS_COPY_H

#include "os/os.h"

/* Would reading this part of the file not wait?  1: surely. */
int pri_os_is_cached(intptr_t file, uint64_t offset, size_t len);

/* Send some of it: how many bytes (0: the end of the file), or a negated number; -EAGAIN: the socket takes
 * no more.  May wait for the file.  Any thread. */
int64_t pri_os_send_file(intptr_t socket, intptr_t file, uint64_t offset, size_t len);

#endif
