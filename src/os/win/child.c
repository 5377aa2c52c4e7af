/* Child processes on Windows, by CreateProcess.
 *
 * What the child gets are copies of handles that can be inherited, and a list that says that it inherits
 * these alone.  Its first three are its standard handles; all of them together are descriptors 0, 1, ... of its C
 * library, which takes them from a block that it finds beside its arguments.  (In that moment a child that another
 * part of the program starts without such a list inherits them, too.)
 *
 * There are no signals: a child is ended from outside, with an exit code that says so and which no program has
 * by itself (KILLED); that is told as the signal.  A group is a job, in which the child is before it runs, and
 * its children with it; only an interrupt can be told to one, as Ctrl-Break, over a console in common.
 *
 * Batch files are refused: they are run by cmd.exe, for which arguments would have to be written by other
 * rules, which do not exist for all of them.
 *
 * Invariants, of a plan:
 *   theirs[i] != NULL    a copy, the child's, ours to close
 *   ours[i] >= 0         the other end of what was made for i */
#include "os/child.h"

#include <stdbool.h>
#include <string.h>

#include "os/win/command.h"
#include "os/win/pipe.h"

enum { KILLED = 0x50524f00 /* and the signal */, KILLED_MASK = 0xff };
enum { SIG_INT = 2, SIG_KILL = 9, SIG_TERM = 15 };
enum {
    PATH_LEN = 4096,
    ENTRY = 1 + sizeof(HANDLE) /* of the C library's block, for a descriptor */
};
enum { IS_OPEN = 0x01, IS_PIPE = 0x08, IS_DEVICE = 0x40 }; /* its flags */

const int pri_os_kill_signal = SIG_KILL;

struct pri_os_plan {
    pro_spawn_options what;
    HANDLE            theirs[PRO_STDIO_MAX], list[PRO_STDIO_MAX];
    intptr_t          ours[PRO_STDIO_MAX];
    DWORD             listed;
    unsigned char     block[sizeof(int) + PRO_STDIO_MAX * ENTRY];
    wchar_t          *command, *environment, *directory, *path;
    wchar_t           program[PATH_LEN];
    int               result; /* of start */
    HANDLE            process, job;
    DWORD             pid;
};

static const pro_stdio inherited[] = {
    {PRO_STDIO_INHERIT, 0}, {PRO_STDIO_INHERIT, 0}, {PRO_STDIO_INHERIT, 0}};

static int system_error(void) { return -(int)GetLastError(); }

static bool is_handle(HANDLE handle) { return handle && handle != INVALID_HANDLE_VALUE; }

/* ---- What the child gets ---------------------------------------------------------------------- */

static int take_copy(const pro_env *env, pri_os_plan *plan, unsigned i, HANDLE handle)
{
    HANDLE self = GetCurrentProcess();
    int    fault = pri_os_fault(env, "DuplicateHandle");
    if (fault) return fault;
    if (!is_handle(handle)) return -ERROR_INVALID_HANDLE;
    BOOL done =
        DuplicateHandle(self, handle, self, &plan->theirs[i], 0, TRUE, DUPLICATE_SAME_ACCESS);
    return done ? 0 : system_error();
}

/* Its calls wait, as those of programs do; ours do not. */
static int make_ends(const pro_env *env, pri_os_plan *plan, unsigned i, pro_stdio_kind kind)
{
    bool              child_reads = kind != PRO_STDIO_WRITE;
    const pri_win_end how[2] = {child_reads ? PRI_WIN_WAITING : PRI_WIN_OVERLAPPED,
                                child_reads ? PRI_WIN_OVERLAPPED : PRI_WIN_WAITING};
    HANDLE ends[2];
    SOCKET sockets[2];
    int error = kind == PRO_STDIO_BOTH ? pri_win_socket_pair(env, PRI_OS_STREAM_PAIR, sockets, how)
                                       : pri_win_pipe(env, ends, how);
    if (error) return error;
    for (int e = 0; e < 2 && kind == PRO_STDIO_BOTH; e++) ends[e] = (HANDLE)sockets[e];
    plan->ours[i] = (intptr_t)ends[child_reads];
    error = take_copy(env, plan, i, ends[!child_reads]);
    pri_os_net.close(env, (intptr_t)ends[!child_reads], 0);
    return error;
}

static int make_null(pri_os_plan *plan, unsigned i)
{
    SECURITY_ATTRIBUTES security = {.nLength = sizeof security, .bInheritHandle = TRUE};
    HANDLE              file =
        CreateFileW(L"NUL", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE,
                    &security, OPEN_EXISTING, 0, NULL);
    if (!is_handle(file)) return system_error();
    plan->theirs[i] = file;
    return 0;
}

static int make_theirs(const pro_env *env, pri_os_plan *plan, unsigned i, const pro_stdio *stdio)
{
    static const DWORD standard[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
    switch (stdio->kind) {
    case PRO_STDIO_NULL: return make_null(plan, i);
    case PRO_STDIO_INHERIT:
        return take_copy(env, plan, i, i < 3 ? GetStdHandle(standard[i]) : NULL);
    case PRO_STDIO_GIVEN: return take_copy(env, plan, i, (HANDLE)stdio->descriptor);
    case PRO_STDIO_READ:
    case PRO_STDIO_WRITE:
    case PRO_STDIO_BOTH: return make_ends(env, plan, i, stdio->kind);
    default: return -ERROR_INVALID_PARAMETER;
    }
}

/* How many; a byte for each; a handle for each. */
static void fill_block(pri_os_plan *plan)
{
    int            count = (int)plan->what.stdio_count;
    unsigned char *flags = plan->block + sizeof count, *handles = flags + count;
    memcpy(plan->block, &count, sizeof count);
    for (int i = 0; i < count; i++) {
        HANDLE handle = plan->theirs[i] ? plan->theirs[i] : INVALID_HANDLE_VALUE;
        /* Not asked without need: the answer waits for a read that is pending on a handle of that kind. */
        bool  is_needed = plan->theirs[i] && count > 3;
        DWORD type = is_needed ? GetFileType(handle) : FILE_TYPE_UNKNOWN;
        flags[i] = plan->theirs[i] ? IS_OPEN : 0;
        if (type == FILE_TYPE_PIPE) flags[i] |= IS_PIPE;
        if (type == FILE_TYPE_CHAR) flags[i] |= IS_DEVICE;
        memcpy(handles + (size_t)i * sizeof handle, &handle, sizeof handle);
        if (plan->theirs[i]) plan->list[plan->listed++] = handle;
    }
}

/* ---- Texts ---------------------------------------------------------------------------------- */

typedef size_t write_text(const char *const *from, wchar_t *out);

static size_t write_directory(const char *const *from, wchar_t *out)
{
    return pri_win_text(*from, out);
}

/* Ours, as it is now: another thread may make it longer meanwhile. */
static int make_path(const pro_env *env, wchar_t **out)
{
    for (DWORD room = 1, needed;; room = needed) {
        wchar_t *path = env->realloc(env->ctx, *out, room * sizeof *path);
        if (!path) return -ERROR_NOT_ENOUGH_MEMORY;
        *out = path;
        *path = 0;
        needed = GetEnvironmentVariableW(L"PATH", path, room);
        if (needed < room) return 0; /* its length, or 0: there is none */
    }
}

static int make_text(const pro_env *env, wchar_t **out, write_text *writer, const char *const *from)
{
    size_t len = writer(from, NULL);
    if (len == 0)
        return GetLastError() == ERROR_NO_UNICODE_TRANSLATION ? -ERROR_INVALID_NAME
                                                              : system_error();
    *out = env->realloc(env->ctx, NULL, len * sizeof **out);
    if (!*out) return -ERROR_NOT_ENOUGH_MEMORY;
    writer(from, *out);
    return 0;
}

static int make_texts(const pro_env *env, pri_os_plan *plan)
{
    const char        *alone[] = {plan->what.file, NULL};
    const char *const *args = plan->what.args && plan->what.args[0] ? plan->what.args : alone;
    int                error = make_text(env, &plan->command, pri_win_command_line, args);
    if (!error && plan->what.environment)
        error = make_text(env, &plan->environment, pri_win_environment, plan->what.environment);
    if (!error && plan->what.directory)
        error = make_text(env, &plan->directory, write_directory, &plan->what.directory);
    if (!error) error = make_path(env, &plan->path);
    return error;
}

/* ---- Preparing and ending ------------------------------------------------------------------- */

static void give_back(const pro_env *env, pri_os_plan *plan, bool ours_too)
{
    for (unsigned i = 0; i < plan->what.stdio_count; i++) {
        if (plan->theirs[i]) pri_os_net.close(env, (intptr_t)plan->theirs[i], 0);
        if (ours_too && plan->ours[i] >= 0) pri_os_net.close(env, plan->ours[i], 0);
    }
    wchar_t *texts[] = {plan->command, plan->environment, plan->directory, plan->path};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i]) env->realloc(env->ctx, texts[i], 0);
    env->realloc(env->ctx, plan, 0);
}

int pri_os_child_prepare(const pro_env *env, const pro_spawn_options *options, pri_os_plan **out)
{
    if (!options->file || !*options->file || options->stdio_count > PRO_STDIO_MAX)
        return -ERROR_INVALID_PARAMETER;
    pri_os_plan *plan = env->realloc(env->ctx, NULL, sizeof *plan);
    if (!plan) return -ERROR_NOT_ENOUGH_MEMORY;
    memset(plan, 0, sizeof *plan);
    plan->what = *options;
    plan->result = -ERROR_OPERATION_ABORTED;
    const pro_stdio *stdio = options->stdio;
    if (options->stdio_count == 0) {
        stdio = inherited;
        plan->what.stdio_count = 3;
    }
    for (int i = 0; i < PRO_STDIO_MAX; i++) plan->ours[i] = -1;
    int error = make_texts(env, plan);
    for (unsigned i = 0; i < plan->what.stdio_count && !error; i++) {
        error = make_theirs(env, plan, i, &stdio[i]);
        /* Standard handles that this process has not, the child has not either. */
        if (error == -ERROR_INVALID_HANDLE && stdio == inherited) error = 0;
    }
    if (!error) error = pri_os_fault(env, "CreateProcess");
    if (error) {
        give_back(env, plan, true);
        return error;
    }
    fill_block(plan);
    *out = plan;
    return 0;
}

int64_t pri_os_child_end(const pro_env *env, pri_os_plan *plan, intptr_t *fd, intptr_t *group)
{
    int64_t result = plan->result ? plan->result : (int64_t)plan->pid;
    *fd = (intptr_t)plan->process;
    *group = (intptr_t)plan->job;
    for (unsigned i = 0; !plan->result && i < plan->what.stdio_count; i++)
        if (plan->ours[i] >= 0) plan->what.stdio[i].descriptor = plan->ours[i];
    give_back(env, plan, plan->result != 0);
    return result;
}

/* ---- Starting --------------------------------------------------------------------------------- */

static bool is_file(const wchar_t *path)
{
    DWORD attributes = GetFileAttributesW(path);
    return attributes != INVALID_FILE_ATTRIBUTES && !(attributes & FILE_ATTRIBUTE_DIRECTORY);
}

/* Names end before their dots and spaces. */
static bool is_batch(const wchar_t *path)
{
    size_t len = wcslen(path);
    while (len > 0 && (path[len - 1] == L'.' || path[len - 1] == L' ')) len--;
    return len > 4 && (_wcsnicmp(path + len - 4, L".bat", 4) == 0 ||
                       _wcsnicmp(path + len - 4, L".cmd", 4) == 0);
}

/* Where the program is: into plan->program.  Without a part of a path it is looked for on ours. */
static int find_program(pri_os_plan *plan)
{
    static const wchar_t suffix[] = L".exe";
    enum { SUFFIX = sizeof suffix / sizeof *suffix };
    wchar_t name[PATH_LEN];
    size_t  len = pri_win_text(plan->what.file, NULL);
    if (len == 0) return -ERROR_INVALID_NAME;
    if (len + SUFFIX > PATH_LEN) return -ERROR_FILENAME_EXCED_RANGE;
    pri_win_text(plan->what.file, name);
    if (wcspbrk(name, L"/\\:")) {
        wcscpy(plan->program, name);
        if (!is_file(plan->program)) wcscat(plan->program, suffix);
        return is_file(plan->program) ? 0 : -ERROR_FILE_NOT_FOUND;
    }
    for (int with_suffix = 0; with_suffix < 2; with_suffix++) {
        if (with_suffix) wcscat(name, suffix);
        DWORD found = SearchPathW(plan->path, name, NULL, PATH_LEN, plan->program, NULL);
        if (found > 0 && found < PATH_LEN && is_file(plan->program)) return 0;
    }
    return -ERROR_FILE_NOT_FOUND;
}

/* What the system says of a directory that is not there is less than what it knows. */
static int look_at_directory(const wchar_t *path)
{
    DWORD attributes = path ? GetFileAttributesW(path) : FILE_ATTRIBUTE_DIRECTORY;
    if (attributes == INVALID_FILE_ATTRIBUTES) return system_error();
    return attributes & FILE_ATTRIBUTE_DIRECTORY ? 0 : -ERROR_DIRECTORY;
}

static int create(pri_os_plan *plan, STARTUPINFOEXW *start)
{
    PROCESS_INFORMATION made;
    uint32_t            asked = plan->what.flags;
    DWORD               flags = CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT;
    if (plan->job) flags |= CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP;
    if (asked & PRO_SPAWN_SESSION) flags |= DETACHED_PROCESS;
    if (!CreateProcessW(plan->program, plan->command, NULL, NULL, plan->listed > 0, flags,
                        plan->environment, plan->directory, &start->StartupInfo, &made))
        return system_error();
    int error =
        plan->job && !AssignProcessToJobObject(plan->job, made.hProcess) ? system_error() : 0;
    if (!error && plan->job && ResumeThread(made.hThread) == (DWORD)-1) error = system_error();
    CloseHandle(made.hThread);
    plan->process = made.hProcess;
    plan->pid = made.dwProcessId;
    if (error) TerminateProcess(plan->process, KILLED | SIG_KILL); /* before it ran */
    return error;
}

/* With the list of what it inherits. */
static int create_with_list(pri_os_plan *plan)
{
    STARTUPINFOEXW start = {
        .StartupInfo =
            {
                .cb = sizeof start,
                .dwFlags = STARTF_USESTDHANDLES,
                .hStdInput = plan->theirs[0],
                .hStdOutput = plan->theirs[1],
                .hStdError = plan->theirs[2],
            },
    };
    if (plan->what.stdio_count > 3) {
        start.StartupInfo.lpReserved2 = plan->block;
        start.StartupInfo.cbReserved2 =
            (WORD)(sizeof(int) + plan->what.stdio_count * (size_t)ENTRY);
    }
    union {
        char     room[256]; /* what a list of one thing takes is a third of it */
        intptr_t aligned;
    } list;
    SIZE_T size = sizeof list;
    start.lpAttributeList = (LPPROC_THREAD_ATTRIBUTE_LIST)(void *)&list;
    if (!InitializeProcThreadAttributeList(start.lpAttributeList, 1, 0, &size))
        return system_error();
    int error = 0;
    if (plan->listed > 0 &&
        !UpdateProcThreadAttribute(start.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
                                   plan->list, plan->listed * sizeof *plan->list, NULL, NULL))
        error = system_error();
    if (!error) error = create(plan, &start);
    DeleteProcThreadAttributeList(start.lpAttributeList);
    return error;
}

int pri_os_child_start(pri_os_plan *plan)
{
    int error = find_program(plan);
    if (!error && is_batch(plan->program)) error = -ERROR_ACCESS_DENIED;
    if (!error) error = look_at_directory(plan->directory);
    if (!error && plan->what.flags & (PRO_SPAWN_GROUP | PRO_SPAWN_SESSION)) {
        plan->job = CreateJobObjectW(NULL, NULL);
        if (!plan->job) error = system_error();
    }
    if (!error) error = create_with_list(plan);
    if (error) {
        if (plan->process) CloseHandle(plan->process);
        if (plan->job) CloseHandle(plan->job);
    }
    return plan->result = error;
}

/* ---- Its end ---------------------------------------------------------------------------------- */

int pri_os_child_reap(intptr_t fd, intptr_t group, int64_t *status)
{
    DWORD code;
    int   error = 0;
    if (WaitForSingleObject((HANDLE)fd, 0) == WAIT_TIMEOUT) return -WSAEWOULDBLOCK;
    if (!GetExitCodeProcess((HANDLE)fd, &code)) error = system_error();
    if (group) CloseHandle((HANDLE)group);
    if (error) return error;
    bool is_killed = (code & ~(DWORD)KILLED_MASK) == KILLED;
    *status = is_killed ? PRO_SIGNALED + (int64_t)(code & KILLED_MASK) : (int64_t)code;
    return 0;
}

int pri_os_child_signal(const pro_env *env, intptr_t fd, int32_t pid, intptr_t group, int number)
{
    int fault = pri_os_fault(env, "TerminateProcess");
    if (fault) return fault;
    if (number == SIG_INT) {
        bool told = group && GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, (DWORD)pid);
        return told ? 0 : -WSAEOPNOTSUPP;
    }
    if (number != SIG_KILL && number != SIG_TERM) return -ERROR_INVALID_PARAMETER;
    UINT code = KILLED | (UINT)number;
    BOOL done =
        group ? TerminateJobObject((HANDLE)group, code) : TerminateProcess((HANDLE)fd, code);
    if (done) return 0;
    int   error = system_error();
    DWORD is =
        STILL_ACTIVE; /* one that is just ending takes no more of it, and has its code already */
    if (WaitForSingleObject((HANDLE)fd, 0) == WAIT_OBJECT_0) return 0;
    return GetExitCodeProcess((HANDLE)fd, &is) && is != STILL_ACTIVE ? 0 : error;
}
