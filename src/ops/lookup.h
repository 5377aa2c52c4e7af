/* A look-up that nobody has to wait for: it owns all that its thread touches. */
#ifndef PRI_LOOKUP_H
#define PRI_LOOKUP_H

#include <proactor/names.h>

typedef struct pri_lookup pri_lookup;

/* From the loop, never inside the start: PRO_OK and addresses that are gone afterwards, or an error. */
typedef void pri_lookup_fn(void *arg, int error, const pro_address *addresses, size_t count);

/* Begin to look a name up, for one family or (none) both.  PRO_OK, PRO_EINVAL or PRO_ENOMEM. */
int pri_lookup_start(pri_lookup **lookup, const char *site, pro_loop *loop, const char *host,
                     const char *service, pro_family family, pri_lookup_fn *done, void *arg);

/* Nobody waits any more: done is not called. */
void pri_lookup_leave(pri_lookup *lookup);

/* Numbers alone: PRO_OK and *address; else PRO_EINVAL. */
int pri_lookup_numeric(const char *host, const char *service, pro_address *address);

#endif
