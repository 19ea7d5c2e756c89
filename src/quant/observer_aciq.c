/* aciq_gauss, aciq_laplace: ranges from the shape of the distribution (Banner et al., "Post training 4-bit
 * quantization of convolutional networks for rapid-deployment", arXiv 1810.05723;
 * submission2019/cnn-quantization, int_quantizer.py, statistics averaged over the batches). The half width is
 * the best clipping point for the number of bits, in standard deviations or mean distances, around the mean;
 * a tensor without negative values starts at 0 and has the table of one bit more. Weight correction is not
 * part of it. */
#include <math.h>

#include "quant/moments.h"

/* By bits, 1..9. Nine bits stand for eight of a one-sided distribution. */
static const double laplace_clips[] = {1.86,       2.83068299, 3.89722946, 5.02864014, 6.20476633,
                                       7.41312622, 8.64561995, 9.89675982, 11.16268502};

static double gauss_clip(int bits)
{
    return bits > 8 ? 4.2 : qb_gauss_clip(bits);
}

static enum qb_status place(const struct qb_moments *o, bool gauss, float *min, float *max,
                            struct qb_error *err)
{
    QB_TRY(qb_moments_check(o, err));
    const bool one_sided = o->min >= 0;
    const int bits = qb_spec_bits(o->spec) + (one_sided ? 1 : 0);
    const double mean = o->mean / o->batches;
    const double half = gauss ? gauss_clip(bits) * (o->sigma / o->batches)
                              : laplace_clips[bits - 1] * (o->distance / o->batches);
    if (one_sided) {
        *min = 0;
        *max = (float)(fmax(mean, 0) + half);
    } else {
        const double low = fmax((double)o->min, mean - half);
        *min = (float)low;
        *max = (float)(low + 2 * half);
    }
    return QB_OK;
}

static enum qb_status create_gauss(const struct qb_observer_spec *spec, size_t channels,
                                   struct qb_observer **out, struct qb_error *err)
{
    return qb_moments_create(&qb_observer_aciq_gauss, spec, channels, out, err);
}

static enum qb_status create_laplace(const struct qb_observer_spec *spec, size_t channels,
                                     struct qb_observer **out, struct qb_error *err)
{
    return qb_moments_create(&qb_observer_aciq_laplace, spec, channels, out, err);
}

static enum qb_status range_gauss(const struct qb_observer *observer, float *min, float *max,
                                  struct qb_error *err)
{
    return place((const struct qb_moments *)observer, true, min, max, err);
}

static enum qb_status range_laplace(const struct qb_observer *observer, float *min, float *max,
                                    struct qb_error *err)
{
    return place((const struct qb_moments *)observer, false, min, max, err);
}

const struct qb_observer_ops qb_observer_aciq_gauss = {
    .name = "aciq_gauss",
    .options = QB_OPTIONS_COMMON,
    .create = create_gauss,
    .observe = qb_moments_observe,
    .range = range_gauss,
    .destroy = qb_moments_destroy,
};

const struct qb_observer_ops qb_observer_aciq_laplace = {
    .name = "aciq_laplace",
    .options = QB_OPTIONS_COMMON,
    .create = create_laplace,
    .observe = qb_moments_observe,
    .range = range_laplace,
    .destroy = qb_moments_destroy,
};
