/* bench/load: the load generator by itself (lib/load.h), for scripts that measure something else beside:
 * system calls, memory, what a handler that works does to the others.  One line of JSON.
 *
 *     load --port P [--connections N] [--size BYTES] [--depth N] [--pid SERVER] [--cpu N]
 *          [--ms N | --messages N]     for so long, or so many on each connection
 *          [--work b5000|c5000 [--workers N]]
 *          [--hold]                    one message on each connection; then it prints, and holds them until
 *                                      standard input ends
 *     load --servers                   the table of servers, a line of JSON each */
#include "lib/bench.h"
#include "lib/load.h"
#include "lib/servers.h"

#include <string.h>
#include <unistd.h>

static int list_servers(void)
{
    for (const struct server *s = servers; s->name; s++)
        printf(
            "{\"name\":\"%s\",\"program\":\"%s\",\"word\":\"%s\",\"engine\":\"%s\",\"what\":\"%s\"}\n",
            s->name, s->program, s->word ? s->word : "", s->engine ? s->engine : "", s->what);
    return 0;
}

int main(int argc, char **argv)
{
    struct load_shape  shape = {.connections = 10, .size = 64, .depth = 1, .workers = 1};
    struct load_result r;
    unsigned           port = 0, ms = 100, messages = 0, pid = 0;
    int                cpu = BENCH_CPU_ANY;
    bool               hold = false;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--port", argc, argv, &i)))
            port = bench_number("--port", v, 1, 65535);
        else if ((v = bench_option("--connections", argc, argv, &i)))
            shape.connections = bench_number("--connections", v, 1, 1000000);
        else if ((v = bench_option("--size", argc, argv, &i)))
            shape.size = bench_number("--size", v, 1, 1 << 20);
        else if ((v = bench_option("--depth", argc, argv, &i)))
            shape.depth = bench_number("--depth", v, 1, 4096);
        else if ((v = bench_option("--pid", argc, argv, &i)))
            pid = bench_number("--pid", v, 1, 1 << 22);
        else if ((v = bench_option("--cpu", argc, argv, &i)))
            cpu = (int)bench_number("--cpu", v, 0, 1023);
        else if ((v = bench_option("--ms", argc, argv, &i)))
            ms = bench_number("--ms", v, 1, 1000000);
        else if ((v = bench_option("--messages", argc, argv, &i)))
            messages = bench_number("--messages", v, 1, 100000000);
        else if ((v = bench_option("--workers", argc, argv, &i)))
            shape.workers = bench_number("--workers", v, 1, 1000000);
        else if ((v = bench_option("--work", argc, argv, &i)))
            shape.work = v;
        else if (strcmp(argv[i], "--hold") == 0)
            hold = true;
        else if (strcmp(argv[i], "--servers") == 0)
            return list_servers();
        else
            bench_die("unknown option %s; the file bench/load.c has them", argv[i]);
    }
    if (port == 0) bench_die("--port is wanted");
    bench_pin(cpu);
    bench_raise_descriptor_limit();
    struct load *load = load_open(&shape, port, (pid_t)pid);
    if (hold)
        load_count(load, 1, &r);
    else if (messages > 0)
        load_count(load, messages, &r);
    else
        load_run(load, ms * UINT64_C(200000), ms * UINT64_C(1000000), &r);
    printf("{\"messages\":%llu,\"wall_ns\":%llu,\"cpu_ns\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"p999_us\":%.1f}\n",
           (unsigned long long)r.messages, (unsigned long long)r.wall_ns,
           (unsigned long long)r.cpu_ns, r.p50_us, r.p99_us, r.p999_us);
    fflush(stdout);
    char byte;
    while (hold && read(STDIN_FILENO, &byte, 1) > 0) {}
    load_close(load);
    return 0;
}
