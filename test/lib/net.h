/* Operations that remember how they completed, and connected sockets to try them on. */
#ifndef TEST_LIB_NET_H
#define TEST_LIB_NET_H

#include "lib/form.h"
#include "lib/peer.h"
#include "lib/test.h"

/* An operation and what its completions said.  Its handler is t_done, which checks what holds for
 * every completion, takes notes, and calls then. */
typedef struct t_op {
    pro_op   op;
    int      done; /* completions */
    int      error;
    int64_t  value;
    unsigned flags;
    int      order; /* its last completion, among all of the sentence: 1, 2, 3, ... */
    void (*then)(struct t_op *t);
    void *ctx;
} t_op;

void  t_done(pro_op *op);
t_op *t_of(pro_op *op);

/* How many completions t_done saw so far in this sentence. */
int t_completions(void);

#define t_new_op() t_new(t_op)

/* Run until the operation has completed (once more than `done` says at the call). */
void t_wait(pro_loop *loop, t_op *t);

/* It has completed once, with this. */
#define CHECK_DONE(t, want_error, want_value)                                                      \
    do {                                                                                           \
        CHECK_EQ((t)->done, 1);                                                                    \
        CHECK_ERROR((t)->error, (want_error));                                                     \
        CHECK_EQ((t)->value, (want_value));                                                        \
    } while (0)

/* Listen on a free port of the loopback; the address. */
pro_address t_listen(pro_loop *loop, pro_listener *l);

/* Two sockets of the loop, connected with each other over the loopback. */
typedef struct t_pair {
    pro_socket a, b;
} t_pair;

t_pair *t_pair_new(pro_loop *loop);
t_pair *t_pair_in(pro_loop *loop, pro_scope *a_scope, pro_scope *b_scope);

/* One with small buffers in the kernel: less than CLOG_LEN fills it. */
t_pair *t_pair_narrow(pro_loop *loop);

/* A socket of the loop, connected with a raw one. */
peer t_raw_pair(pro_loop *loop, pro_socket *s);

/* Close and wait until it has. */
void t_close(pro_loop *loop, pro_socket *s);
void t_pair_close(pro_loop *loop, t_pair *pair);
void t_listener_close(pro_loop *loop, pro_listener *l);

/* Send all of buf from a to b, where nobody but this reads, and wait until a first part went: on return
 * *stuck is in flight, and one byte was received.  len: CLOG_LEN for a narrow pair. */
#define CLOG_LEN ((size_t)4 << 20)
void t_clog(pro_loop *loop, t_pair *pair, t_op *stuck, const void *buf, size_t len);

/* A datagram socket of the loop, bound to a free port of the loopback; where that is.  Skips the sentence where
 * there is no such. */
pro_address t_bound(pro_loop *loop, pro_datagram *d, pro_family family);

/* Close and wait; send and wait for it. */
void t_datagram_close(pro_loop *loop, pro_datagram *d);
void t_datagram_send(pro_loop *loop, pro_datagram *d, const void *buf, size_t len,
                     const pro_address *to);

#endif
