/* Making a ring with what this kernel has, and saying why it is as it is. */
#ifndef PRI_URING_PROBE_H
#define PRI_URING_PROBE_H

#include <liburing.h>

#include "core/engine.h"

/* What the engine uses beyond the bare necessities, and what happens without it.
 * X(ID, word in a mask, without it) */
#define PRI_URING_FEATURES(X)                                                                      \
    X(SINGLE_ISSUER, "single_issuer", "the kernel locks, since any thread might submit")           \
    X(DEFER_TASKRUN, "defer_taskrun", "completions are finished when the kernel likes")            \
    X(COOP_TASKRUN, "coop_taskrun", "completions interrupt the running thread")                    \
    X(TASKRUN_FLAG, "taskrun_flag", "a poll always makes a system call")                           \
    X(SUBMIT_ALL, "submit_all", "a bad entry leaves those behind it to the next call")             \
    X(CQ_SIZE, "cq_size", "a burst of completions may take the kernel's slow path")                \
    X(RING_FD, "ring_fd", "each call looks up the ring's descriptor")                              \
    X(MULTISHOT_ACCEPT, "multishot_accept", "one-shot accepts that the engine re-arms")            \
    X(POLL_FIRST, "poll_first", "a receive tries before it waits")                                 \
    X(BUFFER_RING, "buffer_ring", "the engine picks buffers, when there are bytes")                \
    X(MULTISHOT_RECV, "multishot_recv", "one-shot receives that the engine re-arms")               \
    X(MULTISHOT_RECVMSG, "multishot_recvmsg", "the engine picks buffers")                          \
    X(SEND_ZC, "send_zc", "zero-copy sends are copied")                                            \
    X(ZC_REPORT, "zc_report", "nobody counts the zero-copy sends that were copied")                \
    X(CQE_SKIP, "cqe_skip", "cancels that worked are reaped and dropped")                          \
    X(TIMEOUT_UPDATE, "timeout_update", "the timer is removed and added when it moves")            \
    X(NOSIGNAL, "rwf_nosignal", "each write to a pipe keeps SIGPIPE off by its own means")         \
    X(NO_IOWAIT, "no_iowait", "an idle loop may show as iowait")                                   \
    X(DONTFORK, "dontfork", "a child of fork has the memory of the ring, too")                     \
    X(FILES, "files", "all calls of files go to threads of the loop")                              \
    X(FIXED_SLOTS, "fixed_slots", "every socket has a descriptor of the process")                  \
    X(REGISTERED_MEMORY, "registered_memory", "registered memory is as any other")                 \
    X(REGISTERED_PIECES, "registered_pieces", "several pieces of it are as any others")

enum {
#define PRI_URING_ENUM(id, word, without) PRI_URING_##id##_BIT,
    PRI_URING_FEATURES(PRI_URING_ENUM)
#undef PRI_URING_ENUM
};

enum {
#define PRI_URING_ENUM(id, word, without) PRI_URING_##id = 1 << PRI_URING_##id##_BIT,
    PRI_URING_FEATURES(PRI_URING_ENUM)
#undef PRI_URING_ENUM
};

enum { PRI_URING_OPS = 256 };

/* What a ring turned out to have. */
typedef struct pri_uring_found {
    uint32_t features;
    uint32_t slots; /* with PRI_URING_FIXED_SLOTS: of the table that it has */
    uint64_t calls; /* os/call.h, bits of 1 << PRI_CALL_* */
} pri_uring_found;

/* Make a ring (disabled, if it has SINGLE_ISSUER or is restricted) and find out what it has.  why may be NULL.  0, or a
 * negated system number, and then there is no ring. */
int pri_uring_open(struct io_uring *ring, pri_uring_found *found, const pri_engine_options *options,
                   pri_why *why);

/* restrict.c: from now on (from the enabling of the ring, which is disabled) it does nothing but the
 * opcodes in allowed and what the engine registers.  0, or a negated system number. */
int pri_uring_restrict(struct io_uring *ring, uint32_t features, const bool allowed[PRI_URING_OPS],
                       const pro_env *env);

/* call.c: the opcodes of these calls are allowed. */
void pri_uring_allow_calls(uint64_t calls, uint32_t features, bool allowed[PRI_URING_OPS]);

/* call.c: the calls that a ring with these opcodes does, but for those that are masked, as bits of
 * 1 << PRI_CALL_*; says which it does not, if why is not NULL. */
uint64_t pri_uring_calls(const struct io_uring_probe *probe, const char *mask, pri_why *why);

/* The engine's probe: open, say why, close. */
int pri_uring_probe(const pri_engine_options *options, pri_why *why);

#endif
