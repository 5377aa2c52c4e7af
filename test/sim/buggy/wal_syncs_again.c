/* Bug: a sync that failed is tried again, and its success is believed. */
#define WAL_BUG WAL_SYNCS_AGAIN
#include "buggy_wal.h"
