/* The rings of lent buffers.  An entry is an address, a length and the buffer's number; the kernel reads
 * entries up to the tail that we publish with release. */
#include "engine/uring/lend.h"

#include <errno.h>
#include <string.h>

enum { PAGE = 4096, GROUPS_TRIED = 64 };

typedef struct lent {
    struct io_uring_buf_ring *ring; /* on a page of its own, behind this */
    unsigned                  mask;
} lent;

static lent *lent_of(const pro_buffers *buffers) { return buffers->engine; }

static inline void add(const pro_buffers *buffers, const lent *l, unsigned tail, uint32_t id)
{
    struct io_uring_buf *entry = &l->ring->bufs[tail & l->mask];
    entry->addr = (uintptr_t)pri_buffers_at(buffers, id);
    entry->len = buffers->size;
    entry->bid = (uint16_t)id;
}

void pri_uring_give(pro_buffers *buffers, uint32_t id)
{
    const lent *l = lent_of(buffers);
    unsigned    tail = l->ring->tail; /* ours alone to write */
    add(buffers, l, tail, id);
    io_uring_smp_store_release(&l->ring->tail, (uint16_t)(tail + 1));
}

int pri_uring_lend(struct io_uring *ring, const pro_env *env, pro_buffers *buffers, uint16_t *group)
{
    unsigned entries = 1;
    while (entries < buffers->count) entries *= 2;
    size_t size = entries * sizeof(struct io_uring_buf);
    char  *memory = pri_env_realloc(env, NULL, sizeof(lent) + PAGE + size);
    if (!memory) return -ENOMEM;
    uintptr_t page = ((uintptr_t)memory + sizeof(lent) + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    lent     *l = (lent *)(void *)memory;
    *l = (lent){.ring = (struct io_uring_buf_ring *)page, .mask = entries - 1};
    memset(l->ring, 0, size);

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
    buffers->engine = l;
    for (uint32_t id = 0; id < buffers->count; id++) add(buffers, l, id, id);
    io_uring_smp_store_release(&l->ring->tail, (uint16_t)buffers->count);
    return 0;
}

void pri_uring_take_back(struct io_uring *ring, const pro_env *env, pro_buffers *buffers)
{
    struct io_uring_buf_reg reg = {.bgid = buffers->group};
    io_uring_register((unsigned)ring->ring_fd, IORING_UNREGISTER_PBUF_RING, &reg, 1);
    pri_env_realloc(env, buffers->engine, 0);
    buffers->engine = NULL;
}
