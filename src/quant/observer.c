/* The table of observers: see observer.h. */
#include "quant/observer.h"

#include <string.h>

const struct qb_observer_ops *const qb_observers[] = {
    &qb_observer_minmax,
    &qb_observer_moving_average_minmax,
    &qb_observer_per_channel_minmax,
    &qb_observer_histogram,
    &qb_observer_histogram_2_0,
    &qb_observer_histogram_2_4,
    &qb_observer_mean_minmax,
    &qb_observer_trt_percentile,
    &qb_observer_trt_entropy,
    &qb_observer_trt_mse,
    &qb_observer_ort_percentile,
    &qb_observer_ort_percentile_absolute,
    &qb_observer_ort_entropy,
    &qb_observer_ncnn_kl,
    &qb_observer_ncnn_aciq,
    &qb_observer_aciq_gauss,
    &qb_observer_aciq_laplace,
    &qb_observer_aimet_sqnr,
    &qb_observer_mse,
    &qb_observer_per_channel_trt_percentile,
    &qb_observer_per_channel_trt_mse,
    &qb_observer_per_channel_ncnn_aciq,
    &qb_observer_per_channel_aciq_gauss,
    &qb_observer_per_channel_aciq_laplace,
    &qb_observer_per_channel_aimet_sqnr,
    &qb_observer_per_channel_mse,
    NULL,
};

bool qb_spec_is_dynamic(const struct qb_observer_spec *spec)
{
    return strcmp(spec->observer, "dynamic") == 0;
}

const struct qb_observer_ops *qb_observer_find(const char *name)
{
    for (const struct qb_observer_ops *const *ops = qb_observers; *ops; ops++) {
        if (strcmp((*ops)->name, name) == 0) {
            return *ops;
        }
    }
    return NULL;
}
