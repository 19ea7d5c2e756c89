/* Statistics for observers that compute a range from a distribution's shape instead of searching for one. */
#ifndef QB_QUANT_MOMENTS_H
#define QB_QUANT_MOMENTS_H

#include "quant/observer.h"

struct qb_moments {
    struct qb_observer base;
    const struct qb_observer_spec *spec;
    float min, max; /* +inf, -inf before the first value */
    double count;   /* of all values */
    /* Sums over the batches of each batch's mean, standard deviation and mean distance
     * from its mean. */
    double batches, mean, sigma, distance;
};

enum qb_status qb_moments_create(const struct qb_observer_ops *ops, const struct qb_observer_spec *spec,
                                 size_t channels, struct qb_observer **out, struct qb_error *err);
/* Members of qb_observer_ops. */
enum qb_status qb_moments_observe(struct qb_observer *observer, const float *values, size_t count,
                                  struct qb_error *err);
void qb_moments_destroy(struct qb_observer *observer);
enum qb_status qb_moments_check(const struct qb_moments *moments, struct qb_error *err);

/* Bits of the codes that `spec` derives scales for, 1 to 8: 7 for 0..127 and -64..63. */
int qb_spec_bits(const struct qb_observer_spec *spec);

/* Best clipping point of a Gaussian in standard deviations, by bits (1..8): Banner et al., arXiv 1810.05723;
 * ncnn's table. */
double qb_gauss_clip(int bits);

#endif
