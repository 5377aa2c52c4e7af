/* Processes that take a command and answer it, over a pair of sockets that keep messages whole. */
#include "crowd.h"

#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct crowd_board *crowd_board_new(void)
{
    void *memory = mmap(NULL, sizeof(struct crowd_board), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) bench_die_errno("mmap");
    return memory;
}

unsigned crowd_live(const struct crowd_board *board, unsigned shards)
{
    unsigned live = 0;
    for (unsigned i = 0; i < shards; i++) live += atomic_load(&board->shards[i].live);
    return live;
}

/* ---- outside ----------------------------------------------------------------------------------- */

void crowd_worker_start(struct crowd_worker *worker, void (*run)(int fd, void *arg), void *arg)
{
    int   ends[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        bench_die_errno("socketpair");
    worker->fd = ends[0];
    worker->pid = fork();
    if (worker->pid < 0) bench_die_errno("fork");
    if (worker->pid > 0) {
        close(ends[1]);
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    signal(SIGINT,
           SIG_IGN); /* a terminal sends it to all; who started us says what is to be done */
    signal(SIGTERM, SIG_DFL);
    close_range(3, (unsigned)ends[1] - 1, 0); /* what the parent has of the others */
    close_range((unsigned)ends[1] + 1, ~0u, 0);
    run(ends[1], arg);
    _exit(0);
}

void crowd_worker_tell(const struct crowd_worker *worker, enum crowd_command command)
{
    char byte = (char)command;
    (void)!send(worker->fd, &byte, 1,
                MSG_NOSIGNAL); /* one that has ended: heard when it is to answer */
}

bool crowd_worker_hear(struct crowd_worker *worker, struct crowd_answer *answer)
{
    int     status;
    ssize_t got;
    while ((got = recv(worker->fd, answer, sizeof *answer, 0)) < 0 && errno == EINTR) continue;
    if (got == sizeof *answer) return !answer->failed;
    *answer = (struct crowd_answer){.failed = true};
    const char *how = "ended", *what = "";
    if (waitpid(worker->pid, &status, 0) == worker->pid && WIFSIGNALED(status)) {
        how = "was killed: ";
        what = strsignal(WTERMSIG(status));
    }
    worker->pid = 0;
    snprintf(answer->text, sizeof answer->text, "a process %s%s", how, what);
    return false;
}

void crowd_worker_end(struct crowd_worker *worker)
{
    if (worker->pid > 0) {
        kill(worker->pid, SIGKILL);
        waitpid(worker->pid, NULL, 0);
        close(worker->fd);
    }
    worker->pid = 0;
}

/* ---- inside ------------------------------------------------------------------------------------ */

enum crowd_command crowd_next_command(int fd)
{
    char    byte;
    ssize_t got;
    while ((got = recv(fd, &byte, 1, 0)) < 0 && errno == EINTR) continue;
    return got == 1 ? (enum crowd_command)byte : CROWD_QUIT;
}

static void answer(int fd, struct crowd_answer whole, const char *text)
{
    snprintf(whole.text, sizeof whole.text, "%s", text);
    (void)!send(fd, &whole, sizeof whole, MSG_NOSIGNAL);
}

void crowd_say(int fd, uint64_t value, const char *text)
{
    answer(fd, (struct crowd_answer){.value = value}, text);
}

void crowd_lacks(int fd, const char *text)
{
    answer(fd, (struct crowd_answer){.failed = true, .lacks = true}, text);
    _exit(1);
}

void crowd_fail(int fd, const char *format, ...)
{
    char    text[240];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    answer(fd, (struct crowd_answer){.failed = true}, text);
    _exit(1);
}
