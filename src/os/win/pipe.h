/* Pipes and pairs, for the network's table and for children. */
#ifndef PRI_OS_WIN_PIPE_H
#define PRI_OS_WIN_PIPE_H

#include <stdbool.h>

#include "os/os.h"
#include "os/win/win.h"

enum { PRI_WIN_PIPE_DIGITS = 32, PRI_WIN_PIPE_NAME = 64 };

/* What one end is for: calls that go on behind our back, or such that wait. */
typedef enum pri_win_end { PRI_WIN_WAITING, PRI_WIN_OVERLAPPED } pri_win_end;

/* A new pipe (reading end, writing end), and a new pair of connected sockets, none of it inherited.  0, or a
 * negated number and nothing. */
int pri_win_pipe(const pro_env *env, HANDLE ends[2], const pri_win_end how[2]);
int pri_win_socket_pair(const pro_env *env, int what, SOCKET ends[2], const pri_win_end how[2]);

bool pri_win_is_socket(HANDLE handle);

/* pri_net.pair, look, standard. */
int      pri_win_pair(const pro_env *env, int what, int nonblocking, intptr_t fds[2]);
int      pri_win_look(const pro_env *env, intptr_t fd);
intptr_t pri_win_standard(const pro_env *env, int which, int *is_shared);

#endif
