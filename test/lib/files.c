/* See files.h. */
#include "lib/files.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/sim.h"

const char *t_in(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char  *path = t_alloc(size);
    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

const char *t_dir(pro_loop *loop)
{
    const char *base = t_world_here() ? NULL : getenv("TMPDIR");
    char        name[64];
    uint64_t    number = t_random();
    if (!t_world_here()) number ^= (uint64_t)(uintptr_t)loop ^ pro_loop_now(loop);
    snprintf(name, sizeof name, "pro-test-%016llx", (unsigned long long)number);
    const char *dir = t_in(base ? base : "/tmp", name);
    t_op       *t = t_new_op();
    pro_path_mkdir(&t->op, loop, dir, 0755, t_done);
    t_wait(loop, t);
    if (t->error == PRO_ENOTSUP) t_skip("this engine has no files as yet");
    CHECK_DONE(t, PRO_OK, 0);
    return dir;
}

/* Call fn for each name of a directory. */
static int each_name(pro_loop *loop, const char *dir, void (*fn)(pro_loop *, const char *, void *))
{
    enum { LEN = 4096 };
    pro_file *f = t_new(pro_file);
    char     *buf = t_alloc(LEN);
    int       count = 0;
    t_file_open(loop, f, dir, PRO_FILE_DIRECTORY);
    for (;;) {
        t_op *t = t_new_op();
        pro_file_list(&t->op, f, buf, LEN, t_done);
        t_wait(loop, t);
        if (t->error == PRO_EOF) break;
        CHECK_ERROR(t->error, PRO_OK);
        pro_dir_entry entry;
        for (size_t at = 0; pro_dir_next(buf, t->value, &at, &entry); count++)
            if (fn) fn(loop, t_in(dir, entry.name), NULL);
    }
    t_file_close(loop, f);
    return count;
}

static void remove_one(pro_loop *loop, const char *path, void *arg)
{
    t_op *t = t_new_op();
    (void)arg;
    pro_path_unlink(&t->op, loop, path, t_done);
    t_wait(loop, t);
    CHECK_DONE(t, PRO_OK, 0);
}

void t_dir_remove(pro_loop *loop, const char *dir)
{
    each_name(loop, dir, remove_one);
    t_op *t = t_new_op();
    pro_path_rmdir(&t->op, loop, dir, t_done);
    t_wait(loop, t);
    CHECK_DONE(t, PRO_OK, 0);
}

int t_dir_count(pro_loop *loop, const char *dir) { return each_name(loop, dir, NULL); }

void t_file_make(const char *path, size_t len, unsigned key)
{
    char *bytes = t_alloc(len + 1);
    t_fill(bytes, len, key, 0);
    if (t_world_here()) {
        CHECK_EQ(pro_sim_file_put(t_world_here()->machine, path, bytes, len), PRO_OK);
        return;
    }
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK_EQ(fwrite(bytes, 1, len, file), len);
    CHECK_EQ(fclose(file), 0);
}

int64_t t_file_size(const char *path)
{
    if (t_world_here()) {
        int64_t size = pro_sim_file_get(t_world_here()->machine, path, NULL, 0);
        return size < 0 ? -1 : size;
    }
    FILE *file = fopen(path, "rb");
    if (!file) return -1;
    fseek(file, 0, SEEK_END);
    int64_t size = ftell(file);
    fclose(file);
    return size;
}

void t_file_check(const char *path, size_t len, unsigned key, uint64_t offset)
{
    char *bytes = t_alloc((t_world_here() ? offset : 0) + len + 1);
    if (t_world_here()) {
        int64_t size = pro_sim_file_get(t_world_here()->machine, path, bytes, offset + len);
        CHECK_GE(size, offset + len);
        CHECK_FILL(bytes + offset, len, key, offset);
        return;
    }
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    fseek(file, (long)offset, SEEK_SET);
    CHECK_EQ(fread(bytes, 1, len, file), len);
    fclose(file);
    CHECK_FILL(bytes, len, key, offset);
}

void t_file_open(pro_loop *loop, pro_file *f, const char *path, uint32_t flags)
{
    t_op *t = t_new_op();
    pro_file_open(&t->op, f, loop, NULL, path, flags, 0644, t_done);
    t_wait(loop, t);
    CHECK_DONE(t, PRO_OK, 0);
}

void t_file_close(pro_loop *loop, pro_file *f)
{
    t_op *t = t_new_op();
    pro_file_close(&t->op, f, t_done);
    t_wait(loop, t);
    CHECK_DONE(t, PRO_OK, 0);
}
