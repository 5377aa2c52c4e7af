/* ./dev sim: scenarios, seed after seed.
 *
 *     sim --seed=N [--only=NAME] [--events]     one seed; the last line is "digest HEX"
 *     sim --seeds=N [--start=N] [--jobs=N]      that many seeds of each, and a summary
 *     sim                                       what CI runs: fixed seeds, one in twenty twice
 *
 * A job is a process of its own with a part of the seeds: a crash is the failure of its last seed,
 * which the parent knows from the pipe that the job reports on. */
#include "scenario.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const scenario scenarios[] = {
    {"hand", scenario_hand, PRO_SIM_CALM},
    {"echo", scenario_echo, PRO_SIM_ALL_FAULTS & ~PRO_SIM_BIT(PRO_SIM_HANDLES)},
    {"service", scenario_service, PRO_SIM_ALL_FAULTS},
    {"shards", scenario_shards, PRO_SIM_ALL_FAULTS},
    {"lossy", scenario_lossy, PRO_SIM_ALL_FAULTS},
    {"wal", scenario_wal, PRO_SIM_ALL_FAULTS},
    {"torture", scenario_torture,
     PRO_SIM_ALL_FAULTS & ~(PRO_SIM_BIT(PRO_SIM_HANDLES) | PRO_SIM_BIT(PRO_SIM_REFUSE) |
                            PRO_SIM_BIT(PRO_SIM_LOST_SYN) | PRO_SIM_BIT(PRO_SIM_ABORTED))},
    {"disk", scenario_disk, PRO_SIM_CALM},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0], JOBS_MAX = 64, MARKS_MAX = 64 };

static struct {
    const char *program, *only;
    uint64_t    seed, seeds, start;
    int         jobs;
    bool        one, events, ci;
} options = {.start = 1, .jobs = 1};

/* What a job says about one seed, in one write. */
typedef struct result {
    int32_t  scenario, failures;
    uint64_t seed, digest, events, virtual_ns;
    bool     begun; /* the seed begins now; the rest is not known yet */
    uint32_t marks_count;
    struct {
        char     name[60];
        uint32_t hit;
    } marks[8]; /* those reached for the first time by this job */
} result;

static FILE *out; /* the programs under test have standard output for themselves */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- One seed --------------------------------------------------------------------------------- */

static const scenario *running;
static uint64_t        running_seed;

static void tell(void *arg, const char *line)
{
    (void)arg;
    fprintf(out, "%s\n", line);
}

static void print_replay(void)
{
    fprintf(out, "replay: %s --only=%s --seed=%" PRIu64 " --events\n", options.program,
            running->name, running_seed);
    fflush(out);
}

static void on_crash(int number)
{
    signal(number, SIG_DFL);
    fprintf(out, "FAIL sim: %s: seed %" PRIu64 ": signal %d\n", running->name, running_seed,
            number);
    print_replay();
    raise(number);
}

static int run_seed(const scenario *s, uint64_t seed, pro_sim_stats *stats)
{
    pro_sim_options o = {.version = PRO_VERSION,
                         .seed = seed,
                         .faults = s->faults,
                         .survive = 1,
                         .tell = tell,
                         .tell_events = options.events};
    pro_sim        *world;
    running = s;
    running_seed = seed;
    alarm(20); /* of real time: it hangs */
    if (pro_sim_new(&world, &o) != PRO_OK) abort();
    s->run(world);
    pro_sim_stats_get(world, stats);
    int failures = pro_sim_free(world);
    if (failures > 0) {
        fprintf(out, "FAIL sim: %s: seed %" PRIu64 ": %d failures\n", s->name, seed, failures);
        print_replay();
    }
    return failures;
}

static bool is_chosen(const scenario *s)
{
    return !options.only || strcmp(options.only, s->name) == 0;
}

/* ---- A job ------------------------------------------------------------------------------------ */

static struct {
    char name[60];
    bool hit, told;
} marks[MARKS_MAX];
static int marks_count;

static void note_mark(void *arg, const char *name, uint64_t worlds)
{
    (void)arg;
    int i = 0;
    while (i < marks_count && strcmp(marks[i].name, name) != 0) i++;
    if (i == MARKS_MAX) return;
    if (i == marks_count) snprintf(marks[marks_count++].name, sizeof marks[0].name, "%s", name);
    if (worlds > 0 && !marks[i].hit) marks[i].told = false;
    if (worlds > 0) marks[i].hit = true;
}

static void report(int fd, result *r)
{
    r->marks_count = 0;
    for (int i = 0; i < marks_count && r->marks_count < 8; i++) {
        if (marks[i].told) continue;
        memcpy(r->marks[r->marks_count].name, marks[i].name, sizeof marks[0].name);
        r->marks[r->marks_count++].hit = marks[i].hit;
        marks[i].told = true;
    }
    if (write(fd, r, sizeof *r) != (ssize_t)sizeof *r) _exit(1);
}

static void job(int number, int fd)
{
    for (uint64_t i = (uint64_t)number; i < options.seeds; i += (uint64_t)options.jobs) {
        for (int s = 0; s < SCENARIOS; s++) {
            if (!is_chosen(&scenarios[s])) continue;
            pro_sim_stats stats;
            result        r = {.scenario = s, .seed = options.start + i, .begun = true};
            report(fd, &r);
            r.begun = false;
            r.failures = run_seed(&scenarios[s], r.seed, &stats);
            r.digest = stats.digest;
            r.events = stats.events;
            r.virtual_ns = stats.virtual_ns;
            if (i % 20 == 0 && !r.failures) { /* the same again, or it is not deterministic */
                run_seed(&scenarios[s], r.seed, &stats);
                if (stats.digest != r.digest) {
                    fprintf(out, "FAIL sim: %s: seed %" PRIu64 ": two runs, two digests\n",
                            scenarios[s].name, r.seed);
                    print_replay();
                    r.failures++;
                }
            }
            pro_sim_marks(note_mark, NULL);
            report(fd, &r);
            if (r.failures) return;
        }
    }
}

/* ---- The parent ------------------------------------------------------------------------------- */

static int run_jobs(void)
{
    struct pollfd fds[JOBS_MAX];
    pid_t         pids[JOBS_MAX];
    result        last[JOBS_MAX];
    uint64_t      seeds = 0, events = 0, virtual_ns = 0, count[SCENARIOS] = {0};
    int           failed[SCENARIOS] = {0}, open = options.jobs;
    double        begin = seconds(), told = begin;
    bool          is_terminal = isatty(fileno(out));
    for (int i = 0; i < options.jobs; i++) {
        int pair[2];
        if (pipe(pair) != 0) return 1;
        fflush(out);
        pids[i] = fork();
        if (pids[i] == 0) {
            close(pair[0]);
            job(i, pair[1]);
            fflush(out);
            _exit(0);
        }
        close(pair[1]);
        fds[i] = (struct pollfd){pair[0], POLLIN, 0};
        last[i].begun = false;
    }
    while (open > 0) {
        poll(fds, (nfds_t)options.jobs, 1000);
        for (int i = 0; i < options.jobs; i++) {
            if (!(fds[i].revents & (POLLIN | POLLHUP))) continue;
            result  r;
            ssize_t n = read(fds[i].fd, &r, sizeof r);
            if (n != (ssize_t)sizeof r) {
                int status;
                waitpid(pids[i], &status, 0);
                if (status != 0 || last[i].begun) {
                    fprintf(out, "FAIL sim: %s: seed %" PRIu64 ": the process ended, status %d\n",
                            scenarios[last[i].scenario].name, last[i].seed, status);
                    failed[last[i].scenario]++;
                }
                close(fds[i].fd);
                fds[i].fd = -1;
                open--;
                continue;
            }
            last[i] = r;
            if (r.begun) continue;
            seeds++;
            count[r.scenario]++;
            failed[r.scenario] += r.failures > 0;
            events += r.events;
            virtual_ns += r.virtual_ns;
            for (uint32_t m = 0; m < r.marks_count; m++)
                note_mark(NULL, r.marks[m].name, r.marks[m].hit);
        }
        if (is_terminal && seconds() - told > 0.5) {
            told = seconds();
            fprintf(out, "\r%" PRIu64 " runs, %.0f a second ", seeds,
                    (double)seeds / (told - begin));
            fflush(out);
        }
    }
    double took = seconds() - begin;
    int    failures = 0, passed = 0;
    if (is_terminal) fprintf(out, "\r");
    fprintf(out,
            "%" PRIu64
            " runs in %.1f s: %.0f runs/s, %.2f M events/s, virtual to real time %.0f:1\n",
            seeds, took, (double)seeds / took, (double)events / took / 1e6,
            (double)virtual_ns / 1e9 / took);
    for (int i = 0; i < marks_count; i++)
        fprintf(out, "mark %s: %s\n", marks[i].hit ? "reached" : "NEVER REACHED", marks[i].name);
    for (int s = 0; s < SCENARIOS; s++) {
        if (!is_chosen(&scenarios[s])) continue;
        failures += failed[s];
        passed += failed[s] == 0;
        if (!failed[s])
            fprintf(out, "ok sim: %s: %" PRIu64 " seeds\n", scenarios[s].name, count[s]);
    }
    fprintf(out, "%d passed, %d failed, 0 skipped\n", passed, failures);
    return failures > 0;
}

static int run_one(void)
{
    uint64_t digest = 0;
    int      failures = 0;
    for (int s = 0; s < SCENARIOS; s++) {
        if (!is_chosen(&scenarios[s])) continue;
        pro_sim_stats stats;
        double        begin = seconds();
        failures += run_seed(&scenarios[s], options.seed, &stats);
        fprintf(out,
                "%s: %" PRIu64 " events, %.3f s of virtual time in %.2f ms, digest %016" PRIx64
                "\n",
                scenarios[s].name, stats.events, (double)stats.virtual_ns / 1e9,
                (seconds() - begin) * 1e3, stats.digest);
        digest = digest * 31 + stats.digest;
    }
    fprintf(out, "digest %016" PRIx64 "\n", digest);
    return failures > 0;
}

static const char *value_of(int *i, int argc, char **argv, const char *name)
{
    size_t len = strlen(name);
    if (strncmp(argv[*i], name, len) != 0) return NULL;
    if (argv[*i][len] == '=') return argv[*i] + len + 1;
    if (argv[*i][len] == '\0' && *i + 1 < argc) return argv[++*i];
    return NULL;
}

/* In a process of its own, with its marks and without what it says: its failures are wanted. */
static bool works(const char *what, bool (*check)(void))
{
    int status = 1;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        _exit(!check());
    }
    bool is_fine = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    fprintf(out, "%s sim: %s\n", is_fine ? "ok" : "FAIL", what);
    if (!is_fine) fprintf(out, "0 passed, 1 failed, 0 skipped\n");
    return is_fine;
}

int main(int argc, char **argv)
{
    options.program = argv[0];
    options.ci = argc == 1;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = value_of(&i, argc, argv, "--seeds")) != NULL)
            options.seeds = strtoull(v, NULL, 0);
        else if ((v = value_of(&i, argc, argv, "--seed")) != NULL) {
            options.seed = strtoull(v, NULL, 0);
            options.one = true;
        } else if ((v = value_of(&i, argc, argv, "--start")) != NULL)
            options.start = strtoull(v, NULL, 0);
        else if ((v = value_of(&i, argc, argv, "--jobs")) != NULL)
            options.jobs = atoi(v);
        else if ((v = value_of(&i, argc, argv, "--only")) != NULL)
            options.only = v;
        else if (strcmp(argv[i], "--events") == 0)
            options.events = true;
        else {
            fprintf(stderr, "usage: sim [--seed N [--events] | --seeds N [--start N] [--jobs N]]"
                            " [--only NAME]\n");
            return 2;
        }
    }
    if (options.jobs < 1 || options.jobs > JOBS_MAX) options.jobs = 1;
    if (!options.seeds) options.seeds = 100;
    setenv("PROACTOR_ENGINE", "sim", 1);
    out = fdopen(dup(1), "w");
    if (!out || !freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)) return 1;
    dup2(fileno(out), 2);
    setvbuf(stderr, NULL, _IONBF, 0);
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    signal(SIGALRM, on_crash);
    if (options.ci) {
        if (!works("the sweep of errors", sweep_works)) return 1;
        if (!works("the bugs of a store are found", wal_bugs_are_found)) return 1;
    }
    return options.one ? run_one() : run_jobs();
}
