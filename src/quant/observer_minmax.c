/* minmax: the smallest and largest value ever seen (torch.ao.quantization.MinMaxObserver). */
#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/observer.h"

struct minmax {
    struct qb_observer base;
    float min, max; /* +inf, -inf before the first value */
};

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    (void)spec;
    struct minmax *const o = malloc(sizeof *o);
    if (!o) {
        return qb_fail_memory(err, sizeof *o);
    }
    *o = (struct minmax){{&qb_observer_minmax, channels}, INFINITY, -INFINITY};
    *out = &o->base;
    return QB_OK;
}

static enum qb_status observe(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err)
{
    struct minmax *const o = (struct minmax *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    o->min = min < o->min ? min : o->min;
    o->max = max > o->max ? max : o->max;
    return QB_OK;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct minmax *const o = (const struct minmax *)observer;
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

const struct qb_observer_ops qb_observer_minmax = {
    .name = "minmax",
    .options = QB_OPTIONS_COMMON,
    .create = create,
    .observe = observe,
    .range = range,
    .destroy = destroy,
};
