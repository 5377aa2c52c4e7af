/* Synchronous system primitives: one contract, a directory of implementations for each system.
 *
 * Every call that can fail answers with a value >= 0 or with a NEGATED system error number, so that
 * the number stays there for diagnosis; pri_os_error turns it into one of ours.  Calls made for a
 * loop take its environment first and ask env->fault before the system (see proactor/loop.h). */
#ifndef PRI_OS_H
#define PRI_OS_H

#include <proactor/buffers.h>
#include <proactor/datagram.h>
#include <proactor/loop.h>
#include <proactor/net.h>
#include <proactor/pipe.h>
#include <proactor/poll.h>
#include <proactor/unix.h>

/* ---- Errors, environment ------------------------------------------------------------------- */

/* One of ours for a system number, either sign. */
int pri_os_error(int number);

/* The system's own clock, randomness and memory, as pro_env wants them. */
uint64_t pri_os_clock_ns(void *ctx);
void     pri_os_random(void *ctx, void *buf, size_t len);
void    *pri_os_realloc(void *ctx, void *ptr, size_t size);

/* 0, or the negated error number with which env wants this call to fail. */
static inline int pri_os_fault(const pro_env *env, const char *call)
{
    return env->fault ? -env->fault(env->ctx, call) : 0;
}

/* Which thread this is; never 0. */
uintptr_t pri_os_thread_self(void);

/* A number that is another one in a child of fork. */
unsigned pri_os_generation(void);

/* ---- Sockets -------------------------------------------------------------------------------- */

/* What ops and the core need of a network, all of it without waiting.  Engines on the real network
 * point to pri_os_net; the simulator brings its own. */
typedef struct pri_net {
    /* A stream or datagram socket of the family, close-on-exec. */
    intptr_t (*open)(const pro_env *env, int family, int datagram, int nonblocking);
    int (*adopt)(const pro_env *env, intptr_t fd, int nonblocking); /* set the blocking mode */

    /* Another descriptor of the same thing, close-on-exec, of a slot too.  NULL where PRI_CAPS_POLL is
     * missing. */
    intptr_t (*duplicate)(const pro_env *env, intptr_t fd);
    int (*bind)(const pro_env *env, intptr_t fd, const pro_address *address);
    int (*listen)(const pro_env *env, intptr_t fd, int backlog);
    int (*shutdown)(const pro_env *env, intptr_t fd); /* the sending side */

    /* Always closes; abortive: the peer gets a reset. */
    void (*close)(const pro_env *env, intptr_t fd, int abortive);
    int (*local)(const pro_env *env, intptr_t fd, pro_address *address);
    int (*peer)(const pro_env *env, intptr_t fd, pro_address *address);

    /* The addresses of a name, and the port of a service, for a family or (none) both.  Waits, and is
     * called on threads of the pool.  How many, or one of our errors. */
    int64_t (*lookup)(const pro_env *env, const char *host, const char *service, int family,
                      pro_address *found, size_t max);

    /* option: a pro_option, or one of the enum below. */
    int (*set)(const pro_env *env, intptr_t fd, int option, int value);
    int (*get)(const pro_env *env, intptr_t fd, int option, int *value);

    /* What follows may be NULL: not supported there. */

    /* Fix the peer of a datagram socket; NULL: none any more. */
    int (*associate)(const pro_env *env, intptr_t fd, const pro_address *address);

    /* Join or leave a group on an interface (0: the system's choice), of one source or (NULL) of all. */
    int (*group)(const pro_env *env, intptr_t fd, int join, const pro_address *group,
                 const pro_address *source, uint32_t interface_index);

    /* Unix sockets, by name: bind; fix the peer of a datagram socket; the name of its own (peer 0) or of
     * the other side, as text in buf; who is there. */
    int (*bind_unix)(const pro_env *env, intptr_t fd, const char *name);
    int (*associate_unix)(const pro_env *env, intptr_t fd, const char *name);
    int (*unix_name)(const pro_env *env, intptr_t fd, int peer, char *buf, size_t size);
    int (*credentials)(const pro_env *env, intptr_t fd, pro_credentials *who);

    /* Two ends of a new pair or pipe (reading end, writing end). */
    int (*pair)(const pro_env *env, int what, int nonblocking, intptr_t fds[2]);

    /* What a descriptor is that has no address of ours: PRI_OS_ bits, or a negated number. */
    int (*look)(const pro_env *env, intptr_t fd);

    /* A descriptor of our own for one of the standard streams.  is_shared: its mode is that of others, too,
     * and must not be changed. */
    intptr_t (*standard)(const pro_env *env, int which, int *is_shared);
} pri_net;

enum { PRI_OS_STREAM_PAIR, PRI_OS_DATAGRAM_PAIR, PRI_OS_PIPE };
enum { PRI_OS_PLAIN = 1 /* no socket */, PRI_OS_NO_READ = 2, PRI_OS_NO_WRITE = 4, PRI_OS_FILE = 8 };

enum { PRI_OPT_REUSE_PORT = 100, PRI_OPT_V6ONLY, PRI_OPT_STEER_BY_CPU };

/* Added to a pro_option of datagrams: it is that of an IPv6 socket. */
enum { PRI_OPT_OF_IPV6 = 1000 };

extern const pri_net pri_os_net;

int64_t pri_os_lookup(const pro_env *env, const char *host, const char *service, int family,
                      pro_address *found, size_t max);

/* What an engine that makes the calls itself needs; one attempt, never waiting (the descriptor is
 * non-blocking); -EAGAIN and the like come back as they are.  EINTR is retried inside, but for the first
 * two: there the caller does, who knows the arguments still, so that the common way has not to keep
 * them. */
int64_t  pri_os_recv(const pro_env *env, intptr_t fd, void *buf, size_t len);
int64_t  pri_os_send(const pro_env *env, intptr_t fd, const void *buf, size_t len);
int64_t  pri_os_recvv(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count);
int64_t  pri_os_sendv(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count);
intptr_t pri_os_accept(const pro_env *env, intptr_t fd, int nonblocking);
int      pri_os_connect(const pro_env *env, intptr_t fd, const void *name, size_t len);

/* The same for what is no socket; no broken pipe raises a signal.  NOSIGNAL: the system may be asked
 * to see to that.  SHARED: the descriptor may be blocking, and stays so. */
int64_t pri_os_read(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count,
                    int is_shared);
int64_t pri_os_write(const pro_env *env, intptr_t fd, const pro_vec *vecs, size_t count, int flags);
enum { PRI_OS_NOSIGNAL = 1, PRI_OS_SHARED = 2 };

/* PRO_POLL_* bits for those of poll(2), and what to ask for. */
int64_t  pri_os_poll_told(uint32_t events);
uint32_t pri_os_poll_asked(int is_read);

/* Messages: data with a name and descriptors beside it, in the system's form. */
#define PRI_OS_ADDRESS_SIZE 128
#define PRI_OS_CONTROL_SIZE 96

typedef struct pri_os_message {
    uint64_t header[8]; /* the system's: what a call or an entry takes */
    uint64_t name[PRI_OS_ADDRESS_SIZE / 8];
    uint64_t control[PRI_OS_CONTROL_SIZE / 8];
    uint32_t name_len;     /* 0: to the connected peer; receiving: of what came */
    uint32_t control_len;  /* 0: no descriptors; receiving: of what came */
    int      never_waits;  /* sending: where there is no room it fails */
    int      is_truncated; /* received: more came than there was room for */
} pri_os_message;

/* Fill the header for these pieces; for receiving, name_len and control_len are the room there.  After a
 * receive: take from it what was received beside the data, and who sent it. */
void pri_os_message_out(pri_os_message *m, const pro_vec *vecs, size_t count);
void pri_os_message_in(pri_os_message *m, pro_address *from);

/* As the calls above, one message; the header is filled inside. */
int64_t pri_os_recv_message(const pro_env *env, intptr_t fd, pri_os_message *m, const pro_vec *vecs,
                            size_t count);
int64_t pri_os_send_message(const pro_env *env, intptr_t fd, pri_os_message *m, const pro_vec *vecs,
                            size_t count);

/* What stands before a datagram in its leased buffer, which is aligned for nothing in particular: as
 * struct io_uring_recvmsg_out and the name behind it.  name_len may be more than came. */
typedef struct pri_os_head {
    uint32_t name_len; /* 0: nobody knows who sent it */
    uint32_t system[3];
    uint8_t  name[PRO_DATAGRAM_HEAD - 16];
} pri_os_head;

/* One into a buffer of size bytes, behind its head.  *is_truncated: there was more. */
int64_t pri_os_recv_datagram(const pro_env *env, intptr_t fd, void *buffer, size_t size,
                             int *is_truncated);

/* Many of them: how many, at least one.  Their results are filled in. */
int64_t pri_os_recv_batch(const pro_env *env, intptr_t fd, pro_message *messages, size_t count);
int64_t pri_os_send_batch(const pro_env *env, intptr_t fd, pro_message *messages, size_t count);

/* Addresses in the system's form: storage has PRI_OS_ADDRESS_SIZE bytes; returns the length. */
size_t pri_os_address_out(const pro_address *address, void *storage);
void   pri_os_address_in(pro_address *address, const void *storage);

/* The same for names of Unix sockets, "@..." for an abstract one; 0 for none that there can be.  In: as
 * text, with the length of the whole, as snprintf does. */
size_t pri_os_unix_out(const char *name, void *storage);
size_t pri_os_unix_in(const void *storage, size_t len, char *buf, size_t size);

/* Descriptors beside a message: put them there; take the next one of those that came, -1: none is left. */
void     pri_os_control_put(pri_os_message *m, const intptr_t *descriptors, size_t count);
intptr_t pri_os_control_take(pri_os_message *m);

/* ---- Signals -------------------------------------------------------------------------------- */

/* Call hear(arg) for every signal of that number until forgotten, in the context of a signal handler
 * (on Windows: of a console control thread): hear may only do what is safe there.  Returns a slot
 * >= 0 for pri_os_signal_forget, or a negated error number: -EINVAL, or -EBUSY when the 64 slots
 * are used.  The former disposition comes back when the last slot of a number is forgotten. */
int  pri_os_signal_hear(int number, void (*hear)(void *arg), void *arg);
void pri_os_signal_forget(int slot);

/* ---- Watches -------------------------------------------------------------------------------- */

/* The end of what pri_os_watch_open (watch.h) made. */
void pri_os_watch_close(const pro_env *env, intptr_t fd);

/* ---- Names ---------------------------------------------------------------------------------- */

/* "function (program+0x1234)" for an address that a call returns to, as far as that can be told. */
void pri_os_symbol(const void *address, char *buf, size_t size);

#endif
