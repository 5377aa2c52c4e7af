/* Pairs and pipes: two sockets of one node that are connected from the beginning (ADR 21: a pipe is a socket).
 *
 * A pair is what a connection is, over the node's link to itself, with no addresses.  A pipe has one
 * direction, and other ends: when its reader is closed the writer is told of a broken pipe, and never of a
 * reset; what the writer has written is read to its end.  To abort either is to close it. */
#include "engine/sim/net.h"

static sim_socket *new_end(pro_sim *w, pro_sim_node *node)
{
    sim_socket *s = pri_sim_socket_new(w, node, false);
    s->state = SOCK_CONNECTED;
    s->flags |= SOCK_TAKEN | SOCK_PAIR;
    s->in = s->out = pri_sim_link_of(w, node, node);
    s->pipe.limit = s->in->is.buffer;
    node->handles++;
    return s;
}

int pri_sim_pair(const pro_env *env, int what, int nonblocking, intptr_t fds[2])
{
    (void)nonblocking;
    int fault = pri_os_fault(env, what == PRI_OS_PIPE ? "pipe" : "socketpair");
    if (fault) return fault;
    if (what == PRI_OS_DATAGRAM_PAIR) return -PRI_SIM_EOPNOTSUPP;
    sim_loop     *l = pri_loop_engine_state(env->ctx);
    pro_sim      *w = l->world;
    pro_sim_node *node = l->node;
    if ((node->handles_max && node->handles + 2 > node->handles_max) ||
        (!w->healed && pri_sim_strikes(w, &node->stream, PRO_SIM_HANDLES)))
        return -PRI_SIM_EMFILE;
    sim_socket *a = new_end(w, node), *b = new_end(w, node);
    a->peer = b->id;
    b->peer = a->id;
    if (what == PRI_OS_PIPE) {
        a->flags |= SOCK_READER;
        b->flags |= SOCK_WRITER;
    }
    fds[0] = PRI_SIM_FD_BASE + (intptr_t)a->id;
    fds[1] = PRI_SIM_FD_BASE + (intptr_t)b->id;
    return 0;
}

int pri_sim_look(const sim_socket *s)
{
    if (s->flags & SOCK_READER) return PRI_OS_PLAIN | PRI_OS_NO_WRITE;
    return s->flags & SOCK_WRITER ? PRI_OS_PLAIN | PRI_OS_NO_READ : 0;
}

void pri_sim_reader_gone(pro_sim *w, sim_socket *reader)
{
    sim_socket *writer = pri_sim_socket(w, reader->peer);
    if (!writer) return;
    reader->peer = writer->peer = PRI_SIM_NONE;
    writer->flags |= SOCK_BROKEN;
    pri_sim_try_soon(w, writer, PRI_SIM_WRITE);
}
