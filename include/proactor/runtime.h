/* A runtime: one loop per shard, each on a thread of its own, pinned if wanted.
 *
 * Shards share nothing: a handle, a scope, an operation belongs to the loop it was made on.  What one
 * shard wants of another it says with a message: pro_post, or pro_call_on, which runs a function there
 * and completes here.
 *
 *     pro_runtime *runtime;
 *     pro_runtime_new(&runtime, NULL);
 *     pro_runtime_start(runtime, set_up, arg);     set_up runs on every shard, then its loop
 *     ...
 *     pro_runtime_stop(runtime, 5 * PRO_SEC);      any thread, also a handler of a shard
 *     pro_runtime_join(runtime);                   the thread that made it: waits, then frees it
 */
#ifndef PROACTOR_RUNTIME_H
#define PROACTOR_RUNTIME_H

#include <proactor/base.h>
#include <proactor/loop.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

typedef struct pro_runtime pro_runtime;

typedef enum pro_pin {
    PRO_PIN_NONE,  /* threads go where the system puts them */
    PRO_PIN_CORES, /* shard i on the i-th CPU that this process may use, round again if there are
                      more shards */
    PRO_PIN_LIST   /* shard i on cpus[i] */
} pro_pin;

typedef struct pro_runtime_options {
    uint32_t    version; /* PRO_VERSION */
    unsigned    shards;  /* 0: one for each CPU that this process may use */
    pro_pin     pin;
    const int  *cpus; /* PRO_PIN_LIST: as many as shards */
    const char *name; /* of the threads: "name/0", ...; NULL: "shard".  At most 10 characters */
    pro_loop_options loop; /* of each shard's loop; its version may be 0.  Its env is shared by all
                              threads, so its functions must bear that */
} pro_runtime_options;

/* What is in force for a pro_runtime_options that is { PRO_VERSION }.  Any thread. */
PRO_API void pro_runtime_options_init(pro_runtime_options *options);
PRO_API void pro_runtime_options_init_for(uint32_t version, pro_runtime_options *options);

/* Runs on each shard's thread before its loop does: listens, initiates the first operations.  Shards
 * are set up one after the other, in their order, so that they may share arg, and so that listening
 * sockets of one address (reuse_port, steer_by_cpu) stand in the order of shards.  The loop and all that is
 * allocated here is first touched by this thread, so it lies in memory near its CPU.  An error ends
 * the whole runtime: pro_runtime_start returns it. */
typedef int pro_shard_fn(pro_loop *loop, unsigned shard, void *arg);

/* Make a runtime; no thread runs as yet.  options may be NULL for one pinned shard per CPU.
 * Returns PRO_OK; PRO_EINVAL (options; more than 1024 shards; a mismatched version: one line on standard
 * error says which two), PRO_ENOMEM.  The forms with a version: as pro_loop_new_for. */
PRO_API int pro_runtime_new(pro_runtime **runtime, const pro_runtime_options *options);
PRO_API int pro_runtime_new_for(uint32_t version, pro_runtime **runtime,
                                const pro_runtime_options *options);

/* Start the threads, and return when all loops exist, or with the first error (then what was started
 * has ended again; free it with join).  Once. */
PRO_API int pro_runtime_start(pro_runtime *runtime, pro_shard_fn *set_up, void *arg);

/* Begin the end: every shard drains its root scope, until drain_ns from now at the latest; 0 is at
 * once, UINT64_MAX without a limit.  Any thread, also in a set_up; again does nothing.  A shard's loop
 * cannot be ended in another way: pro_loop_stop is without effect on it. */
PRO_API void pro_runtime_stop(pro_runtime *runtime, uint64_t drain_ns);

/* Wait until all shards have ended, then free the runtime and its loops.  The thread that made it.
 * What shards still said to each other as they ended was run, or completed PRO_ECANCELED.
 * Returns PRO_OK, or the first error of a set_up, a loop, or a shard whose loop could not be freed. */
PRO_API int pro_runtime_join(pro_runtime *runtime);

/* How many; the loop of one, NULL before it is set up (or if that failed).  Any thread.  The loops are
 * there until pro_runtime_join, also when the runtime has been stopped meanwhile. */
PRO_API unsigned  pro_runtime_shards(const pro_runtime *runtime);
PRO_API pro_loop *pro_runtime_loop(const pro_runtime *runtime, unsigned shard);

/* The runtime of a loop and the number of its shard; NULL (and 0) for a loop that is not a shard's. */
PRO_API pro_runtime *pro_runtime_of(const pro_loop *loop);
PRO_API unsigned     pro_shard_of(const pro_loop *loop);

/* Placement, engine per shard and why, and which CPUs take the interrupts of the network's devices, where
 * the system lets us read that: lines of text, written as pro_loop_explain does.  Any thread, from start
 * to join. */
PRO_API size_t pro_runtime_explain(const pro_runtime *runtime, char *buf, size_t size);

/* ---- Calls ---------------------------------------------------------------------------------- */

typedef struct pro_call pro_call;

/* Runs on the other loop; what it returns becomes op.value. */
typedef int64_t pro_call_fn(pro_call *call, pro_loop *there);

/* A call under way: the caller's memory, zeroed once; the library's until its handler begins. */
struct pro_call {
    pro_op       op;  /* its handler sees value and error; user is the caller's */
    void        *arg; /* the caller's, for fn */
    pro_call_fn *pri_fn;
    pro_handler *pri_done;
    pro_loop    *pri_here;
    pro_call    *pri_first;    /* of a broadcast */
    pro_handler *pri_all_done; /* of a broadcast, in the first call */
    int64_t      pri_value;
    int          pri_error;
    unsigned     pri_left; /* of a broadcast, in the first call: how many have not answered */
};

/* Run fn(call, there) on loop there, then done(&call->op) on loop here, which is the calling thread's.
 * Calls from one loop to another run there in order, and so do their completions here.  The call keeps
 * here running until it has completed.  there may be here: still never inside.  It cannot be canceled and belongs to
 * no scope.  Error: PRO_ECANCELED, if there is NULL, or was freed before fn ran. */
PRO_API void pro_call_on(pro_call *call, pro_loop *here, pro_loop *there, pro_call_fn *fn,
                         pro_handler *done);
PRO_API void pro_call_on_at(const char *site, pro_call *call, pro_loop *here, pro_loop *there,
                            pro_call_fn *fn, pro_handler *done);

/* The same on every shard of here's runtime, this one included.  calls has room for as many calls as
 * shards; done runs once, when the last of them has answered, with calls[0].op: value is the sum of
 * all values, error the first error (PRO_ECANCELED for a shard that is not set up, or if here is no
 * shard's loop). */
PRO_API void pro_broadcast(pro_call *calls, pro_loop *here, pro_call_fn *fn, void *arg,
                           pro_handler *done);
PRO_API void pro_broadcast_at(const char *site, pro_call *calls, pro_loop *here, pro_call_fn *fn,
                              void *arg, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_call_on(...) pro_call_on_at(PRO_SITE, __VA_ARGS__)
#define pro_runtime_options_init(options) pro_runtime_options_init_for(PRO_VERSION, options)
#define pro_runtime_new(runtime, options) pro_runtime_new_for(PRO_VERSION, runtime, options)
#define pro_broadcast(...) pro_broadcast_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
