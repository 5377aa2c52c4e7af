/* What every measuring program here shares: clocks, pinning, statistics, interleaved rounds,
 * output.
 *
 * How we measure, in one paragraph. Absolute figures on a shared machine wander by a factor of
 * two between minutes, so nothing here compares two absolute figures. All contenders ("lanes")
 * are alive at once and take turns in short windows; a round is one window of each, in a
 * shuffled order. Each round gives one ratio, and the result is the median of those ratios
 * with its 95% interval. A lane that runs the baseline a second time (the A/A control) says
 * how far two equal programs seem to differ: when its interval leaves 1.5%, the run proves
 * nothing and is called void. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- process (process.c) ------------------------------------------------------------------- */

#define BENCH_CPU_LAST (-1) /* the highest CPU we may run on: the one interrupts like least */
#define BENCH_CPU_ANY (-2)  /* do not pin */

uint64_t bench_now_ns(void);         /* monotonic */
uint64_t bench_thread_cpu_ns(void);  /* CPU time of the calling thread, user and kernel */
uint64_t bench_process_cpu_ns(void); /* of all threads */
int      bench_pin(int cpu);         /* returns the CPU, or -1 if it stayed unpinned */
void     bench_raise_descriptor_limit(void);

_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void bench_die_errno(const char *what);

/* Where and what was measured; printed with each result, because a figure without these is a
 * rumour. */
struct bench_host {
    char machine[128], kernel[64], commit[48];
    int  cpus;
};
void bench_host_get(struct bench_host *host);

/* ---- statistics (stats.c) ------------------------------------------------------------------ */

struct bench_interval {
    double lo, mid, hi;
};

double bench_median(const double *at, size_t len);

/* The median and its 95% interval, from order statistics. */
struct bench_interval bench_median_interval(const double *at, size_t len);

#define BENCH_AA_LIMIT 0.015
bool bench_aa_holds(struct bench_interval aa); /* lo and hi within the limit of 1 */

/* ---- interleaved rounds (rounds.c) --------------------------------------------------------- */

enum bench_clock { BENCH_WALL, BENCH_CPU, BENCH_CLOCKS };

struct bench_lane {
    void *state;
    uint64_t (*run_for)(void *state, uint64_t window_ns); /* returns units of work done, > 0 */

    /* For a lane whose work is done by another process: warms up, measures a window and gives time per unit
     * by both clocks itself; run_for may be NULL then.  NULL: run_for is measured. */
    void (*measure)(void *state, uint64_t window_ns, double ns_per_unit[BENCH_CLOCKS]);
    bool has_threads; /* its CPU time is that of the process: threads of other lanes must sleep */
    double *ns_per_unit[BENCH_CLOCKS]; /* [rounds], filled by bench_rounds */
};

struct bench_plan {
    unsigned rounds;
    uint64_t window_ns;
};

void bench_lane_init(struct bench_lane *lane, unsigned rounds);
void bench_lane_fini(struct bench_lane *lane);

/* Rounds from..to - 1, after an uncounted window of each lane. Two instances of one program
 * differ for as long as they live (where their memory lies), so measure in several parts and
 * build the lanes anew for each. */
void bench_rounds(struct bench_lane *const *lanes, size_t lanes_len, uint64_t window_ns,
                  unsigned from, unsigned to);

/* The interval of the per-round ratios lane / base. */
struct bench_interval bench_ratio(const struct bench_lane *lane, const struct bench_lane *base,
                                  enum bench_clock clock, unsigned rounds);

/* ---- JSON lines (json.c) ------------------------------------------------------------------- */

/* One object per line. out == NULL makes every call a no-op, so that callers need no branch. */
struct bench_json {
    FILE *out;
    bool  some;
};

void bench_json_begin(struct bench_json *json, FILE *out, const char *bench,
                      const struct bench_host *host);
void bench_json_str(struct bench_json *json, const char *key, const char *value);
void bench_json_int(struct bench_json *json, const char *key, uint64_t value);
void bench_json_num(struct bench_json *json, const char *key, double value);
void bench_json_nums(struct bench_json *json, const char *key, const double *at, size_t len);
void bench_json_interval(struct bench_json *json, const char *key, struct bench_interval value);
void bench_json_bool(struct bench_json *json, const char *key, bool value);
void bench_json_end(struct bench_json *json);

/* ---- options (process.c) ------------------------------------------------------------------- */

/* The next argument must be --name=value or --name value: returns value and moves *at on; NULL
 * if it is another option. */
const char *bench_option(const char *name, int argc, char **argv, int *at);
bool        bench_in_list(const char *list, const char *word); /* of words with commas between */
unsigned    bench_number(const char *name, const char *text, unsigned min, unsigned max);

#endif
