/* One call of the real world, in a handler: forbidden CASE.  test/sim/strict.py runs all of them; in a
 * simulated world each must be caught, with the name of the function here, and outside of one it works. */
#include <proactor.h>

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long sink; /* so that no call is a tail call, or left out */

#define CASE(name) __attribute__((noinline)) static void calls_##name(void)

CASE(clock_gettime)
{
    struct timespec t;
    sink = clock_gettime(CLOCK_MONOTONIC, &t) + t.tv_nsec;
}
CASE(gettimeofday)
{
    struct timeval t;
    sink = gettimeofday(&t, NULL) + t.tv_usec;
}
CASE(time) { sink = time(NULL); }
CASE(timespec_get)
{
    struct timespec t;
    sink = timespec_get(&t, TIME_UTC) + t.tv_nsec;
}
CASE(getrandom)
{
    int bits;
    sink = getrandom(&bits, sizeof bits, 0) + bits;
}
CASE(rand) { sink = rand(); }
CASE(random) { sink = random(); }
CASE(urandom)
{
    int fd = open("/dev/urandom", O_RDONLY);
    sink = close(fd);
}

static void *nothing(void *arg) { return arg; }

CASE(pthread_create)
{
    pthread_t thread;
    sink = pthread_create(&thread, NULL, nothing, NULL);
    sink += pthread_detach(thread);
}
CASE(sleep) { sink = sleep(0); }
CASE(usleep) { sink = usleep(1); }
CASE(nanosleep) { sink = nanosleep(&(struct timespec){.tv_nsec = 1}, NULL); }
CASE(poll) { sink = poll(NULL, 0, 0); }
CASE(select) { sink = select(0, NULL, NULL, NULL, &(struct timeval){0}); }
CASE(epoll_wait)
{
    struct epoll_event event;
    int                fd = epoll_create1(0);
    sink = epoll_wait(fd, &event, 1, 0);
    sink = close(fd);
}
CASE(socket)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sink = close(fd);
}

static int pair[2]; /* made before the world is */

CASE(read)
{
    char byte;
    sink = read(pair[0], &byte, 1);
}
CASE(write) { sink = write(pair[1], "x", 1); }
CASE(recv)
{
    char byte;
    sink = recv(pair[0], &byte, 1, 0);
}
CASE(getaddrinfo)
{
    struct addrinfo *found = NULL, hints = {.ai_flags = AI_NUMERICHOST};
    sink = getaddrinfo("127.0.0.1", NULL, &hints, &found);
    if (found) freeaddrinfo(found);
}

/* What is allowed. */
CASE(innocent)
{
    char  text[32];
    void *memory = malloc(100);
    FILE *file = fopen("/dev/null", "w");
    snprintf(text, sizeof text, "%p", memory);
    if (!file || fprintf(file, "%s", text) < 0) abort();
    fclose(file);
    free(memory);
    int fd = open("/dev/null", O_RDWR);
    sink = write(fd, "x", 1) + read(fd, text, 1);
    close(fd);
}

static const struct {
    const char *name;
    void (*call)(void);
} cases[] = {
#define ONE(name)                                                                                  \
    {                                                                                              \
#name, calls_##name                                                                        \
    }
    ONE(clock_gettime), ONE(gettimeofday), ONE(time),    ONE(timespec_get),   ONE(getrandom),
    ONE(rand),          ONE(random),       ONE(urandom), ONE(pthread_create), ONE(sleep),
    ONE(usleep),        ONE(nanosleep),    ONE(poll),    ONE(select),         ONE(epoll_wait),
    ONE(socket),        ONE(read),         ONE(write),   ONE(recv),           ONE(getaddrinfo),
    ONE(innocent),
};
enum { CASES = sizeof cases / sizeof cases[0] };

static int chosen;

static void on_time(pro_op *op)
{
    cases[chosen].call();
    printf("%s: %s\n", cases[chosen].name, pro_error_name(op->error));
}

int main(int argc, char **argv)
{
    pro_loop *loop;
    pro_op    op = {0};
    for (chosen = 0; chosen < CASES; chosen++) {
        if (argc < 2) printf("%s\n", cases[chosen].name);
        if (argc == 2 && strcmp(argv[1], cases[chosen].name) == 0) break;
    }
    if (argc < 2) return 0;
    if (chosen == CASES) return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || write(pair[1], "abc", 3) != 3) return 2;
    sink = time(NULL) + rand(); /* no world as yet */
    if (pro_loop_new(&loop, NULL) != PRO_OK) return 2;
    pro_sleep(&op, loop, 3600 * PRO_SEC * !!getenv("PROACTOR_SEED"), on_time);
    pro_loop_run(loop);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
