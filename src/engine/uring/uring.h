/* The io_uring engine: native, on Linux. */
#ifndef PRI_URING_H
#define PRI_URING_H

#include "core/engine.h"

extern const pri_engine pri_engine_uring;

#endif
