/* Time: how long a turn waits, and what ends the wait.
 *
 * A wait has a time-out in milliseconds, which ends with a tick of the system.  With precise_timers it
 * has none: a waitable timer of high resolution is set, and when it fires a thread of the system's pool
 * posts a packet without an OVERLAPPED.  The timer stays set over turns that end for another reason.  A
 * packet may be late and speak of a time set before: then the turn ends early, with nothing, as after a
 * wake.
 *
 * Invariant: iocp->timer_ns != 0  ==>  the timer is set to that time of the system's clock, or its packet
 *            is in the port or about to be */
#include "engine/iocp/state.h"

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 2
#endif

/* Put to rest when it fires; NULL: this system has none. */
static HANDLE make_timer(void)
{
    return CreateWaitableTimerExW(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
                                  TIMER_MODIFY_STATE | SYNCHRONIZE);
}

static bool wants_timer(const pri_engine_options *options)
{
    return options->precise && !pri_masked(options->mask, "precise_timers");
}

bool pri_iocp_can_be_precise(const pri_engine_options *options, pri_why *why)
{
    if (!wants_timer(options)) return false;
    HANDLE timer = make_timer();
    if (timer)
        CloseHandle(timer);
    else
        pri_why_add(why, "iocp: precise_timers: this system has none (%lu)", GetLastError());
    return timer != NULL;
}

/* On a thread of the system's pool. */
static VOID CALLBACK on_timer(PVOID arg, BOOLEAN timed_out)
{
    (void)timed_out;
    pri_iocp_post(arg, KEY_TIMER);
}

int pri_iocp_timer_make(iocp *io, const pri_engine_options *options)
{
    io->timer = wants_timer(options) ? make_timer() : NULL;
    if (!io->timer) return 0; /* the probe has said it */
    int fault = pri_os_fault(io->env, "RegisterWaitForSingleObject");
    if (fault) return fault;
    if (!RegisterWaitForSingleObject(&io->timer_wait, io->timer, on_timer, io, INFINITE,
                                     WT_EXECUTEINWAITTHREAD))
        return -(int)GetLastError();
    return 0;
}

void pri_iocp_timer_end(iocp *io)
{
    if (io->timer_wait) UnregisterWaitEx(io->timer_wait, INVALID_HANDLE_VALUE); /* it waits */
    if (io->timer) CloseHandle(io->timer);
}

/* The timer is to fire at until, a time of the system's clock, left from now. */
static bool set_timer(iocp *io, uint64_t until_ns, uint64_t left_ns)
{
    if (io->timer_ns == until_ns) return true;
    uint64_t      units = left_ns / 100 + 1; /* of 100 ns; never early */
    LARGE_INTEGER due = {.QuadPart = -(LONGLONG)units};
    io->timer_ns = 0;
    pri_loop_count_system_call(io->loop);
    if (pri_os_fault(io->env, "SetWaitableTimer") ||
        !SetWaitableTimer(io->timer, &due, 0, NULL, NULL, FALSE))
        return false;
    io->timer_ns = until_ns;
    return true;
}

DWORD pri_iocp_timeout(iocp *io, uint64_t until_ns)
{
    if (until_ns == PRI_TURN_POLL) return 0;
    if (until_ns == PRI_TURN_FOREVER) return INFINITE;
    uint64_t until = pri_loop_system_time(io->loop, until_ns), now = pri_os_clock_ns(NULL);
    if (until <= now) return 0;
    if (io->timer && set_timer(io, until, until - now)) return INFINITE;
    uint64_t ms = (until - now - 1) / PRO_MSEC + 1;
    return ms < INFINITE - 1 ? (DWORD)ms : INFINITE - 1;
}
