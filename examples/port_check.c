/* Port check: is there somebody who answers?
 *
 *     port_check HOST PORT [HOST PORT]...
 *
 * What to see here: a host is connected to by its name in one operation, which looks it up, tries its IPv6
 * and IPv4 addresses by turns (happy eyeballs), and has one deadline over all of that.  All hosts
 * are asked at once, each with its own socket and operation. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_NS (3 * PRO_SEC)

struct check {
    pro_socket  sock;
    pro_op      op;
    const char *host, *port;
};

static int closed;

static void on_closed(pro_op *op) { (void)op; }

static void on_connected(pro_op *op)
{
    struct check *c = op->user;
    pro_address   peer;
    char          text[PRO_ADDRESS_TEXT_MAX];
    if (op->error == PRO_OK && pro_socket_peer(&c->sock, &peer) == PRO_OK) {
        pro_address_format(&peer, text, sizeof text);
        printf("%s %s: open at %s\n", c->host, c->port, text);
    } else {
        printf("%s %s: %s\n", c->host, c->port, pro_error_text(op->error));
        closed++;
    }
    pro_close(op, &c->sock, on_closed);
}

int main(int argc, char **argv)
{
    pro_loop *loop;
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: port_check HOST PORT [HOST PORT]...\n");
        return 2;
    }
    int           count = argc / 2;
    struct check *checks = calloc((size_t)count, sizeof *checks);
    int           error = checks ? pro_loop_new(&loop, NULL) : PRO_ENOMEM;
    if (error != PRO_OK) {
        fprintf(stderr, "port_check: cannot make a loop: %s\n", pro_error_text(error));
        return 1;
    }
    for (int i = 0; i < count; i++) {
        struct check *c = &checks[i];
        c->host = argv[1 + 2 * i];
        c->port = argv[2 + 2 * i];
        c->op.user = c;
        c->op.deadline_ns = pro_loop_now(loop) + PATIENCE_NS;
        pro_socket_init(&c->sock, loop, NULL);
        pro_connect_host(&c->op, &c->sock, c->host, c->port, on_connected);
    }
    pro_loop_run(loop);
    if (pro_loop_free(loop) != PRO_OK) return 1;
    free(checks);
    return closed > 0;
}
