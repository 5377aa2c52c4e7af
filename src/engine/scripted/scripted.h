/* An engine in which a test decides each record and the clock.
 *
 * It reaches no kernel: start and cancel are written down, turn hands out what the test has said.  So
 * races of result, cancel, deadline and close are decided one by one.  Tests only. */
#ifndef PRI_SCRIPTED_H
#define PRI_SCRIPTED_H

#include "core/engine.h"

extern const pri_engine pri_engine_scripted;

/* A loop on this engine whose clock stands at 1 s and moves only by pri_scripted_advance, or when a
 * turn waits: then it jumps to the time it waits for. */
int pri_scripted_loop_new(pro_loop **loop);

void pri_scripted_advance(pro_loop *loop, uint64_t ns);

/* Is the operation's step with the engine?  How often was it started, and asked to end? */
bool pri_scripted_is_started(pro_loop *loop, const pro_op *op);
int  pri_scripted_starts(pro_loop *loop);
int  pri_scripted_cancels(pro_loop *loop, const pro_op *op);

/* The next turn hands out this record for the operation's step.  Without PRI_RECORD_MORE the step is
 * over.  Aborts if the step was not started. */
void pri_scripted_report(pro_loop *loop, pro_op *op, int error, int64_t value, uint32_t flags);

/* Descriptors closed since the loop was made, the last one, and whether it was closed abortively. */
int      pri_scripted_closed(void);
intptr_t pri_scripted_last_closed(void);
int      pri_scripted_last_abortive(void);

#endif
