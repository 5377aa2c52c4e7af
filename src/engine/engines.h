/* The engines of this system, in the order of preference.  For compose.c alone. */
#ifndef PRI_ENGINES_H
#define PRI_ENGINES_H

#if defined(_WIN32)
#include "engine/iocp/iocp.h"
#define PRI_ENGINES &pri_engine_iocp
#else
#include "engine/epoll/epoll.h"
#include "engine/uring/uring.h"
#define PRI_ENGINES &pri_engine_uring, &pri_engine_epoll
#endif

#endif
