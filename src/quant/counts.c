/* Counting in two passes: see counts.h. */
#include "quant/counts.h"

#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"

void qb_counts_destroy(struct qb_observer *observer)
{
    struct qb_counts *const o = (struct qb_counts *)observer;
    if (o) {
        free(o->edges);
        free(o->count);
        free(o);
    }
}

enum qb_status qb_counts_create(const struct qb_observer_ops *ops, enum qb_counts_span span, int bins,
                                const struct qb_observer_spec *spec, size_t channels,
                                struct qb_observer **out, struct qb_error *err)
{
    struct qb_counts *const o = malloc(sizeof *o);
    if (!o) {
        return qb_fail_memory(err, sizeof *o);
    }
    *o = (struct qb_counts){.base = {ops, channels},
                            .spec = spec,
                            .span = span,
                            .bins = bins,
                            .min = INFINITY,
                            .max = -INFINITY,
                            .smallest = INFINITY,
                            .edges = calloc((size_t)bins + 1, sizeof *o->edges),
                            .count = calloc((size_t)bins, sizeof *o->count)};
    if (!o->edges || !o->count) {
        qb_counts_destroy(&o->base);
        return qb_fail_memory(err, (unsigned long)bins * sizeof *o->count);
    }
    *out = &o->base;
    return QB_OK;
}

/* numpy.histogram on its uniform edges: a quotient finds the bin up to rounding, the edges decide. */
static int bin_of(const struct qb_counts *o, float x)
{
    const float low = o->edges[0], width = o->edges[o->bins] - low;
    const float place = (x - low) / width * (float)o->bins;
    int bin = place > 0 ? (place < (float)o->bins ? (int)place : o->bins - 1) : 0;
    while (bin > 0 && x < o->edges[bin]) {
        bin--;
    }
    while (bin < o->bins - 1 && x >= o->edges[bin + 1]) {
        bin++;
    }
    return bin;
}

static void add(struct qb_counts *o, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const bool absolute = o->span == QB_SPAN_ABSOLUTE || o->span == QB_SPAN_MAGNITUDE;
        const float x = absolute ? fabsf(values[i]) : values[i];
        int bin;
        if (o->span == QB_SPAN_MAGNITUDE) {
            if (x == 0) {
                continue;
            }
            const float place = x / o->edges[o->bins] * (float)o->bins;
            bin = place < (float)(o->bins - 1) ? (int)place : o->bins - 1;
        } else {
            bin = bin_of(o, x);
        }
        o->count[bin]++;
        o->total++;
    }
}

enum qb_status qb_counts_observe(struct qb_observer *observer, const float *values, size_t count,
                                 struct qb_error *err)
{
    struct qb_counts *const o = (struct qb_counts *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    if (!(min > -INFINITY && max < INFINITY)) {
        return qb_fail(err, QB_EINPUT, "an infinite value; observer \"%s\" counts finite numbers in bins",
                       o->base.ops->name);
    }
    if (o->counting) {
        /* A second pass that is no repetition of the first would count outside the bins. */
        if (min < o->min || max > o->max) {
            return qb_fail(err, QB_EINPUT,
                           "the second pass shows the range [%g, %g], outside [%g, %g] of the first",
                           (double)min, (double)max, (double)o->min, (double)o->max);
        }
        add(o, values, count);
        return QB_OK;
    }
    o->min = min < o->min ? min : o->min;
    o->max = max > o->max ? max : o->max;
    for (size_t i = 0; i < count; i++) {
        o->smallest = fabsf(values[i]) < o->smallest ? fabsf(values[i]) : o->smallest;
    }
    return QB_OK;
}

/* numpy.linspace in float32: multiply, then add, the last one exact. */
static void cut(struct qb_counts *o, float low, float high)
{
    if (low == high) {
        low -= 0.5f;
        high += 0.5f;
    }
    const float step = (high - low) / (float)o->bins;
    for (int i = 0; i < o->bins; i++) {
        o->edges[i] = step * (float)i + low;
    }
    o->edges[o->bins] = high;
}

bool qb_counts_next_pass(struct qb_observer *observer)
{
    struct qb_counts *const o = (struct qb_counts *)observer;
    if (o->counting || o->min > o->max) {
        return false;
    }
    const float largest = -o->min > o->max ? -o->min : o->max;
    switch (o->span) {
    case QB_SPAN_VALUES: cut(o, o->min < 0 ? o->min : 0, o->max > 0 ? o->max : 0); break;
    case QB_SPAN_CENTERED: cut(o, -largest, largest); break;
    case QB_SPAN_ABSOLUTE: cut(o, o->smallest, largest); break;
    case QB_SPAN_MAGNITUDE: cut(o, 0, largest > 0 ? largest : 1); break;
    }
    o->counting = true;
    return true;
}

enum qb_status qb_counts_check(const struct qb_counts *counts, struct qb_error *err)
{
    if (counts->min > counts->max) {
        return qb_fail(err, QB_EINPUT,
                       "the observer has seen no value; at least one calibration image is needed");
    }
    if (!counts->counting || (counts->total == 0 && counts->span != QB_SPAN_MAGNITUDE)) {
        return qb_fail(err, QB_EINPUT, "the observer has seen no second pass over the values");
    }
    return QB_OK;
}

void qb_threshold_range(const struct qb_observer_spec *spec, float threshold, float seen_min, float seen_max,
                        float *min, float *max)
{
    *min = -threshold;
    *max = threshold;
    if (!spec->symmetric) {
        *min = fmaxf(-threshold, fminf(seen_min, 0));
        *max = fminf(threshold, fmaxf(seen_max, 0));
    }
}

double qb_divergence(const double *p, const double *q, int count)
{
    double p_sum = 0, q_sum = 0, sum = 0;
    for (int i = 0; i < count; i++) {
        p_sum += p[i];
        q_sum += q[i];
    }
    for (int i = 0; i < count; i++) {
        if (p[i] > 0) {
            if (!(q[i] > 0)) {
                return INFINITY;
            }
            const double share = p[i] / p_sum;
            sum += share * log(share / (q[i] / q_sum));
        }
    }
    return sum;
}
