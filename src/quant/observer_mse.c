/* mse: the range with the smallest mean squared error of the codes that the scheme would really give, on
 * counts in 2048 bins. Our own. Hundredths of the observed range are tried for either end in turn, each with
 * the other one held, until nothing improves; a symmetric scheme has one end. Rounding, zero point and
 * clamping are those of the scheme (qb_qparams_derive), so a reduced range or a one-sided tensor is judged as
 * it will run. */
#include <math.h>

#include "quant/counts.h"
#include "quant/qparams.h"

enum { STEPS = 100 };

static enum qb_status create(const struct qb_observer_spec *spec, size_t channels, struct qb_observer **out,
                             struct qb_error *err)
{
    return qb_counts_create(&qb_observer_mse, QB_SPAN_VALUES, qb_spec_bins(spec), spec, channels, out, err);
}

/* Sum of squared errors of [min, max]; infinite where the range has no scale. */
static double error_of(const struct qb_counts *o, float min, float max)
{
    struct qb_error ignored;
    struct qb_qparams q;
    int low, high;
    if (qb_qparams_derive(o->spec, min, max, &q, &ignored) != QB_OK) {
        return INFINITY;
    }
    qb_bits_range(q.dtype, q.bits, &low, &high);
    const double scale = (double)q.scale, first = low - q.zero_point, last = high - q.zero_point;
    double sum = 0;
    for (int i = 0; i < o->bins; i++) {
        if (o->count[i]) {
            const double x = ((double)o->edges[i] + (double)o->edges[i + 1]) / 2;
            double code = nearbyint(x / scale);
            code = code > first ? code : first;
            code = code < last ? code : last;
            const double error = x - code * scale;
            sum += (double)o->count[i] * error * error;
        }
    }
    return sum;
}

static enum qb_status range(const struct qb_observer *observer, float *min, float *max, struct qb_error *err)
{
    const struct qb_counts *const o = (const struct qb_counts *)observer;
    QB_TRY(qb_counts_check(o, err));
    const float full_min = o->min < 0 ? o->min : 0, full_max = o->max > 0 ? o->max : 0;
    float low = full_min, high = full_max;
    double best = error_of(o, low, high);
    for (bool better = true; better;) {
        better = false;
        for (int end = 0; end < (o->spec->symmetric ? 1 : 2); end++) {
            const float held_low = low, held_high = high;
            for (int step = STEPS - 1; step > 0; step--) {
                const float part = (float)step / STEPS;
                const float a = o->spec->symmetric || end == 1 ? full_min * part : held_low;
                const float b = o->spec->symmetric || end == 0 ? full_max * part : held_high;
                const double error = error_of(o, a, b);
                if (error < best) {
                    best = error;
                    low = a;
                    high = b;
                    better = true;
                }
            }
        }
    }
    *min = low;
    *max = high;
    return QB_OK;
}

const struct qb_observer_ops qb_observer_mse = {
    .name = "mse",
    .options = QB_OPTIONS_COMMON | QB_OPTION_BINS,
    .create = create,
    .observe = qb_counts_observe,
    .next_pass = qb_counts_next_pass,
    .range = range,
    .destroy = qb_counts_destroy,
};
