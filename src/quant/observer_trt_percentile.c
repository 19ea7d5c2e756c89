/* trt_percentile: the percentile of |x| of NVIDIA's calibrators (pytorch_quantization/calib/histogram.py,
 * _compute_amax_percentile): the lower edge of the bin where the running share reaches it. */
#include "quant/counts.h"
#include "quant/trt_histogram.h"

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    return trt_histogram_create(&qb_observer_trt_percentile, spec, channels, out, err);
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct trt_histogram *const h = (const struct trt_histogram *)observer;
    QB_TRY(trt_histogram_check(h, err));
    const double share = qb_spec_percentile(h->spec, &qb_observer_trt_percentile) / 100;
    double total = 0, sum = 0;
    for (int i = 0; i < h->bins; i++) {
        total += (double)h->count[i];
    }
    int i = 0;
    for (; i < h->bins; i++) {
        sum += (double)h->count[i] / total;
        if (sum >= share) {
            break;
        }
    }
    qb_threshold_range(h->spec, trt_histogram_edge(h, i), h->min, h->max, min, max);
    return QB_OK;
}

const struct qb_observer_ops qb_observer_trt_percentile = {
    .name = "trt_percentile",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS | QB_OPTION_PERCENTILE,
    .default_percentile = 99.99,
    .create = create,
    .observe = trt_histogram_observe,
    .range = range,
    .destroy = trt_histogram_destroy,
};
