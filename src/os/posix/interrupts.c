/* Which CPUs take the interrupts of the network's devices: from /sys and /proc, as far as they can be
 * read, which in a container is often not far.
 *
 * An interrupt belongs to an interface if the directory of its device lists it (PCI), or if it is named
 * after the interface ("eth0-TxRx-3") or the device ("virtio2-input.0"). */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/thread.h"

typedef struct text {
    char  *buf;
    size_t size, len;
} text;

/* A piece that does not fit is left out. */
static void add(text *t, const char *before, const char *piece, const char *after)
{
    size_t room = t->size - t->len;
    int    n = snprintf(t->buf + t->len, room, "%s%s%s", before, piece, after);
    if (n > 0 && (size_t)n < room)
        t->len += (size_t)n;
    else
        t->buf[t->len] = '\0';
}

/* The first line of a file; an empty text if there is none. */
static void read_line(const char *path, char *line, size_t size)
{
    line[0] = '\0';
    FILE *file = fopen(path, "r");
    if (!file) return;
    if (!fgets(line, (int)size, file)) line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(file);
}

/* The next entry that is not hidden, or NULL. */
static const char *next(DIR *dir)
{
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') return entry->d_name;
    return NULL;
}

static bool is_named_after(const char *name, const char *what)
{
    size_t len = strlen(what);
    return len > 0 && strncmp(name, what, len) == 0 && (name[len] == '\0' || name[len] == '-');
}

/* Is there a directory in that of the interrupt which is named so?  Its name is *name then. */
static bool has_name(const char *irq, const char *interface, const char *device, char *name,
                     size_t size)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/irq/%s", irq);
    DIR *dir = opendir(path);
    if (!dir) return false;
    bool        found = false;
    const char *entry;
    while (!found && (entry = next(dir)) != NULL) {
        found = is_named_after(entry, interface) || is_named_after(entry, device);
        if (found) snprintf(name, size, "%s", entry);
    }
    closedir(dir);
    return found;
}

static void add_interrupt(text *t, const char *irq, const char *name, bool is_first)
{
    char path[300], cpus[64], piece[400];
    snprintf(path, sizeof path, "/proc/irq/%s/effective_affinity_list", irq);
    read_line(path, cpus, sizeof cpus);
    snprintf(path, sizeof path, "/proc/irq/%s/smp_affinity_list", irq);
    if (!cpus[0]) read_line(path, cpus, sizeof cpus);
    snprintf(piece, sizeof piece, "%s%s%s on CPU %s", irq, name[0] ? " " : "", name, cpus);
    if (cpus[0]) add(t, is_first ? " " : ", ", piece, "");
}

static void add_interface(text *t, DIR *irqs, const char *interface)
{
    char path[300], target[300], name[256];
    snprintf(path, sizeof path, "/sys/class/net/%s/device", interface);
    ssize_t len = readlink(path, target, sizeof target - 1);
    if (len <= 0) return; /* not of hardware */
    target[len] = '\0';
    const char *slash = strrchr(target, '/');
    const char *device = slash ? slash + 1 : target;

    size_t begin = t->len;
    add(t, "interrupts of ", interface, ":");
    size_t      first = t->len;
    const char *irq;
    rewinddir(irqs);
    while ((irq = next(irqs)) != NULL) {
        char listed[600];
        snprintf(listed, sizeof listed, "%s/msi_irqs/%s", path, irq);
        name[0] = '\0';
        if (has_name(irq, interface, device, name, sizeof name) || access(listed, F_OK) == 0)
            add_interrupt(t, irq, name, t->len == first);
    }
    if (t->len == first) t->len = begin; /* none */
    t->buf[t->len] = '\0';
    if (t->len > begin) add(t, "", "\n", "");
}

void pri_os_interrupts(char *buf, size_t size)
{
    text t = {buf, size, 0};
    char mask[256];
    buf[0] = '\0';
    DIR        *interfaces = opendir("/sys/class/net"), *irqs = opendir("/proc/irq");
    const char *interface;
    while (interfaces && irqs && (interface = next(interfaces)) != NULL)
        add_interface(&t, irqs, interface);
    if (interfaces) closedir(interfaces);
    if (irqs) closedir(irqs);
    read_line("/proc/irq/default_smp_affinity", mask, sizeof mask);
    if (mask[0]) add(&t, "interrupts go to the CPUs of mask ", mask, " by default\n");
}
