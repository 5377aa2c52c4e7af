/* Files and directories.
 *
 * A pro_file is the caller's memory at a stable address, zeroed or freshly opened; it is the library's from
 * pro_file_open until it is closed (its close has completed, or the scope it lives in has drained), or
 * until an open that failed has said so.
 *
 * Order: none.  Any number of operations of one file may be in flight at once, each at its own offset,
 * and they end in any order; what has to come after another is initiated in its handler.  close cancels
 * what is in flight and completes last.
 *
 * Where they run: an engine does by itself what its kernel does without holding up a thread, the rest
 * goes to the threads of the loop's pool (blocking.h), of which there are pool_threads_max.  What runs on
 * a thread is not cut by cancel, deadline or close: it completes with its result, as that table says.
 * pro_loop_explain tells which is which.
 *
 * Paths are UTF-8, relative to the working directory of the process.  In a simulated world files are those of
 * the node's own disk: sim.h.
 *
 * Common to all initiating functions (those that take an operation and a handler):
 *   Ours until the handler: op, buffers, paths, what stats and bytes are written to.  Arrays of vectors
 *   are copied: the caller's again when the call returns.
 *   Thread: the loop's.  Never completes inside.
 *   Errors, beside those named: PRO_ECANCELED, PRO_ETIMEDOUT (deadline), PRO_ECLOSED (the file is closed
 *   or closing), PRO_EBADF (not open), PRO_EACCES, PRO_EPERM, PRO_ENOMEM, PRO_EIO, PRO_ENOTSUP.
 *   Value, where nothing else is said: 0. */
#ifndef PROACTOR_FILE_H
#define PROACTOR_FILE_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>
#include <proactor/scope.h>

PRO_BEGIN_DECLS

/* ---- Opening, closing ------------------------------------------------------------------------- */

/* How to open.  Neither READ nor WRITE: READ. */
#define PRO_FILE_READ 0x01u
#define PRO_FILE_WRITE 0x02u
#define PRO_FILE_CREATE 0x04u    /* make it if it is not there */
#define PRO_FILE_EXCLUSIVE 0x08u /* with CREATE: PRO_EEXIST if it is there */
#define PRO_FILE_TRUNCATE 0x10u
#define PRO_FILE_APPEND 0x20u    /* every write goes to the end, whatever its offset */
#define PRO_FILE_DIRECT 0x40u    /* past the page cache; see pro_file_alignment */
#define PRO_FILE_SYNC 0x80u      /* every write is as if followed by a sync, */
#define PRO_FILE_DATASYNC 0x100u /* or a data sync */
#define PRO_FILE_DIRECTORY                                                                         \
    0x200u /* PRO_ENOTDIR if it is none; for pro_file_list and pro_file_sync */
#define PRO_FILE_NO_FOLLOW 0x400u /* PRO_ELOOP if the last part of the path is a symbolic link */

typedef struct pro_file {
    pro_handle handle;

    /* Internal. */
    struct pri_side *pri_side; /* what closing needs */
    const char      *pri_site; /* where it was opened */
    uint32_t         pri_align[2];
} pro_file;

/* Open path as f, which then lives in scope (NULL: the loop's root).  mode: the permissions of a file
 * that is made (0644, less the umask).  With PRO_OK f is open; with an error it is the caller's again,
 * and there is nothing to close.  Errors: PRO_ENOENT, PRO_EEXIST, PRO_EISDIR, PRO_ENOTDIR, PRO_EROFS,
 * PRO_EMFILE, PRO_ENOSPC, PRO_ENAMETOOLONG, PRO_ELOOP, PRO_EINVAL (no DIRECT there, ...). */
PRO_API void pro_file_open(pro_op *op, pro_file *f, pro_loop *loop, pro_scope *scope,
                           const char *path, uint32_t flags, uint32_t mode, pro_handler *done);

/* Open a new file without a name in a directory, for reading and writing: it is gone when closed. */
PRO_API void pro_file_open_temporary(pro_op *op, pro_file *f, pro_loop *loop, pro_scope *scope,
                                     const char *directory, pro_handler *done);

/* Close: cancels what is in flight, and completes last.  Error: what the system has to say of writes that it had put off; closed it is all the same.
 * A second close completes after the first with PRO_OK. */
PRO_API void pro_file_close(pro_op *op, pro_file *f, pro_handler *done);

/* Cancel everything that is in flight on f; it stays open. */
PRO_API void pro_file_cancel(pro_file *f);

/* With PRO_FILE_DIRECT: buffers have to be at multiples of *memory, offsets and lengths have to be multiples
 * of *offset, else PRO_EINVAL.  1 and 1 for all other files.  Thread: the loop's, while it is open. */
PRO_API void pro_file_alignment(const pro_file *f, uint32_t *memory, uint32_t *offset);

/* The system's descriptor, which stays the library's; -1 if it is not open. */
PRO_API intptr_t pro_file_descriptor(const pro_file *f);

/* ---- Reading, writing ------------------------------------------------------------------------- */

/* Read up to len bytes at offset.  Value: bytes > 0, may be fewer.  Errors: PRO_EOF (offset is at the
 * end or behind it), PRO_EISDIR.  len 0: PRO_OK and 0 on the next turn, without the system. */
PRO_API void pro_file_read(pro_op *op, pro_file *f, void *buf, size_t len, uint64_t offset,
                           pro_handler *done);

/* Read len bytes.  Value: len; beside an error (PRO_EOF too) the bytes so far. */
PRO_API void pro_file_read_exactly(pro_op *op, pro_file *f, void *buf, size_t len, uint64_t offset,
                                   pro_handler *done);

/* Write all of buf at offset.  Value: len; beside an error the bytes so far, which are in the file.
 * Errors: PRO_ENOSPC, PRO_EFBIG, PRO_EDQUOT. */
PRO_API void pro_file_write(pro_op *op, pro_file *f, const void *buf, size_t len, uint64_t offset,
                            pro_handler *done);

/* The same three over several pieces, as if they were one buffer; any number of them. */
PRO_API void pro_file_readv(pro_op *op, pro_file *f, const pro_vec *vecs, size_t count,
                            uint64_t offset, pro_handler *done);
PRO_API void pro_file_readv_exactly(pro_op *op, pro_file *f, const pro_vec *vecs, size_t count,
                                    uint64_t offset, pro_handler *done);
PRO_API void pro_file_writev(pro_op *op, pro_file *f, const pro_vec *vecs, size_t count,
                             uint64_t offset, pro_handler *done);

/* What completed before is on the medium when this completes; datasync: all that reading it back needs.
 * Writes in flight beside it may be or not.  A directory's sync is for the names in it. */
PRO_API void pro_file_sync(pro_op *op, pro_file *f, pro_handler *done);
PRO_API void pro_file_datasync(pro_op *op, pro_file *f, pro_handler *done);

/* Have room for len bytes at offset; the file grows if it must, with zeroes.  PRO_ENOSPC; PRO_ENOTSUP of a
 * file system that cannot. */
PRO_API void pro_file_allocate(pro_op *op, pro_file *f, uint64_t offset, uint64_t len,
                               pro_handler *done);

/* Cut the file to size, or let it grow with zeroes. */
PRO_API void pro_file_truncate(pro_op *op, pro_file *f, uint64_t size, pro_handler *done);

/* How a part of the file (len 0: from offset to the end) will be used. */
typedef enum pro_advice {
    PRO_ADVICE_NORMAL,
    PRO_ADVICE_SEQUENTIAL,
    PRO_ADVICE_RANDOM,
    PRO_ADVICE_WILL_NEED,
    PRO_ADVICE_DONT_NEED
} pro_advice;

PRO_API void pro_file_advise(pro_op *op, pro_file *f, uint64_t offset, uint64_t len,
                             pro_advice advice, pro_handler *done);

/* ---- What is known of a file ------------------------------------------------------------------ */

typedef enum pro_file_type {
    PRO_TYPE_UNKNOWN,
    PRO_TYPE_REGULAR,
    PRO_TYPE_DIRECTORY,
    PRO_TYPE_SYMLINK,
    PRO_TYPE_PIPE,
    PRO_TYPE_SOCKET,
    PRO_TYPE_CHARACTER,
    PRO_TYPE_BLOCK
} pro_file_type;

typedef struct pro_stat {
    uint64_t      size;
    uint64_t      allocated; /* bytes on the medium */
    uint64_t      inode, device;
    uint32_t      links, uid, gid;
    uint32_t      mode; /* permission bits, 07777 */
    uint32_t      block_size;
    pro_file_type type;
    int64_t       modified_ns, accessed_ns, changed_ns; /* since 1970 */
    int64_t       created_ns;                           /* 0: not known */
} pro_stat;

PRO_API void pro_file_stat(pro_op *op, pro_file *f, pro_stat *stat, pro_handler *done);

/* Of what path names; flags: 0, or PRO_FILE_NO_FOLLOW for a symbolic link itself. */
PRO_API void pro_path_stat(pro_op *op, pro_loop *loop, const char *path, uint32_t flags,
                           pro_stat *stat, pro_handler *done);

/* ---- Names ------------------------------------------------------------------------------------ */

/* Errors of all of these: PRO_ENOENT, PRO_EEXIST, PRO_ENOTDIR, PRO_EISDIR, PRO_ENOTEMPTY, PRO_EXDEV,
 * PRO_EROFS, PRO_ENOSPC, PRO_ENAMETOOLONG, PRO_ELOOP. */

/* What is at to is replaced, in one step. */
PRO_API void pro_path_rename(pro_op *op, pro_loop *loop, const char *from, const char *to,
                             pro_handler *done);
PRO_API void pro_path_link(pro_op *op, pro_loop *loop, const char *from, const char *to,
                           pro_handler *done);
PRO_API void pro_path_symlink(pro_op *op, pro_loop *loop, const char *target, const char *path,
                              pro_handler *done);
PRO_API void pro_path_unlink(pro_op *op, pro_loop *loop, const char *path, pro_handler *done);
PRO_API void pro_path_mkdir(pro_op *op, pro_loop *loop, const char *path, uint32_t mode,
                            pro_handler *done);
PRO_API void pro_path_rmdir(pro_op *op, pro_loop *loop, const char *path, pro_handler *done);

/* ---- Directories ------------------------------------------------------------------------------ */

/* The next entries of a directory (PRO_FILE_DIRECTORY), as many as have room in buf, of which len >= 1024
 * bytes are there; "." and ".." are left out, the order is the file system's.  Value: bytes, for
 * pro_dir_next.  PRO_EOF: that was all.  One at a time: it goes on where the last one ended. */
PRO_API void pro_file_list(pro_op *op, pro_file *f, void *buf, size_t len, pro_handler *done);

typedef struct pro_dir_entry {
    const char   *name; /* in the buffer */
    pro_file_type type; /* UNKNOWN: ask pro_path_stat */
} pro_dir_entry;

/* The entry at *at of what pro_file_list gave, and *at goes on to the next one; 0: no more.  *at begins
 * at 0.  Any thread. */
PRO_API int pro_dir_next(const void *buf, int64_t value, size_t *at, pro_dir_entry *entry);

/* ---- Whole files ------------------------------------------------------------------------------ */

typedef struct pro_bytes {
    void  *data; /* NULL: none */
    size_t len;
} pro_bytes;

/* Read all of a file into memory of the loop's environment: bytes->data is the caller's from the handler
 * on, until pro_bytes_free.  A byte of 0 stands behind the last one, not counted.  More than size_max
 * bytes: PRO_EFBIG.  Value: bytes->len.  With an error bytes has none. */
PRO_API void pro_path_read(pro_op *op, pro_loop *loop, const char *path, size_t size_max,
                           pro_bytes *bytes, pro_handler *done);

/* Thread: the loop's. */
PRO_API void pro_bytes_free(pro_loop *loop, pro_bytes *bytes);

/* Replace a file's content in one step that survives a crash: buf is written to a new file beside it, synced,
 * renamed to path, and the directory synced.  Whoever opens path sees the old or the new content, whole.
 * With an error path is as it was, and the new file gone; but after an error of the very last sync it
 * may be either.  Canceled in between: the same.  mode: permissions, as for open.  Value: len. */
PRO_API void pro_path_replace(pro_op *op, pro_loop *loop, const char *path, const void *buf,
                              size_t len, uint32_t mode, pro_handler *done);

/* ---- With the call site given: for macros and other languages ---------------------------------- */

PRO_API void pro_file_open_at(const char *site, pro_op *op, pro_file *f, pro_loop *loop,
                              pro_scope *scope, const char *path, uint32_t flags, uint32_t mode,
                              pro_handler *done);
PRO_API void pro_file_open_temporary_at(const char *site, pro_op *op, pro_file *f, pro_loop *loop,
                                        pro_scope *scope, const char *directory, pro_handler *done);
PRO_API void pro_file_close_at(const char *site, pro_op *op, pro_file *f, pro_handler *done);
PRO_API void pro_file_read_at(const char *site, pro_op *op, pro_file *f, void *buf, size_t len,
                              uint64_t offset, pro_handler *done);
PRO_API void pro_file_read_exactly_at(const char *site, pro_op *op, pro_file *f, void *buf,
                                      size_t len, uint64_t offset, pro_handler *done);
PRO_API void pro_file_write_at(const char *site, pro_op *op, pro_file *f, const void *buf,
                               size_t len, uint64_t offset, pro_handler *done);
PRO_API void pro_file_readv_at(const char *site, pro_op *op, pro_file *f, const pro_vec *vecs,
                               size_t count, uint64_t offset, pro_handler *done);
PRO_API void pro_file_readv_exactly_at(const char *site, pro_op *op, pro_file *f,
                                       const pro_vec *vecs, size_t count, uint64_t offset,
                                       pro_handler *done);
PRO_API void pro_file_writev_at(const char *site, pro_op *op, pro_file *f, const pro_vec *vecs,
                                size_t count, uint64_t offset, pro_handler *done);
PRO_API void pro_file_sync_at(const char *site, pro_op *op, pro_file *f, pro_handler *done);
PRO_API void pro_file_datasync_at(const char *site, pro_op *op, pro_file *f, pro_handler *done);
PRO_API void pro_file_allocate_at(const char *site, pro_op *op, pro_file *f, uint64_t offset,
                                  uint64_t len, pro_handler *done);
PRO_API void pro_file_truncate_at(const char *site, pro_op *op, pro_file *f, uint64_t size,
                                  pro_handler *done);
PRO_API void pro_file_advise_at(const char *site, pro_op *op, pro_file *f, uint64_t offset,
                                uint64_t len, pro_advice advice, pro_handler *done);
PRO_API void pro_file_stat_at(const char *site, pro_op *op, pro_file *f, pro_stat *stat,
                              pro_handler *done);
PRO_API void pro_path_stat_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                              uint32_t flags, pro_stat *stat, pro_handler *done);
PRO_API void pro_path_rename_at(const char *site, pro_op *op, pro_loop *loop, const char *from,
                                const char *to, pro_handler *done);
PRO_API void pro_path_link_at(const char *site, pro_op *op, pro_loop *loop, const char *from,
                              const char *to, pro_handler *done);
PRO_API void pro_path_symlink_at(const char *site, pro_op *op, pro_loop *loop, const char *target,
                                 const char *path, pro_handler *done);
PRO_API void pro_path_unlink_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                                pro_handler *done);
PRO_API void pro_path_mkdir_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                               uint32_t mode, pro_handler *done);
PRO_API void pro_path_rmdir_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                               pro_handler *done);
PRO_API void pro_file_list_at(const char *site, pro_op *op, pro_file *f, void *buf, size_t len,
                              pro_handler *done);
PRO_API void pro_path_read_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                              size_t size_max, pro_bytes *bytes, pro_handler *done);
PRO_API void pro_path_replace_at(const char *site, pro_op *op, pro_loop *loop, const char *path,
                                 const void *buf, size_t len, uint32_t mode, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_file_open(...) pro_file_open_at(PRO_SITE, __VA_ARGS__)
#define pro_file_open_temporary(...) pro_file_open_temporary_at(PRO_SITE, __VA_ARGS__)
#define pro_file_close(...) pro_file_close_at(PRO_SITE, __VA_ARGS__)
#define pro_file_read(...) pro_file_read_at(PRO_SITE, __VA_ARGS__)
#define pro_file_read_exactly(...) pro_file_read_exactly_at(PRO_SITE, __VA_ARGS__)
#define pro_file_write(...) pro_file_write_at(PRO_SITE, __VA_ARGS__)
#define pro_file_readv(...) pro_file_readv_at(PRO_SITE, __VA_ARGS__)
#define pro_file_readv_exactly(...) pro_file_readv_exactly_at(PRO_SITE, __VA_ARGS__)
#define pro_file_writev(...) pro_file_writev_at(PRO_SITE, __VA_ARGS__)
#define pro_file_sync(...) pro_file_sync_at(PRO_SITE, __VA_ARGS__)
#define pro_file_datasync(...) pro_file_datasync_at(PRO_SITE, __VA_ARGS__)
#define pro_file_allocate(...) pro_file_allocate_at(PRO_SITE, __VA_ARGS__)
#define pro_file_truncate(...) pro_file_truncate_at(PRO_SITE, __VA_ARGS__)
#define pro_file_advise(...) pro_file_advise_at(PRO_SITE, __VA_ARGS__)
#define pro_file_stat(...) pro_file_stat_at(PRO_SITE, __VA_ARGS__)
#define pro_path_stat(...) pro_path_stat_at(PRO_SITE, __VA_ARGS__)
#define pro_path_rename(...) pro_path_rename_at(PRO_SITE, __VA_ARGS__)
#define pro_path_link(...) pro_path_link_at(PRO_SITE, __VA_ARGS__)
#define pro_path_symlink(...) pro_path_symlink_at(PRO_SITE, __VA_ARGS__)
#define pro_path_unlink(...) pro_path_unlink_at(PRO_SITE, __VA_ARGS__)
#define pro_path_mkdir(...) pro_path_mkdir_at(PRO_SITE, __VA_ARGS__)
#define pro_path_rmdir(...) pro_path_rmdir_at(PRO_SITE, __VA_ARGS__)
#define pro_file_list(...) pro_file_list_at(PRO_SITE, __VA_ARGS__)
#define pro_path_read(...) pro_path_read_at(PRO_SITE, __VA_ARGS__)
#define pro_path_replace(...) pro_path_replace_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
