/* ort_percentile: ONNX Runtime's PercentileCalibrater (onnxruntime/python/tools/quantization/calibrate.py).
 * For a symmetric scheme the percentile of |x|, else the middle `percentile` per cent of x; the lower edge of
 * the bin that the share falls into, and never wider than the values. quantize_static collects all batches
 * into one histogram, as here. ort_percentile_absolute: |x| for affine activations too, which is what
 * quantize_static does unless CalibTensorRangeSymmetric is false. */
#include <math.h>

#include "quant/counts.h"

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    const enum qb_counts_span span = spec->symmetric ? QB_SPAN_ABSOLUTE : QB_SPAN_CENTERED;
    return qb_counts_create(&qb_observer_ort_percentile, span, qb_spec_bins(spec), spec, channels, out, err);
}

static enum qb_status create_absolute(const struct qb_observer_spec *spec, size_t channels,
                                      struct qb_observer **out, struct qb_error *err)
{
    return qb_counts_create(&qb_observer_ort_percentile_absolute, QB_SPAN_ABSOLUTE, qb_spec_bins(spec), spec,
                            channels, out, err);
}

/* First bin where the running share reaches `share`. */
static int reach(const struct qb_counts *o, double share)
{
    double sum = 0;
    int i = 0;
    for (; i < o->bins; i++) {
        sum += (double)o->count[i] / (double)o->total;
        if (sum >= share) {
            break;
        }
    }
    return i; /* past the last one where rounding never lets the sum reach 1 */
}

static enum qb_status find(const struct qb_observer *observer, bool absolute, float *min, float *max,
                           struct qb_error *err)
{
    const struct qb_counts *const o = (const struct qb_counts *)observer;
    QB_TRY(qb_counts_check(o, err));
    const double percentile = qb_spec_percentile(o->spec, &qb_observer_ort_percentile);
    float low, high;
    if (absolute) {
        high = o->edges[reach(o, percentile / 100)];
        low = -high;
    } else {
        const double cut = (100 - percentile) / 200;
        high = o->edges[reach(o, 1 - cut)];
        low = o->edges[reach(o, cut)];
    }
    /* With zero in it, as compute_scale_zp makes it next: a tensor of one sign may have crossed ends here. */
    *min = fminf(low < o->min ? o->min : low, 0);
    *max = fmaxf(high > o->max ? o->max : high, 0);
    return QB_OK;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    return find(observer, ((const struct qb_counts *)observer)->spec->symmetric, min, max, err);
}

static enum qb_status range_absolute(const struct qb_observer *observer, float *min, float *max,
                                     struct qb_error *err)
{
    return find(observer, true, min, max, err);
}

const struct qb_observer_ops qb_observer_ort_percentile = {
    .name = "ort_percentile",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS | QB_OPTION_PERCENTILE,
    .default_percentile = 99.999,
    .create = create,
    .observe = qb_counts_observe,
    .next_pass = qb_counts_next_pass,
    .range = range,
    .destroy = qb_counts_destroy,
};

const struct qb_observer_ops qb_observer_ort_percentile_absolute = {
    .name = "ort_percentile_absolute",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS | QB_OPTION_PERCENTILE,
    .default_percentile = 99.999,
    .create = create_absolute,
    .observe = qb_counts_observe,
    .next_pass = qb_counts_next_pass,
    .range = range_absolute,
    .destroy = qb_counts_destroy,
};
