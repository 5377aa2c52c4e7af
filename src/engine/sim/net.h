/* The simulated network as ops and the core call it, and the system's numbers that it answers with:
 * those that pri_os_error knows on this system. */
#ifndef PRI_SIM_NET_H
#define PRI_SIM_NET_H

#include <errno.h>

#include "engine/sim/world.h"

extern const pri_net pri_sim_net;

/* pair.c: pri_net.pair; what is no socket, as pri_net.look says it; the reading end of a pipe closes. */
int  pri_sim_pair(const pro_env *env, int what, int nonblocking, intptr_t fds[2]);
int  pri_sim_look(const sim_socket *s);
void pri_sim_reader_gone(pro_sim *w, sim_socket *reader);

#if defined(_WIN32)
#define PRI_SIM_NUMBER(name, wsa) (wsa)
#else
#define PRI_SIM_NUMBER(name, wsa) (name)
#endif
#define PRI_SIM_EBADF PRI_SIM_NUMBER(EBADF, 10038) /* WSAENOTSOCK */
#define PRI_SIM_EINVAL PRI_SIM_NUMBER(EINVAL, 10022)
#define PRI_SIM_EMFILE PRI_SIM_NUMBER(EMFILE, 10024)
#define PRI_SIM_EPIPE PRI_SIM_NUMBER(EPIPE, 10058) /* WSAESHUTDOWN */
#define PRI_SIM_EAFNOSUPPORT PRI_SIM_NUMBER(EAFNOSUPPORT, 10047)
#define PRI_SIM_EBUSY PRI_SIM_NUMBER(EBUSY, 10037) /* WSAEALREADY */
#define PRI_SIM_EOPNOTSUPP PRI_SIM_NUMBER(EOPNOTSUPP, 10045)
#define PRI_SIM_EADDRINUSE PRI_SIM_NUMBER(EADDRINUSE, 10048)
#define PRI_SIM_EADDRNOTAVAIL PRI_SIM_NUMBER(EADDRNOTAVAIL, 10049)
#define PRI_SIM_ECONNABORTED PRI_SIM_NUMBER(ECONNABORTED, 10053)
#define PRI_SIM_ECONNRESET PRI_SIM_NUMBER(ECONNRESET, 10054)
#define PRI_SIM_EISCONN PRI_SIM_NUMBER(EISCONN, 10056)
#define PRI_SIM_ENOTCONN PRI_SIM_NUMBER(ENOTCONN, 10057)
#define PRI_SIM_ETIMEDOUT PRI_SIM_NUMBER(ETIMEDOUT, 10060)
#define PRI_SIM_ECONNREFUSED PRI_SIM_NUMBER(ECONNREFUSED, 10061)
#define PRI_SIM_EHOSTUNREACH PRI_SIM_NUMBER(EHOSTUNREACH, 10065)

#endif
