/* The rings of lent buffers.  An entry is an address, a length and the buffer's number; the kernel reads
 * entries up to the tail that we publish with release. */
#include "engine/uring/lend.h"

#include <errno.h>
#include <string.h>

enum { PAGE = 4096, GROUPS_TRIED = 64 };

/* How long each is stands there from the beginning. */
static inline void add(const pro_buffers *buffers, unsigned tail, uint32_t id)
{
    struct io_uring_buf_ring *ring = buffers->engine;
    struct io_uring_buf      *entry = &ring->bufs[tail & buffers->mask];
    entry->addr = (uintptr_t)pri_buffers_at(buffers, id);
    entry->bid = (uint16_t)id;
}

void pri_uring_give(pro_buffers *buffers, uint32_t id)
{
    struct io_uring_buf_ring *ring = buffers->engine;
    unsigned                  tail = ring->tail; /* ours alone to write */
    add(buffers, tail, id);
    io_uring_smp_store_release(&ring->tail, (uint16_t)(tail + 1));
}

int pri_uring_lend(struct io_uring *ring, const pro_env *env, pro_buffers *buffers, uint32_t count,
                   uint16_t *group)
{
    unsigned entries = 1;
    while (entries < count) entries *= 2;
    size_t size = entries * sizeof(struct io_uring_buf);
    char  *memory = pri_env_realloc(env, NULL, PAGE + size);
    if (!memory) return -ENOMEM;
    uintptr_t                 page = ((uintptr_t)memory + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    struct io_uring_buf_ring *lent = (struct io_uring_buf_ring *)page;
    memset(lent, 0, size);
    for (unsigned i = 0; i < entries; i++) lent->bufs[i].len = buffers->size;

    int error = -EEXIST;
    for (int tries = 0; error == -EEXIST && tries < GROUPS_TRIED; tries++) {
        struct io_uring_buf_reg reg = {
            .ring_addr = page, .ring_entries = entries, .bgid = (*group)++};
        buffers->group = reg.bgid;
        error = pri_os_fault(env, "io_uring_register");
        if (!error)
            error = io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_PBUF_RING, &reg, 1);
    }
    if (error) {
        pri_env_realloc(env, memory, 0);
        return error;
    }
    buffers->engine = lent;
    buffers->engine_memory = memory;
    buffers->mask = (uint16_t)(entries - 1);
    for (uint32_t id = 0; id < count; id++) add(buffers, id, id);
    io_uring_smp_store_release(&lent->tail, (uint16_t)count);
    return 0;
}

void pri_uring_take_back(struct io_uring *ring, const pro_env *env, pro_buffers *buffers)
{
    struct io_uring_buf_reg reg = {.bgid = buffers->group};
    io_uring_register((unsigned)ring->ring_fd, IORING_UNREGISTER_PBUF_RING, &reg, 1);
    pri_env_realloc(env, buffers->engine_memory, 0);
    buffers->engine = NULL;
}
