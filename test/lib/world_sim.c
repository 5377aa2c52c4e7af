/* lib/world_sim.h: by operations on the loop of the near peers, as lib/peer_sim.c does. */
#include "lib/world_sim.h"

#include <stdio.h>

#include "lib/sim.h"

enum { RW = PRO_FILE_READ | PRO_FILE_WRITE };

typedef struct sim_file {
    struct sim_file *next;
    pro_file         file;
} sim_file;

static void on_over(pro_op *op) { *(bool *)op->user = true; }

/* Initiate, wait; what fails fails the sentence, or is the weather. */
#define DO(call, ...)                                                                              \
    do {                                                                                           \
        bool   is_over = false;                                                                    \
        pro_op op = {.user = &is_over};                                                            \
        call(&op, __VA_ARGS__, on_over);                                                           \
        while (!is_over)                                                                           \
            if (pro_loop_run_once(t_world_here()->near_loop) < 0)                                  \
                FAIL("%s: a turn failed", #call);                                                  \
        if (op.error != PRO_OK) FAIL("%s: %s", #call, pro_error_name(op.error));                   \
    } while (0)

#define LOOP (t_world_here()->near_loop)

bool sim_is_here(void) { return t_world_here() != NULL; }

bool sim_path(const char *name, char *path, size_t size)
{
    if (!t_world_here()) return false;
    snprintf(path, size, "/tmp/%u-%s", t_world_here()->paths++, name);
    return true;
}

bool sim_make_directory(const char *path)
{
    if (!t_world_here()) return false;
    DO(pro_path_mkdir, LOOP, path, 0700);
    return true;
}

bool sim_remove_directory(const char *path)
{
    if (!t_world_here()) return false;
    DO(pro_path_rmdir, LOOP, path);
    return true;
}

bool sim_rename(const char *from, const char *to)
{
    if (!t_world_here()) return false;
    DO(pro_path_rename, LOOP, from, to);
    return true;
}

bool sim_remove(const char *path)
{
    if (!t_world_here()) return false;
    DO(pro_path_unlink, LOOP, path);
    return true;
}

static sim_file *open_file(const char *path, uint32_t flags)
{
    t_world  *w = t_world_here();
    sim_file *f = t_new(sim_file);
    DO(pro_file_open, &f->file, LOOP, NULL, path, flags, 0600);
    f->next = w->files;
    w->files = f;
    return f;
}

bool sim_open(const char *path, intptr_t *fd)
{
    if (!t_world_here()) return false;
    *fd = pro_file_descriptor(&open_file(path, RW)->file);
    return true;
}

bool sim_close_fd(intptr_t fd)
{
    t_world *w = t_world_here();
    if (!w) return false;
    sim_file **at = &w->files;
    while (*at && pro_file_descriptor(&(*at)->file) != fd) at = &(*at)->next;
    if (!*at) FAIL("no file of this world has descriptor %lld", (long long)fd);
    sim_file *f = *at;
    *at = f->next;
    DO(pro_file_close, &f->file);
    return true;
}

bool sim_write_file(const char *path, const char *text)
{
    if (!t_world_here()) return false;
    sim_file *f = open_file(path, PRO_FILE_WRITE | PRO_FILE_CREATE | PRO_FILE_APPEND);
    DO(pro_file_write, &f->file, text, strlen(text), 0);
    return sim_close_fd(pro_file_descriptor(&f->file));
}

bool sim_pattern_file(const char *path, size_t len, unsigned key, intptr_t *fd)
{
    if (!t_world_here()) return false;
    char *bytes = t_alloc(len + 1);
    t_fill(bytes, len, key, 0);
    if (pro_sim_file_put(t_world_here()->machine, path, bytes, len) != PRO_OK) FAIL("no room");
    return sim_open(path, fd);
}
