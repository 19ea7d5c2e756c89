/* How far one tensor is from another: sums that grow value by value, in double. */
#ifndef QB_MEASURE_DEVIATION_H
#define QB_MEASURE_DEVIATION_H

#include <stddef.h>

struct qb_deviation {
    double signal; /* sum of want^2 */
    double noise;  /* sum of (got - want)^2 */
    double energy; /* sum of got^2 */
    double dot;    /* sum of got * want */
};

void qb_deviation_add(struct qb_deviation *deviation, const float *want, const float *got, size_t count);

/* 10 log10(signal / noise), in dB; INFINITY without noise, NAN without signal and noise. */
double qb_deviation_sqnr(const struct qb_deviation *deviation);
/* dot / sqrt(signal * energy); NAN where one of them is zero. */
double qb_deviation_cosine(const struct qb_deviation *deviation);

#endif
