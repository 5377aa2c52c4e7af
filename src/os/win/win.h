/* What the files of this directory and the engine on completion ports share. */
#ifndef PRI_OS_WIN_H
#define PRI_OS_WIN_H

#include <winsock2.h> /* before windows.h, which would bring its predecessor */
#include <ws2tcpip.h>

#include <windows.h>

#include <stdint.h>

#ifndef ERROR_DIRECTORY_NOT_SUPPORTED /* 336: an operation that is not one on directories */
#define ERROR_DIRECTORY_NOT_SUPPORTED 336L
#endif

#ifndef ERROR_ELEVATION_REQUIRED
#define ERROR_ELEVATION_REQUIRED 740L
#endif

/* Winsock is ready for this process: begun once, by whoever is first, and never ended.  0, or a
 * negated error number. */
int pri_win_sockets(void);

/* A path in the system's form.  0, or a negated error number. */
enum { PRI_WIN_PATH_LEN = 4096 };
int64_t pri_win_path(const char *path, wchar_t out[PRI_WIN_PATH_LEN]);

/* What is signaled when there is something to read: of a descriptor of pri_os_watch_open. */
HANDLE pri_win_watch_event(intptr_t fd);

#endif
