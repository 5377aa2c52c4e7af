/* Streams whose calls wait: what other programs have made for themselves, pipes of a shell, consoles,
 * devices; files are the pool's.  No call of theirs can be had without waiting for it, so a thread waits, one for each
 * direction, made by the first step in it, ended by detach.
 *
 *     start    says what to do, wakes the thread; its result is a packet like the system's
 *     thread   sleeps; makes one call; posts the packet; sleeps again
 *     cancel   CancelSynchronousIo, which ends the call that the thread is in.  It may come too early, when
 *              the thread is on its way into it, and then finds nothing: once more, until the call has ended
 *
 * There are devices that hear of no cancel; so that the loop does not wait for one of them, it asks a number
 * of times only.  Then the step ends when its call does.
 *
 * Invariants:
 *   helper->state == ASKED   ==>  the thread has the step, and will post its packet
 *   helper->state == IDLE    ==>  the thread sleeps or is about to, and touches nothing of the step */
#include "engine/iocp/state.h"

#include <process.h>

enum { IDLE, ASKED, ENDING };
enum {
    CANCEL_TRIES =
        200 /* and a millisecond between two: longer than a thread needs to get into a call */
};

struct pri_iocp_helper {
    HANDLE      thread, asked;
    iocp       *io;
    atomic_int  state;
    atomic_bool canceled;
    pri_step   *step;
    HANDLE      file;
    void       *buf;
    DWORD       len, error;
};

static void do_call(struct pri_iocp_helper *helper)
{
    DWORD bytes = 0;
    BOOL  done = FALSE;
    helper->error = ERROR_OPERATION_ABORTED;
    while (!atomic_load(&helper->canceled)) {
        SetLastError(0);
        done = helper->step->kind == PRI_STEP_RECV
                   ? ReadFile(helper->file, helper->buf, helper->len, &bytes, NULL)
                   : WriteFile(helper->file, helper->buf, helper->len, &bytes, NULL);
        helper->error = GetLastError();
        /* A console ends its read at a Control-C: no bytes, no failure, and not the end of it. */
        if (done && bytes == 0 && helper->error == ERROR_OPERATION_ABORTED) continue;
        if (done || helper->error == ERROR_MORE_DATA) helper->error = 0;
        break;
    }
    pri_step *step = helper->step;
    atomic_store(&helper->state, IDLE); /* before the packet, which lets the next step in */
    pri_iocp_post_step(helper->io, step, bytes);
}

static unsigned __stdcall help(void *arg)
{
    struct pri_iocp_helper *helper = arg;
    for (;;) {
        WaitForSingleObject(helper->asked, INFINITE);
        if (atomic_load(&helper->state) == ENDING) return 0;
        do_call(helper);
    }
}

static struct pri_iocp_helper **helper_of(const pri_step *step)
{
    return &words_of_handle(step->handle)->helpers[step->kind == PRI_STEP_SEND];
}

/* 0, or a number. */
static int make(iocp *io, struct pri_iocp_helper **out)
{
    struct pri_iocp_helper *helper = pri_env_realloc(io->env, NULL, sizeof *helper);
    if (!helper) return ERROR_NOT_ENOUGH_MEMORY;
    *helper = (struct pri_iocp_helper){.io = io};
    helper->asked = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (helper->asked) helper->thread = (HANDLE)_beginthreadex(NULL, 65536, help, helper, 0, NULL);
    if (helper->thread) {
        *out = helper;
        return 0;
    }
    if (helper->asked) CloseHandle(helper->asked);
    pri_env_realloc(io->env, helper, 0);
    return ERROR_NO_SYSTEM_RESOURCES;
}

int pri_iocp_helper_call(iocp *io, pri_step *step, void *buf, DWORD len)
{
    struct pri_iocp_helper **helper = helper_of(step);
    int                      error = *helper ? 0 : make(io, helper);
    if (error) return error;
    struct pri_iocp_helper *h = *helper;
    h->step = step;
    h->file = (HANDLE)step->handle->pri_fd;
    h->buf = buf;
    h->len = len;
    atomic_store(&h->canceled, false);
    atomic_store(&h->state, ASKED);
    SetEvent(h->asked);
    return WSA_IO_PENDING;
}

int pri_iocp_helper_result(const pri_step *step) { return (int)(*helper_of(step))->error; }

void pri_iocp_helper_cancel(const pri_step *step)
{
    struct pri_iocp_helper *helper = *helper_of(step);
    if (!helper) return; /* there was none to be had: the step has its result */
    atomic_store(&helper->canceled, true);
    for (int i = 0; i < CANCEL_TRIES && atomic_load(&helper->state) == ASKED; i++) {
        if (CancelSynchronousIo(helper->thread)) return;
        Sleep(i > 0);
    }
}

void pri_iocp_helper_detach(iocp *io, pro_handle *handle)
{
    for (int i = 0; i < 2; i++) {
        struct pri_iocp_helper *helper = words_of_handle(handle)->helpers[i];
        if (!helper) continue;
        atomic_store(&helper->state, ENDING);
        SetEvent(helper->asked);
        WaitForSingleObject(helper->thread, INFINITE);
        CloseHandle(helper->thread);
        CloseHandle(helper->asked);
        pri_env_realloc(io->env, helper, 0);
    }
}
