/* pro-echo: a TCP echo server.  What its files share.
 *
 * main.c      makes the loop and the server, prints the first line and the last
 * options.c   the command line
 * server.c    the listener: accepts, pauses, resumes, drains
 * session.c   one connection: receives, echoes, ends */
#ifndef PRO_ECHO_H
#define PRO_ECHO_H

#include <proactor.h>

#include <stdbool.h>
#include <stdint.h>

struct options {
    pro_address listen;
    pro_engine  engine;
    uint64_t    idle_timeout_ns; /* 0: none */
    uint64_t    connections_max; /* 0: no limit */
    bool        explain;
};

/* Read the command line.  Returns -1 to go on, or the status to exit with. */
int options_parse(struct options *options, int argc, char **argv);

/* "uring", as on the command line. */
const char *options_engine_name(pro_engine engine);

struct totals {
    uint64_t connections;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t discarded; /* of bytes_in: came after we had ended our side */
    uint64_t canceled;  /* connections cut before their end */
    uint64_t errors;    /* connections that broke, or that we had no memory for */
};

enum server_state {
    SERVER_ACCEPTING, /* server.op is an accept */
    SERVER_PAUSED,    /* server.op is a timer; canceling it resumes */
    SERVER_CLOSING    /* server.op closes the listener, or has closed it */
};

struct server {
    pro_loop             *loop;
    const struct options *options;
    pro_scope             scope; /* the listener, op, and the scope of each session */
    pro_listener          listener;
    pro_op                op; /* always in flight until the listener is closed */
    enum server_state     state;
    pro_op                interrupt; /* the waits for SIGINT and SIGTERM */
    pro_op                terminate;
    uint64_t              sessions; /* alive now */
    struct totals         totals;
};

/* Listen, accept, and wait for signals.  The loop's run returns when a signal has ended all of it.
 * Returns PRO_OK or the error of listening; then a run returns soon. */
int server_start(struct server *server, pro_loop *loop, const struct options *options);

/* Told by a session whose memory is about to be freed. */
void server_session_ended(struct server *server);

/* In the handler of an accept that succeeded: make the connection a session. */
void session_start(struct server *server, pro_op *accepted);

#endif
