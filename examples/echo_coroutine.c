/* Echo as coroutines: the server of echo.c in straight lines, with an orderly end.
 *
 *     echo_coroutine 127.0.0.1:9000          and in another terminal:  socat - TCP:127.0.0.1:9000
 *
 * What to see here: a coroutine for each connection, whose buffer is a local variable; one that accepts,
 * one that waits for a signal.  A function returns where a handler would have to remember.  Control-C
 * drains the loop: connections may finish for five seconds, then what they await gives PRO_ECANCELED,
 * and they return too. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static pro_loop    *loop;
static pro_listener listener;

static void echo(void *arg)
{
    pro_socket *sock = arg;
    char        buf[4096];
    for (;;) {
        int64_t n = pro_await_recv(sock, buf, sizeof buf); /* PRO_EOF is negative, as all errors */
        if (n <= 0 || pro_await_send_all(sock, buf, (size_t)n) < 0) break;
    }
    pro_await_close(sock); /* works also when we are canceled */
    free(sock);
}

static void serve(void *arg)
{
    (void)arg;
    for (;;) {
        pro_socket *sock = calloc(1, sizeof *sock);
        int64_t     error = sock ? pro_await_accept(&listener, sock, NULL) : PRO_ENOMEM;
        if (error == PRO_OK) {
            if (pro_go(NULL, echo, sock, NULL) == PRO_OK) continue; /* in our own scope */
            pro_await_close(sock);
        }
        free(sock);
        if (error == PRO_ECANCELED || error == PRO_ECLOSED) return;
        pro_await_sleep(100 * PRO_MSEC); /* no handles or no memory left: rest, then go on */
    }
}

static void close_listener(pro_scope *scope)
{
    static pro_op closing;
    (void)scope;
    pro_listener_close(&closing, &listener,
                       pro_awake); /* nobody awaits it: pro_awake does nothing */
}

static void end_by_signal(void *arg)
{
    (void)arg;
    if (pro_await_signal_wait(SIGINT) < 0) return;
    puts("echo_coroutine: finishing; those who take longer than five seconds are canceled");
    fflush(stdout);
    pro_scope_drain(pro_co_scope(), pro_loop_now(loop) + 5 * PRO_SEC);
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "echo_coroutine: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    pro_address address;
    if (argc > 2 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: echo_coroutine [ADDR:PORT]\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    pro_scope *root = pro_loop_scope(loop);
    pro_scope_on_stop(root, close_listener);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(where, error);
    error = pro_go(root, serve, NULL, NULL);
    if (error == PRO_OK) error = pro_go(root, end_by_signal, NULL, NULL);
    if (error != PRO_OK) return fail("cannot start", error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("echo_coroutine: listening on %s\n", text);
    fflush(stdout);

    int64_t ran = pro_loop_run(loop);
    if (ran < 0) return fail("the engine failed", (int)ran);
    pro_co_stats stats;
    pro_co_stats_get(loop, &stats);
    printf("echo_coroutine: %u at once at most, deepest stack %zu bytes\n", stats.live_max,
           stats.stack_used_max);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
