/* What the kernel's interface has and the packaged headers (linux-libc-dev 6.1, liburing 2.3) do not
 * name yet, with a prefix of our own: many of the originals are enums, so #ifndef could not tell. */
#ifndef PRI_URING_KERNEL_H
#define PRI_URING_KERNEL_H

/* io_uring_enter: waiting is idleness, not iowait; allowed where the feature bit is there. */
#define PRI_IORING_ENTER_NO_IOWAIT (1u << 7)
#define PRI_IORING_FEAT_NO_IOWAIT (1u << 17)

/* Opcodes. */
enum { PRI_IORING_OP_FTRUNCATE = 55 };

#endif
