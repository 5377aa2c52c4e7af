/* The style of straight lines: a coroutine for each connection, whose buffer is a local variable. */
#include "echo.h"

/* Our side has been idle: end it, and discard what still comes. */
static int64_t linger(struct session *s, char *buf)
{
    uint64_t until_ns = session_lingers(s);
    int64_t  n = pro_await_shutdown(&s->sock);
    if (n < 0) return n;
    while ((n = pro_await_recv_by(&s->sock, buf, BUFFER_SIZE, until_ns)) > 0)
        session_discarded(s, n);
    return n == PRO_ETIMEDOUT ? PRO_OK : n;
}

static void echo(void *arg)
{
    struct session *s = arg;
    char            buf[BUFFER_SIZE];
    int64_t         n;
    for (;;) {
        n = pro_await_recv_by(&s->sock, buf, sizeof buf, session_receives(s));
        if (session_again(s, (int)n)) continue;
        if (n == PRO_ETIMEDOUT) n = linger(s, buf);
        if (n <= 0) break;
        session_received(s, n);
        n = pro_await_send_all_by(&s->sock, buf, (size_t)n, session_sends(s));
        session_sent(s, pro_co_value());
        if (n < 0) break;
    }
    session_end(s, (int)n);
}

static int start(struct session *s) { return pro_go(&s->scope, echo, s, NULL); }

const struct style style_coroutine = {
    .name = "coroutine",
    .session_size = sizeof(struct session),
    .start = start,
};
