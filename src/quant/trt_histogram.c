/* NVIDIA's growing histogram: see trt_histogram.h. */
#include "quant/trt_histogram.h"

#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/histogram.h"

void trt_histogram_destroy(struct qb_observer *observer)
{
    struct trt_histogram *const h = (struct trt_histogram *)observer;
    if (h) {
        free(h->count);
        free(h->update);
        free(h->scratch);
        free(h);
    }
}

enum qb_status trt_histogram_create(const struct qb_observer_ops *ops, const struct qb_observer_spec *spec,
                                    size_t channels, struct qb_observer **out, struct qb_error *err)
{
    struct trt_histogram *const h = calloc(1, sizeof *h);
    if (!h) {
        return qb_fail_memory(err, sizeof *h);
    }
    *h = (struct trt_histogram){.base = {ops, channels},
                                .spec = spec,
                                .first_bins = qb_spec_bins(spec),
                                .min = INFINITY,
                                .max = -INFINITY};
    *out = &h->base;
    return QB_OK;
}

/* Room for `bins` bins, new ones empty. */
static enum qb_status grow(struct trt_histogram *h, int bins, struct qb_error *err)
{
    float *const count = calloc((size_t)bins, sizeof *count);
    float *const update = calloc((size_t)bins, sizeof *update);
    uint32_t *const scratch = calloc(QB_HISTC_SCRATCH(bins), sizeof *scratch);
    if (!count || !update || !scratch) {
        free(count);
        free(update);
        free(scratch);
        return qb_fail_memory(err, (unsigned long)bins * 28);
    }
    for (int i = 0; i < h->bins; i++) {
        count[i] = h->count[i];
    }
    free(h->count);
    free(h->update);
    free(h->scratch);
    h->count = count;
    h->update = update;
    h->scratch = scratch;
    h->bins = bins;
    return QB_OK;
}

static enum qb_status add(struct trt_histogram *h, const float *magnitudes, size_t count, float largest,
                          struct qb_error *err)
{
    if (h->bins == 0) {
        QB_TRY(grow(h, h->first_bins, err));
        h->end = largest;
        h->width = largest / (float)h->bins; /* torch.linspace(0, largest, bins + 1)[1] */
    } else if (largest > h->end) {
        const float bins = ceilf(largest / h->width);
        if (!(bins <= QB_HISTOGRAM_MAX_BINS)) {
            return qb_fail(err, QB_EINPUT,
                           "observer \"%s\": the value %g needs more than %d bins of %g, the width that the "
                           "first batch gave; show typical images first",
                           h->base.ops->name, (double)largest, QB_HISTOGRAM_MAX_BINS, (double)h->width);
        }
        QB_TRY(grow(h, (int)bins, err));
        h->end = h->width * bins;
        h->end = h->end > largest ? h->end : largest;
    }
    qb_histc(magnitudes, count, h->bins, 0, h->end, h->scratch, h->update);
    for (int i = 0; i < h->bins; i++) {
        h->count[i] += h->update[i];
    }
    return QB_OK;
}

enum qb_status trt_histogram_observe(struct qb_observer *observer, const float *values, size_t count,
                                     struct qb_error *err)
{
    struct trt_histogram *const h = (struct trt_histogram *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    if (!(min > -INFINITY && max < INFINITY)) {
        return qb_fail(err, QB_EINPUT, "an infinite value; observer \"%s\" counts finite numbers in bins",
                       h->base.ops->name);
    }
    float *const magnitudes = malloc(count * sizeof *magnitudes);
    if (!magnitudes) {
        return qb_fail_memory(err, count * sizeof *magnitudes);
    }
    for (size_t i = 0; i < count; i++) {
        magnitudes[i] = fabsf(values[i]);
    }
    const enum qb_status status = add(h, magnitudes, count, -min > max ? -min : max, err);
    free(magnitudes);
    if (status == QB_OK) {
        h->min = min < h->min ? min : h->min;
        h->max = max > h->max ? max : h->max;
    }
    return status;
}

enum qb_status trt_histogram_check(const struct trt_histogram *h, struct qb_error *err)
{
    return h->bins ? QB_OK
                   : qb_fail(err, QB_EINPUT,
                             "the observer has seen no value; at least one calibration image is needed");
}

float trt_histogram_edge(const struct trt_histogram *h, int i)
{
    return i == h->bins ? h->end : h->width * (float)i;
}
