/* A line chat over TCP and Unix sockets: what one says, all others read.
 *
 *     chat serve 127.0.0.1:9000 @chat        both listeners in one server
 *     chat 127.0.0.1:9000                    from here and there
 *     chat @chat                             and from this machine; or any path
 *
 * What to see here: a connection is a connection, whatever it was accepted from.  Receiving never waits
 * for sending: what is to be sent to somebody is gathered while the last piece is on its way, and who is
 * too slow to read it is let go.  The client is two streams, from the terminal and to it. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_LEN = 1000, OUT_LEN = 64 * 1024 };

static pro_loop *loop;

/* ---- The server ----------------------------------------------------------------------------- */

struct client {
    pro_scope      scope;
    pro_socket     sock;
    pro_op         recv, send;
    struct client *next;
    size_t         in_len, out_len;
    char           in[LINE_LEN], *sending, *gathered; /* each of OUT_LEN */
};

static struct client *clients;
static pro_listener   listeners[2];
static pro_op         accepts[2];

static void on_gone(pro_scope *scope)
{
    struct client *c = pro_container_of(scope, struct client, scope), **at = &clients;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    free(c->sending);
    free(c->gathered);
    free(c);
}

static void on_sent(pro_op *op);

static void send_gathered(struct client *c)
{
    char *text = c->gathered;
    c->gathered = c->sending;
    c->sending = text;
    pro_send_all(&c->send, &c->sock, text, c->out_len, on_sent);
    c->out_len = 0;
}

static void on_sent(pro_op *op)
{
    struct client *c = op->user;
    if (op->error != PRO_OK)
        pro_scope_close(&c->scope);
    else if (c->out_len > 0)
        send_gathered(c);
}

static void tell_others(const struct client *from, const char *text, size_t len)
{
    for (struct client *c = clients; c; c = c->next) {
        if (c == from || pro_scope_closing(&c->scope)) continue;
        if (c->out_len + len > OUT_LEN) {
            pro_scope_close(&c->scope); /* too slow */
            continue;
        }
        memcpy(c->gathered + c->out_len, text, len);
        c->out_len += len;
        if (!pro_op_in_flight(&c->send)) send_gathered(c);
    }
}

static void on_received(pro_op *op)
{
    struct client *c = op->user;
    if (op->error != PRO_OK) {
        pro_scope_close(&c->scope);
        return;
    }
    c->in_len += (size_t)op->value;
    size_t whole = c->in_len; /* lines only, but for one that is too long */
    while (whole > 0 && c->in[whole - 1] != '\n') whole--;
    if (whole == 0 && c->in_len == sizeof c->in) whole = c->in_len;
    if (whole > 0) tell_others(c, c->in, whole);
    c->in_len -= whole;
    memmove(c->in, c->in + whole, c->in_len);
    pro_recv(op, &c->sock, c->in + c->in_len, sizeof c->in - c->in_len, on_received);
}

static void welcome(struct client *c)
{
    pro_credentials who;
    if (pro_socket_credentials(&c->sock, &who) == PRO_OK) /* the system vouches for it */
        printf("chat: user %lld joined\n", (long long)who.user);
    else
        printf("chat: somebody joined from elsewhere\n");
    fflush(stdout);
    pro_recv(&c->recv, &c->sock, c->in, sizeof c->in, on_received);
}

static void on_accepted(pro_op *op)
{
    struct client *c = op->error == PRO_OK ? calloc(1, sizeof *c) : NULL;
    if (!c) return; /* not taken: closed.  No handles left: those who are here go on */
    c->sending = malloc(OUT_LEN);
    c->gathered = malloc(OUT_LEN);
    c->recv.user = c->send.user = c;
    pro_scope_init(&c->scope, loop, NULL, on_gone);
    c->next = clients;
    clients = c;
    if (!c->sending || !c->gathered || pro_accept_take(op, &c->sock, &c->scope) != PRO_OK)
        pro_scope_close(&c->scope);
    else
        welcome(c);
}

/* ---- The client ----------------------------------------------------------------------------- */

/* What is received from one goes to the other. */
struct flow {
    pro_socket *from, *to;
    pro_op      op;
    char        buf[4096];
};

static pro_socket  server, in, out;
static struct flow flows[2] = {{.from = &in, .to = &server}, {.from = &server, .to = &out}};
static int         outcome;

static void on_flow(pro_op *op)
{
    struct flow *f = pro_container_of(op, struct flow, op);
    int          is_received = op->user != NULL; /* else it was sent, or has just begun */
    if (op->error != PRO_OK) {
        if (op->error != PRO_EOF && op->error != PRO_ECANCELED) outcome = op->error;
        pro_scope_close(pro_loop_scope(loop));
        return;
    }
    op->user = is_received ? NULL : f;
    if (is_received)
        pro_send_all(op, f->to, f->buf, (size_t)op->value, on_flow);
    else
        pro_recv(op, f->from, f->buf, sizeof f->buf, on_flow);
}

static void on_connected(pro_op *op)
{
    if (op->error == PRO_OK) on_flow(&flows[1].op);
    on_flow(op);
}

/* ---- Both ----------------------------------------------------------------------------------- */

static int fail(const char *what, int error)
{
    fprintf(stderr, "chat: %s: %s\n", what, pro_error_text(error));
    return 1;
}

static int serve(const pro_address *address, const char *name)
{
    char        text[PRO_ADDRESS_TEXT_MAX];
    pro_address at;
    int         error = pro_listen(&listeners[0], loop, NULL, address, NULL);
    if (error == PRO_OK) error = pro_listen_unix(&listeners[1], loop, NULL, name, NULL);
    if (error != PRO_OK) return error;
    for (int i = 0; i < 2; i++) pro_accept_multi(&accepts[i], &listeners[i], on_accepted);
    pro_listener_local(&listeners[0], &at);
    pro_address_format(&at, text, sizeof text);
    printf("chat: listening on %s, and on %s\n", text, name);
    fflush(stdout);
    return PRO_OK;
}

int main(int argc, char **argv)
{
    int         is_server = argc == 4 && strcmp(argv[1], "serve") == 0;
    int         is_client = argc == 2 && argv[1][0] != '-';
    pro_address address = {.family = PRO_FAMILY_NONE};
    int         is_tcp = pro_address_parse(&address, argv[is_server ? 2 : argc - 1]) == PRO_OK;
    if (!(is_server && is_tcp) && !is_client) {
        fprintf(stderr, "usage: chat serve ADDR:PORT NAME\n       chat ADDR:PORT|NAME\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error == PRO_OK && is_server) error = serve(&address, argv[3]);
    if (error == PRO_OK && is_client) {
        error = pro_socket_standard(&in, loop, NULL, PRO_STDIN);
        if (error == PRO_OK) error = pro_socket_standard(&out, loop, NULL, PRO_STDOUT);
        pro_socket_init(&server, loop, NULL);
        if (error == PRO_OK && is_tcp)
            pro_connect(&flows[0].op, &server, &address, on_connected);
        else if (error == PRO_OK)
            pro_connect_unix(&flows[0].op, &server, argv[1], on_connected);
    }
    if (error != PRO_OK) return fail(argv[argc - 1], error);
    int64_t ran = pro_loop_run(loop);
    if (ran < 0) return fail("the engine failed", (int)ran);
    if (outcome != PRO_OK) return fail(argv[1], outcome);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
