/* See servers.h.  A server ends with the process that started it. */
#include "servers.h"

#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const struct server servers[] = {
    {"thread", "thread", NULL, NULL, "a thread per connection, blocking calls"},
    {"epoll", "epoll", NULL, NULL, "by hand: level-triggered epoll, a buffer per connection"},
    {"epoll-shared", "epoll", "--shared", NULL, "the same with one buffer for all"},
    {"uring", "uring", NULL, NULL, "by hand: io_uring, multishot, direct files, provided buffers"},
    {"uv", "uv", NULL, NULL, "libuv, uv_try_write"},
    {"uv-write", "uv", "--write", NULL, "libuv, uv_write"},
    {"event", "event", NULL, NULL, "libevent, events"},
    {"event-buffers", "event", "--bufferevents", NULL, "libevent, bufferevents"},
    {"asio-epoll", "asio_callbacks", NULL, NULL, "Asio on epoll, callbacks"},
    {"asio-co-epoll", "asio_coroutines", NULL, NULL, "Asio on epoll, C++20 coroutines"},
    {"asio-uring", "asio_callbacks_uring", NULL, NULL, "Asio on io_uring, callbacks"},
    {"asio-co-uring", "asio_coroutines_uring", NULL, NULL, "Asio on io_uring, C++20 coroutines"},
    {"pro-epoll", "pro_callback", NULL, "epoll", "the library on epoll, callbacks"},
    {"pro-leased-epoll", "pro_leased", NULL, "epoll", "the library on epoll, leased buffers"},
    {"pro-co-epoll", "pro_coroutine", NULL, "epoll", "the library on epoll, coroutines"},
    {"pro-stackless-epoll", "pro_stackless", NULL, "epoll", "the library on epoll, stackless"},
    {"pro-uring", "pro_callback", NULL, "uring", "the library on io_uring, callbacks"},
    {"pro-slots", "pro_callback", "--slots", "uring", "the same in fixed slots"},
    {"pro-leased-uring", "pro_leased", NULL, "uring", "the library on io_uring, leased buffers"},
    {"pro-co-uring", "pro_coroutine", NULL, "uring", "the library on io_uring, coroutines"},
    {"pro-stackless-uring", "pro_stackless", NULL, "uring", "the library on io_uring, stackless"},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct server *server_find(const char *name)
{
    for (const struct server *s = servers; s->name; s++)
        if (strcmp(s->name, name) == 0) return s;
    return NULL;
}

void servers_list(FILE *to)
{
    fputs("servers:\n", to);
    for (const struct server *s = servers; s->name; s++)
        fprintf(to, "  %-20s %s\n", s->name, s->what);
}

static void path_of(const struct server *server, char *path, size_t size)
{
    char    self[512];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) bench_die_errno("/proc/self/exe");
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
    snprintf(path, size, "%s/peers/%s", self, server->program);
}

static _Noreturn void become(const struct server *server, const char *path, int cpu,
                             unsigned buffer, unsigned connections, int out)
{
    char numbers[2][16];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(cpu);
    dup2(out, STDOUT_FILENO);
    if (server->engine) setenv("PROACTOR_ENGINE", server->engine, 1);
    snprintf(numbers[0], sizeof numbers[0], "%u", buffer);
    snprintf(numbers[1], sizeof numbers[1], "%u", connections);
    execl(path, path, "--buffer", numbers[0], "--connections", numbers[1], server->word,
          (char *)NULL);
    _exit(127);
}

int server_start(struct server_run *run, const struct server *server, int cpu, unsigned buffer,
                 unsigned connections)
{
    char path[640];
    int  ends[2];
    path_of(server, path, sizeof path);
    if (access(path, X_OK) != 0) return -1;
    if (pipe2(ends, O_CLOEXEC) != 0) bench_die_errno("pipe");
    fflush(stdout);
    run->pid = fork();
    if (run->pid < 0) bench_die_errno("fork");
    if (run->pid == 0) {
        close(ends[0]);
        become(server, path, cpu, buffer, connections, ends[1]);
    }
    close(ends[1]);
    FILE *says = fdopen(ends[0], "r");
    bool  came_up = says && fscanf(says, "port %u", &run->port) == 1;
    if (says) fclose(says);
    if (came_up) return 0;
    server_stop(run);
    return -1;
}

void server_stop(struct server_run *run)
{
    if (run->pid <= 0) return;
    kill(run->pid, SIGKILL);
    waitpid(run->pid, NULL, 0);
    run->pid = 0;
}
