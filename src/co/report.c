/* Seeing coroutines: counters, the dump, and the line about one that overflowed. */
#include "co/co.h"

#include <stdio.h>
#include <string.h>

#include "os/stack.h"

void pro_co_stats_get(pro_loop *loop, pro_co_stats *stats)
{
    const pri_co_home *home = loop->co;
    *stats = (pro_co_stats){0};
    if (!home) return;
    stats->started = home->started;
    stats->live = home->live;
    stats->live_max = home->live_max;
    stats->stacks = (uint32_t)home->stacks.made;
    stats->stack_used_max = pri_stacks_touched(&home->stacks);
}

void pro_co_trim(pro_loop *loop)
{
    if (loop->co) pri_stacks_trim(&loop->co->stacks);
}

/* ---- The dump ------------------------------------------------------------------------------- */

static void describe(pri_co *co, char *line, size_t size)
{
    char          what[200] = "runs";
    const pro_op *awaited = pri_co_awaited(co);
    if (co->state == PRI_CO_STARTING)
        snprintf(what, sizeof what, "has not begun");
    else if (co->away)
        snprintf(what, sizeof what, "awaits a call to another loop, made at %s", co->away);
    else if (awaited)
        pri_op_describe(awaited, what, sizeof what);
    size_t used = pri_os_stack_touched(co->stack.low, co->stack.of->size);
    snprintf(line, size, "coroutine %s, started at %s: %s%s; stack %zu of %zu%s", co->name,
             co->site, awaited ? "awaits " : "", what, used, co->stack.of->size,
             pri_co_is_canceled(co) ? "; canceled" : "");
}

size_t pro_co_dump(pro_loop *loop, void (*fn)(void *arg, const char *line), void *arg)
{
    const pri_co_home *home = loop->co;
    size_t             lines = 0;
    if (!home) return 0;
    for (const pri_link *link = home->all.next; link != &home->all; link = link->next) {
        char line[512];
        describe(pro_container_of((pri_link *)(uintptr_t)link, pri_co, of_home), line, sizeof line);
        fn(arg, line);
        lines++;
    }
    return lines;
}

/* ---- Overflow ------------------------------------------------------------------------------- */

/* In a signal handler: no stdio.  Each appends to a line of the given size, cutting what does not fit. */
typedef struct text {
    char  *line;
    size_t size, len;
} text;

static void add(text *t, const char *word)
{
    size_t len = strlen(word), room = t->size - t->len;
    if (len > room) len = room;
    memcpy(t->line + t->len, word, len);
    t->len += len;
}

static void add_number(text *t, size_t number)
{
    char  digits[24];
    char *at = digits + sizeof digits;
    *--at = '\0';
    do *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    add(t, at);
}

/* Whose stack ends there: it runs on this thread, or runs a loop that does. */
static const pri_co *overflown(uintptr_t address)
{
    for (const pro_loop *loop = pri_op_current_loop(); loop; loop = loop->outer) {
        const pri_co *co = loop->runs->co;
        uintptr_t     low = co ? (uintptr_t)co->stack.low : 0;
        if (co && address < low && address >= low - pri_stack_guard_size()) return co;
    }
    return NULL;
}

size_t pri_co_describe_fault(uintptr_t address, char *line, size_t size)
{
    const pri_co *co = overflown(address);
    if (!co) return 0;
    text t = {line, size, 0};
    add(&t, "proactor: stack overflow in coroutine ");
    add(&t, co->name);
    add(&t, ", started at ");
    add(&t, co->site);
    add(&t, ": its stack has ");
    add_number(&t, co->stack.of->size);
    add(&t, " bytes (pro_go_options.stack_size)\n");
    return t.len;
}
