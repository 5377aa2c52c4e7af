/* A loop: the queue of completions and the thread that runs their handlers.
 *
 *     pro_loop *loop;
 *     int error = pro_loop_new(&loop, NULL);
 *     ... initiate something ...
 *     pro_loop_run(loop);         until nothing is in flight
 *     pro_loop_free(loop);
 *
 * A loop belongs to one thread: the first run binds it; before that only its creator initiates.
 * Functions that another thread may call say so; all others are the loop's thread's alone.
 *
 * The environment: PROACTOR_ENGINE=epoll (or uring) moves a program to another engine with no
 * rebuild, where its options say AUTO; PROACTOR_MASK=feature,... hides features from the probe;
 * PROACTOR_FAULTS=SEED makes bad days, for tests (test.h); PROACTOR_RESTRICTED=1 restricts (below).
 *
 * A child of fork makes loops of its own.  Its parent's are not there: to run or to free one aborts. */
#ifndef PROACTOR_LOOP_H
#define PROACTOR_LOOP_H

#include <proactor/base.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

typedef enum pro_engine {
    PRO_ENGINE_AUTO,  /* the best that this system offers */
    PRO_ENGINE_URING, /* Linux io_uring */
    PRO_ENGINE_EPOLL, /* Linux epoll, the same contract emulated */
    PRO_ENGINE_IOCP,  /* Windows I/O completion ports */
    PRO_ENGINE_SIM    /* the deterministic simulator */
} pro_engine;

/* All that is not deterministic, or that tests want to decide, is injected.  A NULL function means
 * the system's own.  The functions and ctx are used until pro_loop_free returns. */
typedef struct pro_env {
    void *ctx; /* handed to each function below */

    /* Nanoseconds, monotonic, never 0.  Called once or twice a turn, on the loop's thread. */
    uint64_t (*clock_ns)(void *ctx);

    /* Fill len bytes with random ones. */
    void (*random)(void *ctx, void *buf, size_t len);

    /* As realloc: ptr NULL allocates, size 0 frees and returns NULL; NULL for no memory. */
    void *(*realloc)(void *ctx, void *ptr, size_t size);

    /* Asked before each system call made for the loop, by its name ("recv", "socket", "io_uring_enter");
     * a positive system error number makes the call fail with it instead of being made. */
    int (*fault)(void *ctx, const char *call);
} pro_env;

typedef struct pro_loop_options {
    uint32_t    version; /* PRO_VERSION; another major or minor version is refused */
    pro_engine  engine;
    uint32_t    queue_len; /* submission queue of the engine; 0: 256.  More waits its turn */
    uint32_t    batch_max; /* completions taken in one turn; 0: 32, see docs/benchmarks */
    const char *mask;      /* features hidden from the probe, "defer_taskrun,ring_fd"; or NULL */
    int         precise_timers; /* 1: timers and deadlines finer than the tick of the system */
    int         restricted; /* 1: the kernel does no more for the loop than this library asks for */
    pro_env     env;
    uint32_t    pool_threads_max; /* threads for blocking work (blocking.h); 0: 4; 1024 at most */
    uint32_t    pool_queue_max;   /* functions that may wait for one of them; 0: 256 */
    const char
        *faults; /* bad days by seed, "7" or "7:all": test.h; "" for none; NULL: PROACTOR_FAULTS */
    uint32_t fixed_slots; /* at most so many sockets without a descriptor; 0: none.  See below */
    size_t
        zerocopy_min; /* bytes from which on pro_send_zerocopy (memory.h) makes no copy; 0: 64 KiB */
    uint32_t undelivered_max; /* of a pool of buffers: received and not yet with a handler, at most
                                 (buffers.h); 0: 1024 */
} pro_loop_options;

/* precise_timers.  No timer ever runs early; how late it runs is a matter of the system.  On Linux it
 * is some 50 us, always, and the option changes nothing.  On Windows a wait ends with a tick of the
 * system, up to 16 ms late; with the option some 0.5 ms.  That costs one or two system calls and a
 * change of threads for each wait that a timer ends, and the processor more wake-ups, which matters on
 * batteries: so ask for it where a millisecond counts.  Where the system has no such timers (before
 * Windows 10, version 1803) the loop is made without; pro_loop_explain says what is in force. */

/* restricted, or PROACTOR_RESTRICTED=1 in the environment.  A ring of io_uring does whatever is asked of
 * it, also for who got into the process and asks on its own account.  A restricted one does what this
 * library uses, and refuses all else with EACCES, for as long as it lives.  Where the kernel cannot do
 * that io_uring is refused: AUTO goes on to epoll.  Other engines have no ring, and are as they are.
 * Costs some instructions of the kernel's for each entry. */

/* fixed_slots.  On io_uring (Linux 6.14 or newer) a TCP or Unix socket that is accepted, and a TCP socket
 * that is opened or connected once the loop has run, lives in a table of the ring in place of the
 * process's: each operation is a little cheaper, and it does not count against the limit of descriptors
 * (ulimit -n), which only bounds the table: what is asked beyond it is cut to it.  When the table is full,
 * further sockets have descriptors.  Nothing else changes: whoever asks for a descriptor
 * (pro_socket_descriptor, pro_accept_take_descriptor, pro_copy_file) gets one, and the socket leaves its slot
 * for it; pro_loop_stats counts those in use.  Other engines have no slots, and there the option means
 * nothing; pro_loop_explain says what is in force. */

/* What is in force for a pro_loop_options that is { PRO_VERSION }: all defaults.  Any thread. */
PRO_API void pro_loop_options_init(pro_loop_options *options);
PRO_API void pro_loop_options_init_for(uint32_t version, pro_loop_options *options);

/* Make a loop; *loop is it, or NULL.  options may be NULL for the defaults, and is not kept.
 * AUTO falls back where an engine is refused, and pro_loop_explain says why; a named engine does not.
 * Any thread; that thread is the creator.
 * Returns PRO_OK; PRO_EINVAL (options, a mask with an unknown word, a mismatched version: one line on
 * standard error says which two); PRO_ENOTSUP (the engine is not in this build); PRO_ENOMEM,
 * PRO_EMFILE, PRO_EPERM, ... from the system. */
PRO_API int pro_loop_new(pro_loop **loop, const pro_loop_options *options);
PRO_API int pro_loop_new_for(uint32_t version, pro_loop **loop, const pro_loop_options *options);

/* The forms with a version say with which headers the program was compiled; in C the plain ones are macros
 * that pass PRO_VERSION.  So a library of another minor version is noticed also where there are no
 * options: init_for writes the version and nothing else then, since the structure may have another
 * size, and new_for refuses.  Other languages call the forms with a version, or the plain functions,
 * which believe that the headers are the library's. */

/* Free a loop.  With anything alive in it (operations in flight, open handles, scopes, holds) nothing
 * happens and PRO_EBUSY comes back: pro_loop_dump lists it.  Posts that were not run complete with
 * PRO_ECANCELED in here; their handlers must not post to it again.  Thread: the loop's, outside its handlers; no other thread may use the loop
 * any more, posting included.  NULL is PRO_OK. */
PRO_API int pro_loop_free(pro_loop *loop);

/* Run handlers until nothing is left that could complete (no operation in flight, no hold, nothing
 * posted, nothing to tell a scope, no drain with a deadline) or pro_loop_stop is called.  Open handles alone do not keep it
 * running.  Running a loop inside its own handler aborts.  Returns how many handlers ran, or an
 * error of the engine (the loop may be run again). */
PRO_API int64_t pro_loop_run(pro_loop *loop);

/* One turn: wait until something completes, then run what is there.  Returns at once if nothing is
 * left.  Returns how many handlers ran (0: a wake-up without one), or an error. */
PRO_API int64_t pro_loop_run_once(pro_loop *loop);

/* One turn that never waits.  Returns how many handlers ran, or an error. */
PRO_API int64_t pro_loop_poll(pro_loop *loop);

/* Make the run that is going on return after its current turn, or the next run return at once; the
 * wish is consumed by that.  Any thread, and signal handlers. */
PRO_API void pro_loop_stop(pro_loop *loop);

/* Run done on the loop, on a later turn, with PRO_OK (PRO_ECANCELED if the loop is freed first).
 * Posts of one thread run in order.  A post belongs to no scope and cannot be canceled; its deadline
 * is ignored.  Ours until the handler: op.  Any thread, and signal handlers; in any state of the loop
 * before free.  It needs no memory and cannot fail. */
PRO_API void pro_post(pro_op *op, pro_loop *loop, pro_handler *done);
PRO_API void pro_post_at(const char *site, pro_op *op, pro_loop *loop, pro_handler *done);

/* A work guard: keeps run from returning for want of work; release undoes one hold, more aborts. */
PRO_API void pro_loop_hold(pro_loop *loop);
PRO_API void pro_loop_release(pro_loop *loop);

/* The loop's clock, in ns: monotonic, never 0.  In a handler: as of this turn, read once.  Outside:
 * read afresh. */
PRO_API uint64_t pro_loop_now(const pro_loop *loop);

/* The root scope: drain it for a graceful shutdown, close it for a quick one, cancel it to cancel
 * every operation of the loop.  It has no on_drained of its own; once it has ended the loop can only
 * be freed. */
PRO_API pro_scope *pro_loop_scope(pro_loop *loop);

/* "uring", "epoll", ...: for people, not for decisions. */
PRO_API const char *pro_loop_engine(const pro_loop *loop);

/* Why this engine: what was chosen, probed, masked, refused, and why, as lines of text.  Writes at
 * most size bytes, ending in NUL; returns the length that the whole text has, as snprintf does. */
PRO_API size_t pro_loop_explain(const pro_loop *loop, char *buf, size_t size);

/* The same in one line: "io_uring: native, with DEFER_TASKRUN ...". */
PRO_API size_t pro_loop_explain_line(const pro_loop *loop, char *buf, size_t size);

/* Call fn with one line of text (without line feed) for each thing alive in the loop: operations in
 * flight with kind, site, age and state, open handles, scopes. Returns how many there were.
 * fn must not initiate, cancel or free. */
PRO_API size_t pro_loop_dump(pro_loop *loop, void (*fn)(void *arg, const char *line), void *arg);

/* In a handler: the system's own number behind the error, for diagnosis; 0 if there is none. */
PRO_API int pro_loop_system_error(const pro_loop *loop);

typedef struct pro_loop_stats {
    uint64_t turns, handlers, initiated, completed, canceled, timed_out;
    uint64_t system_calls; /* made by the engine, waiting and registering included */
    uint64_t wakes;        /* times another thread had to wake the engine */
    uint64_t allocations;  /* calls for memory since the loop was made */
    uint32_t live_ops, live_handles;
    uint32_t slots, slots_used; /* of fixed_slots: in force; in use, or still being given back */
    uint64_t zerocopy_sends;   /* that the kernel was to make no copy of: sends, or parts of them */
    uint64_t zerocopy_copied;  /* of these: where it made one all the same */
    uint64_t registered_bytes; /* of registered memory (memory.h) that the system has at hand now */
    uint64_t registered_transfers; /* that were cheaper for it */
} pro_loop_stats;

/* Counters since the loop was made. */
PRO_API void pro_loop_stats_get(const pro_loop *loop, pro_loop_stats *stats);

#ifndef PRO_NO_SITES
#define pro_post(...) pro_post_at(PRO_SITE, __VA_ARGS__)
#define pro_loop_options_init(options) pro_loop_options_init_for(PRO_VERSION, options)
#define pro_loop_new(loop, options) pro_loop_new_for(PRO_VERSION, loop, options)
#endif

PRO_END_DECLS

#endif
