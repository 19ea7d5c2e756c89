/* ncnn_aciq: ncnn's ACIQ (Tencent/ncnn, tools/quantize/ncnn2table.cpp): the standard deviation of a Gaussian
 * is estimated from the largest |x| and the number of values, the threshold is its best clipping point. */
#include <math.h>

#include "quant/counts.h"
#include "quant/moments.h"

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    return qb_moments_create(&qb_observer_ncnn_aciq, spec, channels, out, err);
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct qb_moments *const o = (const struct qb_moments *)observer;
    QB_TRY(qb_moments_check(o, err));
    const double pi = 3.14159265358979323846, absmax = (double)(-o->min > o->max ? -o->min : o->max);
    float threshold = (float)absmax;
    if (o->count > 1) {
        const double sigma = absmax * 2 * 0.5 * 0.35 * (1 + sqrt(pi * log(4))) / sqrt(2 * log(o->count));
        threshold = (float)(qb_gauss_clip(qb_spec_bits(o->spec)) * sigma);
    }
    qb_threshold_range(o->spec, threshold, o->min, o->max, min, max);
    return QB_OK;
}

const struct qb_observer_ops qb_observer_ncnn_aciq = {
    .name = "ncnn_aciq",
    .options = QB_OPTIONS_COMMON,
    .create = create,
    .observe = qb_moments_observe,
    .range = range,
    .destroy = qb_moments_destroy,
};
