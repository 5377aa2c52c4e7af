/* Client and server in one program: what PROACTOR_ENGINE=sim runs without a change.
 *
 *     talk_coroutine [SECONDS]
 *     PROACTOR_ENGINE=sim PROACTOR_SEED=7 PROACTOR_PLAN=mild talk_coroutine 3600
 *
 * What to see here: two coroutines that talk over TCP, with a rest of SECONDS between two questions.
 * On a real engine the second line takes hours.  In a simulated world it takes a millisecond, and says
 * the same each time with the same seed. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

static pro_loop    *loop;
static pro_listener listener;
static pro_address  address;
static uint64_t     rest_s, begin_ns;

static void server(void *arg)
{
    pro_socket sock = {0};
    char       buf[32];
    (void)arg;
    if (pro_await_accept(&listener, &sock, NULL) < 0) return;
    for (;;) {
        int64_t n = pro_await_recv(&sock, buf, sizeof buf);
        if (n <= 0 || pro_await_send_all(&sock, buf, (size_t)n) < 0) break;
    }
    pro_await_close(&sock);
    pro_await_listener_close(&listener);
}

static void client(void *arg)
{
    pro_socket sock = {0};
    char       buf[32];
    int       *failed = arg;
    pro_socket_init(&sock, loop, NULL);
    if (pro_await_connect(&sock, &address) < 0) return;
    for (int i = 1; i <= 3; i++) {
        int     len = snprintf(buf, sizeof buf, "question %d", i);
        int64_t n = pro_await_send_all(&sock, buf, (size_t)len);
        if (n > 0) n = pro_await_recv_exactly(&sock, buf, (size_t)len);
        if (n != len) break;
        printf("%.*s came back after %d s\n", len, buf,
               (int)((pro_loop_now(loop) - begin_ns) / PRO_SEC));
        pro_await_sleep(rest_s * PRO_SEC);
        if (i == 3) *failed = 0;
    }
    pro_await_close(&sock);
}

int main(int argc, char **argv)
{
    int failed = 1;
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: talk_coroutine [SECONDS]\n");
        return 2;
    }
    if (argc == 2) rest_s = strtoull(argv[1], NULL, 10);
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "talk_coroutine: cannot make a loop: %s\n", pro_error_text(error));
        return 1;
    }
    begin_ns = pro_loop_now(loop);
    address = pro_address_loopback(PRO_IPV4, 0);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error == PRO_OK) error = pro_listener_local(&listener, &address);
    if (error == PRO_OK) error = pro_go(pro_loop_scope(loop), server, NULL, NULL);
    if (error == PRO_OK) error = pro_go(pro_loop_scope(loop), client, &failed, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "talk_coroutine: %s\n", pro_error_text(error));
        return 1;
    }
    pro_loop_run(loop);
    return pro_loop_free(loop) == PRO_OK ? failed : 1;
}
