/* The runner: a test is a sentence, and its failure is a command that replays it.
 *
 *     CONFORM(closing_a_listener_completes_its_accept_once)
 *     {
 *         pro_loop *loop = t_loop();
 *         ...
 *         CHECK_EQ(accept->done, 1);
 *     }
 *
 * Each sentence runs on a thread of its own.  A check that fails (in the sentence, in a handler, in a
 * thread started with t_thread_start) says so and parks its thread for good: nothing is unwound, and
 * what was in flight keeps its memory while the runner goes on with the next sentence.  A sentence
 * that does not end in time has failed too; the loops it made are asked for a dump.
 *
 * When a sentence has returned, the runner frees its loops (t_loop), which must answer PRO_OK, and
 * looks that no memory of the library and no descriptor is left over. */
#ifndef TEST_LIB_TEST_H
#define TEST_LIB_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <proactor.h>

typedef struct t_test {
    const char *name;
    const char *file;
    int         line;
    void (*run)(void);
    struct t_test *next;
} t_test;

void t_add(t_test *test);

#define CONFORM(sentence)                                                                          \
    static void                              sentence(void);                                       \
    __attribute__((constructor)) static void t_add_##sentence(void)                                \
    {                                                                                              \
        static t_test test = {#sentence, __FILE__, __LINE__, sentence, NULL};                      \
        t_add(&test);                                                                              \
    }                                                                                              \
    static void sentence(void)

/* Why this sentence cannot be tried on this engine, in the form of await.h, while others run on other
 * shards (rows.c), or NULL. */
const char *t_row_of(pro_engine engine, const char *sentence);
const char *t_row_of_await(const char *sentence);
const char *t_row_of_zerocopy(pro_engine engine, const char *sentence);
const char *t_row_of_alone(const t_test *test);

/* Run what was registered, as the arguments say; the exit status. */
int t_main(int argc, char **argv);

/* ---- Checks: they print what was, and what was wanted ---------------------------------------- */

#if defined(__GNUC__)
#define T_PRINTF(at) __attribute__((format(printf, at, at + 1)))
#else
#define T_PRINTF(at)
#endif

/* The sentence has failed; does not return. */
_Noreturn void t_fail(const char *file, int line, const char *format, ...) T_PRINTF(3);

/* The same, of what no weather (see --plan) excuses. */
_Noreturn void t_fail_firmly(const char *file, int line, const char *format, ...) T_PRINTF(3);

/* Is there a plan, so that chance is another than usual? */
bool t_has_weather(void);

/* The sentence cannot be tried here, for this reason; does not return.  From the sentence itself, not
 * from a handler; what it has made so far must be free to go, as at its end. */
_Noreturn void t_skip(const char *reason);

void t_check_eq(const char *file, int line, const char *what, long long is, long long want);
void t_check_error(const char *file, int line, const char *what, int is, int want);

#define FAIL(...) t_fail(__FILE__, __LINE__, __VA_ARGS__)
#define FAIL_FIRMLY(...) t_fail_firmly(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) t_fail(__FILE__, __LINE__, "%s", #condition);                            \
    } while (0)
#define CHECK_EQ(is, want) t_check_eq(__FILE__, __LINE__, #is, (long long)(is), (long long)(want))
#define CHECK_ERROR(is, want) t_check_error(__FILE__, __LINE__, #is, (is), (want))
#define CHECK_CMP_(a, cmp, b)                                                                      \
    do {                                                                                           \
        long long a_ = (long long)(a), b_ = (long long)(b);                                        \
        if (!(a_ cmp b_))                                                                          \
            t_fail(__FILE__, __LINE__, "%s %lld, want %s %lld (%s)", #a, a_, #cmp, b_, #b);        \
    } while (0)
#define CHECK_GE(a, b) CHECK_CMP_(a, >=, b)
#define CHECK_GT(a, b) CHECK_CMP_(a, >, b)
#define CHECK_LE(a, b) CHECK_CMP_(a, <=, b)
#define CHECK_LT(a, b) CHECK_CMP_(a, <, b)

/* ---- Of the sentence that runs --------------------------------------------------------------- */

/* Zeroed memory that lives until the sentence and its loops are over; each piece on its own, so that
 * a sanitizer sees the edges. */
void *t_alloc(size_t size);
#define t_new(type) ((type *)t_alloc(sizeof(type)))
#define t_array(type, count) ((type *)t_alloc(sizeof(type) * (size_t)(count)))

/* Random numbers from --seed and the name of the sentence: the same again with the same seed. */
uint64_t t_random(void);
uint64_t t_below(uint64_t bound); /* 0 .. bound - 1 */

/* A number of rounds: `normal`, fewer where everything is slow (sanitizers, valgrind), at least 1. */
int t_rounds(int normal);

/* --count, or `normal` as t_rounds. */
int t_count(int normal);

/* Text of the sentence's own, whole lines, printed after its verdict; not with --quiet. */
void t_note(const char *format, ...) T_PRINTF(1);

/* Patterns: byte i is a function of the key and of offset + i. */
void t_fill(void *buf, size_t len, unsigned key, uint64_t offset);
void t_check_fill(const char *file, int line, const void *buf, size_t len, unsigned key,
                  uint64_t offset);
#define CHECK_FILL(buf, len, key, offset)                                                          \
    t_check_fill(__FILE__, __LINE__, (buf), (size_t)(len), (key), (uint64_t)(offset))

/* ---- Loops ----------------------------------------------------------------------------------- */

/* A loop on the engine under test, with --mask, whose memory is counted. */
pro_loop *t_loop(void);

/* The same without slots, whatever --slots says. */
pro_loop *t_loop_of_descriptors(void);

/* The options t_loop uses, to change some; then t_loop_with. */
pro_loop_options t_loop_options(void);
pro_loop        *t_loop_with(const pro_loop_options *options);

/* The same with a clock that t_clock_advance moves forward, beside the real time. */
pro_loop *t_loop_clocked(void);
void      t_clock_advance(uint64_t ns);

/* Let the allocation after the next `after` fail, and all later ones, of all loops; -1: none.
 * The second says how many were asked for since. */
void t_memory_fails(long after);
long t_memory_asked(void);

/* Free a loop now; it must answer PRO_OK. */
void t_loop_free(pro_loop *loop);

/* Run until nothing is left; one turn; one that does not wait. */
void    t_run(pro_loop *loop);
int64_t t_turn(pro_loop *loop);
int64_t t_poll(pro_loop *loop);

/* Some turns that do not wait: what was canceled has completed then. */
void t_settle(pro_loop *loop);

/* Run turns until *count is at least want. */
void t_wait_count(pro_loop *loop, const int *count, int want);

#endif
