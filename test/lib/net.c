/* lib/net.h, on the public API. */
#include "lib/net.h"

#include "lib/run.h"

/* ---- Operations ------------------------------------------------------------------------------ */

/* Handlers on the stack of this thread. */
static _Thread_local int inside;

bool t_in_handler(void) { return inside > 0; }
void t_no_handler(void) { inside = 0; }

t_op *t_of(pro_op *op) { return pro_container_of(op, t_op, op); }

int t_completions(void) { return atomic_load(&t_current->completions); }

void t_done(pro_op *op)
{
    t_run_state *run = t_current;
    t_op        *t = t_of(op);
    if (inside++ != 0) FAIL_FIRMLY("the handler of a %s ran inside another call", pro_op_name(op));
    if (op->deadline_ns != PRO_NEVER && !(op->flags & PRO_MORE))
        FAIL_FIRMLY("a deadline was not consumed by its handler");
    if (pro_op_in_flight(op) != ((op->flags & PRO_MORE) != 0))
        FAIL_FIRMLY("in its handler a %s is in flight: %d", pro_op_name(op), pro_op_in_flight(op));
    if (op->error > 0) FAIL_FIRMLY("an error above zero: %d", (int)op->error);
    if (op->error == PRO_EAGAIN) FAIL_FIRMLY("would-block leaked out of a %s", pro_op_name(op));
    t->done++;
    t->error = op->error;
    t->value = op->value;
    t->flags = op->flags;
    t->order = atomic_fetch_add(&run->completions, 1) + 1;
    if (t->then != NULL) t->then(t); /* which may have freed it */
    inside--;
}

void t_wait(pro_loop *loop, t_op *t) { t_wait_count(loop, &t->done, t->done + 1); }

/* ---- Sockets --------------------------------------------------------------------------------- */

pro_address t_listen(pro_loop *loop, pro_listener *l)
{
    pro_address address = pro_address_loopback(PRO_IPV4, 0);
    CHECK_ERROR(pro_listen(l, loop, NULL, &address, NULL), PRO_OK);
    CHECK_ERROR(pro_listener_local(l, &address), PRO_OK);
    CHECK(address.port != 0);
    return address;
}

/* Small, but not so small that the kernel drops whole segments and waits for its timers. */
#define SMALL (256 * 1024)

struct taken {
    t_op        accept;
    pro_socket *s;
    pro_scope  *scope;
    bool        narrow;
};

static void take(t_op *t)
{
    struct taken *taken = pro_container_of(t, struct taken, accept);
    CHECK_ERROR(t->error, PRO_OK);
    CHECK_ERROR(pro_accept_take(&t->op, taken->s, taken->scope), PRO_OK);
    if (taken->narrow) CHECK_ERROR(pro_socket_set(taken->s, PRO_OPT_RECV_BUFFER, SMALL), PRO_OK);
}

static t_pair *pair_of(pro_loop *loop, pro_scope *a_scope, pro_scope *b_scope, bool narrow)
{
    t_pair       *pair = t_new(t_pair);
    pro_listener *l = t_new(pro_listener);
    struct taken *taken = t_new(struct taken);
    t_op         *connect = t_new_op();
    pro_address   address = t_listen(loop, l);

    CHECK_ERROR(pro_socket_open(&pair->a, loop, a_scope, PRO_IPV4), PRO_OK);
    if (narrow) CHECK_ERROR(pro_socket_set(&pair->a, PRO_OPT_SEND_BUFFER, SMALL / 4), PRO_OK);
    taken->s = &pair->b;
    taken->scope = b_scope;
    taken->narrow = narrow;
    taken->accept.then = take;
    pro_accept(&taken->accept.op, l, t_done);
    pro_connect(&connect->op, &pair->a, &address, t_done);
    t_wait_count(loop, &connect->done, 1);
    t_wait_count(loop, &taken->accept.done, 1);
    CHECK_ERROR(connect->error, PRO_OK);
    t_listener_close(loop, l);
    return pair;
}

t_pair *t_pair_new(pro_loop *loop) { return pair_of(loop, NULL, NULL, false); }
t_pair *t_pair_narrow(pro_loop *loop) { return pair_of(loop, NULL, NULL, true); }

t_pair *t_pair_in(pro_loop *loop, pro_scope *a_scope, pro_scope *b_scope)
{
    return pair_of(loop, a_scope, b_scope, false);
}

peer t_raw_pair(pro_loop *loop, pro_socket *s)
{
    pro_address address;
    t_op       *connect = t_new_op();
    peer        listener = peer_listen(&address);
    pro_socket_init(s, loop, NULL);
    pro_connect(&connect->op, s, &address, t_done);
    t_wait_count(loop, &connect->done, 1);
    CHECK_ERROR(connect->error, PRO_OK);
    peer raw = peer_accept(listener);
    peer_close(listener);
    return raw;
}

void t_close(pro_loop *loop, pro_socket *s)
{
    t_op *close = t_new_op();
    pro_close(&close->op, s, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
}

void t_pair_close(pro_loop *loop, t_pair *pair)
{
    t_close(loop, &pair->a);
    t_close(loop, &pair->b);
}

void t_listener_close(pro_loop *loop, pro_listener *l)
{
    t_op *close = t_new_op();
    pro_listener_close(&close->op, l, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
}

void t_clog(pro_loop *loop, t_pair *pair, t_op *stuck, const void *buf, size_t len)
{
    t_op *first = t_new_op();
    char *byte = t_alloc(1);
    pro_send_all(&stuck->op, &pair->a, buf, len, t_done);
    pro_recv(&first->op, &pair->b, byte, 1, t_done);
    t_wait_count(loop, &first->done, 1);
    CHECK_DONE(first, PRO_OK, 1);
    CHECK_EQ(stuck->done, 0);
}

pro_address t_bound(pro_loop *loop, pro_datagram *d, pro_family family)
{
    int         error = pro_datagram_open(d, loop, NULL, family);
    pro_address at = pro_address_loopback(family, 0);
    if (error == PRO_ENOTSUP) t_skip("this engine has no datagrams yet");
    if (error == PRO_EAFNOSUPPORT) t_skip("no such family here");
    CHECK_ERROR(error, PRO_OK);
    error = pro_datagram_bind(d, &at);
    if (family == PRO_IPV6 && error == PRO_EADDRNOTAVAIL) t_skip("no IPv6 here");
    CHECK_ERROR(error, PRO_OK);
    CHECK_ERROR(pro_datagram_local(d, &at), PRO_OK);
    CHECK(at.port != 0);
    return at;
}

void t_datagram_close(pro_loop *loop, pro_datagram *d)
{
    t_op *close = t_new_op();
    pro_datagram_close(&close->op, d, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
}

void t_datagram_send(pro_loop *loop, pro_datagram *d, const void *buf, size_t len,
                     const pro_address *to)
{
    t_op *send = t_new_op();
    pro_send_to(&send->op, d, buf, len, to, t_done);
    t_wait_count(loop, &send->done, 1);
    CHECK_DONE(send, PRO_OK, (int64_t)len);
}
