/* The median and its interval.
 *
 * The interval makes no assumption about the noise, which here has a long tail: of n sorted
 * values the k-th smallest and the k-th largest enclose the true median with probability 1 - 2
 * * P(Binomial(n, 1/2) < k); we take the largest k that leaves at least 95%. With fewer than
 * six values no such k exists and the interval is all of the range. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double *sorted_copy(const double *at, size_t len)
{
    double *copy = malloc(len * sizeof *copy);
    if (len == 0 || !copy) bench_die("statistics of nothing");
    memcpy(copy, at, len * sizeof *copy);
    qsort(copy, len, sizeof *copy, compare);
    return copy;
}

static double middle(const double *sorted, size_t len)
{
    return (sorted[(len - 1) / 2] + sorted[len / 2]) / 2;
}

/* How many values to drop at each end. */
static size_t trim(size_t len)
{
    double term = 1, tail = 0;
    for (size_t i = 0; i < len; i++) term /= 2; /* P(X = 0); underflows past 1074 values */
    if (term == 0) bench_die("too many rounds for the interval");
    for (size_t k = 0; k < len; k++) {
        tail += term; /* P(X <= k) */
        if (2 * tail > 0.05) return k;
        term *= (double)(len - k) / (double)(k + 1);
    }
    return 0;
}

double bench_median(const double *at, size_t len)
{
    double *sorted = sorted_copy(at, len);
    double  mid = middle(sorted, len);
    free(sorted);
    return mid;
}

/* k dropped at each end means the (k)-th smallest, counting from 1, bounds it: P(X < k) is the
 * risk of each side. */
struct bench_interval bench_median_interval(const double *at, size_t len)
{
    double               *sorted = sorted_copy(at, len);
    size_t                k = trim(len);
    size_t                low = k > 0 ? k - 1 : 0;
    struct bench_interval out = {sorted[low], middle(sorted, len), sorted[len - 1 - low]};
    free(sorted);
    return out;
}

bool bench_aa_holds(struct bench_interval aa)
{
    return aa.lo >= 1 - BENCH_AA_LIMIT && aa.hi <= 1 + BENCH_AA_LIMIT;
}
