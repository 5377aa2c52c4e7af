/* What the files of this directory offer each other: parts of pri_os_net. */
#ifndef PRI_POSIX_H
#define PRI_POSIX_H

#include "os/os.h"

/* unix.c */
int pri_posix_bind_unix(const pro_env *env, intptr_t fd, const char *name);
int pri_posix_associate_unix(const pro_env *env, intptr_t fd, const char *name);
int pri_posix_unix_name(const pro_env *env, intptr_t fd, int peer, char *buf, size_t size);
int pri_posix_credentials(const pro_env *env, intptr_t fd, pro_credentials *who);

/* pipe.c */
int      pri_posix_pair(const pro_env *env, int what, int nonblocking, intptr_t fds[2]);
int      pri_posix_look(const pro_env *env, intptr_t fd);
intptr_t pri_posix_standard(const pro_env *env, int which, int *is_shared);

#endif
