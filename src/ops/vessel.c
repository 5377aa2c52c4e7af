/* Vessels: taken when there are bytes to carry, given back when they went.
 *
 * A few of each kind are kept, so that a steady state opens and allocates nothing; all of them, used ones
 * too, end with their loop.
 *
 * Invariants:
 *   a vessel that is kept is empty
 *   kept[kind]  =  length of idle[kind]  <=  KEPT_MAX */
#include "vessel.h"

#include "os/copy.h"

enum { PIPE, BUFFER, KINDS };
enum { KEPT_MAX = 8 };

struct pri_vessels {
    pri_link idle[KINDS], used;
    int      kept[KINDS];
};

static int kind_of(const pri_vessel *v) { return v->fds[0] < 0 ? BUFFER : PIPE; }

static pri_vessel *vessel_of(pri_link *link) { return pro_container_of(link, pri_vessel, link); }

static void vessel_free(pro_loop *loop, pri_vessel *v)
{
    if (kind_of(v) == PIPE) pri_os_tube_close(v->fds);
    if (v->side) pri_side_give(loop, v->side);
    pri_env_realloc(&loop->env, v, 0);
}

static void end_all(pro_loop *loop)
{
    struct pri_vessels *all = loop->vessels;
    pri_link           *lists[] = {&all->idle[PIPE], &all->idle[BUFFER], &all->used};
    for (int i = 0; i < 3; i++)
        while (!pri_list_empty(lists[i])) vessel_free(loop, vessel_of(pri_list_pop(lists[i])));
    pri_env_realloc(&loop->env, all, 0);
    loop->vessels = NULL;
}

static struct pri_vessels *all_of(pro_loop *loop)
{
    if (loop->vessels) return loop->vessels;
    struct pri_vessels *all = pri_env_realloc(&loop->env, NULL, sizeof *all);
    if (!all) return NULL;
    for (int kind = 0; kind < KINDS; kind++) {
        pri_list_init(&all->idle[kind]);
        all->kept[kind] = 0;
    }
    pri_list_init(&all->used);
    loop->vessels = all;
    loop->vessels_end = end_all;
    return all;
}

/* One that is kept, or NULL. */
static pri_vessel *kept(struct pri_vessels *all, int kind)
{
    if (pri_list_empty(&all->idle[kind])) return NULL;
    pri_vessel *v = vessel_of(pri_list_pop(&all->idle[kind]));
    all->kept[kind]--;
    pri_list_append(&all->used, &v->link);
    return v;
}

static pri_vessel *made(pro_loop *loop, struct pri_vessels *all, size_t room)
{
    pri_vessel *v = pri_env_realloc(&loop->env, NULL, sizeof *v + room);
    if (!v) return NULL;
    *v = (pri_vessel){.fds = {-1, -1}, .size = room, .buf = (char *)(v + 1)};
    pri_list_append(&all->used, &v->link);
    return v;
}

static void unmade(pro_loop *loop, pri_vessel *v)
{
    pri_list_remove(&v->link);
    vessel_free(loop, v);
}

pri_vessel *pri_vessel_pipe(pro_loop *loop)
{
    struct pri_vessels *all = all_of(loop);
    pri_vessel         *v = all ? kept(all, PIPE) : NULL;
    if (v || !all) return v;
    v = made(loop, all, 0);
    if (v && pri_os_tube_open(&loop->env, v->fds, &v->size) == 0) return v;
    if (v) unmade(loop, v);
    return NULL;
}

pri_vessel *pri_vessel_buffer(pro_loop *loop)
{
    struct pri_vessels *all = all_of(loop);
    pri_vessel         *v = all ? kept(all, BUFFER) : NULL;
    if (v || !all) return v;
    v = made(loop, all, PRI_VESSEL_SIZE);
    if (v && (v->side = pri_side_take(loop, 1))) return v;
    if (v) unmade(loop, v);
    return NULL;
}

void pri_vessel_give(pro_loop *loop, pri_vessel *v, bool is_empty)
{
    struct pri_vessels *all = loop->vessels;
    int                 kind = kind_of(v);
    if (all->kept[kind] == KEPT_MAX || (kind == PIPE && !is_empty)) {
        unmade(loop, v);
        return;
    }
    pri_list_remove(&v->link);
    pri_list_append(&all->idle[kind], &v->link);
    all->kept[kind]++;
}
