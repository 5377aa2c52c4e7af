/* A shell for children of tests on Windows, which has none: sh -c SCRIPT [ARGUMENT]..., as POSIX has it, as
 * far as the scripts of our sentences go.  The test program is it, if it is started so.
 *
 *     commands   separated by ; or &&, in the background with & , perhaps in parentheses
 *     words      '...'  "..."  $0 $1 ... $$ $NAME $(pwd)
 *     to where   <&3 >&3 >&-
 *     what       : [ cat echo exec exit kill read setsid sh sleep trap wait while for, the last two in one
 *                form each, and [ to ask whether what should not be inherited was not; trap does nothing */
#include "lib/test.h"
#include "lib/world.h"

#include <ctype.h>
#include <fcntl.h>
#include <io.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

enum { WORDS = 16, LEN = 4096, CHILDREN = 8 };

static struct {
    char **args; /* $0 and so on */
    int    arg_count;
    HANDLE children[CHILDREN];
    DWORD  child_count;
} sh;

static int run(const char *script);

/* ---- Words ----------------------------------------------------------------------------------- */

static void put(char **out, const char *text)
{
    while (*text) *(*out)++ = *text++;
}

/* What stands behind a $; returns the end of it. */
static const char *expand(const char *at, char **out)
{
    char text[LEN] = "";
    if (*at == '$') {
        snprintf(text, sizeof text, "%lu", GetCurrentProcessId());
        at++;
    } else if (strncmp(at, "(pwd)", 5) == 0) {
        GetCurrentDirectoryA(sizeof text, text);
        at += 5;
    } else if (isdigit((unsigned char)*at)) {
        if (*at - '0' < sh.arg_count) snprintf(text, sizeof text, "%s", sh.args[*at - '0']);
        at++;
    } else {
        char name[64] = "";
        for (size_t i = 0; isalnum((unsigned char)*at) && i < sizeof name - 1; i++) name[i] = *at++;
        if (getenv(name)) snprintf(text, sizeof text, "%s", getenv(name));
    }
    put(out, text);
    return at;
}

static int split(const char *at, char *room, char **words)
{
    int count = 0;
    for (;;) {
        while (*at == ' ') at++;
        if (!*at || count == WORDS - 1) break;
        words[count++] = room;
        for (char quote = 0; *at && (quote || *at != ' ');) {
            if (quote ? *at == quote : *at == '"' || *at == '\'')
                quote = quote ? 0 : *at, at++;
            else if (*at == '$' && quote != '\'')
                at = expand(at + 1, &room);
            else
                *room++ = *at++;
        }
        *room++ = 0;
    }
    words[count] = NULL;
    return count;
}

/* ---- Commands -------------------------------------------------------------------------------- */

static void background(const char *script)
{
    char                path[1024], line[LEN], *out = line;
    STARTUPINFOA        start = {.cb = sizeof start,
                                 .dwFlags = STARTF_USESTDHANDLES, /* not those of a new console */
                                 .hStdInput = GetStdHandle(STD_INPUT_HANDLE),
                                 .hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE),
                                 .hStdError = GetStdHandle(STD_ERROR_HANDLE)};
    PROCESS_INFORMATION made;
    put(&out, "sh -c \"");
    put(&out, script);
    put(&out, "\"");
    *out = 0;
    GetModuleFileNameA(NULL, path, sizeof path);
    if (!CreateProcessA(path, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &made)) exit(126);
    CloseHandle(made.hThread);
    sh.children[sh.child_count++] = made.hProcess;
}

static int kill_one(const char *pid)
{
    HANDLE process = OpenProcess(PROCESS_TERMINATE | SYNCHRONIZE, FALSE, (DWORD)atol(pid));
    if (!process || !TerminateProcess(process, 1)) return 1;
    WaitForSingleObject(process, INFINITE);
    return 0;
}

static int cat(int in, int out)
{
    char buf[LEN];
    for (int n; (n = _read(in, buf, sizeof buf)) > 0;)
        if (_write(out, buf, (unsigned)n) != n) return 1;
    return 0;
}

static int echo(char **words, int out)
{
    char line[LEN], *at = line;
    for (char **word = words; *word; word++) {
        if (word > words) *at++ = ' ';
        put(&at, *word);
    }
    *at++ = '\n';
    return _write(out, line, (unsigned)(at - line)) < 0;
}

/* Is the handle here that should not be? */
static int is_leaked(void)
{
    const char *value = getenv("T_LEAKED");
    DWORD       flags;
    return value && GetHandleInformation((HANDLE)(uintptr_t)strtoull(value, NULL, 10), &flags);
}

static int read_line(int in)
{
    char byte = 0;
    while (_read(in, &byte, 1) == 1 && byte != '\n') {}
    return byte != '\n';
}

static int do_command(char **words, int count, int in, int out)
{
    const char *what = words[0];
    if (strcmp(what, "exit") == 0) exit(count > 1 ? atoi(words[1]) : 0);
    if (strcmp(what, "echo") == 0) return echo(words + 1, out);
    if (strcmp(what, "cat") == 0) return cat(in, out);
    if (strcmp(what, "read") == 0) return read_line(in);
    if (strcmp(what, "sleep") == 0) Sleep((DWORD)(1000 * atof(words[1])));
    if (strcmp(what, "kill") == 0) return kill_one(words[count - 1]);
    if (strcmp(what, "[") == 0) return is_leaked();
    if (strcmp(what, "wait") == 0)
        WaitForMultipleObjects(sh.child_count, sh.children, TRUE, INFINITE);
    if (strcmp(what, "sh") == 0) return run(words[2]);
    if (strcmp(what, "setsid") == 0) return do_command(words + 1, count - 1, in, out);
    return 0;
}

static int command(const char *text)
{
    char room[LEN], *words[WORDS];
    int  in = 0, out = 1, count = split(text, room, words), kept = 0;
    bool closes = false;
    for (int i = 0; i < count; i++) {
        char *word = words[i];
        if (strncmp(word, "<&", 2) == 0)
            in = atoi(word + 2);
        else if (strcmp(word, ">&-") == 0)
            closes = true;
        else if (strncmp(word, ">&", 2) == 0)
            out = atoi(word + 2);
        else
            words[kept++] = word;
    }
    words[kept] = NULL;
    if (closes) _close(out);
    return kept ? do_command(words, kept, in, out) : 0;
}

/* ---- Scripts --------------------------------------------------------------------------------- */

/* As the system takes them apart, which is what it says that programs do; and the C library finds as many. */
static int print_arguments(void)
{
    typedef wchar_t **WINAPI take_apart(const wchar_t *, int *);
    int                      count;
    char                     text[LEN];
    HMODULE                  shell = LoadLibraryA("shell32.dll");
    FARPROC                  found = GetProcAddress(shell, "CommandLineToArgvW");
    wchar_t **args = ((take_apart *)(void (*)(void))found)(GetCommandLineW(), &count);
    if (count != __argc) exit(125);
    for (int i = 4; i < count; i++) {
        WideCharToMultiByte(CP_UTF8, 0, args[i], -1, text, sizeof text, NULL, NULL);
        echo((char *[]){text, NULL}, 1);
    }
    return 0;
}

/* Where the command that begins here ends. */
static const char *end_of(const char *at)
{
    char quote = 0;
    int  depth = 0;
    for (; *at; at++) {
        if (quote ? *at == quote : *at == '"' || *at == '\'')
            quote = quote ? 0 : *at;
        else if (!quote && *at == '(')
            depth++;
        else if (!quote && *at == ')')
            depth--;
        else if (!quote && !depth && *at == ';')
            break;
        else if (!quote && !depth && *at == '&' && at[-1] != '<' && at[-1] != '>')
            break;
    }
    return at;
}

static int run(const char *at)
{
    char text[LEN];
    int  status = 0;
    while (*at) {
        while (*at == ' ') at++;
        if (strncmp(at, "while ", 6) == 0) Sleep(INFINITE);
        if (strncmp(at, "for a; do printf", 16) == 0) return print_arguments();
        const char *end = end_of(at);
        bool        group = *at == '(';
        const char *last = group ? strrchr(at, ')') : end;
        snprintf(text, sizeof text, "%.*s", (int)(last - at - group), at + group);
        bool is_and = end[0] == '&' && end[1] == '&';
        if (*end == '&' && !is_and)
            background(text);
        else
            status = group ? run(text) : command(text);
        if (is_and && status) return status;
        at = *end ? end + 1 + is_and : end;
    }
    return status;
}

__attribute__((constructor)) static void be_a_shell(void)
{
    if (__argc < 3 || strcmp(__argv[0], "sh") != 0 || strcmp(__argv[1], "-c") != 0) return;
    for (int i = 0; i < 3; i++) _setmode(i, _O_BINARY);
    sh.args = __argv + 3;
    sh.arg_count = __argc - 3;
    exit(run(__argv[2]));
}

const char *t_shell(void)
{
    char *path = t_alloc(1024);
    if (!GetModuleFileNameA(NULL, path, 1024)) FAIL("GetModuleFileName: error %lu", GetLastError());
    return path;
}
