/* histogram: counts values in bins and keeps the range with the least estimated squared error
 * (torch.ao.quantization.HistogramObserver, 2.5 and later). The arithmetic is in histogram.h. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/histogram.h"
#include "quant/observer.h"
#include "quant/observer_histogram.h"

void qb_histogram_destroy(struct qb_observer *observer)
{
    struct qb_histogram *const o = (struct qb_histogram *)observer;
    if (o) {
        free(o->hist);
        free(o->update);
        free(o->merged);
        free(o->scratch);
        free(o);
    }
}

enum qb_status qb_histogram_create(const struct qb_observer_ops *ops, const struct qb_observer_spec *spec,
                                   size_t channels, struct qb_observer **out, struct qb_error *err)
{
    const size_t bins = (size_t)qb_spec_bins(spec);
    struct qb_histogram *const o = malloc(sizeof *o);
    if (!o) {
        return qb_fail_memory(err, sizeof *o);
    }
    *o = (struct qb_histogram){.base = {ops, channels},
                               .bins = (int)bins,
                               .min = INFINITY,
                               .max = -INFINITY,
                               .hist = calloc(bins, sizeof(float)),
                               .update = calloc(bins, sizeof(float)),
                               .merged = calloc(bins, sizeof(float)),
                               .scratch = calloc(QB_HISTC_SCRATCH(bins), sizeof(uint32_t))};
    if (!o->hist || !o->update || !o->merged || !o->scratch) {
        qb_histogram_destroy(&o->base);
        return qb_fail_memory(err, bins * 28);
    }
    *out = &o->base;
    return QB_OK;
}

void qb_histogram_turn(struct qb_histogram *o, float min, float max)
{
    float *const old = o->hist;
    o->hist = o->merged;
    o->merged = old;
    o->min = min;
    o->max = max;
}

enum qb_status qb_histogram_observe(struct qb_observer *observer, const float *values, size_t count,
                                    void (*take)(struct qb_histogram *o, const float *values, size_t count,
                                                 float min, float max),
                                    struct qb_error *err)
{
    struct qb_histogram *const o = (struct qb_histogram *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    if (min > -INFINITY && max < INFINITY) {
        take(o, values, count, min, max);
        return QB_OK;
    }
    /* PyTorch leaves infinities out with a warning: they would make every bin infinitely wide. */
    float *const finite = malloc(count * sizeof *finite);
    if (!finite) {
        return qb_fail_memory(err, count * sizeof *finite);
    }
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (fabsf(values[i]) < INFINITY) {
            finite[n++] = values[i];
        }
    }
    enum qb_status status = QB_OK;
    if (n) {
        status = qb_extrema(finite, n, &min, &max, err);
        if (status == QB_OK) {
            take(o, finite, n, min, max);
        }
    }
    free(finite);
    return status;
}

enum qb_status qb_histogram_range(const struct qb_observer *observer, float *min, float *max,
                                  struct qb_error *err)
{
    const struct qb_histogram *const o = (const struct qb_histogram *)observer;
    if (o->min > o->max) {
        return qb_fail(err, QB_EINPUT,
                       "the observer has seen no finite value; at least one calibration image is needed");
    }
    return qb_histogram_search(o->hist, o->bins, o->min, o->max, min, max, err);
}

const float *qb_observer_histogram_state(const struct qb_observer *observer, float *min, float *max)
{
    const struct qb_histogram *const o = (const struct qb_histogram *)observer;
    *min = o->min;
    *max = o->max;
    return o->hist;
}

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    return qb_histogram_create(&qb_observer_histogram, spec, channels, out, err);
}

static void take(struct qb_histogram *o, const float *values, size_t count, float min, float max)
{
    if (o->min > o->max) {
        o->min = min;
        o->max = max;
        qb_histc(values, count, o->bins, min, max, o->scratch, o->hist);
        return;
    }
    min = o->min < min ? o->min : min;
    max = o->max > max ? o->max : max;
    qb_histc(values, count, o->bins, min, max, o->scratch, o->update);
    qb_histogram_merge(o->hist, o->min, o->max, o->update, min, max, o->bins, o->scratch, o->merged);
    qb_histogram_turn(o, min, max);
}

static enum qb_status observe(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err)
{
    return qb_histogram_observe(observer, values, count, take, err);
}

const struct qb_observer_ops qb_observer_histogram = {
    .name = "histogram",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS,
    .twice_behind_fused_relu = true,
    .create = create,
    .observe = observe,
    .range = qb_histogram_range,
    .destroy = qb_histogram_destroy,
};
