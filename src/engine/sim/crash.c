/* What is left of a disk when its node crashes.
 *
 * If only the process died, the system writes back its cache in its own time: everything is there, but the
 * descriptors.  If the machine went down, the seed decides what the medium got of what no sync has written:
 * nothing, all of it, or some, each sector for itself; and of names each change for itself, or none
 * after the first that is missing, as a journal would have it.  A change that builds upon one that is missing
 * is missing too.  Then the names are walked from the root, as a repair does, and what cannot be reached goes. */
#include "engine/sim/disk.h"

static sim_fate any_fate(sim_disk *d)
{
    return (sim_fate)pri_sim_choice(d->node->world, &d->stream, SIM_CHOOSE + 1);
}

/* ---- Names ---------------------------------------------------------------------------------- */

static bool needs_one_that_is_lost(const sim_disk *d, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (d->changes[k].is_marked && pri_sim_builds_upon(&d->changes[i], &d->changes[k]))
            return true;
    return false;
}

/* Undo those that are lost, newest first: then each entry is what it was before the first of them. */
static void undo(sim_disk *d)
{
    for (size_t i = d->changes_count; i-- > 0;) {
        const sim_change *c = &d->changes[i];
        if (!c->is_marked) continue;
        for (int k = c->count; k-- > 0;)
            pri_sim_set_entry(d, c->at[k].dir, c->at[k].place, c->at[k].name, c->at[k].before);
    }
}

/* How many changes are lost. */
static size_t crash_names(sim_disk *d, sim_fate fate)
{
    pro_sim *w = d->node->world;
    bool     in_order = pri_sim_choice(w, &d->stream, 2);
    size_t   lost = 0;
    for (size_t i = 0; i < d->changes_count; i++) {
        bool is_lost = fate == SIM_LOSE_ALL || (in_order && lost > 0);
        if (fate == SIM_CHOOSE && pri_sim_choice(w, &d->stream, 2)) is_lost = true;
        if (fate != SIM_KEEP_ALL && !is_lost) is_lost = needs_one_that_is_lost(d, i);
        d->changes[i].is_marked = is_lost;
        lost += is_lost;
    }
    undo(d);
    return lost;
}

/* ---- Repair --------------------------------------------------------------------------------- */

/* One more round as long as one reaches more than the last: directories are few levels deep. */
static void mark_reached(sim_disk *d)
{
    for (sim_inode *inode = d->first; inode; inode = inode->next) inode->is_reached = false;
    d->root->is_reached = true;
    for (bool is_more = true; is_more;) {
        is_more = false;
        for (sim_inode *dir = d->first; dir; dir = dir->next) {
            for (size_t i = 0; dir->is_reached && i < dir->entries_count; i++) {
                sim_inode *inode = dir->entries[i].inode;
                if (inode->is_reached) continue;
                inode->is_reached = is_more = true;
            }
        }
    }
}

/* The entries of what is not reached go; with them what only they held. */
static void sweep_unreached(sim_disk *d)
{
    for (;;) {
        sim_inode *dir = d->first;
        while (dir && (dir->is_reached || dir->entries_count == 0)) dir = dir->next;
        if (!dir) return;
        const sim_entry *entry = &dir->entries[dir->entries_count - 1];
        pri_sim_set_entry(d, dir, entry->place, entry->name, NULL);
    }
}

/* ---- All of it ------------------------------------------------------------------------------ */

void pri_sim_disk_crash(sim_disk *d, bool is_machine)
{
    pro_sim *w = d->node->world;
    for (uint32_t i = 0; i < d->opens_room; i++)
        if (d->opens[i].inode) pri_sim_close_file(d, i);
    if (!is_machine) return;
    size_t names = crash_names(d, any_fate(d));
    mark_reached(d);
    sweep_unreached(d);
    pri_sim_changes_forget(d, false); /* which kept the directories that go */
    uint64_t sectors = 0;
    sim_fate fate = any_fate(d);
    for (sim_inode *inode = d->first; inode; inode = inode->next)
        if (inode->type == PRO_TYPE_REGULAR) sectors += pri_sim_content_crash(d, inode, fate);
    w->stats.names_lost += names;
    w->stats.sectors_lost += sectors;
    pri_sim_note(w, EV_POWER, d->node, (uint32_t)names, 0, (int64_t)sectors, NULL);
}
