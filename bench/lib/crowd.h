/* A crowd: a server on the library, and its clients, in processes of their own.
 *
 *     crowd_server.c   the server: shards, reuse-port, leased receives
 *     crowd_by_hand.c  the same by hand on io_uring: the floor
 *     crowd_client.c   a client: as many connections as its descriptors allow, by hand
 *     crowd_work.c     processes that take a command and answer it; the board that all of them see
 *     crowd_drive.c    the phases of a run, and its progress
 *     crowd_memory.c   what the system says about memory, in user space and in the kernel
 *
 * Why processes: a client's descriptors end at the limit, 20,000 on many a machine, and what the
 * server holds shall be its own alone.  Why the clients are by hand: what is measured is the server. */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include <proactor.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- the board: one page or some of memory that every process sees ------------------------------- */

enum { CROWD_SHARDS_MAX = 1024 };

struct crowd_shard {
    _Alignas(64) atomic_uint live; /* connections now */
    atomic_uint refused;           /* no place for them, or an accept that failed */
    atomic_uint broken;            /* sends that failed */
    atomic_uint starved;           /* receives that found no buffer, and waited for one */
    atomic_int  error;             /* why the last accept failed, one of error.h */
    /* As the loop itself counts: set by CROWD_COUNT. */
    atomic_uint handles, slots;
};

struct crowd_board {
    atomic_bool        stop;      /* everybody: end what you do */
    atomic_uint        connected; /* by the clients */
    atomic_uint        echoed;    /* messages that came back as they were */
    atomic_llong       allocated; /* bytes that the server's library has */
    struct crowd_shard shards[CROWD_SHARDS_MAX];
};

struct crowd_board *crowd_board_new(void);
unsigned            crowd_live(const struct crowd_board *board, unsigned shards);

/* ---- workers ----------------------------------------------------------------------------------- */

enum crowd_command {
    CROWD_CONNECT = 'c', /* a client: all of its connections, each with a first echo */
    CROWD_ECHO = 'e',    /* a message through each of them */
    CROWD_CLOSE = 'x',   /* with a reset: an orderly end would keep each address for a minute */
    CROWD_COUNT = 'n',   /* the server: the shards write what they hold on the board */
    CROWD_QUIT = 'q'     /* end; answered when all is freed */
};

struct crowd_answer {
    bool     failed; /* text says why; */
    bool     lacks;  /* because this system lacks what it takes */
    uint64_t value;
    char     text[240];
};

struct crowd_worker {
    pid_t pid;
    int   fd; /* of ours */
};

/* Start one: run(fd, arg) in a process of its own, which ends with us, and does not hear SIGINT. */
void crowd_worker_start(struct crowd_worker *worker, void (*run)(int fd, void *arg), void *arg);
void crowd_worker_tell(const struct crowd_worker *worker, enum crowd_command command);

/* false: it ended without an answer; text says how. */
bool crowd_worker_hear(struct crowd_worker *worker, struct crowd_answer *answer);
void crowd_worker_end(struct crowd_worker *worker); /* by force, if it still lives */

/* Inside one.  Without a next command it ends. */
enum crowd_command crowd_next_command(int fd);
void               crowd_say(int fd, uint64_t value, const char *text);
_Noreturn void crowd_fail(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void crowd_lacks(int fd, const char *text);

/* ---- the server -------------------------------------------------------------------------------- */

struct crowd_plan {
    struct crowd_board *board;
    pro_engine          engine;
    bool                slots; /* in place of descriptors */
    bool                by_hand;
    unsigned            connections;
    unsigned            shards;
    unsigned            table; /* how many connections one shard has place for */
    uint16_t            port;  /* 0: any */
};

/* arg is a crowd_plan.  Answers first with its port, and its engine in a line. */
void crowd_server(int fd, void *arg);
void crowd_server_by_hand(int fd, void *arg);

size_t crowd_connection_size(void); /* what the program on the library holds for one */

/* ---- clients ----------------------------------------------------------------------------------- */

/* Addresses: 127.a.b.n, where a.b is the server's port, so that several crowds do not meet; and ports
 * that are bound explicitly, which is ten times quicker than letting the kernel look for one. */
enum { CROWD_PORT_FIRST = 10000, CROWD_PORTS = 20000, CROWD_PORTS_SPARE = 2768 };
#define CROWD_CONNECTIONS_MAX (254u * CROWD_PORTS)

struct crowd_client {
    struct crowd_board *board;
    uint16_t            port;         /* the server's */
    unsigned            first, count; /* its connections: their numbers in the whole crowd */
    unsigned            batch;        /* so many at once */
};

void crowd_client(int fd, void *arg); /* arg is a crowd_client */

/* ---- memory ------------------------------------------------------------------------------------ */

struct crowd_kernel {
    uint64_t slab, stacks, page_tables; /* bytes, of the whole machine */
    uint64_t available;                 /* to us */
    unsigned sockets;                   /* of TCP, allocated and not yet freed */
};

struct crowd_cache { /* of the kernel's allocator */
    char     name[32];
    uint64_t bytes;
};

void     crowd_kernel_get(struct crowd_kernel *kernel);
uint64_t crowd_user_bytes(pid_t pid); /* anonymous memory that is resident */

/* The caches that grew most, biggest first; 0 where only root may look.  before: what the same
 * function with before NULL gave. */
enum { CROWD_CACHES_MAX = 400 };
size_t crowd_caches_get(struct crowd_cache *caches);
size_t crowd_caches_growth(struct crowd_cache *caches, size_t len, const struct crowd_cache *before,
                           size_t before_len);

/* ---- a run ------------------------------------------------------------------------------------- */

enum { CROWD_CLIENTS_MAX = 4096 };

struct crowd_run {
    /* Given. */
    struct crowd_plan    plan;
    struct crowd_worker  server, *clients;
    struct crowd_client *parts; /* of the clients; the driver fills in all but the batch */
    unsigned             clients_len, parallel;

    /* The progress. */
    const char *doing;
    uint64_t    began_ns, moved_ns, said_ns;
    uint64_t    moved; /* all that moves, as of moved_ns */
    unsigned    said_echoes;

    /* What came of it. */
    int                 interrupted; /* the signal */
    char                why[300];    /* the first failure, */
    bool                lacks;       /* which is what this system lacks */
    char                engine[240];
    struct crowd_kernel before, held, after;
    struct crowd_cache  caches[CROWD_CACHES_MAX];
    size_t              caches_len; /* that grew */
    uint64_t            user_before, user_ready, user_held;
    int64_t             allocated_held, allocated_after;
    unsigned            connected, live_held, echoed, live_after, handles_after, slots_after;
    unsigned            refused, broken, starved;
    double              connect_s, echo_s, close_s;
};

/* All of it; false: it ended early, and why says why. */
bool crowd_drive(struct crowd_run *run);

/* Note why, unless something else failed before.  Returns false. */
bool crowd_run_fail(struct crowd_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
