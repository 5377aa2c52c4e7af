/* A random program of all operations, and the promise that each completes exactly once.
 *
 * Some connections between two nodes; at random times random operations: receives and sends of all
 * kinds, with and without deadlines, cancels, shutdowns, closes, timers, posts.  What is received must
 * be a prefix of what was sent, whatever was cut where; each operation completes once; at the end
 * nothing is left.  All is drawn from one stream, so a seed is a program. */
#include "scenario.h"

enum { PAIRS = 4, SLOTS = 6, SIZE = 600, ACTIONS = 150, PORT = 5, LOG = 1 << 18 };

struct side;

typedef struct slot {
    pro_op       op;
    struct side *side;
    int          in_flight, canceled, before_close;
    size_t       len;
    char         buf[SIZE];
} slot;

typedef struct side {
    pro_loop   **loop;
    pro_socket   sock;
    slot         slots[SLOTS];
    pro_op       close;
    bool         is_open, closing;
    struct side *peer;
    size_t       sent, received, compared; /* bytes in the logs below */
    int          number;
} side;

static char sent_log[2 * PAIRS][LOG], received_log[2 * PAIRS][LOG];

static struct {
    pro_sim     *world;
    pro_loop    *loops[2];
    pro_address  server;
    pro_listener listener;
    pro_op       accept, stop, tick[2];
    side         sides[2][PAIRS];
    pro_socket   extra;
    slot         extra_slot;
    int          accepted, actions, initiated, completed;
} x;

static slot listener_slot;

static uint32_t draw(uint32_t n) { return pro_sim_choose(x.world, "torture", n); }

/* What this side received so far, and what its peer sent: the shorter is the beginning of the longer.
 * Either may be known first. */
static void compare(side *d)
{
    const char *sent = sent_log[d->peer->number], *received = received_log[d->number];
    size_t      len = d->received < d->peer->sent ? d->received : d->peer->sent;
    if (memcmp(sent + d->compared, received + d->compared, len - d->compared) != 0)
        pro_sim_fail(x.world, "torture: other bytes were received than were sent");
    d->compared = len;
}

static bool begin(slot *t)
{
    if (t->in_flight) return false;
    t->in_flight = 1;
    t->canceled = t->before_close = 0;
    x.initiated++;
    t->op.user = t;
    if (draw(4) == 0) t->op.deadline_ns = pro_loop_now(*t->side->loop) + draw(3000) * PRO_USEC + 1;
    return true;
}

static void finished(slot *t)
{
    if (!t->in_flight) pro_sim_fail(x.world, "torture: an operation completed twice");
    if (t->canceled && t->op.error == PRO_ETIMEDOUT)
        pro_sim_fail(x.world, "torture: a later cause replaced the first");
    t->in_flight = 0;
    x.completed++;
}

static void on_done(pro_op *op) { finished(op->user); }

static void on_received(pro_op *op)
{
    slot *t = op->user;
    side *d = t->side;
    finished(t);
    if (op->value < 0 || (size_t)op->value > t->len)
        pro_sim_fail(x.world, "torture: a receive says %lld", (long long)op->value);
    if (op->error == PRO_OK && op->value == 0 && t->len > 0)
        pro_sim_fail(x.world, "torture: nothing was received, and that is no error");
    if (d->received + (size_t)op->value <= LOG) {
        memcpy(received_log[d->number] + d->received, t->buf, (size_t)op->value);
        d->received += (size_t)op->value;
        compare(d);
    }
    for (size_t i = (size_t)op->value; i < t->len; i++)
        if (t->buf[i] != 0x55)
            pro_sim_fail(x.world, "torture: a byte beyond the value was written");
    pro_sim_sometimes(x.world, "torture: a receive was cut after some bytes",
                      op->error && op->value);
}

static void on_sent(pro_op *op)
{
    slot *t = op->user;
    side *d = t->side;
    finished(t);
    if (op->value < 0 || (size_t)op->value > t->len)
        pro_sim_fail(x.world, "torture: a send says %lld", (long long)op->value);
    if (op->error == PRO_OK && op->value == 0 && t->len > 0)
        pro_sim_fail(x.world, "torture: nothing was sent, and that is no error");
    memcpy(sent_log[d->number] + d->sent, t->buf, (size_t)op->value);
    d->sent += (size_t)op->value;
    compare(d->peer);
    pro_sim_sometimes(x.world, "torture: a send was cut after some bytes", op->error && op->value);
    pro_sim_sometimes(x.world, "torture: a broken pipe", op->error == PRO_EPIPE);
}

static void on_side_closed(pro_op *op)
{
    side *d = op->user;
    for (int i = 0; i < SLOTS; i++)
        if (d->slots[i].in_flight && d->slots[i].before_close)
            pro_sim_fail(x.world, "torture: a close completed before what it canceled");
    d->is_open = false;
    x.completed++;
}

static void transfer(side *d, slot *t)
{
    if (!begin(t)) return;
    t->before_close = !d->closing;
    t->len = draw(8) == 0 ? 0 : 1 + draw(SIZE);
    if (draw(2)) {
        memset(t->buf, 0x55, sizeof t->buf);
        if (draw(3) == 0)
            pro_recv_exactly(&t->op, &d->sock, t->buf, t->len, on_received);
        else
            pro_recv(&t->op, &d->sock, t->buf, t->len, on_received);
        return;
    }
    unsigned salt = (unsigned)x.initiated * 2654435761u;
    for (size_t i = 0; i < t->len; i++) t->buf[i] = (char)((salt >> 24) + i * 7 + (i >> 8));
    if (draw(2)) {
        pro_vec vecs[2] = {{t->buf, t->len / 2}, {t->buf + t->len / 2, t->len - t->len / 2}};
        pro_sendv_all(&t->op, &d->sock, vecs, 2, on_sent);
    } else {
        pro_send_all(&t->op, &d->sock, t->buf, t->len, on_sent);
    }
}

static void act(side *d)
{
    slot *t = &d->slots[draw(SLOTS)];
    if (!d->is_open) return;
    switch (draw(16)) {
    case 0:
        if (draw(4) == 0 && begin(t)) pro_shutdown(&t->op, &d->sock, on_done);
        break;
    case 1:
        if (begin(t)) pro_sleep(&t->op, *d->loop, draw(5000) * PRO_USEC, on_done);
        break;
    case 2:
        if (begin(t)) {
            t->op.deadline_ns = 0;
            pro_post(&t->op, *d->loop, on_done);
        }
        break;
    case 3:
    case 4:
        if (t->in_flight && t->op.deadline_ns > pro_loop_now(*d->loop)) t->canceled = 1;
        pro_cancel(&t->op);
        break;
    case 5:
        if (draw(40) == 0 && !d->closing) {
            d->closing = true;
            x.initiated++;
            d->close.user = d;
            if (draw(2))
                pro_close(&d->close, &d->sock, on_side_closed);
            else
                pro_close_abort(&d->close, &d->sock, on_side_closed);
        }
        break;
    case 6: {
        int error = draw(3) ? PRO_OK : PRO_ECONNRESET;
        if (draw(60) == 0) pro_sim_next_recv(&d->sock, 1 + draw(5), error);
        break;
    }
    default: transfer(d, t); break;
    }
}

static void on_tick(pro_op *op)
{
    int n = op == &x.tick[1];
    for (int i = 0; i < 4; i++) act(&x.sides[n][draw(PAIRS)]);
    if (++x.actions < ACTIONS) {
        pro_sleep(op, x.loops[n], draw(2000) * PRO_USEC, on_tick);
        return;
    }
    for (int i = 0; i < PAIRS; i++) {
        side *d = &x.sides[n][i];
        if (!d->is_open || d->closing) continue;
        d->closing = true;
        x.initiated++;
        d->close.user = d;
        pro_close(&d->close, &d->sock, on_side_closed);
    }
    if (n == 0) {
        x.initiated++;
        x.stop.user = &listener_slot;
        pro_listener_close(&x.stop, &x.listener, on_done);
    }
}

static void on_connected(pro_op *op)
{
    slot *t = op->user;
    finished(t);
    if (op->error == PRO_OK) {
        t->side->is_open = true;
        return;
    }
    x.initiated++; /* a partition, perhaps: again */
    t->in_flight = 1;
    pro_connect(op, &t->side->sock, &x.server, on_connected);
}

static void on_accepted(pro_op *op)
{
    if (op->error == PRO_OK && x.accepted < PAIRS) {
        side *d = &x.sides[0][x.accepted];
        if (pro_accept_take(op, &d->sock, NULL) != PRO_OK) return;
        d->is_open = true;
        pro_address peer; /* which one it is */
        pro_socket_peer(&d->sock, &peer);
        d->peer = &x.sides[1][peer.port - 20000];
        d->peer->peer = d;
        x.accepted++;
    }
    if (op->error == PRO_OK)
        pro_accept(op, &x.listener, on_accepted); /* what is over is not taken */
}

/* One connection more, which the server does not take. */
static void on_extra(pro_op *op)
{
    finished(op->user);
    x.initiated++;
    x.extra_slot.in_flight = 1;
    pro_close(op, &x.extra, on_done);
}

static void server_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    pro_address any = pro_address_any(PRO_IPV4, PORT);
    x.loops[0] = sim_loop_new();
    for (int i = 0; i < PAIRS; i++) x.sides[0][i].loop = &x.loops[0];
    if (pro_listen(&x.listener, x.loops[0], NULL, &any, NULL) != PRO_OK) abort();
    pro_accept(&x.accept, &x.listener, on_accepted);
}

static void client_main(pro_sim_node *node, void *arg)
{
    x.server = pro_sim_node_address(arg, PORT);
    x.loops[1] = sim_loop_new();
    for (int i = 0; i < PAIRS; i++) {
        side       *d = &x.sides[1][i];
        slot       *t = &d->slots[0];
        pro_address from = pro_sim_node_address(node, (uint16_t)(20000 + i));
        d->loop = &x.loops[1];
        if (pro_socket_open(&d->sock, x.loops[1], NULL, PRO_IPV4) != PRO_OK) abort();
        if (pro_socket_bind(&d->sock, &from) != PRO_OK) abort();
        begin(t);
        t->op.deadline_ns = PRO_NEVER;
        pro_connect(&t->op, &d->sock, &x.server, on_connected);
    }
}

static int all_connected(void *arg)
{
    (void)arg;
    int open = 0;
    for (int i = 0; i < PAIRS; i++) open += x.sides[1][i].is_open;
    return x.accepted == PAIRS && open == PAIRS;
}

static void start(void *arg)
{
    (void)arg;
    for (int n = 0; n < 2; n++) pro_post(&x.tick[n], x.loops[n], on_tick);
    x.extra_slot.side = &x.sides[1][0];
    begin(&x.extra_slot);
    pro_socket_init(&x.extra, x.loops[1], NULL);
    pro_connect(&x.extra_slot.op, &x.extra, &x.server, on_extra);
}

void scenario_torture(pro_sim *world)
{
    memset(&x, 0, sizeof x);
    memset(&listener_slot, 0, sizeof listener_slot);
    x.world = world;
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < PAIRS; i++) {
            side *d = &x.sides[n][i];
            d->number = n * PAIRS + i;
            for (int j = 0; j < SLOTS; j++) d->slots[j].side = d;
        }
    listener_slot.in_flight = 1;
    pro_sim_node *server = pro_sim_node_new(world, "server", NULL, server_main, NULL);
    pro_sim_node_new(world, "client", NULL, client_main, server);
    if (!pro_sim_run(world, all_connected, NULL, 3600 * PRO_SEC)) return;
    pro_sim_after(world, 0, start, NULL);
    pro_sim_run_for(world, 10 * PRO_SEC);
    pro_sim_settle(world, 3600 * PRO_SEC);
    if (x.initiated != x.completed)
        pro_sim_fail(world, "torture: %d operations were initiated, %d completed", x.initiated,
                     x.completed);
}
