/* Signals as operations.
 *
 * A loop has one watch for each signal that it ever waited for.  The system's handler counts and
 * posts the watch's own operation (safe there, and once until it was run); on the loop that relay
 * completes everything that waits.  What comes while nothing waits stays counted for the next wait.
 *
 * Invariant: relayed == true  <==>  the relay is posted and its handler has not begun. */
#include <proactor/signal.h>

#include "core/op.h"

typedef struct pri_signal_watch {
    struct pri_signal_watch *next;
    pro_loop                *loop;
    int                      number;
    int                      slot;
    pro_op                   relay;
    pri_link                 waiting; /* operations, through pri_queue */
    atomic_uint              count;   /* signals that nobody was told of */
    atomic_bool              relayed;
} pri_signal_watch;

static void relay(pro_op *op)
{
    pri_signal_watch *watch = op->user;
    atomic_store(&watch->relayed, false); /* before count is taken: a later signal posts again */
    if (pri_list_empty(&watch->waiting)) return;
    unsigned count = atomic_exchange(&watch->count, 0);
    if (count == 0) return;
    while (!pri_list_empty(&watch->waiting)) {
        pri_link *link = pri_list_pop(&watch->waiting);
        pri_op_finish(pro_container_of(link, pro_op, pri_queue), PRO_OK, (int64_t)count);
    }
}

/* In the context of a signal handler. */
static void hear(void *arg)
{
    pri_signal_watch *watch = arg;
    atomic_fetch_add(&watch->count, 1);
    if (!atomic_exchange(&watch->relayed, true)) (pro_post)(&watch->relay, watch->loop, relay);
}

static void end(pro_loop *loop, bool free_them)
{
    for (pri_signal_watch *watch = loop->signals, *next; watch; watch = next) {
        next = watch->next;
        if (free_them)
            pri_env_realloc(&loop->env, watch, 0);
        else
            pri_os_signal_forget(watch->slot);
    }
}

/* The loop's watch of a signal, made if there is none; NULL and *error if it cannot be. */
static pri_signal_watch *watch_of(pro_loop *loop, int number, int *error)
{
    for (pri_signal_watch *watch = loop->signals; watch; watch = watch->next)
        if (watch->number == number) return watch;
    pri_signal_watch *watch = pri_env_realloc(&loop->env, NULL, sizeof *watch);
    *error = PRO_ENOMEM;
    if (!watch) return NULL;
    *watch = (pri_signal_watch){.loop = loop, .number = number, .next = loop->signals};
    watch->relay.user = watch;
    pri_list_init(&watch->waiting);
    watch->slot = pri_os_signal_hear(number, hear, watch);
    if (watch->slot < 0) {
        *error = pri_os_error(watch->slot);
        pri_env_realloc(&loop->env, watch, 0);
        return NULL;
    }
    loop->signals = watch;
    loop->signals_end = end;
    return watch;
}

void pro_signal_wait_at(const char *site, pro_op *op, pro_loop *loop, int signal_number,
                        pro_handler *done)
{
    if (!pri_op_begin(op, loop, NULL, PRI_OP_SIGNAL, site, done)) return;
    int               error;
    pri_signal_watch *watch = watch_of(loop, signal_number, &error);
    if (!watch) {
        pri_op_finish(op, error, 0);
        return;
    }
    pri_list_append(&watch->waiting, &op->pri_queue);
    pri_op_wait(op);
    unsigned early = atomic_load(&watch->count);
    if (early > 0 && !atomic_exchange(&watch->relayed, true))
        (pro_post)(&watch->relay, loop, relay);
}

void(pro_signal_wait)(pro_op *op, pro_loop *loop, int signal_number, pro_handler *done)
{
    pro_signal_wait_at("?", op, loop, signal_number, done);
}
