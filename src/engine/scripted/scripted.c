/* The scripted engine; see scripted.h.  One loop at a time. */
#include "engine/scripted/scripted.h"

#include <string.h>

#include "core/loop.h"

enum { STEPS_MAX = 64, RECORDS_MAX = 64 };

static struct {
    uint64_t   now_ns;
    pri_step  *started[STEPS_MAX];
    int        cancels[STEPS_MAX];
    int        count;
    int        starts;
    pri_record records[RECORDS_MAX];
    int        record_count;
    bool       woken;
    intptr_t   next_fd;
    int        closed;
    intptr_t   last_closed;
    int        last_abortive;
} world;

static int find(const pri_step *step)
{
    for (int i = 0; i < world.count; i++)
        if (world.started[i] == step) return i;
    return -1;
}

/* ---- The engine ----------------------------------------------------------------------------- */

static int probe(const pri_engine_options *options, pri_why *why)
{
    (void)options;
    pri_why_line(why, "scripted: a test decides");
    return 0;
}

static int init(pro_loop *loop, const pri_engine_options *options, pri_why *why)
{
    (void)loop, (void)options, (void)why;
    return 0;
}

static void fini(pro_loop *loop)
{
    (void)loop;
    if (world.count > 0) pri_abort("scripted: fini with %d steps outstanding", world.count);
}

static int bind(pro_loop *loop)
{
    (void)loop;
    return 0;
}

static void start(pro_loop *loop, pri_step *step)
{
    (void)loop;
    if (find(step) >= 0) pri_abort("scripted: a step is started twice");
    if (world.count == STEPS_MAX) pri_abort("scripted: too many steps");
    world.started[world.count] = step;
    world.cancels[world.count++] = 0;
    world.starts++;
}

static void cancel(pro_loop *loop, pri_step *step)
{
    (void)loop;
    int i = find(step);
    if (i >= 0) world.cancels[i]++;
}

static void detach(pro_loop *loop, pro_handle *handle)
{
    (void)loop;
    for (int i = 0; i < world.count; i++)
        if (world.started[i]->handle == handle)
            pri_abort("scripted: detach with a step outstanding");
}

static int turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    (void)loop;
    int count = world.record_count < max ? world.record_count : max;
    memcpy(records, world.records, (size_t)count * sizeof *records);
    memmove(world.records, world.records + count,
            (size_t)(world.record_count - count) * sizeof *records);
    world.record_count -= count;
    if (count == 0 && !world.woken && until_ns != PRI_TURN_POLL && until_ns != PRI_TURN_FOREVER)
        world.now_ns = until_ns;
    world.woken = false;
    return count;
}

static void wake(pro_loop *loop)
{
    (void)loop;
    world.woken = true;
}

/* ---- A network without a peer --------------------------------------------------------------- */

static intptr_t net_open(const pro_env *env, int family, int datagram, int nonblocking)
{
    (void)env, (void)family, (void)datagram, (void)nonblocking;
    return ++world.next_fd;
}

static int net_adopt(const pro_env *env, intptr_t fd, int nonblocking)
{
    (void)env, (void)fd, (void)nonblocking;
    return 0;
}

static int net_address(const pro_env *env, intptr_t fd, const pro_address *address)
{
    (void)env, (void)fd, (void)address;
    return 0;
}

static int net_listen(const pro_env *env, intptr_t fd, int backlog)
{
    (void)env, (void)fd, (void)backlog;
    return 0;
}

static int net_shutdown(const pro_env *env, intptr_t fd)
{
    (void)env, (void)fd;
    return 0;
}

static void net_close(const pro_env *env, intptr_t fd, int abortive)
{
    (void)env;
    world.closed++;
    world.last_closed = fd;
    world.last_abortive = abortive != 0;
}

static int net_name(const pro_env *env, intptr_t fd, pro_address *address)
{
    (void)env, (void)fd;
    *address = pro_address_any(PRO_IPV4, 0);
    return 0;
}

static int net_set(const pro_env *env, intptr_t fd, int option, int value)
{
    (void)env, (void)fd, (void)option, (void)value;
    return 0;
}

static int net_get(const pro_env *env, intptr_t fd, int option, int *value)
{
    (void)env, (void)fd, (void)option;
    *value = 0;
    return 0;
}

static const pri_net net = {
    .open = net_open,
    .adopt = net_adopt,
    .bind = net_address,
    .listen = net_listen,
    .shutdown = net_shutdown,
    .close = net_close,
    .local = net_name,
    .peer = net_name,
    .set = net_set,
    .get = net_get,
};

const pri_engine pri_engine_scripted = {
    .id = PRO_ENGINE_SIM,
    .name = "scripted",
    .net = &net,
    .features = "",
    .probe = probe,
    .init = init,
    .fini = fini,
    .bind = bind,
    .start = start,
    .cancel = cancel,
    .detach = detach,
    .turn = turn,
    .wake = wake,
};

/* ---- For tests ------------------------------------------------------------------------------ */

static uint64_t scripted_clock_ns(void *ctx)
{
    (void)ctx;
    return world.now_ns;
}

int pri_scripted_loop_new(pro_loop **loop)
{
    static const pro_env env = {
        .clock_ns = scripted_clock_ns, .random = pri_os_random, .realloc = pri_os_realloc};
    const pri_engine_options options = {.queue_len = 64,
                                        .batch_max = RECORDS_MAX,
                                        .env = &env,
                                        .pool_threads_max = 1,
                                        .pool_queue_max = 16};
    pri_why                  why = {.len = 0};
    memset(&world, 0, sizeof world);
    world.now_ns = PRO_SEC;
    probe(&options, &why);
    return pri_loop_create(loop, &pri_engine_scripted, &options, &why);
}

void pri_scripted_advance(pro_loop *loop, uint64_t ns)
{
    (void)loop;
    world.now_ns += ns;
}

bool pri_scripted_is_started(pro_loop *loop, const pro_op *op)
{
    (void)loop;
    return find(&op->pri_kernel_step) >= 0;
}

int pri_scripted_starts(pro_loop *loop)
{
    (void)loop;
    return world.starts;
}

int pri_scripted_cancels(pro_loop *loop, const pro_op *op)
{
    (void)loop;
    int i = find(&op->pri_kernel_step);
    return i < 0 ? 0 : world.cancels[i];
}

void pri_scripted_report(pro_loop *loop, pro_op *op, int error, int64_t value, uint32_t flags)
{
    (void)loop;
    int i = find(&op->pri_kernel_step);
    if (i < 0) pri_abort("scripted: a report for a step that was not started");
    if (world.record_count == RECORDS_MAX) pri_abort("scripted: too many records");
    world.records[world.record_count++] =
        (pri_record){.step = &op->pri_kernel_step, .value = value, .error = error, .flags = flags};
    if (flags & PRI_RECORD_MORE) return;
    world.count--;
    world.started[i] = world.started[world.count];
    world.cancels[i] = world.cancels[world.count];
}

int pri_scripted_closed(void) { return world.closed; }

intptr_t pri_scripted_last_closed(void) { return world.last_closed; }

int pri_scripted_last_abortive(void) { return world.last_abortive; }
