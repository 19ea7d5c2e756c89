/* moving_average_minmax: exponential average of each batch's smallest and largest value, started with the
 * first batch (torch.ao.quantization.MovingAverageMinMaxObserver). Depends on the order and the size of the
 * batches. */
#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/observer.h"

struct moving_average {
    struct qb_observer base;
    float constant;
    float min, max; /* +inf, -inf before the first value */
};

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    struct moving_average *const o = malloc(sizeof *o);
    if (!o) {
        return qb_fail_memory(err, sizeof *o);
    }
    *o = (struct moving_average){{&qb_observer_moving_average_minmax, channels},
                                 qb_spec_averaging_constant(spec),
                                 INFINITY,
                                 -INFINITY};
    *out = &o->base;
    return QB_OK;
}

static enum qb_status observe(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err)
{
    struct moving_average *const o = (struct moving_average *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    if (o->min > o->max) {
        o->min = min;
        o->max = max;
    } else {
        /* Multiply, then add: two roundings, the constant rounded to float32 first. */
        o->min = o->min + o->constant * (min - o->min);
        o->max = o->max + o->constant * (max - o->max);
    }
    return QB_OK;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct moving_average *const o = (const struct moving_average *)observer;
    if (o->min > o->max) {
        return qb_fail(err, QB_EINPUT,
                       "the observer has seen no value; at least one calibration image is needed");
    }
    *min = o->min;
    *max = o->max;
    return QB_OK;
}

static void destroy(struct qb_observer *observer)
{
    free(observer);
}

const struct qb_observer_ops qb_observer_moving_average_minmax = {
    .name = "moving_average_minmax",
    .options = QB_OPTIONS_COMMON | QB_OPTION_AVERAGING_CONSTANT,
    .twice_behind_fused_relu = true,
    .create = create,
    .observe = observe,
    .range = range,
    .destroy = destroy,
};
