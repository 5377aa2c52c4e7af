/* What the kernel's interface has and the packaged headers (linux-libc-dev 6.1, liburing 2.3) do not
 * name yet, with a prefix of our own: many of the originals are enums, so #ifndef could not tell. */
#ifndef PRI_URING_KERNEL_H
#define PRI_URING_KERNEL_H

/* io_uring_enter: waiting is idleness, not iowait; allowed where the feature bit is there. */
#define PRI_IORING_ENTER_NO_IOWAIT (1u << 7)
#define PRI_IORING_FEAT_NO_IOWAIT (1u << 17)

/* A bit of the kernel that came after the one in which each slot of a table counts its own users. */
#define PRI_IORING_FEAT_RW_ATTR (1u << 16)

/* Of a zero-copy send, in ioprio: say in the notification whether it was copied; and what that says. */
#define PRI_IORING_SEND_ZC_REPORT_USAGE (1u << 3)
#define PRI_IORING_NOTIF_USAGE_ZC_COPIED (1u << 31)

/* Opcodes. */
enum {
    PRI_IORING_OP_FIXED_FD_INSTALL = 54,
    PRI_IORING_OP_FTRUNCATE = 55,
    PRI_IORING_OP_READV_FIXED = 60,
    PRI_IORING_OP_WRITEV_FIXED = 61
};

/* Commands of IORING_OP_URING_CMD on a socket, in cmd_op: level and name of the option are the halves of
 * addr, its length is in file_index, its value at addr3. */
enum { PRI_SOCKET_URING_OP_GETSOCKOPT = 2, PRI_SOCKET_URING_OP_SETSOCKOPT = 3 };

#endif
