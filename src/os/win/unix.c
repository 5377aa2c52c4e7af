/* Unix sockets: not on Windows as yet, and nothing there asks for a name of one. */
#include "os/os.h"

size_t pri_os_unix_out(const char *name, void *storage)
{
    (void)name, (void)storage;
    return 0;
}

size_t pri_os_unix_in(const void *storage, size_t len, char *buf, size_t size)
{
    (void)storage, (void)len;
    if (size > 0) buf[0] = '\0';
    return 0;
}

void pri_os_control_put(pri_os_message *m, const intptr_t *descriptors, size_t count)
{
    (void)descriptors, (void)count;
    m->control_len = 0;
}

intptr_t pri_os_control_take(pri_os_message *m)
{
    (void)m;
    return -1;
}
