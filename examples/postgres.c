/* postgres: ask a PostgreSQL server through libpq, without waiting in it.
 *
 *     postgres 'host=/tmp dbname=postgres' 'select 1' ['select 2']...
 *
 * What to see here: libpq's asynchronous calls say when they want to read or write, and never wait; the
 * loop tells them when they may.  One step function is all there is: it calls libpq until that would
 * wait, then polls for what it wants, with a deadline, and comes back. */
#include <proactor.h>

#include <libpq-fe.h>
#include <stdio.h>

#define PATIENCE_NS (10 * PRO_SEC)

static struct {
    pro_loop    *loop;
    pro_pollable pollable;
    pro_op       op;
    PGconn      *conn;
    int          fd; /* of the pollable; -1: none */
    uint32_t     what;
    int          is_connected, failed;
    char       **queries; /* up to NULL */
} s;

static void step(void);

static void fail(const char *why)
{
    fprintf(stderr, "postgres: %s\n", why);
    s.failed = 1;
}

/* ---- Polling ---------------------------------------------------------------------------------- */

static void on_ready(pro_op *op)
{
    if (op->error == PRO_OK)
        step();
    else
        fail(pro_error_text(op->error));
}

static void on_closed(pro_op *op) { (void)op; }

static void poll_again(void)
{
    s.op.deadline_ns = pro_loop_now(s.loop) + PATIENCE_NS;
    pro_poll(&s.op, &s.pollable, s.what, on_ready);
}

static void on_old_closed(pro_op *op)
{
    (void)op;
    int error = pro_pollable_open(&s.pollable, s.loop, NULL, PQsocket(s.conn));
    s.fd = error == PRO_OK ? PQsocket(s.conn) : -1;
    if (error != PRO_OK)
        fail(pro_error_text(error));
    else
        poll_again();
}

/* libpq tries one address after the other, each with its own socket. */
static void wait_for(uint32_t what)
{
    s.what = what;
    if (s.fd < 0)
        on_old_closed(NULL);
    else if (s.fd != PQsocket(s.conn))
        pro_pollable_close(&s.op, &s.pollable, on_old_closed);
    else
        poll_again();
}

/* ---- What libpq does -------------------------------------------------------------------------- */

static void print(const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++)
        for (int column = 0; column < PQnfields(result); column++)
            printf("%s%c", PQgetvalue(result, row, column),
                   column + 1 < PQnfields(result) ? '\t' : '\n');
}

static void ask(void)
{
    if (*s.queries && !PQsendQuery(s.conn, *s.queries)) fail(PQerrorMessage(s.conn));
}

/* All results that are there; NULL is the end of a query. */
static void take_results(void)
{
    while (*s.queries && !s.failed && !PQisBusy(s.conn)) {
        PGresult      *result = PQgetResult(s.conn);
        ExecStatusType status = PQresultStatus(result);
        if (!result) {
            s.queries++;
            ask();
        } else if (status == PGRES_TUPLES_OK) {
            print(result);
        } else if (status != PGRES_COMMAND_OK) {
            fail(PQresultErrorMessage(result));
        }
        PQclear(result);
    }
}

static void connect_more(void)
{
    switch (PQconnectPoll(s.conn)) {
    case PGRES_POLLING_READING: wait_for(PRO_POLL_IN); return;
    case PGRES_POLLING_WRITING: wait_for(PRO_POLL_OUT); return;
    case PGRES_POLLING_OK: break;
    default: fail(PQerrorMessage(s.conn)); return;
    }
    s.is_connected = 1;
    PQsetnonblocking(s.conn, 1);
    ask();
    step();
}

static void step(void)
{
    if (!s.is_connected) {
        connect_more();
        return;
    }
    int unsent = PQflush(s.conn);
    if (unsent < 0 || !PQconsumeInput(s.conn)) fail(PQerrorMessage(s.conn));
    if (!s.failed && unsent == 0) take_results();
    if (!s.failed && *s.queries) wait_for(unsent > 0 ? PRO_POLL_OUT : PRO_POLL_IN);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: postgres CONNINFO QUERY...\n");
        return 2;
    }
    s.queries = &argv[2];
    s.fd = -1;
    if (pro_loop_new(&s.loop, NULL) != PRO_OK) return 1;
    s.conn = PQconnectStart(argv[1]);
    if (!s.conn || PQstatus(s.conn) == CONNECTION_BAD)
        fail(s.conn ? PQerrorMessage(s.conn) : "out of memory");
    else
        wait_for(PRO_POLL_OUT); /* so libpq wants it, before the first call */
    pro_loop_run(s.loop);
    if (s.fd >= 0) pro_pollable_close(&s.op, &s.pollable, on_closed);
    pro_loop_run(s.loop);
    PQfinish(s.conn);
    return pro_loop_free(s.loop) != PRO_OK || s.failed;
}
