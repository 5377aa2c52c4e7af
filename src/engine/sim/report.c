/* What a world says: the digest, the last events, failures, marks.
 *
 * Every event passes through pri_sim_note, which mixes (virtual time, event, who, result) into the
 * digest and writes it into a ring; text is made only when somebody wants to read it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sim/lane.h"

static const char *const kind_names[] = {
#define NAME(name, text) [EV_##name] = text,
    PRI_SIM_EVENTS(NAME)
#undef NAME
};

/* ---- Telling -------------------------------------------------------------------------------- */

static void tell_line(pro_sim *w, const char *line)
{
    if (w->tell)
        w->tell(w->tell_arg, line);
    else
        fprintf(stderr, "%s\n", line);
}

void pri_sim_tell(pro_sim *w, const char *format, ...)
{
    char    line[400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    tell_line(w, line);
}

static void tell_trace(pro_sim *w, const sim_trace *t)
{
    const pro_sim_node *node = w->nodes;
    while (node && node->id != t->node) node = node->next;
    uint64_t us = (t->at - PRO_SEC) / 1000;
    char     head[96], tail[160] = "";
    snprintf(head, sizeof head, "%6llu.%06llu %-10s %-9s", (unsigned long long)(us / 1000000),
             (unsigned long long)(us % 1000000), node ? node->name : "-", kind_names[t->kind]);
    switch (t->kind) {
    case EV_RECORD:
        snprintf(tail, sizeof tail, "#%u %s at %s: %s, %lld", t->target, t->what, t->site,
                 pro_error_name(t->error), (long long)t->value);
        break;
    case EV_ARRIVE:
        snprintf(tail, sizeof tail, "#%u %lld bytes%s%s", t->target, (long long)t->value,
                 t->error & SEG_FIN ? ", end" : "", t->error & SEG_RST ? ", reset" : "");
        break;
    case EV_LOOP:
        snprintf(tail, sizeof tail, "loop %u, %lld records", t->target, (long long)t->value);
        break;
    case EV_RESET:
        snprintf(tail, sizeof tail, "#%u %s", t->target, pro_error_name(t->error));
        break;
    default: snprintf(tail, sizeof tail, "%u %lld", t->target, (long long)t->value); break;
    }
    pri_sim_tell(w, "%s %s", head, tail);
}

static inline void mix(pro_sim *w, uint64_t word)
{
    uint64_t z = (w->digest ^ word) * UINT64_C(0x9fb21c651e98df25);
    w->digest = z ^ (z >> 32);
}

void pri_sim_note(pro_sim *w, sim_event_kind kind, const pro_sim_node *node, uint32_t target,
                  int error, int64_t value, pri_step *step)
{
    w->events++;
    mix(w, w->now_ns);
    mix(w, (uint64_t)kind << 56 | (uint64_t)(step ? step->op_kind : 0) << 48 | target);
    mix(w, (uint64_t)(uint32_t)error << 32 ^ (uint64_t)value);
    sim_trace    *t = &w->trace[w->traced++ % PRI_SIM_TRACE];
    const pro_op *op = step ? pri_sim_op(step) : NULL;
    t->at = w->now_ns;
    t->value = value;
    t->site = op ? pro_op_site(op) : "";
    t->what = op ? pro_op_name(op) : "";
    t->kind = kind;
    t->node = node ? node->id : UINT32_MAX;
    t->target = target;
    t->error = error;
    if (w->tell_events) tell_trace(w, t);
}

static void tell_pending(void *arg, const char *line) { pri_sim_tell(arg, "    %s", line); }

void pro_sim_report(pro_sim *w)
{
    uint64_t count = w->traced < PRI_SIM_TOLD ? w->traced : PRI_SIM_TOLD;
    pri_sim_tell(w, "  the last %llu of %llu events:", (unsigned long long)count,
                 (unsigned long long)w->events);
    for (uint64_t i = w->traced - count; i < w->traced; i++)
        tell_trace(w, &w->trace[i % PRI_SIM_TRACE]);
    for (const sim_loop *l = w->loops; l; l = l->next) {
        if (l->loop->root.pri_live == 0) continue;
        pri_sim_tell(w, "  alive on node %s, loop %u:", l->node->name, l->id);
        pro_loop_dump(l->loop, tell_pending, w);
    }
    pri_sim_lanes_tell(w);
}

/* ---- Failures ------------------------------------------------------------------------------- */

void pro_sim_fail(pro_sim *w, const char *format, ...)
{
    char    what[300], plan[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    w->failures++;
    if (w->reporting || w->failures > 1) return;
    w->reporting = true;
    w->outside++; /* who prints it may do as he likes */
    fflush(stdout);
    pro_sim_plan(w, plan, sizeof plan);
    pri_sim_tell(w, "sim: FAIL at %llu.%06llu s: %s",
                 (unsigned long long)((w->now_ns - PRO_SEC) / PRO_SEC),
                 (unsigned long long)((w->now_ns - PRO_SEC) / 1000 % 1000000), what);
    pro_sim_report(w);
    pri_sim_tell(w, "sim: plan: %s", plan);
    const char *given = getenv("PROACTOR_PLAN");
    pri_sim_tell(w, "sim: %s (replay: %sPROACTOR_SEED=%llu%s%s)", what,
                 w->implicit ? "PROACTOR_ENGINE=sim " : "", (unsigned long long)w->seed,
                 given && *given ? " PROACTOR_PLAN=" : "", given && *given ? given : "");
    w->reporting = false;
    if (!w->survive) exit(1);
    w->outside--;
}

int pro_sim_failures(const pro_sim *w) { return w->failures; }

/* ---- Marks ---------------------------------------------------------------------------------- */

enum { MARKS_MAX = 64 };
static _Thread_local struct {
    const char *name;
    uint64_t    worlds;
} marks[MARKS_MAX];
static _Thread_local int marks_count;

void pro_sim_sometimes(pro_sim *w, const char *name, int condition)
{
    int i = 0;
    while (i < marks_count && strcmp(marks[i].name, name) != 0) i++;
    if (i == MARKS_MAX) pri_abort("sim: more than %d marks", MARKS_MAX);
    if (i == marks_count) {
        marks[i].name = name;
        marks[i].worlds = 0;
        marks_count++;
    }
    if (condition) w->marks |= UINT64_C(1) << i;
}

void pri_sim_end_marks(pro_sim *w)
{
    for (int i = 0; i < marks_count; i++) marks[i].worlds += w->marks >> i & 1;
}

void pro_sim_marks(void (*fn)(void *arg, const char *name, uint64_t worlds), void *arg)
{
    for (int i = 0; i < marks_count; i++) fn(arg, marks[i].name, marks[i].worlds);
}

void pro_sim_caught(const char *what, const char *call, const void *caller)
{
    pro_sim *w = pri_sim_current();
    if (!w) return;
    char name[200];
    w->outside++;
    pri_os_symbol(caller, name, sizeof name);
    pro_sim_fail(w, "%s in a simulated world: %s, called by %s", what, call, name);
    w->outside--;
}

void pri_sim_say_goodbye(pro_sim *w)
{
    if (!w->tell_events && !getenv("PROACTOR_DIGEST")) return;
    uint64_t us = (w->now_ns - PRO_SEC) / 1000;
    fflush(stdout);
    pri_sim_tell(w, "sim: seed %llu, %llu events, %llu.%06llu s, digest %016llx",
                 (unsigned long long)w->seed, (unsigned long long)w->events,
                 (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000),
                 (unsigned long long)w->digest);
}

/* ---- Numbers -------------------------------------------------------------------------------- */

void pro_sim_stats_get(const pro_sim *w, pro_sim_stats *stats)
{
    *stats = w->stats;
    stats->seed = w->seed;
    stats->digest = w->digest;
    stats->events = w->events;
    stats->choices = w->choices;
    stats->virtual_ns = w->now_ns - PRO_SEC;
}
