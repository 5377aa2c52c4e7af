/* Names, by the system's own means; this waits. */

#include <string.h>

#include "os/os.h"
#include "os/win/win.h"

static int error_of(int code)
{
    switch (code) {
    case EAI_NONAME: return PRO_ENOENT;
    case EAI_AGAIN: return PRO_EAGAIN;
    case EAI_FAIL: return PRO_EIO;
    case EAI_MEMORY: return PRO_ENOMEM;
    case EAI_SERVICE: return PRO_EINVAL;
    default: return PRO_EIO;
    }
}

int64_t pri_os_lookup(const pro_env *env, const char *host, const char *service, int family,
                      pro_address *found, size_t max)
{
    struct addrinfo  hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    (void)env; /* this is another thread, which may not ask it */
    if (family != PRO_FAMILY_NONE) hints.ai_family = family == PRO_IPV4 ? AF_INET : AF_INET6;
    int code = getaddrinfo(host, service, &hints, &list);
    if (code) return error_of(code);
    size_t count = 0;
    for (const struct addrinfo *i = list; i && count < max; i = i->ai_next) {
        struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
        memcpy(&storage, i->ai_addr, i->ai_addrlen);
        pri_os_address_in(&found[count], &storage);
        if (found[count].family != PRO_FAMILY_NONE) count++;
    }
    freeaddrinfo(list);
    return (int64_t)count;
}
