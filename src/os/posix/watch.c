/* Watching by inotify. */
#include "os/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static const struct {
    uint32_t ours, system;
} bits[] = {
    {PRO_CHANGE_CREATED, IN_CREATE},
    {PRO_CHANGE_REMOVED, IN_DELETE | IN_DELETE_SELF},
    {PRO_CHANGE_MODIFIED, IN_MODIFY},
    {PRO_CHANGE_ATTRIBUTES, IN_ATTRIB},
    {PRO_CHANGE_RENAMED_FROM, IN_MOVED_FROM | IN_MOVE_SELF},
    {PRO_CHANGE_RENAMED_TO, IN_MOVED_TO},
    {PRO_CHANGE_CLOSED, IN_CLOSE_WRITE},
    {PRO_CHANGE_DIRECTORY, IN_ISDIR},
    {PRO_CHANGE_ENDED, IN_IGNORED},
    {PRO_CHANGE_OVERFLOW, IN_Q_OVERFLOW},
};
enum { BITS = sizeof bits / sizeof bits[0] };

static int answer(int result) { return result < 0 ? -errno : result; }

intptr_t pri_os_watch_open(const pro_env *env)
{
    int fault = pri_os_fault(env, "inotify_init");
    return fault ? fault : answer(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
}

void pri_os_watch_close(const pro_env *env, intptr_t fd)
{
    (void)env;
    close((int)fd);
}

int pri_os_watch_add(const pro_env *env, intptr_t fd, const char *path, uint32_t what)
{
    int fault = pri_os_fault(env, "inotify_add_watch");
    if (fault) return fault;
    uint32_t mask = IN_DONT_FOLLOW;
    for (int i = 0; i < BITS; i++)
        if (what & PRO_CHANGE_ALL & bits[i].ours) mask |= bits[i].system;
    return answer(inotify_add_watch((int)fd, path, mask));
}

int pri_os_watch_remove(const pro_env *env, intptr_t fd, int path)
{
    int fault = pri_os_fault(env, "inotify_rm_watch");
    return fault ? fault : answer(inotify_rm_watch((int)fd, path));
}

int64_t pri_os_watch_read(const pro_env *env, intptr_t fd, void *said, size_t size)
{
    int64_t n;
    do {
        int fault = pri_os_fault(env, "read");
        n = fault ? fault : read((int)fd, said, size);
        if (!fault && n < 0) n = -errno;
    } while (n == -EINTR);
    return n;
}

size_t pri_os_watch_take(const void *said, pro_change *change)
{
    struct inotify_event event;
    memcpy(&event, said, sizeof event);
    change->what = 0;
    for (int i = 0; i < BITS; i++)
        if (event.mask & bits[i].system) change->what |= bits[i].ours;
    change->path = event.wd;
    change->pair = event.cookie;
    change->name[0] = 0;
    if (event.len > 0) /* it ends in zeros, and is never longer than a name can be */
        memcpy(change->name, (const char *)said + sizeof event,
               event.len < sizeof change->name ? event.len : sizeof change->name);
    change->name[sizeof change->name - 1] = 0;
    return sizeof event + event.len;
}
