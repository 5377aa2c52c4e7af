/* What an engine must do: one kernel step at a time, reported as records.
 *
 * The core owns order, composition, deadlines, precedence and scopes.  An engine performs steps and
 * never calls a handler.  It knows pri_step, pro_handle and the few functions at the end of this
 * file; it never looks at the pro_op around a step.
 *
 * Downward promises of the core:
 *   - at most one step per handle and direction is started and not yet reported (of one that HOLDS the
 *     first report counts here);
 *   - a step's memory and its buffers stay valid until its final record was handed out by turn;
 *   - no step after detach, and detach only when no step of the handle is outstanding;
 *   - start, cancel, detach and turn are called on the loop's bound thread only (before bind: on the
 *     creator's), never from within turn.
 * Upward promises of the engine:
 *   - every started step is reported exactly once without PRI_RECORD_MORE, by a later turn; a
 *     multishot one any number of times with it before, whatever the kernel does: an engine re-arms
 *     by itself when the kernel merely stopped (an error it reports, as the final record);
 *   - would-block and EINTR never show;
 *   - the kernel is done with a step and its buffers before its final record;
 *   - turn hands out no more than max records, and keeps what is over for the next turn;
 *   - no allocation in start, cancel, detach or turn. */
#ifndef PRI_ENGINE_H
#define PRI_ENGINE_H

#include <proactor/buffers.h>
#include <proactor/loop.h>
#include <proactor/net.h>

#include <stdarg.h>
#include <stdbool.h>

#include "os/call.h"
#include "os/os.h"

typedef enum pri_step_kind {
    PRI_STEP_NONE,
    PRI_STEP_RECV,    /* data, len > 0; value = bytes, 0 is the end of the stream */
    PRI_STEP_SEND,    /* data, len > 0; value = bytes > 0, may be short; of a message all or none */
    PRI_STEP_ACCEPT,  /* value = the new descriptor or slot; multishot with PRI_STEP_MULTI */
    PRI_STEP_CONNECT, /* data = a pri_side with the address; value = 0 */
    /* Of an engine with PRI_CAPS_POLL.  data is not the engine's; value = PRO_POLL_* bits, what holds
     * as the step is taken included: no edge, and the descriptor may be others' to read too. */
    PRI_STEP_POLL_IN = 5,
    PRI_STEP_POLL_OUT = 6,
    PRI_STEP_CALL = 7, /* data = a pri_side with a call, handle may be NULL; value = its result */
    PRI_STEP_JOB = 9,  /* data = an argument, len = a pri_job_fn; value = its result: job.h */
    /* Of an engine with PRI_CAPS_LEASE.  data = a pool of buffers (core/buffers.h), multishot with
     * PRI_STEP_MULTI; as RECV, and with value > 0 the record names the buffer.  PRO_ENOBUFS: there are
     * bytes, and all buffers are leased. */
    PRI_STEP_RECV_LEASED = 11,
    /* Of an engine with PRI_CAPS_SEND_FILE.  len = a pro_copy, of which the next part is sent, at most
     * pri_copy_chunk (os/copy.h); value = bytes, 0: the end of the file.  PRO_ENOTSUP: not this one, of which
     * no more is asked; it can be read, at its offset. */
    PRI_STEP_SEND_FILE = 10,
    /* Of an engine with PRI_CAPS_TRY, and with PRI_STEP_BY_CALL: data points to a pri_attempt, which the engine
     * makes whenever the handle may be ready for it; value = what it said. */
    PRI_STEP_TRY_OUT = 8,
    PRI_STEP_TRY_IN = 13,
    /* The same on a datagram handle, always with PRI_STEP_MULTI; len is the core's.  Each record with PRO_OK names
     * a buffer, in which the datagram stands behind a pri_os_head; value = its bytes, perhaps 0; with
     * PRI_RECORD_TRUNCATED if there were more. */
    PRI_STEP_RECV_FROM_LEASED = 15,
    PRI_STEP_KINDS
} pri_step_kind;

/* pro_handle.pri_fd of what has no descriptor: with this bit the rest is a slot, a number in a table of
 * the loop's engine (PRI_CAPS_SLOTS).  Only that engine and pro_loop.net know what to do with it. */
#define PRI_SLOT (INT64_C(1) << 40)
static inline bool pri_is_slot(intptr_t fd) { return (int64_t)fd >= PRI_SLOT; }

/* Does it take its buffer from a pool? */
static inline bool pri_step_is_leased(const pri_step *step)
{
    return (step->kind | 4) == PRI_STEP_RECV_FROM_LEASED;
}

_Static_assert((PRI_STEP_RECV_LEASED | 4) == PRI_STEP_RECV_FROM_LEASED, "the two that are leased");

/* A call of ours in the place of a transfer, which never waits: a value, or a negated system number; -EAGAIN: not
 * now, when it is ready anew. */
typedef int64_t pri_attempt(pri_step *step);

static inline int64_t pri_step_try(pri_step *step)
{
    return (*(pri_attempt *const *)step->data)(step);
}

/* pro_handle.pri_kind. */
typedef enum pri_handle_kind {
    PRI_SOCKET,
    PRI_LISTENER,
    PRI_DATAGRAM,
    PRI_POLLABLE,
    PRI_PROCESS,
    PRI_WATCHER,
    PRI_FILE
} pri_handle_kind;

/* pro_handle.pri_family of what is no socket, with PRI_PLAIN in any case: no family of ours is as large. */
#define PRI_PLAIN 0x80u
#define PRI_PLAIN_SHARED 0x01u   /* the blocking mode of its descriptor is that of others, too */
#define PRI_PLAIN_NO_READ 0x02u  /* it can only be written to */
#define PRI_PLAIN_NO_WRITE 0x04u /* or only be read from */
#define PRI_PLAIN_FILE 0x08u     /* it never says that it would wait, and may: for the pool */

/* pri_step.flags that an engine reads. */
#define PRI_STEP_VECTORS 0x01u /* data = a pri_side with vectors */
#define PRI_STEP_MULTI 0x02u
/* Of a send: it need not be copied.  Then it may be reported twice: value = bytes that went, with
 * PRI_RECORD_MORE, and 0 when the memory is free.  Not canceled in between.  An engine may copy, and not care. */
#define PRI_STEP_HOLDS PRI_STEP_MULTI
#define PRI_STEP_MESSAGE 0x04u /* with VECTORS: and a name, and descriptors, in pri_side.message */
/* Of a transfer: no plain socket call.  On a datagram handle: data = pro_messages, len of them; value = how
 * many, at least one.  On another: its descriptor is no socket. */
#define PRI_STEP_BY_CALL 0x08u
/* The others belong to the core. */

/* The pooled side object of a step that needs more than a buffer: arrays are copied into it. */
typedef struct pri_side {
    struct pri_side       *next;
    const struct pri_part *part;     /* the core's: of PRI_STEP_PART */
    uint32_t               capacity; /* vectors that have room */
    uint32_t               first;    /* vectors already done */
    uint32_t               count;    /* vectors in all */
    union {
        struct {
            pro_address    address; /* where to; of a received message: where from */
            pro_address   *from;    /* the caller's, who wants to know; or NULL */
            pri_os_message message; /* of PRI_STEP_MESSAGE */
            uint64_t scratch[PRI_OS_ADDRESS_SIZE / 8]; /* the engine's, while the step is started */
        };
        pri_call call;
    };
    pro_vec vecs[];
} pri_side;

/* Of pri_step.op_state, which is the core's otherwise: a plain step.  It came by pri_engine.start_plain and
 * nothing happened to it since.  The engine takes the bit away (pri_step_unplain of core/plain.h) as soon
 * as something does: it is canceled, it has to wait for room, its result is not all that was asked for. */
#define PRI_STEP_PLAIN 0x10u
#define PRI_STEP_FOLLOWED 0x20u /* with it: others wait behind it, so it ends on the general way */

#define PRI_RECORD_MORE 1u
#define PRI_RECORD_TRUNCATED 2u

/* What happened to a step. */
typedef struct pri_record {
    pri_step *step;
    int64_t   value;
    int32_t   error;  /* PRO_OK or one of ours; PRO_ECANCELED for a step that cancel stopped */
    int32_t   system; /* the system's number behind error, positive; or 0 */
    uint32_t  flags;
    uint32_t  lease; /* of a leased receive that got something: the number of the buffer */
} pri_record;

_Static_assert(sizeof(pri_record) == 32, "a record is half a cache line");

/* turn's until_ns, beside a time on the loop's clock. */
#define PRI_TURN_POLL UINT64_C(0)
#define PRI_TURN_FOREVER UINT64_MAX

/* Lines of text that say why: what was probed, refused, masked. */
typedef struct pri_why {
    char   line[256];  /* one line: the engine and what it uses */
    char   text[3000]; /* all of it, lines ending in line feed */
    size_t len;
} pri_why;

typedef struct pri_engine_options {
    uint32_t       queue_len; /* > 0 */
    uint32_t       batch_max; /* > 0: the largest max that turn will see */
    const char    *mask;      /* words separated by commas, or NULL: see pri_masked */
    bool           precise;   /* precise_timers of pro_loop_options */
    bool           restricted;
    size_t         zerocopy_min;
    uint32_t       pool_threads_max, pool_queue_max; /* > 0 */
    uint32_t       fixed_slots;                      /* 0: none */
    uint32_t       undelivered_max;                  /* > 0; the core's */
    const pro_env *env;                              /* complete: no NULL function but fault */
} pri_engine_options;

/* pri_engine.caps: what not every engine does. */
#define PRI_CAPS_POLL 0x01u      /* readiness of the system's descriptors */
#define PRI_CAPS_LEASE 0x02u     /* receives into a buffer that is picked as data arrives */
#define PRI_CAPS_SLOTS 0x04u     /* sockets without a descriptor, if fixed_slots asks for them */
#define PRI_CAPS_TRY 0x08u       /* calls of the core's in the place of transfers */
#define PRI_CAPS_SEND_FILE 0x10u /* parts of files */

enum { PRI_MEMORY_PIECE_MAX = 1 << 30 };

typedef void pri_plain_start(pro_loop *loop, pri_step *step, pro_handle *handle, void *data,
                             size_t len);

typedef struct pri_engine {
    pro_engine     id;
    uint32_t       caps;
    const char    *name;
    const pri_net *net;
    int            nonblocking; /* descriptors of this engine are non-blocking */
    const char    *features;    /* words that a mask may hide, separated by commas */

    /* Do a call, waiting as long as it takes; any thread.  A value, or a negated system number.  NULL:
     * there are no files. */
    int64_t (*call)(pri_call *call, const pro_vec *vecs, size_t count);

    /* What shards run on; NULL: the threads of the system. */
    const struct pri_threads *threads;

    /* Find out whether the engine would work here, and why not; leaves nothing behind.  Any thread.
     * 0, or a negated system number.  Writes why. */
    int (*probe)(const pri_engine_options *options, pri_why *why);

    /* Make the engine's state, reached by pri_loop_engine_state.  Any thread.  0, or a negated number,
     * and then nothing is left behind.  May add to why. */
    int (*init)(pro_loop *loop, const pri_engine_options *options, pri_why *why);

    /* Undo init.  Only with no step outstanding. */
    void (*fini)(pro_loop *loop);

    /* The calling thread is the one that will wait.  Once.  0, or a negated number. */
    int (*bind)(pro_loop *loop);

    /* Begin a step.  Never fails and never completes inline: a failure is a record.  The engine
     * attaches a handle that it does not know yet. */
    void (*start)(pro_loop *loop, pri_step *step);

    /* Optional, and then all four.  Receives and sends over one buffer, with no deadline, on a socket with
     * nothing odd about it: what most steps are.  start_plain is start for them, by direction, with the
     * step's fields as arguments; their records are not handed out by turn: what stands there as turn
     * returns run_plain gives to the core one by one (core/plain.h), at most max of a kind, so that none
     * waits for ever for another, and whatever else it finds among them, too.  It is the one function of an engine in which handlers run. */
    pri_plain_start *start_plain[2];
    void (*run_plain)(pro_loop *loop, int max);
    void (*unplain)(pro_loop *loop,
                    pri_step *step); /* a plain step shall be as if start had begun it */

    /* A wish: end this step soon.  It still reports exactly once: its result, or PRO_ECANCELED (with
     * value = bytes that moved).  The step may just have been reported: then nothing happens. */
    void (*cancel)(pro_loop *loop, pri_step *step);

    /* Forget a handle, of which no step is outstanding; the caller closes its descriptor next. */
    void (*detach)(pro_loop *loop, pro_handle *handle);

    /* Of an engine with PRI_CAPS_SLOTS: begin to give the slot of a handle back, abortive: the peer gets a
     * reset.  After detach.  false: it is done; true: pri_handle_ended follows, in a later turn. */
    bool (*close)(pro_loop *loop, pro_handle *handle, bool abortive);

    /* Optional: what it knows of a descriptor goes with it to another handle, which has none; detach
     * of the first one follows. */
    void (*move)(pro_handle *from, pro_handle *to);

    /* Flush what was started; wait until something is there, wake was called, or until_ns on the
     * loop's clock; hand out records.  Returns how many (0: time-out or wake), or a negated system
     * number with nothing lost.  A wake before turn makes it return without waiting. */
    int (*turn)(pro_loop *loop, uint64_t until_ns, pri_record *records, int max);

    /* Make a turn that waits, or the next one that would, return.  Any thread, signal handlers. */
    void (*wake)(pro_loop *loop);

    /* Optional: hand the first count of a pool's buffers to the kernel, which then picks one as data arrives;
     * take them back, with no step that would use them and all of them free; hand it one more, but never more
     * than count at a time, those that records name included.  The first answers 0, or a negated number:
     * then, as without it, the engine takes from the pool's free list. */
    int (*buffers_lend)(pro_loop *loop, pro_buffers *buffers, uint32_t count);
    void (*buffers_back)(pro_loop *loop, pro_buffers *buffers);
    void (*buffers_give)(pro_buffers *buffers, uint32_t id);

    /* Optional, both: have memory of the program's at hand under a number below PRO_MEMORY_REGIONS_MAX that
     * is free, for transfers that lie in it (pri_memory_of in core/memory.h); no more.  len is at most
     * PRI_MEMORY_PIECE_MAX.  The first answers 1; 0: it makes nothing of it; or a negated number. */
    int (*memory_lend)(pro_loop *loop, unsigned entry, void *base, size_t len);
    void (*memory_back)(pro_loop *loop, unsigned entry);

    /* Optional: the time and the random numbers of a loop to which none were given.  The time is also
     * asked before init. */
    uint64_t (*clock_ns)(const pro_loop *loop);
    void (*random)(pro_loop *loop, void *buf, size_t len);
} pri_engine;

/* ---- What the core offers to engines (src/core/loop.c, src/core/text.c) ---------------------- */

void          *pri_loop_engine_state(const pro_loop *loop);
void           pri_loop_set_engine_state(pro_loop *loop, void *state);
const pro_env *pri_loop_env(const pro_loop *loop);

/* One more system call was made: for pro_loop_stats.system_calls. */
void pri_loop_count_system_call(pro_loop *loop);

/* Of an engine with slots: the network that knows them, in place of pri_engine.net; how many there are;
 * so many more (less) are in use, or are being given back, which keeps the loop running. */
void pri_loop_set_slots(pro_loop *loop, const pri_net *net, uint32_t max);
void pri_loop_count_slots(pro_loop *loop, int used, int closing);

/* handle.c: the slot that was to be given back is, the handle is over. */
void pri_handle_ended(pro_handle *handle, int error);

/* One more zero-copy send is over, for which the system made a copy or not: for pro_loop_stats. */
void pri_loop_count_zerocopy(pro_loop *loop, bool was_copied);

/* One more transfer from or to registered memory, by its name: for pro_loop_stats. */
void pri_loop_count_registered(pro_loop *loop);

/* Calls that the engine does by itself, as bits (1 << PRI_CALL_*); all others go to threads. */
#define PRI_NATIVE_JOB (UINT64_C(1) << PRI_CALL_JOB)
#define PRI_NATIVE_LONG_OPEN                                                                       \
    (UINT64_C(1) << PRI_CALL_KINDS) /* for direct I/O, or a temporary file */
void pri_loop_set_native(pro_loop *loop, uint64_t native);

/* A time on the loop's clock (neither POLL nor FOREVER) as one on the system's monotonic clock. */
uint64_t pri_loop_system_time(const pro_loop *loop, uint64_t loop_ns);

/* 1 if the word stands in the mask, else 0; NULL masks nothing. */
int pri_masked(const char *mask, const char *word);

/* Add a line; set the one-line form. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void pri_why_add(pri_why *why, const char *format, ...);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void pri_why_line(pri_why *why, const char *format, ...);

/* The threads for shards whose loops will be made with these options (compose.c). */
const struct pri_threads *pri_threads_of(const pro_loop_options *options);

/* Memory, from the loop's environment; counted.  realloc's rules. */
void *pri_env_realloc(const pro_env *env, void *ptr, size_t size);

#endif
