/* Gift: keep a file in memory, and give it to everybody who connects, without a copy for each.
 *
 *     gift ADDRESS FILE           and then: nc 127.0.0.1 9000 > copy
 *
 * What to see here: a zero-copy send reads the memory where it lies, so all clients share it.  It completes
 * when the memory is free again: nothing may change it before.  A client that does not read holds nobody up;
 * its deadline ends it, by a reset. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE (30 * PRO_SEC)

struct client {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
};

static pro_loop    *loop;
static pro_scope    clients;
static pro_listener listener;
static pro_op       accept_op, stop_op;
static pro_bytes    gift;
static int          given, cut;

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct client, scope)); }

/* All of it was acknowledged, or the client is not worth more. */
static void on_sent(pro_op *op)
{
    struct client *c = op->user;
    if (op->error == PRO_OK)
        given++;
    else
        cut++;
    pro_scope_close(&c->scope); /* its socket is closed with it */
}

static void on_accepted(pro_op *op)
{
    if (op->error != PRO_OK) return;
    struct client *c = calloc(1, sizeof *c);
    if (!c) return; /* it is closed */
    pro_scope_init(&c->scope, loop, &clients, on_drained);
    if (pro_accept_take(op, &c->sock, &c->scope) != PRO_OK) {
        pro_scope_close(&c->scope);
        return;
    }
    c->op.user = c;
    c->op.deadline_ns = pro_loop_now(loop) + PATIENCE;
    pro_send_zerocopy(&c->op, &c->sock, gift.data, gift.len, on_sent);
}

static void on_closed(pro_op *op) { (void)op; }

static void on_signal(pro_op *op)
{
    pro_listener_close(op, &listener, on_closed);
    pro_scope_drain(&clients, pro_loop_now(loop) + PRO_SEC);
}

static void on_read(pro_op *op)
{
    pro_address address;
    char        text[PRO_ADDRESS_TEXT_MAX];
    if (op->error != PRO_OK) {
        fprintf(stderr, "gift: cannot read the file: %s\n", pro_error_text(op->error));
        pro_scope_close(pro_loop_scope(loop));
        return;
    }
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("gift: listening on %s\n", text);
    fflush(stdout);
    pro_accept_multi(&accept_op, &listener, on_accepted);
    pro_signal_wait(&stop_op, loop, SIGTERM, on_signal);
}

int main(int argc, char **argv)
{
    pro_address address;
    pro_op      read_op = {0};
    if (argc != 3 || pro_address_parse(&address, argv[1]) != PRO_OK) {
        fprintf(stderr, "usage: gift ADDRESS FILE\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error == PRO_OK) error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "gift: cannot listen: %s\n", pro_error_text(error));
        return 1;
    }
    pro_scope_init(&clients, loop, NULL, NULL);
    pro_path_read(&read_op, loop, argv[2], (size_t)1 << 30, &gift, on_read);
    pro_loop_run(loop);
    printf("gift: given %d times, cut short %d times\n", given, cut);
    pro_bytes_free(loop, &gift);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
