/* Cancel and deadlines: four ways in which an operation ends before it is done.
 *
 *     guide_cancel
 *
 * What to see here: each of them completes, once, with the cause as its error and with the bytes
 * that had moved beside it. */
#include <proactor.h>

#include <stdio.h>

static pro_loop    *loop;
static pro_scope    scope; /* of the connection: both its ends, here */
static pro_listener listener;
static pro_socket   client, server;
static pro_op       nap, accepting, connecting, reading, rest, closing;
static char         buf[10];

static void say(const char *what, const pro_op *op)
{
    printf("%s: %s, %d\n", what, pro_error_name(op->error), (int)op->value);
}

/* 4: the scope ends, and everything in it with it. */
static void on_rest(pro_op *op) { say("a receive in a closed scope", op); }

static void on_drained(pro_scope *s)
{
    (void)s;
    printf("nothing is left of the connection\n");
}

/* 3: closing a handle cancels what is in flight on it. */
static void on_closed(pro_op *op)
{
    say("the close itself", op);
    pro_recv(&rest, &server, buf, sizeof buf, on_rest);
    pro_scope_close(&scope);
}

static void on_closed_under(pro_op *op) { say("a receive, closed under", op); }

/* 2: a deadline is a cancel, with another cause. */
static void on_late(pro_op *op)
{
    say("ten bytes, of which four came in time", op);
    pro_recv(op, &client, buf, sizeof buf, on_closed_under);
    pro_close(&closing, &client, on_closed);
}

static void on_greeted(pro_op *op) { (void)op; }

static void on_connected(pro_op *op)
{
    say("connect", op);
    reading.deadline_ns = pro_loop_now(loop) + 50 * PRO_MSEC;
    pro_recv_exactly(&reading, &client, buf, 10, on_late);
}

static void on_accepted(pro_op *op)
{
    if (op->error == PRO_OK && pro_accept_take(op, &server, &scope) == PRO_OK) {
        pro_send_all(op, &server, "four", 4, on_greeted);
    }
}

/* 1: a cancel. */
static void on_nap(pro_op *op)
{
    pro_address address;
    say("a canceled sleep", op);
    pro_listener_local(&listener, &address);
    pro_accept(&accepting, &listener, on_accepted);
    pro_socket_init(&client, loop, &scope);
    pro_connect(&connecting, &client, &address, on_connected);
}

int main(void)
{
    int         error = pro_loop_new(&loop, NULL);
    pro_address address = pro_address_loopback(PRO_IPV4, 0);
    if (error == PRO_OK) {
        pro_scope_init(&scope, loop, NULL, on_drained);
        error = pro_listen(&listener, loop, &scope, &address, NULL);
    }
    if (error != PRO_OK) {
        fprintf(stderr, "guide_cancel: %s\n", pro_error_text(error));
        return 1;
    }
    pro_sleep(&nap, loop, 3600 * PRO_SEC, on_nap);
    pro_cancel(&nap); /* on_nap runs later, as always */
    pro_loop_run(loop);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
