/* Linux epoll: completions made of readiness.
 *
 * The kernel says when a descriptor may be tried; the engine tries, and reports what came of it.  A
 * handle remembers what the kernel said (its bits), so that no call is made that must fail:
 *
 *     start   puts a step on the run list; no system call
 *     turn    1. runs what is on the list: ready -> one system call -> a record
 *                                          not   -> the step waits in its handle
 *             2. looks at the kernel (epoll_wait): events set bits, and put steps that wait for them
 *                back on the list; sleeps only if there is nothing to hand out and nothing to run
 *             3. runs the list again
 *     cancel  marks the step and puts it on the list; it reports instead of running
 *
 * That is the general way; the plain one, which most receives and sends go, is in plain.c, and there 3. is
 * done with all that the kernel said.
 *
 * A handle is registered when one of its steps has to wait for the first time, and for a direction
 * when that has to be waited for; registering reports what is ready already.  Edge-triggered: the
 * kernel speaks once, so a bit stays until something takes it down: EAGAIN, or a transfer that was
 * shorter than asked.  A short receive says nothing once the stream is ending (the end or the error
 * is still to be fetched, and no further edge comes) or has urgent data (a receive stops there).
 *
 * A receive that gets all it asked for leaves a guess: there may be more, or not.  Where the guess is
 * wrong again and again (messages of a known length, one at a time) each one costs a call in vain;
 * then the handle's reading becomes level-triggered, where the kernel looks again by itself, until
 * data comes that nobody waits for.
 *
 * A step of readiness (poll) is most often of a descriptor that others use, so that no bit would hold:
 * it is registered level-triggered and for one report, for the directions that wait, each time anew.
 *
 * What goes wrong: the kernel refuses to register (that step ends with the error), or to be looked at
 * (turn says so, if it has no records; nothing is lost).  The process has no descriptors left: an
 * accept ends with that error, and its bit stays, since the connection is still in the backlog. */
#include "engine/epoll/epoll.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/epoll/state.h"

enum { EVENTS_MAX = 1024 };

/* ---- The contract --------------------------------------------------------------------------- */

static void epoll_start(pro_loop *loop, pri_step *step)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    handle_words *h = words_of(step->handle);
    int           direction = direction_of(step);
    assert(!h->step[direction]);
    h->step[direction] = step;
    bool is_recv = step->kind == PRI_STEP_RECV || pri_step_is_leased(step);
    if (is_recv && only_waits(e, step, h)) return;
    own(step)->state = RUNNABLE;
    own(step)->begun = false;
    own(step)->told = 0;
    append(e, step);
}

static void epoll_cancel(pro_loop *loop, pri_step *step)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    pri_epoll_unplain(loop, step);
    if (words_of(step->handle)->step[direction_of(step)] != step) return; /* handed out already */
    if (own(step)->state == PAUSED) {
        pri_list_remove(&own(step)->paused);
        append(e, step);
    }
    if (own(step)->state == WAITING) make_runnable(e, step);
    own(step)->state = CANCELED;
}

/* Explicitly: a copy of the descriptor elsewhere (dup, fork) would keep the registration, and with it
 * a pointer to the handle.  Not a call that the environment may forbid. */
static void epoll_detach(pro_loop *loop, pro_handle *handle)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    handle_words *h = words_of(handle);
    assert(!h->step[READ] && !h->step[WRITE]);
    if (h->watched) {
        struct epoll_event ignored = {0};
        pri_loop_count_system_call(loop);
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, (int)handle->pri_fd, &ignored);
    }
    *h = (handle_words){.watched = 0};
}

PRI_APART void resume(pro_loop *loop, epoll_engine *e)
{
    while (!pri_list_empty(&loop->paused)) {
        pri_link *link = pri_list_pop(&loop->paused);
        pri_step *step =
            (pri_step *)((char *)link - offsetof(pri_step, engine) - offsetof(step_words, paused));
        own(step)->state = RUNNABLE;
        append(e, step);
    }
}

/* A turn that has records may leave the kernel alone, but not twice in a row (others wait there), and
 * not if a step began to wait: it is promised an attempt in this turn. */
static int epoll_turn(pro_loop *loop, uint64_t until_ns, pri_record *records, int max)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    if (pri_buffers_resume(loop)) resume(loop, e);
    int count = e->first ? pri_epoll_run_list(loop, e, records, max) : 0;
    e->plain_before = e->plain_end;
    bool is_busy = count > 0 || has_plain(e);
    if (is_busy && !e->owes_look) {
        e->owes_look = true;
        return count;
    }
    if (is_busy || e->first) until_ns = PRI_TURN_POLL;
    int events = pri_epoll_look(loop, e, until_ns);
    if (until_ns != PRI_TURN_POLL) atomic_exchange(&e->woken, false);
    if (events < 0) return is_busy ? count : events;
    e->owes_look = false;
    if (loop->engine->run_plain) { /* what was said is for that */
        e->heard = events;
        return count;
    }
    for (int i = 0; i < events; i++) {
        pro_handle *handle = e->events[i].data.ptr;
        pri_epoll_hear(loop, e, handle, e->events[i].events);
    }
    return count + pri_epoll_run_list(loop, e, &records[count], max - count);
}

/* The flag is for turns that have yet to look, the eventfd for one that sleeps. */
static void epoll_wake(pro_loop *loop)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    if (atomic_exchange(&e->woken, true)) return;
    int      saved = errno;
    uint64_t one = 1;
    if (write(e->wake_fd, &one, sizeof one) < 0) assert(errno == EAGAIN); /* counted to the brim */
    errno = saved;
}

/* ---- Beginning and end ---------------------------------------------------------------------- */

static void choose_wait(epoll_engine *e, const char *mask, pri_why *why)
{
    e->nosignal = pri_masked(mask, "rwf_nosignal") ? 0 : PRI_OS_NOSIGNAL;
    bool is_masked = pri_masked(mask, "epoll_pwait2");
    pri_epoll_choose_wait(e, mask);
    pri_why_line(why, "epoll: emulated, edge-triggered, waits in %s",
                 e->has_pwait2 ? "nanoseconds" : "milliseconds");
    pri_why_add(why, "epoll_pwait2: %s", e->has_pwait2 ? "used" : is_masked ? "masked" : "refused");
}

/* All of the engine but its own memory. */
static int set_up(epoll_engine *e, const pri_engine_options *options, pri_why *why)
{
    const pro_env *env = options->env;
    const char    *what = "epoll_create";
    int            error;
    *e = (epoll_engine){.env = env};
    e->plain_end = &e->plain;
    e->events_max = options->batch_max < EVENTS_MAX ? (int)options->batch_max : EVENTS_MAX;
    error = pri_os_fault(env, what);
    if (!error) e->epoll_fd = error = answer(epoll_create1(EPOLL_CLOEXEC));
    if (error < 0) goto refused;
    what = "eventfd";
    error = pri_os_fault(env, what);
    if (!error) e->wake_fd = error = answer(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (error < 0) goto close_epoll;
    what = "epoll_ctl";
    words_of(&e->wake)->watched = EPOLLIN | EPOLLET;
    error = pri_epoll_control(NULL, e, EPOLL_CTL_ADD, e->wake_fd, EPOLLIN | EPOLLET, &e->wake);
    if (error < 0) goto close_eventfd;
    what = "memory";
    error = -ENOMEM;
    e->events = pri_env_realloc(env, NULL, (size_t)e->events_max * sizeof e->events[0]);
    if (!e->events) goto close_eventfd;
    choose_wait(e, options->mask, why);
    return 0;

close_eventfd:
    close(e->wake_fd);
close_epoll:
    close(e->epoll_fd);
refused:
    pri_why_line(why, "epoll: refused: %s (system error %d)", what, -error);
    pri_why_add(why, "epoll: refused: %s (system error %d)", what, -error);
    return error;
}

static void tear_down(epoll_engine *e)
{
    pri_env_realloc(e->env, e->events, 0);
    close(e->wake_fd);
    close(e->epoll_fd);
}

static int epoll_probe(const pri_engine_options *options, pri_why *why)
{
    epoll_engine trial;
    pri_why      before = *why;
    int          error = set_up(&trial, options, why);
    if (error) return error;
    tear_down(&trial);
    *why = before; /* init will say it */
    return 0;
}

static int epoll_init(pro_loop *loop, const pri_engine_options *options, pri_why *why)
{
    epoll_engine *e = pri_env_realloc(options->env, NULL, sizeof *e);
    if (!e) return -ENOMEM;
    int error = set_up(e, options, why);
    if (error) {
        pri_env_realloc(options->env, e, 0);
        return error;
    }
    pri_loop_set_engine_state(loop, e);
    return 0;
}

static void epoll_fini(pro_loop *loop)
{
    epoll_engine *e = pri_loop_engine_state(loop);
    assert(!e->first);
    const pro_env *env = e->env;
    tear_down(e);
    pri_env_realloc(env, e, 0);
    pri_loop_set_engine_state(loop, NULL);
}

static int epoll_bind(pro_loop *loop)
{
    (void)loop; /* any thread may wait */
    return 0;
}

const pri_engine pri_engine_epoll = {
    .id = PRO_ENGINE_EPOLL,
    .caps = PRI_CAPS_POLL | PRI_CAPS_LEASE | PRI_CAPS_TRY,
    .name = "epoll",
    .net = &pri_os_net,
    .call = pri_os_call,
    .nonblocking = 1,
    .features = "epoll_pwait2,rwf_nosignal",
    .probe = epoll_probe,
    .init = epoll_init,
    .fini = epoll_fini,
    .bind = epoll_bind,
    .start = epoll_start,
    .start_plain = {[PRI_READ] = pri_epoll_recv, [PRI_WRITE] = pri_epoll_send},
    .run_plain = pri_epoll_run_plain,
    .unplain = pri_epoll_unplain,
    .cancel = epoll_cancel,
    .detach = epoll_detach,
    .turn = epoll_turn,
    .wake = epoll_wake,
};
