/* Clocks, pinning, the host's name, options: everything a measuring program asks of its
 * process. */
#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;
    if (clock_gettime(id, &ts) != 0) bench_die_errno("clock_gettime");
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t bench_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
uint64_t bench_thread_cpu_ns(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
uint64_t bench_process_cpu_ns(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

static int last_cpu(const cpu_set_t *set)
{
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
        if (CPU_ISSET(cpu, set)) return cpu;
    return -1;
}

int bench_pin(int cpu)
{
    cpu_set_t set;
    if (cpu == BENCH_CPU_ANY) return -1;
    if (cpu == BENCH_CPU_LAST) {
        if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
        cpu = last_cpu(&set);
        if (cpu < 0) return -1;
    }
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0 ? cpu : -1;
}

void bench_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE,
                        &limit); /* too few shows later, at socketpair, with a name */
    }
}

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void bench_die_errno(const char *what) { bench_die("%s: %s", what, strerror(errno)); }

/* The first line that matches `key : value` in a file of that shape; left alone if there is
 * none. */
static void read_field(const char *path, const char *key, char *to, size_t size)
{
    char  line[256];
    FILE *file = fopen(path, "r");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key)) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(to, size, "%s", colon);
        break;
    }
    fclose(file);
}

static void read_commit(char *to, size_t size)
{
    const char *given = getenv("BENCH_COMMIT");
    if (given) {
        snprintf(to, size, "%s", given);
        return;
    }
    FILE *git = popen("git describe --always --dirty 2>/dev/null", "r");
    if (!git) return;
    char line[48];
    if (fgets(line, sizeof line, git)) {
        line[strcspn(line, "\n")] = '\0';
        snprintf(to, size, "%s", line);
    }
    pclose(git);
}

void bench_host_get(struct bench_host *host)
{
    struct utsname name;
    memset(host, 0, sizeof *host);
    snprintf(host->machine, sizeof host->machine, "unknown");
    snprintf(host->commit, sizeof host->commit, "unknown");
    read_field("/proc/cpuinfo", "model name", host->machine, sizeof host->machine);
    read_commit(host->commit, sizeof host->commit);
    if (uname(&name) == 0) snprintf(host->kernel, sizeof host->kernel, "%.63s", name.release);
    host->cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
}

const char *bench_option(const char *name, int argc, char **argv, int *at)
{
    size_t      len = strlen(name);
    const char *arg = argv[*at];
    if (strncmp(arg, name, len) != 0) return NULL;
    if (arg[len] == '=') return arg + len + 1;
    if (arg[len] != '\0') return NULL;
    if (*at + 1 >= argc) bench_die("%s needs a value", name);
    return argv[++*at];
}

unsigned bench_number(const char *name, const char *text, unsigned min, unsigned max)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < min || value > max)
        bench_die("%s: want a number from %u to %u, got '%s'", name, min, max, text);
    return (unsigned)value;
}

bool bench_in_list(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0')) return true;
    return false;
}
