/* The form in which a sentence's initiating calls are made: --form.
 *
 *     callback   pro_recv(op, s, buf, len, done), as it is written
 *     await      a coroutine says pro_await_recv_by(s, buf, len, op->deadline_ns), puts what it gave into op,
 *                and calls done(op)
 *     own        a coroutine initiates pro_recv(op, s, buf, len, pro_awake), says pro_await(op), and
 *                calls done(op)
 *
 * The sentence does not see a difference: the call is made before the macro is over, done runs
 * once, on the loop's thread, pro_cancel and pro_op_in_flight mean what awaits in op's place, and
 * pro_scope_live leaves out the coroutines that stand for callbacks.  So every assertion about a callback
 * holds for what awaits, or the sentence fails.
 *
 * Not awaited, in any form, since there is no way to: pro_post (its handler may be another thread's) and
 * pro_accept_multi (completes many times).  pro_await_accept takes the connection by itself, which
 * sentences leave to their handlers: with --form=await an accept is awaited as with --form=own.  And where a
 * coroutine cannot be had (pro_go says PRO_ENOMEM) the call is made as written. */
#ifndef TEST_LIB_FORM_H
#define TEST_LIB_FORM_H

#include <stdbool.h>

#include <proactor.h>

typedef enum t_form { T_FORM_CALLBACK, T_FORM_AWAIT, T_FORM_OWN } t_form;

/* Of all sentences; from the runner, before the first. */
void t_form_set(t_form form);

typedef enum t_call_kind {
    T_CONNECT,
    T_RECV,
    T_RECV_EXACTLY,
    T_SEND,
    T_SEND_ALL,
    T_RECVV,
    T_RECVV_EXACTLY,
    T_SENDV,
    T_SENDV_ALL,
    T_SHUTDOWN,
    T_CLOSE,
    T_CLOSE_ABORT,
    T_ACCEPT,
    T_LISTENER_CLOSE,
    T_RECV_FROM,
    T_SEND_TO,
    T_RECVV_FROM,
    T_SENDV_TO,
    T_RECV_BATCH,
    T_SEND_BATCH,
    T_DATAGRAM_CLOSE,
    T_POLL,
    T_POLLABLE_CLOSE,
    T_TIMER_START,
    T_SLEEP,
    T_SIGNAL_WAIT
} t_call_kind;

/* An initiating call. */
typedef struct t_call {
    t_call_kind        kind;
    const char        *site;
    pro_op            *op;
    pro_handler       *done;
    pro_socket        *s; /* one of these five */
    pro_listener      *l;
    pro_pollable      *p;
    pro_datagram      *d;
    pro_loop          *loop;
    const pro_address *address;
    pro_address       *from;
    pro_message       *messages;
    void              *in;
    const void        *out;
    const pro_vec     *vecs;
    size_t             len; /* or how many vectors, or messages */
    uint64_t           ns;
    uint32_t           what;
    int                number;
} t_call;

void     t_initiate(const t_call *call);
void     t_cancel(pro_op *op);
int      t_in_flight(const pro_op *op);
uint32_t t_scope_live(const pro_scope *scope);

#define T_CALL(what, op_, done_, ...)                                                              \
    t_initiate(                                                                                    \
        &(t_call){.kind = T_##what, .site = PRO_SITE, .op = (op_), .done = (done_), __VA_ARGS__})

#undef pro_connect
#undef pro_recv
#undef pro_recv_exactly
#undef pro_send
#undef pro_send_all
#undef pro_recvv
#undef pro_recvv_exactly
#undef pro_sendv
#undef pro_sendv_all
#undef pro_shutdown
#undef pro_close
#undef pro_close_abort
#undef pro_accept
#undef pro_listener_close
#undef pro_recv_from
#undef pro_send_to
#undef pro_recvv_from
#undef pro_sendv_to
#undef pro_recv_batch
#undef pro_send_batch
#undef pro_datagram_close
#undef pro_poll
#undef pro_pollable_close
#undef pro_timer_start
#undef pro_sleep
#undef pro_signal_wait

/* clang-format off: a table */
#define pro_connect(o, sock, a, d) T_CALL(CONNECT, o, d, .s = (sock), .address = (a))
#define pro_recv(o, sock, b, n, d) T_CALL(RECV, o, d, .s = (sock), .in = (b), .len = (n))
#define pro_recv_exactly(o, sock, b, n, d)                                                         \
    T_CALL(RECV_EXACTLY, o, d, .s = (sock), .in = (b), .len = (n))
#define pro_send(o, sock, b, n, d) T_CALL(SEND, o, d, .s = (sock), .out = (b), .len = (n))
#define pro_send_all(o, sock, b, n, d) T_CALL(SEND_ALL, o, d, .s = (sock), .out = (b), .len = (n))
#define pro_recvv(o, sock, v, n, d) T_CALL(RECVV, o, d, .s = (sock), .vecs = (v), .len = (n))
#define pro_recvv_exactly(o, sock, v, n, d)                                                        \
    T_CALL(RECVV_EXACTLY, o, d, .s = (sock), .vecs = (v), .len = (n))
#define pro_sendv(o, sock, v, n, d) T_CALL(SENDV, o, d, .s = (sock), .vecs = (v), .len = (n))
#define pro_sendv_all(o, sock, v, n, d)                                                            \
    T_CALL(SENDV_ALL, o, d, .s = (sock), .vecs = (v), .len = (n))
#define pro_shutdown(o, sock, d) T_CALL(SHUTDOWN, o, d, .s = (sock))
#define pro_close(o, sock, d) T_CALL(CLOSE, o, d, .s = (sock))
#define pro_close_abort(o, sock, d) T_CALL(CLOSE_ABORT, o, d, .s = (sock))
#define pro_accept(o, listener, d) T_CALL(ACCEPT, o, d, .l = (listener))
#define pro_listener_close(o, listener, d) T_CALL(LISTENER_CLOSE, o, d, .l = (listener))
#define pro_recv_from(o, dg, b, n, f, dn)                                                          \
    T_CALL(RECV_FROM, o, dn, .d = (dg), .in = (b), .len = (n), .from = (f))
#define pro_send_to(o, dg, b, n, a, dn)                                                            \
    T_CALL(SEND_TO, o, dn, .d = (dg), .out = (b), .len = (n), .address = (a))
#define pro_recvv_from(o, dg, v, n, f, dn)                                                         \
    T_CALL(RECVV_FROM, o, dn, .d = (dg), .vecs = (v), .len = (n), .from = (f))
#define pro_sendv_to(o, dg, v, n, a, dn)                                                           \
    T_CALL(SENDV_TO, o, dn, .d = (dg), .vecs = (v), .len = (n), .address = (a))
#define pro_recv_batch(o, dg, m, n, dn)                                                            \
    T_CALL(RECV_BATCH, o, dn, .d = (dg), .messages = (m), .len = (n))
#define pro_send_batch(o, dg, m, n, dn)                                                            \
    T_CALL(SEND_BATCH, o, dn, .d = (dg), .messages = (m), .len = (n))
#define pro_datagram_close(o, dg, dn) T_CALL(DATAGRAM_CLOSE, o, dn, .d = (dg))
#define pro_poll(o, pollable, w, d) T_CALL(POLL, o, d, .p = (pollable), .what = (w))
#define pro_pollable_close(o, pollable, d) T_CALL(POLLABLE_CLOSE, o, d, .p = (pollable))
#define pro_timer_start(o, lp, at, d) T_CALL(TIMER_START, o, d, .loop = (lp), .ns = (at))
#define pro_sleep(o, lp, delay, d) T_CALL(SLEEP, o, d, .loop = (lp), .ns = (delay))
#define pro_signal_wait(o, lp, signo, d) T_CALL(SIGNAL_WAIT, o, d, .loop = (lp), .number = (signo))
/* clang-format on */

#define pro_cancel(op) t_cancel(op)
#define pro_op_in_flight(op) t_in_flight(op)
#define pro_scope_live(scope) t_scope_live(scope)

#endif
