/* What goes wrong with a medium: test/apps/disks.py gives this program a directory on one that is full,
 * read-only, or shut down under it, and reads its lines: what was done, how it ended, its value.
 *
 *     disk write DIR     writes, 16 in flight, until one fails; then
 *                        sync, cut to nothing, close
 *     disk names DIR     makes, changes and removes names; reads DIR/old
 *     disk replace DIR   replaces DIR/old by 1 MiB */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_FLIGHT = 16, PART = 65536 };

static pro_loop *loop;
static pro_file  file;
static pro_op    op, ops[IN_FLIGHT];
static char      part[PART], big[1 << 20];
static uint64_t  next_offset, written;
static int       initiated, completed, failures, first_error;

static void say(const char *what, const pro_op *o)
{
    printf("%s %s %lld\n", what, pro_error_name(o->error), (long long)o->value);
    fflush(stdout);
}

static void on_said(pro_op *o)
{
    completed++;
    say(o->user, o);
}

#define DO(what, call, ...)                                                                        \
    do {                                                                                           \
        op.user = what;                                                                            \
        initiated++;                                                                               \
        call(&op, __VA_ARGS__, on_said);                                                           \
        if (pro_loop_run(loop) < 0) abort();                                                       \
    } while (0)

static void write_next(pro_op *o);

static void on_written(pro_op *o)
{
    completed++;
    written += (uint64_t)o->value;
    if (o->error) {
        failures++;
        if (!first_error) first_error = o->error;
    }
    if (!first_error) write_next(o);
}

static void write_next(pro_op *o)
{
    initiated++;
    pro_file_write(o, &file, part, PART, next_offset, on_written);
    next_offset = (next_offset + PART) % (64u << 20); /* room enough, unless it is a small one */
    if (next_offset == 0) {
        printf("round\n");
        fflush(stdout);
    }
}

static void write_until_it_fails(const char *path)
{
    DO("open", pro_file_open, &file, loop, NULL, path,
       PRO_FILE_READ | PRO_FILE_WRITE | PRO_FILE_CREATE, 0644);
    if (op.error) return;
    printf("writing\n");
    fflush(stdout);
    for (int i = 0; i < IN_FLIGHT; i++) write_next(&ops[i]);
    if (pro_loop_run(loop) < 0) abort();
    op.error = first_error;
    op.value = failures;
    say("failed", &op);
    DO("sync", pro_file_sync, &file);
    DO("truncate", pro_file_truncate, &file, 0);
    DO("close", pro_file_close, &file);
}

static void change_names(const char *old, const char *a, const char *b)
{
    static pro_bytes bytes;
    DO("create", pro_file_open, &file, loop, NULL, a, PRO_FILE_WRITE | PRO_FILE_CREATE, 0644);
    if (!op.error) DO("close", pro_file_close, &file);
    DO("mkdir", pro_path_mkdir, loop, b, 0755);
    DO("rename", pro_path_rename, loop, old, a);
    DO("link", pro_path_link, loop, old, b);
    DO("symlink", pro_path_symlink, loop, old, b);
    DO("unlink", pro_path_unlink, loop, old);
    DO("read", pro_path_read, loop, old, 1 << 20, &bytes);
    pro_bytes_free(loop, &bytes);
}

int main(int argc, char **argv)
{
    char old[512], a[512], b[512];
    if (argc != 3 || pro_loop_new(&loop, NULL) != PRO_OK) return 2;
    snprintf(old, sizeof old, "%s/old", argv[2]);
    snprintf(a, sizeof a, "%s/a", argv[2]);
    snprintf(b, sizeof b, "%s/b", argv[2]);
    memset(part, 7, sizeof part);
    memset(big, 8, sizeof big);
    if (strcmp(argv[1], "write") == 0)
        write_until_it_fails(a);
    else if (strcmp(argv[1], "names") == 0)
        change_names(old, a, b);
    else
        DO("replace", pro_path_replace, loop, old, big, sizeof big, 0644);
    printf("completed %d of %d\n", completed, initiated);
    int error = pro_loop_free(loop);
    printf("free %s\n", pro_error_name(error));
    return error != PRO_OK;
}
