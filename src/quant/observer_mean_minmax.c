/* mean_minmax: the mean over the images of each image's smallest and largest value, the range of activations
 * in NNCF (openvinotoolkit/nncf, MEAN_MINMAX, its default for activations of one scale). */
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/observer.h"

struct mean {
    struct qb_observer base;
    double min, max; /* sums */
    double images;
};

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    (void)spec;
    struct mean *const o = malloc(sizeof *o);
    if (!o) {
        return qb_fail_memory(err, sizeof *o);
    }
    *o = (struct mean){.base = {&qb_observer_mean_minmax, channels}};
    *out = &o->base;
    return QB_OK;
}

static enum qb_status observe(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err)
{
    struct mean *const o = (struct mean *)observer;
    if (count == 0) {
        return QB_OK;
    }
    float min, max;
    QB_TRY(qb_extrema(values, count, &min, &max, err));
    o->min += (double)min;
    o->max += (double)max;
    o->images += 1;
    return QB_OK;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct mean *const o = (const struct mean *)observer;
    if (!(o->images > 0)) {
        return qb_fail(err, QB_EINPUT,
                       "the observer has seen no value; at least one calibration image is needed");
    }
    *min = (float)(o->min / o->images);
    *max = (float)(o->max / o->images);
    return QB_OK;
}

static void destroy(struct qb_observer *observer)
{
    free(observer);
}

const struct qb_observer_ops qb_observer_mean_minmax = {
    .name = "mean_minmax",
    .options = QB_OPTIONS_COMMON,
    .per_image = true,
    .create = create,
    .observe = observe,
    .range = range,
    .destroy = destroy,
};
