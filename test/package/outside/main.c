/* A program that knows proactor only as installed: this same text as C11 and as C++17.
 * A socket says a word to its own listener and hears it again, after a timer and a post. */
#include <proactor.h>

#include <stdio.h>
#include <string.h>

static pro_loop    *loop;
static pro_listener listener;
static pro_socket   client, server;
static pro_op       op, accepting, serving, listening;
static char         word[] = "outside", heard[sizeof word], echoed[sizeof word];
static int          steps, failed;

static void check(const pro_op *o, int64_t value)
{
    steps++;
    if (o->error == PRO_OK && o->value == value) return;
    printf("outside: %s at %s: %s\n", pro_op_name(o), pro_op_site(o), pro_error_name(o->error));
    failed = 1;
}

static void on_closed(pro_op *o) { check(o, 0); }

static void on_echoed(pro_op *o)
{
    check(o, sizeof word);
    pro_close(o, &server, on_closed);
}

static void on_served(pro_op *o)
{
    check(o, sizeof word);
    pro_send_all(o, &server, echoed, sizeof echoed, on_echoed);
}

static void on_accepted(pro_op *o)
{
    check(o, 0);
    if (pro_accept_take(o, &server, NULL) != PRO_OK) failed = 1;
    pro_recv_exactly(&serving, &server, echoed, sizeof echoed, on_served);
    pro_listener_close(&listening, &listener, on_closed);
}

static void on_heard(pro_op *o)
{
    check(o, sizeof word);
    if (memcmp(word, heard, sizeof word) != 0) failed = 1;
    pro_close(o, &client, on_closed);
}

static void on_said(pro_op *o)
{
    check(o, sizeof word);
    pro_recv_exactly(o, &client, heard, sizeof heard, on_heard);
}

static void on_connected(pro_op *o)
{
    check(o, 0);
    pro_send_all(o, &client, word, sizeof word, on_said);
}

static void on_posted(pro_op *o)
{
    pro_address address;
    check(o, 0);
    pro_listener_local(&listener, &address);
    pro_socket_init(&client, loop, NULL);
    pro_connect(o, &client, &address, on_connected);
}

static void on_time(pro_op *o)
{
    check(o, 0);
    pro_post(o, loop, on_posted);
}

int main(void)
{
    pro_loop_options options;
    pro_address      address = pro_address_loopback(PRO_IPV4, 0);
    memset(&options, 0, sizeof options);
    options.version = PRO_VERSION;

    int error = pro_loop_new(&loop, &options);
    if (error == PRO_OK) error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error != PRO_OK) {
        printf("outside: %s\n", pro_error_name(error));
        return 1;
    }
    pro_accept(&accepting, &listener, on_accepted);
    pro_sleep(&op, loop, PRO_MSEC, on_time);
    pro_loop_run(loop);
    if (pro_loop_free(loop) != PRO_OK || failed || steps != 11) {
        printf("outside: %d of 11 steps\n", steps);
        return 1;
    }
    printf("outside: ok, %d.%d.%d\n", PRO_VERSION_MAJOR, PRO_VERSION_MINOR, PRO_VERSION_PATCH);
    return 0;
}
