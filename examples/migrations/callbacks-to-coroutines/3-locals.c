/* upper: frames come back in upper case.  A frame is its length, four bytes, the highest first, and so
 * many bytes, at most 4096; a connection ends when it breaks that, or is silent for too long.
 *
 *     upper 127.0.0.1:9000 [IDLE-MS]
 *
 * One program in four steps: docs/guide/migrate-to-coroutines.md. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

enum { HEADER = 4, BODY_MAX = 4096 };

static pro_loop    *loop;
static pro_listener listener;
static uint64_t     idle_ns = 60 * PRO_SEC;

static size_t length_of(const unsigned char *frame)
{
    return (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
}

static void raise_case(unsigned char *body, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (body[i] >= 'a' && body[i] <= 'z') body[i] -= 'a' - 'A';
}

/* ---- a connection ----------------------------------------------------------------------------- */

static uint64_t in_time(void) { return pro_loop_now(loop) + idle_ns; }

static void session_run(void *arg)
{
    pro_socket   *sock = arg;
    unsigned char frame[HEADER + BODY_MAX];
    for (;;) {
        if (pro_await_recv_exactly_by(sock, frame, HEADER, in_time()) < 0) break;
        size_t len = length_of(frame);
        if (len > BODY_MAX) break;
        if (pro_await_recv_exactly_by(sock, frame + HEADER, len, in_time()) < 0) break;
        raise_case(frame + HEADER, len);
        if (pro_await_send_all_by(sock, frame, HEADER + len, in_time()) < 0) break;
    }
    pro_await_close(sock);
    free(sock);
}

/* ---- the server ------------------------------------------------------------------------------- */

static void serve(void *arg)
{
    (void)arg;
    for (;;) {
        pro_socket *sock = calloc(1, sizeof *sock);
        int64_t     error = sock ? pro_await_accept(&listener, sock, NULL) : PRO_ENOMEM;
        if (error == PRO_OK) {
            if (pro_go(NULL, session_run, sock, NULL) == PRO_OK) continue;
            pro_await_close(sock);
        }
        free(sock);
        if (error == PRO_ECANCELED || error == PRO_ECLOSED) return;
        pro_await_sleep(100 * PRO_MSEC); /* no handles left, perhaps: rest, then go on */
    }
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "upper: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    pro_address address;
    if (argc > 3 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: upper [ADDR:PORT [IDLE-MS]]\n");
        return 2;
    }
    if (argc > 2) idle_ns = strtoull(argv[2], NULL, 10) * PRO_MSEC;
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) return fail(where, error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("upper: listening on %s\n", text);
    fflush(stdout);

    error = pro_go(pro_loop_scope(loop), serve, NULL, NULL);
    if (error != PRO_OK) return fail("cannot start", error);
    int64_t ran = pro_loop_run(loop); /* until a signal ends the process */
    return ran < 0 ? fail("the engine failed", (int)ran) : 0;
}
