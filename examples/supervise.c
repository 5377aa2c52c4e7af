/* Supervise: run a program, and run it again when it fails.
 *
 *     supervise PROGRAM [ARGUMENT]...
 *
 * Ends when the program ends with 0, or on SIGTERM and SIGINT: then the program gets SIGTERM, and two seconds.
 *
 * What to see here: the child lives in a scope.  Draining the scope is the whole shutdown: on_stop asks
 * the child to end, the drain waits for it, and at the deadline the scope closes and the library kills it.
 * No child and no zombie is left, whatever the child does. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>

#define GRACE_NS (2 * PRO_SEC)
#define PAUSE_NS (100 * PRO_MSEC) /* before the first new start; then twice as long, and so on */
#define PAUSE_MAX_NS (10 * PRO_SEC)

static struct {
    pro_loop         *loop;
    pro_scope         scope;
    pro_process       child;
    pro_spawn_options options;
    pro_op            op, term, interrupt;
    uint64_t          pause_ns;
    int               starts, status;
} s;

static void on_started(pro_op *op);

static void start(pro_op *op)
{
    s.starts++;
    pro_spawn(op, &s.child, &s.options, on_started);
}

static void on_rested(pro_op *op)
{
    if (op->error == PRO_OK) start(op);
}

static void on_ended(pro_op *op)
{
    if (op->error != PRO_OK) return; /* shut down meanwhile */
    s.status = (int)op->value;
    if (op->value >= PRO_SIGNALED)
        printf("supervise: ended by signal %d\n", (int)op->value - PRO_SIGNALED);
    else
        printf("supervise: ended with %d\n", (int)op->value);
    fflush(stdout);
    if (op->value == 0 || pro_scope_draining(&s.scope)) {
        pro_scope_drain(&s.scope, PRO_NEVER);
        return;
    }
    pro_sleep(op, s.loop, s.pause_ns, on_rested);
    s.pause_ns = 2 * s.pause_ns < PAUSE_MAX_NS ? 2 * s.pause_ns : PAUSE_MAX_NS;
}

static void on_started(pro_op *op)
{
    if (op->error != PRO_OK) { /* trying again would not help */
        fprintf(stderr, "supervise: %s: %s\n", s.options.file, pro_error_text(op->error));
        s.status = 127;
        pro_scope_close(&s.scope);
        return;
    }
    printf("supervise: started, process %d\n", (int)op->value);
    fflush(stdout);
    pro_process_wait(op, &s.child, on_ended);
}

/* ---- Shutting down ---------------------------------------------------------------------------- */

static void on_stop(pro_scope *scope)
{
    (void)scope;
    pro_process_kill(&s.child, SIGTERM);
    if (pro_process_id(&s.child) == 0) pro_cancel(&s.op); /* between two children */
}

static void on_drained(pro_scope *scope)
{
    (void)scope;
    pro_cancel(&s.term);
    pro_cancel(&s.interrupt);
}

static void on_signal(pro_op *op)
{
    if (op->error == PRO_OK) pro_scope_drain(&s.scope, pro_loop_now(s.loop) + GRACE_NS);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: supervise PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    int error = pro_loop_new(&s.loop, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "supervise: cannot make a loop: %s\n", pro_error_text(error));
        return 1;
    }
    s.options.file = argv[1];
    s.options.args = (const char *const *)&argv[1];
    s.pause_ns = PAUSE_NS;
    pro_scope_init(&s.scope, s.loop, NULL, on_drained);
    pro_scope_on_stop(&s.scope, on_stop);
    pro_process_init(&s.child, s.loop, &s.scope);
    s.op.scope = &s.scope;
    start(&s.op);
    pro_signal_wait(&s.term, s.loop, SIGTERM, on_signal);
    pro_signal_wait(&s.interrupt, s.loop, SIGINT, on_signal);
    pro_loop_run(s.loop);
    printf("supervise: %d starts\n", s.starts);
    if (pro_loop_free(s.loop) != PRO_OK) return 1;
    return s.status > 255 ? 1 : s.status;
}
