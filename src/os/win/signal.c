/* Signals: console control events in their place, 64 slots for the whole process.
 *
 *     Ctrl-C, Ctrl-Break                                SIGINT
 *     the console is closed, log-off, shutdown          SIGTERM
 *
 * The system runs our handler on a thread of its own, so a lock is enough: forget returns only when
 * no handler looks at the slot any more.  The handler is installed once and stays, since the system may
 * hold a lock of its own around it, for as long as it sleeps; where nobody listens it lets the event
 * pass on to the next handler, and so to its usual end.
 *
 * Invariant (the lock held): slot.number == 0  ==>  the slot is free. */
#include <signal.h>

#include "os/os.h"
#include "os/win/win.h"

enum { SLOTS = 64 };

static struct {
    int number; /* 0: free */
    void (*hear)(void *arg);
    void *arg;
} slots[SLOTS];

static SRWLOCK lock = SRWLOCK_INIT;
static BOOL    installed;

static int number_of(DWORD event)
{
    switch (event) {
    case CTRL_C_EVENT:
    case CTRL_BREAK_EVENT: return SIGINT;
    case CTRL_CLOSE_EVENT:
    case CTRL_LOGOFF_EVENT:
    case CTRL_SHUTDOWN_EVENT: return SIGTERM;
    default: return 0;
    }
}

static BOOL WINAPI handle(DWORD event)
{
    int  number = number_of(event);
    BOOL heard = FALSE;
    AcquireSRWLockShared(&lock);
    for (int i = 0; number && i < SLOTS; i++) {
        if (slots[i].number != number) continue;
        slots[i].hear(slots[i].arg);
        heard = TRUE;
    }
    ReleaseSRWLockShared(&lock);
    /* The process ends when the handler of such an event returns: leave it the time that the system
     * gives (5 s and more) to end by itself. */
    if (heard && number == SIGTERM) Sleep(INFINITE);
    return heard;
}

/* Our code must stay where it is from now on, also as a part of a DLL.  0, or a negated number. */
static int install(void)
{
    HMODULE self;
    DWORD   how = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    installed = GetModuleHandleExW(how, (const wchar_t *)(uintptr_t)handle, &self) &&
                SetConsoleCtrlHandler(handle, TRUE);
    return installed ? 0 : -(int)GetLastError();
}

/* The lock is held. */
static int take(int number, void (*hear)(void *arg), void *arg)
{
    int slot = 0;
    while (slot < SLOTS && slots[slot].number != 0) slot++;
    if (slot == SLOTS) return -ERROR_BUSY;
    int error = installed ? 0 : install();
    if (error) return error;
    slots[slot].number = number;
    slots[slot].hear = hear;
    slots[slot].arg = arg;
    return slot;
}

int pri_os_signal_hear(int number, void (*hear)(void *arg), void *arg)
{
    if (number != SIGINT && number != SIGTERM) return -ERROR_INVALID_PARAMETER;
    AcquireSRWLockExclusive(&lock);
    int slot = take(number, hear, arg);
    ReleaseSRWLockExclusive(&lock);
    return slot;
}

void pri_os_signal_forget(int slot)
{
    AcquireSRWLockExclusive(&lock);
    slots[slot].number = 0;
    ReleaseSRWLockExclusive(&lock);
}
