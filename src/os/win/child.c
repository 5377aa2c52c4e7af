/* Child processes: not on Windows as yet; pro_spawn says PRO_ENOTSUP. */
#include "os/child.h"

#include "os/win/win.h"

const int pri_os_kill_signal = 9;

int pri_os_child_prepare(const pro_env *env, const pro_spawn_options *options, pri_os_plan **plan)
{
    (void)env, (void)options, (void)plan;
    return -WSAEOPNOTSUPP;
}

int pri_os_child_start(pri_os_plan *plan)
{
    (void)plan;
    return -WSAEOPNOTSUPP;
}

int64_t pri_os_child_end(const pro_env *env, pri_os_plan *plan, intptr_t *fd)
{
    (void)env, (void)plan, (void)fd;
    return -WSAEOPNOTSUPP;
}

int pri_os_child_reap(intptr_t fd, int64_t *status)
{
    (void)fd, (void)status;
    return -WSAEOPNOTSUPP;
}

int pri_os_child_signal(const pro_env *env, intptr_t fd, int32_t pid, int group, int number)
{
    (void)env, (void)fd, (void)pid, (void)group, (void)number;
    return -WSAEOPNOTSUPP;
}
