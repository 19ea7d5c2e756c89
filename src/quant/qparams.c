/* Scale and zero point: see qparams.h. */
#include "quant/qparams.h"

#include <math.h>

#include "quant/observer.h"

void qb_dtype_range(enum qb_dtype dtype, int *min, int *max)
{
    *min = dtype == QB_QINT8 ? -128 : 0;
    *max = dtype == QB_QINT8 ? 127 : 255;
}

static int floor_half(int x)
{
    return (x - (x & 1)) / 2;
}

void qb_spec_quant_range(const struct qb_observer_spec *spec, int *min, int *max)
{
    if (spec->has_quant_range) {
        *min = spec->quant_min;
        *max = spec->quant_max;
    } else {
        qb_dtype_range(spec->dtype, min, max);
    }
    if (spec->reduce_range) {
        *min = floor_half(*min);
        *max = floor_half(*max);
    }
}

enum qb_status qb_qparams_derive(const struct qb_observer_spec *spec, float min, float max,
                                 struct qb_qparams *out, struct qb_error *err)
{
    if (!(fabsf(min) < INFINITY && fabsf(max) < INFINITY && min <= max)) {
        return qb_fail(err, QB_EINPUT, "the observed range [%g, %g] is not finite", (double)min, (double)max);
    }
    struct qb_qparams q = {.dtype = spec->dtype};
    qb_spec_quant_range(spec, &q.quant_min, &q.quant_max);
    /* Zero must be a code: padding and ReLU need it. */
    const float low = min < 0 ? min : 0, high = max > 0 ? max : 0, eps = qb_spec_eps(spec);
    const float levels = (float)(q.quant_max - q.quant_min);
    if (spec->symmetric) {
        const float limit = -low > high ? -low : high;
        const float scale = limit / (levels / 2);
        q.scale = scale > eps ? scale : eps;
        if (spec->dtype == QB_QUINT8) {
            q.zero_point = spec->has_quant_range ? floor_half(q.quant_min + q.quant_max) : 128;
        }
    } else {
        const float scale = (high - low) / levels;
        q.scale = scale > eps ? scale : eps;
        const float shift = nearbyintf(low / q.scale); /* half to even, in -levels..0 up to rounding */
        const float zero_point = (float)q.quant_min - (shift > -1024 ? shift : -1024);
        q.zero_point = zero_point < (float)q.quant_max ? (int32_t)zero_point : q.quant_max;
    }
    if (!(q.scale < INFINITY)) {
        return qb_fail(err, QB_EINPUT, "the observed range [%g, %g] is too wide for a float32 scale",
                       (double)min, (double)max);
    }
    *out = q;
    return QB_OK;
}
