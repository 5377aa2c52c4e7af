/* A step as an entry of the ring: what it keeps in its engine words, and how each kind is asked of the
 * kernel.
 *
 * An entry's user_data is its tag: the step's address and, in the 16 bits below, the low bits of its
 * generation, so that a cancel on its way cannot hit a later life of the same memory.  Within one life
 * the entries of a step follow each other, and a cancel is meant for all that come.  The entries of the
 * engine's own have steps of its own, which are never started.
 *
 * A plain step (core/plain.h) is with the kernel as long as it is plain: its words say nothing.
 *
 * Invariants, of a step's phase and its link:
 *   WAITING    <==>  it has no entry yet; in the list of those
 *   IN_RING    <==>  an entry with its tag is in the ring, its last completion not yet reaped;
 *                    CANCEL_OWED   <==>  in the list of steps whose cancel has no entry
 *                    CANCEL_ASKED  <==>  in one of the two lists of steps whose cancel had one
 *   ENDED      <==>  its record, PRO_ECANCELED, is still to be handed out; in the list of those
 *   REPORTED    ==>  it is the core's again, in no list */
#ifndef PRI_URING_ENTRY_H
#define PRI_URING_ENTRY_H

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/buffers.h"
#include "core/layout.h"
#include "engine/uring/call.h"
#include "engine/uring/kernel.h"
#include "engine/uring/memory.h"
#include "engine/uring/probe.h"
#include "engine/uring/slots.h"

_Static_assert(sizeof(pro_vec) == sizeof(struct iovec) &&
                   offsetof(pro_vec, base) == offsetof(struct iovec, iov_base) &&
                   offsetof(pro_vec, len) == offsetof(struct iovec, iov_len),
               "a vector is handed to the kernel as it is");
_Static_assert(sizeof(struct msghdr) <= PRI_OS_ADDRESS_SIZE, "a header fits into the scratch room");

enum { TAG_BITS = 16 }; /* of an address the upper 16 bits are zero */

/* The engine's own steps. */
enum { OWN_WAKE, OWN_CANCEL, OWN_TIMER, OWN_TIMER_MOVE, OWN_CLOSE, OWN_NOW, OWN_STEPS };

enum { LEN_MAX = INT_MAX & ~4095 }; /* the kernel takes no more at once */

/* step_words.state: a phase, */
enum { WAITING = 0x01, IN_RING = 0x02, ENDED = 0x04, REPORTED = 0x08, PHASES = 0x0f };

/* and beside it: */
enum {
    CANCEL_WISHED = 0x10,
    CANCEL_OWED = 0x20,
    POLLING = 0x40,   /* its entry is a poll: quirk nonblocking_file */
    AGAIN = 0x80,     /* it had an entry before this one */
    ONE_SHOT = 0x100, /* of a multishot accept: quirk multishot_einval; of a zero-copy send: copy */
    OTHER = 0x200,    /* a transfer whose completion is more than a number of bytes */
    PICKED =
        0x400, /* of a leased receive for which the kernel does not pick: lease is its buffer */

    /* Of an accept, with fixed slots (slots.c). */
    IN_SLOT = 0x800,   /* what comes is in a slot */
    PROMISED = 0x1000, /* one comes at most, and there is a slot for it */
    NARROWED = 0x2000, /* a multishot one that is being ended since slots run short */
    NO_SLOT = 0x4000,  /* the kernel found none: once with a descriptor */
    /* Of a send that HOLDS. */
    ZEROCOPY = 0x8000, /* its entry is a zero-copy one, with a notification to come or not; */
    HELD = 0x10000,    /* with it: its bytes were reported */
    /* Of a transfer, with registered memory (memory.c). */
    FIXED = 0x20000,   /* its entry names some */
    UNFIXED = 0x40000, /* it shall not */
    CANCEL_ASKED = 0x80000
};

/* A step's engine words. */
typedef struct __attribute__((may_alias)) step_words {
    uint32_t state;
    uint32_t lease; /* with PICKED: the number of a buffer; with ZEROCOPY: an error, held back */
    pri_link link;
} step_words;

_Static_assert(sizeof(step_words) <= sizeof(((pri_step *)NULL)->engine),
               "a step has room for our words");

static inline step_words *words_of(pri_step *step) { return (step_words *)step->engine; }

static inline void set_phase(step_words *words, uint32_t phase)
{
    words->state = (words->state & ~(uint32_t)PHASES) | phase;
}

static inline pri_step *step_of_link(pri_link *link)
{
    return (pri_step *)((char *)link - offsetof(pri_step, engine) - offsetof(step_words, link));
}

static inline pri_step *step_of_tag(uint64_t tag)
{
    return (pri_step *)(uintptr_t)(tag >> TAG_BITS);
}

static inline uint64_t tag_with(const pri_step *step, uint16_t number)
{
    return (uint64_t)(uintptr_t)step << TAG_BITS | number;
}

static inline uint64_t tag_of(const pri_step *step)
{
    return tag_with(step, (uint16_t)step->generation);
}

/* The first word of an entry: opcode, flags, ioprio; and a descriptor, or a slot with the flag that says
 * so: PRI_SLOT lies where a rotation takes it to that flag. */
#define HEAD(opcode, ioprio) ((uint64_t)(opcode) | (uint64_t)(ioprio) << 16)

/* Of a receive that waits for data before it tries, less so much for IORING_CQE_F_SOCK_NONEMPTY: one that
 * tries at once. */
#define HEAD_WAITING HEAD(IORING_OP_RECV, IORING_RECVSEND_POLL_FIRST)
#define HEAD_PER_NONEMPTY (HEAD(0, IORING_RECVSEND_POLL_FIRST) / IORING_CQE_F_SOCK_NONEMPTY)

static inline void fill_head(struct io_uring_sqe *sqe, intptr_t fd, uint64_t head)
{
    _Static_assert(PRI_SLOT >> 32 == IOSQE_FIXED_FILE << 8, "the flag of a slot");
    head += (uint64_t)fd << 32 | (uint64_t)fd >> 32;
    memcpy(sqe, &head, sizeof head);
}

PRI_APART void fill_vectors(struct io_uring_sqe *sqe, pri_side *side, uint8_t opcode)
{
    struct msghdr *msg = (struct msghdr *)(void *)side->scratch;
    memset(msg, 0, sizeof *msg);
    msg->msg_iov = (struct iovec *)(void *)&side->vecs[side->first];
    msg->msg_iovlen = side->count - side->first;
    sqe->opcode = opcode;
    sqe->addr = (uintptr_t)msg;
    sqe->len = 1;
}

_Static_assert((PRI_STEP_RECV & PRI_STEP_ACCEPT & PRI_STEP_POLL_IN & PRI_STEP_RECV_LEASED &
                PRI_STEP_TRY_IN & PRI_STEP_RECV_FROM_LEASED &
                ~(PRI_STEP_SEND | PRI_STEP_CONNECT | PRI_STEP_POLL_OUT | PRI_STEP_TRY_OUT) & 1) ==
                   1,
               "odd kinds read, even ones write");

static inline void fill_poll(struct io_uring_sqe *sqe, const pri_step *step)
{
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->poll32_events = __io_uring_prep_poll_mask(pri_os_poll_asked(step->kind & 1));
}

/* A zero-copy send over TCP, unless the kernel did not want this one. */
static inline bool may_hold(pri_step *step, uint32_t features)
{
    return features & PRI_URING_SEND_ZC && !(words_of(step)->state & ONE_SHOT) &&
           step->handle->pri_family != PRO_FAMILY_NONE;
}

/* MSG_WAITALL here: a part that went would have to be free again before the rest could follow. */
static inline void fill_held(struct io_uring_sqe *sqe, pri_step *step, uint32_t features)
{
    const pro_vec   whole = {step->data, sqe->len}, *vecs = &whole;
    const pri_side *side = step->data;
    size_t          count = 1;
    words_of(step)->state |= ZEROCOPY;
    if (step->flags & PRI_STEP_VECTORS) {
        vecs = &side->vecs[side->first];
        count = features & PRI_URING_REGISTERED_PIECES ? side->count - side->first : 0;
        fill_vectors(sqe, step->data, IORING_OP_SENDMSG_ZC);
    } else {
        sqe->opcode = IORING_OP_SEND_ZC;
    }
    sqe->msg_flags |= MSG_WAITALL;
    if (features & PRI_URING_ZC_REPORT) sqe->ioprio = PRI_IORING_SEND_ZC_REPORT_USAGE;
    if (count && pri_uring_memory_named(step, sqe, vecs, count))
        sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
}

/* A message is an entry.  What is made by a call of our own waits behind a poll for it. */
PRI_APART void fill_other_transfer(struct io_uring_sqe *sqe, pri_step *step, uint32_t features)
{
    bool      in = step->kind == PRI_STEP_RECV;
    pri_side *side = step->data;
    if (step->flags & PRI_STEP_BY_CALL) {
        words_of(step)->state |= POLLING;
        sqe->addr = 0;
        sqe->len = 0;
        sqe->ioprio = 0;
        fill_poll(sqe, step);
        return;
    }
    if (!in && step->flags & PRI_STEP_HOLDS) {
        if (may_hold(step, features))
            fill_held(sqe, step, features);
        else if (step->flags & PRI_STEP_VECTORS)
            fill_vectors(sqe, side, IORING_OP_SENDMSG);
        return;
    }
    if (!(step->flags & PRI_STEP_MESSAGE)) {
        fill_vectors(sqe, side, in ? IORING_OP_RECVMSG : IORING_OP_SENDMSG);
        return;
    }
    words_of(step)->state |= OTHER;
    pri_os_message_out(&side->message, &side->vecs[side->first], side->count - side->first);
    sqe->opcode = in ? IORING_OP_RECVMSG : IORING_OP_SENDMSG;
    sqe->addr = (uintptr_t)side->message.header;
    sqe->len = 1;
    if (in)
        sqe->msg_flags = MSG_CMSG_CLOEXEC;
    else
        sqe->msg_flags |= MSG_DONTWAIT; /* quirk sendmsg_again */
}

static inline bool is_unix(const pri_step *step)
{
    return ((const pri_side *)step->data)->address.family == PRO_UNIX;
}

/* Of a leased receive: is it for us to pick a buffer, after a poll? */
static inline bool is_late(const pri_step *step)
{
    return !((const pro_buffers *)step->data)->is_native;
}

/* Where the kernel picks the buffer it is told no length: the buffer's is meant. */
static inline void fill_leased(pri_step *step, struct io_uring_sqe *sqe, uint32_t features)
{
    step_words        *words = words_of(step);
    const pro_buffers *buffers = step->data;
    if (is_late(step) && !(words->state & PICKED)) {
        words->state |= POLLING;
        fill_poll(sqe, step);
        return;
    }
    sqe->opcode = IORING_OP_RECV;
    if (is_late(step)) {
        sqe->addr = (uintptr_t)pri_buffers_at(buffers, words->lease);
        sqe->len = buffers->size;
        return;
    }
    bool wait_first = (features & PRI_URING_POLL_FIRST) && !step->handle->pri_engine[0];
    sqe->ioprio = wait_first ? IORING_RECVSEND_POLL_FIRST : 0;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffers->group;
    bool misses_end = step->handle->pri_family == PRO_FAMILY_NONE; /* quirk multishot_end */
    if ((step->flags & PRI_STEP_MULTI) && !(words->state & ONE_SHOT) && !misses_end &&
        (features & PRI_URING_MULTISHOT_RECV))
        sqe->ioprio |= IORING_RECV_MULTISHOT;
}

/* Datagrams: only many of them at a time, since the kernel knows but for these where in the buffer the sender is to
 * stand. */
static inline void fill_leased_from(pri_step *step, struct io_uring_sqe *sqe, uint32_t features)
{
    static const struct msghdr header = {.msg_namelen = sizeof(((pri_os_head *)NULL)->name)};
    fill_leased(step, sqe, features);
    if (words_of(step)->state & POLLING) return;
    sqe->opcode = IORING_OP_RECVMSG;
    sqe->addr = (uintptr_t)&header;
    sqe->len = 1;
    sqe->ioprio |= IORING_RECV_MULTISHOT;
}

/* A descriptor of this engine's is blocking, but for a while. */
static inline void set_blocking(const pro_handle *handle, bool is_blocking)
{
    pri_os_net.adopt(pri_loop_env(handle->pri_loop), handle->pri_fd, !is_blocking);
}

static inline void fill_accept(pri_step *step, struct io_uring_sqe *sqe, uint32_t features)
{
    bool multi = (step->flags & PRI_STEP_MULTI) && !(words_of(step)->state & ONE_SHOT) &&
                 (features & PRI_URING_MULTISHOT_ACCEPT);
    sqe->opcode = IORING_OP_ACCEPT;
    sqe->accept_flags = SOCK_CLOEXEC;
    if (features & PRI_URING_FIXED_SLOTS) multi = pri_uring_slot_for(step, sqe, multi);
    if (multi) sqe->ioprio = IORING_ACCEPT_MULTISHOT;
}

/* The rarer kinds. */
PRI_APART void fill_other(pri_step *step, struct io_uring_sqe *sqe, uint32_t features)
{
    uint32_t  state = words_of(step)->state;
    pri_side *side = step->data;
    if (state & POLLING) {
        fill_poll(sqe, step);
        return;
    }
    switch (step->kind) {
    case PRI_STEP_ACCEPT: fill_accept(step, sqe, features); break;
    case PRI_STEP_CONNECT:
        sqe->opcode = IORING_OP_CONNECT;
        /* To a full backlog of a Unix socket it would hold a worker thread. */
        if (is_unix(step)) set_blocking(step->handle, false);
        sqe->off = side->message.name_len;
        sqe->addr = (uintptr_t)side->message.name;
        break;
    case PRI_STEP_RECV_LEASED: fill_leased(step, sqe, features); break;
    case PRI_STEP_RECV_FROM_LEASED: fill_leased_from(step, sqe, features); break;
    case PRI_STEP_POLL_IN:
    case PRI_STEP_POLL_OUT:
    case PRI_STEP_TRY_IN:
    case PRI_STEP_TRY_OUT: fill_poll(sqe, step); break;
    default: assert(step->kind == PRI_STEP_CONNECT); /* there is no other kind */
    }
}

/* Ask the kernel to end what the step's entry began. */
static inline void fill_cancel(const pri_step *step, struct io_uring_sqe *sqe, uint64_t own_tag,
                               uint32_t features)
{
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = tag_of(step);
    sqe->user_data = own_tag;
    if (features & PRI_URING_CQE_SKIP) sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

#endif
