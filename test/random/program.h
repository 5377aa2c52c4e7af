/* A random program over all kinds of operations, and a shadow model that knows what each of its
 * handlers may see.  It runs on any engine: on the loops it is given, with dice of its own, so that a
 * seed is a program.  Two hosts, each a loop with a listener, connect with each other and with
 * themselves; the model (model.c) holds everything that comes back against the contract.
 *
 *     program_begin(&world);
 *     program_host(0, loop, &address);  program_host(1, ...);
 *     program_start(0);  program_start(1);     on the loop's thread
 *     ... turn the loops until program_is_over() ...
 *     program_end();                           what can be said only at the end
 *
 * One program at a time in a process, on one thread. */
#ifndef TEST_RANDOM_PROGRAM_H
#define TEST_RANDOM_PROGRAM_H

#include <proactor.h>

#include <stdbool.h>

/* X(NAME, how often in 100) */
#define PROGRAM_KINDS(X)                                                                           \
    X(POST, 8)                                                                                     \
    X(TIMER, 10)                                                                                   \
    X(CONNECT, 5)                                                                                  \
    X(ACCEPT, 3)                                                                                   \
    X(ACCEPT_MULTI, 1)                                                                             \
    X(RECV, 15)                                                                                    \
    X(RECV_EXACTLY, 9)                                                                             \
    X(RECVV, 5)                                                                                    \
    X(RECVV_EXACTLY, 5)                                                                            \
    X(SEND, 13)                                                                                    \
    X(SEND_ALL, 10)                                                                                \
    X(SENDV, 5)                                                                                    \
    X(SENDV_ALL, 6)                                                                                \
    X(SHUTDOWN, 2)                                                                                 \
    X(CLOSE, 3)

typedef enum program_kind {
#define PROGRAM_KIND(name, weight) name,
    PROGRAM_KINDS(PROGRAM_KIND)
#undef PROGRAM_KIND
        PROGRAM_KIND_COUNT
} program_kind;

enum { PROGRAM_HOSTS = 2, PROGRAM_ERRORS = -PRO_EUNKNOWN + 1 };

/* What it runs in. */
typedef struct program_world {
    uint64_t seed;
    int      actions; /* of each host, before it drains */
    uint64_t unit_ns; /* timers and deadlines are some of these away */
    uint64_t late_ns; /* nothing comes later than that after its time; 0: who knows */
    bool
        own_addresses; /* the hosts share the loopback: each client has an address of its own there */
    bool  may_reset, may_refuse, may_time_out, may_exhaust; /* the weather */
    bool  reset_is_end; /* this system tells a reset as the end of a stream */
    void *arg;
    void (*fail)(void *arg, const char *what);
    void (*sometimes)(void *arg, const char *name, bool condition); /* may be NULL */
} program_world;

void program_begin(const program_world *world);

/* A loop and the address at which it listens (port 0: a free one). */
void program_host(int number, pro_loop *loop, const pro_address *at);
void program_start(int number);

bool program_is_draining(void); /* nothing more is begun */
bool program_is_over(void);     /* nothing is left of it but the loops */
bool program_has_failed(void);
void program_end(void);

/* How often an operation of that kind ended so, by -error; a completion with PRO_MORE counts as OK. */
extern uint64_t program_outcomes[PROGRAM_KIND_COUNT][PROGRAM_ERRORS];
extern uint64_t program_completed, program_bytes;

const char *program_kind_name(program_kind kind);

#endif
