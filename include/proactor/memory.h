/* Sends that are not copied: the network takes the bytes from where they are.
 *
 * A plain send is over when the system has a copy.  This one is over when the system needs the memory no
 * more, which for TCP is when the peer's system has acknowledged the bytes; so the handler runs a round trip
 * later.  The next one of this kind does not wait for it.  What is gained is the copy, and it pays for large sends only:
 * smaller ones than zerocopy_min of the loop's options are plain sends.  docs/guide/copying.md has figures.
 *
 * Where an engine, a system or a kind of socket cannot do that (all but TCP on io_uring), it is a plain
 * pro_send_all.  The kernel may copy all the same, as it does on the loopback interface:
 * pro_loop_stats counts both.
 *
 * Thread, for all of it: the loop's. */
#ifndef PROACTOR_MEMORY_H
#define PROACTOR_MEMORY_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* Send all of it, as pro_send_all: PRO_OK with value len, or an error with value the bytes that went.  Its
 * place among the sends is that of its initiation; so other sends, and a shutdown, wait behind it.
 * Ours until the handler: op, buf, and there lies the price.  Once bytes went only an acknowledgement or a
 * reset frees the memory: a cancel, a deadline or a close in between resets the connection (PRO_ECONNRESET
 * for its receives, PRO_EPIPE for its sends), and the send completes with the cause and the bytes
 * that had gone to the system, received or not.  To let it end in peace wait for it before closing, or drain. */
PRO_API void pro_send_zerocopy(pro_op *op, pro_socket *s, const void *buf, size_t len,
                               pro_handler *done);

/* The same over count pieces (PRO_VECS_MAX), in their order. */
PRO_API void pro_sendv_zerocopy(pro_op *op, pro_socket *s, const pro_vec *vecs, size_t count,
                                pro_handler *done);

/* The same with the call site given: for macros and other languages. */
PRO_API void pro_send_zerocopy_at(const char *site, pro_op *op, pro_socket *s, const void *buf,
                                  size_t len, pro_handler *done);
PRO_API void pro_sendv_zerocopy_at(const char *site, pro_op *op, pro_socket *s, const pro_vec *vecs,
                                   size_t count, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_send_zerocopy(...) pro_send_zerocopy_at(PRO_SITE, __VA_ARGS__)
#define pro_sendv_zerocopy(...) pro_sendv_zerocopy_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
