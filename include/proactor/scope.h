/* Scopes: the life of a thing (a connection, a server) as a tree.
 *
 * A scope counts what lives in it: operations in flight, open sockets and listeners, child scopes,
 * holds.  It is asked to end in one of two ways, and says once when all of it is over:
 *
 *     pro_scope_drain   every on_stop below is told, parents first; operations finish; at the
 *                       deadline it becomes a close.  A draining scope in which nothing but open
 *                       handles is left closes them.
 *     pro_scope_close   operations are canceled, handles closed, children closed.
 *     on_drained        runs from the loop when the count is zero, once, and only after one of the
 *                       two was asked.  From the moment it begins the library touches neither the
 *                       scope nor what was in it: the place to free the memory.
 *
 * Initiating in a closing scope completes PRO_ECANCELED without reaching the kernel (closing a
 * handle still works).  Every loop has a root scope, so draining it is a graceful shutdown. */
#ifndef PROACTOR_SCOPE_H
#define PROACTOR_SCOPE_H

#include <proactor/base.h>

PRO_BEGIN_DECLS

typedef void pro_scope_fn(pro_scope *scope);

struct pro_scope {
    void *user; /* the caller's */

    /* Internal. */
    pro_loop     *pri_loop;
    pro_scope    *pri_parent;
    pri_link      pri_sibling;
    pri_link      pri_children;
    pri_link      pri_ops;
    pri_link      pri_handles;
    pri_link      pri_pending; /* of the scopes that the loop has something to tell */
    uint64_t      pri_deadline_ns;
    pri_link      pri_drain; /* on the loop's wheel of drains, right behind its deadline */
    pro_scope_fn *pri_on_stop;
    pro_scope_fn *pri_on_drained;
    uint32_t      pri_live; /* operations until their handlers returned, handles, children, holds */
    uint32_t      pri_idle; /* how many of pri_live are open handles */
    uint32_t      pri_holds; /* how many are holds */
    uint8_t       pri_state;
    uint8_t       pri_tell;
};

/* Make a scope in parent (NULL: the loop's root).  The memory is the library's until on_drained
 * begins.  on_drained may be NULL.  A scope made in one that is draining or closing starts in that
 * state.  Initialising one that is alive is misuse.  Thread: the loop's. */
PRO_API void pro_scope_init(pro_scope *scope, pro_loop *loop, pro_scope *parent,
                            pro_scope_fn *on_drained);

/* Set the function that is told, from the loop, once, that a drain began at or above this scope.
 * It stops the sources of new work: closes a listener, half-closes a connection.  If the scope is
 * draining already it is told on the next turn.  NULL takes it away.  Thread: the loop's. */
PRO_API void pro_scope_on_stop(pro_scope *scope, pro_scope_fn *on_stop);

/* Begin to end gracefully; at deadline_ns (absolute, PRO_NEVER: no limit) it becomes a close.  Again
 * on a draining scope: an earlier deadline counts, a later one does not.  Thread: the loop's. */
PRO_API void pro_scope_drain(pro_scope *scope, uint64_t deadline_ns);

/* End now: cancel what is in flight, close the handles, and so below.  Again: nothing happens.
 * Never runs a handler.  Thread: the loop's. */
PRO_API void pro_scope_close(pro_scope *scope);

/* Cancel every operation in flight in the scope and below it; the scope stays open and its handles
 * too.  Thread: the loop's. */
PRO_API void pro_scope_cancel(pro_scope *scope);

/* Keep the count above zero for work that the library does not see; release undoes one hold.
 * Releasing more than was held aborts.  Thread: the loop's. */
PRO_API void pro_scope_hold(pro_scope *scope);
PRO_API void pro_scope_release(pro_scope *scope);

/* 1 after drain (or close) was asked; 1 after close was asked or the deadline of a drain came. */
PRO_API int pro_scope_draining(const pro_scope *scope);
PRO_API int pro_scope_closing(const pro_scope *scope);

/* How many operations, handles, children and holds it counts now. */
PRO_API uint32_t pro_scope_live(const pro_scope *scope);

PRO_END_DECLS

#endif
