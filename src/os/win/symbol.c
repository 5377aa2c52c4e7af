/* The name of a function by its address: not without the debugger's library. */
#include <stdio.h>

#include "os/os.h"

void pri_os_symbol(const void *address, char *buf, size_t size)
{
    snprintf(buf, size, "%p", address);
}
