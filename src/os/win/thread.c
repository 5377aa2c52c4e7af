/* Threads and CPUs on Windows.
 *
 * CPUs are those of the process's processor group, 64 at most: a mask is one word.  A name is for
 * debuggers; Windows before 10, version 1607, has no place for it. */
#include "os/thread.h"

#include <process.h>
#include <stdlib.h>

#include "os/win/win.h"

enum { CPUS_MAX = 64 };

struct pri_thread {
    HANDLE handle;
    void (*run)(void *arg);
    void   *arg;
    int     cpu;
    wchar_t name[32];
};

typedef HRESULT(WINAPI set_description)(HANDLE thread, const wchar_t *text);

static void name_thread(const wchar_t *name)
{
    FARPROC found = GetProcAddress(GetModuleHandleW(L"kernel32"), "SetThreadDescription");
    if (found) ((set_description *)(void (*)(void))found)(GetCurrentThread(), name);
}

static unsigned __stdcall thread_main(void *arg)
{
    pri_thread *thread = arg;
    name_thread(thread->name);
    if (thread->cpu >= 0) SetThreadAffinityMask(GetCurrentThread(), (DWORD_PTR)1 << thread->cpu);
    thread->run(thread->arg);
    return 0;
}

static int start(pri_thread **out, const char *name, int cpu, void (*run)(void *arg), void *arg)
{
    pri_thread *thread = malloc(sizeof *thread);
    if (!thread) return -ERROR_NOT_ENOUGH_MEMORY;
    *thread = (pri_thread){.run = run, .arg = arg, .cpu = cpu < CPUS_MAX ? cpu : -1};
    int room = sizeof thread->name / sizeof thread->name[0];
    if (MultiByteToWideChar(CP_UTF8, 0, name, -1, thread->name, room) == 0)
        thread->name[room - 1] = L'\0'; /* too long: what had room is there */
    thread->handle = (HANDLE)_beginthreadex(NULL, 0, thread_main, thread, 0, NULL);
    if (!thread->handle) {
        free(thread);
        return -ERROR_NO_SYSTEM_RESOURCES; /* errno has no more to say */
    }
    *out = thread;
    return 0;
}

static void join(pri_thread *thread)
{
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
    free(thread);
}

struct pri_gate {
    SRWLOCK            lock;
    CONDITION_VARIABLE changed;
    uint64_t           count;
};

static pri_gate *gate_new(void)
{
    pri_gate *gate = malloc(sizeof *gate);
    if (!gate) return NULL;
    InitializeSRWLock(&gate->lock);
    InitializeConditionVariable(&gate->changed);
    gate->count = 0;
    return gate;
}

static void gate_free(pri_gate *gate) { free(gate); }

static void gate_add(pri_gate *gate)
{
    AcquireSRWLockExclusive(&gate->lock);
    gate->count++;
    WakeAllConditionVariable(&gate->changed);
    ReleaseSRWLockExclusive(&gate->lock);
}

static void gate_wait(pri_gate *gate, uint64_t at_least)
{
    AcquireSRWLockExclusive(&gate->lock);
    while (gate->count < at_least)
        SleepConditionVariableSRW(&gate->changed, &gate->lock, INFINITE, 0);
    ReleaseSRWLockExclusive(&gate->lock);
}

struct pri_monitor {
    SRWLOCK            lock;
    CONDITION_VARIABLE changed;
};

pri_monitor *pri_os_monitor_new(void)
{
    pri_monitor *monitor = malloc(sizeof *monitor);
    if (!monitor) return NULL;
    InitializeSRWLock(&monitor->lock);
    InitializeConditionVariable(&monitor->changed);
    return monitor;
}

void pri_os_monitor_free(pri_monitor *monitor) { free(monitor); }

void pri_os_monitor_enter(pri_monitor *monitor) { AcquireSRWLockExclusive(&monitor->lock); }

void pri_os_monitor_leave(pri_monitor *monitor) { ReleaseSRWLockExclusive(&monitor->lock); }

int pri_os_monitor_wait(pri_monitor *monitor, uint64_t ns)
{
    DWORD ms = (DWORD)((ns + 999999) / 1000000);
    return SleepConditionVariableSRW(&monitor->changed, &monitor->lock, ms, 0);
}

void pri_os_monitor_wake(pri_monitor *monitor, int all)
{
    if (all)
        WakeAllConditionVariable(&monitor->changed);
    else
        WakeConditionVariable(&monitor->changed);
}

/* Those that the calling thread may use; 0: unknown. */
static uint64_t thread_mask(void)
{
    GROUP_AFFINITY here;
    return GetThreadGroupAffinity(GetCurrentThread(), &here) ? here.Mask : 0;
}

static int cpus(int *found, int max)
{
    DWORD_PTR process, system;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &system)) return 0;
    /* 0: its threads are in several groups.  This one's is as good as any. */
    uint64_t mask = process ? process : thread_mask();
    int      count = 0;
    for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
        if (!(mask >> cpu & 1)) continue;
        if (count < max) found[count] = cpu;
        count++;
    }
    return count;
}

static int cpu_of_thread(void)
{
    uint64_t mask = thread_mask();
    if (mask == 0 || (mask & (mask - 1)) != 0) return -1;
    int cpu = 0;
    while (!(mask >> cpu & 1)) cpu++;
    return cpu;
}

/* Windows does not say. */
static void interrupts(char *buf, size_t size)
{
    (void)size;
    buf[0] = '\0';
}

static void pause_a_while(void) { Sleep(1); }

const pri_threads pri_os_threads = {
    .start = start,
    .join = join,
    .pause = pause_a_while,
    .gate_new = gate_new,
    .gate_free = gate_free,
    .gate_add = gate_add,
    .gate_wait = gate_wait,
    .cpus = cpus,
    .cpu = cpu_of_thread,
    .interrupts = interrupts,
};
