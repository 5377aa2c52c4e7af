/* Watching: not on Windows as yet; pro_watcher_open says PRO_ENOTSUP. */
#include "os/watch.h"

#include "os/win/win.h"

intptr_t pri_os_watch_open(const pro_env *env)
{
    (void)env;
    return -WSAEOPNOTSUPP;
}

int pri_os_watch_add(const pro_env *env, intptr_t fd, const char *path, uint32_t what)
{
    (void)env, (void)fd, (void)path, (void)what;
    return -WSAEOPNOTSUPP;
}

int pri_os_watch_remove(const pro_env *env, intptr_t fd, int path)
{
    (void)env, (void)fd, (void)path;
    return -WSAEOPNOTSUPP;
}

int64_t pri_os_watch_read(const pro_env *env, intptr_t fd, void *said, size_t size)
{
    (void)env, (void)fd, (void)said, (void)size;
    return -WSAEOPNOTSUPP;
}

size_t pri_os_watch_take(const void *said, pro_change *change)
{
    (void)said;
    change->what = 0;
    return 0;
}
