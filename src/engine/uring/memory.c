/* Registered memory in the ring's table of buffers.
 *
 * The table is made when the first region comes, for as many as there may be: empty, it is eight bytes of the
 * kernel's for each.  A region is one entry of it from its lending to its taking back; the kernel keeps what
 * requests in flight use for as long as they do.
 *
 * An entry of the queue is filled before the kernel sees it, and a handler in between may take the region
 * back, or lend another one under its number.  Then the kernel finds nothing, or another region, and says
 * EFAULT, with no byte moved: such a step goes again as if there were no such region (UNFIXED).  So does
 * one whose file takes only the plain form, which says EINVAL. */
#include "engine/uring/memory.h"

#include <errno.h>
#include <sys/resource.h>

#include "engine/uring/state.h"

/* Why, in the text that pro_loop_explain gives; the first time only, since a program may try again and again. */
static void explain(const uring *u, size_t len, int error)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    pri_why      *why = &u->loop->why;
    if (u->loop->memory.is_explained) return;
    u->loop->memory.is_explained = true;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (error != -ENOMEM || limit.rlim_cur == RLIM_INFINITY)
        pri_why_add(why, "io_uring: %zu bytes are not registered: system error %d", len, -error);
    else
        pri_why_add(why,
                    "io_uring: %zu bytes are not registered: ENOMEM (no memory, or the limit on "
                    "locked memory: ulimit -l is %llu KiB)",
                    len, (unsigned long long)limit.rlim_cur / 1024);
}

/* A call that the environment may forbid.  What it says. */
static int call(uring *u, unsigned opcode, void *what, unsigned size)
{
    int fault = pri_os_fault(u->env, "io_uring_register");
    if (fault) return fault;
    pri_loop_count_system_call(u->loop);
    return io_uring_register((unsigned)u->ring.ring_fd, opcode, what, size);
}

static int make_table(uring *u)
{
    struct io_uring_rsrc_register table = {.nr = PRO_MEMORY_REGIONS_MAX,
                                           .flags = IORING_RSRC_REGISTER_SPARSE};
    if (u->has_memory_table) return 0;
    int error = call(u, IORING_REGISTER_BUFFERS2, &table, sizeof table);
    u->has_memory_table = error >= 0;
    return error < 0 ? error : 0;
}

int pri_uring_memory_lend(pro_loop *loop, unsigned entry, void *base, size_t len)
{
    uring                       *u = uring_of(loop);
    struct iovec                 piece = {base, len};
    struct io_uring_rsrc_update2 update = {.offset = entry, .data = (uintptr_t)&piece, .nr = 1};
    if (!(u->features & PRI_URING_REGISTERED_MEMORY)) return 0;
    int error = make_table(u);
    if (!error) error = call(u, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update);
    if (error < 0) explain(u, len, error);
    return error;
}

/* Not a call that the environment may forbid.  Should it fail the pages are held until the number is used
 * again, or the ring ends: nobody names it. */
void pri_uring_memory_back(pro_loop *loop, unsigned entry)
{
    uring                       *u = uring_of(loop);
    struct iovec                 none = {NULL, 0};
    struct io_uring_rsrc_update2 update = {.offset = entry, .data = (uintptr_t)&none, .nr = 1};
    pri_loop_count_system_call(loop);
    io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &update,
                      sizeof update);
}

bool pri_uring_memory_named(pri_step *step, struct io_uring_sqe *sqe, const pro_vec *vecs,
                            size_t count)
{
    const pri_memory *memory = &step->handle->pri_loop->memory;
    if (words_of(step)->state & UNFIXED) return false;
    const pri_piece *region = pri_memory_of(memory, vecs[0].base, vecs[0].len);
    for (size_t i = 1; region && i < count; i++)
        if (!pri_piece_has(region, vecs[i].base, vecs[i].len)) region = NULL;
    if (!region) return false;
    sqe->buf_index = region->entry;
    words_of(step)->state |= FIXED;
    return true;
}
