/* per_channel_NAME: observer NAME for each output channel of a weight tensor on its own. per_channel_minmax
 * is torch.ao.quantization.PerChannelMinMaxObserver. */
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/observer.h"

struct per_channel {
    struct qb_observer base;
    struct qb_observer *of[]; /* [channels] */
};

static void destroy(struct qb_observer *observer)
{
    struct per_channel *const o = (struct per_channel *)observer;
    for (size_t k = 0; o && k < o->base.channels; k++) {
        if (o->of[k]) {
            o->of[k]->ops->destroy(o->of[k]);
        }
    }
    free(o);
}

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    struct per_channel *o = NULL;
    size_t bytes;
    if (__builtin_mul_overflow(channels, sizeof o->of[0], &bytes) ||
        __builtin_add_overflow(bytes, sizeof *o, &bytes) || !(o = calloc(1, bytes))) {
        return qb_fail_memory(err, channels);
    }
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    o->base = (struct qb_observer){ops, channels};
    for (size_t k = 0; k < channels; k++) {
        const enum qb_status status = ops->channel->create(spec, 1, &o->of[k], err);
        if (status != QB_OK) {
            destroy(&o->base);
            return status;
        }
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
        QB_TRY(o->of[k]->ops->observe(o->of[k], values + k * each, each, err));
    }
    return QB_OK;
}

static bool next_pass(struct qb_observer *observer)
{
    struct per_channel *const o = (struct per_channel *)observer;
    bool again = false;
    for (size_t k = 0; k < o->base.channels; k++) {
        again |= o->of[k]->ops->next_pass && o->of[k]->ops->next_pass(o->of[k]);
    }
    return again;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct per_channel *const o = (const struct per_channel *)observer;
    for (size_t k = 0; k < o->base.channels; k++) {
        QB_TRY(o->of[k]->ops->range(o->of[k], &min[k], &max[k], err));
    }
    return QB_OK;
}

#define PER_CHANNEL(NAME, OPTIONS)                                                                           \
    const struct qb_observer_ops qb_observer_per_channel_##NAME = {                                          \
        .name = "per_channel_" #NAME,                                                                        \
        .options = QB_OPTIONS_COMMON | (OPTIONS),                                                            \
        .per_channel = true,                                                                                 \
        .channel = &qb_observer_##NAME,                                                                      \
        .create = create,                                                                                    \
        .observe = observe,                                                                                  \
        .next_pass = next_pass,                                                                              \
        .range = range,                                                                                      \
        .destroy = destroy,                                                                                  \
    }

PER_CHANNEL(minmax, 0);
PER_CHANNEL(trt_percentile, QB_OPTION_BINS | QB_OPTION_PERCENTILE);
PER_CHANNEL(trt_mse, QB_OPTION_BINS);
PER_CHANNEL(ncnn_aciq, 0);
PER_CHANNEL(aciq_gauss, 0);
PER_CHANNEL(aciq_laplace, 0);
PER_CHANNEL(aimet_sqnr, 0);
PER_CHANNEL(mse, QB_OPTION_BINS);
