/* Memory that the system is told more about: sends that are not copied, and registered memory.
 *
 * Sends that are not copied: the network takes the bytes from where they are.  A plain send is over when
 * the system has a copy of the bytes.  This one is over when the system needs the memory no
 * more, which for TCP is when the peer's system has acknowledged the bytes; so the handler runs a round trip
 * later.  The next one of this kind does not wait for it.  What is gained is the copy, and it pays for large sends only:
 * smaller ones than zerocopy_min of the loop's options are plain sends.  docs/guide/copying.md has figures.
 *
 * Where an engine, a system or a kind of socket cannot do that (all but TCP on io_uring), it is a plain
 * pro_send_all.  The kernel may copy all the same, as it does on the loopback interface:
 * pro_loop_stats counts both.
 *
 * Registered memory: for each read and write the system looks for the pages behind the buffer, and holds on
 * to them until it is over, if it does not copy.  Of memory that a program registers it does so once, beforehand:
 * docs/guide/files.md.
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

/* ---- Registered memory ------------------------------------------------------------------------ */

#define PRO_MEMORY_REGIONS_MAX 16384 /* of a loop; one of several GiB counts once for each */

/* Register bytes of memory at base with a loop.  From now on those reads and writes of files, and those
 * zero-copy sends, of this loop whose memory lies inside of one such region have a cheaper form, by
 * themselves, and are otherwise what they are; those over several pieces, if all of these lie in one region
 * (Linux 6.15).  What is gained is the work on pages: much past the page cache, nothing where bytes are copied.  What
 * lies in no region, in two, or across a border of GiB from base, is as ever.  Engines other than io_uring gain
 * nothing by it, and there it succeeds all the same: pro_loop_explain says so, and registered_bytes and
 * registered_transfers in pro_loop_stats say what is in force.
 *
 * The memory stays the program's, to read and to write.  But it must stay where it is until it is
 * unregistered: the system holds the pages that are there now, and would not notice others (munmap, mremap,
 * mmap over it, MADV_DONTNEED, a free that does one of these).  A child of fork has a copy of it, made at
 * once; after MADV_DONTFORK it has none.
 *
 * Returns PRO_OK; PRO_EINVAL (NULL, no bytes, memory that is not there or may not be written to); PRO_EEXIST
 * (some of it is registered); PRO_ENOBUFS (too many regions); PRO_ENOMEM (no memory; more than may be locked,
 * ulimit -l, which pro_loop_explain says then); PRO_ENOTSUP, PRO_EPERM, ... from the system.  After an error
 * nothing has changed, and the memory may be used as any other. */
PRO_API int pro_memory_register(pro_loop *loop, void *base, size_t bytes);

/* Undo it; base as it was given.  Operations in flight go on, and hold what they use: as with any memory,
 * theirs is free when their handlers begin, and then it may be unmapped.  Returns PRO_OK; PRO_ENOENT (no
 * region begins there).  What is left is undone as the loop is freed. */
PRO_API int pro_memory_unregister(pro_loop *loop, void *base);

#ifndef PRO_NO_SITES
#define pro_send_zerocopy(...) pro_send_zerocopy_at(PRO_SITE, __VA_ARGS__)
#define pro_sendv_zerocopy(...) pro_sendv_zerocopy_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
