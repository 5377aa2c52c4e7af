/* The inside of a world.  Its files:
 *
 *   choose.c   the one source of choice; the plan of a seed
 *   queue.c    what happens next: a heap ordered by (virtual time, seeded tie-break, sequence)
 *   node.c     nodes and their clocks; links
 *   stream.c   TCP: bytes on the way, ends and resets
 *   connect.c  TCP: connecting
 *   datagram.c UDP
 *   pair.c     pairs and pipes
 *   net.c      the synchronous calls: open, bind, listen, close
 *   jobs.c     blocking work
 *   disk.h     files: the disk of a node, and the files that it is made of
 *   engine.c   steps in, records out; a turn
 *   lane.c     threads: stacks that the world switches between
 *   world.c    making, stepping, running, ending
 *   weather.c  crashes, partitions, pauses, and healing
 *   report.c   the last events, the digest, failures, marks
 *   test.c     the smaller means of proactor/test.h
 *
 * Invariants:
 *   everything is named by numbers that count up; no decision looks at an address
 *   nothing completes inside the call that started it: records are handed out by turn
 *   an event names its target by number and generation, so what is gone is simply not found */
#ifndef PRI_SIM_WORLD_H
#define PRI_SIM_WORLD_H

#include <proactor/sim.h>

#include <stdatomic.h>

#include "core/loop.h"
#include "core/op.h"
#include "engine/sim/sim.h"

#define PRI_SIM_NONE UINT32_MAX
#define PRI_SIM_FD_BASE ((intptr_t)1 << 20) /* no real descriptor is so large */

enum { PRI_SIM_READ, PRI_SIM_WRITE };

/* ---- Events --------------------------------------------------------------------------------- */

/* X(NAME, text): what may stand in the queue, then what is only told. */
#define PRI_SIM_EVENTS(X)                                                                          \
    X(ARRIVE, "arrive")     /* target: the socket that segments arrive at */                       \
    X(TRY, "try")           /* a step is tried; extra: direction */                                \
    X(CANCEL, "cancel")     /* a wish reaches the kernel; extra: direction, which step */          \
    X(SYN, "syn")           /* a connection attempt reaches its target; extra: attempts */         \
    X(ANSWER, "answer")     /* and its answer comes back; extra: an error, negated */              \
    X(GIVE_UP, "give up")   /* nothing was acknowledged for too long */                            \
    X(DATAGRAM, "datagram") /* target: the packet that arrives */                                  \
    X(REFUSED, "refused")   /* a datagram found nobody; extra: at which port */                    \
    X(LOOP, "turn")         /* target: a loop that has something to do */                          \
    X(LANE, "thread")       /* target: a lane that may go on; extra: which event of its */         \
    X(MAIN, "main")         /* target: a node that starts */                                       \
    X(CALL, "call")         /* target: a function of the user's */                                 \
    X(JOB, "job")           /* target: the loop whose job is over; extra: its number */            \
    X(WEATHER, "weather")   /* the next fault between nodes */                                     \
    X(CLEAR, "clear")       /* the end of a partition; target: from, extra: to */                  \
    X(RESTART, "restart")   /* target: a node */                                                   \
    X(RECORD, "record")     /* a completion */                                                     \
    X(CRASH, "crash")                                                                              \
    X(PARTITION, "partition")                                                                      \
    X(CLOG, "clog")                                                                                \
    X(PAUSE, "pause")                                                                              \
    X(RESET, "reset")                                                                              \
    X(HEAL, "heal")                                                                                \
    X(LOST, "lost")   /* a datagram */                                                             \
    X(FILE, "file")   /* in the queue: a loop whose call on a file is made; extra: its number */   \
    X(POWER, "power") /* told: so many changes of names, and sectors, are lost */

typedef enum sim_event_kind {
#define PRI_SIM_EVENT_ENUM(name, text) EV_##name,
    PRI_SIM_EVENTS(PRI_SIM_EVENT_ENUM)
#undef PRI_SIM_EVENT_ENUM
        EV_KINDS
} sim_event_kind;

typedef struct sim_event {
    uint64_t at;
    uint64_t order; /* tie-break in the upper 16 bits, then the sequence */
    uint32_t target;
    uint32_t generation;
    uint32_t extra;
    uint32_t kind;
} sim_event;

/* One of the last events, as it is told. */
typedef struct sim_trace {
    uint64_t    at;
    int64_t     value;
    const char *site; /* of an operation */
    const char *what;
    uint32_t    kind;
    uint32_t    node;
    uint32_t    target;
    int32_t     error;
} sim_trace;

enum { PRI_SIM_TRACE = 256, PRI_SIM_TOLD = 200, PRI_SIM_CHECKS = 16, PRI_SIM_SCRIPT = 16 };

/* ---- Sockets -------------------------------------------------------------------------------- */

typedef struct sim_segment {
    uint64_t at; /* arrives then */
    uint32_t len;
    uint32_t flags; /* SEG_* */
} sim_segment;

enum { SEG_FIN = 1, SEG_RST = 2 };

/* What is on the way to a socket, or has arrived and is not read.
 * Invariant: stored = readable + the bytes of all segments;  stored <= limit at each write. */
typedef struct sim_pipe {
    unsigned char *ring;
    sim_segment   *segments; /* a ring, oldest at segment_head */
    uint64_t       last_at;
    uint32_t       capacity, head, stored, readable, limit;
    uint16_t       segment_capacity, segment_head, segment_count;
    bool           armed; /* an ARRIVE for it is in the queue */
    bool           held;  /* its link is cut: waits to be healed */
} sim_pipe;

typedef enum sim_socket_state {
    SOCK_FREE,
    SOCK_OPEN, /* perhaps bound */
    SOCK_LISTENING,
    SOCK_CONNECTING,
    SOCK_CONNECTED, /* or was, once */
} sim_socket_state;

/* sim_socket.flags */
enum {
    SOCK_V6 = 0x01,
    SOCK_BOUND = 0x02,
    SOCK_REUSE_PORT = 0x04,
    SOCK_V6ONLY = 0x08,
    SOCK_SHUT = 0x10,    /* we ended our side */
    SOCK_EOF = 0x20,     /* the peer ended its side, and that has arrived */
    SOCK_BROKEN = 0x40,  /* a reset or the like has come, and was told once */
    SOCK_TAKEN = 0x80,   /* it counts among the handles of its node */
    SOCK_SILENT = 0x100, /* its peer's machine is down: nothing answers */
    SOCK_DATAGRAM = 0x200,
    SOCK_BROADCAST = 0x400,
    SOCK_NO_GROUP_LOOP = 0x800,
    SOCK_PAIR = 0x1000, /* made with its peer: no addresses */
    SOCK_READER = 0x2000,
    SOCK_WRITER = 0x4000 /* of a pipe */
};

typedef struct sim_script {
    uint32_t bytes_max[2][PRI_SIM_SCRIPT];
    int32_t  error[2][PRI_SIM_SCRIPT];
    uint8_t  head[2], count[2];
} sim_script;

typedef struct sim_link  sim_link;
typedef struct sim_lane  sim_lane;
typedef struct sim_stack sim_stack;
typedef struct sim_owned sim_owned;
typedef struct sim_disk  sim_disk;

typedef struct sim_socket {
    uint32_t      id, generation;
    uint16_t      state, flags;
    int32_t       error; /* one of ours, to be told once */
    pro_sim_node *node;
    uint32_t      peer;      /* PRI_SIM_NONE: none, or gone */
    uint32_t      next_free; /* or the next in the list of listeners, or in a backlog */
    sim_link     *in, *out;
    uint64_t      stream; /* its choices */
    pri_step     *step[2];
    uint32_t      steps[2];  /* started so far: the name of the one that is */
    uint8_t       trying[2]; /* a TRY for it is in the queue */
    uint8_t       tries;     /* of a connection attempt */
    sim_pipe      pipe;
    pro_address   local, remote;
    sim_script   *script;
    /* A listener's backlog: linked by next_free.  Of datagrams: packets that wait to be received, and
     * pipe.stored is their bytes. */
    uint32_t backlog_first, backlog_last, backlog_count, backlog_max;
    uint32_t credit;     /* what had room at a peer that is gone, and does not say so yet */
    uint32_t options[4]; /* nodelay, keepalive, buffers: only remembered */
    bool     reuse;
    uint8_t  hops, group_hops; /* of datagrams; hops 0: as always */
} sim_socket;

typedef struct sim_packet sim_packet;

typedef struct sim_slot {
    sim_packet *packet; /* NULL: free */
    uint32_t    next_free;
} sim_slot;

enum { PRI_SIM_CHUNK = 256 }; /* sockets in one piece of memory */

/* ---- Nodes, links, loops ------------------------------------------------------------------------ */

struct sim_link {
    sim_link    *next;
    uint32_t     from, to;
    pro_sim_link is;
    uint64_t     stream, free_at, clogged_until;
    uint64_t     last_at; /* when the last datagram arrives that keeps the order */
    uint32_t     cuts;    /* partitions that cut it */
};

struct pro_sim_node {
    pro_sim      *world;
    pro_sim_node *next;
    char          name[32];
    uint32_t      id;
    uint16_t      family;
    uint8_t       bytes[16];
    pro_sim_main *main;
    void         *arg;
    void (*on_crash)(void *arg);
    bool      up, service;
    bool      is_due; /* its main function is going to run */
    uint16_t  next_port;
    uint32_t  handles, handles_max;
    uint32_t  listeners; /* the first one; linked by next_free */
    uint32_t  starts;
    uint32_t  mains; /* lanes in its main function: its loops are theirs till it returns */
    uint64_t  paused_until, skew_ns;
    uint64_t  stream;
    int32_t   drift_ppm;
    sim_disk *disk; /* NULL: it was not used as yet */
};

typedef struct sim_loop {
    struct sim_loop *next; /* of the world, newest last */
    pro_sim         *world;
    pro_sim_node    *node;
    pro_loop        *loop;
    uint32_t         id;
    bool             manual;  /* its maker runs it, not the world */
    bool             polling; /* by the world, now */
    bool             by_lane; /* its last turn was one's */
    sim_lane        *lane;    /* that waits in its turn, or NULL */
    atomic_bool      woken;
    uint64_t         until;   /* what its last turn would have waited for */
    uint64_t         turn_at; /* the TURN event that counts */
    uint64_t         stream;
    pri_record      *records; /* a ring of what is to be handed out */
    uint32_t         capacity, head, count;
    pri_link         running, waiting; /* jobs */
    pri_link         files;            /* calls on files */
    uint32_t         lanes_used, job_last, file_last;
    uint64_t         job_stream;
} sim_loop;

typedef struct sim_call {
    void (*fn)(void *arg);
    void *arg;
} sim_call;

struct pro_sim {
    /* What every event touches. */
    uint64_t    now_ns, seq, digest, events, choices;
    sim_event  *queue;
    size_t      queue_len, queue_capacity;
    size_t      idle_events;               /* of those queued, how many are weather */
    uint64_t    rate[PRO_SIM_FAULT_KINDS]; /* one in so many; 0: off */
    uint32_t    latency_ns;                /* completions take up to so long; 0: none */
    uint8_t     policy;
    bool        healed, implicit, survive, tell_events, reporting, has_failed;
    atomic_bool woken;

    uint64_t      seed, tie_stream, weather_stream, stream_of_tags[64];
    uint32_t      tags;
    const char   *tag[64];
    sim_socket  **chunks;
    uint32_t      sockets, chunks_capacity, free_socket;
    pro_sim_node *nodes, *last_node, *host, *here, *entered;
    sim_link    **links; /* by hash */
    uint32_t      links_count, nodes_count, loops_count;
    sim_loop     *loops, *last_loop, *turning;
    bool          in_main;
    uint32_t      stepping; /* events that go on */
    uint32_t      outside;  /* > 0: what runs is ours, and may look at the real world */

    sim_lane  *lanes, *last_lane, *lane; /* lane: on whose stack we are; NULL: the thread's own */
    sim_stack *free_stacks;
    sim_owned *owned;
    uint32_t   lanes_count, gates;

    sim_slot *packets;
    uint32_t  packets_capacity, packets_free; /* the first free one; the capacity: none is */

    sim_call *calls;
    uint32_t  calls_capacity, calls_free;
    uint32_t  victim; /* a socket that the adversary holds */
    uint64_t  victim_until;

    struct {
        void (*fn)(void *arg);
        void *arg;
    } checks[PRI_SIM_CHECKS];
    int       checks_count, failures;
    sim_trace trace[PRI_SIM_TRACE];
    uint64_t  traced;
    void (*tell)(void *arg, const char *line);
    void         *tell_arg;
    uint64_t      marks; /* bits of those this world reached */
    pro_sim_stats stats;

    uint64_t inject_at, started;
    int      inject_error;
    void (*watch)(void *arg, uint64_t index, const pro_op *op);
    void *watch_arg;
};

enum { PRI_SIM_LINKS = 1024 }; /* slots of the hash */

/* The world of this thread, or NULL. */
pro_sim *pri_sim_current(void);
pro_sim *pri_sim_current_or_implicit(void);
void     pri_sim_release(pro_sim *w); /* something went: free an implicit world after the last */

/* ---- choose.c -------------------------------------------------------------------------------- */

uint64_t pri_sim_stream(const pro_sim *w, uint32_t kind, uint32_t a, uint32_t b);
enum {
    STREAM_TIE = 1,
    STREAM_PLAN,
    STREAM_WEATHER,
    STREAM_SOCKET,
    STREAM_LINK,
    STREAM_LOOP,
    STREAM_NODE,
    STREAM_TAG,
    STREAM_RANDOM,
    STREAM_LANE,
    STREAM_JOB,
    STREAM_DISK
};

static inline uint64_t pri_sim_bits(pro_sim *w, uint64_t *stream)
{
    w->choices++;
    uint64_t z = *stream += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The one source of choice: 0 .. n - 1, for n > 0. */
static inline uint32_t pri_sim_choice(pro_sim *w, uint64_t *stream, uint32_t n)
{
    return (uint32_t)(((pri_sim_bits(w, stream) >> 32) * n) >> 32);
}

/* Does a fault of this kind strike here?  No choice is made for kinds that are off. */
static inline bool pri_sim_strikes(pro_sim *w, uint64_t *stream, pro_sim_fault kind)
{
    uint64_t rate = w->rate[kind];
    if (!rate || pri_sim_choice(w, stream, (uint32_t)rate) != 0) return false;
    w->stats.struck |= PRO_SIM_BIT(kind);
    return true;
}

/* Most are small, few are large: up to max. */
uint64_t pri_sim_long_tail(pro_sim *w, uint64_t *stream, uint64_t max);
void     pri_sim_make_plan(pro_sim *w, const pro_sim_options *options);

/* ---- queue.c --------------------------------------------------------------------------------- */

void      pri_sim_push(pro_sim *w, uint64_t at, sim_event_kind kind, uint32_t target,
                       uint32_t generation, uint32_t extra);
sim_event pri_sim_pop(pro_sim *w);

/* Is there anything but weather to come? */
static inline bool pri_sim_has_work(const pro_sim *w) { return w->queue_len > w->idle_events; }

/* ---- node.c ---------------------------------------------------------------------------------- */

pro_sim_node *pri_sim_node_by_address(pro_sim *w, const pro_sim_node *from, const pro_address *a);
bool          pri_sim_is_own(const pro_sim_node *node, const pro_address *a);
sim_link     *pri_sim_link_of(pro_sim *w, const pro_sim_node *from, const pro_sim_node *to);
uint64_t      pri_sim_node_now(const pro_sim_node *node, uint64_t world_ns);
uint64_t      pri_sim_world_time(const pro_sim_node *node, uint64_t node_ns);

static inline bool pri_sim_is_cut(const sim_link *link) { return link->cuts > 0; }

/* When something of that length sent now arrives; in order on one pipe is the caller's matter. */
uint64_t pri_sim_arrival(pro_sim *w, sim_link *link, uint32_t len);

/* ---- stream.c -------------------------------------------------------------------------------- */

sim_socket *pri_sim_socket(const pro_sim *w, uint32_t id);
sim_socket *pri_sim_socket_new(pro_sim *w, pro_sim_node *node, bool v6);
void        pri_sim_socket_free(pro_sim *w, sim_socket *s);
sim_socket *pri_sim_socket_of_fd(const pro_sim *w, intptr_t fd);

void pri_sim_try_soon(pro_sim *w, sim_socket *s, int direction);
void pri_sim_try(pro_sim *w, sim_socket *s, int direction);
void pri_sim_arrive(pro_sim *w, sim_socket *s);
void pri_sim_go_on(pro_sim *w, sim_socket *s);
void pri_sim_lack_buffer(pro_sim *w, sim_socket *s, int32_t id); /* PRI_BUFFERS_NONE or _LATER */
void pri_sim_send_segment(pro_sim *w, sim_socket *to, uint32_t len, uint32_t flags);
void pri_sim_break(pro_sim *w, sim_socket *s, int error); /* here and now */
void pri_sim_give_up(pro_sim *w, sim_socket *s);
void pri_sim_let_go(pro_sim *w, sim_socket *s); /* a healed link: what was held moves on */

/* connect.c */
void        pri_sim_connect(pro_sim *w, sim_socket *s);
void        pri_sim_syn(pro_sim *w, sim_socket *s);
void        pri_sim_answer(pro_sim *w, sim_socket *s, int error);
void        pri_sim_accept(pro_sim *w, sim_socket *listener);
void        pri_sim_stop_listening(pro_sim *w, sim_socket *s);
uint16_t    pri_sim_free_port(pro_sim *w, pro_sim_node *node);
sim_socket *pri_sim_listener_at(pro_sim *w, const pro_sim_node *node, const pro_address *a,
                                uint64_t *stream);

/* datagram.c */
int         pri_sim_associate(pro_sim *w, sim_socket *s, const pro_address *peer);
pro_address pri_sim_datagram_local(const sim_socket *s);
void        pri_sim_datagram_arrives(pro_sim *w, uint32_t slot);
void        pri_sim_refused(pro_sim *w, sim_socket *s, uint32_t port);
void        pri_sim_send_datagrams(pro_sim *w, sim_socket *s);
void        pri_sim_recv_datagrams(pro_sim *w, sim_socket *s);
void        pri_sim_recv_leased_datagram(pro_sim *w, sim_socket *s);
int         pri_sim_datagram_set(sim_socket *s, int option, int value);
int         pri_sim_datagram_get(const sim_socket *s, int option, int *value);
void        pri_sim_drop_unreceived(pro_sim *w, sim_socket *s);
void        pri_sim_packets_free(pro_sim *w);

/* net.c: end a socket as its owner does (orderly, with data unread: reset). */
void pri_sim_close(pro_sim *w, sim_socket *s, bool abortive);

/* ---- engine.c -------------------------------------------------------------------------------- */

void pri_sim_complete(pro_sim *w, sim_socket *s, int direction, int error, int64_t value,
                      uint32_t flags);
void pri_sim_complete_leased(pro_sim *w, sim_socket *s, int direction, int64_t value,
                             uint32_t flags, uint32_t lease);
void pri_sim_try_behind(sim_socket *s); /* read again, behind what is in the ring */
void pri_sim_canceled(pro_sim *w, sim_socket *s, int direction);
int  pri_sim_system_error(int error);
void pri_sim_guard_end(pro_sim *w, pri_step *step); /* was its buffer left alone? */

/* stream.c: a send that is being canceled reports the bytes so far; false: it can send none. */
bool pri_sim_send_part(pro_sim *w, sim_socket *s);

static inline pro_op *pri_sim_op(pri_step *step)
{
    return pro_container_of(step, pro_op, pri_kernel_step);
}

/* A value, or one of our errors. */
void pri_sim_step_record(sim_loop *l, pri_step *step, int64_t result);

/* ---- jobs.c ---------------------------------------------------------------------------------- */

void pri_sim_job_start(sim_loop *l, pri_step *step, int error);
bool pri_sim_job_cancel(sim_loop *l,
                        pri_step *step); /* true: it is not run, and has no record yet */
void pri_sim_job_over(sim_loop *l, uint32_t number);

/* ---- files.c, disk.c -------------------------------------------------------------------------- */

void pri_sim_file_start(sim_loop *l, pri_step *step, int error);
void pri_sim_file_cancel(sim_loop *l, pri_step *step); /* a wish */
void pri_sim_file_over(sim_loop *l, uint32_t number);
void pri_sim_files_crash(pro_sim_node *node, bool is_machine);
void pri_sim_disk_free(sim_disk *d);
void pri_sim_disk_move(sim_disk *d, pro_sim_node *node);
bool pri_sim_disk_is_bare(const sim_disk *d); /* nothing was ever made on it */

/* ---- world.c --------------------------------------------------------------------------------- */

void pri_sim_turn_soon(sim_loop *l, uint64_t at);
bool pri_sim_step_one(pro_sim *w); /* false: nothing was left */
void pri_sim_hear_wakes(pro_sim *w);

/* ---- weather.c ------------------------------------------------------------------------------- */

void pri_sim_weather_begin(pro_sim *w);
void pri_sim_weather(pro_sim *w);
void pri_sim_clear(pro_sim *w, uint32_t from, uint32_t to);

/* ---- report.c -------------------------------------------------------------------------------- */

void pri_sim_note(pro_sim *w, sim_event_kind kind, const pro_sim_node *node, uint32_t target,
                  int error, int64_t value, pri_step *step);
void pri_sim_tell(pro_sim *w, const char *format, ...);
void pri_sim_end_marks(pro_sim *w);
void pri_sim_say_goodbye(pro_sim *w); /* the digest, if somebody asked for it */

/* Memory of the world itself: not of any loop, so that no loop's environment can refuse it. */
void *pri_sim_realloc(void *ptr, size_t size);

#endif
