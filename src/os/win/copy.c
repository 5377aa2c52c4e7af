/* From a file to a socket: the engine does that (PRI_CAPS_SEND_FILE), and none makes attempts (PRI_CAPS_TRY). */
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

int pri_os_tube_open(const pro_env *env, intptr_t fds[2], size_t *size)
{
    (void)env, (void)fds, (void)size;
    return -WSAEOPNOTSUPP;
}

void pri_os_tube_close(const intptr_t fds[2]) { (void)fds; }

int64_t pri_os_splice_in(const pro_env *env, intptr_t from, intptr_t pipe, size_t len)
{
    (void)env, (void)from, (void)pipe, (void)len;
    return -WSAEOPNOTSUPP;
}

int64_t pri_os_splice_out(const pro_env *env, intptr_t pipe, intptr_t to, size_t len)
{
    return pri_os_splice_in(env, pipe, to, len);
}

int64_t pri_os_tube_drain(const pro_env *env, intptr_t pipe, void *buf, size_t len)
{
    (void)env, (void)pipe, (void)buf, (void)len;
    return -WSAEOPNOTSUPP;
}
