/* Events of the socket driver's poll, which the engine asks by itself. */
#include "os/os.h"

enum { /* IOCTL_AFD_POLL */
       RECEIVE = 0x001,
       SEND = 0x004,
       DISCONNECT = 0x008, /* the end of the stream */
       ABORT = 0x010,      /* a reset */
       LOCAL_CLOSE = 0x020,
       ACCEPT = 0x080,
       CONNECT_FAIL = 0x100,
       GONE = ABORT | LOCAL_CLOSE | CONNECT_FAIL,
};

int64_t pri_os_poll_told(uint32_t events)
{
    return (events & (RECEIVE | DISCONNECT | ACCEPT | GONE) ? PRO_POLL_IN : 0) |
           (events & (SEND | GONE) ? PRO_POLL_OUT : 0) | (events & GONE ? PRO_POLL_HUP : 0) |
           (events & (ABORT | CONNECT_FAIL) ? PRO_POLL_ERR : 0);
}

uint32_t pri_os_poll_asked(int is_read)
{
    return GONE | (is_read ? RECEIVE | DISCONNECT | ACCEPT : SEND);
}
