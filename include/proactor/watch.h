/* Watching files and directories for changes.
 *
 * A watcher looks at any number of paths; each has a number, which changes name.  A directory tells what
 * happens to its entries, by name, not what happens deeper.  A change says that something happened, not
 * what is there now: look.  Several changes in a row may be told as one, and when more come than are
 * fetched, the rest is lost and PRO_CHANGE_OVERFLOW says so: then look at everything.
 *
 * A path is watched as the thing it names when it is added: a file that is renamed is watched under
 * its new name, and a new file under the old name is not.  To follow a name, watch its directory.
 *
 * On Linux, by inotify: PRO_ENOBUFS when the user's limits on watches are reached, PRO_EMFILE for those on
 * watchers.  Not for network file systems changed from elsewhere, nor /proc and /sys.
 *
 * On Windows, by ReadDirectoryChangesW, which tells less: nothing of CLOSED, which alone is PRO_ENOTSUP, nor DIRECTORY;
 * MODIFIED and ATTRIBUTES, if both are asked for, together; a change perhaps twice; a name that has more than
 * 255 bytes cut; and what moves to another directory has been REMOVED.
 *
 * PRO_ENOTSUP in the simulator. */
#ifndef PROACTOR_WATCH_H
#define PROACTOR_WATCH_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

#define PRO_CHANGE_CREATED 0x01u      /* an entry of a directory, also by a link */
#define PRO_CHANGE_REMOVED 0x02u      /* an entry of a directory, or what is watched itself */
#define PRO_CHANGE_MODIFIED 0x04u     /* contents or length */
#define PRO_CHANGE_ATTRIBUTES 0x08u   /* mode, owner, times, number of links */
#define PRO_CHANGE_RENAMED_FROM 0x10u /* an entry, under its old name, or what is watched itself */
#define PRO_CHANGE_RENAMED_TO 0x20u   /* an entry, under its new name */
#define PRO_CHANGE_CLOSED 0x40u       /* a file that was open for writing */
#define PRO_CHANGE_DIRECTORY 0x100u   /* beside one of those: the entry is a directory */
#define PRO_CHANGE_ENDED 0x200u /* this path is not watched any more: it is gone, or was removed */
#define PRO_CHANGE_OVERFLOW 0x400u /* changes were lost; path is -1 */

#define PRO_CHANGE_ALL 0x7fu /* what to ask for */

typedef struct pro_change {
    uint32_t what;      /* PRO_CHANGE_* */
    int32_t  path;      /* what pro_watcher_add answered */
    uint32_t pair;      /* not 0: both halves of one renaming have the same */
    char     name[256]; /* the entry of a directory; "" is the watched thing itself */
} pro_change;

typedef struct pro_watcher {
    pro_handle handle;

    /* Internal: what the system said and nobody fetched as yet. */
    uint32_t pri_first, pri_len;
    uint64_t pri_said[512];
} pro_watcher;

/* Make w a watcher of the loop, in scope (NULL: the loop's root), that watches nothing as yet.  Returns
 * PRO_OK and it is the library's until closed, or an error.  Thread: the loop's, as for all here. */
PRO_API int pro_watcher_open(pro_watcher *w, pro_loop *loop, pro_scope *scope);

/* Watch a path for some of PRO_CHANGE_ALL.  Looks the path up at once, without following a link at its end,
 * which may take as long as the file system takes.  Returns its number, at least 0; or PRO_ENOENT, PRO_EACCES,
 * PRO_ENOBUFS, PRO_EINVAL, ...  The same thing again has the same number, and is watched for the new
 * changes instead. */
PRO_API int pro_watcher_add(pro_watcher *w, const char *path, uint32_t what);

/* Stop watching.  What happened before is still told, then PRO_CHANGE_ENDED.  PRO_OK, or PRO_EINVAL if
 * there is no such path (any more). */
PRO_API int pro_watcher_remove(pro_watcher *w, int path);

/* Complete when there are changes, with how many there are in changes[], 1 to count, in their order.
 * Ours until the handler: op, changes.  Several complete in the order of initiation.
 * Errors: PRO_EINVAL (count 0), PRO_ECANCELED, PRO_ETIMEDOUT, PRO_ECLOSED, PRO_ENOMEM.  What was not told
 * when it was canceled is told to the next. */
PRO_API void pro_watch(pro_op *op, pro_watcher *w, pro_change *changes, size_t count,
                       pro_handler *done);

/* Close: nothing is told any more.  As pro_close. */
PRO_API void pro_watcher_close(pro_op *op, pro_watcher *w, pro_handler *done);

/* The same with the call site given: for macros and other languages. */
PRO_API void pro_watch_at(const char *site, pro_op *op, pro_watcher *w, pro_change *changes,
                          size_t count, pro_handler *done);
PRO_API void pro_watcher_close_at(const char *site, pro_op *op, pro_watcher *w, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_watch(...) pro_watch_at(PRO_SITE, __VA_ARGS__)
#define pro_watcher_close(...) pro_watcher_close_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
