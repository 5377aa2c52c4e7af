/* lib/os.h on Windows. */
#include "lib/os.h"

#include "lib/run.h"

#include <stdlib.h>

#include <winsock2.h>
#include <windows.h>
#include <winternl.h>

/* ---- Threads, events ------------------------------------------------------------------------- */

struct t_os_thread {
    HANDLE handle;
    void (*fn)(void *arg);
    void        *arg;
    t_run_state *run;
};

static DWORD WINAPI thread_main(void *arg)
{
    t_os_thread *thread = arg;
    t_current = thread->run;
    thread->fn(thread->arg);
    return 0;
}

t_os_thread *t_os_thread_start(void (*fn)(void *arg), void *arg)
{
    t_os_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) abort();
    thread->fn = fn;
    thread->arg = arg;
    thread->run = t_current;
    thread->handle = CreateThread(NULL, 0, thread_main, thread, 0, NULL);
    if (thread->handle == NULL) abort();
    return thread;
}

void t_os_thread_join(t_os_thread *thread)
{
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
    free(thread);
}

struct t_os_event {
    SRWLOCK            lock;
    CONDITION_VARIABLE changed;
    unsigned           count;
};

t_os_event *t_os_event_new(void)
{
    t_os_event *event = calloc(1, sizeof *event);
    if (event == NULL) abort();
    InitializeSRWLock(&event->lock);
    InitializeConditionVariable(&event->changed);
    return event;
}

void t_os_event_free(t_os_event *event) { free(event); }

void t_os_event_set(t_os_event *event)
{
    AcquireSRWLockExclusive(&event->lock);
    event->count++;
    WakeConditionVariable(&event->changed);
    ReleaseSRWLockExclusive(&event->lock);
}

bool t_os_event_wait_ns(t_os_event *event, uint64_t ns)
{
    uint64_t now, end = t_os_clock_ns() + ns;
    AcquireSRWLockExclusive(&event->lock);
    while (event->count == 0 && (now = t_os_clock_ns()) < end) {
        DWORD ms = (DWORD)((end - now + PRO_MSEC - 1) / PRO_MSEC);
        SleepConditionVariableSRW(&event->changed, &event->lock, ms, 0);
    }
    bool set = event->count > 0;
    if (set) event->count--;
    ReleaseSRWLockExclusive(&event->lock);
    return set;
}

_Noreturn void t_os_park(void)
{
    for (;;) Sleep(INFINITE);
}

uint64_t t_os_clock_ns(void)
{
    LARGE_INTEGER count, rate;
    QueryPerformanceFrequency(&rate);
    QueryPerformanceCounter(&count);
    uint64_t ticks = (uint64_t)count.QuadPart, per_second = (uint64_t)rate.QuadPart;
    return ticks / per_second * PRO_SEC + ticks % per_second * PRO_SEC / per_second;
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

/* Nothing in the tests comes near it. */
#define HANDLES_MAX 1024

/* Files, sockets and pipes among them, completion ports, processes, jobs; threads and their like come and
 * go. */
typedef NTSTATUS NTAPI query_call(HANDLE, OBJECT_INFORMATION_CLASS, void *, ULONG, ULONG *);

static bool is_counted(query_call *query, HANDLE handle)
{
    static const wchar_t *const names[] = {L"File", L"IoCompletion", L"Process", L"Job"};
    union {
        PUBLIC_OBJECT_TYPE_INFORMATION info;
        char                           room[1024];
    } type;
    if (query(handle, ObjectTypeInformation, &type, sizeof type, NULL) != 0) return false;
    const UNICODE_STRING *name = &type.info.TypeName;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (wcsncmp(name->Buffer, names[i], name->Length / 2) == 0) return true;
    return false;
}

static atomic_int kept;

void t_os_descriptors_keep(int count) { atomic_fetch_add(&kept, count); }

int t_os_descriptors(void)
{
    FARPROC     proc = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQueryObject");
    query_call *query = (query_call *)(void (*)(void))proc;
    int         count = 0;
    for (uintptr_t value = 4; value < 4 * HANDLES_MAX; value += 4)
        count += is_counted(query, (HANDLE)value);
    return count - atomic_load(&kept);
}

/* There is no limit that a process could set for itself. */
static atomic_bool exhausted;

bool t_os_descriptors_exhaust(void)
{
    atomic_store(&exhausted, true);
    return true;
}

void t_os_descriptors_restore(void) { atomic_store(&exhausted, false); }

int t_os_fault(void *ctx, const char *call)
{
    (void)ctx;
    static const char *const opens[] = {"socket", "file_open", "pipe", "socketpair", "open"};
    bool                     is_one = false;
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) is_one |= strcmp(call, opens[i]) == 0;
    return is_one && atomic_load(&exhausted) ? WSAEMFILE : 0;
}

/* ---- How fast we are ------------------------------------------------------------------------- */

int t_os_slowness(void) { return 1; }

bool t_os_signals_begin(unsigned us)
{
    (void)us;
    return false;
}

void t_os_signals_end(void) {}

unsigned long t_os_signals_taken(void) { return 0; }
