/* Command lines and environments as the system reads them. */
#include "lib/test.h"

#include "os/win/command.h"

#include <stdlib.h>

typedef wchar_t **WINAPI take_apart(const wchar_t *, int *);

static take_apart *system_call(void)
{
    FARPROC found = GetProcAddress(LoadLibraryA("shell32.dll"), "CommandLineToArgvW");
    CHECK(found != NULL);
    return (take_apart *)(void (*)(void))found;
}

static void check_line(take_apart *apart, const char *const *args, const char *want)
{
    wchar_t *line = t_array(wchar_t, pri_win_command_line(args, NULL)), text[256];
    size_t   len = pri_win_command_line(args, line);
    int      count;
    CHECK_EQ(len, wcslen(line) + 1);
    if (want != NULL) {
        pri_win_text(want, text);
        CHECK(wcscmp(line, text) == 0);
    }
    wchar_t **got = apart(line, &count);
    for (int i = 0; i < count; i++) {
        CHECK(args[i] != NULL);
        pri_win_text(args[i], text);
        if (wcscmp(got[i], text) != 0) FAIL("\"%s\" is taken for \"%ls\"", args[i], got[i]);
    }
    CHECK(args[count] == NULL);
    LocalFree(got);
}

CONFORM(arguments_are_quoted_as_the_documents_say)
{
    static const struct {
        const char *arg, *line;
    } cases[] = {{"", "\"p\" \"\""},
                 {"plain", "\"p\" plain"},
                 {"two words", "\"p\" \"two words\""},
                 {"a\\b\\", "\"p\" a\\b\\"},
                 {"a b\\", "\"p\" \"a b\\\\\""},
                 {"\"", "\"p\" \"\\\"\""},
                 {"\\\"", "\"p\" \"\\\\\\\"\""},
                 {"a\\\\b \"c\"", "\"p\" \"a\\\\b \\\"c\\\"\""}};
    take_apart *apart = system_call();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *args[] = {"p", cases[i].arg, NULL};
        check_line(apart, args, cases[i].line);
    }
}

CONFORM(any_arguments_come_back_as_they_were)
{
    static const char letters[] = "\\\\\\\"\"\" \ta'%^&|";
    enum { ARGS = 6, MOST = 12 };
    take_apart *apart = system_call();
    for (int round = t_rounds(3000); round > 0; round--) {
        char        room[ARGS][MOST + 3];
        const char *args[ARGS + 1] = {"C:\\Program Files\\p.exe"};
        int         count = 1 + (int)t_below(ARGS);
        for (int i = 1; i < count; i++) {
            size_t len = t_below(MOST);
            for (size_t at = 0; at < len; at++) room[i][at] = letters[t_below(sizeof letters - 1)];
            strcpy(room[i] + len, t_below(4) ? "" : "\xc3\xa9");
            args[i] = room[i];
        }
        args[count] = NULL;
        check_line(apart, args, NULL);
    }
}

CONFORM(what_cannot_be_said_is_refused)
{
    const char *quote[] = {"a\"b", NULL}, *wrong[] = {"p", "\xff", NULL};
    CHECK_EQ(pri_win_command_line(quote, NULL), 0);
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK_EQ(pri_win_command_line(wrong, NULL), 0);
    CHECK_EQ(GetLastError(), ERROR_NO_UNICODE_TRANSLATION);
}

CONFORM(an_environment_is_sorted_and_has_a_system_root)
{
    static const char *const given[] = {"b=2", "=C:=C:\\", "A=1", "SYSTEMROOT_=no",
                                        "c=",  "Ab=3",     NULL};
    static const char *const sorted[] = {"=C:=C:\\", "A=1", "Ab=3",          "b=2",
                                         "c=",       NULL,  "SYSTEMROOT_=no"};
    wchar_t                 *block = t_array(wchar_t, pri_win_environment(given, NULL)), want[256];
    size_t                   len = pri_win_environment(given, block);
    wchar_t                 *at = block;
    for (int i = 0; i < 7; i++) {
        pri_win_text(sorted[i] ? sorted[i] : "SystemRoot=", want);
        CHECK(wcsncmp(at, want, wcslen(want)) == 0);
        at += wcslen(at) + 1;
    }
    CHECK_EQ(*at, 0);
    CHECK_EQ(at + 2 - block, len);
    static const char *const own[] = {"systemroot=X", NULL};
    block = t_array(wchar_t, pri_win_environment(own, NULL));
    pri_win_environment(own, block);
    CHECK(wcscmp(block, L"systemroot=X") == 0);
    CHECK_EQ(block[13], 0);
}

int main(int argc, char **argv)
{
    char *args[8] = {argv[0], "--engine=iocp"}; /* and no other */
    for (int i = 1; i < argc && i < 7; i++) args[i + 1] = argv[i];
    return t_main(argc + 1, args);
}
