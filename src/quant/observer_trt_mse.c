/* trt_mse: the centre of the bin whose choice as limit of |x| gives the least squared error on the counts,
 * from bin 128 (pytorch_quantization/calib/histogram.py, _compute_amax_mse): 127 steps for either sign, 255
 * for a quint8 tensor without negative values, 2^(bits-1) - 1 and 2^bits - 1 with fewer bits. */
#include <math.h>

#include "quant/counts.h"
#include "quant/trt_histogram.h"

enum { FIRST = 128 };

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    return trt_histogram_create(&qb_observer_trt_mse, spec, channels, out, err);
}

static double error_of(const struct trt_histogram *h, float amax, float bound)
{
    const float scale = bound / amax;
    double sum = 0;
    for (int i = 0; i < h->bins; i++) {
        if (h->count[i] > 0) {
            const float x = (trt_histogram_edge(h, i) + trt_histogram_edge(h, i + 1)) / 2;
            float code = nearbyintf(x * scale);
            code = code < bound ? code : bound;
            const double error = (double)(code / scale - x);
            sum += error * error * (double)h->count[i];
        }
    }
    return sum;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct trt_histogram *const h = (const struct trt_histogram *)observer;
    QB_TRY(trt_histogram_check(h, err));
    const int bits = h->spec->bits ? h->spec->bits : 8;
    const float bound = (float)((1 << (h->spec->dtype == QB_QUINT8 && h->min >= 0 ? bits : bits - 1)) - 1);
    double best = INFINITY;
    float threshold = h->end; /* also where there is nothing to choose */
    for (int i = FIRST; i < h->bins && h->end > 0; i++) {
        const float amax = (trt_histogram_edge(h, i) + trt_histogram_edge(h, i + 1)) / 2;
        const double error = error_of(h, amax, bound);
        if (error < best) {
            best = error;
            threshold = amax;
        }
    }
    qb_threshold_range(h->spec, threshold, h->min, h->max, min, max);
    return QB_OK;
}

const struct qb_observer_ops qb_observer_trt_mse = {
    .name = "trt_mse",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS,
    .create = create,
    .observe = trt_histogram_observe,
    .range = range,
    .destroy = trt_histogram_destroy,
};
