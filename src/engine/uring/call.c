/* Calls of files as entries of the ring; see call.h.
 *
 * What a kernel does not list among its opcodes, and what no opcode does (reading a directory), is left to
 * the core, which has threads for it.  So is what the kernel itself gives to threads of its own: it does
 * that better than we can, since only what must wait goes there. */
#include "engine/uring/call.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "core/loop.h"
#include "engine/uring/kernel.h"
#include "engine/uring/memory.h"
#include "engine/uring/probe.h"
#include "os/posix/file.h"

static const struct {
    uint8_t     what, opcode;
    const char *name;
} rows[] = {
    {PRI_CALL_FILE_OPEN, IORING_OP_OPENAT, "file_open"},
    {PRI_CALL_FILE_CLOSE, IORING_OP_CLOSE, "file_close"},
    {PRI_CALL_FILE_READ, IORING_OP_READV, "file_read"},
    {PRI_CALL_FILE_WRITE, IORING_OP_WRITEV, "file_write"},
    {PRI_CALL_FILE_SYNC, IORING_OP_FSYNC, "file_sync"},
    {PRI_CALL_FILE_DATASYNC, IORING_OP_FSYNC, "file_datasync"},
    {PRI_CALL_FILE_ALLOCATE, IORING_OP_FALLOCATE, "file_allocate"},
    {PRI_CALL_FILE_TRUNCATE, PRI_IORING_OP_FTRUNCATE, "file_truncate"},
    {PRI_CALL_FILE_ADVISE, IORING_OP_FADVISE, "file_advise"},
    {PRI_CALL_FILE_STAT, IORING_OP_STATX, "file_stat"},
    {PRI_CALL_RENAME, IORING_OP_RENAMEAT, "rename"},
    {PRI_CALL_LINK, IORING_OP_LINKAT, "link"},
    {PRI_CALL_SYMLINK, IORING_OP_SYMLINKAT, "symlink"},
    {PRI_CALL_UNLINK, IORING_OP_UNLINKAT, "unlink"},
    {PRI_CALL_MKDIR, IORING_OP_MKDIRAT, "mkdir"},
    {PRI_CALL_RMDIR, IORING_OP_UNLINKAT, "rmdir"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

uint64_t pri_uring_calls(const struct io_uring_probe *probe, const char *mask, pri_why *why)
{
    uint64_t calls = 0;
    for (int i = 0; i < ROWS; i++) {
        uint8_t opcode = rows[i].opcode;
        bool    is_there =
            opcode < probe->ops_len && (probe->ops[opcode].flags & IO_URING_OP_SUPPORTED);
        bool is_masked = pri_masked(mask, rows[i].name);
        if (is_there && !is_masked)
            calls |= UINT64_C(1) << rows[i].what;
        else if (why)
            pri_why_add(why, "io_uring: %s goes to threads (%s)", rows[i].name,
                        is_masked ? "masked" : "missing");
    }
    return calls;
}

void pri_uring_allow_calls(uint64_t calls, uint32_t features, bool allowed[PRI_URING_OPS])
{
    bool in_memory = features & PRI_URING_REGISTERED_MEMORY;
    bool in_pieces = features & PRI_URING_REGISTERED_PIECES;
    for (int i = 0; i < ROWS; i++)
        if (calls & UINT64_C(1) << rows[i].what) allowed[rows[i].opcode] = true;
    if (allowed[IORING_OP_READV]) { /* see fill_transfer */
        allowed[IORING_OP_READ] = true;
        allowed[IORING_OP_READ_FIXED] = in_memory;
        allowed[PRI_IORING_OP_READV_FIXED] = in_pieces;
    }
    if (allowed[IORING_OP_WRITEV]) {
        allowed[IORING_OP_WRITE] = true;
        allowed[IORING_OP_WRITE_FIXED] = in_memory;
        allowed[PRI_IORING_OP_WRITEV_FIXED] = in_pieces;
    }
}

/* What the kernel is to write of a file, in the room for vectors. */
_Static_assert(sizeof(struct statx) <= PRI_SIDE_SMALL * sizeof(pro_vec), "it has room");

static struct statx *statx_of(pri_side *side) { return (struct statx *)(void *)side->vecs; }

/* In one piece or in several, in registered memory or not. */
static const uint8_t transfer_ops[2][2][2] = {
    {{IORING_OP_READ, IORING_OP_WRITE}, {IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED}},
    {{IORING_OP_READV, IORING_OP_WRITEV}, {PRI_IORING_OP_READV_FIXED, PRI_IORING_OP_WRITEV_FIXED}},
};

static void fill_transfer(struct io_uring_sqe *sqe, pri_step *step, bool is_write,
                          uint32_t features)
{
    const size_t    len_max = INT_MAX & ~4095;
    const pri_side *side = step->data;
    uint32_t        left = side->count - side->first;
    const pro_vec  *vec = &side->vecs[side->first];
    bool            in_pieces = left > 1, is_named = false;
    if (left > IOV_MAX) left = IOV_MAX;
    sqe->off = side->call.offset;
    if (in_pieces) {
        sqe->addr = (uintptr_t)vec;
        sqe->len = left;
    } else {
        sqe->addr = (uintptr_t)vec->base;
        sqe->len = (uint32_t)(vec->len < len_max ? vec->len : len_max);
    }
    if (step->handle && (!in_pieces || features & PRI_URING_REGISTERED_PIECES))
        is_named = pri_uring_memory_named(step, sqe, vec, left);
    sqe->opcode = transfer_ops[in_pieces][is_named][is_write];
}

static void fill_stat(struct io_uring_sqe *sqe, pri_side *side)
{
    const pri_call *call = &side->call;
    sqe->opcode = IORING_OP_STATX;
    sqe->addr = (uintptr_t)(call->path ? call->path : "");
    sqe->addr2 = (uintptr_t)statx_of(side);
    sqe->len = STATX_BASIC_STATS | STATX_BTIME;
    sqe->statx_flags = AT_EMPTY_PATH;
    if (!call->path) return;
    sqe->fd = AT_FDCWD;
    sqe->statx_flags = call->flags & PRO_FILE_NO_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
}

/* One or two names, relative to the working directory. */
static void fill_names(struct io_uring_sqe *sqe, const pri_call *call)
{
    sqe->fd = AT_FDCWD;
    sqe->addr = (uintptr_t)call->path;
    if (!call->to) return;
    sqe->addr2 = (uintptr_t)call->to;
    if (call->what != PRI_CALL_SYMLINK) sqe->len = (uint32_t)AT_FDCWD;
}

static void fill_range(struct io_uring_sqe *sqe, const pri_call *call)
{
    if (call->what == PRI_CALL_FILE_ALLOCATE) {
        sqe->off = call->offset;
        sqe->addr = call->size; /* len is the mode: 0 */
    } else if (call->what == PRI_CALL_FILE_TRUNCATE) {
        sqe->off = call->size;
    } else {
        sqe->off = call->offset;
        sqe->len = call->size <= UINT32_MAX ? (uint32_t)call->size : 0; /* 0: to the end */
        sqe->fadvise_advice = (uint32_t)pri_os_advice(call->mode);
    }
}

void pri_uring_fill_call(pri_step *step, struct io_uring_sqe *sqe, uint32_t features)
{
    pri_side       *side = step->data;
    const pri_call *call = &side->call;
    sqe->fd = (int)call->fd;
    for (int i = 0; i < ROWS; i++)
        if (rows[i].what == call->what) sqe->opcode = rows[i].opcode;
    switch ((pri_call_what)call->what) {
    case PRI_CALL_FILE_READ:
    case PRI_CALL_FILE_WRITE:
        fill_transfer(sqe, step, call->what == PRI_CALL_FILE_WRITE, features);
        break;
    case PRI_CALL_FILE_OPEN:
        fill_names(sqe, call);
        sqe->len = call->mode;
        sqe->open_flags = (uint32_t)pri_os_open_flags(call->flags);
        break;
    case PRI_CALL_FILE_DATASYNC: sqe->fsync_flags = IORING_FSYNC_DATASYNC; break;
    case PRI_CALL_FILE_ALLOCATE:
    case PRI_CALL_FILE_TRUNCATE:
    case PRI_CALL_FILE_ADVISE: fill_range(sqe, call); break;
    case PRI_CALL_FILE_STAT: fill_stat(sqe, side); break;
    case PRI_CALL_MKDIR:
        fill_names(sqe, call);
        sqe->len = call->mode;
        break;
    case PRI_CALL_RMDIR:
        fill_names(sqe, call);
        sqe->unlink_flags = AT_REMOVEDIR;
        break;
    case PRI_CALL_RENAME:
    case PRI_CALL_LINK:
    case PRI_CALL_SYMLINK:
    case PRI_CALL_UNLINK: fill_names(sqe, call); break;
    default: break; /* a sync, a close: the descriptor says it all */
    }
}

void pri_uring_call_done(pri_step *step, int result)
{
    pri_side *side = step->data;
    (void)result;
    if (side->call.what == PRI_CALL_FILE_STAT) pri_os_stat_in(side->call.out, statx_of(side));
}
