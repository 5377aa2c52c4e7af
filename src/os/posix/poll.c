/* Events of poll(2), which are those of epoll and of the ring too. */
#include <poll.h>

#include "os/os.h"

/* The ring says POLLRDHUP unasked, to a poll for writing too: then there is an end to read. */
int64_t pri_os_poll_told(uint32_t events)
{
    return (events & (POLLIN | POLLRDHUP) ? PRO_POLL_IN : 0) |
           (events & POLLOUT ? PRO_POLL_OUT : 0) | (events & POLLHUP ? PRO_POLL_HUP : 0) |
           (events & POLLERR ? PRO_POLL_ERR : 0);
}

uint32_t pri_os_poll_asked(int is_read) { return is_read ? POLLIN : POLLOUT; }
