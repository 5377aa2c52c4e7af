/* Copying a file to a socket without passing through the program's memory.
 *
 * Where the system can (sendfile), pages go from its cache to the connection as they are.  What is not in
 * the cache is fetched by a thread of the loop's pool, so that a disk does not hold the loop up.  Files
 * that cannot be sent so (of some special file systems) go through a buffer. */
#ifndef PROACTOR_COPY_H
#define PROACTOR_COPY_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* Copy to the end of the file, wherever that is when it is reached. */
#define PRO_COPY_ALL UINT64_MAX

typedef struct pro_copy {
    intptr_t file;   /* a descriptor open for reading; the caller's, who keeps it open */
    uint64_t offset; /* where to begin; the file's own position is not used and not moved */
    uint64_t len;    /* how much, or PRO_COPY_ALL */
    uint64_t
        copied; /* progress: how much the system took; may be read at any time on the loop's thread */

    /* Internal. */
    pro_op  pri_job;
    pro_op *pri_op;
} pro_copy;

/* Send a part of a file, behind what is queued on the socket, and before what comes later.  PRO_OK and how
 * much that was; or an error beside it, as for pro_send_all: a copy that is cut short leaves a hole.
 * The peer may see changes that are made to the file while it is copied.
 * Ours until the handler: op, copy, the file's descriptor.  Thread: the loop's.  Never completes inside.
 * Errors: PRO_EOF (the file ended before len), those of pro_send_all, PRO_EBADF, PRO_EIO, PRO_EAGAIN (no thread
 * to read it), PRO_ENOTSUP in the simulator and on Windows, as yet. */
PRO_API void pro_copy_file(pro_op *op, pro_socket *s, pro_copy *copy, pro_handler *done);
PRO_API void pro_copy_file_at(const char *site, pro_op *op, pro_socket *s, pro_copy *copy,
                              pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_copy_file(...) pro_copy_file_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
