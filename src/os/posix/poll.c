/* Events of poll(2), which are those of epoll and of the ring too. */
#include <poll.h>

#include "os/os.h"

int64_t pri_os_poll_told(uint32_t events)
{
    return (events & POLLIN ? PRO_POLL_IN : 0) | (events & POLLOUT ? PRO_POLL_OUT : 0) |
           (events & POLLHUP ? PRO_POLL_HUP : 0) | (events & POLLERR ? PRO_POLL_ERR : 0);
}

uint32_t pri_os_poll_asked(int is_read) { return is_read ? POLLIN : POLLOUT; }
