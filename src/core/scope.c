/* Scopes: a tree of lives, counted.
 *
 * A scope is asked to drain or to close; what it then has to say (on_stop, on_drained) is said from
 * the loop: the scope stands on loop->telling until pri_scope_tell comes by.  A walk over the tree
 * runs no code of the user's and frees nothing, so it needs no stack and no care.
 *
 * Invariants:
 *   pri_live = operations until their handlers returned + open handles + child scopes + holds; while it is
 *              open, plain operations (plain.h) excepted
 *   pri_idle = open handles
 *   pri_tell != 0                 <==>  it stands on loop->telling
 *   ENDED                          ==>  on_drained has begun; never touched again (but the root)
 *   a child's state is never behind its parent's */
#include "core/op.h"

_Static_assert(offsetof(pro_scope, pri_drain) == offsetof(pro_scope, pri_deadline_ns) + 8,
               "the wheel finds the deadline right before the link");

enum {
    OPEN = PRI_SCOPE_OPEN,
    DRAINING = PRI_SCOPE_DRAINING,
    CLOSING = PRI_SCOPE_CLOSING,
    ENDED = PRI_SCOPE_ENDED
};
enum { TELL_STOP = 1, TELL_CHECK = 2 };
enum { HOLDS_MAX = INT32_MAX };

static pro_scope *scope_of_sibling(pri_link *link)
{
    return pro_container_of(link, pro_scope, pri_sibling);
}

static pro_handle *handle_of(const pri_link *link)
{
    return pro_container_of((pri_link *)(uintptr_t)link, pro_handle, pri_of_scope);
}

/* The scope after s in a walk over the tree below root, parents first; NULL at the end. */
static pro_scope *next_in_tree(const pro_scope *root, pro_scope *s)
{
    if (!pri_list_empty(&s->pri_children)) return scope_of_sibling(s->pri_children.next);
    while (s != root && s->pri_sibling.next == &s->pri_parent->pri_children) s = s->pri_parent;
    return s == root ? NULL : scope_of_sibling(s->pri_sibling.next);
}

pro_scope *pri_scope_next(const pro_scope *root, pro_scope *s) { return next_in_tree(root, s); }

static void tell(pro_scope *scope, uint8_t what)
{
    if (!scope->pri_tell) pri_list_append(&scope->pri_loop->telling, &scope->pri_pending);
    scope->pri_tell |= what;
}

static void init(pro_scope *scope, pro_loop *loop, pro_scope *parent, pro_scope_fn *on_drained)
{
    void *user = scope->user;
    *scope = (pro_scope){
        .user = user, .pri_loop = loop, .pri_parent = parent, .pri_on_drained = on_drained};
    pri_list_init(&scope->pri_children);
    pri_list_init(&scope->pri_ops);
    pri_list_init(&scope->pri_handles);
    pri_list_init(&scope->pri_sibling);
}

void pri_scope_init_root(pro_loop *loop) { init(&loop->root, loop, NULL, NULL); }

void pro_scope_init(pro_scope *scope, pro_loop *loop, pro_scope *parent, pro_scope_fn *on_drained)
{
    if (!parent) parent = &loop->root;
    if (parent->pri_state == ENDED) pri_abort("a scope is made in one that has ended");
    init(scope, loop, parent, on_drained);
    pri_list_append(&parent->pri_children, &scope->pri_sibling);
    pri_scope_count(parent);
    scope->pri_state = parent->pri_state;
    if (scope->pri_state != OPEN) tell(scope, TELL_CHECK);
}

void pro_scope_on_stop(pro_scope *scope, pro_scope_fn *on_stop)
{
    scope->pri_on_stop = on_stop;
    if (on_stop && scope->pri_state == DRAINING) tell(scope, TELL_STOP);
}

/* ---- Counting ------------------------------------------------------------------------------- */

void pri_scope_check(pro_scope *scope)
{
    if (scope->pri_state == OPEN || scope->pri_tell) return; /* told later, checked then */
    if (scope->pri_state == DRAINING && scope->pri_live > 0 && scope->pri_live == scope->pri_idle)
        pro_scope_close(scope); /* only handles are left, and nobody to use them */
    else if (scope->pri_live == 0)
        tell(scope, TELL_CHECK);
}

void pro_scope_hold(pro_scope *scope)
{
    if (scope->pri_holds == HOLDS_MAX) pri_abort("a scope is held more than %u times", HOLDS_MAX);
    scope->pri_holds++;
    pri_scope_count(scope);
}

void pro_scope_release(pro_scope *scope)
{
    if (scope->pri_holds == 0) pri_abort("a scope is released more often than held");
    scope->pri_holds--;
    pri_scope_uncount(scope);
}

/* ---- Ending --------------------------------------------------------------------------------- */

void pro_scope_drain(pro_scope *scope, uint64_t deadline_ns)
{
    if (scope->pri_state >= CLOSING) return;
    if (deadline_ns != PRO_NEVER &&
        (!pri_wheel_holds(&scope->pri_drain) || deadline_ns < scope->pri_deadline_ns)) {
        if (pri_wheel_holds(&scope->pri_drain)) pri_wheel_remove(&scope->pri_drain);
        scope->pri_deadline_ns = deadline_ns;
        pri_wheel_insert(&scope->pri_loop->drains, &scope->pri_drain);
    }
    for (pro_scope *s = scope; s; s = next_in_tree(scope, s)) {
        if (s->pri_state != OPEN) continue;
        s->pri_state = DRAINING;
        for (pri_link *l = s->pri_handles.next; l != &s->pri_handles; l = l->next)
            pri_handle_unplain(handle_of(l));
        tell(s, TELL_STOP);
    }
}

void pro_scope_close(pro_scope *scope)
{
    if (scope->pri_state >= CLOSING) return;
    for (pro_scope *s = scope; s; s = next_in_tree(scope, s)) {
        if (s->pri_state >= CLOSING) continue;
        s->pri_state = CLOSING;
        tell(s, TELL_CHECK); /* before the other bit goes: a scope that has none is in no list */
        s->pri_tell &= (uint8_t)~TELL_STOP;
        if (pri_wheel_holds(&s->pri_drain)) pri_wheel_remove(&s->pri_drain);
        for (pri_link *l = s->pri_ops.next; l != &s->pri_ops; l = l->next)
            pri_op_cancel(pro_container_of(l, pro_op, pri_scope), PRO_ECANCELED);
        for (pri_link *l = s->pri_handles.next, *next; l != &s->pri_handles; l = next) {
            next = l->next;
            pri_handle_close(handle_of(l), NULL, false);
        }
    }
}

void pro_scope_cancel(pro_scope *scope)
{
    for (pro_scope *s = scope; s; s = next_in_tree(scope, s)) {
        for (pri_link *l = s->pri_ops.next; l != &s->pri_ops; l = l->next)
            pri_op_cancel(pro_container_of(l, pro_op, pri_scope), PRO_ECANCELED);
        for (pri_link *l = s->pri_handles.next; l != &s->pri_handles; l = l->next)
            for (int d = PRI_READ; d <= PRI_WRITE; d++) {
                pro_op *op = pri_handle_plain_op(handle_of(l), (pri_direction)d);
                if (op) pri_op_cancel(op, PRO_ECANCELED);
            }
    }
}

/* It is over, unless something came to life since that was noticed. */
static void finish(pro_scope *scope)
{
    if (scope->pri_live > 0) return;
    pro_scope *parent = scope->pri_parent;
    if (pri_wheel_holds(&scope->pri_drain)) pri_wheel_remove(&scope->pri_drain);
    pri_list_remove(&scope->pri_sibling);
    scope->pri_state = parent ? ENDED : CLOSING; /* the root lives on, and refuses */
    if (scope->pri_on_drained) {
        scope->pri_loop->others++;
        scope->pri_on_drained(scope);
    }
    if (parent) pri_scope_uncount(parent); /* held until on_drained returned */
}

void pri_scope_tell(pro_loop *loop)
{
    pri_link now;
    pri_list_init(&now);
    pri_list_splice(&now, &loop->telling);
    while (!pri_list_empty(&now)) {
        pro_scope *scope = pro_container_of(pri_list_pop(&now), pro_scope, pri_pending);
        uint8_t    what = scope->pri_tell;
        scope->pri_tell = 0;
        if ((what & TELL_STOP) && scope->pri_on_stop) {
            loop->others++;
            scope->pri_on_stop(scope); /* cannot end the scope: that is told on another turn */
        }
        if (scope->pri_state == OPEN || scope->pri_tell) continue;
        if (scope->pri_live == 0)
            finish(scope);
        else
            pri_scope_check(scope);
    }
}

int pro_scope_draining(const pro_scope *scope) { return scope->pri_state != OPEN; }

int pro_scope_closing(const pro_scope *scope) { return scope->pri_state >= CLOSING; }

uint32_t pro_scope_live(const pro_scope *scope)
{
    const pro_handle *plain = scope->pri_loop->plain;
    uint32_t          live = scope->pri_live + (plain && plain->pri_scope == scope);
    for (const pri_link *l = scope->pri_handles.next; l != &scope->pri_handles; l = l->next)
        for (int d = PRI_READ; d <= PRI_WRITE; d++)
            live += pri_handle_plain_op(handle_of(l), (pri_direction)d) != NULL;
    return live;
}
