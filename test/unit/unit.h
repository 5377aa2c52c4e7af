/* The smallest runner, for tests of the inside: sentences that run one after the other in one
 * process.  A program includes this once.  Protocol as everywhere: a line each, then the sum. */
#ifndef TEST_UNIT_H
#define TEST_UNIT_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct unit_test {
    const char *name;
    void (*run)(void);
    struct unit_test *next;
} unit_test;

static unit_test  *unit_first, **unit_last = &unit_first;
static jmp_buf     unit_end;
static const char *unit_name, *unit_skipped; /* unit_skipped: why, or NULL */

#define UNIT(sentence)                                                                             \
    static void                              sentence(void);                                       \
    __attribute__((constructor)) static void unit_add_##sentence(void)                             \
    {                                                                                              \
        static unit_test test = {#sentence, sentence, NULL};                                       \
        *unit_last = &test;                                                                        \
        unit_last = &test.next;                                                                    \
    }                                                                                              \
    static void sentence(void)

/* It cannot be tried here, for this reason. */
#define UNIT_SKIP(reason)                                                                          \
    do {                                                                                           \
        unit_skipped = (reason);                                                                   \
        longjmp(unit_end, 1);                                                                      \
    } while (0)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("FAIL %s: %s:%d: %s\n", unit_name, __FILE__, __LINE__, #condition);             \
            longjmp(unit_end, 1);                                                                  \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(is, want)                                                                         \
    do {                                                                                           \
        long long is_ = (long long)(is), want_ = (long long)(want);                                \
        if (is_ != want_) {                                                                        \
            printf("FAIL %s: %s:%d: %s is %lld, want %lld\n", unit_name, __FILE__, __LINE__, #is,  \
                   is_, want_);                                                                    \
            longjmp(unit_end, 1);                                                                  \
        }                                                                                          \
    } while (0)

int main(int argc, char **argv)
{
    static int        passed, failed, skipped; /* static: they live through longjmp */
    static unit_test *test;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (test = unit_first; test; test = test->next) {
        if (argc > 1 && !strstr(test->name, argv[1])) continue;
        unit_name = test->name;
        unit_skipped = NULL;
        if (setjmp(unit_end) == 0) {
            test->run();
            printf("ok %s\n", test->name);
            passed++;
        } else if (unit_skipped) {
            printf("skip %s: %s\n", test->name, unit_skipped);
            skipped++;
        } else {
            printf("replay: %s %s\n", argv[0], test->name);
            failed++;
        }
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed > 0;
}

#endif
