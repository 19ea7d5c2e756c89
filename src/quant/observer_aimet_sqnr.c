/* aimet_sqnr: AIMET's "tf_enhanced" (quic/aimet, TfEnhancedEncodingAnalyzer.cpp and math_functions.cpp,
 * float): a density of 512 buckets over three times the range of the first batch, averaged over the batches;
 * the step and offset with the least cost, which is the squared error of what is represented plus three times
 * that of what is cut off. A symmetric scheme tries 101 steps, an affine one 17 steps x 21 offsets and the
 * seen range. The range returned is that of the winning step and offset. */
#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/observer.h"

enum { BUCKETS = 512 };

struct sqnr {
    struct qb_observer base;
    const struct qb_observer_spec *spec;
    int steps;          /* codes less one: 255 of 8 bits */
    bool seen;          /* any value */
    bool placed;        /* buckets have a place: a first batch that is not all zero was seen */
    float first, width; /* left end of bucket 0, width of a bucket */
    double step;        /* the width again, as the float32 ends of buckets 0 and 1 give it */
    double batches;
    double density[BUCKETS];
};

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    struct sqnr *const o = calloc(1, sizeof *o);
    if (!o) {
        return qb_fail_memory(err, sizeof *o);
    }
    o->base = (struct qb_observer){&qb_observer_aimet_sqnr, channels};
    o->spec = spec;
    o->steps = (1 << (spec->bits ? spec->bits : QB_BITS_MAX)) - 1;
    *out = &o->base;
    return QB_OK;
}

static enum qb_status observe(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err)
{
    struct sqnr *const o = (struct sqnr *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    if (!(min > -INFINITY && max < INFINITY)) {
        return qb_fail(err, QB_EINPUT, "an infinite value; observer \"aimet_sqnr\" counts finite numbers");
    }
    o->seen = true;
    if (!o->placed) {
        if (min == 0 && max == 0) {
            return QB_OK;
        }
        max = min == max ? min + 0.01f : max;
        const float center = (max + min) / 2;
        min = center - 3 * (center - min);
        max = center + 3 * (max - center);
        o->first = min;
        o->width = (max - min) / BUCKETS;
        o->step = (double)(min + o->width) - (double)min;
        o->placed = true;
    }
    uint64_t counts[BUCKETS] = {0};
    const float step = (float)o->step, offset = o->first / step;
    for (size_t i = 0; i < count; i++) {
        const float place = roundf(values[i] / step - offset);
        if (place >= 0 && place < BUCKETS) {
            counts[(int)place]++;
        }
    }
    for (int i = 0; i < BUCKETS; i++) {
        const double share = (double)counts[i] / (double)count;
        o->density[i] = (o->density[i] * o->batches + share) / (o->batches + 1);
    }
    o->batches += 1;
    return QB_OK;
}

static float edge(const struct sqnr *o, int bucket)
{
    return o->first + (float)bucket * o->width;
}

static int bucket_of(const struct sqnr *o, float x)
{
    const double place = floor((double)(x - o->first) / o->step);
    return place > 0 ? (place < BUCKETS - 1 ? (int)place : BUCKETS - 1) : 0;
}

static double middle(const struct sqnr *o, int bucket)
{
    return (double)o->first + bucket * o->step + o->step / 2;
}

static double cost(const struct sqnr *o, float delta, int offset)
{
    const int low = bucket_of(o, delta * (float)offset),
              high = bucket_of(o, delta * ((float)offset + (float)o->steps));
    const double low_middle = (double)(float)middle(o, low), high_middle = (double)(float)middle(o, high);
    double cut = 0, kept = 0;
    for (int i = 0; i < BUCKETS; i++) {
        if (i < low || i >= high) {
            const double d = middle(o, i) - (i < low ? low_middle : high_middle);
            cut += o->density[i] * d * d;
        } else {
            const float x = (float)middle(o, i);
            const float code = roundf(x / delta - (float)offset);
            const double d = (double)(x - delta * (code + (float)offset));
            kept += o->density[i] * d * d;
        }
    }
    return 3 * cut + kept;
}

struct best {
    double cost;
    float delta;
    int offset;
};

static void consider(const struct sqnr *o, float delta, int offset, struct best *best)
{
    const double c = cost(o, delta, offset);
    if (c < best->cost) {
        *best = (struct best){c, delta, offset};
    }
}

static void try_affine(const struct sqnr *o, float min, float max, struct best *best)
{
    const float seen_delta = (float)(((double)max - (double)min) / o->steps);
    const int seen_offset = (int)roundf(min / seen_delta);
    min = seen_delta * (float)seen_offset;
    max = seen_delta * ((float)seen_offset + (float)o->steps);
    for (float f = 1.0f / 16; f <= 1 + 1.0f / 16; f += 1.0f / 16) {
        for (int i = 0; i <= 20; i++) {
            float delta = f * seen_delta;
            int offset = (int)(-(double)o->steps + o->steps / 20.0 * i);
            float low = delta * (float)offset, high = delta * ((float)offset + (float)o->steps);
            if (low < min && high > max) {
                continue;
            }
            low = low > min ? low : min;
            high = high < max ? high : max;
            if (!(high > low)) {
                continue;
            }
            delta = (float)(((double)high - (double)low) / o->steps);
            offset = (int)roundf(low / delta);
            consider(o, delta, offset, best);
        }
    }
    consider(o, seen_delta, seen_offset, best);
}

/* "Strict": one step less, so that zero is in the middle. */
static void try_symmetric(const struct sqnr *o, float min, float max, struct best *best)
{
    const float widest = (max > -min ? max : -min) / ((float)(o->steps - 1) / 2.0f);
    for (float f = 1.0f / 100; f <= 1 + 1.0f / 100; f += 1.0f / 100) {
        consider(o, f * widest, -(o->steps - 1) / 2, best);
    }
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct sqnr *const o = (const struct sqnr *)observer;
    if (!o->seen) {
        return qb_fail(err, QB_EINPUT,
                       "the observer has seen no value; at least one calibration image is needed");
    }
    *min = *max = 0;
    if (!o->placed) { /* nothing but zeros */
        return QB_OK;
    }
    int low = 0, high = BUCKETS - 1;
    while (low < BUCKETS - 1 && !(o->density[low] > 0)) {
        low++;
    }
    while (high > 0 && !(o->density[high] > 0)) {
        high--;
    }
    float seen_min = edge(o, low), seen_max = edge(o, high);
    seen_min = seen_min < 0 ? seen_min : 0;
    seen_max = seen_max > 0 ? seen_max : 0;
    seen_max = seen_max > seen_min + 0.01f ? seen_max : seen_min + 0.01f;
    struct best best = {INFINITY, 0, 0};
    if (o->spec->symmetric) {
        try_symmetric(o, seen_min, seen_max, &best);
    } else {
        try_affine(o, seen_min, seen_max, &best);
    }
    *min = best.delta * (float)best.offset;
    *max = best.delta * (float)(best.offset + (o->spec->symmetric ? o->steps - 1 : o->steps));
    return QB_OK;
}

static void destroy(struct qb_observer *observer)
{
    free(observer);
}

const struct qb_observer_ops qb_observer_aimet_sqnr = {
    .name = "aimet_sqnr",
    .options = QB_OPTIONS_COMMON,
    .create = create,
    .observe = observe,
    .range = range,
    .destroy = destroy,
};
