/* Names: from a host's name to its addresses, and to a connection.
 *
 * Names are looked up by the system (getaddrinfo: its files, its servers, its order), on a thread of the
 * loop's pool.  Numbers need no look-up and no thread.  A look-up that runs cannot be cut, and may take as
 * long as the system is patient, half a minute and more; an operation here does not wait for it: canceled
 * or timed out it completes soon, and the thread is let go.  Until it comes back a run of the loop
 * goes on, and freeing the loop is PRO_EBUSY.
 *
 * In a simulated world the names are those of its nodes; several nodes of one name are several addresses.
 *
 * Common to all three.  Ours until the handler: op, host and service, addresses.  Thread: the loop's.  Never
 * completes inside.  host: a name, or an address in numbers, "192.0.2.1", "fe80::1%2", without brackets.
 * service: a port in decimal, or its name ("http").
 * Errors of names: PRO_ENOENT (no such name), PRO_EAGAIN (could not be found out now), PRO_EIO (nor later),
 * PRO_EINVAL (no such service, not a name); PRO_ECANCELED, PRO_ETIMEDOUT, PRO_ENOMEM. */
#ifndef PROACTOR_NAMES_H
#define PROACTOR_NAMES_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* The most addresses of one name, and the most endpoints of one connect_any. */
#define PRO_ENDPOINTS_MAX 64

/* Look a name up: PRO_OK and how many addresses stand in addresses[], 1 to count, the best first (RFC
 * 6724); what is over is left out. */
PRO_API void pro_resolve(pro_op *op, pro_loop *loop, const char *host, const char *service,
                         pro_address *addresses, size_t count, pro_handler *done);

/* Connect to a host by name, with happy eyeballs (RFC 8305): IPv6 and IPv4 addresses are looked up at the
 * same time and tried in turn, IPv6 first; the next one is tried when one failed, or when 250 ms went by
 * without an answer; if the IPv4 addresses are there first, the IPv6 ones have 50 ms more.  The first
 * connection stands, and is the socket's; the others are closed.
 * s has no descriptor before (pro_socket_init), else PRO_EISCONN.  Receives and sends queued behind it wait, and
 * fail with it, as with pro_connect.  A failure is that of the last address tried; then s has no
 * descriptor and may try again.  Value: 0. */
PRO_API void pro_connect_host(pro_op *op, pro_socket *s, const char *host, const char *service,
                              pro_handler *done);

/* The same over count endpoints, in their order: 1 to PRO_ENDPOINTS_MAX of them, else PRO_EINVAL. */
PRO_API void pro_connect_any(pro_op *op, pro_socket *s, const pro_address *addresses, size_t count,
                             pro_handler *done);

/* The same with the call site given: for macros and other languages. */
PRO_API void pro_resolve_at(const char *site, pro_op *op, pro_loop *loop, const char *host,
                            const char *service, pro_address *addresses, size_t count,
                            pro_handler *done);
PRO_API void pro_connect_host_at(const char *site, pro_op *op, pro_socket *s, const char *host,
                                 const char *service, pro_handler *done);
PRO_API void pro_connect_any_at(const char *site, pro_op *op, pro_socket *s,
                                const pro_address *addresses, size_t count, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_resolve(...) pro_resolve_at(PRO_SITE, __VA_ARGS__)
#define pro_connect_host(...) pro_connect_host_at(PRO_SITE, __VA_ARGS__)
#define pro_connect_any(...) pro_connect_any_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
