/* The simulator: the same program on virtual time and a virtual network, from one seed.
 *
 *     pro_sim_options options = {.version = PRO_VERSION, .seed = 42, .faults = PRO_SIM_ALL_FAULTS};
 *     pro_sim *world;
 *     pro_sim_new(&world, &options);
 *     pro_sim_node *server = pro_sim_node_new(world, "server", "10.0.0.1", server_main, &config);
 *     pro_sim_node *client = pro_sim_node_new(world, "client", "10.0.0.2", client_main, &config);
 *     pro_sim_run(world, is_done, &config, 60 * PRO_SEC);
 *     pro_sim_settle(world, 60 * PRO_SEC);         heal everything, and demand an end
 *     int failures = pro_sim_free(world);          looks for what is left over
 *
 * A world is made of nodes (machines) and links between them.  A node's main function makes loops
 * and initiates, and returns; the world then turns those loops as their completions and timers
 * come.  Or it is a whole program: it runs its loop, or starts a pro_runtime and joins it, and returns
 * when it is over.  Shards are threads of the world then: stacks of the one real thread, each of which
 * runs until it waits; the seed decides which is next.  Time is virtual: it jumps to the next event, and a handler takes none.  A seed decides
 * everything: the order of what happens at one time, delays, short reads, resets, partitions, and what is
 * left on a disk when the power goes.  The
 * same seed gives the same run, told by the same digest.
 *
 * Without a world: a loop with the engine PRO_ENGINE_SIM (or PROACTOR_ENGINE=sim in the environment)
 * that is made on a thread with no world gets one of its own, shared by the loops of that thread, with
 * one node; a pro_runtime with such loops likewise.  The program runs its loop as always, and time
 * moves while it waits.  If it waits with nothing left to happen, that is told, and the process ends with
 * status 1.  The world goes with the last loop; the next one goes on at its time.
 *
 * The environment: PROACTOR_SEED=N is the seed of worlds that were given none; PROACTOR_PLAN=
 * "calm", "mild", "all", or names of faults with commas ("short_read,delay") replaces their faults.
 * For worlds that were made without being asked for: PROACTOR_EVENTS=1 tells every event,
 * PROACTOR_DIGEST=1 the digest at the end.  A loop that is made with PRO_ENGINE_AUTO on a thread that has
 * a world is the world's.
 *
 * What a simulated program may not do (ask for the real time, start a real thread, block) is caught where
 * it is linked with libproactor-strict, or that is preloaded; see pro_sim_is_inside.
 *
 * Threads: a world, its nodes and its loops belong to the thread that made the world; one world per
 * thread at a time.  Nothing here may be called from other threads. */
#ifndef PROACTOR_SIM_H
#define PROACTOR_SIM_H

#include <proactor/base.h>
#include <proactor/loop.h>
#include <proactor/net.h>

PRO_BEGIN_DECLS

typedef struct pro_sim      pro_sim;
typedef struct pro_sim_node pro_sim_node;

/* The kinds of faults.  X(NAME, name, what it does).  Each seed turns some of those allowed off, and
 * gives the others a rate of its own (a swarm of plans). */
#define PRO_SIM_FAULTS(X)                                                                          \
    X(SHORT_READ, "short_read", "a receive gets a random part of what is there")                   \
    X(SHORT_WRITE, "short_write", "a send takes a random part of what it could")                   \
    X(SLOW, "slow", "completions come late")                                                       \
    X(DELAY, "delay", "links are slow, with a long tail")                                          \
    X(CANCEL, "cancel", "a canceled operation may complete, or report the bytes so far")           \
    X(NARROW, "narrow", "buffers are small")                                                       \
    X(RESET, "reset", "an established connection breaks")                                          \
    X(REFUSE, "refuse", "a connection attempt is refused")                                         \
    X(ABORTED, "aborted", "a connection is gone before it is accepted")                            \
    X(LOST_SYN, "lost_syn", "a connection attempt takes seconds, or times out")                    \
    X(HANDLES, "handles", "opening or accepting finds no handle left")                             \
    X(CLOG, "clog", "a link delivers nothing for a while")                                         \
    X(PARTITION, "partition", "two nodes do not reach each other, one way or both, for a while")   \
    X(PAUSE, "pause", "a node stands still for a while")                                           \
    X(SKEW, "skew", "clocks of nodes differ, and drift")                                           \
    X(CRASH, "crash", "a node that allows it crashes, and starts again")                           \
    X(LOSS, "loss", "a datagram, or a refusal that answers one, gets lost")                        \
    X(TWICE, "twice", "a datagram comes twice")                                                    \
    X(OVERTAKE, "overtake", "a datagram is late, and later ones overtake it")                      \
    X(DISK_ERROR, "disk_error",                                                                    \
      "a call on a file fails; a sync then forgets what it could not write")                       \
    X(DISK_FULL, "disk_full", "a write, or a new name, finds no room")                             \
    X(TORN, "torn", "a machine that goes down leaves sectors half written, or full of nonsense")

typedef enum pro_sim_fault {
#define PRO_SIM_FAULT_ENUM_(name, text, what) PRO_SIM_##name,
    PRO_SIM_FAULTS(PRO_SIM_FAULT_ENUM_)
#undef PRO_SIM_FAULT_ENUM_
        PRO_SIM_FAULT_KINDS
} pro_sim_fault;

#define PRO_SIM_BIT(fault) (1u << (fault))
#define PRO_SIM_CALM 0u
/* Timing and sizes only: no program may notice more than slowness. */
#define PRO_SIM_MILD_FAULTS (PRO_SIM_BIT(PRO_SIM_RESET) - 1u)
#define PRO_SIM_ALL_FAULTS (PRO_SIM_BIT(PRO_SIM_FAULT_KINDS) - 1u)

/* How what happens at one time is ordered. */
typedef enum pro_sim_policy {
    PRO_SIM_BY_SEED,  /* the seed picks one of the three */
    PRO_SIM_IN_ORDER, /* as it was initiated */
    PRO_SIM_RANDOM,   /* any order */
    PRO_SIM_ADVERSARY /* any order, and now and then one victim waits as long as may be */
} pro_sim_policy;

typedef struct pro_sim_options {
    uint32_t       version; /* PRO_VERSION */
    uint32_t       faults;  /* bits of what the seed may turn on: PRO_SIM_BIT; 0: calm */
    uint64_t       seed;    /* 0: PROACTOR_SEED, or 1 */
    pro_sim_policy policy;
    int            every_fault; /* 1: all the allowed kinds are on, in every seed */
    int            survive;     /* 1: a failure is counted and told; 0: it also ends the process */
    void (*tell)(void *arg, const char *line); /* where reports go; NULL: standard error */
    void *tell_arg;
    int   tell_events; /* 1: every event is told as it happens */
} pro_sim_options;

/* Make a world, current on this thread until freed.  options may be NULL: calm, the seed of the
 * environment.  Returns PRO_OK, PRO_EINVAL (version; one line on standard error says which two), PRO_EBUSY
 * (this thread has one), PRO_ENOMEM. */
PRO_API int pro_sim_new(pro_sim **world, const pro_sim_options *options);

/* The end: frees the loops of the nodes, and the world.  A loop in which something is still alive is
 * a failure that names it, unless its node is a service (pro_sim_node_service).  Loops that were not
 * made by a node must have been freed before.  Returns how many failures there were. */
PRO_API int pro_sim_free(pro_sim *world);

/* ---- Nodes ---------------------------------------------------------------------------------- */

typedef void pro_sim_main(pro_sim_node *node, void *arg);

/* A machine, with four CPUs.  address: "10.0.0.1" or "[fd00::1]" without a port; NULL: the next of
 * 10.0.0.x.  main runs at the next step, on a stack of 1 MiB: loops made in it are the node's; it may run
 * them, and those that are there when it has returned the world turns.  It may be NULL.  Names need not be unique; name is not copied.  Never NULL: no memory, and an
 * address that is none or taken, abort. */
PRO_API pro_sim_node *pro_sim_node_new(pro_sim *world, const char *name, const char *address,
                                       pro_sim_main *main, void *arg);

/* The world's first node, which is always there ("host", 10.0.0.1 unless taken): where loops are made
 * outside of any main. */
PRO_API pro_sim_node *pro_sim_host(pro_sim *world);

/* The node whose code runs now. */
PRO_API pro_sim_node *pro_sim_here(pro_sim *world);

/* Loops made from now on, outside of any main, belong to this node, and their makers run them; NULL:
 * to the host again. */
PRO_API void pro_sim_enter(pro_sim *world, pro_sim_node *node);

PRO_API const char *pro_sim_node_name(const pro_sim_node *node);
PRO_API pro_address pro_sim_node_address(const pro_sim_node *node, uint16_t port);

/* It may be busy for ever: operations in flight at the end are no failure. */
PRO_API void pro_sim_node_service(pro_sim_node *node);

/* At a crash everything that the node's program had in memory is gone: on_crash frees what it took
 * from the system, and touches the library no more.  Setting it allows the fault CRASH. */
PRO_API void pro_sim_node_on_crash(pro_sim_node *node, void (*on_crash)(void *arg));

/* Let a node crash, and start it again (main runs at the next step).  Peers of its connections get a
 * reset, or hear nothing until it is back, as the seed says.  Not in a handler of that node. */
PRO_API void pro_sim_crash(pro_sim_node *node);
PRO_API void pro_sim_power_cut(pro_sim_node *node); /* the same, and surely the machine went down */
PRO_API void pro_sim_restart(pro_sim_node *node);
PRO_API int  pro_sim_is_up(const pro_sim_node *node);

/* Let it stand still until this time from now. */
PRO_API void pro_sim_pause(pro_sim_node *node, uint64_t for_ns);

/* Its clock is so much ahead of the world's, and gains so many parts in a million.  Before its loops
 * are made. */
PRO_API void pro_sim_skew(pro_sim_node *node, uint64_t ahead_ns, int32_t drift_ppm);

/* The most sockets, listeners and files it may have open; 0: no limit. */
PRO_API void pro_sim_handles_max(pro_sim_node *node, uint32_t max);

/* ---- Links ---------------------------------------------------------------------------------- */

typedef struct pro_sim_link {
    uint64_t delay_ns;    /* of every segment */
    uint64_t jitter_ns;   /* at most so much more */
    uint64_t bytes_per_s; /* 0: no limit */
    uint32_t buffer;      /* of a connection: bytes on the way and unread; 0: 128 KiB */
} pro_sim_link;

/* Set the link from one node to another, that way only. Connections made later use all of it. */
PRO_API void pro_sim_link_set(pro_sim_node *from, pro_sim_node *to, const pro_sim_link *link);

/* Nothing passes that way until healed; both ways take two calls.  What is sent waits; datagrams are lost. */
PRO_API void pro_sim_partition(pro_sim_node *from, pro_sim_node *to);
PRO_API void pro_sim_unpartition(pro_sim_node *from, pro_sim_node *to);

/* Nothing arrives that way for so long. */
PRO_API void pro_sim_clog(pro_sim_node *from, pro_sim_node *to, uint64_t for_ns);

/* The weather is over: partitions and clogs end, paused and crashed nodes go on, and no new faults
 * come.  Delays and short transfers stay. */
PRO_API void pro_sim_heal(pro_sim *world);

/* ---- Disks ------------------------------------------------------------------------------------
 *
 * Each node has a file system of its own, in memory, which file.h works on; "/tmp" is there, and the working
 * directory is "/".  Permissions are kept and not enforced.  Calls end in any order; when, the seed decides.
 *
 * What is written is in the system's cache until a sync: of a file for its content and size, of a directory
 * for the names in it (a file that was synced, whose name was not, is gone after a power cut).  When a node
 * crashes either its process dies, and nothing is lost, or the machine goes down: then of what was not synced
 * the seed decides what the medium has, of content each sector of 512 bytes for itself.  A sync that
 * fails (DISK_ERROR) says so once; what it could not write is not on the medium until it is written anew,
 * whatever later syncs say. */

typedef struct pro_sim_disk {
    uint64_t size;         /* bytes that have room, in pages of 4096; 0: 16 GiB */
    uint64_t delay_ns;     /* of every call */
    uint64_t jitter_ns;    /* at most so much more */
    uint64_t sync_ns;      /* of a sync: about so much more, now and then twice */
    uint64_t bytes_per_s;  /* 0: no limit */
    int      is_read_only; /* PRO_EROFS */
} pro_sim_disk;

/* How a node's disk is from now on; one that was not set has 16 GiB, 20 us, 80 us and 1 ms.  What is on it
 * stays. */
PRO_API void pro_sim_disk_set(pro_sim_node *node, const pro_sim_disk *disk);

/* From outside, at once, whatever the weather.  Put a file there, synced, with the directories of its path;
 * PRO_OK, or an error.  And look at one as the node's programs would see it: up to size bytes of it; its
 * length, or an error. */
PRO_API int pro_sim_file_put(pro_sim_node *node, const char *path, const void *data, size_t len);
PRO_API int64_t pro_sim_file_get(pro_sim_node *node, const char *path, void *buf, size_t size);

/* ---- Scripted faults on one socket ------------------------------------------------------------- */

/* What the socket's next receives (or sends) do, one after the other, before it is as usual again: at
 * most so many bytes; or this error, with nothing moved.  PRO_ECONNRESET also breaks the connection;
 * PRO_EOF on a receive is the end of the stream.  Up to 16 at a time in each direction.
 * Returns PRO_OK; PRO_EINVAL (not a socket of the simulator, or too many). */
PRO_API int pro_sim_next_recv(pro_socket *s, size_t bytes_max, int error);
PRO_API int pro_sim_next_send(pro_socket *s, size_t bytes_max, int error);

/* ---- Running ---------------------------------------------------------------------------------- */

/* The world's time in ns; it begins at 1 s. */
PRO_API uint64_t pro_sim_now(const pro_sim *world);

/* One event.  0 if there is none left. */
PRO_API int pro_sim_step(pro_sim *world);

/* Run to a time from now. */
PRO_API void pro_sim_run_for(pro_sim *world, uint64_t for_ns);

/* Run until done(arg) is not 0, for limit_ns at most.  1 if it is; else 0, and it was a failure: with
 * nothing left to run a deadlock, otherwise too slow; the report names what is pending.  done NULL:
 * until nothing is left to run. */
PRO_API int pro_sim_run(pro_sim *world, int (*done)(void *arg), void *arg, uint64_t limit_ns);

/* The liveness phase: heal, then run until no node but services has an operation in flight.  What
 * still has after limit_ns is a failure that names it.  1 if all is over. */
PRO_API int pro_sim_settle(pro_sim *world, uint64_t limit_ns);

/* Call fn(arg) at a time from now, as an event of the world's. */
PRO_API void pro_sim_after(pro_sim *world, uint64_t delay_ns, void (*fn)(void *arg), void *arg);

/* ---- Checks, marks, choices -------------------------------------------------------------------- */

/* Call check(arg) after every step; it calls pro_sim_fail if what must hold does not.  At most 16. */
PRO_API void pro_sim_check(pro_sim *world, void (*check)(void *arg), void *arg);

/* Something that must not be: told with the line that replays it, the last 200 events and what is
 * pending.  Only the first of a world is told in full. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
PRO_API void
pro_sim_fail(pro_sim *world, const char *format, ...);

/* Failures so far. */
PRO_API int pro_sim_failures(const pro_sim *world);

/* A state that some seed must reach: note that it was (condition not 0) or was not.  At most 64 names
 * in a process; the counts stay when worlds go, for pro_sim_marks. */
PRO_API void pro_sim_sometimes(pro_sim *world, const char *name, int condition);

/* Call fn for each mark: its name, and how many worlds reached it. */
PRO_API void pro_sim_marks(void (*fn)(void *arg, const char *name, uint64_t worlds), void *arg);

/* A choice of the seed's, 0 .. n - 1, from a stream of its own for each tag; n > 0. */
PRO_API uint32_t pro_sim_choose(pro_sim *world, const char *tag, uint32_t n);

/* ---- Reports ----------------------------------------------------------------------------------- */

typedef struct pro_sim_stats {
    uint64_t seed;
    uint64_t digest;     /* of all that happened: the same for the same seed */
    uint64_t events;     /* steps of the network, completions, turns of loops */
    uint64_t choices;    /* random decisions */
    uint64_t virtual_ns; /* since the world began */
    uint64_t connections, bytes, resets, crashes, partitions;
    uint32_t faults;                   /* kinds that this seed has on */
    uint32_t struck;                   /* those of them that did something so far */
    uint64_t sectors_lost, names_lost; /* that were not synced when a machine went down */
} pro_sim_stats;

PRO_API void pro_sim_stats_get(const pro_sim *world, pro_sim_stats *stats);

/* The plan of this seed in one line: policy, kinds of faults and rates; as snprintf. */
PRO_API size_t pro_sim_plan(const pro_sim *world, char *buf, size_t size);

/* ---- The real world, kept out ------------------------------------------------------------------ */

/* 1 if the code that runs now, on this thread, is a simulated program's: in a handler, in a thread or
 * a main function of a world, between pro_sim_enter of a node and of NULL, and anywhere in a program under
 * PROACTOR_ENGINE=sim from its first loop to its last.  There the time, random numbers, threads and calls
 * that block must be the world's. */
PRO_API int pro_sim_is_inside(void);

/* Something of the real world was called there: what ("real time"), by its name ("clock_gettime"), with the
 * address that the call returns to, of which the report makes the name of the caller.  A failure of the
 * world.  libproactor-strict calls it for the functions of the system; call it for those of your own. */
PRO_API void pro_sim_caught(const char *what, const char *call, const void *caller);

/* Tell the last 200 events, and everything that is in flight with its site. */
PRO_API void pro_sim_report(pro_sim *world);

/* Fail the operation that is the index-th (from 0) to reach the engine with this error: what the
 * sweep of test.h uses.  UINT64_MAX: none. */
PRO_API void pro_sim_inject(pro_sim *world, uint64_t index, int error);

/* Call fn for every operation as it reaches the engine: its index, name and site. */
PRO_API void pro_sim_watch(pro_sim *world, void (*fn)(void *arg, uint64_t index, const pro_op *op),
                           void    *arg);

PRO_END_DECLS

#endif
