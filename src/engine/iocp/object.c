/* Objects that become signaled: the process of a child as it ends, the event of a watcher that has news; a
 * wait for one, by a thread of the system's pool, which posts a packet.
 *
 * There is no documented way to have a packet for an object that becomes signaled; those of a job are not
 * promised to come.  A wait that is registered fires once, and what takes it back waits until it has
 * fired or never will: then either its packet is in the port, or the step is ours alone.
 *
 *     words of the step    the wait, and has it fired
 *     packet               the step's, like one of the system
 *
 * Invariant: words->object.wait != NULL  <==>  it is registered and not yet taken back */
#include "engine/iocp/state.h"

/* On a thread of the system's pool.  After the post nothing here is ours. */
static VOID CALLBACK on_signaled(PVOID arg, BOOLEAN timed_out)
{
    pri_step   *step = arg;
    const iocp *io = words_of(step)->object.io;
    (void)timed_out;
    atomic_store(&words_of(step)->object.fired, true);
    pri_iocp_post_step(io, step, 0);
}

static HANDLE object_of(const pri_step *step)
{
    intptr_t fd = step->handle->pri_fd;
    return step->handle->pri_kind == PRI_WATCHER ? pri_win_watch_event(fd) : (HANDLE)fd;
}

int pri_iocp_object_call(iocp *io, pri_step *step)
{
    step_words *words = words_of(step);
    int         fault = pri_os_fault(io->env, "RegisterWaitForSingleObject");
    if (fault) return -fault;
    words->object.io = io;
    words->object.wait = NULL;
    atomic_init(&words->object.fired, false);
    BOOL done = RegisterWaitForSingleObject(&words->object.wait, object_of(step), on_signaled, step,
                                            INFINITE, WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE);
    return done ? WSA_IO_PENDING : (int)GetLastError();
}

void pri_iocp_object_result(pri_step *step)
{
    HANDLE wait = words_of(step)->object.wait;
    words_of(step)->object.wait = NULL;
    if (wait) UnregisterWaitEx(wait, NULL); /* its function may just be returning */
}

bool pri_iocp_object_cancel(pri_step *step)
{
    HANDLE wait = words_of(step)->object.wait;
    if (!wait) return false; /* it has its result */
    words_of(step)->object.wait = NULL;
    UnregisterWaitEx(wait, INVALID_HANDLE_VALUE);
    return !atomic_load(&words_of(step)->object.fired);
}
