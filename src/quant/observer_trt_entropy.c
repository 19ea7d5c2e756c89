/* trt_entropy: NVIDIA's KL search (pytorch_quantization/calib/histogram.py, _compute_amax_entropy; S. Migacz,
 * "8-bit inference with TensorRT", GTC 2017). Bin 0 takes the count of bin 1; `levels` are those of one sign
 * (128 for 8 bits); thresholds from 128 bins, or from `levels` where it is written, to all of them; the last
 * of equal ones. */
#include <math.h>
#include <stdlib.h>

#include "quant/counts.h"
#include "quant/trt_histogram.h"

enum { FIRST = 128 };

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    return trt_histogram_create(&qb_observer_trt_entropy, spec, channels, out, err);
}

/* Divergence of the first `kept` bins, the rest added to their last, from their form of `levels` levels. */
static double candidate(const double *count, int bins, int kept, int levels, double *p, double *q)
{
    for (int i = 0; i < kept; i++) {
        p[i] = count[i];
    }
    for (int i = kept; i < bins; i++) {
        p[kept - 1] += count[i];
    }
    for (int i = 0; i < kept;) {
        const int level = (int)((int64_t)i * levels / kept);
        int end = i, filled = 0;
        double sum = 0;
        while (end < kept && (int)((int64_t)end * levels / kept) == level) {
            filled += count[end] > 0;
            sum += count[end];
            end++;
        }
        for (; i < end; i++) {
            q[i] = count[i] > 0 ? sum / filled : 0;
        }
    }
    return qb_divergence(p, q, kept);
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct trt_histogram *const h = (const struct trt_histogram *)observer;
    QB_TRY(trt_histogram_check(h, err));
    const int levels = qb_spec_levels(h->spec);
    const size_t bins = (size_t)h->bins;
    double *const count = calloc(3 * bins, sizeof *count);
    if (!count) {
        return qb_fail_memory(err, 3 * bins * sizeof *count);
    }
    for (size_t i = 0; i < bins; i++) {
        count[i] = (double)h->count[i];
    }
    if (bins > 1) {
        count[0] = count[1];
    }
    double best = INFINITY;
    int kept = h->bins; /* also where there are fewer bins than levels */
    for (int i = h->spec->has_levels ? levels : FIRST; i <= h->bins; i++) {
        const double divergence = candidate(count, h->bins, i, levels, count + bins, count + 2 * bins);
        if (divergence <= best) {
            best = divergence;
            kept = i;
        }
    }
    free(count);
    qb_threshold_range(h->spec, trt_histogram_edge(h, kept), h->min, h->max, min, max);
    return QB_OK;
}

const struct qb_observer_ops qb_observer_trt_entropy = {
    .name = "trt_entropy",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS | QB_OPTION_LEVELS,
    .create = create,
    .observe = trt_histogram_observe,
    .range = range,
    .destroy = trt_histogram_destroy,
};
