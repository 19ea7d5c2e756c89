/* Scale and zero point: see qparams.h. */
#include "quant/qparams.h"

#include <float.h>
#include <math.h>

#include "quant/observer.h"

void qb_dtype_range(enum qb_dtype dtype, int *min, int *max)
{
    qb_bits_range(dtype, 0, min, max);
}

void qb_bits_range(enum qb_dtype dtype, int bits, int *min, int *max)
{
    const int half = bits ? 1 << (bits - 1) : 128;
    *min = dtype == QB_QINT8 ? -half : 0;
    *max = dtype == QB_QINT8 ? half - 1 : 2 * half - 1;
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
        qb_bits_range(spec->dtype, spec->bits, min, max);
    }
    if (spec->reduce_range) { /* NNCF rounds the largest code, 63.5, to even */
        *min = floor_half(*min);
        *max = spec->scale_rule == QB_SCALE_NNCF ? -*min : floor_half(*max);
    }
}

/* _calculate_qparams of torch/ao/quantization/observer.py. */
static void derive_torch(const struct qb_observer_spec *spec, float low, float high, struct qb_qparams *q)
{
    const float levels = (float)(q->quant_max - q->quant_min), eps = qb_spec_eps(spec);
    if (spec->symmetric) {
        const float limit = -low > high ? -low : high;
        const float scale = limit / (levels / 2);
        q->scale = scale > eps ? scale : eps;
        if (spec->dtype == QB_QUINT8) { /* reduce_range moves the middle of a range of one's own alone */
            int min = q->quant_min, max = q->quant_max;
            if (!spec->has_quant_range) {
                qb_bits_range(spec->dtype, spec->bits, &min, &max);
            }
            q->zero_point = spec->has_quant_range ? floor_half(min + max) : (min + max + 1) / 2;
        }
        return;
    }
    const float scale = (high - low) / levels;
    q->scale = scale > eps ? scale : eps;
    const float shift = nearbyintf(low / q->scale); /* half to even, in -levels..0 up to rounding */
    const float zero_point = (float)q->quant_min - (shift > -1024 ? shift : -1024);
    q->zero_point = zero_point < (float)q->quant_max ? (int32_t)zero_point : q->quant_max;
}

static int32_t limit_zero_point(double zero_point, const struct qb_qparams *q)
{
    return (int32_t)fmin(fmax(zero_point, q->quant_min), q->quant_max);
}

/* compute_scale_zp of onnxruntime/python/tools/quantization/quant_utils.py: in double. */
static void derive_ort(const struct qb_observer_spec *spec, float low, float high, struct qb_qparams *q)
{
    const double limit = (double)(-low > high ? -low : high);
    const double min = spec->symmetric ? -limit : (double)low, max = spec->symmetric ? limit : (double)high;
    const double scale = (max - min) / (q->quant_max - q->quant_min);
    if ((float)scale < FLT_MIN) {
        q->scale = 1;
        q->zero_point = limit_zero_point(0, q);
        return;
    }
    q->scale = (float)scale;
    q->zero_point = limit_zero_point(
        nearbyint(spec->symmetric ? (q->quant_min + q->quant_max) / 2.0 : q->quant_min - min / scale), q);
}

/* nncf/quantization/fake_quantize.py. A symmetric quint8 tensor that has negative values becomes qint8. The
 * half range of its overflow fix doubles the scale: codes reach 127/2. */
static void derive_nncf(const struct qb_observer_spec *spec, float low, float high, struct qb_qparams *q)
{
    const double smallest = 8e-5;
    if (spec->symmetric) {
        if (spec->dtype == QB_QUINT8 && low < 0) {
            q->dtype = QB_QINT8;
            qb_bits_range(QB_QINT8, spec->bits, &q->quant_min, &q->quant_max);
        }
        const double limit = fmax((double)(-low > high ? -low : high), smallest);
        q->scale = (float)(limit / (spec->reduce_range ? q->quant_max - 0.5 : q->quant_max));
        return;
    }
    double min = (double)low, max = (double)high;
    const double levels = q->quant_max - q->quant_min;
    if (max - min < 10 * smallest) {
        min -= 10 * smallest;
        max += 10 * smallest;
    }
    /* Zero becomes a level exactly, by widening one end: the choice with the wider result. */
    const double zero = nearbyint(-min * levels / (max - min));
    const double wider_min = zero < levels ? zero / (zero - levels) * max : min;
    const double wider_max = zero > 0 ? (zero - levels) / zero * min : max;
    if (max - wider_min > wider_max - min) {
        min = wider_min;
    } else {
        max = wider_max;
    }
    q->scale = (float)((max - min) / levels);
    q->zero_point = limit_zero_point(q->quant_min + zero, q);
}

/* quic/aimet, TfEncodingAnalyzer: a range of at least 0.01, the offset rounded half away from zero. */
static void derive_aimet(const struct qb_observer_spec *spec, float low, float high, struct qb_qparams *q)
{
    const double max = fmax((double)high, (double)low + 0.01), levels = q->quant_max - q->quant_min;
    if (spec->symmetric) {
        q->scale = (float)(fmax(-(double)low, max) / (levels / 2));
        q->zero_point =
            limit_zero_point(spec->dtype == QB_QUINT8 ? (q->quant_min + q->quant_max + 1) / 2 : 0, q);
        return;
    }
    const double delta = (max - (double)low) / levels;
    q->scale = (float)delta;
    q->zero_point = limit_zero_point(q->quant_min - round((double)low / delta), q);
}

/* tensorflow/compiler/mlir/lite/quantization, DownCastScale of quantization_utils.cc: the scale in float32,
 * the zero point a float32 of a quotient in double, rounded half away from zero. Ranges of next to nothing
 * are widened first (ExpandVerySmallRange): those of weights to 1e-6, a tensor of zeros to 2e-6. */
static void derive_tflite(const struct qb_observer_spec *spec, float low, float high, struct qb_qparams *q)
{
    const float levels = (float)(q->quant_max - q->quant_min);
    if (spec->symmetric) {
        const float limit = fmaxf(fmaxf(-low, high), QB_TFLITE_LIMIT);
        q->scale = (limit + limit) / levels;
        return;
    }
    if ((high - low) / levels < FLT_MIN) {
        low = -1e-6F;
        high = 1e-6F;
    }
    q->scale = (high - low) / levels;
    const float zero_point = (float)(q->quant_min - (double)low / (double)q->scale);
    q->zero_point = limit_zero_point((double)roundf(zero_point), q);
}

enum qb_status qb_qparams_derive(const struct qb_observer_spec *spec, float min, float max,
                                 struct qb_qparams *out, struct qb_error *err)
{
    if (!(fabsf(min) < INFINITY && fabsf(max) < INFINITY && min <= max)) {
        return qb_fail(err, QB_EINPUT, "the observed range [%g, %g] is not finite", (double)min, (double)max);
    }
    static void (*const derive[QB_SCALE_RULES])(const struct qb_observer_spec *, float, float,
                                                struct qb_qparams *) = {
        [QB_SCALE_TORCH] = derive_torch, [QB_SCALE_ORT] = derive_ort,       [QB_SCALE_NNCF] = derive_nncf,
        [QB_SCALE_AIMET] = derive_aimet, [QB_SCALE_TFLITE] = derive_tflite,
    };
    struct qb_qparams q = {.dtype = spec->dtype, .bits = spec->bits};
    qb_spec_quant_range(spec, &q.quant_min, &q.quant_max);
    /* Zero must be a code: padding and ReLU need it. */
    derive[spec->scale_rule](spec, min < 0 ? min : 0, max > 0 ? max : 0, &q);
    if (!(q.scale < INFINITY)) {
        return qb_fail(err, QB_EINPUT, "the observed range [%g, %g] is too wide for a float32 scale",
                       (double)min, (double)max);
    }
    *out = q;
    return QB_OK;
}
