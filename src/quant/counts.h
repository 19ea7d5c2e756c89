/* Counts of values in bins of equal width, over a range that is known before the first value is counted: the
 * observers that use them see the data twice, once for its range and once to count. */
#ifndef QB_QUANT_COUNTS_H
#define QB_QUANT_COUNTS_H

#include <stdint.h>

#include "quant/observer.h"

/* What is counted, over which range. A = largest |x|. */
enum qb_counts_span {
    QB_SPAN_VALUES,    /* x over [min, max], zero included */
    QB_SPAN_CENTERED,  /* x over [-A, A] */
    QB_SPAN_ABSOLUTE,  /* |x| over [smallest |x|, A] */
    QB_SPAN_MAGNITUDE, /* |x| over [0, A] without the zeros, bin = floor(|x| / A * bins) */
};

struct qb_counts {
    struct qb_observer base;
    const struct qb_observer_spec *spec;
    enum qb_counts_span span;
    int bins;
    bool counting;   /* second pass */
    float min, max;  /* of x; +inf, -inf before the first value */
    float smallest;  /* |x| */
    uint64_t total;  /* values counted */
    float *edges;    /* [bins + 1], ascending */
    uint64_t *count; /* [bins] */
};

enum qb_status qb_counts_create(const struct qb_observer_ops *ops, enum qb_counts_span span, int bins,
                                const struct qb_observer_spec *spec, size_t channels,
                                struct qb_observer **out, struct qb_error *err);

/* Members of qb_observer_ops. An infinite value is QB_EINPUT: no bin is wide enough. */
enum qb_status qb_counts_observe(struct qb_observer *observer, const float *values, size_t count,
                                 struct qb_error *err);
bool qb_counts_next_pass(struct qb_observer *observer);
void qb_counts_destroy(struct qb_observer *observer);

/* QB_EINPUT when nothing was counted. */
enum qb_status qb_counts_check(const struct qb_counts *counts, struct qb_error *err);

/* The range that a threshold on |x| stands for: both signs where the scheme is symmetric, else no further
 * than the values go. */
void qb_threshold_range(const struct qb_observer_spec *spec, float threshold, float seen_min, float seen_max,
                        float *min, float *max);

/* KL divergence of p from q, each divided by its sum; infinite where q is 0 and p is not. */
double qb_divergence(const double *p, const double *q, int count);

#endif
