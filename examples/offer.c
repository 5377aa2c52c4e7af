/* Offer: give a file to everybody who connects.
 *
 *     offer ADDRESS FILE           and then: nc 127.0.0.1 9000 > copy
 *
 * What to see here: pro_copy_file sends a file without reading it into the program; it stands among the
 * sends of its socket, and copied says at any time how far it is.  Many clients share one descriptor,
 * since a copy has an offset of its own.  A slow client holds up nobody. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct client {
    pro_scope  scope;
    pro_socket sock;
    pro_op     op;
    pro_copy   copy;
};

static pro_loop    *loop;
static pro_scope    clients;
static pro_listener listener;
static pro_file     file;
static pro_op       open_op, accept_op, term_op, interrupt_op;
static pro_address  address;
static int          given, cut, failed;

static void on_drained(pro_scope *scope) { free(pro_container_of(scope, struct client, scope)); }

static void on_shut(pro_op *op)
{
    struct client *c = op->user;
    pro_scope_close(&c->scope); /* its socket is closed with it */
}

static void on_copied(pro_op *op)
{
    struct client *c = op->user;
    if (op->error == PRO_OK) {
        given++;
        pro_shutdown(op, &c->sock, on_shut);
        return;
    }
    printf("offer: %s after %llu bytes\n", pro_error_text(op->error),
           (unsigned long long)c->copy.copied);
    fflush(stdout);
    cut++;
    pro_scope_close(&c->scope);
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
    c->copy = (pro_copy){.file = pro_file_descriptor(&file), .len = PRO_COPY_ALL};
    pro_copy_file(&c->op, &c->sock, &c->copy, on_copied);
}

static void on_closed(pro_op *op) { (void)op; }

/* Nobody uses the file any more. */
static void on_all_gone(pro_scope *scope)
{
    (void)scope;
    pro_file_close(&open_op, &file, on_closed);
}

static void on_signal(pro_op *op)
{
    if (op->error != PRO_OK) return;
    pro_cancel(op == &term_op ? &interrupt_op : &term_op);
    pro_listener_close(op, &listener, on_closed);
    pro_scope_drain(&clients, pro_loop_now(loop) + PRO_SEC);
}

static void on_opened(pro_op *op)
{
    char text[PRO_ADDRESS_TEXT_MAX];
    int  error = op->error;
    if (error == PRO_OK) error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "offer: %s\n", pro_error_text(error));
        failed = 1;
        if (op->error == PRO_OK) pro_file_close(op, &file, on_closed);
        return;
    }
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("offer: listening on %s\n", text);
    fflush(stdout);
    pro_accept_multi(&accept_op, &listener, on_accepted);
    pro_signal_wait(&term_op, loop, SIGTERM, on_signal);
    pro_signal_wait(&interrupt_op, loop, SIGINT, on_signal);
}

int main(int argc, char **argv)
{
    if (argc != 3 || pro_address_parse(&address, argv[1]) != PRO_OK) {
        fprintf(stderr, "usage: offer ADDRESS FILE\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "offer: %s\n", pro_error_text(error));
        return 1;
    }
    pro_scope_init(&clients, loop, NULL, on_all_gone);
    pro_file_open(&open_op, &file, loop, NULL, argv[2], PRO_FILE_READ, 0, on_opened);
    pro_loop_run(loop);
    if (!failed) printf("offer: given %d times, cut short %d times\n", given, cut);
    pro_scope_close(&clients);
    return pro_loop_free(loop) == PRO_OK && !failed ? 0 : 1;
}
