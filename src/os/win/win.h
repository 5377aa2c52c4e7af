/* What the files of this directory and the engine on completion ports share. */
#ifndef PRI_OS_WIN_H
#define PRI_OS_WIN_H

#include <winsock2.h> /* before windows.h, which would bring its predecessor */
#include <ws2tcpip.h>

#include <windows.h>

#ifndef ERROR_DIRECTORY_NOT_SUPPORTED /* 336: an operation that is not one on directories */
#define ERROR_DIRECTORY_NOT_SUPPORTED 336L
#endif

#ifndef ERROR_ELEVATION_REQUIRED
#define ERROR_ELEVATION_REQUIRED 740L
#endif

/* Winsock is ready for this process: begun once, by whoever is first, and never ended.  0, or a
 * negated error number. */
int pri_win_sockets(void);

#endif
