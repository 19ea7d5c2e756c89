/* ort_entropy: ONNX Runtime's EntropyCalibrater (onnxruntime/python/tools/quantization/calibrate.py), with
 * its integer arithmetic and its smoothing. `bins` and `levels` are num_bins and num_quantized_bins; with the
 * defaults, 128 both, there is one candidate and the result is the range of the values. quantize_static
 * collects all batches into one histogram, as here. */
#include <math.h>
#include <stdlib.h>

#include "quant/counts.h"

enum { BINS = 128 };

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    const int bins = spec->has_bins ? spec->bins : BINS;
    return qb_counts_create(&qb_observer_ort_entropy, QB_SPAN_CENTERED, bins, spec, channels, out, err);
}

/* Moves 1e-4 from every cell that has something to every one that has not, as float32. False: all empty. */
static bool smooth(const int64_t *cells, int count, double *out)
{
    int zeros = 0;
    for (int i = 0; i < count; i++) {
        zeros += cells[i] == 0;
    }
    if (zeros == count) {
        return false;
    }
    const double eps = 1e-4, taken = eps * zeros / (count - zeros);
    for (int i = 0; i < count; i++) {
        out[i] = (double)(float)((double)(float)cells[i] + (cells[i] == 0 ? eps : -taken));
    }
    return true;
}

/* Divergence of the bins [start, end), the outer ones added to the ends, from their `levels`-level form. */
static double candidate(const struct qb_counts *o, int start, int end, int levels, int64_t *cells, double *p,
                        double *q)
{
    const int size = end - start, merged = size / levels;
    const int64_t *const count = (const int64_t *)o->count;
    int64_t left = 0, right = 0;
    for (int i = 0; i < start; i++) {
        left += count[i];
    }
    for (int i = end; i < o->bins; i++) {
        right += count[i];
    }
    for (int i = 0; i < size; i++) {
        cells[i] = count[start + i];
    }
    cells[0] += left;
    cells[size - 1] += right;
    if (!smooth(cells, size, p)) {
        return INFINITY;
    }
    for (int level = 0; level < levels; level++) {
        const int first = level * merged, stop = level == levels - 1 ? size : first + merged;
        int64_t sum = 0, filled = 0;
        for (int i = first; i < stop; i++) {
            sum += count[start + i];
        }
        for (int i = first; i < first + merged; i++) {
            filled += cells[i] != 0; /* still p's own cell: the levels lie side by side */
        }
        for (int i = first; i < stop; i++) {
            cells[i] = filled && i < first + merged ? sum / filled : 0;
        }
    }
    if (!smooth(cells, size, q)) {
        return INFINITY;
    }
    for (int i = 0; i < size; i++) {
        if (!(p[i] > 0 && q[i] > 0)) {
            return INFINITY;
        }
    }
    return (double)(float)qb_divergence(p, q, size);
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct qb_counts *const o = (const struct qb_counts *)observer;
    QB_TRY(qb_counts_check(o, err));
    const size_t bins = (size_t)o->bins;
    const int zero = o->bins / 2, levels = qb_spec_levels(o->spec);
    int64_t *const cells = calloc(bins, sizeof *cells);
    double *const p = calloc(2 * bins, sizeof *p);
    if (!cells || !p) {
        free(cells);
        free(p);
        return qb_fail_memory(err, 2 * bins * sizeof *p);
    }
    double best = INFINITY;
    float low = 0, high = 0;
    for (int half = levels / 2; half <= zero; half++) {
        const int start = zero - half, end = zero + half + 1 < o->bins ? zero + half + 1 : o->bins;
        const double divergence = candidate(o, start, end, levels, cells, p, p + bins);
        if (half == levels / 2 || divergence < best) {
            best = divergence;
            low = o->edges[start];
            high = o->edges[end];
        }
    }
    free(cells);
    free(p);
    /* With zero in it, as compute_scale_zp makes it next: a tensor of one sign may have crossed ends here. */
    *min = fminf(low < o->min ? o->min : low, 0);
    *max = fmaxf(high > o->max ? o->max : high, 0);
    return QB_OK;
}

const struct qb_observer_ops qb_observer_ort_entropy = {
    .name = "ort_entropy",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS | QB_OPTION_LEVELS,
    .default_bins = BINS,
    .create = create,
    .observe = qb_counts_observe,
    .next_pass = qb_counts_next_pass,
    .range = range,
    .destroy = qb_counts_destroy,
};
