/* The form in which a sentence's initiating calls are made: --form.
 *
 *     callback   pro_recv(op, s, buf, len, done), as it is written
 *     await      a coroutine says pro_await_recv_by(s, buf, len, op->deadline_ns), puts what it gave into op,
 *                and calls done(op)
 *     own        a coroutine initiates pro_recv(op, s, buf, len, pro_awake), says pro_await(op), and
 *                calls done(op)
 *
 *     zerocopy   as it is written, but where a sentence sends all of something: that is not copied, whatever
 *                its size
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

#include "lib/forms.h" /* generated: the macros that call t_initiate */

typedef enum t_form { T_FORM_CALLBACK, T_FORM_AWAIT, T_FORM_OWN, T_FORM_ZEROCOPY } t_form;

/* Of all sentences; from the runner, before the first. */
void t_form_set(t_form form);

/* From how many bytes on a loop is not to copy: zerocopy_min of its options. */
size_t t_form_zerocopy_min(void);

/* An initiating call: what is common to all of them; behind it lie its own arguments (forms.c). */
typedef struct t_call {
    const char  *site;
    pro_op      *op;
    pro_handler *done;
    void (*call)(const struct t_call *call, pro_handler *done);
    int64_t (*await)(const struct t_call *call); /* NULL: in the form of pro_await only */
    const pro_handle *handle;                    /* of this one, or NULL */
    pro_loop         *loop;                      /* of the loop, or NULL */
    void (*zerocopy)(const struct t_call *call, pro_handler *done); /* or NULL */
} t_call;

void     t_initiate(const t_call *call);
void     t_cancel(pro_op *op);
int      t_in_flight(const pro_op *op);
uint32_t t_scope_live(const pro_scope *scope);

#define pro_cancel(op) t_cancel(op)
#define pro_op_in_flight(op) t_in_flight(op)
#define pro_scope_live(scope) t_scope_live(scope)

#endif
