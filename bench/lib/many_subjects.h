/* The parts of the subjects of many.h. */
#ifndef BENCH_MANY_SUBJECTS_H
#define BENCH_MANY_SUBJECTS_H

#include "many.h"

void    *many_timers(const struct many_subject *subject, unsigned size, char *why, size_t why_size);
uint64_t many_timers_rearm(void *state, uint64_t units_min);
uint64_t many_timers_expire(void *state, uint64_t units_min);

void *many_uv_timers(const struct many_subject *subject, unsigned size, char *why, size_t why_size);
uint64_t many_uv_timers_rearm(void *state, uint64_t units_min);

#endif
