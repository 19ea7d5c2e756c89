/* Observers: they watch a float tensor batch by batch and propose the range to quantize. Names, defaults and
 * bits are PyTorch's (torch/ao/quantization/observer.py, 2.13).
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
    /* `spec` has passed qb_scheme_check. */
    enum qb_status (*create)(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err);
    /* One batch. `count` is a multiple of channels; 0 changes nothing. A NaN is an error and leaves the state
     * alone. */
    enum qb_status (*observe)(struct qb_observer *observer, const float *values, size_t count,
                              struct qb_error *err);
    /* The ranges proposed, [channels] each. An observer that has seen no value has none: QB_EINPUT. */
    enum qb_status (*range)(const struct qb_observer *observer, float *min, float *max, struct qb_error *err);
    void (*destroy)(struct qb_observer *observer);
};

/* NULL-terminated. */
extern const struct qb_observer_ops *const qb_observers[];
/* NULL when there is none. */
const struct qb_observer_ops *qb_observer_find(const char *name);

/* Options with the defaults of PyTorch where the spec leaves them open. */
static inline int qb_spec_bins(const struct qb_observer_spec *spec)
{
    return spec->has_bins ? spec->bins : 2048;
}
static inline float qb_spec_averaging_constant(const struct qb_observer_spec *spec)
{
    return (float)(spec->has_averaging_constant ? spec->averaging_constant : 0.01);
}
static inline float qb_spec_eps(const struct qb_observer_spec *spec)
{
    return spec->has_eps ? spec->eps : 0x1p-23f;
}

extern const struct qb_observer_ops qb_observer_minmax;
extern const struct qb_observer_ops qb_observer_moving_average_minmax;
extern const struct qb_observer_ops qb_observer_per_channel_minmax;
extern const struct qb_observer_ops qb_observer_histogram;

#endif
