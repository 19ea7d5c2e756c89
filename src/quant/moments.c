/* Sums for analytic ranges: see moments.h. */
#include "quant/moments.h"

#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/qparams.h"

enum qb_status qb_moments_create(const struct qb_observer_ops *ops, const struct qb_observer_spec *spec,
                                 size_t channels, struct qb_observer **out, struct qb_error *err)
{
    struct qb_moments *const o = malloc(sizeof *o);
    if (!o) {
        return qb_fail_memory(err, sizeof *o);
    }
    *o = (struct qb_moments){.base = {ops, channels}, .spec = spec, .min = INFINITY, .max = -INFINITY};
    *out = &o->base;
    return QB_OK;
}

enum qb_status qb_moments_observe(struct qb_observer *observer, const float *values, size_t count,
                                  struct qb_error *err)
{
    struct qb_moments *const o = (struct qb_moments *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    double sum = 0, squares = 0, distance = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i];
    }
    const double mean = sum / (double)count;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)values[i] - mean;
        squares += d * d;
        distance += fabs(d);
    }
    o->min = min < o->min ? min : o->min;
    o->max = max > o->max ? max : o->max;
    o->count += (double)count;
    o->batches += 1;
    o->mean += mean;
    o->sigma += sqrt(squares / (double)count);
    o->distance += distance / (double)count;
    return QB_OK;
}

void qb_moments_destroy(struct qb_observer *observer)
{
    free(observer);
}

enum qb_status qb_moments_check(const struct qb_moments *moments, struct qb_error *err)
{
    if (moments->min > moments->max) {
        return qb_fail(err, QB_EINPUT,
                       "the observer has seen no value; at least one calibration image is needed");
    }
    return QB_OK;
}

int qb_spec_bits(const struct qb_observer_spec *spec)
{
    int min, max, bits = 1;
    qb_spec_quant_range(spec, &min, &max);
    while (max - min + 1 > 1 << bits) {
        bits++;
    }
    return bits;
}

double qb_gauss_clip(int bits)
{
    static const double clips[] = {1.24,       1.71063519, 2.15159277, 2.55913646,
                                   2.93620062, 3.28691474, 3.6151146,  3.92403714};
    return clips[bits - 1];
}
