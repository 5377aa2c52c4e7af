/* The servers of bench/peers: which there are, and one of them as a process. */
#ifndef BENCH_SERVERS_H
#define BENCH_SERVERS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct server {
    const char *name;
    const char *program; /* in the directory peers beside the measuring program */
    const char *word;    /* an option of it, or NULL */
    const char *engine;  /* PROACTOR_ENGINE, or NULL */
    const char *what;
};

extern const struct server servers[]; /* ends with a name of NULL */

const struct server *server_find(const char *name);
void                 servers_list(FILE *to);

struct server_run {
    pid_t    pid;
    unsigned port;
};

/* Starts it on a CPU, with a buffer of so many bytes, for so many connections.  Returns 0, or -1 if the
 * program is not there (its package was not installed when the peers were built) or does not come up. */
int  server_start(struct server_run *run, const struct server *server, int cpu, unsigned buffer,
                  unsigned connections);
void server_stop(struct server_run *run);

#endif
