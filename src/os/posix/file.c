/* Files on Linux: each call of core/engine.h's list, made here and now, on whatever thread.
 *
 * EINTR is retried, but for close: there the descriptor is gone whatever is said. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/call.h"
#include "os/os.h"
#include "os/posix/file.h"

_Static_assert(sizeof(pro_vec) == sizeof(struct iovec), "a vector of ours is one of the system's");

/* In a checked build the buffers of reads are poisoned for AddressSanitizer, which looks at what the C
 * library is given: past it. */
#if defined(PROACTOR_CHECKED) && defined(SYS_preadv)
#define preadv(fd, vecs, count, offset)                                                            \
    syscall(SYS_preadv, fd, vecs, count, (unsigned long)(offset), 0ul)
#define readv(fd, vecs, count) syscall(SYS_readv, fd, vecs, count)
#endif

static int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

/* ---- Translations, for engines that make the calls by themselves too ---------------------------- */

int pri_os_open_flags(uint32_t flags)
{
    static const struct {
        uint32_t ours;
        int      system;
    } rows[] = {
        {PRO_FILE_CREATE, O_CREAT},       {PRO_FILE_EXCLUSIVE, O_EXCL},
        {PRO_FILE_TRUNCATE, O_TRUNC},     {PRO_FILE_APPEND, O_APPEND},
        {PRO_FILE_DIRECT, O_DIRECT},      {PRO_FILE_SYNC, O_SYNC},
        {PRO_FILE_DATASYNC, O_DSYNC},     {PRO_FILE_DIRECTORY, O_DIRECTORY},
        {PRO_FILE_NO_FOLLOW, O_NOFOLLOW},
    };
    uint32_t access = flags & (PRO_FILE_READ | PRO_FILE_WRITE);
    int      system = O_CLOEXEC | O_NOCTTY | O_LARGEFILE;
    if (access == (PRO_FILE_READ | PRO_FILE_WRITE))
        system |= O_RDWR;
    else
        system |= access == PRO_FILE_WRITE ? O_WRONLY : O_RDONLY;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (flags & rows[i].ours) system |= rows[i].system;
    return system;
}

int pri_os_advice(uint32_t advice)
{
    static const int system[] = {POSIX_FADV_NORMAL, POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                                 POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED};
    return advice < sizeof system / sizeof system[0] ? system[advice] : -1;
}

/* By the mode's upper bits, or by what a directory says of an entry, which is the same shifted. */
static pro_file_type type_of(unsigned type)
{
    switch (type) {
    case S_IFREG: return PRO_TYPE_REGULAR;
    case S_IFDIR: return PRO_TYPE_DIRECTORY;
    case S_IFLNK: return PRO_TYPE_SYMLINK;
    case S_IFIFO: return PRO_TYPE_PIPE;
    case S_IFSOCK: return PRO_TYPE_SOCKET;
    case S_IFCHR: return PRO_TYPE_CHARACTER;
    case S_IFBLK: return PRO_TYPE_BLOCK;
    default: return PRO_TYPE_UNKNOWN;
    }
}

static int64_t ns_of(const struct statx_timestamp *t)
{
    return t->tv_sec * INT64_C(1000000000) + t->tv_nsec;
}

void pri_os_stat_in(pro_stat *out, const struct statx *in)
{
    *out = (pro_stat){
        .size = in->stx_size,
        .allocated = in->stx_blocks * 512,
        .inode = in->stx_ino,
        .device = makedev(in->stx_dev_major, in->stx_dev_minor),
        .links = in->stx_nlink,
        .uid = in->stx_uid,
        .gid = in->stx_gid,
        .mode = in->stx_mode & 07777,
        .block_size = in->stx_blksize,
        .type = type_of(in->stx_mode & S_IFMT),
        .modified_ns = ns_of(&in->stx_mtime),
        .accessed_ns = ns_of(&in->stx_atime),
        .changed_ns = ns_of(&in->stx_ctime),
        .created_ns = in->stx_mask & STATX_BTIME ? ns_of(&in->stx_btime) : 0,
    };
}

/* ---- Opening -------------------------------------------------------------------------------- */

/* What a file that is open for direct I/O wants of buffers and offsets.  Systems that do not say get the
 * size of a block, which is enough anywhere. */
static void ask_alignment(int fd, pri_call *call)
{
    struct statx x;
    call->align[0] = call->align[1] = 4096;
#ifdef STATX_DIOALIGN
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN | STATX_BASIC_STATS, &x) != 0) return;
    if ((x.stx_mask & STATX_DIOALIGN) && x.stx_dio_offset_align > 0) {
        call->align[0] = x.stx_dio_mem_align;
        call->align[1] = x.stx_dio_offset_align;
        return;
    }
#else
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) != 0) return;
#endif
    if (x.stx_blksize > call->align[1]) call->align[0] = call->align[1] = x.stx_blksize;
}

static int64_t open_plain(const char *path, int flags, mode_t mode)
{
    int64_t fd;
    do fd = answer(open(path, flags, mode));
    while (fd == -EINTR);
    return fd;
}

/* Where the file system has no files without names, a name that is taken away again at once. */
static int64_t open_temporary(const pri_call *call)
{
    int64_t fd = open_plain(call->path, O_TMPFILE | O_RDWR | O_CLOEXEC, (mode_t)call->mode);
    if (fd != -EOPNOTSUPP && fd != -EISDIR && fd != -EINVAL) return fd;
    char path[PATH_MAX];
    for (uint64_t i = 0; i < 8; i++) {
        unsigned long long number = call->offset + i * UINT64_C(0x9e3779b97f4a7c15);
        int                len = snprintf(path, sizeof path, "%s/.pro-%016llx", call->path, number);
        if (len >= (int)sizeof path) return -ENAMETOOLONG;
        fd = open_plain(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, (mode_t)call->mode);
        if (fd >= 0) unlink(path);
        if (fd != -EEXIST) break;
    }
    return fd;
}

static int64_t open_file(pri_call *call)
{
    if (call->flags & PRI_FILE_TEMPORARY) return open_temporary(call);
    int64_t fd = open_plain(call->path, pri_os_open_flags(call->flags), (mode_t)call->mode);
    if (fd >= 0 && (call->flags & PRO_FILE_DIRECT)) ask_alignment((int)fd, call);
    return fd;
}

/* ---- Directories ---------------------------------------------------------------------------- */

/* What the kernel writes, and what we make of it in the same place (ops/path.c): ours is shorter. */
struct kernel_entry {
    uint64_t      inode;
    int64_t       offset;
    uint16_t      len;
    unsigned char type;
    char          name[];
};

static size_t put_entry(unsigned char *to, const struct kernel_entry *from, unsigned char type)
{
    size_t name_len = strlen(from->name) + 1, len = 3 + name_len;
    memmove(to + 3, from->name, name_len);
    to[0] = (unsigned char)(len & 255);
    to[1] = (unsigned char)(len >> 8);
    to[2] = type;
    return len;
}

static int64_t list(const pri_call *call)
{
    unsigned char *buf = call->out;
    unsigned       max = call->size < INT_MAX ? (unsigned)call->size : INT_MAX;
    for (;;) {
        int64_t n = answer(syscall(SYS_getdents64, (int)call->fd, buf, max));
        if (n <= 0) return n;
        size_t len = 0;
        for (int64_t at = 0, next; at < n; at = next) {
            struct kernel_entry *entry = (struct kernel_entry *)(void *)(buf + at);
            next = at + entry->len; /* before it is written over */
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
            len += put_entry(buf + len, entry, (unsigned char)type_of((unsigned)entry->type << 12));
        }
        if (len > 0) return (int64_t)len;
    }
}

/* ---- The others ----------------------------------------------------------------------------- */

static int64_t transfer(const pri_call *call, const pro_vec *ours, size_t count)
{
    const struct iovec *vecs = (const struct iovec *)(const void *)ours;
    int                 n = count < IOV_MAX ? (int)count : IOV_MAX, fd = (int)call->fd;
    off_t               offset = (off_t)call->offset;
    if (call->offset == PRI_CALL_AT_POSITION)
        return answer(call->what == PRI_CALL_FILE_WRITE ? writev(fd, vecs, n) : readv(fd, vecs, n));
    return answer(call->what == PRI_CALL_FILE_WRITE ? pwritev(fd, vecs, n, offset)
                                                    : preadv(fd, vecs, n, offset));
}

static int64_t stat_file(const pri_call *call)
{
    struct statx x;
    int          flags = AT_EMPTY_PATH, fd = (int)call->fd;
    const char  *path = "";
    if (call->path) {
        fd = AT_FDCWD;
        path = call->path;
        flags = call->flags & PRO_FILE_NO_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
    }
    int64_t result = answer(statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &x));
    if (result == 0) pri_os_stat_in(call->out, &x);
    return result;
}

static int64_t make(pri_call *call, const pro_vec *vecs, size_t count)
{
    int fd = (int)call->fd;
    switch ((pri_call_what)call->what) {
    case PRI_CALL_FILE_OPEN: return open_file(call);
    case PRI_CALL_FILE_READ:
    case PRI_CALL_FILE_WRITE: return transfer(call, vecs, count);
    case PRI_CALL_FILE_SYNC: return answer(fsync(fd));
    case PRI_CALL_FILE_DATASYNC: return answer(fdatasync(fd));
    case PRI_CALL_FILE_ALLOCATE:
        return answer(fallocate(fd, 0, (off_t)call->offset, (off_t)call->size));
    case PRI_CALL_FILE_TRUNCATE: return answer(ftruncate(fd, (off_t)call->size));
    case PRI_CALL_FILE_ADVISE:
        return -posix_fadvise(fd, (off_t)call->offset, (off_t)call->size,
                              pri_os_advice(call->mode));
    case PRI_CALL_FILE_STAT: return stat_file(call);
    case PRI_CALL_FILE_LIST: return list(call);
    case PRI_CALL_RENAME: return answer(rename(call->path, call->to));
    case PRI_CALL_LINK: return answer(link(call->path, call->to));
    case PRI_CALL_SYMLINK: return answer(symlink(call->path, call->to));
    case PRI_CALL_UNLINK: return answer(unlink(call->path));
    case PRI_CALL_MKDIR: return answer(mkdir(call->path, (mode_t)call->mode));
    case PRI_CALL_RMDIR: return answer(rmdir(call->path));
    default: return -ENOSYS;
    }
}

int64_t pri_os_call(pri_call *call, const pro_vec *vecs, size_t count)
{
    int64_t result;
    if (call->what == PRI_CALL_FILE_CLOSE) {
        result = answer(close((int)call->fd));
        return result == -EINTR ? 0 : result;
    }
    do result = make(call, vecs, count);
    while (result == -EINTR);
    return result;
}
