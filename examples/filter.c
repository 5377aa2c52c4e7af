/* A filter: what comes on standard input goes, in capitals, to standard output.
 *
 *     echo hello | filter          ls | filter > file          filter          (and type)
 *
 * What to see here: the standard streams are sockets in the library's sense, whatever the shell has made
 * of them: a terminal, a pipe, a file.  They are opened once more, so that the shell finds its terminal as
 * it was.  Nobody reads any more (filter | head -1)?  That is PRO_EPIPE at the handler, and no signal. */
#include <proactor.h>

#include <ctype.h>
#include <stdio.h>

static pro_loop  *loop;
static pro_socket in, out;
static pro_op     op;
static int        outcome;
static char       buf[65536];

static void on_received(pro_op *done);

static void end(int error)
{
    outcome = error == PRO_EOF ? PRO_OK : error;
    pro_scope_close(pro_loop_scope(loop)); /* closes both */
}

static void on_sent(pro_op *done)
{
    if (done->error != PRO_OK)
        end(done->error);
    else
        pro_recv(&op, &in, buf, sizeof buf, on_received);
}

static void on_received(pro_op *done)
{
    if (done->error != PRO_OK) {
        end(done->error);
        return;
    }
    for (int64_t i = 0; i < done->value; i++) buf[i] = (char)toupper((unsigned char)buf[i]);
    pro_send_all(&op, &out, buf, (size_t)done->value, on_sent);
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "filter: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "usage: filter\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_socket_standard(&in, loop, NULL, PRO_STDIN);
    if (error != PRO_OK) return fail("standard input", error);
    error = pro_socket_standard(&out, loop, NULL, PRO_STDOUT);
    if (error != PRO_OK) return fail("standard output", error);
    pro_recv(&op, &in, buf, sizeof buf, on_received);
    int64_t ran = pro_loop_run(loop);
    if (ran < 0) return fail("the engine failed", (int)ran);
    if (outcome != PRO_OK) return fail("cannot go on", outcome);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
