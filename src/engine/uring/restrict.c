/* A ring that does what this library uses and nothing else.
 *
 * The list is taken by a ring that is still disabled, and holds from its enabling on, for good: an entry
 * with another opcode or another flag completes with EACCES, another io_uring_register is refused with it.
 * So who adds an opcode, a flag or a registration to the engine adds it here; the conformance list runs on
 * restricted rings, too. */
#include "engine/uring/probe.h"

enum { FLAGS = 1 };

static const struct {
    uint8_t  opcode;
    uint32_t feature; /* used with that one only; 0: always */
} registers[] = {
    {IORING_REGISTER_ENABLE_RINGS, 0},
    {IORING_REGISTER_RING_FDS, PRI_URING_RING_FD},
    {IORING_UNREGISTER_RING_FDS, PRI_URING_RING_FD},
    {IORING_REGISTER_PBUF_RING, PRI_URING_BUFFER_RING},
    {IORING_UNREGISTER_PBUF_RING, PRI_URING_BUFFER_RING},
    {IORING_REGISTER_FILES_UPDATE, PRI_URING_FIXED_SLOTS},
    {IORING_REGISTER_BUFFERS2, PRI_URING_REGISTERED_MEMORY},
    {IORING_REGISTER_BUFFERS_UPDATE, PRI_URING_REGISTERED_MEMORY},
};
enum { REGISTERS = sizeof registers / sizeof registers[0] };

int pri_uring_restrict(struct io_uring *ring, uint32_t features, const bool allowed[PRI_URING_OPS],
                       const pro_env *env)
{
    struct io_uring_restriction list[PRI_URING_OPS + REGISTERS + FLAGS];
    unsigned                    count = 0;
    for (unsigned op = 0; op < PRI_URING_OPS; op++) {
        if (!allowed[op]) continue;
        list[count++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
                                                      .sqe_op = (uint8_t)op};
    }
    for (unsigned i = 0; i < REGISTERS; i++) {
        if (registers[i].feature && !(features & registers[i].feature)) continue;
        list[count++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP,
                                                      .register_op = registers[i].opcode};
    }
    uint8_t flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
    if (features & PRI_URING_FIXED_SLOTS) flags |= IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK;
    list[count++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
                                                  .sqe_flags = flags};
    int error = pri_os_fault(env, "io_uring_register");
    if (!error) error = io_uring_register_restrictions(ring, list, count);
    return error < 0 ? error : 0;
}
