/* The smaller means of proactor/test.h: a handler without a loop, a clock moved by hand, scripted
 * faults, the sweep of errors. */
#include <proactor/test.h>

#include <string.h>

#include "engine/sim/world.h"

/* ---- A handler as a pure function ------------------------------------------------------------- */

void pro_test_complete_flags(pro_op *op, pro_handler *handler, int64_t value, int error,
                             uint16_t flags)
{
    if (pro_op_in_flight(op))
        pri_abort("pro_test_complete: an operation in flight: %s, initiated at %s", pro_op_name(op),
                  pro_op_site(op));
    op->value = value;
    op->error = error;
    op->flags = flags;
    op->deadline_ns = PRO_NEVER;
    handler(op);
}

void pro_test_complete(pro_op *op, pro_handler *handler, int64_t value, int error)
{
    pro_test_complete_flags(op, handler, value, error, 0);
}

/* ---- A clock moved by hand -------------------------------------------------------------------- */

static uint64_t clock_ns(void *ctx)
{
    const pro_test_clock *clock = ctx;
    return clock->now_ns;
}

void pro_test_clock_init(pro_test_clock *clock) { clock->now_ns = PRO_SEC; }

pro_env pro_test_clock_env(pro_test_clock *clock)
{
    return (pro_env){.ctx = clock, .clock_ns = clock_ns};
}

void pro_test_clock_advance(pro_test_clock *clock, uint64_t ns) { clock->now_ns += ns; }

/* ---- Scripted faults -------------------------------------------------------------------------- */

static int next_does(pro_socket *socket, int direction, size_t bytes_max, int error)
{
    pro_loop *loop = socket->handle.pri_loop;
    if (!loop || loop->engine != &pri_engine_sim) return PRO_EINVAL;
    const sim_loop *l = pri_loop_engine_state(loop);
    sim_socket     *s = pri_sim_socket_of_fd(l->world, socket->handle.pri_fd);
    if (!s || (!error && !bytes_max)) return PRO_EINVAL;
    if (!s->script) {
        s->script = pri_sim_realloc(NULL, sizeof *s->script);
        memset(s->script, 0, sizeof *s->script);
    }
    if (s->script->count[direction] == PRI_SIM_SCRIPT) return PRO_EINVAL;
    unsigned i = (s->script->head[direction] + s->script->count[direction]++) % PRI_SIM_SCRIPT;
    s->script->bytes_max[direction][i] = bytes_max < UINT32_MAX ? (uint32_t)bytes_max : UINT32_MAX;
    s->script->error[direction][i] = error;
    if (error) pri_sim_try_soon(l->world, s, direction); /* it need not wait for bytes */
    return PRO_OK;
}

int pro_sim_next_recv(pro_socket *s, size_t bytes_max, int error)
{
    return next_does(s, PRI_SIM_READ, bytes_max, error);
}

int pro_sim_next_send(pro_socket *s, size_t bytes_max, int error)
{
    return next_does(s, PRI_SIM_WRITE, bytes_max, error);
}

void pro_sim_inject(pro_sim *w, uint64_t index, int error)
{
    w->inject_at = index;
    w->inject_error = error;
}

void pro_sim_watch(pro_sim *w, void (*fn)(void *arg, uint64_t index, const pro_op *op), void *arg)
{
    w->watch = fn;
    w->watch_arg = arg;
}

/* ---- Every error at every place --------------------------------------------------------------- */

enum { PLACES_MAX = 256 };

typedef struct place {
    const char *site, *operation;
    uint64_t    index;
    int         kind;
} place;

typedef struct sweep {
    place places[PLACES_MAX];
    int   count;
} sweep;

static void watch(void *arg, uint64_t index, const pro_op *op)
{
    sweep *s = arg;
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->places[i].site, pro_op_site(op)) == 0 &&
            s->places[i].kind == op->pri_kernel_step.kind)
            return;
    if (s->count == PLACES_MAX) return;
    s->places[s->count++] =
        (place){pro_op_site(op), pro_op_name(op), index, op->pri_kernel_step.kind};
}

static const int errors_of[PRI_STEP_KINDS][8] = {
    [PRI_STEP_RECV] = {PRO_EOF, PRO_ECONNRESET, PRO_ETIMEDOUT, PRO_ENOBUFS, PRO_EIO},
    [PRI_STEP_SEND] = {PRO_EPIPE, PRO_ECONNRESET, PRO_ETIMEDOUT, PRO_ENOBUFS},
    [PRI_STEP_ACCEPT] = {PRO_EMFILE, PRO_ENFILE, PRO_ENOBUFS, PRO_ECONNABORTED},
    [PRI_STEP_CONNECT] = {PRO_ECONNREFUSED, PRO_ETIMEDOUT, PRO_EHOSTUNREACH, PRO_ENETUNREACH,
                          PRO_EADDRNOTAVAIL, PRO_ECONNRESET},
    [PRI_STEP_JOB] = {PRO_EAGAIN, PRO_ENOMEM},
    [PRI_STEP_CALL] = {PRO_EIO, PRO_ENOSPC, PRO_EMFILE, PRO_EACCES},
};

static int run_with(pro_test_scenario *scenario, void *arg, sweep *s, uint64_t index, int error)
{
    pro_sim_options options = {.version = PRO_VERSION, .survive = 1};
    pro_sim        *w;
    if (pro_sim_new(&w, &options) != PRO_OK) pri_abort("pro_test_sweep: inside of another world");
    if (s) pro_sim_watch(w, watch, s);
    pro_sim_inject(w, index, error);
    scenario(w, arg);
    return pro_sim_free(w);
}

int pro_test_sweep(pro_test_scenario *scenario, pro_test_told *told, void *arg)
{
    sweep *s = pri_sim_realloc(NULL, sizeof *s);
    s->count = 0;
    int failures = run_with(scenario, arg, s, UINT64_MAX, PRO_OK), failed = failures > 0;
    if (told) told(arg, "", "", PRO_OK, failures);
    for (int i = 0; i < s->count; i++) {
        const place *p = &s->places[i];
        for (const int *error = errors_of[p->kind]; *error; error++) {
            failures = run_with(scenario, arg, NULL, p->index, *error);
            failed += failures > 0;
            if (told) told(arg, p->site, p->operation, *error, failures);
        }
    }
    pri_sim_realloc(s, 0);
    return failed;
}
