/* Drain: a server that ends in order.
 *
 *     drain 127.0.0.1:9000 1500 3000
 *
 * Each connection gets a job of 1500 ms: "started", and at its end "done".  Press Ctrl-C in the
 * middle: no new connections, the jobs that are under way finish, and after 3000 ms what is not
 * finished is canceled.
 *
 * What to see here: the scopes are a tree; below the root are the door and each job.  Ending in
 * order is one call, pro_scope_drain on the root: it tells every on_stop below (here the door's),
 * waits for the operations, and becomes a close at its deadline.  No list of connections, no flag
 * that every handler looks at. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct server {
    pro_loop    *loop;
    pro_scope    door; /* the listener's: what has to stop first */
    pro_listener listener;
    pro_op       accepting;
    pro_op       interrupt, terminate;
    uint64_t     job_ns, limit_ns;
    int          started, done, canceled;
} server;

/* ---- a job ----------------------------------------------------------------------------------- */

struct job {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
};

static void finish(struct job *j, int error)
{
    if (error == PRO_ECANCELED) server.canceled++;
    pro_scope_close(&j->scope);
}

static void on_answered(pro_op *op)
{
    if (op->error == PRO_OK) server.done++;
    finish(op->user, op->error);
}

static void on_worked(pro_op *op)
{
    struct job *j = op->user;
    if (op->error == PRO_OK) {
        pro_send_all(op, &j->sock, "done\n", 5, on_answered);
    } else {
        finish(j, op->error);
    }
}

static void on_greeted(pro_op *op)
{
    struct job *j = op->user;
    if (op->error == PRO_OK) {
        op->scope = &j->scope; /* a timer belongs to the loop's root, unless it is told otherwise */
        pro_sleep(op, server.loop, server.job_ns, on_worked);
    } else {
        finish(j, op->error);
    }
}

static void on_job_drained(pro_scope *scope) { free(pro_container_of(scope, struct job, scope)); }

/* ---- the server ------------------------------------------------------------------------------ */

static void on_accepted(pro_op *op);

static void on_rested(pro_op *op) { pro_accept_multi(op, &server.listener, on_accepted); }

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) { /* canceled by on_stop; or no handles left: rest, then go on */
        if (!pro_scope_draining(&server.door)) {
            pro_sleep(op, server.loop, 100 * PRO_MSEC, on_rested);
        }
        return;
    }
    struct job *j = calloc(1, sizeof *j);
    if (!j) return; /* what nobody takes is closed */
    j->op.user = j;
    pro_scope_init(&j->scope, server.loop, NULL, on_job_drained);
    if (pro_accept_take(op, &j->sock, &j->scope) != PRO_OK) {
        pro_scope_close(&j->scope);
        return;
    }
    server.started++;
    pro_send_all(&j->op, &j->sock, "started\n", 8, on_greeted);
}

static void on_stop(pro_scope *scope) { pro_scope_close(scope); } /* the door: cancels the accept */

static void on_signal(pro_op *op)
{
    if (op->error != PRO_OK) return;
    printf("drain: ending\n");
    fflush(stdout);
    pro_cancel(
        &server.interrupt); /* the other one; the one that came is not in flight: no effect */
    pro_cancel(&server.terminate);
    pro_scope_drain(pro_loop_scope(server.loop), pro_loop_now(server.loop) + server.limit_ns);
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "drain: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    long        job_ms = argc > 2 ? atol(argv[2]) : 1500;
    long        limit_ms = argc > 3 ? atol(argv[3]) : 3000;
    pro_address address;
    if (argc > 4 || job_ms < 0 || limit_ms < 0 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: drain [ADDR:PORT [JOB_MS [LIMIT_MS]]]\n");
        return 2;
    }
    server.job_ns = (uint64_t)job_ms * PRO_MSEC;
    server.limit_ns = (uint64_t)limit_ms * PRO_MSEC;

    int error = pro_loop_new(&server.loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    pro_scope_init(&server.door, server.loop, NULL, NULL);
    pro_scope_on_stop(&server.door, on_stop);
    error = pro_listen(&server.listener, server.loop, &server.door, &address, NULL);
    if (error != PRO_OK) return fail(where, error);

    pro_accept_multi(&server.accepting, &server.listener, on_accepted);
    pro_signal_wait(&server.interrupt, server.loop, SIGINT, on_signal);
    pro_signal_wait(&server.terminate, server.loop, SIGTERM, on_signal);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&server.listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("drain: listening on %s\n", text);
    fflush(stdout);
    pro_loop_run(server.loop);
    printf("drain: %d started, %d done, %d canceled\n", server.started, server.done,
           server.canceled);
    error = pro_loop_free(server.loop);
    return error == PRO_OK ? 0 : fail("something is left", error);
}
