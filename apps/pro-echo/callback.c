/* The style without anything between: a handler for each thing that can complete. */
#include "echo.h"

struct chain {
    struct session session;
    pro_op         op; /* in flight all the time */
    uint64_t       until_ns;
    char           buf[BUFFER_SIZE];
};

static void receive(struct chain *c);
static void discard(struct chain *c);

/* ---- Lingering ------------------------------------------------------------------------------- */

static void on_discarded(pro_op *op)
{
    struct chain *c = op->user;
    if (op->error == PRO_OK) {
        session_discarded(&c->session, op->value);
        discard(c);
    } else {
        session_end(&c->session, op->error == PRO_ETIMEDOUT ? PRO_OK : op->error);
    }
}

static void discard(struct chain *c)
{
    c->op.deadline_ns = c->until_ns;
    pro_recv(&c->op, &c->session.sock, c->buf, sizeof c->buf, on_discarded);
}

static void on_shut(pro_op *op)
{
    struct chain *c = op->user;
    if (op->error == PRO_OK) {
        discard(c);
    } else {
        session_end(&c->session, op->error);
    }
}

static void linger(struct chain *c)
{
    c->until_ns = session_lingers(&c->session);
    pro_shutdown(&c->op, &c->session.sock, on_shut);
}

/* ---- Echoing --------------------------------------------------------------------------------- */

static void on_sent(pro_op *op)
{
    struct chain *c = op->user;
    session_sent(&c->session, op->value);
    if (op->error == PRO_OK) {
        receive(c);
    } else {
        session_end(&c->session, op->error);
    }
}

static void on_received(pro_op *op)
{
    struct chain *c = op->user;
    if (op->error == PRO_OK) {
        session_received(&c->session, op->value);
        op->deadline_ns = session_sends(&c->session);
        pro_send_all(op, &c->session.sock, c->buf, (size_t)op->value, on_sent);
    } else if (session_again(&c->session, op->error)) {
        receive(c);
    } else if (op->error == PRO_ETIMEDOUT) {
        linger(c);
    } else {
        session_end(&c->session, op->error);
    }
}

static void receive(struct chain *c)
{
    c->op.deadline_ns = session_receives(&c->session);
    pro_recv(&c->op, &c->session.sock, c->buf, sizeof c->buf, on_received);
}

static int start(struct session *s)
{
    struct chain *c = pro_container_of(s, struct chain, session);
    c->op.user = c;
    receive(c);
    return PRO_OK;
}

const struct style style_callback = {
    .name = "callback",
    .session_size = sizeof(struct chain),
    .start = start,
};
