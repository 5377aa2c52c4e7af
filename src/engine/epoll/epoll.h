/* Linux epoll: the completion contract emulated on readiness. */
#ifndef PRI_ENGINE_EPOLL_H
#define PRI_ENGINE_EPOLL_H

#include "core/engine.h"

extern const pri_engine pri_engine_epoll;

#endif
