/* Addresses in the system's form: sockaddr_in and sockaddr_in6, in storage that is aligned for
 * nothing in particular, hence the copies. */
#include <string.h>

#include "os/os.h"
#include "os/win/win.h"

_Static_assert(sizeof(struct sockaddr_storage) <= PRI_OS_ADDRESS_SIZE, "any address has room");

/* 0 for a family that is neither. */
size_t pri_os_address_out(const pro_address *address, void *storage)
{
    if (address->family == PRO_IPV4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port)};
        memcpy(&in.sin_addr, address->bytes, 4);
        memcpy(storage, &in, sizeof in);
        return sizeof in;
    }
    if (address->family == PRO_IPV6) {
        struct sockaddr_in6 in = {.sin6_family = AF_INET6,
                                  .sin6_port = htons(address->port),
                                  .sin6_scope_id = address->scope_id};
        memcpy(&in.sin6_addr, address->bytes, 16);
        memcpy(storage, &in, sizeof in);
        return sizeof in;
    }
    return 0;
}

/* A family that is neither becomes PRO_FAMILY_NONE. */
void pri_os_address_in(pro_address *address, const void *storage)
{
    ADDRESS_FAMILY family;
    memcpy(&family, (const char *)storage + offsetof(struct sockaddr, sa_family), sizeof family);
    *address = (pro_address){.family = PRO_FAMILY_NONE};
    if (family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, storage, sizeof in);
        address->family = PRO_IPV4;
        address->port = ntohs(in.sin_port);
        memcpy(address->bytes, &in.sin_addr, 4);
    } else if (family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, storage, sizeof in);
        address->family = PRO_IPV6;
        address->port = ntohs(in.sin6_port);
        address->scope_id = in.sin6_scope_id;
        memcpy(address->bytes, &in.sin6_addr, 16);
    }
}
