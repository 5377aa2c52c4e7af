/* The engine on I/O completion ports: native, on Windows. */
#ifndef PRI_IOCP_H
#define PRI_IOCP_H

#include "core/engine.h"

extern const pri_engine pri_engine_iocp;

#endif
