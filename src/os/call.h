/* Calls of the system that may take long: what is asked of files and of names.  A contract, like os.h,
 * implemented for each system in file.c. */
#ifndef PRI_OS_CALL_H
#define PRI_OS_CALL_H

#include <proactor/file.h>

#include <stdbool.h>

/* Calls of the system that may take long: X(WHAT, name).  Their arguments stand in a pri_call; flags
 * are PRO_FILE_*.  The name is that of a fault, and hides the call from an engine that would do it. */
#define PRI_CALLS(X)                                                                               \
    X(FILE_OPEN, "file_open")   /* path, flags, mode; temporary: a directory, and offset */        \
    X(FILE_CLOSE, "file_close") /* fd */                                                           \
    X(FILE_READ, "file_read")   /* fd, offset, vectors */                                          \
    X(FILE_WRITE, "file_write")                                                                    \
    X(FILE_SYNC, "file_sync")         /* fd */                                                     \
    X(FILE_DATASYNC, "file_datasync") /* fd */                                                     \
    X(FILE_ALLOCATE, "file_allocate") /* fd, offset, size */                                       \
    X(FILE_TRUNCATE, "file_truncate") /* fd, size */                                               \
    X(FILE_ADVISE, "file_advise")     /* fd, offset, size, mode = a pro_advice */                  \
    X(FILE_STAT, "file_stat")         /* fd, or path and flags if there is one; out: a pro_stat */ \
    X(FILE_LIST, "file_list")         /* fd, out, size; value = bytes */                           \
    X(RENAME, "rename")               /* path, to */                                               \
    X(LINK, "link")                                                                                \
    X(SYMLINK, "symlink")                                                                          \
    X(UNLINK, "unlink") /* path */                                                                 \
    X(MKDIR, "mkdir")   /* path, mode */                                                           \
    X(RMDIR, "rmdir")

typedef enum pri_call_what {
    PRI_CALL_JOB, /* a function: PRI_STEP_JOB */
#define PRI_CALL_ENUM(what, name) PRI_CALL_##what,
    PRI_CALLS(PRI_CALL_ENUM)
#undef PRI_CALL_ENUM
        PRI_CALL_KINDS
} pri_call_what;

/* offset of a transfer: where the file stands, which moves. */
#define PRI_CALL_AT_POSITION UINT64_MAX

#define PRI_FILE_TEMPORARY 0x10000u /* beside PRO_FILE_*: without a name */

struct pri_record;

typedef struct pri_call {
    uint8_t     what;
    uint8_t     stage;       /* of a composed operation, and its error: its own */
    bool        is_shielded; /* a cause is recorded, and does not end it */
    int32_t     error;
    uint32_t    flags;
    uint32_t    mode;
    intptr_t    fd;
    uint64_t    offset;
    uint64_t    size;
    const char *path, *to;
    void       *out;
    uint32_t    align[2]; /* out, of an open with DIRECT: memory, offset */
    void (*record)(pro_op *op, const struct pri_record *record);
} pri_call;

/* Do it, waiting as long as it takes; any thread.  vecs: of a transfer, any number.  A value, or a negated
 * system number. */
int64_t pri_os_call(pri_call *call, const pro_vec *vecs, size_t count);

#endif
