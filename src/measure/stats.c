/* Statistics of the tables: see stats.h. */
#include "measure/stats.h"

#include <math.h>
#include <stdlib.h>

static const double Z_95 = 1.959963984540054, Z_POWER_80 = 0.8416212335729143;

/* P(X <= k) of X ~ binomial(n, p) for k at or below the mode, where the terms fall from k downwards and the
 * sum is done after a few times sqrt(n) of them. The first term is taken through log-gamma, so that no n
 * overflows. */
static double lower_tail(double k, double n, double p)
{
    int sign; /* lgamma would write the global signgam */
    const double log_first = lgamma_r(n + 1, &sign) - lgamma_r(k + 1, &sign) - lgamma_r(n - k + 1, &sign) +
                             k * log(p) + (n - k) * log1p(-p);
    const double odds = (1 - p) / p;
    double term = 1, sum = 1;
    for (double i = k; i > 0 && term > sum * 1e-17; i--) {
        term *= i / (n - i + 1) * odds;
        sum += term;
    }
    return exp(log_first + log(sum));
}

/* P(X <= k) for any 0 <= k and 0 < p <= 1. */
static double binomial_cdf(double k, double n, double p)
{
    if (k >= n) {
        return 1;
    }
    if (p >= 1) {
        return 0;
    }
    return k <= n * p ? lower_tail(k, n, p) : 1 - lower_tail(n - k - 1, n, 1 - p);
}

struct qb_interval qb_wilson95(uint64_t hits, uint64_t n)
{
    const double count = (double)n, p = (double)hits / count, z2 = Z_95 * Z_95;
    const double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
    const double half = Z_95 / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    /* The ends at 0 and n hits are 0 and 1 exactly; rounding must not move them. */
    return (struct qb_interval){
        .low = hits == 0 ? 0 : fmax(0, centre - half),
        .high = hits == n ? 1 : fmin(1, centre + half),
    };
}

double qb_mcnemar_exact(uint64_t b, uint64_t c)
{
    if (b == c) {
        return 1;
    }
    const double less = (double)(b < c ? b : c);
    return fmin(1, 2 * lower_tail(less, (double)b + (double)c, 0.5));
}

struct qb_mean_sd qb_mean_sd(const double *values, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
    }
    return (struct qb_mean_sd){mean, n > 1 ? sqrt(squares / (double)(n - 1)) : 0};
}

double qb_student_p(double t, unsigned degrees)
{
    const double angle = atan(fabs(t) / sqrt(degrees)), cosine = cos(angle), sine = sin(angle);
    /* cos + 2/3 cos^3 + ... for odd, 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ... for even degrees. */
    double term = degrees % 2 ? cosine : 1, sum = degrees > 1 ? term : 0;
    for (unsigned k = degrees % 2 ? 3 : 2; k + 2 <= degrees; k += 2) {
        term *= (double)(k - 1) / k * cosine * cosine;
        sum += term;
    }
    const double inside = degrees % 2 ? M_2_PI * (angle + sine * sum) : sine * sum;
    return fmin(1, fmax(0, 1 - inside));
}

double qb_paired_t(const double *differences, size_t n)
{
    const struct qb_mean_sd d = qb_mean_sd(differences, n);
    if (d.sd == 0) {
        return d.mean == 0;
    }
    return qb_student_p(d.mean / (d.sd / sqrt((double)n)), (unsigned)(n - 1));
}

void qb_holm(double *p, size_t n)
{
    size_t tests = 0;
    for (size_t i = 0; i < n; i++) {
        tests += !isnan(p[i]) && !signbit(p[i]);
    }
    /* A finished value is kept negated (-0 included) until all are done. */
    double largest = 0;
    for (size_t left = tests; left > 0; left--) {
        size_t next = n;
        for (size_t i = 0; i < n; i++) {
            if (!isnan(p[i]) && !signbit(p[i]) && (next == n || p[i] < p[next])) {
                next = i;
            }
        }
        largest = fmin(1, fmax(largest, (double)left * p[next]));
        p[next] = -largest;
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = fabs(p[i]);
    }
}

double qb_minimum_detectable(double rho, uint64_t n)
{
    return (Z_95 + Z_POWER_80) * sqrt(rho / (double)n);
}

double qb_percentile_sorted(const double *sorted, size_t n, double p)
{
    /* p * n first: it is exact for whole percents, so the ceiling is not moved by a rounding. */
    const double rank = ceil(p * (double)n / 100);
    return sorted[rank <= 1 ? 0 : rank >= (double)n ? n - 1 : (size_t)rank - 1];
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void qb_sort_doubles(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
}

/* Smallest index j with P(median of a resample <= sorted[j]) >= q. The median has rank r = ceil(n / 2); it is
 * at most sorted[j] when at least r of the n drawn indices are <= j, each with probability (j + 1) / n. */
static size_t bootstrap_index(size_t n, double q)
{
    const double count = (double)n, rank = ceil(count / 2);
    size_t low = 0, high = n - 1;
    while (low < high) {
        const size_t j = low + (high - low) / 2;
        if (1 - binomial_cdf(rank - 1, count, (double)(j + 1) / count) >= q) {
            high = j;
        } else {
            low = j + 1;
        }
    }
    return low;
}

struct qb_interval qb_bootstrap_median95(const double *sorted, size_t n)
{
    return (struct qb_interval){sorted[bootstrap_index(n, 0.025)], sorted[bootstrap_index(n, 0.975)]};
}

struct qb_interval qb_sign_median95(const double *sorted, size_t n)
{
    /* The largest number of samples that may be cut off at each end. */
    size_t low = 0, high = n / 2; /* P(X <= k - 1) <= 0.025 holds at low, not at high */
    if (n < 6) {
        return (struct qb_interval){-INFINITY, INFINITY};
    }
    while (high - low > 1) {
        const size_t k = low + (high - low) / 2;
        if (binomial_cdf((double)(k - 1), (double)n, 0.5) <= 0.025) {
            low = k;
        } else {
            high = k;
        }
    }
    /* low samples may be outside on either side: the interval runs from the low-th smallest to the low-th
     * largest. */
    return (struct qb_interval){sorted[low - 1], sorted[n - low]};
}
