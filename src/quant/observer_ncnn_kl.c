/* ncnn_kl: ncnn's KL calibration of activations (Tencent/ncnn, tools/quantize/ncnn2table.cpp): |x| without
 * the zeros in 2048 bins over the largest one of all images, 128 levels of fractional width, sums not
 * normalized, the first of equal thresholds. */
#include <math.h>
#include <stdlib.h>

#include "quant/counts.h"

enum { LEVELS = 128 };
static const double floor_of_bins = 1e-4;

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    return qb_counts_create(&qb_observer_ncnn_kl, QB_SPAN_MAGNITUDE, qb_spec_bins(spec), spec, channels, out,
                            err);
}

/* Where a level that covers [start, end) of fractional bins begins and ends: whole bins [first, stop), and
 * the shares of the bins before and after. */
struct level {
    int first, stop;
    double before, after;
};

static struct level level_of(int index, int threshold)
{
    const double width = (double)threshold / LEVELS, start = index * width, end = start + width;
    struct level l = {(int)ceil(start), (int)floor(end), 0, 0};
    l.before = l.first > start ? l.first - start : 0;
    l.after = l.stop < end ? end - l.stop : 0;
    return l;
}

static double candidate(const double *share, int bins, int threshold, double *p, double *q)
{
    for (int i = 0; i < threshold; i++) {
        p[i] = floor_of_bins + share[i];
        q[i] = floor_of_bins;
    }
    for (int i = threshold; i < bins; i++) {
        p[threshold - 1] += share[i];
    }
    for (int k = 0; k < LEVELS; k++) {
        const struct level l = level_of(k, threshold);
        double sum = 0, width = l.before + l.after;
        if (l.before > 0) {
            sum += l.before * share[l.first - 1];
        }
        if (l.after > 0 && l.stop < threshold) {
            sum += l.after * share[l.stop];
        }
        for (int i = l.first; i < l.stop; i++) {
            sum += share[i];
            width += 1;
        }
        const double mean = sum / width;
        if (l.before > 0) {
            q[l.first - 1] += mean * l.before;
        }
        if (l.after > 0 && l.stop < threshold) {
            q[l.stop] += mean * l.after;
        }
        for (int i = l.first; i < l.stop; i++) {
            q[i] += mean;
        }
    }
    double divergence = 0;
    for (int i = 0; i < threshold; i++) {
        divergence += p[i] * log(p[i] / q[i]);
    }
    return divergence;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct qb_counts *const o = (const struct qb_counts *)observer;
    QB_TRY(qb_counts_check(o, err));
    if (o->total == 0 || o->bins <= LEVELS) { /* only zeros, or nothing to choose */
        qb_threshold_range(o->spec, o->total ? o->edges[o->bins] : 0, o->min, o->max, min, max);
        return QB_OK;
    }
    const size_t bins = (size_t)o->bins;
    double *const share = calloc(3 * bins, sizeof *share);
    if (!share) {
        return qb_fail_memory(err, 3 * bins * sizeof *share);
    }
    for (size_t i = 0; i < bins; i++) {
        share[i] = (double)o->count[i] / (double)o->total;
    }
    double best = INFINITY;
    int threshold = LEVELS;
    for (int t = LEVELS; t < o->bins; t++) {
        const double divergence = candidate(share, o->bins, t, share + bins, share + 2 * bins);
        if (divergence < best) {
            best = divergence;
            threshold = t;
        }
    }
    free(share);
    const float at = (float)(((double)threshold + 0.5) * (double)o->edges[o->bins] / o->bins);
    qb_threshold_range(o->spec, at, o->min, o->max, min, max);
    return QB_OK;
}

const struct qb_observer_ops qb_observer_ncnn_kl = {
    .name = "ncnn_kl",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS,
    .create = create,
    .observe = qb_counts_observe,
    .next_pass = qb_counts_next_pass,
    .range = range,
    .destroy = qb_counts_destroy,
};
