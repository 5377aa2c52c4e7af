/* Bug: what was written is called safe; nothing syncs it. */
#define WAL_BUG WAL_NO_SYNC
#include "buggy_wal.h"
