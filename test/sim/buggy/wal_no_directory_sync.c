/* Bug: a new log is synced, and the directory that has its name is not. */
#define WAL_BUG WAL_NO_DIRECTORY_SYNC
#include "buggy_wal.h"
