/* Faults by seed over another engine: proactor/test.h says what a user gets.  For compose.c alone. */
#ifndef PRI_ENGINE_FAULTS_H
#define PRI_ENGINE_FAULTS_H

#include "core/engine.h"

/* An engine of its own over inner, for one loop; NULL: no memory.  It frees itself in fini; where no
 * loop came of it, by pri_faults_free.  plan: pri_faults_is_plan. */
const pri_engine *pri_faults_over(const pri_engine *inner, const char *plan, const pro_env *env,
                                  pri_why *why);
void              pri_faults_free(const pri_engine *layer);

/* "SEED" or "SEED:WORDS", as test.h has it? */
bool pri_faults_is_plan(const char *plan);

#endif
