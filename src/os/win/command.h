/* What CreateProcess takes, made of what pro_spawn takes. */
#ifndef PRI_OS_WIN_COMMAND_H
#define PRI_OS_WIN_COMMAND_H

#include <stddef.h>

#include "os/win/win.h"

/* Each writes into out, which may be NULL, and returns how much room it takes, in UTF-16 with the NUL; 0: it
 * cannot be said, and GetLastError says why.  Text is UTF-8. */

/* One line that CommandLineToArgvW and the C library take apart into these arguments again.
 * args[0] cannot have a quotation mark in it: there they know no way to say it. */
size_t pri_win_command_line(const char *const *args, wchar_t *out);

/* A block of "NAME=value", ended by an empty one, sorted as the system wants it, with SystemRoot. */
size_t pri_win_environment(const char *const *environment, wchar_t *out);

size_t pri_win_text(const char *text, wchar_t *out);

#endif
