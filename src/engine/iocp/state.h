/* What the files of this engine share: its state, what it keeps in steps and handles, and the calls
 * from iocp.c into the others. */
#ifndef PRI_IOCP_STATE_H
#define PRI_IOCP_STATE_H

#include <stdatomic.h>

#include "core/engine.h"
#include "os/win/win.h"

#include <mswsock.h>

/* Keys of the packets that are not of a socket's: those have 0, and an OVERLAPPED. */
enum { KEY_WAKE, KEY_TIMER, KEY_POLL };

enum { ACCEPT_ADDRESS = sizeof(struct sockaddr_storage) + 16 }; /* as AcceptEx wants it */

/* pri_step.engine: first the system's, then, on the ready list, ours. */
typedef union step_words {
    OVERLAPPED overlapped;
    struct {
        pri_step *next;
        int64_t   bytes;
        int32_t   error; /* the system's number, or 0 */
    } ready;
    pri_link paused; /* of a leased receive: lease.c */
    struct {
        struct iocp *io;
        HANDLE       wait;
        atomic_bool  fired;
    } object;
} step_words;

_Static_assert(sizeof(step_words) <= sizeof(((pri_step *)0)->engine), "it has room");

/* pro_handle.pri_engine. */
typedef struct handle_words {
    bool     attached;
    bool     skips;       /* no packet for a call that succeeds at once */
    bool     canceled[2]; /* by direction: of the step that is started, or was last */
    bool     waits;       /* its calls wait, and so threads make them (helper.c) */
    bool     is_pipe;     /* of Windows, so that a read of nothing is no end */
    uint16_t room;        /* of a pipe: what one write may have; 0: no limit */
    union {
        struct {
            union {
                SOCKET   accepting; /* of a listener */
                uint32_t lease;     /* of a socket: lease.c */
            };
            union {
                struct pri_iocp_polls *polls; /* of a pollable, made by its first step */
                struct pri_iocp_names *names; /* of a datagram socket, made by its first batch */
            };
        };
        struct pri_iocp_helper *helpers[2]; /* of one that waits, by direction */
    };
} handle_words;

_Static_assert(sizeof(handle_words) <= sizeof(((pro_handle *)0)->pri_engine), "it has room");

typedef struct iocp {
    HANDLE            port;
    pro_loop         *loop;
    const pro_env    *env;
    LPFN_ACCEPTEX     accept_ex;
    LPFN_CONNECTEX    connect_ex;
    LPFN_TRANSMITFILE transmit_file;
    bool              skips;
    bool              hurries;       /* pending calls get a moment */
    bool              woken;         /* a wake packet was taken outside of turn */
    bool              packets_first; /* in this turn, the ready list in the next: neither starves */
    pri_step         *ready;
    pri_step        **ready_end;
    HANDLE            timer;      /* NULL: waits have a time-out */
    HANDLE            timer_wait; /* of the thread pool, for the timer */
    uint64_t          timer_ns;   /* what it is set to; 0: it is not */
    HANDLE            afd;        /* NULL: no poll yet */
    atomic_bool       waking;
    WSABUF            pieces[PRO_VECS_MAX]; /* of the call that is being made */
    char              addresses[2 * ACCEPT_ADDRESS];
    OVERLAPPED_ENTRY  entries[]; /* batch_max */
} iocp;

static inline step_words *words_of(pri_step *step) { return (step_words *)(void *)step->engine; }

static inline handle_words *words_of_handle(pro_handle *handle)
{
    return (handle_words *)(void *)handle->pri_engine;
}

/* Was a cancel asked for, of the step that is started in its direction. */
static inline bool *canceled_of(const pri_step *step)
{
    bool writes = step->kind == PRI_STEP_SEND || step->kind == PRI_STEP_CONNECT ||
                  step->kind == PRI_STEP_POLL_OUT || step->kind == PRI_STEP_SEND_FILE;
    return &words_of_handle(step->handle)->canceled[writes];
}

/* Many messages in one step; a step on what is no socket. */
static inline bool is_batch(const pri_step *step)
{
    return step->flags & PRI_STEP_BY_CALL && step->handle->pri_kind == PRI_DATAGRAM;
}

static inline bool is_stream(const pri_step *step)
{
    return step->flags & PRI_STEP_BY_CALL && step->handle->pri_kind != PRI_DATAGRAM;
}

/* A step that waits for an object to be signaled: a process, an event. */
static inline bool is_object(const pri_step *step)
{
    return step->handle->pri_kind == PRI_PROCESS || step->handle->pri_kind == PRI_WATCHER;
}

/* A packet that is ours.  Any thread. */
void pri_iocp_post(const iocp *io, ULONG_PTR key);

/* The same for a step, which is done then: one like the system's. */
void pri_iocp_post_step(const iocp *io, pri_step *step, DWORD bytes);

/* life.c -------------------------------------------------------------------------------------- */

/* As engine.h wants them. */
int  pri_iocp_probe(const pri_engine_options *options, pri_why *why);
int  pri_iocp_init(pro_loop *loop, const pri_engine_options *options, pri_why *why);
int  pri_iocp_bind(pro_loop *loop);
void pri_iocp_fini(pro_loop *loop);

/* timer.c ------------------------------------------------------------------------------------- */

/* The options ask for precise timers and this system has them; why says it where it has not. */
bool pri_iocp_can_be_precise(const pri_engine_options *options, pri_why *why);

/* Make the timer, if it is wanted and there.  0, or a negated number: what was made is undone by end. */
int  pri_iocp_timer_make(iocp *io, const pri_engine_options *options);
void pri_iocp_timer_end(iocp *io);

/* How long a turn may wait for packets; the timer is set if that is to end the wait. */
DWORD pri_iocp_timeout(iocp *io, uint64_t until_ns);

/* poll.c -------------------------------------------------------------------------------------- */

/* Make the call, as those of iocp.c: WSA_IO_PENDING, and a packet with KEY_POLL comes, or another number. */
int pri_iocp_poll_call(iocp *io, pri_step *step);

/* The step of such a packet, and what it says: 0 with the PRO_POLL_ bits in *told, or a number. */
pri_step *pri_iocp_poll_step(OVERLAPPED *overlapped);
int       pri_iocp_poll_result(const pri_step *step, int64_t *told);

/* What CancelIoEx wants for a step of readiness. */
OVERLAPPED *pri_iocp_poll_overlapped(const pri_step *step);

void pri_iocp_poll_detach(iocp *io, pro_handle *handle);

/* lease.c ------------------------------------------------------------------------------------- */

/* Make the call of a leased receive, as those of iocp.c. */
int pri_iocp_lease_call(iocp *io, pri_step *step, DWORD *bytes);
int pri_iocp_lease_from_call(iocp *io, pri_step *step, DWORD *bytes);

/* A call of its is over.  true: call it again, unless it is paused; and there is a record only if that says MORE. */
bool pri_iocp_leased(pri_step *step, int *error, pri_record *record);

/* handle->lease of one for which there is no call until handlers ran. */
#define PRI_IOCP_PAUSED UINT32_MAX

/* Make the calls of all that are. */
void pri_iocp_resume(pro_loop *loop, void (*again)(iocp *io, pri_step *step));

/* It is canceled: true if it was paused, and is no more. */
bool pri_iocp_unpause(pri_step *step);

/* object.c ------------------------------------------------------------------------------------ */

/* Make the call, as those of iocp.c: WSA_IO_PENDING, and a packet comes, or another number. */
int pri_iocp_object_call(iocp *io, pri_step *step);

/* Its packet was taken. */
void pri_iocp_object_result(pri_step *step);

/* true: no packet comes any more. */
bool pri_iocp_object_cancel(pri_step *step);

/* transmit.c ---------------------------------------------------------------------------------- */

/* A step that sends a part of a file: make the call, as those of iocp.c.  ERROR_HANDLE_EOF: there is none. */
int pri_iocp_transmit_call(iocp *io, pri_step *step, DWORD *bytes);

/* Is there a TransmitFile for sockets like this one, and may it be used?  Into io, and why not. */
void pri_iocp_transmit_look(iocp *io, SOCKET s, const pri_engine_options *options, pri_why *why);

/* message.c ----------------------------------------------------------------------------------- */

/* A step with MESSAGE or BATCH: make the call, as those of iocp.c. */
int pri_iocp_message_call(iocp *io, pri_step *step, WSABUF *pieces, DWORD count, DWORD *bytes);

/* It is over: fill in what came or went.  0 or a number, and what the record has for a value. */
int pri_iocp_message_done(iocp *io, pri_step *step, int error, int64_t *value);

void pri_iocp_message_detach(iocp *io, pro_handle *handle);

/* An overlapped receive of one datagram, on a socket that need not be bound yet, with MSG_ flags; at, len: where its
 * sender goes, or NULL. */
int pri_iocp_receive_from(iocp *io, const pri_step *step, WSABUF *piece, DWORD flags, DWORD *bytes,
                          void *at, INT *len, OVERLAPPED *overlapped);

/* The number that says that there was more than room. */
static inline bool pri_iocp_was_truncated(int error)
{
    return error == WSAEMSGSIZE || error == ERROR_MORE_DATA;
}

/* stream.c ------------------------------------------------------------------------------------ */

/* A handle that is no socket, at its first step: 0 or a number. */
int pri_iocp_stream_attach(iocp *io, pro_handle *handle);

/* A step on one: make the call over the first of its pieces, as those of iocp.c. */
int pri_iocp_stream_call(iocp *io, pri_step *step, const WSABUF *piece, DWORD *bytes);

/* What its packet says: 0 or a number. */
int pri_iocp_stream_result(const pri_step *step);

/* It is over: 0 or a number for the record.  *again: it was nothing, and is to be started once more. */
int pri_iocp_stream_done(const pri_step *step, int error, int64_t bytes, bool *again);

/* helper.c ------------------------------------------------------------------------------------ */

/* Let a thread read or write: WSA_IO_PENDING, or a number. */
int pri_iocp_helper_call(iocp *io, pri_step *step, void *buf, DWORD len);

/* What came of it. */
int pri_iocp_helper_result(const pri_step *step);

/* Let the call end. */
void pri_iocp_helper_cancel(const pri_step *step);

/* The threads of the handle, which have nothing to do, end. */
void pri_iocp_helper_detach(iocp *io, pro_handle *handle);

#endif
