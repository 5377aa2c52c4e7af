/* Errors: the one table between the system's numbers and ours.
 *
 * Several numbers may share a row of ours; a number without a row is PRO_EUNKNOWN, and stays visible
 * as the system error beside it.  Some names are the same number on some systems, so this is a table
 * that is searched and not a switch; errors are rare enough for that. */
#include <errno.h>
#include <limits.h>

#include "os/os.h"

static const struct {
    int system, ours;
} table[] = {
    {ECONNRESET, PRO_ECONNRESET},
    {EPIPE, PRO_EPIPE},
    {ECONNREFUSED, PRO_ECONNREFUSED},
    {ETIMEDOUT, PRO_ETIMEDOUT},
    {ECANCELED, PRO_ECANCELED},
    {EAGAIN, PRO_EAGAIN},
    {EWOULDBLOCK, PRO_EAGAIN},
    {EINTR, PRO_EAGAIN},
    {EMFILE, PRO_EMFILE},
    {ENFILE, PRO_ENFILE},
    {ENOMEM, PRO_ENOMEM},
    {ENOBUFS, PRO_ENOBUFS},
    {ECONNABORTED, PRO_ECONNABORTED},
    {ENOTCONN, PRO_ENOTCONN},
    {EDESTADDRREQ, PRO_ENOTCONN},
    {EISCONN, PRO_EISCONN},
    {EADDRINUSE, PRO_EADDRINUSE},
    {EADDRNOTAVAIL, PRO_EADDRNOTAVAIL},
    {EAFNOSUPPORT, PRO_EAFNOSUPPORT},
    {EPFNOSUPPORT, PRO_EAFNOSUPPORT},
    {ENETUNREACH, PRO_ENETUNREACH},
    {EHOSTUNREACH, PRO_EHOSTUNREACH},
    {EHOSTDOWN, PRO_EHOSTUNREACH},
    {ENETDOWN, PRO_ENETDOWN},
    {ENETRESET, PRO_ECONNRESET},
    {ESHUTDOWN, PRO_EPIPE},
    {EMSGSIZE, PRO_EMSGSIZE},
    {EPROTO, PRO_EPROTO},
    {EINVAL, PRO_EINVAL},
    {EFAULT, PRO_EINVAL},
    {EDOM, PRO_EINVAL},
    {EBUSY, PRO_EBUSY},
    {EALREADY, PRO_EBUSY},
    {EINPROGRESS, PRO_EBUSY},
    {EPERM, PRO_EPERM},
    {EACCES, PRO_EACCES},
    {ENOENT, PRO_ENOENT},
    {ENXIO, PRO_ENOENT},
    {ENODEV, PRO_ENOENT},
    {ESRCH, PRO_ENOENT},  /* no such process */
    {ECHILD, PRO_ENOENT}, /* nobody to wait for */
    {ENOEXEC, PRO_EINVAL},
    {E2BIG, PRO_EINVAL},
    {ETXTBSY, PRO_EBUSY},
    {EBADF, PRO_EBADF},
    {ENOTSOCK, PRO_EBADF},
    {EIO, PRO_EIO},
    {EUCLEAN, PRO_EIO}, /* a file system that found itself corrupt */
    {EEXIST, PRO_EEXIST},
    {ENOTDIR, PRO_ENOTDIR},
    {EISDIR, PRO_EISDIR},
    {ENOTEMPTY, PRO_ENOTEMPTY},
    {EROFS, PRO_EROFS},
    {ENOSPC, PRO_ENOSPC},
    {EFBIG, PRO_EFBIG},
    {EDQUOT, PRO_EDQUOT},
    {ENAMETOOLONG, PRO_ENAMETOOLONG},
    {ELOOP, PRO_ELOOP},
    {EXDEV, PRO_EXDEV},
    {ESPIPE, PRO_EINVAL},
    {ETXTBSY, PRO_EBUSY},
    {ENOSYS, PRO_ENOSYS},
    {ENOTSUP, PRO_ENOTSUP},
    {EOPNOTSUPP, PRO_ENOTSUP},
    {ENOPROTOOPT, PRO_ENOTSUP},
    {EPROTONOSUPPORT, PRO_ENOTSUP},
    {EPROTOTYPE, PRO_ENOTSUP},
    {ESOCKTNOSUPPORT, PRO_ENOTSUP},
};

int pri_os_error(int number)
{
    if (number == 0) return PRO_OK;
    if (number < 0) number = number == INT_MIN ? INT_MAX : -number;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].system == number) return table[i].ours;
    return PRO_EUNKNOWN;
}
