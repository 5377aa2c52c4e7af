/* The shadow model: what the program has asked for, in its own words, and what may come of it.
 *
 * Nothing here is read from the library but what its headers promise.  The program tells the model
 * before it asks for something (begin, cancel, closing, drain: model.c) and shows it what each handler
 * sees (completed, left: check.c, which says of what clause of the contract each check is).
 *
 * Invariants, at any time:
 *   host->live        == pro_loop_stats.live_ops
 *   life: ops + children + holds + its open handle == pro_scope_live
 *   a task is on its host's list from its initiation until its handler begins */
#ifndef TEST_RANDOM_MODEL_H
#define TEST_RANDOM_MODEL_H

#include "random/program.h"

#include <stdlib.h>
#include <string.h>

typedef struct host host;
typedef struct end  end;
typedef struct task task;

/* A scope. */
typedef struct life {
    pro_scope    scope;
    struct life *parent;
    host        *host;
    end         *end; /* whose socket lives in it, or above; NULL: a host's */
    uint32_t     ops, children, holds;
    bool         alive, owns_handle, draining, closed, limited, stop_told;
    uint64_t     close_at; /* a drain becomes a close; 0: never */
} life;

struct bytes {
    unsigned char *at;
    size_t         head, len, size;
    uint64_t       total;
};

/* One direction of a connection. */
struct stream {
    struct bytes sent, received;
    bool         may_end; /* its sender has begun to end it */
    bool         ended;   /* and its receiver has seen that */
};

/* A connection; the client is side 0. */
typedef struct line {
    int           users;
    bool          may_break; /* one of its ends goes, or was never known */
    struct stream stream[2]; /* by sender */
} line;

struct end {
    life        life, inner;
    pro_socket  sock;
    pro_address own; /* of a client, with own_addresses */
    host       *host;
    line       *line;
    int         side;
    bool        matched, connected, closing, broken, finishing, shut_asked;
    int         shutting;   /* shutdowns in flight */
    uint64_t    hole, shut; /* serials: sends behind these move nothing; 0: there is none */
    int         queued[2];
};

struct task {
    pro_op       op;
    host        *host;
    end         *end;
    life        *life; /* where it counts; NULL: a post */
    life        *held; /* a hold that its handler releases */
    task        *next;
    program_kind kind;
    uint64_t     serial, turn, started_ns, deadline_ns, when_ns, asked_ns;
    /* asked: it may be canceled; canceled: that was the first cause, surely */
    bool in_flight, asked, canceled, overtaken, late, dead, again, behind_connect, of_listener,
        is_tick;
    unsigned char *buf;
    size_t         len;
};

enum { ENDS_MAX = 10, GRAVES = 64, UNTOUCHED = 0x55, BURIED = 0xdd };

struct host {
    int          number;
    pro_loop    *loop;
    pro_address  address;
    pro_listener listener;
    life         life;
    bool         listener_closing, drained;
    uint64_t     turn, now, turn_before, now_before; /* of the last handler; of one a turn before */
    uint64_t     posted, post_seen;
    uint64_t     timer_turn, timer_when, timer_serial;
    uint32_t     live;
    uint64_t     canceled, timed_out;
    task        *tasks;   /* in flight */
    bool         running; /* a handler of a task, in the story of: */
    uint64_t     correlation;
    end         *ends[ENDS_MAX];
    int          ends_count, accepting, actions;
    task        *tick;
};

extern struct program {
    program_world world;
    host          hosts[PROGRAM_HOSTS];
    uint64_t      dice, serial;
    uint32_t      clients; /* so far */
    int           calling; /* inside a call of the library's */
    bool          failed;
    struct {
        void  *at;
        size_t size;
    } graves[GRAVES];
    size_t buried;
} p;

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void model_fail(const char *format, ...);
void model_sometimes(const char *name, bool condition);

static inline bool receives(program_kind kind) { return kind >= RECV && kind <= RECVV_EXACTLY; }
static inline bool sends(program_kind kind) { return kind >= SEND && kind <= SENDV_ALL; }
static inline bool transfers(program_kind kind) { return kind >= RECV && kind <= SENDV_ALL; }

static inline bool is_whole(program_kind kind)
{
    return kind == RECV_EXACTLY || kind == RECVV_EXACTLY || kind == SEND_ALL || kind == SENDV_ALL;
}

/* A life begins; its scope is initialised next. */
void model_life(life *l, host *h, life *parent, end *e);

/* An operation is about to be initiated; it was. */
void model_begin(task *t, program_kind kind, host *h, end *e, life *l);
void model_begun(task *t);

/* Wishes. */
void model_cancel(task *t);
void model_cancel_socket(end *e);
void model_cancel_life(life *l);
void model_closing(end *e); /* its close is about to be initiated */
void model_close_life(life *l);
void model_drain_life(life *l, uint64_t close_at);

/* Its handler begins; and is about to return, with the task given back. */
void model_completed(task *t);
void model_more(task *t);
void model_left(host *h, life *l);

/* Functions of scopes. */
void model_stopped(life *l);
void model_drained(life *l);

/* What check.c asks.  Closed by us, it or one above; or perhaps, by the end of a drain. */
void model_wrong(const task *t, const char *what);
bool model_is_closed(const life *l);
bool model_may_be_closed(const life *l);
bool model_is_draining(const life *l);
void model_check_life(const life *l);
void model_append(struct bytes *b, const void *data, size_t len);
void model_compare(struct stream *s);

line *model_line(void);
void  model_leave_line(line *n);

/* Memory that is given back, and must be left alone from then on. */
void model_bury(void *at, size_t size);
void model_end(void);

#endif
