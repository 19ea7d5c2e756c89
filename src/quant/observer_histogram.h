/* What the histogram observers of PyTorch's releases share (observer_histogram.c), and a look inside for
 * tests and for whoever wants to draw what was seen. */
#ifndef QB_QUANT_OBSERVER_HISTOGRAM_H
#define QB_QUANT_OBSERVER_HISTOGRAM_H

#include <stdint.h>

#include "quant/observer.h"

struct qb_histogram {
    struct qb_observer base;
    int bins;
    float min, max;    /* +inf, -inf before the first value */
    float *hist;       /* [bins] */
    float *update;     /* [bins] counts of the newest batch */
    float *merged;     /* [bins] takes turns with hist */
    uint32_t *scratch; /* QB_HISTC_SCRATCH(bins) */
};

enum qb_status qb_histogram_create(const struct qb_observer_ops *ops, const struct qb_observer_spec *spec,
                                   size_t channels, struct qb_observer **out, struct qb_error *err);
/* One batch: its finite values, if there are any, and their extremes go to `take`. */
enum qb_status qb_histogram_observe(struct qb_observer *observer, const float *values, size_t count,
                                    void (*take)(struct qb_histogram *o, const float *values, size_t count,
                                                 float min, float max),
                                    struct qb_error *err);
/* hist = merged, over [min, max]. */
void qb_histogram_turn(struct qb_histogram *o, float min, float max);
/* For the tables: range and destroy. */
enum qb_status qb_histogram_range(const struct qb_observer *observer, float *min, float *max,
                                  struct qb_error *err);
void qb_histogram_destroy(struct qb_observer *observer);

/* The counts so far, [bins], and the range they cover; owned by `observer`, valid until its next batch. */
const float *qb_observer_histogram_state(const struct qb_observer *observer, float *min, float *max);

#endif
