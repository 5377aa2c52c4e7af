/* Registered memory and what the kernel makes of it: of reads that wait, of fork, of the limit on locked
 * memory, of restricted rings.  Seen from inside, so that nothing passes because the form was not used. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proactor.h>

#include "core/op.h"
#include "engine/uring/state.h"

enum { PAGE = 4096, SIZE = 16 * PAGE, LEN = 3 * PAGE + 10 };

static struct {
    pro_loop *loop;
    pro_file  file;
    char      path[64];
    char     *memory;
    int       fd;
} x;

static void on_done(pro_op *op) { *(int *)op->user += 1; }

static void run_one(pro_op *op, int *done)
{
    CHECK(pro_loop_run(x.loop) > 0);
    CHECK_EQ(*done, 1);
    CHECK_EQ(op->error, PRO_OK);
}

static uint64_t transfers(void)
{
    pro_loop_stats stats;
    pro_loop_stats_get(x.loop, &stats);
    return stats.registered_transfers;
}

static bool says(const char *what)
{
    char text[4096];
    pro_loop_explain(x.loop, text, sizeof text);
    return strstr(text, what) != NULL;
}

static void open_file(const char *path, uint32_t flags)
{
    int    done = 0;
    pro_op op = {.user = &done};
    pro_file_open(&op, &x.file, x.loop, NULL, path, flags, 0600, on_done);
    run_one(&op, &done);
}

static char *pages(int fd, int flags, int protection)
{
    char *at = mmap(NULL, SIZE, protection, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void make(int restricted, const char *mask)
{
    memset(&x, 0, sizeof x);
    pro_loop_options options = {
        .version = PRO_VERSION, .engine = PRO_ENGINE_URING, .mask = mask, .restricted = restricted};
    if (pro_loop_new(&x.loop, &options) != PRO_OK) UNIT_SKIP("this engine is refused here");
    if (!mask && !(uring_of(x.loop)->features & PRI_URING_REGISTERED_MEMORY)) {
        CHECK_EQ(pro_loop_free(x.loop), PRO_OK);
        UNIT_SKIP("this kernel has no empty table of buffers");
    }
    x.memory = pages(-1, MAP_PRIVATE, PROT_READ | PROT_WRITE);
}

/* A file with a pattern, open. */
static void make_with_file(int restricted, const char *mask)
{
    make(restricted, mask);
    snprintf(x.path, sizeof x.path, "/tmp/unit-memory-XXXXXX");
    x.fd = mkstemp(x.path);
    CHECK(x.fd >= 0);
    for (int i = 0; i < LEN; i++) x.memory[i] = (char)(i * 7);
    CHECK_EQ(write(x.fd, x.memory, LEN), LEN);
    memset(x.memory, 0, SIZE);
    open_file(x.path, PRO_FILE_READ);
}

static void read_file(char *to)
{
    int    done = 0;
    pro_op op = {.user = &done};
    memset(to, 0, LEN);
    pro_file_read_exactly(&op, &x.file, to, LEN, 0, on_done);
    run_one(&op, &done);
    for (int i = 0; i < LEN; i++) CHECK_EQ(to[i], (char)(i * 7));
}

static void finish(void)
{
    int    done = 0;
    pro_op op = {.user = &done};
    pro_file_close(&op, &x.file, on_done);
    run_one(&op, &done);
    CHECK_EQ(pro_loop_free(x.loop), PRO_OK);
    if (x.fd > 0) close(x.fd);
    unlink(x.path);
    munmap(x.memory, SIZE);
}

UNIT(a_read_goes_by_the_name_of_its_memory)
{
    make_with_file(0, NULL);
    CHECK_EQ(uring_of(x.loop)->has_memory_table, false); /* nobody asked for it */
    read_file(x.memory);
    CHECK_EQ(transfers(), 0);
    CHECK_EQ(pro_memory_register(x.loop, x.memory, SIZE), PRO_OK);
    read_file(x.memory + SIZE - LEN);
    CHECK_EQ(transfers(), 1);
    finish();
}

UNIT(without_the_feature_nothing_is_registered)
{
    make_with_file(0, "registered_memory");
    CHECK(says("without registered_memory (masked)"));
    CHECK_EQ(pro_memory_register(x.loop, x.memory, SIZE), PRO_OK);
    CHECK(says("nothing is gained"));
    CHECK_EQ(uring_of(x.loop)->has_memory_table, false);
    read_file(x.memory);
    CHECK_EQ(transfers(), 0);
    finish();
}

UNIT(memory_may_be_registered_before_the_ring_is_enabled_and_where_it_is_restricted)
{
    for (int restricted = 0; restricted < 2; restricted++) {
        make(restricted, NULL);
        CHECK_EQ(pro_memory_register(x.loop, x.memory, PAGE), PRO_OK);
        char *memory = x.memory;
        CHECK_EQ(pro_loop_free(x.loop), PRO_OK);
        munmap(memory, SIZE);
        make_with_file(restricted, NULL);
        CHECK_EQ(pro_memory_register(x.loop, x.memory, SIZE / 2), PRO_OK);
        CHECK_EQ(pro_memory_register(x.loop, x.memory + SIZE / 2, SIZE / 2), PRO_OK);
        CHECK_EQ(pro_memory_unregister(x.loop, x.memory), PRO_OK);
        read_file(x.memory);
        CHECK_EQ(transfers(), 0);
        read_file(x.memory + SIZE / 2);
        CHECK_EQ(transfers(), 1);
        finish();
    }
}

/* It waits in the kernel, for a pipe that is empty; its memory has left the table meanwhile. */
UNIT(a_read_that_waits_keeps_its_memory_when_that_is_unregistered)
{
    int    done = 0;
    pro_op op = {.user = &done};
    make(0, NULL);
    snprintf(x.path, sizeof x.path, "/tmp/unit-memory-%d", (int)getpid());
    CHECK_EQ(mkfifo(x.path, 0600), 0);
    x.fd = open(x.path, O_RDWR | O_CLOEXEC);
    CHECK(x.fd >= 0);
    open_file(x.path, PRO_FILE_READ);
    CHECK_EQ(pro_memory_register(x.loop, x.memory, SIZE), PRO_OK);
    pro_file_read(&op, &x.file, x.memory + 5, 100, 0, on_done);
    for (int i = 0; i < 3; i++) pro_loop_poll(x.loop);
    CHECK_EQ(done, 0);
    CHECK_EQ(pro_memory_unregister(x.loop, x.memory), PRO_OK);
    CHECK_EQ(pro_memory_register(x.loop, x.memory + 5, 1), PRO_OK); /* under its number */
    CHECK_EQ(write(x.fd, "hello", 5), 5);
    run_one(&op, &done);
    CHECK_EQ(op.value, 5);
    CHECK_EQ(memcmp(x.memory + 5, "hello", 6), 0);
    CHECK_EQ(transfers(), 1);
    finish();
}

/* ---- Fork ------------------------------------------------------------------------------------ */

/* 0: a child of fork has this byte there; 1: it has another; 2: it has no memory there. */
static int seen_by_child(char *page, char byte)
{
    int   status;
    pid_t child = fork();
    if (child == 0) {
        unsigned char there;
        if (mincore(page, 1, &there) != 0) _exit(errno == ENOMEM ? 2 : 3);
        _exit(*page == byte ? 0 : 1);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

UNIT(a_child_of_fork_leaves_registered_memory_to_its_parent)
{
    int forever[2];
    make_with_file(0, NULL);
    CHECK_EQ(pro_memory_register(x.loop, x.memory, SIZE), PRO_OK);
    x.memory[0] = 'x';
    CHECK_EQ(pipe(forever), 0);
    pid_t child = fork(); /* it lives on, and has a copy that nobody reads into */
    if (child == 0) {
        char go;
        close(forever[1]);
        while (read(forever[0], &go, 1) < 0) {}
        _exit(x.memory[0] == 'x' && x.memory[1] == 0 ? 0 : 1);
    }
    CHECK(child > 0);
    close(forever[0]);
    read_file(
        x.memory); /* the parent sees what is read: its pages are still those that the ring holds */
    CHECK_EQ(transfers(), 1);
    int status = -1;
    close(forever[1]);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    finish();
}

UNIT(registered_memory_need_not_be_there_in_a_child_of_fork)
{
    make_with_file(0, NULL);
    CHECK_EQ(madvise(x.memory, SIZE, MADV_DONTFORK), 0);
    CHECK_EQ(pro_memory_register(x.loop, x.memory, SIZE), PRO_OK);
    read_file(x.memory);
    CHECK_EQ(seen_by_child(x.memory + PAGE, (char)(PAGE * 7)), 2);
    read_file(x.memory);
    CHECK_EQ(transfers(), 2);
    CHECK_EQ(madvise(x.memory, SIZE, MADV_DOFORK), 0);
    CHECK_EQ(seen_by_child(x.memory + PAGE, (char)(PAGE * 7)), 0);
    finish();
}

/* ---- What the kernel refuses ------------------------------------------------------------------ */

UNIT(memory_that_cannot_be_held_is_refused)
{
    make_with_file(0, NULL);
    char *read_only = pages(-1, MAP_PRIVATE, PROT_READ), *gone = pages(-1, MAP_PRIVATE, PROT_NONE);
    munmap(gone, SIZE);
    CHECK_EQ(pro_memory_register(x.loop, gone, SIZE), PRO_EINVAL);
    CHECK_EQ(pro_memory_register(x.loop, read_only, SIZE), PRO_EINVAL);
    CHECK_EQ(pro_memory_register(x.loop, x.memory, SIZE), PRO_OK);
    read_file(x.memory);
    CHECK_EQ(transfers(), 1);
    munmap(read_only, SIZE);
    finish();
}

/* In a process of its own, which may lock 4 MiB, some of them for the ring, and has no privilege to lock more. */
static int register_too_much(void)
{
    const size_t  max = 4 << 20;
    struct rlimit limit = {.rlim_cur = max, .rlim_max = max};
    pro_loop     *loop;
    char          text[4096];
    char *memory = mmap(NULL, 2 * max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 10;
    if (geteuid() == 0 && (setregid(65534, 65534) != 0 || setreuid(65534, 65534) != 0)) return 10;
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_URING};
    if (pro_loop_new(&loop, &options) != PRO_OK) return 10;
    if (pro_memory_register(loop, memory, 2 * max) != PRO_ENOMEM) return 1;
    pro_loop_explain(loop, text, sizeof text);
    if (!strstr(text, "ulimit -l is 4096 KiB")) return 2;
    if (pro_memory_register(loop, memory, PAGE) != PRO_OK) return 3;
    return pro_loop_free(loop) == PRO_OK ? 0 : 4;
}

UNIT(more_than_may_be_locked_is_an_error_that_names_the_limit)
{
    int status;
    make(0, NULL);
    CHECK_EQ(pro_loop_free(x.loop), PRO_OK);
    munmap(x.memory, SIZE);
    pid_t child = fork();
    if (child == 0) _exit(register_too_much());
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == 10) UNIT_SKIP("no process here may have a ring and little memory");
    CHECK_EQ(WEXITSTATUS(status), 0);
}
