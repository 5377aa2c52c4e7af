/* bench/registered: what does a read of a file cost from registered memory, and what from any other?
 *
 * Random reads of a file (or writes: --write), so many in flight.  By hand: a ring in the library's set-up, READ
 * and, from a table of one buffer, READ_FIXED: what the kernel itself gains is the measure of what the library can.  All lanes
 * are alive at once and take turns; what counts is CPU time of the process.
 *
 *   bench/registered [--size BYTES,...] [--rounds 40] [--window-us 50000] [--parts 4] [--depth N] [--mib 256]
 *                    [--direct] [--write] [--huge] [--dir DIR] [--json FILE]
 *
 * --direct reads past the page cache; --huge has the memory of the buffers in huge pages, where there are some;
 * --depth is 8, for sizes of up to 64 KiB 32. */
#include "lib/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <proactor.h>

enum { DEPTH_MAX = 256, SIZES_MAX = 16, PAGE = 4096 };

static struct {
    size_t   size;
    unsigned depth;
    uint64_t file_len;
    char     path[4096];
    bool     direct, huge, write;
} shape;

struct lane {
    bool            registered;
    char           *memory;
    uint64_t        random, end_ns;
    unsigned        done, until_look;
    bool            over;
    struct io_uring ring; /* by hand */
    int             fd;
    pro_loop       *loop; /* the library */
    pro_file        file;
    pro_op          ops[DEPTH_MAX], op;
};

static uint64_t next_offset(struct lane *l)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return l->random % (shape.file_len / shape.size) * shape.size;
}

static void begin_window(struct lane *l, uint64_t window_ns)
{
    l->end_ns = bench_now_ns() + window_ns;
    l->done = 0;
    l->over = false;
    l->until_look = 0;
}

/* One more; is that all?  The clock is looked at now and then only. */
static bool is_over(struct lane *l)
{
    l->done++;
    if (l->until_look-- > 0) return l->over;
    l->until_look = shape.size >= 256 << 10 ? 3 : 63;
    return l->over = l->over || bench_now_ns() >= l->end_ns;
}

static char *buffer_of(const struct lane *l, unsigned i) { return l->memory + i * shape.size; }

/* ---- By hand ---------------------------------------------------------------------------------- */

static void ask(struct lane *l, uint64_t i)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);
    if (!sqe) bench_die("the submission queue is full");
    char *buffer = buffer_of(l, (unsigned)i);
    io_uring_prep_read(sqe, l->fd, buffer, (unsigned)shape.size, next_offset(l));
    if (l->registered) /* of buffer 0 */
        sqe->opcode = shape.write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
    else
        sqe->opcode = shape.write ? IORING_OP_WRITE : IORING_OP_READ;
    sqe->user_data = i;
}

static uint64_t by_hand(void *state, uint64_t window_ns)
{
    struct lane *l = state;
    unsigned     in_flight = shape.depth;
    begin_window(l, window_ns);
    for (unsigned i = 0; i < shape.depth; i++) ask(l, i);
    while (in_flight > 0) {
        int error = io_uring_submit_and_wait(&l->ring, 1);
        if (error < 0 && error != -EINTR) bench_die("submit: %s", strerror(-error));
        struct io_uring_cqe *cqe;
        unsigned             head, taken = 0;
        io_uring_for_each_cqe(&l->ring, head, cqe)
        {
            taken++;
            if (cqe->res != (int)shape.size) bench_die("transfer: %d", cqe->res);
            if (is_over(l))
                in_flight--;
            else
                ask(l, cqe->user_data);
        }
        io_uring_cq_advance(&l->ring, taken);
    }
    return l->done;
}

static void open_by_hand(struct lane *l)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL};
    int                    error = io_uring_queue_init_params(DEPTH_MAX, &l->ring, &params);
    for (int tries = 0; error == -ENOMEM && tries < 100; tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); /* one just closed */
        error = io_uring_queue_init_params(DEPTH_MAX, &l->ring, &params);
    }
    if (error) bench_die("io_uring_setup: %s", strerror(-error));
    io_uring_register_ring_fd(&l->ring);
    l->fd = open(shape.path, O_RDWR | O_CLOEXEC | (shape.direct ? O_DIRECT : 0));
    if (l->fd < 0) bench_die_errno(shape.path);
    struct iovec all = {l->memory, shape.depth * shape.size};
    if (l->registered) error = io_uring_register_buffers(&l->ring, &all, 1);
    if (error) bench_die("registering memory: %s (ulimit -l?)", strerror(-error));
}

static void close_by_hand(struct lane *l)
{
    io_uring_queue_exit(&l->ring);
    close(l->fd);
}

/* ---- The library ------------------------------------------------------------------------------ */

static void begin(struct lane *l, pro_op *op);

static void on_done(pro_op *op)
{
    struct lane *l = op->user;
    if (op->error || op->value != (int64_t)shape.size) bench_die("transfer: %d", op->error);
    if (!is_over(l)) begin(l, op);
}

static void begin(struct lane *l, pro_op *op)
{
    char *buffer = buffer_of(l, (unsigned)(op - l->ops));
    if (shape.write)
        pro_file_write(op, &l->file, buffer, shape.size, next_offset(l), on_done);
    else
        pro_file_read(op, &l->file, buffer, shape.size, next_offset(l), on_done);
}

static uint64_t by_library(void *state, uint64_t window_ns)
{
    struct lane *l = state;
    begin_window(l, window_ns);
    for (unsigned i = 0; i < shape.depth; i++) {
        l->ops[i].user = l;
        begin(l, &l->ops[i]);
    }
    pro_loop_run(l->loop);
    return l->done;
}

static void on_ready(pro_op *op)
{
    if (op->error) bench_die("file: %s", pro_error_text(op->error));
}

static void open_library(struct lane *l)
{
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_URING};
    if (pro_loop_new(&l->loop, &options) != PRO_OK) bench_die("no loop");
    uint32_t flags = PRO_FILE_READ | PRO_FILE_WRITE | (shape.direct ? PRO_FILE_DIRECT : 0);
    pro_file_open(&l->op, &l->file, l->loop, NULL, shape.path, flags, 0, on_ready);
    pro_loop_run(l->loop);
    if (!l->registered) return;
    int error = pro_memory_register(l->loop, l->memory, shape.depth * shape.size);
    if (error) bench_die("registering memory: %s (ulimit -l?)", pro_error_text(error));
}

static void close_library(struct lane *l)
{
    pro_loop_stats stats;
    pro_loop_stats_get(l->loop, &stats);
    if (l->registered != (stats.registered_transfers > 0))
        bench_die("memory was not used as it should be");
    pro_file_close(&l->op, &l->file, on_ready);
    pro_loop_run(l->loop);
    if (pro_loop_free(l->loop) != PRO_OK) bench_die("something is left in the loop");
}

/* ---- All of them ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    bool        registered;
    uint64_t (*run_for)(void *state, uint64_t window_ns);
    void (*open)(struct lane *l);
    void (*close)(struct lane *l);
} kinds[] = {
    {"by hand", false, by_hand, open_by_hand, close_by_hand},
    {"by hand, A/A", false, by_hand, open_by_hand, close_by_hand},
    {"by hand, registered", true, by_hand, open_by_hand, close_by_hand},
    {"library", false, by_library, open_library, close_library},
    {"library, registered", true, by_library, open_library, close_library},
};
enum { HAND, HAND_AGAIN, HAND_REGISTERED, LIBRARY, LIBRARY_REGISTERED, LANES };

static void *buffers(size_t len)
{
    const size_t huge_page = 2 << 20;
    char        *at = aligned_alloc(huge_page, (len + huge_page - 1) & ~(huge_page - 1));
    if (!at || madvise(at, len, shape.huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
        bench_die("no memory for buffers");
    memset(at, 1, len);
    return at;
}

static void show(const char *text, const struct bench_lane *lane, const struct bench_lane *base,
                 unsigned rounds)
{
    struct bench_interval ratio = bench_ratio(lane, base, BENCH_CPU, rounds);
    printf("  %-46s %.3f [%.3f .. %.3f]\n", text, ratio.mid, ratio.lo, ratio.hi);
}

static void measure(unsigned rounds, unsigned parts, uint64_t window_ns, struct bench_json *json,
                    const struct bench_host *host)
{
    static struct lane states[LANES];
    struct bench_lane  lanes[LANES], *all[LANES];
    for (int i = 0; i < LANES; i++) {
        lanes[i] = (struct bench_lane){
            .state = &states[i], .run_for = kinds[i].run_for, .has_threads = true};
        bench_lane_init(&lanes[i], rounds);
        all[i] = &lanes[i];
    }
    for (unsigned part = 0; part < parts; part++) {
        for (int i = 0; i < LANES; i++) {
            states[i] = (struct lane){.registered = kinds[i].registered,
                                      .random = 88172645463325252u + part,
                                      .memory = buffers(shape.depth * shape.size)};
            kinds[i].open(&states[i]);
        }
        bench_rounds(all, LANES, window_ns, rounds * part / parts, rounds * (part + 1) / parts);
        for (int i = 0; i < LANES; i++) {
            kinds[i].close(&states[i]);
            free(states[i].memory);
        }
    }
    printf("\n%s of %zu bytes, %u in flight, %s, %s pages; %u rounds of %.0f ms\n",
           shape.write ? "writes" : "reads", shape.size, shape.depth,
           shape.direct ? "direct" : "by the page cache", shape.huge ? "huge" : "small", rounds,
           (double)window_ns / 1e6);
    printf("  %-22s %12s %12s  %s\n", "", "ns CPU each", "ns each", "CPU / by hand");
    for (int i = 0; i < LANES; i++) {
        struct bench_interval ratio = bench_ratio(&lanes[i], &lanes[HAND], BENCH_CPU, rounds);
        double                cpu = bench_median(lanes[i].ns_per_unit[BENCH_CPU], rounds);
        double                wall = bench_median(lanes[i].ns_per_unit[BENCH_WALL], rounds);
        printf("  %-22s %12.0f %12.0f  %.3f [%.3f .. %.3f]\n", kinds[i].name, cpu, wall, ratio.mid,
               ratio.lo, ratio.hi);
        bench_json_begin(json, json->out, "registered", host);
        bench_json_str(json, "lane", kinds[i].name);
        bench_json_int(json, "size", shape.size);
        bench_json_int(json, "depth", shape.depth);
        bench_json_bool(json, "direct", shape.direct);
        bench_json_bool(json, "write", shape.write);
        bench_json_bool(json, "huge", shape.huge);
        bench_json_num(json, "cpu_ns", cpu);
        bench_json_num(json, "wall_ns", wall);
        bench_json_interval(json, "cpu_ratio", ratio);
        bench_json_end(json);
    }
    show("registered / not, by hand", &lanes[HAND_REGISTERED], &lanes[HAND], rounds);
    show("registered / not, by the library", &lanes[LIBRARY_REGISTERED], &lanes[LIBRARY], rounds);
    show("the library / by hand, registered", &lanes[LIBRARY_REGISTERED], &lanes[HAND_REGISTERED],
         rounds);
    if (!bench_aa_holds(bench_ratio(&lanes[HAND_AGAIN], &lanes[HAND], BENCH_CPU, rounds)))
        puts("  VOID: two equal lanes differ by more than 1.5%");
    fflush(stdout);
    for (int i = 0; i < LANES; i++) bench_lane_fini(&lanes[i]);
}

/* Written and on the disk, and in the page cache. */
static void make_file(const char *dir)
{
    static char block[1 << 20];
    snprintf(shape.path, sizeof shape.path, "%s/bench-registered-XXXXXX", dir);
    int fd = mkstemp(shape.path);
    if (fd < 0) bench_die_errno(shape.path);
    for (size_t i = 0; i < sizeof block; i++) block[i] = (char)(i * 31);
    for (uint64_t at = 0; at < shape.file_len; at += sizeof block)
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block) bench_die_errno("write");
    if (fsync(fd) != 0) bench_die_errno("fsync");
    close(fd);
}

static void remove_file(void) { unlink(shape.path); }

int main(int argc, char **argv)
{
    unsigned          sizes[SIZES_MAX], sizes_len = 0, rounds = 40, parts = 4, mib = 256, depth = 0;
    unsigned          window_us = 50000;
    const char       *v, *dir = "/tmp";
    char              list[256] = "4096,65536,1048576";
    struct bench_json json = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--direct") == 0)
            shape.direct = true;
        else if (strcmp(argv[i], "--write") == 0)
            shape.write = true;
        else if (strcmp(argv[i], "--huge") == 0)
            shape.huge = true;
        else if ((v = bench_option("--size", argc, argv, &i)))
            snprintf(list, sizeof list, "%s", v);
        else if ((v = bench_option("--rounds", argc, argv, &i)))
            rounds = bench_number("--rounds", v, 2, 10000);
        else if ((v = bench_option("--window-us", argc, argv, &i)))
            window_us = bench_number("--window-us", v, 100, 10000000);
        else if ((v = bench_option("--parts", argc, argv, &i)))
            parts = bench_number("--parts", v, 1, 100);
        else if ((v = bench_option("--depth", argc, argv, &i)))
            depth = bench_number("--depth", v, 1, DEPTH_MAX);
        else if ((v = bench_option("--mib", argc, argv, &i)))
            mib = bench_number("--mib", v, 16, 65536);
        else if ((v = bench_option("--dir", argc, argv, &i)))
            dir = v;
        else if ((v = bench_option("--json", argc, argv, &i)))
            json.out = fopen(v, "a");
        else
            bench_die("unknown option %s", argv[i]);
    }
    for (char *word = strtok(list, ","); word && sizes_len < SIZES_MAX; word = strtok(NULL, ","))
        sizes[sizes_len++] = bench_number("--size", word, PAGE, 16 << 20);
    struct bench_host host;
    bench_host_get(&host);
    shape.file_len = (uint64_t)mib << 20;
    bench_pin(BENCH_CPU_LAST);
    make_file(dir);
    atexit(remove_file);
    printf("registered: a file of %u MiB; %s\n", mib, host.commit);
    for (unsigned i = 0; i < sizes_len; i++) {
        shape.size = sizes[i];
        shape.depth = depth ? depth : sizes[i] <= 64 << 10 ? 32 : 8;
        measure(rounds, parts, window_us * UINT64_C(1000), &json, &host);
    }
    if (json.out) fclose(json.out);
    return 0;
}
