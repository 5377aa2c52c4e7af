/* The simulator as an engine: for compose.c.  Worlds: proactor/sim.h. */
#ifndef PRI_SIM_H
#define PRI_SIM_H

#include "core/engine.h"

extern const pri_engine pri_engine_sim;

/* Does the calling thread have a world? */
bool pri_sim_is_current(void);

#endif
