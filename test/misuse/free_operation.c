/* Freeing a session whose operation is in flight.  Without AddressSanitizer it is noticed when the
 * memory has other contents.
 *
 * where: asan debug
 * asan says: bytes are freed, and in them is an operation in flight: recv, initiated at {initiated}
 * asan says: #\d .* in on_tick .*{violated}
 * debug says: while it was the library's: an operation in flight: recv, initiated at {initiated}
 * debug says: noticed after the handler of timer, initiated at {tick}
 */
#include "misuse.h"

struct session {
    pro_op op;
    char   buf[64];
};

static pro_socket a, b;

static void on_tick(pro_op *op)
{
    free(op->user); /* violated */
    memset(malloc(sizeof(struct session)), 0x5a, sizeof(struct session));
}

int main(void)
{
    pro_loop       *loop = make_loop();
    struct session *s = calloc(1, sizeof *s);
    pro_op          tick = {.user = s};
    make_pair(loop, &a, &b);
    pro_recv(&s->op, &a, s->buf, sizeof s->buf, ignore); /* initiated */
    pro_sleep(&tick, loop, 0, on_tick);                  /* tick */
    pro_loop_run_once(loop);
    return 0;
}
