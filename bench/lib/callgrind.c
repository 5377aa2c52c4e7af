/* Reads callgrind's output format: lines `fn=(id) name` (the name only the first time) open a
 * function, lines that begin with a position give its own cost, and a line `calls=` says that
 * the next position line is the cost of a callee, which the callee's own lines have already,
 * or will. Names are shared by fn= and cfn= lines. */
#include "callgrind.h"

#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The slot of this id; ids are small and dense, so the table is an array. */
static struct callgrind_function *slot(struct callgrind_profile *profile, size_t id)
{
    if (id >= profile->len) {
        size_t                     len = id + 256;
        struct callgrind_function *at = realloc(profile->at, len * sizeof *at);
        if (!at) bench_die("out of memory for the profile");
        memset(at + profile->len, 0, (len - profile->len) * sizeof *at);
        profile->at = at;
        profile->len = len;
    }
    return &profile->at[id];
}

/* `(12) name` or `(12)`: returns the id and remembers the name. */
static size_t name_of(struct callgrind_profile *profile, const char *text)
{
    char *end;
    if (*text != '(') bench_die("callgrind: names are not compressed: '%s'", text);
    size_t                     id = strtoul(text + 1, &end, 10);
    struct callgrind_function *function = slot(profile, id);
    if (end[0] == ')' && end[1] == ' ' && !function->name) function->name = strdup(end + 2);
    return id;
}

static bool is_position(char c)
{
    return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '*';
}

static uint64_t cost_of(const char *line)
{
    const char *space = strchr(line, ' ');
    return space ? strtoull(space + 1, NULL, 10) : 0;
}

static int by_name(const void *a, const void *b)
{
    const char *x = ((const struct callgrind_function *)a)->name,
               *y = ((const struct callgrind_function *)b)->name;
    return strcmp(x ? x : "", y ? y : "");
}

/* Static functions of one name in several files become one row: ids differ from run to run,
 * names do not. */
static void merge(struct callgrind_profile *profile)
{
    size_t kept = 0;
    if (profile->len) qsort(profile->at, profile->len, sizeof *profile->at, by_name);
    for (size_t i = 0; i < profile->len; i++) {
        if (kept > 0 && by_name(&profile->at[kept - 1], &profile->at[i]) == 0) {
            profile->at[kept - 1].self += profile->at[i].self;
            free(profile->at[i].name);
        } else
            profile->at[kept++] = profile->at[i];
    }
    profile->len = kept;
}

void callgrind_read(struct callgrind_profile *profile, const char *path)
{
    char  *line = NULL;
    size_t size = 0, current = 0;
    bool   callee = false;
    FILE  *file = fopen(path, "r");
    if (!file) bench_die_errno(path);
    *profile = (struct callgrind_profile){.at = NULL};
    while (getline(&line, &size, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "fn=", 3) == 0)
            current = name_of(profile, line + 3);
        else if (strncmp(line, "cfn=", 4) == 0)
            name_of(profile, line + 4);
        else if (strncmp(line, "calls=", 6) == 0)
            callee = true;
        else if (is_position(line[0]) && callee)
            callee = false;
        else if (is_position(line[0]))
            slot(profile, current)->self += cost_of(line);
    }
    free(line);
    fclose(file);
    merge(profile);
    for (size_t i = 0; i < profile->len; i++) profile->total += profile->at[i].self;
    if (profile->total == 0) bench_die("callgrind: no cost in %s", path);
}

static uint64_t self_of(const struct callgrind_profile *profile, const char *name)
{
    for (size_t i = 0; i < profile->len; i++)
        if (profile->at[i].name && strcmp(profile->at[i].name, name) == 0)
            return profile->at[i].self;
    return 0;
}

/* A function that cost a little less in the longer run (start-up is not exactly repeatable)
 * counts as nothing; the total keeps the exact difference. */
void callgrind_subtract(struct callgrind_profile *longer, const struct callgrind_profile *shorter)
{
    for (size_t i = 0; i < longer->len; i++) {
        struct callgrind_function *function = &longer->at[i];
        uint64_t                   before = function->name ? self_of(shorter, function->name) : 0;
        function->self = function->self > before ? function->self - before : 0;
    }
    longer->total = longer->total > shorter->total ? longer->total - shorter->total : 0;
}

static int costlier(const void *a, const void *b)
{
    uint64_t x = ((const struct callgrind_function *)a)->self,
             y = ((const struct callgrind_function *)b)->self;
    return (x < y) - (x > y);
}

void callgrind_sort(struct callgrind_profile *profile)
{
    if (profile->len) qsort(profile->at, profile->len, sizeof *profile->at, costlier);
}

void callgrind_fini(struct callgrind_profile *profile)
{
    for (size_t i = 0; i < profile->len; i++) free(profile->at[i].name);
    free(profile->at);
    *profile = (struct callgrind_profile){.at = NULL};
}

/* ---- Running ---------------------------------------------------------------------------------- */

static void name_unknown_calls(const char *path, const char *arguments)
{
    char  line[512];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        char *found = strstr(line, "unhandled");
        if (found && strstr(line, "syscall"))
            fprintf(stderr, "note: %s: valgrind: %s", arguments, found);
    }
    if (file) fclose(file);
}

uint64_t callgrind_run(struct callgrind_profile *profile, const char *arguments, bool notes)
{
    char directory[] = "/tmp/bench-callgrind-XXXXXX", self[512], out[600], log[600], command[2048];
    uint64_t number = 0;
    ssize_t  len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) bench_die_errno("/proc/self/exe");
    self[len] = '\0';
    if (!mkdtemp(directory)) bench_die_errno("mkdtemp");
    snprintf(out, sizeof out, "%s/profile", directory);
    snprintf(log, sizeof log, "%s/log", directory);
    snprintf(command, sizeof command,
             "valgrind --tool=callgrind --callgrind-out-file='%s' --log-file='%s' '%s' %s", out,
             log, self, arguments);
    FILE *child = popen(command, "r");
    if (!child) bench_die_errno("valgrind");
    int got = fscanf(child, "%" SCNu64, &number);
    if (pclose(child) != 0 || got != 1)
        bench_die("valgrind (is it installed?) or what it ran failed: %s", command);
    if (notes) name_unknown_calls(log, arguments);
    callgrind_read(profile, out);
    unlink(out);
    unlink(log);
    rmdir(directory);
    return number;
}
