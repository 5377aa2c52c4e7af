/* Memory for stacks on Windows.
 *
 * A mapping is committed as a whole: it counts against the system's limit of memory and its page files
 * from the start, but no page takes memory before it is touched.  (Growing stacks page by page, as the
 * system does with those of threads, needs a guard page whose fault is handled on the very stack.)
 *
 * Overflow is not reported: the system hands a fault to the thread on the stack that has no room, and ends
 * the process without a word. */
#include "os/stack.h"

#include <stdatomic.h>

#include "os/win/win.h"

#include <psapi.h>

size_t pri_os_page_size(void)
{
    static atomic_size_t known;
    size_t               size = atomic_load_explicit(&known, memory_order_relaxed);
    if (size == 0) {
        SYSTEM_INFO info;
        GetSystemInfo(&info);
        size = info.dwPageSize;
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size;
}

int pri_os_stacks_map(const pro_env *env, size_t size, void **base)
{
    int fault = pri_os_fault(env, "mmap");
    if (fault) return fault;
    *base = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    return *base ? 0 : -(int)GetLastError();
}

void pri_os_stacks_unmap(void *base, size_t size)
{
    (void)size;
    VirtualFree(base, 0, MEM_RELEASE);
}

int pri_os_stack_guard(const pro_env *env, void *low, size_t size)
{
    DWORD before;
    int   fault = pri_os_fault(env, "guard");
    if (fault) return fault;
    if (VirtualProtect(low, size, PAGE_NOACCESS, &before)) return 0;
    /* These pages are ours, so nobody denies access to them: that is how Wine says that its host takes no
     * more mappings. */
    DWORD error = GetLastError();
    return error == ERROR_ACCESS_DENIED ? -ERROR_NOT_ENOUGH_MEMORY : -(int)error;
}

/* Out and in again: the pages are new ones.  Where they do not come in again for want of memory, the
 * next who touches them is told so by the system. */
void pri_os_stack_discard(void *low, size_t size)
{
    if (VirtualFree(low, size, MEM_DECOMMIT)) VirtualAlloc(low, size, MEM_COMMIT, PAGE_READWRITE);
}

/* Pages that were swapped out do not count. */
size_t pri_os_stack_touched(void *low, size_t size)
{
    enum { PART = 64 };
    PSAPI_WORKING_SET_EX_INFORMATION pages[PART];
    size_t                           page = pri_os_page_size();
    for (size_t at = 0; at < size; at += PART * page) {
        size_t count = (size - at) / page < PART ? (size - at) / page : PART;
        for (size_t i = 0; i < count; i++) {
            pages[i].VirtualAddress = (char *)low + at + i * page;
            pages[i].VirtualAttributes.Flags = 0;
        }
        if (!K32QueryWorkingSetEx(GetCurrentProcess(), pages, (DWORD)(count * sizeof pages[0])))
            return 0;
        for (size_t i = 0; i < count; i++)
            if (pages[i].VirtualAttributes.Valid) return size - at - i * page;
    }
    return 0;
}

int pri_os_stack_watch(size_t (*describe)(uintptr_t address, char *line, size_t size))
{
    (void)describe;
    return 0;
}

void pri_os_stack_unwatch(void) {}
