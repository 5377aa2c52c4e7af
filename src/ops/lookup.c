/* Looking names up, on the loop's pool.
 *
 * What the thread reads and writes is the look-up's own memory, so that an operation that was canceled
 * need not wait for it; it is freed when the job has come back.
 *
 * Invariant:  done == NULL  <==>  nobody waits */
#define PRO_NO_SITES
#include "lookup.h"

#include <proactor/blocking.h>

#include <stdio.h>
#include <string.h>

#include "core/op.h"

enum { HOST_MAX = 1024, SERVICE_MAX = 64 };

struct pri_lookup {
    pro_op         job;
    pro_loop      *loop;
    pro_family     family;
    pri_lookup_fn *done;
    void          *arg;
    pro_address    found[PRO_ENDPOINTS_MAX];
    char           service[SERVICE_MAX], host[HOST_MAX];
};

static int64_t look_up(void *arg)
{
    pri_lookup *l = arg;
    return l->loop->net->lookup(&l->loop->env, l->host, l->service, (int)l->family, l->found,
                                PRO_ENDPOINTS_MAX);
}

static void on_found(pro_op *job)
{
    pri_lookup *l = job->user;
    int         error = job->error;
    if (!error && job->value == 0) error = PRO_ENOENT;
    if (l->done) l->done(l->arg, error, l->found, error ? 0 : (size_t)job->value);
    pri_env_realloc(&l->loop->env, l, 0);
}

int pri_lookup_start(pri_lookup **out, const char *site, pro_loop *loop, const char *host,
                     const char *service, pro_family family, pri_lookup_fn *done, void *arg)
{
    size_t host_len = strlen(host), service_len = strlen(service);
    if (host_len == 0 || host_len >= HOST_MAX || service_len >= SERVICE_MAX) return PRO_EINVAL;
    pri_lookup *l = pri_env_realloc(&loop->env, NULL, sizeof *l);
    if (!l) return PRO_ENOMEM;
    memset(&l->job, 0, sizeof l->job);
    l->job.user = l;
    l->loop = loop;
    l->family = family;
    l->done = done;
    l->arg = arg;
    memcpy(l->host, host, host_len + 1);
    memcpy(l->service, service, service_len + 1);
    *out = l;
    pro_run_blocking_wait_at(site, &l->job, loop, look_up, l, on_found);
    return PRO_OK;
}

void pri_lookup_leave(pri_lookup *l)
{
    l->done = NULL;
    pri_op_cancel(&l->job, PRO_ECANCELED); /* if it still waits for its thread */
}

int pri_lookup_numeric(const char *host, const char *service, pro_address *address)
{
    char text[PRO_ADDRESS_TEXT_MAX + 8];
    int  len = snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, service);
    if (len < 0 || (size_t)len >= sizeof text) return PRO_EINVAL;
    return pro_address_parse(address, text);
}

/* ---- The operation ---------------------------------------------------------------------------- */

typedef struct __attribute__((may_alias)) resolve_words {
    pri_lookup  *lookup;
    pro_address *addresses;
} resolve_words;

static resolve_words *words_of(pro_op *op) { return (resolve_words *)op->pri_kernel_step.engine; }

static void on_addresses(void *arg, int error, const pro_address *found, size_t count)
{
    pro_op *op = arg;
    if (count > op->pri_kernel_step.len) count = op->pri_kernel_step.len;
    if (count > 0) memcpy(words_of(op)->addresses, found, count * sizeof *found);
    pri_op_finish(op, error, (int64_t)count);
}

static bool resolve_canceled(pro_op *op)
{
    pri_lookup_leave(words_of(op)->lookup);
    return true;
}

static const pri_part resolve_part = {.canceled = resolve_canceled};

void pro_resolve_at(const char *site, pro_op *op, pro_loop *loop, const char *host,
                    const char *service, pro_address *addresses, size_t count, pro_handler *done)
{
    if (!pri_op_begin(op, loop, NULL, PRI_OP_RESOLVE, site, done)) return;
    if (count == 0) {
        pri_op_finish(op, PRO_EINVAL, 0);
        return;
    }
    if (pri_lookup_numeric(host, service, addresses) == PRO_OK) {
        pri_op_finish(op, PRO_OK, 1);
        return;
    }
    pri_step *step = &op->pri_kernel_step;
    words_of(op)->addresses = addresses;
    int error = pri_lookup_start(&words_of(op)->lookup, site, loop, host, service, PRO_FAMILY_NONE,
                                 on_addresses, op);
    if (error) {
        pri_op_finish(op, error, 0);
        return;
    }
    step->flags |= PRI_STEP_PART;
    step->data = (void *)(uintptr_t)&resolve_part;
    step->len = count;
    pri_list_init(&op->pri_queue); /* it stands in none */
    pri_op_wait(op);
}

void pro_resolve(pro_op *op, pro_loop *loop, const char *host, const char *service,
                 pro_address *addresses, size_t count, pro_handler *done)
{
    pro_resolve_at("?", op, loop, host, service, addresses, count, done);
}
