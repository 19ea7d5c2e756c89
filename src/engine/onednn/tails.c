/* Vector forms of the tails: see tails.h.
 *
 * Each loop is written once in plain C and compiled for three instruction sets; the compiler vectorizes it.
 * Two rewritings change no bit: codes are limited as floats before rounding (the limits are integers,
 * rounding is monotonic), and rintf rounds to nearest even as lrintf does. */
#include "engine/onednn/tails.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

enum { LEAST_PERIOD = 256 };

INLINE float limit(float x, float low, float high)
{
    const float raised = x < low ? low : x;
    return raised > high ? high : raised;
}

/* Accumulator plus offset. The sum fits (qb_check_qgraph), a raw accumulator of a huge window need not. */
INLINE float corrected(int32_t acc, int32_t offset)
{
    return (float)(int32_t)((uint32_t)acc + (uint32_t)offset);
}

/* One stretch of at most `period` elements. `kind` is a constant wherever this is inlined. */
enum kind { FBGEMM_CHANNEL, FBGEMM_TENSOR, ONEDNN, ONEDNN_RESIDUAL };

INLINE void tail_stretch(const struct qb_tail *t, enum kind kind, const int32_t *restrict acc,
                         const uint8_t *residual, size_t count, uint8_t *dst)
{
    const int32_t *restrict offset = t->offset;
    const float *restrict bia = t->bia, *restrict scale = t->scale;
    const float factor = t->factor, inverse = t->dst_inverse, floor = t->floor, low = t->low, high = t->high;
    const float acc_scale = t->acc_scale, res_scale = t->res_scale, float_zero = t->float_zero_point;
    const int32_t zero = t->zero_point, res_zero = t->res_zero_point;
    if (kind == FBGEMM_CHANNEL) {
        for (size_t k = 0; k < count; k++) {
            const float y = (corrected(acc[k], offset[k]) + bia[k]) * scale[k];
            dst[k] = (uint8_t)((int32_t)rintf(limit(y, low, high)) + zero);
        }
    } else if (kind == FBGEMM_TENSOR) {
        for (size_t k = 0; k < count; k++) {
            const float y = fmaf(bia[k], factor, corrected(acc[k], offset[k])) * scale[k];
            dst[k] = (uint8_t)((int32_t)rintf(limit(y, low, high)) + zero);
        }
    } else if (kind == ONEDNN) {
        for (size_t k = 0; k < count; k++) {
            const float v = corrected(acc[k], offset[k]) * acc_scale * scale[k] + bia[k];
            const float y = (v < floor ? floor : v) * inverse + float_zero;
            dst[k] = (uint8_t)(int32_t)rintf(limit(y, low, high));
        }
    } else {
        for (size_t k = 0; k < count; k++) {
            const float v = corrected(acc[k], offset[k]) * acc_scale * scale[k] + bia[k];
            const float sum = fmaf(res_scale, (float)(residual[k] - res_zero), v);
            const float y = (sum < floor ? floor : sum) * inverse + float_zero;
            dst[k] = (uint8_t)(int32_t)rintf(limit(y, low, high));
        }
    }
}

INLINE void tail_loop(const struct qb_tail *t, enum kind kind, const int32_t *acc, const uint8_t *residual,
                      size_t count, uint8_t *dst)
{
    for (size_t i = 0; i < count; i += t->period) {
        const size_t stretch = count - i < t->period ? count - i : t->period;
        tail_stretch(t, kind, acc + i, residual ? residual + i : NULL, stretch, dst + i);
    }
}

INLINE void sum_fbgemm(const struct qb_sum *s, const uint8_t *src0, const uint8_t *src1, size_t count,
                       uint8_t *dst)
{
    const float scale0 = s->scale[0], scale1 = s->scale[1], shift0 = s->shift[0], shift1 = s->shift[1];
    const float inverse = s->dst_inverse, floor = s->floor, low = s->low, high = s->high;
    const int32_t zero = (int32_t)s->zero_point;
    for (size_t i = 0; i < count; i++) {
        const float c = fmaf(scale0, (float)src0[i], shift0) + fmaf(scale1, (float)src1[i], shift1);
        const float y = (c < floor ? floor : c) * inverse;
        dst[i] = (uint8_t)((int32_t)rintf(limit(y, low, high)) + zero);
    }
}

INLINE void sum_onednn(const struct qb_sum *s, const uint8_t *src0, const uint8_t *src1, size_t count,
                       uint8_t *dst)
{
    const float scale0 = s->scale[0], scale1 = s->scale[1], shift0 = s->shift[0], shift1 = s->shift[1];
    const float inverse = s->dst_inverse, floor = s->floor, low = s->low, high = s->high,
                zero = s->zero_point;
    for (size_t i = 0; i < count; i++) {
        const float c = scale0 * ((float)src0[i] - shift0) + scale1 * ((float)src1[i] - shift1);
        const float y = (c < floor ? floor : c) * inverse + zero;
        dst[i] = (uint8_t)(int32_t)rintf(limit(y, low, high));
    }
}

#define TARGET(features) __attribute__((target(features)))
#define AVX512 "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"
#ifdef __clang__
#define TARGET_AVX512 TARGET(AVX512)
#else /* GCC would stay at 256 bits on the tuning of some CPUs */
#define TARGET_AVX512 TARGET(AVX512 ",prefer-vector-width=512")
#endif

/* The functions of one instruction set. */
#define TAILS(suffix, target)                                                                                \
    target static void fbgemm_channel_##suffix(const struct qb_tail *t, const int32_t *acc,                  \
                                               const uint8_t *residual, size_t count, uint8_t *dst)          \
    {                                                                                                        \
        (void)residual;                                                                                      \
        tail_loop(t, FBGEMM_CHANNEL, acc, NULL, count, dst);                                                 \
    }                                                                                                        \
    target static void fbgemm_tensor_##suffix(const struct qb_tail *t, const int32_t *acc,                   \
                                              const uint8_t *residual, size_t count, uint8_t *dst)           \
    {                                                                                                        \
        (void)residual;                                                                                      \
        tail_loop(t, FBGEMM_TENSOR, acc, NULL, count, dst);                                                  \
    }                                                                                                        \
    target static void onednn_##suffix(const struct qb_tail *t, const int32_t *acc, const uint8_t *residual, \
                                       size_t count, uint8_t *dst)                                           \
    {                                                                                                        \
        (void)residual;                                                                                      \
        tail_loop(t, ONEDNN, acc, NULL, count, dst);                                                         \
    }                                                                                                        \
    target static void onednn_residual_##suffix(const struct qb_tail *t, const int32_t *acc,                 \
                                                const uint8_t *residual, size_t count, uint8_t *dst)         \
    {                                                                                                        \
        tail_loop(t, ONEDNN_RESIDUAL, acc, residual, count, dst);                                            \
    }                                                                                                        \
    target static void sum_fbgemm_##suffix(const struct qb_sum *s, const uint8_t *src0, const uint8_t *src1, \
                                           size_t count, uint8_t *dst)                                       \
    {                                                                                                        \
        sum_fbgemm(s, src0, src1, count, dst);                                                               \
    }                                                                                                        \
    target static void sum_onednn_##suffix(const struct qb_sum *s, const uint8_t *src0, const uint8_t *src1, \
                                           size_t count, uint8_t *dst)                                       \
    {                                                                                                        \
        sum_onednn(s, src0, src1, count, dst);                                                               \
    }
TAILS(base, )
TAILS(avx2, TARGET("avx2,fma"))
TAILS(avx512, TARGET_AVX512)

/* Rows: enum qb_simd, columns: enum kind. */
static void (*const tails[QB_SIMD_COUNT][4])(const struct qb_tail *, const int32_t *, const uint8_t *, size_t,
                                             uint8_t *) = {
    {fbgemm_channel_base, fbgemm_tensor_base, onednn_base, onednn_residual_base},
    {fbgemm_channel_avx2, fbgemm_tensor_avx2, onednn_avx2, onednn_residual_avx2},
    {fbgemm_channel_avx512, fbgemm_tensor_avx512, onednn_avx512, onednn_residual_avx512},
};
static void (*const sums[QB_SIMD_COUNT][QB_ARITHMETIC_COUNT])(const struct qb_sum *, const uint8_t *,
                                                              const uint8_t *, size_t, uint8_t *) = {
    {[QB_ARITHMETIC_FBGEMM] = sum_fbgemm_base, [QB_ARITHMETIC_ONEDNN] = sum_onednn_base},
    {[QB_ARITHMETIC_FBGEMM] = sum_fbgemm_avx2, [QB_ARITHMETIC_ONEDNN] = sum_onednn_avx2},
    {[QB_ARITHMETIC_FBGEMM] = sum_fbgemm_avx512, [QB_ARITHMETIC_ONEDNN] = sum_onednn_avx512},
};

bool qb_tail_init(const struct qb_requant *requant, const int32_t *offset, bool residual, enum qb_simd simd,
                  struct qb_arena *arena, struct qb_tail *out)
{
    const bool fbgemm = requant->arithmetic == QB_ARITHMETIC_FBGEMM;
    const size_t oc = (size_t)requant->oc, period = (LEAST_PERIOD + oc - 1) / oc * oc;
    int32_t *offsets = qb_arena_array(arena, period, sizeof *offsets);
    float *bia = qb_arena_array(arena, period, sizeof *bia),
          *scale = qb_arena_array(arena, period, sizeof *scale);
    if (!offsets || !bia || !scale) {
        return false;
    }
    for (size_t i = 0; i < period; i++) {
        offsets[i] = offset[i % oc];
        bia[i] = requant->bia[i % oc];
        scale[i] = requant->scale[i % oc];
    }
    const int32_t zero = requant->zero_point;
    *out = (struct qb_tail){
        .oc = oc,
        .period = period,
        .offset = offsets,
        .bia = bia,
        .scale = scale,
        .factor = requant->bia_factor,
        .acc_scale = requant->acc_scale,
        .dst_inverse = requant->dst_inverse,
        .res_scale = requant->res_scale,
        .res_zero_point = requant->res_zero_point,
        .floor = requant->relu ? 0.0f : -INFINITY,
        /* fbgemm adds the zero point after rounding, onednn before. */
        .low = fbgemm && requant->relu ? 0.0f : (float)(requant->low - (fbgemm ? zero : 0)),
        .high = (float)(requant->high - (fbgemm ? zero : 0)),
        .zero_point = zero,
        .float_zero_point = (float)zero,
        .run = tails[simd][!fbgemm               ? (residual ? ONEDNN_RESIDUAL : ONEDNN)
                           : requant->per_tensor ? FBGEMM_TENSOR
                                                 : FBGEMM_CHANNEL],
    };
    return true;
}

void qb_tail_run(const struct qb_tail *tail, const int32_t *acc, const uint8_t *residual, size_t pixels,
                 uint8_t *dst)
{
    tail->run(tail, acc, residual, pixels * tail->oc, dst);
}

void qb_sum_init(const struct qb_qgraph *graph, int node, enum qb_simd simd, struct qb_sum *out)
{
    const struct qb_qnode *n = &graph->nodes[node];
    const enum qb_arithmetic whose = qb_arithmetic_traits(graph->arithmetic)->rest;
    const bool fbgemm = whose == QB_ARITHMETIC_FBGEMM;
    const float zero = (float)n->q.zero_point;
    int32_t low, high;
    qb_code_limits(&n->q, &low, &high);
    struct qb_sum sum = {
        .dst_inverse = 1.0f / n->q.scale,
        .floor = n->relu ? 0.0f : -INFINITY,
        .low = (float)low - (fbgemm ? zero : 0.0f),
        .high = (float)high - (fbgemm ? zero : 0.0f),
        .zero_point = zero,
        .run = sums[simd][whose],
    };
    for (int i = 0; i < 2; i++) {
        const struct qb_qparams *q = &graph->nodes[n->src[i]].q;
        sum.scale[i] = q->scale;
        sum.shift[i] = fbgemm ? q->scale * (float)-q->zero_point : (float)q->zero_point;
    }
    *out = sum;
}

void qb_sum_run(const struct qb_sum *sum, const uint8_t *src0, const uint8_t *src1, size_t count,
                uint8_t *dst)
{
    sum->run(sum, src0, src1, count, dst);
}
