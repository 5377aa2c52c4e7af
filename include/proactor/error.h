/* The errors of the library: one list, with name, text, and a mapping from the system's numbers.
 *
 * Errors are negative and stable; PRO_OK is zero.  An operation's result has an error and a value
 * beside it: the bytes that moved before the error. */
#ifndef PROACTOR_ERROR_H
#define PROACTOR_ERROR_H

#include <proactor/base.h>

/* X(name, number, text).  Numbers never change meaning; new ones go to the end. */
#define PRO_ERRORS(X)                                                                              \
    X(PRO_OK, 0, "success")                                                                        \
    X(PRO_EOF, -1, "end of stream")                                                                \
    X(PRO_ECANCELED, -2, "canceled")                                                               \
    X(PRO_ETIMEDOUT, -3, "timed out")                                                              \
    X(PRO_ECLOSED, -4, "the handle is closed")                                                     \
    X(PRO_EINVAL, -5, "invalid argument")                                                          \
    X(PRO_ENOMEM, -6, "out of memory")                                                             \
    X(PRO_EBUSY, -7, "busy, or still in use")                                                      \
    X(PRO_ENOTSUP, -8, "not supported by this engine or system")                                   \
    X(PRO_EPERM, -9, "not permitted")                                                              \
    X(PRO_EACCES, -10, "permission denied")                                                        \
    X(PRO_EMFILE, -11, "too many open handles in this process")                                    \
    X(PRO_ENFILE, -12, "too many open handles in the system")                                      \
    X(PRO_ENOBUFS, -13, "no buffer space")                                                         \
    X(PRO_EPIPE, -14, "broken pipe: the write side is over")                                       \
    X(PRO_ECONNRESET, -15, "connection reset by peer")                                             \
    X(PRO_ECONNREFUSED, -16, "connection refused")                                                 \
    X(PRO_ECONNABORTED, -17, "connection aborted")                                                 \
    X(PRO_ENOTCONN, -18, "not connected")                                                          \
    X(PRO_EISCONN, -19, "already connected")                                                       \
    X(PRO_EADDRINUSE, -20, "address in use")                                                       \
    X(PRO_EADDRNOTAVAIL, -21, "address not available")                                             \
    X(PRO_EAFNOSUPPORT, -22, "address family not supported")                                       \
    X(PRO_ENETUNREACH, -23, "network unreachable")                                                 \
    X(PRO_EHOSTUNREACH, -24, "host unreachable")                                                   \
    X(PRO_EMSGSIZE, -25, "message too long")                                                       \
    X(PRO_ENOENT, -26, "no such file or address")                                                  \
    X(PRO_EBADF, -27, "bad handle")                                                                \
    X(PRO_EIO, -28, "input/output error")                                                          \
    X(PRO_ENOSYS, -29, "not implemented by the system")                                            \
    X(PRO_EAGAIN, -30, "temporarily unavailable")                                                  \
    X(PRO_ENETDOWN, -31, "network down")                                                           \
    X(PRO_EPROTO, -32, "protocol error")                                                           \
    X(PRO_EUNKNOWN, -33, "unknown system error")                                                   \
    X(PRO_EEXIST, -34, "exists already")                                                           \
    X(PRO_ENOTDIR, -35, "not a directory")                                                         \
    X(PRO_EISDIR, -36, "is a directory")                                                           \
    X(PRO_ENOTEMPTY, -37, "directory not empty")                                                   \
    X(PRO_EROFS, -38, "read-only file system")                                                     \
    X(PRO_ENOSPC, -39, "no space left on the medium")                                              \
    X(PRO_EFBIG, -40, "file too large")                                                            \
    X(PRO_EDQUOT, -41, "quota exceeded")                                                           \
    X(PRO_ENAMETOOLONG, -42, "name too long")                                                      \
    X(PRO_ELOOP, -43, "too many symbolic links")                                                   \
    X(PRO_EXDEV, -44, "on another file system")

typedef enum pro_error {
#define PRO_ERROR_ENUM_(name, number, text) name = (number),
    PRO_ERRORS(PRO_ERROR_ENUM_)
#undef PRO_ERROR_ENUM_
} pro_error;

PRO_BEGIN_DECLS

/* "PRO_ECANCELED", or "PRO_E?" for a number that is not on the list.  Static.  Any thread. */
PRO_API const char *pro_error_name(int error);

/* "canceled", or "unknown error".  Static, in English, without a full stop.  Any thread. */
PRO_API const char *pro_error_text(int error);

/* The error for one of the system's numbers: a positive errno on POSIX, a GetLastError or WSA
 * number on Windows.  0 gives PRO_OK; one without a row of its own gives PRO_EUNKNOWN.  Any thread. */
PRO_API int pro_error_from_system(int number);

PRO_END_DECLS

#endif
