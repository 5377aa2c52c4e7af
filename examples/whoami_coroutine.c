/* Request and answer over UDP: a server tells who asks the address it is seen at.
 *
 *     whoami_coroutine serve 127.0.0.1:9000
 *     whoami_coroutine 127.0.0.1:9000
 *
 * What to see here: datagrams get lost, so a request has an id, is sent again when no answer came in time
 * (each time later), and all of it has one deadline; what answers another request is dropped.  The
 * client's socket is connected, so that a stranger's datagrams do not reach it and a port where nobody
 * listens is refused at once. */
#include <proactor.h>

#include <stdio.h>
#include <string.h>

enum { ID = 4, MESSAGE_MAX = 256 };

static pro_loop    *loop;
static pro_datagram sock;
static int64_t      outcome;

static void serve(void *arg)
{
    (void)arg;
    for (;;) {
        char        message[MESSAGE_MAX], *text = message + ID;
        pro_address from;
        int64_t     n = pro_await_recv_from(&sock, message, sizeof message, &from);
        if (n == PRO_ECANCELED || n == PRO_ECLOSED) return;
        if (n != ID) continue; /* an error of an earlier answer, or no request of ours */
        size_t len = pro_address_format(&from, text, sizeof message - ID);
        pro_await_send_to(&sock, message, ID + len, &from); /* if it is lost, they ask again */
    }
}

/* The answer to this request, sent at most so many times; its length, or an error. */
static int64_t request(uint32_t id, char *answer, size_t size)
{
    uint64_t patience_ns = 50 * PRO_MSEC;
    for (int tries = 0; tries < 6; tries++, patience_ns *= 2) {
        int64_t n = pro_await_send_to(&sock, &id, ID, NULL);
        if (n < 0 && n != PRO_ENOBUFS) return n;
        uint64_t until_ns = pro_loop_now(loop) + patience_ns;
        do {
            n = pro_await_recv_from_by(&sock, answer, size, NULL, until_ns);
            if (n >= ID && memcmp(answer, &id, ID) == 0) return n;
        } while (n >= 0); /* an answer to somebody else's question, or to an old one of ours */
        if (n != PRO_ETIMEDOUT) return n;
        fprintf(stderr, "whoami_coroutine: no answer, asking again\n");
    }
    return PRO_ETIMEDOUT;
}

static void ask(void *arg)
{
    (void)arg;
    char     answer[MESSAGE_MAX];
    uint32_t id =
        (uint32_t)pro_loop_now(loop); /* a program with more at stake takes a random one */
    outcome = request(id, answer, sizeof answer);
    if (outcome >= 0) printf("%.*s\n", (int)outcome - ID, answer + ID);
    pro_await_datagram_close(&sock);
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "whoami_coroutine: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    int         is_server = argc == 3 && strcmp(argv[1], "serve") == 0;
    pro_address address;
    if ((argc != 2 && !is_server) || pro_address_parse(&address, argv[argc - 1]) != PRO_OK) {
        fprintf(stderr, "usage: whoami_coroutine [serve] ADDR:PORT\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_datagram_open(&sock, loop, NULL, (pro_family)address.family);
    if (error == PRO_OK && is_server) error = pro_datagram_bind(&sock, &address);
    if (error == PRO_OK && !is_server) error = pro_datagram_connect(&sock, &address);
    if (error == PRO_OK && is_server) error = pro_datagram_local(&sock, &address);
    if (error != PRO_OK) return fail(argv[argc - 1], error);
    error = pro_go(pro_loop_scope(loop), is_server ? serve : ask, NULL, NULL);
    if (error != PRO_OK) return fail("cannot start", error);
    if (is_server) {
        char text[PRO_ADDRESS_TEXT_MAX];
        pro_address_format(&address, text, sizeof text);
        printf("whoami_coroutine: listening on %s\n", text);
        fflush(stdout);
    }
    int64_t ran = pro_loop_run(loop);
    if (ran < 0) return fail("the engine failed", (int)ran);
    if (outcome < 0) return fail(argv[argc - 1], (int)outcome);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
