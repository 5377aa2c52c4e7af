/* pro-echo: a TCP echo server.  What its files share.
 *
 * main.c        the loop of one shard, or the runtime of several; the first line and the last
 * options.c     the command line
 * server.c      what the shards have in common: places for connections, signals, the end
 * shard.c       one of them: its listener accepts, pauses, resumes, drains
 * session.c     one connection: what the three styles have in common
 * coroutine.c, stackless.c, callback.c      the styles: how a connection echoes */
#ifndef PRO_ECHO_H
#define PRO_ECHO_H

#include <proactor.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- Options --------------------------------------------------------------------------------- */

#define SHARDS_MAX 1024

struct options {
    pro_address         listen;
    pro_engine          engine;
    unsigned            shards; /* 0: one per core */
    const struct style *style;
    uint64_t            idle_timeout_ns; /* 0: none */
    uint64_t            connections_max; /* 0: no limit */
    uint32_t            slots;           /* of each loop */
    bool                explain;
};

/* Read the command line.  Returns -1 to go on, or the status to exit with. */
int options_parse(struct options *options, int argc, char **argv);

/* "uring", as on the command line. */
const char *options_engine_name(pro_engine engine);

/* ---- Sessions -------------------------------------------------------------------------------- */

#define BUFFER_SIZE (16 * 1024)

/* What a session is in every style; its scope closes the socket, and ends with the session. */
struct session {
    pro_scope     scope;
    pro_socket    sock;
    struct shard *shard;
    bool          has_place;
    bool          is_receiving; /* all it has in flight is a receive, which a drain may cut short */
};

/* Receive and send back until the end of the stream; then, or after an error, session_end.
 *
 *     receiving --bytes--> sending --all of them--> receiving
 *     receiving --cut short for another deadline--> receiving          session_again
 *     receiving --end of stream, error------------> ended
 *     receiving --idle for too long---------------> lingering --end of stream, time over--> ended
 *
 * Lingering ends our side in order, and then discards what still comes: closing a connection with
 * unread bytes would send a reset, and could take from the client echoes that it has not read. */
struct style {
    const char *name;
    size_t      session_size; /* of a struct that begins with a struct session; zeroed */

    /* Begin.  PRO_OK, or an error if there is no memory; then nothing has begun. */
    int (*start)(struct session *s);
};

extern const struct style style_coroutine, style_stackless, style_callback;

/* What a style says as it goes, to count and to know its deadlines. */
uint64_t session_receives(struct session *s);               /* a receive begins: its deadline */
bool     session_again(const struct session *s, int error); /* of a receive */
void     session_received(struct session *s, int64_t bytes);
uint64_t session_sends(struct session *s); /* a send begins: its deadline */
void     session_sent(struct session *s, int64_t bytes);
uint64_t session_lingers(struct session *s); /* the deadline of all of it */
void     session_discarded(struct session *s, int64_t bytes);
void     session_end(struct session *s, int error); /* the last thing a style does with s */

/* In the handler of an accept that succeeded: make the connection a session, which does nothing as
 * yet.  NULL if it cannot be; then the connection is closed. */
struct session *session_new(struct shard *shard, pro_op *accepted);
void            session_start(struct session *s); /* once: either this */
void            session_drop(struct session *s);  /* or this */

/* ---- Shards ---------------------------------------------------------------------------------- */

struct totals {
    uint64_t connections;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t discarded; /* of bytes_in: came after we had ended our side */
    uint64_t canceled;  /* connections cut before their end */
    uint64_t errors;    /* connections that broke, or that we had no memory for */
};

enum shard_state {
    SHARD_ACCEPTING, /* shard.op is an accept */
    SHARD_PAUSED,    /* shard.op is a timer; canceling it resumes */
    SHARD_CLOSING    /* shard.op closes the listener, or has closed it */
};

struct shard {
    struct server   *server;
    pro_loop        *loop;
    pro_scope        scope; /* the listener, op, and the scope of each session */
    pro_listener     listener;
    pro_op           op; /* always in flight until the listener is closed */
    enum shard_state state;
    bool             is_starved;
    struct session  *in_hand; /* accepted as the last place went to another shard: it waits */
    struct totals    totals;
    pro_socket       probe; /* is the address free? */
    pro_op           probed;

    pro_op      poke; /* from another shard: look whether there are places now */
    atomic_bool is_poked;
    pro_call    draining, closing, over; /* to this shard, to this shard, and to the first */
    char        apart[64];               /* two shards write to no line of memory in common */
};

/* Listen, accept, on the thread of the shard.  PRO_OK, or the error of listening. */
int shard_start(struct server *server, pro_loop *loop, unsigned number);

/* Look whether there are places.  Any thread. */
void shard_poke(struct shard *shard);

/* Told by a session whose memory is about to be freed. */
void shard_session_ended(struct shard *shard, bool had_place);

/* ---- The server ------------------------------------------------------------------------------ */

struct server {
    const struct options *options;
    unsigned              count; /* of shards */
    struct shard         *shards;
    pro_runtime          *runtime; /* NULL: one shard, alone */
    pro_address           address; /* where it listens */
    int                   listen_error;

    /* The first shard's. */
    pro_op   interrupt, terminate; /* the waits for SIGINT and SIGTERM */
    bool     is_draining, is_closing;
    unsigned shards_over;

    char                 apart[64];
    atomic_uint_fast64_t places;  /* left, if there is a maximum */
    atomic_uint          starved; /* shards that pause for want of handles */
};

/* PRO_OK or PRO_ENOMEM. */
int  server_init(struct server *server, const struct options *options, unsigned shards);
void server_fini(struct server *server);

/* Set a shard up on its thread; arg is the server.  Returns PRO_OK or the error of listening. */
pro_shard_fn server_start_shard;

/* Take one of the places that all shards share, if there is one; give it back.  Any shard. */
bool server_has_place(const struct server *server);
bool server_take_place(struct server *server);
void server_give_place(struct server *server);

/* Any shard: a connection has ended, so handles are free again. */
void server_handles_freed(struct server *server);

/* A shard has ended: everything of it, if it had begun. */
void server_shard_over(struct shard *shard);

struct totals server_totals(const struct server *server);

#endif
