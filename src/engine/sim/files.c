/* Calls on files, as steps of the engine.
 *
 * A call waits a while that the disk decides (disk.c), then it is made, all at once, and its record is there.
 * So of calls in flight at the same time any may be first, as the contract has it; what a short transfer leaves
 * is a call of its own, so that a large write is seen half done.  A cancel finds a call that was not made yet, or
 * comes too late.
 *
 *     start --> l->files --FILE event--> made, record        cancel: record, and the event finds nothing
 *
 * When the node crashes, of what was in flight some calls are made all the same, writes perhaps in part. */
#include "core/list.h"
#include "engine/sim/disk.h"

enum { VECS_MAX = 1024 }; /* that a system takes at once */

/* What a step keeps while it is here; the guard of its buffer (engine.c) comes first. */
typedef struct __attribute__((may_alias)) file_step {
    uint64_t guard;
    uint32_t guarded;
    uint32_t number; /* 0: it has its record */
    pri_link link;
} file_step;

_Static_assert(sizeof(file_step) <= sizeof(((pri_step *)NULL)->engine), "a step has room for it");

static file_step *of_step(pri_step *step) { return (file_step *)step->engine; }

static pri_step *step_of(pri_link *link)
{
    return (pri_step *)((char *)link - offsetof(pri_step, engine) - offsetof(file_step, link));
}

/* The buffers that are left of a transfer, no more than a system takes. */
static const pro_vec *vecs_of(const pri_step *step, size_t *count, size_t *len)
{
    const pri_side *side = step->data;
    const pro_vec  *vecs = &side->vecs[side->first];
    bool            is_transfer =
        side->call.what == PRI_CALL_FILE_READ || side->call.what == PRI_CALL_FILE_WRITE;
    *count = is_transfer ? side->count - side->first : 0;
    if (*count > VECS_MAX) *count = VECS_MAX;
    *len = 0;
    for (size_t i = 0; i < *count; i++) *len += vecs[i].len;
    return vecs;
}

static pri_call *call_of(pri_step *step) { return &((pri_side *)step->data)->call; }

static int64_t make_call(sim_loop *l, pri_step *step)
{
    size_t         count, len;
    const pro_vec *vecs = vecs_of(step, &count, &len);
    sim_disk      *d = pri_sim_disk_of(l->node);
    return pri_sim_call_in_weather(d, call_of(step), vecs, count, len);
}

static void record(sim_loop *l, pri_step *step, int64_t result)
{
    of_step(step)->number = 0;
    pri_sim_step_record(l, step, result);
}

void pri_sim_file_start(sim_loop *l, pri_step *step, int error)
{
    size_t   count, len;
    pro_sim *w = l->world;
    if (error) {
        pri_sim_guard_end(w, step);
        if (call_of(step)->what == PRI_CALL_FILE_CLOSE)
            make_call(l, step); /* closed all the same */
        record(l, step, error);
        return;
    }
    vecs_of(step, &count, &len);
    uint64_t at = w->now_ns + pri_sim_call_takes(pri_sim_disk_of(l->node), call_of(step), len);
    of_step(step)->number = ++l->file_last ? l->file_last : ++l->file_last;
    pri_list_append(&l->files, &of_step(step)->link);
    pri_sim_push(w, at, EV_FILE, l->id, 0, of_step(step)->number);
}

void pri_sim_file_cancel(sim_loop *l, pri_step *step)
{
    sim_disk *d = pri_sim_disk_of(l->node);
    if (!of_step(step)->number || call_of(step)->what == PRI_CALL_FILE_CLOSE) return;
    if (pri_sim_strikes(l->world, &d->stream, PRO_SIM_CANCEL)) return; /* it is too late */
    pri_list_unlink(&of_step(step)->link);
    pri_sim_guard_end(l->world, step);
    record(l, step, PRO_ECANCELED);
}

void pri_sim_file_over(sim_loop *l, uint32_t number)
{
    for (pri_link *link = l->files.next; link != &l->files; link = link->next) {
        pri_step *step = step_of(link);
        if (of_step(step)->number != number) continue;
        pri_list_unlink(link);
        pri_sim_guard_end(l->world, step);
        record(l, step, make_call(l, step));
        return;
    }
}

/* ---- Crashes -------------------------------------------------------------------------------- */

/* Its loop goes; does the system do it still? */
static void crash_call(sim_disk *d, pri_step *step)
{
    pro_sim       *w = d->node->world;
    size_t         count, len;
    const pro_vec *vecs = vecs_of(step, &count, &len);
    pri_call      *call = call_of(step);
    bool is_lasting = call->what != PRI_CALL_FILE_STAT && call->what != PRI_CALL_FILE_LIST &&
                      call->what != PRI_CALL_FILE_READ;
    if (!is_lasting || pri_sim_choice(w, &d->stream, 2)) return;
    if (len > 1 && pri_sim_choice(w, &d->stream, 2))
        len = 1 + pri_sim_choice(w, &d->stream, (uint32_t)(len - 1));
    pri_sim_do_call(d, call, vecs, count, len);
}

void pri_sim_files_crash(pro_sim_node *node, bool is_machine)
{
    if (!node->disk) return;
    for (sim_loop *l = node->world->loops; l; l = l->next) {
        if (l->node != node) continue;
        for (pri_link *link = l->files.next; link != &l->files; link = link->next)
            crash_call(node->disk, step_of(link));
        pri_list_init(&l->files);
    }
    pri_sim_disk_crash(node->disk, is_machine);
}
