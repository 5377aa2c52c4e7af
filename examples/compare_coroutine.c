/* Compare two large files past the page cache: a backup with what it was made of, say, which would otherwise
 * push out of the cache what others need.
 *
 *     compare_coroutine FILE FILE
 *
 * What to see here: eight coroutines take parts of the files and read each from both.  What they read into is one
 * piece of memory, aligned for direct I/O and registered with the loop; the reads are ordinary ones, and by
 * that the system need not look for the pages of each.  Where it cannot do one or the other (no direct
 * I/O in this file system, a limit on locked memory) the program is the same, and slower. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 8, PART = 256 * 1024, ALIGN = 4096 };

static pro_loop   *loop;
static const char *paths[2];
static pro_file    files[2];
static char       *memory; /* two parts for each worker */
static uint64_t    size, next, difference = UINT64_MAX;
static int         failures;

static void failed(const char *path, int64_t error)
{
    fprintf(stderr, "compare_coroutine: %s: %s\n", path, pro_error_text((int)error));
    failures++;
}

/* A part that is the last may be short; a whole one is asked for, since direct I/O counts in blocks. */
static void compare_part(uint64_t offset, char *data)
{
    size_t len = size - offset < PART ? (size_t)(size - offset) : PART;
    for (int i = 0; i < 2; i++) {
        int64_t n = pro_await_file_read(&files[i], data + (size_t)i * PART, PART, offset);
        if (n < (int64_t)len) {
            failed(paths[i], n < 0 ? n : PRO_EOF); /* it shrank meanwhile */
            return;
        }
    }
    for (size_t i = 0; i < len; i++) {
        if (data[i] == data[PART + i]) continue;
        if (offset + i < difference) difference = offset + i;
        return;
    }
}

static void work(void *arg)
{
    while (next < size && next < difference && failures == 0) {
        uint64_t offset = next;
        next += PART;
        compare_part(offset, arg);
    }
}

/* Its size; negative: it was not opened. */
static int64_t open_file(int i)
{
    pro_stat stat;
    int64_t  error = pro_await_file_open(&files[i], NULL, paths[i], PRO_FILE_DIRECT, 0);
    if (error == PRO_EINVAL) error = pro_await_file_open(&files[i], NULL, paths[i], 0, 0);
    if (error == PRO_OK) error = pro_await_file_stat(&files[i], &stat);
    if (error != PRO_OK) failed(paths[i], error);
    return error == PRO_OK ? (int64_t)stat.size : -1;
}

static void begin(void *arg)
{
    int64_t sizes[2] = {open_file(0), open_file(1)};
    (void)arg;
    if (failures > 0) return;
    if (sizes[0] == sizes[1]) {
        size = (uint64_t)sizes[0];
    } else {
        difference = (uint64_t)(sizes[0] < sizes[1] ? sizes[0] : sizes[1]);
        return;
    }
    for (int i = 0; i < WORKERS; i++) {
        int error = pro_go(pro_loop_scope(loop), work, memory + (size_t)i * 2 * PART, NULL);
        if (error) failed("a coroutine", error);
    }
}

int main(int argc, char **argv)
{
    const size_t bytes = (size_t)WORKERS * 2 * PART;
    if (argc != 3) {
        fprintf(stderr, "usage: compare_coroutine FILE FILE\n");
        return 2;
    }
    paths[0] = argv[1];
    paths[1] = argv[2];
    void *whole = malloc(bytes + ALIGN);
    if (!whole || pro_loop_new(&loop, NULL) != PRO_OK) return 2;
    memory = (char *)whole + (ALIGN - (uintptr_t)whole % ALIGN);

    int error = pro_memory_register(loop, memory, bytes);
    if (error) fprintf(stderr, "compare_coroutine: slower: %s\n", pro_error_text(error));
    if (pro_go(pro_loop_scope(loop), begin, NULL, NULL) != PRO_OK || pro_loop_run(loop) < 0)
        return 2;
    if (!error) pro_memory_unregister(loop, memory); /* before it goes */

    pro_scope_close(pro_loop_scope(loop)); /* and the files with it */
    pro_loop_run(loop);
    if (pro_loop_free(loop) != PRO_OK) failures++;
    free(whole);
    if (failures > 0) return 2;
    if (difference == UINT64_MAX)
        printf("equal, %llu bytes\n", (unsigned long long)size);
    else
        printf("different from byte %llu on\n", (unsigned long long)difference);
    return difference != UINT64_MAX;
}
