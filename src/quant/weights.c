/* Weight observation and quantization: see weights.h. */
#include "quant/weights.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "quant/extrema.h"
#include "quant/observer.h"
#include "quant/qparams.h"

/* How zero point and rounding meet; the three part near ties, the first two only where the zero point is not
 * 0. */
enum rounding {
    PER_TENSOR,  /* rne(fma(x, 1 / scale, zero_point)): quantize_per_tensor, FBGEMM's QuantizeAvx2 */
    PER_CHANNEL, /* rne(x * (1 / scale) + zero_point), three roundings: quantize_per_channel, FBGEMM's
                    Quantize */
    DIVIDE, /* rne(x / scale) + zero_point: ONNX Runtime's rule, and NNCF's, whose files QuantizeLinear reads
             */
    AWAY,   /* x * inverse, half away from zero: TensorFlow Lite's */
};

static float rounded(enum rounding how, float x, float scale, float inverse, float zero_point)
{
    switch (how) {
    case PER_TENSOR: return nearbyintf(fmaf(x, inverse, zero_point));
    case PER_CHANNEL: return nearbyintf(x * inverse + zero_point);
    case DIVIDE: return nearbyintf(x / scale) + zero_point;
    default: return roundf(x * inverse);
    }
}

static enum rounding rounding_of(enum qb_scale_rule rule, bool per_channel)
{
    switch (rule) {
    case QB_SCALE_ORT:
    case QB_SCALE_NNCF: return DIVIDE;
    case QB_SCALE_TFLITE: return AWAY;
    default: return per_channel ? PER_CHANNEL : PER_TENSOR;
    }
}

/* PortableSymmetricQuantizeFloats divides once more; SymmetricPerChannelQuantizeValues has the scale's
 * reciprocal. */
static float away_per_tensor(const struct qb_qparams *q, float limit)
{
    return (float)q->quant_max / fmaxf(limit, QB_TFLITE_LIMIT);
}

/* Codes limited to the range that the scale was derived from (_clamp_weights; the whole dtype's range is its
 * saturation), then shifted inside. */
static void quantize(const float *wei, size_t count, const struct qb_qparams *q, enum rounding how,
                     float inverse, int shift, int8_t *codes)
{
    const float low = (float)q->quant_min, high = (float)q->quant_max;
    for (size_t i = 0; i < count; i++) {
        float t = rounded(how, wei[i], q->scale, inverse, (float)q->zero_point);
        t = t > low ? t : low;
        t = t < high ? t : high;
        codes[i] = (int8_t)((int)t - shift);
    }
}

/* NNCF: no channel's limit is below a hundredth of the widest one's. */
static void raise_small_channels(float *min, float *max, size_t ranges)
{
    float widest = 0;
    for (size_t k = 0; k < ranges; k++) {
        widest = fmaxf(widest, fmaxf(-min[k], max[k]));
    }
    for (size_t k = 0; k < ranges; k++) {
        max[k] = fmaxf(max[k], fmaxf(-min[k], 0.01f * widest));
    }
}

static enum qb_status observe(const struct qb_observer_spec *spec, const struct qb_observer_ops *ops,
                              const float *wei, size_t count, size_t ranges, float *min, float *max,
                              struct qb_error *err)
{
    struct qb_observer *observer = NULL;
    QB_TRY(ops->create(spec, ranges, &observer, err));
    enum qb_status status;
    do {
        status = ops->observe(observer, wei, count, err);
    } while (status == QB_OK && ops->next_pass && ops->next_pass(observer));
    if (status == QB_OK) {
        status = ops->range(observer, min, max, err);
    }
    ops->destroy(observer);
    return status;
}

enum qb_status qb_weights_quantize(const struct qb_observer_spec *spec, const float *wei, int channels,
                                   size_t each, struct qb_arena *arena, struct qb_quantized_weights *out,
                                   struct qb_error *err)
{
    const struct qb_observer_ops *const ops = qb_observer_find(spec->observer);
    const size_t ranges = ops->per_channel ? (size_t)channels : 1;
    size_t count;
    if (__builtin_mul_overflow((size_t)channels, each, &count)) {
        return qb_fail_memory(err, each);
    }
    int8_t *const codes = qb_arena_array(arena, count, sizeof *codes);
    float *const scales = qb_arena_array(arena, ranges, sizeof *scales);
    int32_t *const zero_points = qb_arena_array(arena, ranges, sizeof *zero_points);
    float *const seen = qb_arena_array(arena, ranges, 2 * sizeof *seen);
    float *const min = calloc(2 * ranges, sizeof *min);
    if (!codes || !scales || !zero_points || !seen || !min) {
        free(min);
        return qb_fail_memory(err, count);
    }
    float *const max = min + ranges;
    enum qb_status status = observe(spec, ops, wei, count, ranges, min, max, err);
    if (status == QB_OK && spec->scale_rule == QB_SCALE_NNCF && ops->per_channel) {
        raise_small_channels(min, max, ranges);
    }
    const enum rounding how = rounding_of(spec->scale_rule, ops->per_channel);
    const int shift = qb_weight_shift(spec->dtype);
    const size_t slice = count / ranges;
    for (size_t k = 0; k < ranges && status == QB_OK; k++) {
        struct qb_qparams q;
        status = qb_qparams_derive(spec, min[k], max[k], &q, err);
        if (status == QB_OK) {
            status = qb_extrema(wei + k * slice, slice, &seen[2 * k], &seen[2 * k + 1], err);
        }
        if (status == QB_OK) {
            scales[k] = q.scale;
            zero_points[k] = q.zero_point - shift;
            const float inverse = how == AWAY && !ops->per_channel
                                      ? away_per_tensor(&q, fmaxf(-min[k], max[k]))
                                      : 1.0F / q.scale;
            quantize(wei + k * slice, slice, &q, how, inverse, shift, codes + k * slice);
        }
    }
    free(min);
    if (status == QB_OK) {
        *out = (struct qb_quantized_weights){codes, (int)ranges, scales, zero_points, seen};
    }
    return status;
}

void qb_weights_requantize(const struct qb_observer_spec *spec, const float *wei, size_t count, float scale,
                           int32_t zero_point, int8_t *codes)
{
    const int shift = qb_weight_shift(spec->dtype);
    struct qb_qparams q = {.scale = scale, .zero_point = zero_point + shift};
    qb_spec_quant_range(spec, &q.quant_min, &q.quant_max);
    if (!spec->reduce_range) {
        const bool without_least = q.quant_min == -q.quant_max;
        qb_bits_range(spec->dtype, spec->bits, &q.quant_min, &q.quant_max);
        q.quant_min = without_least ? -q.quant_max : q.quant_min;
    }
    const enum rounding how = rounding_of(spec->scale_rule, qb_observer_find(spec->observer)->per_channel);
    quantize(wei, count, &q, how, 1.0F / scale, shift, codes);
}

/* `scale`, or the least one in which the accumulator's units hold `bia`: see qb_weights_widen. float32 where
 * NumPy computes so. */
static float widened(enum qb_arithmetic arithmetic, bool per_channel, float bia, float src_scale, float scale)
{
    const double unit = (double)src_scale * (double)scale;
    if (arithmetic == QB_ARITHMETIC_ORT) {
        const double room = per_channel ? (double)(1.0001F * (2.0F * bia)) : 1.0001 * (2.0 * (double)bia);
        const double least = room / (2.0 * INT32_MAX);
        return unit < least && unit > 0.0 ? (float)((double)scale * (least / unit)) : scale;
    }
    const int32_t most = INT32_MAX / 2;
    return (double)bia / (double)(src_scale * scale) > most ? (float)((double)bia / most / (double)src_scale)
                                                            : scale;
}

enum qb_status qb_weights_widen(const struct qb_observer_spec *spec, const float *wei, int channels,
                                size_t each, const float *bia, float src_scale, enum qb_arithmetic arithmetic,
                                struct qb_arena *arena, struct qb_quantized_weights *weights,
                                struct qb_error *err)
{
    const bool ort = arithmetic == QB_ARITHMETIC_ORT;
    if ((!ort && arithmetic != QB_ARITHMETIC_TFLITE) || !spec->symmetric || spec->dtype != QB_QINT8) {
        return QB_OK;
    }
    const size_t ranges = (size_t)weights->scale_count, share = (size_t)channels / ranges,
                 slice = share * each;
    float *scales = NULL;
    int8_t *codes = NULL;
    for (size_t k = 0; k < ranges; k++) {
        float widest = 0.0F;
        for (size_t c = k * share; c < (k + 1) * share; c++) {
            widest = fmaxf(widest, fabsf(bia[c]));
        }
        const float scale = widened(arithmetic, ranges > 1, widest, src_scale, weights->scales[k]);
        if (!(scale > weights->scales[k])) {
            continue;
        }
        if (!codes) {
            scales = qb_arena_memdup(arena, weights->scales, ranges * sizeof *scales);
            codes = qb_arena_memdup(arena, weights->codes, ranges * slice);
            if (!scales || !codes) {
                return qb_fail_memory(err, ranges * slice);
            }
            weights->scales = scales;
            weights->codes = codes;
        }
        scales[k] = scale;
        qb_weights_requantize(spec, wei + k * slice, slice, scale, weights->zero_points[k],
                              codes + k * slice);
    }
    return QB_OK;
}

static double bia_code(enum qb_arithmetic arithmetic, float bia, float scale)
{
    if (arithmetic != QB_ARITHMETIC_TFLITE) {
        return nearbyint((double)bia / (double)scale);
    }
    const float inverse = scale < FLT_MIN ? 0.0F : 1.0F / scale;
    return fmax((double)roundf(bia * inverse), -INT32_MAX);
}

enum qb_status qb_bia_quantize(struct qb_qnode *to, float src_scale, enum qb_arithmetic arithmetic,
                               struct qb_arena *arena, struct qb_error *err)
{
    int32_t *const codes = qb_arena_array(arena, (size_t)to->oc, sizeof *codes);
    float *const bia = qb_arena_array(arena, (size_t)to->oc, sizeof *bia);
    if (!codes || !bia) {
        return qb_fail_memory(err, (size_t)to->oc * sizeof *codes);
    }
    for (int k = 0; k < to->oc; k++) {
        const double code = bia_code(arithmetic, to->bia[k], qb_acc_scale(to, src_scale, k));
        codes[k] = (int32_t)fmin(fmax(code, INT32_MIN), INT32_MAX);
    }
    to->bia_codes = codes;
    qb_bia_of_codes(to, src_scale, bia);
    to->bia = bia;
    return QB_OK;
}
