/* The life of a coroutine: started, resumed, parked, over.
 *
 * The happy path: pro_go takes a stack, writes the coroutine into its top, and makes its operation
 * ready; from the loop, on_go resumes it: the first switch, into life().  The function awaits: an
 * initiating function is called on the coroutine's stack, with the handler pri_co_awake, and pri_co_park
 * switches back to the loop, out of the handler that had resumed it.  Later the loop calls
 * pri_co_awake, which resumes it again.  When the function returns, life() gives everything back and
 * switches to the loop for good.  So handlers always run on the loop's stack, which never grows with
 * them.
 *
 * Invariants:
 *   of_home  of every coroutine from pro_go until it has returned is in home->all; live is their number
 *   its scope is held just so long, and a little longer while it LINGERs
 *   home->runs.co == co  ==>  home->context is where the loop goes on */
#include "co/co.h"

#include "os/stack.h"

/* ---- Homes ---------------------------------------------------------------------------------- */

/* All homes of the process: for debuggers (scripts/gdb), nothing here walks it. */
extern pri_link    pri_co_homes;
pri_link           pri_co_homes = {&pri_co_homes, &pri_co_homes};
static atomic_flag homes_lock = ATOMIC_FLAG_INIT;

static void home_list(pri_co_home *home, bool add)
{
    while (atomic_flag_test_and_set_explicit(&homes_lock, memory_order_acquire)) {
        /* Held for a few instructions, when loops are made and freed. */
    }
    if (add)
        pri_list_append(&pri_co_homes, &home->of_process);
    else
        pri_list_remove(&home->of_process);
    atomic_flag_clear_explicit(&homes_lock, memory_order_release);
}

static void home_end(pro_loop *loop)
{
    pri_co_home *home = loop->co;
    home_list(home, false);
    if (home->is_watched) pri_os_stack_unwatch();
    pri_stacks_fini(loop, &home->stacks);
    pri_env_realloc(&loop->env, home, 0);
    pri_loop_set_runs(loop, &pri_nobody);
    loop->co = NULL;
}

static pri_co_home *home_new(pro_loop *loop)
{
    pri_co_home *home = pri_env_realloc(&loop->env, NULL, sizeof *home);
    if (!home) return NULL;
    *home = (pri_co_home){.loop = loop, .stacks = {.block_size = sizeof(pri_co)}};
    pri_list_init(&home->all);
    home_list(home, true);
    loop->co = home;
    loop->co_end = home_end;
    pri_loop_set_runs(loop, &home->runs);
    return home;
}

/* ---- Switching ------------------------------------------------------------------------------ */

/* It has returned, and says so, still on its own stack; its loop will not look at it again.  The stack
 * may be among the free ones then: nobody takes it before the switch that follows. */
static void end(pri_co *co)
{
    pro_scope *scope = co->scope;
    co->state = PRI_CO_LINGERING;
    pri_list_remove(&co->of_home);
    co->home->live--;
    if (co->task) pri_task_end(co);
    PRI_CHECKED(stack_ends, co->stack.low, co, co->name, co->site);
    if (!pri_guard_end(co)) pri_stack_give(&co->stack);
    pro_scope_release(scope);
}

/* The first function on its stack. */
static void life(void *arg)
{
    pri_co      *co = arg;
    pri_co_home *home = co->home;
    pri_fiber_arrive(&co->fiber, &home->fiber);
    co->state = PRI_CO_RUNNING;
    co->fn(co->arg);
    end(co);
    home->runs.co = NULL;
    pri_fiber_end(&co->fiber, &home->fiber);
    pri_context_switch(&co->context, &home->context);
    pri_abort("a coroutine that has ended was resumed: %s, started at %s", co->name, co->site);
}

/* Where no sanitizer is told, the switch is a jump, and comes back to the caller of this. */
void pri_co_resume(pri_co *co)
{
    pri_co_home *home = co->home;
    home->runs.co = co;
    pri_fiber_here(&home->fiber);
    pri_fiber_leave(&home->fiber, &co->fiber);
    pri_context_switch(&home->context, &co->context);
    pri_fiber_arrive(&home->fiber, NULL);
}

void pri_co_awake(pro_op *op) { pri_co_resume(pro_container_of(op, pri_co, op)); }

pri_co *pri_co_running(const char *site, const char *what)
{
    pri_co *co = pri_co_current();
    if (!co) pri_abort("%s: %s outside of a coroutine", site, what);
    return co;
}

/* ---- Starting ------------------------------------------------------------------------------- */

/* What is done once, on the thread that runs the loop. */
static void begin_home(pri_co_home *home)
{
    home->is_begun = true;
    home->is_watched = pri_os_stack_watch(pri_co_describe_fault) == 0;
}

static void on_go(pro_op *op)
{
    pri_co *co = pro_container_of(op, pri_co, op);
    if (!co->home->is_begun) begin_home(co->home);
    size_t room = pri_stack_room(&co->stack);
    pri_fiber_init(&co->fiber, co->stack.low, room);
    pri_context_make(&co->context, co->stack.low, room, life, co);
    pri_co_resume(co);
}

/* All but head and operations, which stay as they are from life to life. */
static void init(pri_co *co, pri_co_home *home, pro_scope *scope)
{
    co->home = home;
    co->awaited = NULL;
    co->scope = scope;
    co->plain = scope;
    co->deadline_ns = PRO_NEVER;
    co->shields = 0;
    co->state = PRI_CO_STARTING;
    co->is_canceled = co->is_refused = co->is_foreign = co->is_late = false;
    co->result = 0;
    co->task = NULL;
    co->away = NULL;
}

int pro_go_at(const char *site, const char *name, pro_scope *scope, pro_go_fn *fn, void *arg,
              const pro_go_options *options)
{
    static const pro_go_options defaults = {0};
    if (!options) options = &defaults;
    if (!scope) scope = pri_co_running(site, "pro_go without a scope")->scope;
    pro_loop    *loop = scope->pri_loop;
    pri_co_home *home = loop->co ? loop->co : home_new(loop);
    if (!home) return PRO_ENOMEM;
    int        error;
    pri_stack *stack = pri_stack_take(loop, &home->stacks, options->stack_size, &error);
    if (!stack) return error;

    pri_co *co = pro_container_of(stack, pri_co, stack);
    init(co, home, scope);
    co->name = options->name ? options->name : name;
    co->site = site;
    co->fn = fn;
    co->arg = arg;
    if (options->task) pri_task_begin(options->task, co, site);
    pri_list_append(&home->all, &co->of_home);
    home->started++;
    if (++home->live > home->live_max) home->live_max = home->live;

    pro_scope_hold(scope);
    co->op.deadline_ns = PRO_NEVER;
    co->op.scope = scope;
    if (pri_op_begin(&co->op, loop, NULL, PRI_OP_GO, site, on_go))
        pri_op_finish(&co->op, PRO_OK, 0);
    return PRO_OK;
}

int(pro_go)(pro_scope *scope, pro_go_fn *fn, void *arg, const pro_go_options *options)
{
    return pro_go_at("?", "?", scope, fn, arg, options);
}

/* ---- What it asks --------------------------------------------------------------------------- */

static pri_co *self(const char *what) { return pri_co_running("?", what); }

int pro_co_running(void) { return pri_co_current() != NULL; }

void pri_co_mind(pri_co *co)
{
    bool is_special = co->is_canceled || co->shields > 0 || co->deadline_ns != PRO_NEVER;
    co->plain = is_special ? NULL : co->scope;
}

uint64_t pro_co_deadline(uint64_t deadline_ns)
{
    pri_co  *co = self("pro_co_deadline");
    uint64_t before = co->deadline_ns;
    co->deadline_ns = deadline_ns;
    pri_co_mind(co);
    return before;
}

void pro_co_shield(void)
{
    pri_co *co = self("pro_co_shield");
    co->shields++;
    pri_co_mind(co);
}

void pro_co_unshield(void)
{
    pri_co *co = self("pro_co_unshield");
    if (co->shields == 0) pri_abort("pro_co_unshield without pro_co_shield: %s", co->name);
    co->shields--;
    pri_co_mind(co);
}

int         pro_co_canceled(void) { return pri_co_is_canceled(self("pro_co_canceled")); }
int64_t     pro_co_value(void) { return self("pro_co_value")->op.value; }
uint16_t    pro_co_flags(void) { return self("pro_co_flags")->op.flags; }
void        pro_co_result(int64_t result) { self("pro_co_result")->result = result; }
pro_loop   *pro_co_loop(void) { return self("pro_co_loop")->home->loop; }
pro_scope  *pro_co_scope(void) { return self("pro_co_scope")->scope; }
const char *pro_co_name(void) { return self("pro_co_name")->name; }
