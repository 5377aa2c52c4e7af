/* ares: look names up with c-ares, a resolver that wants to be told when its sockets are ready.
 *
 *     ares SERVER:PORT NAME...
 *
 * What to see here: a library with a reactor's shape on this loop.  c-ares says which descriptors it
 * wants to read or write (on_state); each gets a pollable, and a poll for each of the two that is
 * wanted; when one completes, c-ares does the work.  It closes its sockets whenever it likes, also
 * while they are polled: a pollable has a descriptor of its own, so that does no harm. */
#include <proactor.h>

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

/* A socket of c-ares. */
struct watched {
    struct watched *next;
    pro_pollable    pollable;
    pro_op          in, out, close;
    ares_socket_t   fd;
    int             wants_in, wants_out;
};

static pro_loop       *loop;
static ares_channel    channel;
static struct watched *all;
static pro_op          timer;
static int             pending, failed;

static void keep_time(void);

/* ---- Sockets ---------------------------------------------------------------------------------- */

static void on_ready(pro_op *op);

static void poll_more(struct watched *w)
{
    if (w->wants_in && !pro_op_in_flight(&w->in))
        pro_poll(&w->in, &w->pollable, PRO_POLL_IN, on_ready);
    if (w->wants_out && !pro_op_in_flight(&w->out))
        pro_poll(&w->out, &w->pollable, PRO_POLL_OUT, on_ready);
}

static void on_ready(pro_op *op)
{
    struct watched *w = op->user;
    if (op->error != PRO_OK) return; /* it is being closed */
    int is_in = op == &w->in;
    if (is_in ? w->wants_in : w->wants_out)
        ares_process_fd(channel, is_in ? w->fd : ARES_SOCKET_BAD, is_in ? ARES_SOCKET_BAD : w->fd);
    if (w->fd != ARES_SOCKET_BAD) poll_more(w); /* on_state may have closed it */
    keep_time();
}

static void on_closed(pro_op *op) { free(op->user); }

static void forget(struct watched *w)
{
    struct watched **place = &all;
    while (*place != w) place = &(*place)->next;
    *place = w->next;
    w->fd = ARES_SOCKET_BAD;
    w->wants_in = w->wants_out = 0;
    pro_pollable_close(&w->close, &w->pollable, on_closed);
}

static struct watched *watch(ares_socket_t fd)
{
    struct watched *w = calloc(1, sizeof *w);
    if (!w || pro_pollable_open(&w->pollable, loop, NULL, fd) != PRO_OK) {
        fprintf(stderr, "ares: cannot poll a socket\n");
        exit(1);
    }
    w->in.user = w->out.user = w->close.user = w;
    w->fd = fd;
    w->next = all;
    all = w;
    return w;
}

/* c-ares wants this of a socket from now on; nothing: it is about to close it. */
static void on_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct watched *w = all;
    (void)data;
    while (w && w->fd != fd) w = w->next;
    if (!readable && !writable) {
        if (w) forget(w);
        return;
    }
    if (!w) w = watch(fd);
    w->wants_in = readable;
    w->wants_out = writable;
    poll_more(w);
}

/* ---- Time ------------------------------------------------------------------------------------- */

static void on_time(pro_op *op)
{
    if (op->error == PRO_OK) ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    keep_time();
}

/* c-ares wants to be called at some time, too, while it asks. */
static void keep_time(void)
{
    struct timeval when;
    if (pending == 0) {
        pro_cancel(&timer);
    } else if (!pro_op_in_flight(&timer) && ares_timeout(channel, NULL, &when)) {
        uint64_t delay_ns = (uint64_t)when.tv_sec * PRO_SEC + (uint64_t)when.tv_usec * PRO_USEC;
        pro_sleep(&timer, loop, delay_ns + PRO_MSEC, on_time);
    }
}

/* ---- Names ------------------------------------------------------------------------------------ */

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
    const char *name = arg;
    (void)timeouts;
    pending--;
    if (status != ARES_SUCCESS) {
        printf("%s: %s\n", name, ares_strerror(status));
        failed++;
        return;
    }
    for (const struct ares_addrinfo_node *node = result->nodes; node; node = node->ai_next) {
        char        text[64] = "?";
        const void *bytes =
            node->ai_family == AF_INET
                ? (void *)&((struct sockaddr_in *)(void *)node->ai_addr)->sin_addr
                : (void *)&((struct sockaddr_in6 *)(void *)node->ai_addr)->sin6_addr;
        ares_inet_ntop(node->ai_family, bytes, text, sizeof text);
        printf("%s: %s\n", name, text);
    }
    ares_freeaddrinfo(result);
}

int main(int argc, char **argv)
{
    struct ares_options        options = {.sock_state_cb = on_state, .timeout = 500, .tries = 3};
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC};
    const int                  mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
    if (argc < 3) {
        fprintf(stderr, "usage: ares SERVER:PORT NAME...\n");
        return 2;
    }
    if (pro_loop_new(&loop, NULL) != PRO_OK ||
        ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        ares_init_options(&channel, &options, mask) != ARES_SUCCESS ||
        ares_set_servers_ports_csv(channel, argv[1]) != ARES_SUCCESS) {
        fprintf(stderr, "ares: cannot begin\n");
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        pending++;
        ares_getaddrinfo(channel, argv[i], NULL, &hints, on_answer, argv[i]);
    }
    keep_time();
    pro_loop_run(loop);
    ares_destroy(channel); /* says goodbye to its sockets */
    pro_loop_run(loop);
    ares_library_cleanup();
    return pro_loop_free(loop) != PRO_OK || failed > 0;
}
