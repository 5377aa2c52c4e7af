/* The style for those who count bytes: one handler for all operations, which goes on where it was. */
#include "echo.h"

struct place {
    struct session session;
    pro_op         op;
    pro_place      place;
    uint64_t       until_ns;
    char           buf[BUFFER_SIZE];
};

static void echo(pro_op *op)
{
    struct place   *p = op->user;
    struct session *s = &p->session;
    PRO_BEGIN(&p->place);
    for (;;) {
        op->deadline_ns = session_receives(s);
        PRO_AWAIT(&p->place, pro_recv(op, &s->sock, p->buf, sizeof p->buf, echo));
        if (session_again(s, op->error)) continue;
        if (op->error != PRO_OK) break;
        session_received(s, op->value);
        op->deadline_ns = session_sends(s);
        PRO_AWAIT(&p->place, pro_send_all(op, &s->sock, p->buf, (size_t)op->value, echo));
        session_sent(s, op->value);
        if (op->error != PRO_OK) break;
    }
    if (s->is_receiving && op->error == PRO_ETIMEDOUT) { /* idle: end our side, and discard */
        p->until_ns = session_lingers(s);
        PRO_AWAIT(&p->place, pro_shutdown(op, &s->sock, echo));
        while (op->error == PRO_OK) {
            op->deadline_ns = p->until_ns;
            PRO_AWAIT(&p->place, pro_recv(op, &s->sock, p->buf, sizeof p->buf, echo));
            session_discarded(s, op->value);
        }
        session_end(s, op->error == PRO_ETIMEDOUT ? PRO_OK : op->error);
    } else {
        session_end(s, op->error);
    }
    PRO_END(&p->place);
}

static int start(struct session *s)
{
    struct place *p = pro_container_of(s, struct place, session);
    p->op.user = p;
    echo(&p->op); /* up to its first await */
    return PRO_OK;
}

const struct style style_stackless = {
    .name = "stackless",
    .session_size = sizeof(struct place),
    .start = start,
};
