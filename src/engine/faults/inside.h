/* Between plan.c and faults.c. */
#ifndef PRI_FAULTS_INSIDE_H
#define PRI_FAULTS_INSIDE_H

#include <proactor/sim.h>

#include "engine/faults/faults.h"

typedef struct faults_plan {
    uint64_t seed;
    uint32_t rate[PRO_SIM_FAULT_KINDS]; /* one in so many; 0: off */
} faults_plan;

static inline uint64_t faults_bits(uint64_t *stream)
{
    uint64_t z = *stream += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline uint32_t faults_choice(uint64_t *stream, uint32_t n)
{
    return (uint32_t)(((faults_bits(stream) >> 32) * n) >> 32);
}

/* false: no such plan. */
bool   pri_faults_plan_read(faults_plan *plan, const char *text);
size_t pri_faults_plan_tell(const faults_plan *plan, char *buf, size_t size);

#endif
