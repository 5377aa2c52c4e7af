/* Files on POSIX: how our words are said to the system. */
#ifndef PRI_OS_POSIX_FILE_H
#define PRI_OS_POSIX_FILE_H

#include <proactor/file.h>

struct statx;

int  pri_os_open_flags(uint32_t flags); /* of PRO_FILE_*, for open */
int  pri_os_advice(uint32_t advice);    /* of a pro_advice; -1: none such */
void pri_os_stat_in(pro_stat *out, const struct statx *in);

#endif
