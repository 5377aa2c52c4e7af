/* From a file to a socket: not on Windows as yet; pro_copy_file says PRO_ENOTSUP. */
#include "os/copy.h"

#include "os/win/win.h"

int pri_os_is_cached(intptr_t file, uint64_t offset, size_t len)
{
    (void)file, (void)offset, (void)len;
    return 0;
}

int64_t pri_os_send_file(intptr_t socket, intptr_t file, uint64_t offset, size_t len)
{
    (void)socket, (void)file, (void)offset, (void)len;
    return -WSAEOPNOTSUPP;
}
