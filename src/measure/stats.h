/* Statistics of the tables. Each formula's source stands with it; known-answer tests in tests/measure. */
#ifndef QB_MEASURE_STATS_H
#define QB_MEASURE_STATS_H

#include <stddef.h>
#include <stdint.h>

struct qb_interval {
    double low, high;
};

/* Wilson score interval (Wilson 1927) of `hits` in `n` at z = 1.959964 (95 %), as fractions. n > 0. */
struct qb_interval qb_wilson95(uint64_t hits, uint64_t n);

/* Exact two-sided McNemar test: binomial(b + c, 1/2); b, c are the discordant counts. 1 when b + c == 0. */
double qb_mcnemar_exact(uint64_t b, uint64_t c);

/* Holm's step-down correction of `n` p-values, in place (capped at 1, monotone). NAN marks a row without a
 * test: it stays NAN and does not count. Quadratic in n, which is a number of table rows. */
void qb_holm(double *p, size_t n);

/* Least difference (fraction) that n paired images can show with 80 % power at 5 %, when a share `rho` of
 * them disagrees: (1.959964 + 0.841621) * sqrt(rho / n). */
double qb_minimum_detectable(double rho, uint64_t n);

/* Mean and standard deviation (n - 1 below the fraction; 0 for one value). n > 0. */
struct qb_mean_sd {
    double mean, sd;
};
struct qb_mean_sd qb_mean_sd(const double *values, size_t n);

/* Two-sided p-value of Student's t with a whole number of degrees of freedom, > 0: the finite series of
 * Abramowitz and Stegun 26.7.3 and 26.7.4. */
double qb_student_p(double t, unsigned degrees);

/* Paired t-test of n differences (Student 1908): p that their mean is 0. Without spread: 1 when all are 0,
 * else 0. n > 1. */
double qb_paired_t(const double *differences, size_t n);

/* Nearest-rank percentile of sorted samples, 0 < p <= 100. n > 0. The median of this room is p = 50. */
double qb_percentile_sorted(const double *sorted, size_t n, double p);
void qb_sort_doubles(double *values, size_t n);

/* 95 % bootstrap percentile interval of the median, in the limit of infinitely many resamples: the median of
 * a resample is an order statistic of n uniform indices, so its distribution is a binomial tail and nothing
 * needs to be drawn (Efron 1979, section 3; Maritz and Jarrett 1978). Exact, without a seed, O(sqrt(n)
 * log(n)). n > 0. */
struct qb_interval qb_bootstrap_median95(const double *sorted, size_t n);

/* 95 % interval of the median from the sign test: the narrowest pair of order statistics k and n + 1 - k
 * whose exact coverage is at least 95 % whatever the distribution (Conover 1999, 3.2). Infinite for n < 6,
 * where none exists. */
struct qb_interval qb_sign_median95(const double *sorted, size_t n);

#endif
