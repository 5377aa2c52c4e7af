/* Command lines and environments.
 *
 * A process of Windows has one line, which its C library takes apart; all of them go by the rules of
 * CommandLineToArgvW.  Between quotation marks everything is as it stands, but for a quotation mark, which
 * has a backslash before it, and for the backslashes right before one (or before the one at the end), which are
 * doubled.  The first argument is taken apart by other rules: up to the next quotation mark, without
 * backslashes. */
#include "os/win/command.h"

#include <stdbool.h>
#include <stdlib.h>
#include <limits.h>
#include <string.h>

size_t pri_win_text(const char *text, wchar_t *out)
{
    int room = out ? 1 << 30 : 0;
    return (size_t)MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, out, room);
}

/* ---- The command line ----------------------------------------------------------------------- */

/* A place in the line, which may be no place: then it is only counted. */
typedef struct line {
    wchar_t *out;
    size_t   len;
} line;

static void put(line *l, wchar_t unit, size_t times)
{
    for (; times > 0; times--, l->len++)
        if (l->out) l->out[l->len] = unit;
}

/* A piece without a quotation mark or backslash, or any other byte alone; false: it is no UTF-8. */
static bool put_text(line *l, const char *text, size_t len)
{
    if (len == 0) return true;
    if (len > INT_MAX) {
        SetLastError(ERROR_FILENAME_EXCED_RANGE);
        return false;
    }
    int room = l->out ? (int)len : 0; /* never more units than bytes */
    int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, (int)len,
                                    l->out ? l->out + l->len : NULL, room);
    l->len += (size_t)units;
    return units > 0;
}

static bool needs_quotes(const char *arg) { return !*arg || strpbrk(arg, " \t\n\v\""); }

static bool put_first(line *l, const char *arg)
{
    if (strchr(arg, '"')) {
        SetLastError(ERROR_INVALID_PARAMETER);
        return false;
    }
    put(l, L'"', 1);
    bool is_fine = put_text(l, arg, strlen(arg));
    put(l, L'"', 1);
    return is_fine;
}

static bool put_argument(line *l, const char *arg)
{
    if (!needs_quotes(arg)) return put_text(l, arg, strlen(arg));
    put(l, L'"', 1);
    while (*arg) {
        size_t plain = strcspn(arg, "\\\""), slashes = strspn(arg + plain, "\\");
        if (!put_text(l, arg, plain)) return false;
        arg += plain + slashes;
        bool is_quote = *arg == '"';
        put(l, L'\\', is_quote || !*arg ? 2 * slashes + is_quote : slashes);
        if (!is_quote) continue;
        put(l, L'"', 1);
        arg++;
    }
    put(l, L'"', 1);
    return true;
}

size_t pri_win_command_line(const char *const *args, wchar_t *out)
{
    line l = {out, 0};
    for (size_t i = 0; args[i]; i++) {
        if (i > 0) put(&l, L' ', 1);
        if (!(i > 0 ? put_argument(&l, args[i]) : put_first(&l, args[i]))) return 0;
    }
    put(&l, 0, 1);
    return l.len;
}

/* ---- The environment ------------------------------------------------------------------------ */

/* How long the name is.  Those of the system's own, which are no variables, begin with the mark. */
static int name_len(const wchar_t *variable)
{
    int len = *variable == L'=';
    while (variable[len] && variable[len] != L'=') len++;
    return len;
}

static int compare(const wchar_t *a, const wchar_t *b)
{
    return CompareStringOrdinal(a, name_len(a), b, name_len(b), TRUE) - CSTR_EQUAL;
}

static void reverse(wchar_t *at, wchar_t *end)
{
    while (at < end) {
        wchar_t unit = *at;
        *at++ = *--end;
        *end = unit;
    }
}

/* In place, by putting each one where it belongs among those before it: there are few. */
static void sort(wchar_t *block, size_t end)
{
    for (wchar_t *next = block; next < block + end;) {
        wchar_t *at = block;
        size_t   len = wcslen(next) + 1;
        while (at < next && compare(at, next) <= 0) at += wcslen(at) + 1;
        if (at < next) { /* before those that stand there now */
            reverse(at, next);
            reverse(next, next + len);
            reverse(at, next + len);
        }
        next += len;
    }
}

/* Without it a program finds no libraries for sockets and random numbers. */
static size_t put_system_root(wchar_t *out)
{
    static const wchar_t name[] = L"SystemRoot=";
    size_t               len = sizeof name / sizeof *name - 1;
    UINT                 room = GetSystemWindowsDirectoryW(NULL, 0); /* that never changes */
    if (room == 0) return 0;
    if (out) {
        memcpy(out, name, sizeof name);
        GetSystemWindowsDirectoryW(out + len, room);
    }
    return len + room;
}

size_t pri_win_environment(const char *const *environment, wchar_t *out)
{
    size_t len = 0;
    bool   has_root = false;
    for (size_t i = 0; environment[i]; i++) {
        if (!*environment[i]) continue; /* it would end the block */
        size_t units = pri_win_text(environment[i], out ? out + len : NULL);
        if (units == 0) return 0;
        has_root |= _strnicmp(environment[i], "SystemRoot=", 11) == 0;
        len += units;
    }
    if (!has_root) len += put_system_root(out ? out + len : NULL);
    if (out) {
        sort(out, len);
        out[len] = 0;
        out[len + 1] = 0; /* an empty block has two */
    }
    return len + 2;
}
