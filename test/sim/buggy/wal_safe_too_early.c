/* Bug: a record is called safe when it is written, and synced after that. */
#define WAL_BUG WAL_SAFE_TOO_EARLY
#include "buggy_wal.h"
