/* How many random 4 KiB reads from the page cache a second, and what does each cost?  One contender, one
 * window, one line of JSON: bench/file.py runs them in turns, beside fio.
 *
 *     file --engine uring|epoll|uv --depth N [--seconds S] --file PATH
 *
 * uring and epoll are the library's engines (epoll: reads go to its pool of threads); uv is libuv, whose
 * pool has as many threads.  The file is read through once before. */
#include "lib/bench.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <proactor.h>

#ifdef BENCH_UV
#include <uv.h>
#endif

enum { BLOCK = 4096, DEPTH_MAX = 4096 };

static uint64_t blocks, state = 88172645463325252u, done, end_ns;

static uint64_t next_offset(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % blocks * BLOCK;
}

/* The clock is looked at now and then only. */
static bool is_over(void)
{
    static bool over;
    if ((++done & 63) == 0) over = bench_now_ns() >= end_ns;
    return over;
}

/* ---- The library ------------------------------------------------------------------------------ */

static pro_file file;

static void on_opened(pro_op *op)
{
    if (op->error) bench_die("open: %s", pro_error_text(op->error));
}

static void on_read(pro_op *op)
{
    if (op->error) bench_die("read: %s", pro_error_text(op->error));
    if (!is_over()) pro_file_read(op, &file, op->user, BLOCK, next_offset(), on_read);
}

static void on_closed(pro_op *op) { (void)op; }

static void measure_library(const char *engine, const char *path, unsigned depth, uint64_t ns,
                            char *memory, uint64_t *wall, uint64_t *cpu)
{
    pro_loop        *loop;
    pro_op          *ops = calloc(depth, sizeof *ops), open = {0};
    pro_loop_options options = {.version = PRO_VERSION, .queue_len = 512, .batch_max = 256};
    options.engine = strcmp(engine, "uring") == 0 ? PRO_ENGINE_URING : PRO_ENGINE_EPOLL;
    if (pro_loop_new(&loop, &options) != PRO_OK || !ops) bench_die("no loop on %s", engine);
    pro_file_open(&open, &file, loop, NULL, path, PRO_FILE_READ, 0, on_opened);
    pro_loop_run(loop);
    uint64_t wall_from = bench_now_ns(), cpu_from = bench_process_cpu_ns();
    end_ns = wall_from + ns;
    for (unsigned i = 0; i < depth; i++) {
        ops[i].user = memory + (size_t)i * BLOCK;
        pro_file_read(&ops[i], &file, ops[i].user, BLOCK, next_offset(), on_read);
    }
    pro_loop_run(loop);
    *wall = bench_now_ns() - wall_from;
    *cpu = bench_process_cpu_ns() - cpu_from;
    pro_file_close(&open, &file, on_closed);
    pro_loop_run(loop);
    pro_loop_free(loop);
    free(ops);
}

/* ---- libuv ------------------------------------------------------------------------------------ */

#ifdef BENCH_UV
static int uv_fd;

static void on_uv_read(uv_fs_t *request)
{
    if (request->result != BLOCK) bench_die("uv read: %d", (int)request->result);
    uv_buf_t buf = uv_buf_init(request->data, BLOCK);
    uv_fs_req_cleanup(request);
    if (!is_over())
        uv_fs_read(uv_default_loop(), request, uv_fd, &buf, 1, (int64_t)next_offset(), on_uv_read);
}

static void measure_uv(const char *path, unsigned depth, uint64_t ns, char *memory, uint64_t *wall,
                       uint64_t *cpu)
{
    uv_loop_t *loop = uv_default_loop();
    uv_fs_t   *requests = calloc(depth, sizeof *requests);
    uv_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (uv_fd < 0 || !requests) bench_die_errno(path);
    uint64_t wall_from = bench_now_ns(), cpu_from = bench_process_cpu_ns();
    end_ns = wall_from + ns;
    for (unsigned i = 0; i < depth; i++) {
        requests[i].data = memory + (size_t)i * BLOCK;
        uv_buf_t buf = uv_buf_init(requests[i].data, BLOCK);
        uv_fs_read(loop, &requests[i], uv_fd, &buf, 1, (int64_t)next_offset(), on_uv_read);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    *wall = bench_now_ns() - wall_from;
    *cpu = bench_process_cpu_ns() - cpu_from;
    close(uv_fd);
    free(requests);
}
#endif

/* ---- One window ------------------------------------------------------------------------------- */

static void read_through(const char *path)
{
    static char buf[1 << 16];
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) != 0 || stat.st_size < BLOCK) bench_die_errno(path);
    while (read(fd, buf, sizeof buf) > 0) {}
    close(fd);
    blocks = (uint64_t)stat.st_size / BLOCK;
}

int main(int argc, char **argv)
{
    const char *engine = "uring", *path = NULL, *value;
    unsigned    depth = 32, milliseconds = 1000;
    for (int at = 1; at < argc; at++) {
        if ((value = bench_option("--engine", argc, argv, &at)) != NULL)
            engine = value;
        else if ((value = bench_option("--file", argc, argv, &at)) != NULL)
            path = value;
        else if ((value = bench_option("--depth", argc, argv, &at)) != NULL)
            depth = bench_number("--depth", value, 1, DEPTH_MAX);
        else if ((value = bench_option("--milliseconds", argc, argv, &at)) != NULL)
            milliseconds = bench_number("--milliseconds", value, 1, 60000);
        else
            bench_die("unknown option %s", argv[at]);
    }
    if (!path) bench_die("--file is missing");
    read_through(path);
    char *memory = aligned_alloc(BLOCK, (size_t)depth * BLOCK);
    if (!memory) bench_die("no memory");
    memset(memory, 1, (size_t)depth * BLOCK);
    uint64_t wall = 1, cpu = 0, ns = milliseconds * UINT64_C(1000000);
    if (strcmp(engine, "uv") != 0)
        measure_library(engine, path, depth, ns, memory, &wall, &cpu);
    else
#ifdef BENCH_UV
        measure_uv(path, depth, ns, memory, &wall, &cpu);
#else
        bench_die("built without libuv");
#endif
    printf("{\"engine\": \"%s\", \"depth\": %u, \"ops\": %" PRIu64 ", \"wall_ns\": %" PRIu64
           ", \"cpu_ns\": %" PRIu64 "}\n",
           engine, depth, done, wall, cpu);
    free(memory);
    return 0;
}
