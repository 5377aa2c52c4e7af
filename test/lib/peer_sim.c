/* Peers in a simulated world, on the public API: sockets of two loops that only these calls run.
 *
 * While a call waits the world goes on, but the loops of the sentence do not turn, as they do not while a
 * call of the system blocks.  After a call some time passes, so that what it sent is there, as it is over
 * a real loopback, unless the weather is bad. */
#include "lib/peer_sim.h"

#include "lib/sim.h"

typedef struct sim_peer sim_peer;

struct sim_peer {
    sim_peer    *next;
    intptr_t     fd;
    pro_loop    *loop;
    bool         is_listener, is_adopted;
    pro_socket   sock;
    pro_listener listener;
};

/* ---- Waiting for one operation ---------------------------------------------------------------- */

typedef struct call {
    pro_op op;
    bool   is_over;
} call;

static void on_over(pro_op *op) { pro_container_of(op, call, op)->is_over = true; }

static int wait_for(pro_loop *loop, call *c)
{
    while (!c->is_over)
        if (pro_loop_run_once(loop) < 0) FAIL("peer: a turn of its loop failed");
    return c->op.error;
}

static void settle(void) { t_world_sleep(PRO_MSEC); }

#define PEER_CHECK(what, error)                                                                    \
    do {                                                                                           \
        int error_ = (error);                                                                      \
        if (error_ != PRO_OK) FAIL("peer: %s: %s", what, pro_error_name(error_));                  \
    } while (0)

/* ---- Which one -------------------------------------------------------------------------------- */

static sim_peer *peer_new(pro_loop *loop)
{
    sim_peer *p = t_new(sim_peer);
    p->loop = loop;
    p->next = t_world_here()->peers;
    t_world_here()->peers = p;
    return p;
}

static void forget(sim_peer *p)
{
    sim_peer **at = &t_world_here()->peers;
    while (*at != p) at = &(*at)->next;
    *at = p->next;
}

/* A descriptor that nobody has adopted as yet is adopted here when it is used; so it may be adopted
 * twice, which the sentence in question wants to see. */
static sim_peer *find(peer fd)
{
    for (sim_peer *p = t_world_here()->peers; p; p = p->next)
        if (p->fd == fd) return p;
    sim_peer *p = peer_new(t_world_here()->near_loop);
    p->fd = fd;
    p->is_adopted = true;
    PEER_CHECK("adopt", pro_socket_adopt(&p->sock, p->loop, NULL, fd));
    return p;
}

/* ---- Listening, connecting --------------------------------------------------------------------- */

static sim_peer *listen_on(pro_loop *loop, pro_address *address)
{
    sim_peer *p = peer_new(loop);
    p->is_listener = true;
    PEER_CHECK("listen", pro_listen(&p->listener, loop, NULL, address, NULL));
    PEER_CHECK("local", pro_listener_local(&p->listener, address));
    p->fd = pro_listener_descriptor(&p->listener);
    return p;
}

peer sim_listen(pro_address *address)
{
    *address = pro_sim_node_address(t_world_here()->far, 0);
    return listen_on(t_world_here()->far_loop, address)->fd;
}

typedef struct taking {
    call      call;
    sim_peer *into; /* NULL: only its descriptor */
    intptr_t  fd;
} taking;

static void on_taken(pro_op *op)
{
    taking *t = pro_container_of(op, taking, call.op);
    if (op->error == PRO_OK && t->into)
        op->error = pro_accept_take(op, &t->into->sock, NULL);
    else if (op->error == PRO_OK)
        t->fd = pro_accept_take_descriptor(op);
    t->call.is_over = true;
}

peer sim_accept(peer listener)
{
    sim_peer *l = find(listener), *p = peer_new(l->loop);
    taking   *t = t_new(taking);
    t->into = p;
    pro_accept(&t->call.op, &l->listener, on_taken);
    PEER_CHECK("accept", wait_for(l->loop, &t->call));
    p->fd = pro_socket_descriptor(&p->sock);
    return p->fd;
}

static sim_peer *connect_on(pro_loop *loop, const pro_address *address)
{
    sim_peer *p = peer_new(loop);
    call     *c = t_new(call);
    pro_socket_init(&p->sock, loop, NULL);
    pro_connect(&c->op, &p->sock, address, on_over);
    PEER_CHECK("connect", wait_for(loop, c));
    p->fd = pro_socket_descriptor(&p->sock);
    return p;
}

peer sim_connect(const pro_address *address)
{
    sim_peer *p = connect_on(t_world_here()->near_loop, address);
    settle();
    return p->fd;
}

void sim_pair(peer pair[2])
{
    pro_loop   *loop = t_world_here()->near_loop;
    pro_address address = pro_address_loopback(PRO_IPV4, 0);
    sim_peer   *l = listen_on(loop, &address);
    taking     *t = t_new(taking);
    pro_accept(&t->call.op, &l->listener, on_taken);
    pair[1] = connect_on(loop, &address)->fd;
    PEER_CHECK("accept", wait_for(loop, &t->call));
    pair[0] = t->fd;
    sim_close(l->fd, false);
}

/* ---- Bytes ------------------------------------------------------------------------------------- */

static bool is_broken(int error)
{
    return error == PRO_ECONNRESET || error == PRO_EPIPE || error == PRO_ETIMEDOUT;
}

static int64_t receive(peer fd, void *buf, size_t len, bool is_exact)
{
    sim_peer *p = find(fd);
    call     *c = t_new(call);
    if (is_exact)
        pro_recv_exactly(&c->op, &p->sock, buf, len, on_over);
    else
        pro_recv(&c->op, &p->sock, buf, len, on_over);
    int error = wait_for(p->loop, c);
    if (is_broken(error)) return -1;
    if (error != PRO_EOF) PEER_CHECK("recv", error);
    return c->op.value;
}

int64_t sim_read(peer p, void *buf, size_t len) { return receive(p, buf, len, false); }
int64_t sim_read_exactly(peer p, void *buf, size_t len) { return receive(p, buf, len, true); }

bool sim_write(peer fd, const void *buf, size_t len)
{
    sim_peer *p = find(fd);
    call     *c = t_new(call);
    pro_send_all(&c->op, &p->sock, buf, len, on_over);
    int error = wait_for(p->loop, c);
    if (!is_broken(error)) PEER_CHECK("send", error);
    settle();
    return error == PRO_OK;
}

/* ---- Ends -------------------------------------------------------------------------------------- */

void sim_shutdown(peer fd)
{
    sim_peer *p = find(fd);
    call     *c = t_new(call);
    pro_shutdown(&c->op, &p->sock, on_over);
    PEER_CHECK("shutdown", wait_for(p->loop, c));
    settle();
}

static void close_peer(sim_peer *p, bool abortive)
{
    call c = {.is_over = false};
    if (p->is_listener)
        pro_listener_close(&c.op, &p->listener, on_over);
    else if (abortive)
        pro_close_abort(&c.op, &p->sock, on_over);
    else
        pro_close(&c.op, &p->sock, on_over);
    wait_for(p->loop, &c);
    forget(p);
}

void sim_close(peer fd, bool abortive)
{
    close_peer(find(fd), abortive);
    settle();
}

void t_world_close_peers(t_world *w)
{
    while (w->peers) close_peer(w->peers, false);
}

/* ---- Addresses --------------------------------------------------------------------------------- */

bool sim_silence_begin(peer_silence *silence)
{
    t_world *w = t_world_here();
    silence->listener = sim_listen(&silence->address);
    pro_sim_partition(w->machine, w->far);
    return true;
}

void sim_silence_end(peer_silence *silence)
{
    t_world *w = t_world_here();
    pro_sim_unpartition(w->machine, w->far);
    sim_close(silence->listener, false);
}

pro_address sim_nobody(void)
{
    pro_address address = pro_address_loopback(PRO_IPV4, 0);
    sim_close(listen_on(t_world_here()->near_loop, &address)->fd, false);
    return address;
}
