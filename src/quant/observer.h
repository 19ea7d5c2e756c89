/* Observers: they watch a float tensor batch by batch and propose the range to quantize. Each file says whose
 * algorithm it is; those without a source in their name are PyTorch's, names, defaults and bits
 * (torch/ao/quantization/observer.py, 2.13). None of them keeps the values.
 *
 * A new observer is one file observer_NAME.c, one row of the table in observer.c, and a test. */
#ifndef QB_QUANT_OBSERVER_H
#define QB_QUANT_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "config/scheme.h"

/* Optional settings of struct qb_observer_spec that an observer may know. */
enum {
    QB_OPTION_QUANT_RANGE = 1, /* quant_min, quant_max */
    QB_OPTION_EPS = 2,
    QB_OPTION_AVERAGING_CONSTANT = 4,
    QB_OPTION_BINS = 8,
    QB_OPTION_PERCENTILE = 16,
    QB_OPTION_LEVELS = 32,
    /* Used by qb_qparams_derive for every observer that proposes a range. */
    QB_OPTIONS_COMMON = QB_OPTION_QUANT_RANGE | QB_OPTION_EPS,
};

struct qb_observer_ops;

/* First member of every observer's own struct. */
struct qb_observer {
    const struct qb_observer_ops *ops;
    size_t channels; /* ranges that it proposes; 1 unless ops->per_channel */
};

struct qb_observer_ops {
    const char *name;
    unsigned options; /* bits QB_OPTION_* */
    bool per_channel; /* one range for each slice of the outermost dimension: weights only */
    /* PyTorch's eager mode shows the output of a convolution or dense layer with a fused ReLU to its observer
     * twice: a ConvReLU2d is a Sequential, its observer becomes one more module of the sequence, and the
     * forward hook calls it again. Only observers of PyTorch that can tell have this. */
    bool twice_behind_fused_relu;
    int default_bins;          /* 0: 2048 */
    double default_percentile; /* of those that have the option */
    /* One call of `observe` for each image instead of one for each batch. */
    bool per_image;
    /* Observers made by observer_per_channel.c: what each channel gets. */
    const struct qb_observer_ops *channel;
    /* `spec` has passed qb_scheme_check and stays valid as long as the observer. */
    enum qb_status (*create)(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err);
    /* One batch. `count` is a multiple of channels; 0 changes nothing. A NaN is an error and leaves the state
     * alone. */
    enum qb_status (*observe)(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err);
    /* NULL: one pass over the data is enough. Else called at the end of each pass; true when all of it must
     * be shown once more, which replaces an algorithm's store of all values. */
    bool (*next_pass)(struct qb_observer *observer);
    /* The ranges proposed, [channels] each. An observer that has seen no value has none: QB_EINPUT. */
    enum qb_status (*range)(const struct qb_observer *observer, float *min, float *max, struct qb_error *err);
    void (*destroy)(struct qb_observer *observer);
};

/* NULL-terminated. */
extern const struct qb_observer_ops *const qb_observers[];
/* NULL when there is none. */
const struct qb_observer_ops *qb_observer_find(const char *name);

/* "dynamic": nothing observes the tensor; a dense layer that reads it takes its range at run time, image by
 * image (qb_qnode.dynamic), and every other layer stays float. */
bool qb_spec_is_dynamic(const struct qb_observer_spec *spec);

/* Options with their usual defaults where the spec leaves them open. */
static inline int qb_spec_bins(const struct qb_observer_spec *spec)
{
    return spec->has_bins ? spec->bins : 2048;
}
static inline float qb_spec_averaging_constant(const struct qb_observer_spec *spec)
{
    return (float)(spec->has_averaging_constant ? spec->averaging_constant : 0.01);
}
static inline double qb_spec_percentile(const struct qb_observer_spec *spec,
                                        const struct qb_observer_ops *ops)
{
    return spec->has_percentile ? spec->percentile : ops->default_percentile;
}
static inline int qb_spec_levels(const struct qb_observer_spec *spec)
{
    return spec->has_levels ? spec->levels : spec->bits ? 1 << (spec->bits - 1) : 128; /* of one sign */
}
static inline float qb_spec_eps(const struct qb_observer_spec *spec)
{
    return spec->has_eps ? spec->eps : 0x1p-23f;
}

extern const struct qb_observer_ops qb_observer_minmax, qb_observer_moving_average_minmax,
    qb_observer_per_channel_minmax, qb_observer_histogram, qb_observer_histogram_2_0,
    qb_observer_histogram_2_4, qb_observer_mean_minmax, qb_observer_trt_percentile, qb_observer_trt_entropy,
    qb_observer_trt_mse, qb_observer_ort_percentile, qb_observer_ort_percentile_absolute,
    qb_observer_ort_entropy, qb_observer_ncnn_kl, qb_observer_ncnn_aciq, qb_observer_aciq_gauss,
    qb_observer_aciq_laplace, qb_observer_aimet_sqnr, qb_observer_mse, qb_observer_per_channel_trt_percentile,
    qb_observer_per_channel_trt_mse, qb_observer_per_channel_ncnn_aciq, qb_observer_per_channel_aciq_gauss,
    qb_observer_per_channel_aciq_laplace, qb_observer_per_channel_aimet_sqnr, qb_observer_per_channel_mse;

#endif
