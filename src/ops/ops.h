/* What the initiating functions of sockets, listeners and datagrams share. */
#ifndef PRI_OPS_H
#define PRI_OPS_H

#include "core/op.h"

static inline const pri_net *pri_net_of(const pro_loop *loop) { return loop->net; }

static inline bool pri_is_closing(pro_loop *loop, const pro_scope *scope)
{
    return pro_scope_closing(scope ? scope : &loop->root);
}

/* PRO_OK if the handle has a descriptor to ask. */
static inline int pri_has_descriptor(const pro_handle *handle)
{
    if (handle->pri_state != PRI_HANDLE_OPEN) return PRO_ECLOSED;
    return handle->pri_fd < 0 ? PRO_ENOTCONN : PRO_OK;
}

/* Its descriptor is no socket: PRI_PLAIN_ bits. */
static inline void pri_be_plain(pro_handle *handle, unsigned bits)
{
    handle->pri_flags |= PRI_HANDLE_PLAIN;
    handle->pri_family = (uint8_t)(PRI_PLAIN | bits);
}

/* net.c ---------------------------------------------------------------------------------------- */

/* A socket of the kind as a new handle.  PRO_OK or one of ours. */
int pri_open_handle(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                    int family);
int pri_adopt_handle(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                     intptr_t descriptor);

/* The same for one whose blocking mode is as it shall be. */
int pri_take_descriptor(pro_handle *handle, pri_handle_kind kind, pro_loop *loop, pro_scope *scope,
                        intptr_t descriptor);

/* Begin a connect.  fill puts the name into the side object: PRO_OK or one of ours. */
typedef int pri_fill_name(pro_loop *loop, pri_side *side, const void *to);
void        pri_connect(const char *site, pro_op *op, pro_handle *handle, pro_family family,
                        pri_fill_name *fill, const void *to, pro_handler *done);

/* What is asked for its descriptor gets one, and leaves its slot for good; operations in flight do not
 * mind.  PRO_OK, also where there is none; or one of ours. */
int pri_leave_slot(pro_handle *handle);

/* The same: the descriptor, or -1. */
intptr_t pri_descriptor_of(const pro_handle *handle);

int pri_local_of(const pro_handle *handle, pro_address *address);
int pri_peer_of(const pro_handle *handle, pro_address *address);

/* A side object with these pieces, the empty ones left out; *total is their length.  NULL: *error says
 * why. */
pri_side *pri_side_of_vectors(pro_loop *loop, const pro_vec *vecs, size_t count, size_t *total,
                              int *error);

#endif
