/* What the system says about memory.  The kernel's figures are those of the whole machine: a difference
 * of two is ours only as far as nobody else does much meanwhile. */
#include "crowd.h"

#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number behind a key in a file of `key: number kB`, in bytes; 0 without it. */
static uint64_t kilobytes(const char *path, const char *key)
{
    char     line[256];
    uint64_t value = 0;
    FILE    *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        size_t len = strlen(key);
        if (strncmp(line, key, len) != 0 || line[len] != ':') continue;
        value = strtoull(line + len + 1, NULL, 10) * 1024;
        break;
    }
    fclose(file);
    return value;
}

static unsigned tcp_sockets(void)
{
    char     line[256];
    unsigned total = 0;
    FILE    *file = fopen("/proc/net/sockstat", "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        const char *at = strstr(line, " alloc ");
        if (strncmp(line, "TCP:", 4) == 0 && at) total = (unsigned)strtoul(at + 7, NULL, 10);
    }
    fclose(file);
    return total;
}

/* The most that our control group may have (version 2): a container is often allowed less than there is. */
static uint64_t most_of_group(void)
{
    char     line[400], path[440], text[32];
    uint64_t most = UINT64_MAX;
    FILE    *groups = fopen("/proc/self/cgroup", "r"), *file = NULL;
    while (groups && fgets(line, sizeof line, groups)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::", 3) != 0) continue;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line + 3);
        file = fopen(path, "r");
    }
    if (file && fgets(text, sizeof text, file) && text[0] != 'm') most = strtoull(text, NULL, 10);
    if (file) fclose(file);
    if (groups) fclose(groups);
    return most;
}

void crowd_kernel_get(struct crowd_kernel *kernel)
{
    const char *path = "/proc/meminfo";
    kernel->slab = kilobytes(path, "Slab");
    kernel->stacks = kilobytes(path, "KernelStack");
    kernel->page_tables = kilobytes(path, "PageTables");
    kernel->available = kilobytes(path, "MemAvailable");
    if (kernel->available > most_of_group()) kernel->available = most_of_group();
    kernel->sockets = tcp_sockets();
}

uint64_t crowd_user_bytes(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return kilobytes(path, "RssAnon");
}

/* ---- the kernel's caches ----------------------------------------------------------------------- */

size_t crowd_caches_get(struct crowd_cache *caches)
{
    char   line[512];
    size_t len = 0;
    FILE  *file = fopen("/proc/slabinfo", "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file) && len < CROWD_CACHES_MAX) {
        struct crowd_cache *cache = &caches[len];
        uint64_t            pages, slabs;
        char               *data = strstr(line, ": slabdata");
        if (!data || sscanf(line, "%31s %*u %*u %*u %*u %" SCNu64, cache->name, &pages) != 2 ||
            sscanf(data, ": slabdata %*u %" SCNu64, &slabs) != 1)
            continue;
        cache->bytes = pages * slabs * (uint64_t)sysconf(_SC_PAGESIZE);
        len++;
    }
    fclose(file);
    return len;
}

static int bigger_first(const void *left, const void *right)
{
    const struct crowd_cache *a = left, *b = right;
    return (a->bytes < b->bytes) - (a->bytes > b->bytes);
}

size_t crowd_caches_growth(struct crowd_cache *caches, size_t len, const struct crowd_cache *before,
                           size_t before_len)
{
    size_t grown = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t was = 0;
        for (size_t k = 0; k < before_len; k++)
            if (strcmp(before[k].name, caches[i].name) == 0) was = before[k].bytes;
        if (caches[i].bytes <= was) continue;
        caches[grown] = caches[i];
        caches[grown++].bytes -= was;
    }
    qsort(caches, grown, sizeof *caches, bigger_first);
    return grown;
}
