/* libuv: the echo server of its guide, with what makes it fast.
 *
 * The guide allocates a buffer and a request for each write (uv_write), which --write does too; by default it
 * answers with uv_try_write, as the documentation advises for small answers, and only what the kernel does not
 * take goes the long way.  The buffer is free again when the read callback returns, so all connections have
 * one in common. */
#include "peer.h"

#include <uv.h>

struct connection {
    uv_tcp_t tcp;
};

struct answer {
    uv_write_t request;
    char       bytes[];
};

static unsigned   buffer;
static char      *shared;
static bool       always_write;
static uv_loop_t *loop;

static void must(int error, const char *what)
{
    if (error >= 0) return;
    fprintf(stderr, "%s: %s\n", what, uv_strerror(error));
    exit(1);
}

static void on_closed(uv_handle_t *handle) { free(handle); }

static void on_written(uv_write_t *request, int status)
{
    if (status < 0 && !uv_is_closing((uv_handle_t *)request->handle))
        uv_close((uv_handle_t *)request->handle, on_closed);
    free(request->data);
}

static void on_buffer_wanted(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(shared, buffer);
}

static void write_later(uv_stream_t *stream, const char *bytes, size_t len)
{
    struct answer *answer = malloc(sizeof *answer + len);
    if (!answer) peer_die("malloc");
    memcpy(answer->bytes, bytes, len);
    answer->request.data = answer;
    uv_buf_t piece = uv_buf_init(answer->bytes, (unsigned)len);
    must(uv_write(&answer->request, stream, &piece, 1, on_written), "uv_write");
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    if (got < 0) uv_close((uv_handle_t *)stream, on_closed);
    if (got <= 0) return;
    peer_work(buf->base);
    int sent = 0;
    if (!always_write) {
        uv_buf_t piece = uv_buf_init(buf->base, (unsigned)got);
        sent = uv_try_write(stream, &piece, 1); /* UV_EAGAIN also while a write is queued */
        if (sent == UV_EAGAIN) sent = 0;
        if (sent < 0) {
            uv_close((uv_handle_t *)stream, on_closed);
            return;
        }
    }
    if (sent < got) write_later(stream, buf->base + sent, (size_t)(got - sent));
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) return;
    struct connection *c = malloc(sizeof *c);
    if (!c) peer_die("malloc");
    must(uv_tcp_init(loop, &c->tcp), "uv_tcp_init");
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0) {
        uv_close((uv_handle_t *)&c->tcp, on_closed);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    must(uv_read_start((uv_stream_t *)&c->tcp, on_buffer_wanted, on_read), "uv_read_start");
}

int main(int argc, char **argv)
{
    uv_tcp_t           listener;
    struct sockaddr_in address;
    uv_os_fd_t         fd;
    peer_begin();
    buffer = peer_buffer(argc, argv);
    shared = malloc(buffer);
    always_write = peer_word(argc, argv, "--write");
    loop = uv_default_loop();
    must(uv_tcp_init(loop, &listener), "uv_tcp_init");
    must(uv_ip4_addr("127.0.0.1", 0, &address), "uv_ip4_addr");
    must(uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0), "uv_tcp_bind");
    must(uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_connection), "uv_listen");
    must(uv_fileno((uv_handle_t *)&listener, &fd), "uv_fileno");
    peer_ready(peer_port_of(fd));
    return uv_run(loop, UV_RUN_DEFAULT);
}
