/* Hash files in parallel: every file named, and all below every directory named.
 *
 *     hash_coroutine [--progress] PATH...
 *
 * What to see here: 16 coroutines take paths from one list and read, each its own file in straight lines;
 * what computes (the hash of a part) goes to the pool of threads, so that the loop goes on meanwhile; a
 * timer shows how far it is.  Output is in the order in which files are done; the hash is 64-bit FNV-1a. */
#include <proactor.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 16, PART = 256 * 1024 };

typedef struct item {
    struct item *next;
    char         path[];
} item;

static pro_loop *loop;
static item     *todo; /* newest first */
static unsigned  busy, files, failures;
static uint64_t  bytes;

static void add(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    item  *x = malloc(sizeof *x + size);
    if (!x) abort();
    snprintf(x->path, size, "%s%s%s", dir, *dir ? "/" : "", name);
    x->next = todo;
    todo = x;
}

static void failed(const char *path, int64_t error)
{
    fprintf(stderr, "hash_coroutine: %s: %s\n", path, pro_error_text((int)error));
    failures++;
}

typedef struct part {
    unsigned char data[PART];
    int64_t       len;
    uint64_t      hash;
} part;

/* On a thread of the pool. */
static int64_t hash_part(void *arg)
{
    part *p = arg;
    for (int64_t i = 0; i < p->len; i++) p->hash = (p->hash ^ p->data[i]) * 0x100000001b3;
    return 0;
}

static void hash_file(const char *path, pro_file *f, part *p)
{
    uint64_t offset = 0;
    int64_t  error = 0;
    p->hash = 0xcbf29ce484222325;
    while (error == 0) {
        p->len = error = pro_await_file_read(f, p->data, PART, offset);
        if (error <= 0) break;
        offset += (uint64_t)p->len;
        bytes += (uint64_t)p->len;
        error = pro_await_run_blocking_wait(hash_part, p);
    }
    if (error != PRO_EOF) {
        failed(path, error);
        return;
    }
    printf("%016llx  %s\n", (unsigned long long)p->hash, path);
    files++;
}

static void list_directory(const char *path, pro_file *f, part *p)
{
    pro_dir_entry entry;
    int64_t       n;
    while ((n = pro_await_file_list(f, p->data, PART)) > 0)
        for (size_t at = 0; pro_dir_next(p->data, n, &at, &entry);)
            if (entry.type != PRO_TYPE_SYMLINK) add(path, entry.name);
    if (n != PRO_EOF) failed(path, n);
}

static void take_one(const char *path, part *p)
{
    pro_file f = {0};
    pro_stat stat;
    int64_t  error = pro_await_path_stat(path, 0, &stat);
    bool     is_directory = error == PRO_OK && stat.type == PRO_TYPE_DIRECTORY;
    if (error == PRO_OK && !is_directory && stat.type != PRO_TYPE_REGULAR) return; /* a pipe, ... */
    if (error == PRO_OK)
        error = pro_await_file_open(&f, NULL, path, is_directory ? PRO_FILE_DIRECTORY : 0, 0);
    if (error != PRO_OK) {
        failed(path, error);
        return;
    }
    if (is_directory)
        list_directory(path, &f, p);
    else
        hash_file(path, &f, p);
    pro_await_file_close(&f);
}

static void work(void *arg)
{
    part *p = arg;
    while (todo || busy > 0) { /* who lists a directory may still find some */
        item *x = todo;
        if (!x) {
            pro_await_sleep(PRO_MSEC);
            continue;
        }
        todo = x->next;
        busy++;
        take_one(x->path, p);
        busy--;
        free(x);
    }
}

static void show(bool is_last)
{
    fprintf(stderr, "\r%u files, %.1f MB%s", files, (double)bytes / 1e6, is_last ? "\n" : "");
}

static void show_progress(void *arg)
{
    (void)arg;
    while (todo || busy > 0) {
        show(false);
        pro_await_sleep(100 * PRO_MSEC);
    }
    show(true);
}

int main(int argc, char **argv)
{
    bool with_progress = argc > 1 && strcmp(argv[1], "--progress") == 0;
    if (argc < 2 + with_progress) {
        fprintf(stderr, "usage: hash_coroutine [--progress] PATH...\n");
        return 2;
    }
    for (int i = argc - 1; i > with_progress; i--) add("", argv[i]);
    int   error = pro_loop_new(&loop, NULL);
    part *parts = malloc(WORKERS * sizeof *parts);
    for (int i = 0; i < WORKERS && parts && error == PRO_OK; i++)
        error = pro_go(pro_loop_scope(loop), work, &parts[i], NULL);
    if (with_progress && error == PRO_OK)
        error = pro_go(pro_loop_scope(loop), show_progress, NULL, NULL);
    if (error != PRO_OK || !parts) return 1;
    if (pro_loop_run(loop) < 0) return 1;
    free(parts);
    return pro_loop_free(loop) != PRO_OK || failures > 0;
}
