/* per_channel_minmax: smallest and largest value of each output channel of a weight tensor
 * (torch.ao.quantization.PerChannelMinMaxObserver with ch_axis 0). */
#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/observer.h"

struct per_channel {
    struct qb_observer base;
    struct {
        float min, max; /* +inf, -inf before the first value */
    } of[];
};

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    (void)spec;
    struct per_channel *o = NULL;
    size_t bytes;
    if (__builtin_mul_overflow(channels, sizeof o->of[0], &bytes) ||
        __builtin_add_overflow(bytes, sizeof *o, &bytes) || !(o = malloc(bytes))) {
        return qb_fail_memory(err, channels);
    }
    o->base = (struct qb_observer){&qb_observer_per_channel_minmax, channels};
    for (size_t k = 0; k < channels; k++) {
        o->of[k].min = INFINITY;
        o->of[k].max = -INFINITY;
    }
    *out = &o->base;
    return QB_OK;
}

static enum qb_status observe(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err)
{
    struct per_channel *const o = (struct per_channel *)observer;
    const size_t each = count / o->base.channels;
    if (each == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(
        qb_extrema(values, count, &min, &max, err)); /* for a NaN in any channel, before the state changes */
    for (size_t k = 0; k < o->base.channels; k++) {
        QB_TRY(qb_extrema(values + k * each, each, &min, &max, err));
        o->of[k].min = min < o->of[k].min ? min : o->of[k].min;
        o->of[k].max = max > o->of[k].max ? max : o->of[k].max;
    }
    return QB_OK;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct per_channel *const o = (const struct per_channel *)observer;
    if (o->base.channels == 0 || o->of[0].min > o->of[0].max) {
        return qb_fail(err, QB_EINPUT, "the observer has seen no value");
    }
    for (size_t k = 0; k < o->base.channels; k++) {
        min[k] = o->of[k].min;
        max[k] = o->of[k].max;
    }
    return QB_OK;
}

static void destroy(struct qb_observer *observer)
{
    free(observer);
}

const struct qb_observer_ops qb_observer_per_channel_minmax = {
    .name = "per_channel_minmax",
    .options = QB_OPTIONS_COMMON,
    .per_channel = true,
    .create = create,
    .observe = observe,
    .range = range,
    .destroy = destroy,
};
