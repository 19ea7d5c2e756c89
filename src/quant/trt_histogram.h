/* The histogram of NVIDIA's pytorch-quantization (HistogramCalibrator with torch_hist): |x| in bins whose
 * width the first batch fixes; a larger value later adds bins. */
#ifndef QB_QUANT_TRT_HISTOGRAM_H
#define QB_QUANT_TRT_HISTOGRAM_H

#include <stdint.h>

#include "quant/observer.h"

struct trt_histogram {
    struct qb_observer base;
    const struct qb_observer_spec *spec;
    int first_bins, bins;
    float min, max;    /* of x; +inf, -inf before the first value */
    float width;       /* of a bin */
    float end;         /* upper edge of the last bin */
    float *count;      /* [QB_HISTOGRAM_MAX_BINS] at most, float32 as torch.histc gives them */
    float *update;     /* of the newest batch */
    uint32_t *scratch; /* QB_HISTC_SCRATCH */
};

enum qb_status trt_histogram_create(const struct qb_observer_ops *ops, const struct qb_observer_spec *spec,
                                    size_t channels, struct qb_observer **out, struct qb_error *err);
/* Members of qb_observer_ops. An infinite value, or one that would need more than QB_HISTOGRAM_MAX_BINS, is
 * QB_EINPUT. */
enum qb_status trt_histogram_observe(struct qb_observer *observer, const float *values, size_t count,
                                     struct qb_error *err);
void trt_histogram_destroy(struct qb_observer *observer);
enum qb_status trt_histogram_check(const struct trt_histogram *h, struct qb_error *err);

/* Lower edge of bin i, or the upper one of the last. */
float trt_histogram_edge(const struct trt_histogram *h, int i);

#endif
