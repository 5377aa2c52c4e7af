/* lib/world.h on Windows.  Descriptors are handles, most of them made for overlapped calls. */
#include "lib/world.h"

#include "lib/os.h"
#include "lib/test.h"
#include "lib/world_sim.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <winsock2.h>
#include <windows.h>

#include <tlhelp32.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (!(call)) FAIL("%s: error %lu", #call, GetLastError());                                 \
    } while (0)

#define NOT_HERE() FAIL("%s: not on this system", __func__)

/* ---- Paths ----------------------------------------------------------------------------------- */

const char *t_path(const char *name)
{
    static atomic_int count;
    const char       *top = getenv("TMPDIR");
    if (top == NULL) top = getenv("TEMP");
    char *path = t_alloc(512);
    if (sim_path(name, path, 512)) return path;
    snprintf(path, 512, "%s/%lu-%d-%s", top ? top : ".", GetCurrentProcessId(),
             atomic_fetch_add(&count, 1), name);
    return path;
}

const char *t_path_in(const char *directory, const char *name)
{
    char *path = t_alloc(1024);
    snprintf(path, 1024, "%s/%s", directory, name);
    return path;
}

void t_make_directory(const char *path)
{
    if (!sim_make_directory(path)) MUST(CreateDirectoryA(path, NULL));
}

void t_remove_directory(const char *path)
{
    if (!sim_remove_directory(path)) MUST(RemoveDirectoryA(path));
}

void t_rename(const char *from, const char *to)
{
    if (sim_rename(from, to)) return;
    MUST(MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING));
}

void t_remove(const char *path)
{
    if (!sim_remove(path)) MUST(DeleteFileA(path));
}

enum { SHARE = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE };

void t_write_file(const char *path, const char *text)
{
    if (sim_write_file(path, text)) return;
    HANDLE file = CreateFileA(path, FILE_APPEND_DATA, SHARE, NULL, OPEN_ALWAYS, 0, NULL);
    MUST(file != INVALID_HANDLE_VALUE);
    DWORD len;
    MUST(WriteFile(file, text, (DWORD)strlen(text), &len, NULL));
    CloseHandle(file);
}

intptr_t t_open(const char *path)
{
    intptr_t simulated;
    if (sim_open(path, &simulated)) return simulated;
    DWORD  both = GENERIC_READ | GENERIC_WRITE;
    HANDLE file = CreateFileA(path, both, SHARE, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        file = CreateFileA(path, GENERIC_READ, SHARE, NULL, OPEN_EXISTING, 0, NULL);
    MUST(file != INVALID_HANDLE_VALUE);
    return (intptr_t)file;
}

intptr_t t_pattern_file(const char *path, size_t len, unsigned key)
{
    intptr_t simulated;
    if (sim_pattern_file(path, len, key, &simulated)) return simulated;
    DWORD  written, access = GENERIC_READ | GENERIC_WRITE;
    char  *bytes = t_alloc(len);
    HANDLE file = CreateFileA(path, access, SHARE, NULL, CREATE_ALWAYS, 0, NULL);
    MUST(file != INVALID_HANDLE_VALUE);
    t_fill(bytes, len, key, 0);
    MUST(WriteFile(file, bytes, (DWORD)len, &written, NULL));
    return (intptr_t)file;
}

void t_touch(const char *path)
{
    MUST(SetFileAttributesA(path, FILE_ATTRIBUTE_READONLY));
    MUST(SetFileAttributesA(path, FILE_ATTRIBUTE_NORMAL));
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

static struct {
    HANDLE handle;
    int    number;
} leaked;

/* A call on a handle of whatever mode, and wait for it.  false: the other side has ended. */
static bool call(intptr_t fd, bool is_read, void *buf, DWORD len, DWORD *done)
{
    OVERLAPPED overlapped = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
    HANDLE     file = (HANDLE)fd;
    MUST(overlapped.hEvent != NULL);
    BOOL ok = is_read ? ReadFile(file, buf, len, done, &overlapped)
                      : WriteFile(file, buf, len, done, &overlapped);
    if (!ok && GetLastError() == ERROR_IO_PENDING)
        ok = GetOverlappedResult(file, &overlapped, done, TRUE);
    DWORD error = ok ? 0 : GetLastError();
    CloseHandle(overlapped.hEvent);
    if (error == ERROR_BROKEN_PIPE || error == ERROR_HANDLE_EOF) return false;
    if (error) FAIL("%s: error %lu", is_read ? "ReadFile" : "WriteFile", error);
    return *done > 0;
}

size_t t_read_all(intptr_t fd, char *buf, size_t size)
{
    size_t len = 0;
    DWORD  n;
    while (len < size && call(fd, true, buf + len, (DWORD)(size - len), &n)) len += n;
    return len;
}

void t_write_fd(intptr_t fd, const char *text)
{
    DWORD n = 0, len = (DWORD)strlen(text);
    call(fd, false, (char *)(uintptr_t)text, len, &n);
    CHECK_EQ(n, len);
}

void t_close_fd(intptr_t fd)
{
    if (sim_close_fd(fd)) return;
    HANDLE handle = (HANDLE)fd;
    if (leaked.number != 0 && fd == leaked.number) {
        handle = leaked.handle;
        leaked.number = 0;
        SetEnvironmentVariableA("T_LEAKED", NULL);
    } else if (closesocket((SOCKET)fd) == 0) {
        return;
    }
    MUST(CloseHandle(handle));
}

bool t_pipe(intptr_t fds[2])
{
    if (sim_is_here()) return false;
    HANDLE ends[2];
    MUST(CreatePipe(&ends[0], &ends[1], NULL, 0));
    fds[0] = (intptr_t)ends[0];
    fds[1] = (intptr_t)ends[1];
    return true;
}

void t_name_of_fd(intptr_t fd, char *buf, size_t size)
{
    (void)fd, (void)buf, (void)size;
    NOT_HERE();
}

/* An inheritable handle has no number of our choice, so it gets one that is too high for a child to have
 * by itself, and the environment says which. */
void t_leak_fd(intptr_t fd, int number)
{
    enum { HIGH = 300 };
    HANDLE self = GetCurrentProcess(), copies[HIGH];
    char   text[32];
    (void)fd;
    for (int i = 0; i < HIGH; i++)
        MUST(DuplicateHandle(self, GetStdHandle(STD_OUTPUT_HANDLE), self, &copies[i], 0,
                             i + 1 == HIGH, DUPLICATE_SAME_ACCESS));
    for (int i = 0; i + 1 < HIGH; i++) CloseHandle(copies[i]);
    leaked.handle = copies[HIGH - 1];
    leaked.number = number;
    snprintf(text, sizeof text, "%llu", (unsigned long long)(uintptr_t)leaked.handle);
    MUST(SetEnvironmentVariableA("T_LEAKED", text));
}

/* ---- Processes ------------------------------------------------------------------------------- */

bool t_is_posix(void) { return false; }

/* Such as run this program: the system makes others for its consoles. */
bool t_has_children(void)
{
    char           path[1024];
    PROCESSENTRY32 entry = {.dwSize = sizeof entry};
    HANDLE         all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    bool           has = false;
    MUST(all != INVALID_HANDLE_VALUE);
    MUST(GetModuleFileNameA(NULL, path, sizeof path));
    const char *name = strrchr(path, '\\') + 1;
    for (BOOL more = Process32First(all, &entry); more; more = Process32Next(all, &entry))
        has |= entry.th32ParentProcessID == GetCurrentProcessId() &&
               _stricmp(entry.szExeFile, name) == 0;
    CloseHandle(all);
    return has;
}

bool t_has_pidfds(void) { return true; }

void t_steal_child(int64_t pid)
{
    (void)pid;
    NOT_HERE();
}

bool t_is_alive(int64_t pid)
{
    HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, (DWORD)pid);
    if (process == NULL) return false;
    bool alive = WaitForSingleObject(process, 0) == WAIT_TIMEOUT;
    CloseHandle(process);
    return alive;
}

void t_odd_signals(bool odd)
{
    (void)odd;
    NOT_HERE();
}

/* A console of our own, since no other has to be there, and nobody else hears of it; the standard handles
 * stay what they are. */
static void make_console(void)
{
    static const DWORD names[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    HANDLE             handles[3];
    int                before = t_os_descriptors();
    for (int i = 0; i < 3; i++) handles[i] = GetStdHandle(names[i]);
    FreeConsole();
    MUST(AllocConsole());
    for (int i = 0; i < 3; i++) SetStdHandle(names[i], handles[i]);
    t_os_descriptors_keep(t_os_descriptors() - before);
}

int t_signal(void) { return SIGINT; } /* Ctrl-C */

void t_raise(void)
{
    static atomic_bool has_console;
    if (!atomic_exchange(&has_console, true)) make_console();
    MUST(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0));
}
