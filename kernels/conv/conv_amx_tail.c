/* Units of the tail for the AMX convolution: 8 vectors of 16 accumulators -> 128 codes. They run between tile
 * instructions, so they are written for the ports those leave.
 *
 * While tile instructions are in flight, 512-bit multiplications, conversions, minima and maxima issue on
 * port 0 only; additions, logic and shuffles keep port 5 too (measured on Sapphire Rapids). So rounding is
 * done by adding and subtracting 1.5 * 2^23 (to nearest, ties to even, exact for |v| < 2^22), and a residual
 * code becomes a float as the low bits of 2^23. Level by level over eight vectors: four would wait in the
 * scheduler for each other and keep the next tile instruction out. */
#include <immintrin.h>

#include "kernels/conv/conv_amx.h"
#include "kernels/simd.h"
#include "kernels/tail_avx512.h"

#define ROUND 0x1.8p23F
#define INTEGER 0x1p23F
enum { INTEGER_BITS = 0x4b000000 };

#define EACH QB_UNROLL for (int n = 0; n < QB_AMX_UNIT; n++)

/* Codes of 4 / Q pixels; a pixel's 16 * Q bytes are contiguous. */
QB_INLINE void store(uint8_t *dst, size_t step, __m512i codes, int Q)
{
    if (step == (size_t)(16 * Q)) {
        _mm512_storeu_si512(dst, codes);
    } else if (Q == 2) {
        _mm256_storeu_si256((__m256i *)(void *)dst, _mm512_castsi512_si256(codes));
        _mm256_storeu_si256((__m256i *)(void *)(dst + step), _mm512_extracti64x4_epi64(codes, 1));
    } else {
        _mm_storeu_si128((__m128i *)(void *)dst, _mm512_castsi512_si128(codes));
        _mm_storeu_si128((__m128i *)(void *)(dst + step), _mm512_extracti32x4_epi32(codes, 1));
        _mm_storeu_si128((__m128i *)(void *)(dst + 2 * step), _mm512_extracti32x4_epi32(codes, 2));
        _mm_storeu_si128((__m128i *)(void *)(dst + 3 * step), _mm512_extracti32x4_epi32(codes, 3));
    }
}

QB_INLINE const uint8_t *res_at(const struct qb_amx_tail *t, const uint8_t *res, int n, int Q)
{
    return res + (size_t)(n / Q) * t->res_step + (size_t)(n % Q) * QB_BLOCK;
}

QB_INLINE void scaled(__m512 v[QB_AMX_UNIT], const struct qb_amx_tail *t, const int32_t *acc, int Q)
{
    __m512 bia[2], scale[2];
    QB_UNROLL
    for (int q = 0; q < Q; q++) {
        bia[q] = _mm512_load_ps(t->bia + q * QB_BLOCK);
        scale[q] = _mm512_load_ps(t->scale + q * QB_BLOCK);
    }
    EACH
    {
        v[n] = _mm512_cvtepi32_ps(_mm512_load_si512(acc + n * QB_BLOCK));
    }
    EACH
    {
        v[n] = _mm512_add_ps(v[n], bia[n % Q]);
    }
    EACH
    {
        v[n] = _mm512_mul_ps(v[n], scale[n % Q]);
    }
}

QB_INLINE void put(const struct qb_amx_tail *t, const __m512 v[QB_AMX_UNIT], uint8_t *dst, int Q)
{
    __m512i codes[QB_AMX_UNIT];
    EACH
    {
        codes[n] = _mm512_cvtps_epi32(v[n]);
    }
    QB_UNROLL
    for (int i = 0; i < 2; i++) {
        store(dst + (size_t)(i * 4 / Q) * t->dst_step, t->dst_step, qb_tail512_pack(codes + 4 * i), Q);
    }
}

/* fbgemm without residual. This and the next two: zero point of dst 0, no zero points of weights, source zero
 * point 0. */
QB_INLINE void codes_unit(const struct qb_amx_tail *t, const int32_t *acc, uint8_t *dst, int Q)
{
    __m512 v[QB_AMX_UNIT];
    scaled(v, t, acc, Q);
    put(t, v, dst, Q);
}

/* fbgemm with a quick addition. `high` false: see no_high. */
QB_INLINE void add_unit(const struct qb_amx_tail *t, const int32_t *acc, uint8_t *dst, const uint8_t *res,
                        int Q, bool high)
{
    const struct qb_tail *const tail = t->tail;
    const __m512 low = _mm512_set1_ps(tail->conv_low), top = _mm512_set1_ps(tail->conv_high),
                 plus = _mm512_set1_ps(ROUND), minus = _mm512_set1_ps(-ROUND),
                 quick_conv = _mm512_set1_ps(tail->quick_conv), quick_res = _mm512_set1_ps(tail->quick_res),
                 offset = _mm512_set1_ps(tail->quick_offset), integer = _mm512_set1_ps(-INTEGER);
    const __m512i bits = _mm512_set1_epi32(INTEGER_BITS);
    __m512 v[QB_AMX_UNIT], r[QB_AMX_UNIT];
    EACH
    {
        const __m128i *const from = (const __m128i *)(const void *)res_at(t, res, n, Q);
        const __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128(from));
        r[n] = _mm512_castsi512_ps(_mm512_or_si512(code, bits));
    }
    EACH
    {
        r[n] = _mm512_add_ps(r[n], integer);
    }
    scaled(v, t, acc, Q);
    EACH
    {
        v[n] = _mm512_max_ps(v[n], low);
    }
    if (high) {
        EACH
        {
            v[n] = _mm512_min_ps(v[n], top);
        }
    }
    EACH
    {
        v[n] = _mm512_add_ps(v[n], plus);
    }
    EACH
    {
        r[n] = _mm512_fmadd_ps(quick_res, r[n], offset);
    }
    EACH
    {
        v[n] = _mm512_add_ps(v[n], minus);
    }
    EACH
    {
        v[n] = _mm512_fmadd_ps(quick_conv, v[n], r[n]);
    }
    put(t, v, dst, Q);
}

/* Any form, any zero points. */
QB_INLINE void any_unit(enum qb_tail_form form, const struct qb_amx_tail *t, const int32_t *acc, uint8_t *dst,
                        const uint8_t *res, const int32_t *sums, int Q)
{
    const struct qb_tail *const tail = t->tail;
    const bool residual = tail->residual != QB_TAIL_NONE;
    const __m512i zero_point =
                      _mm512_set1_epi16((short)(tail->rule == QB_TAIL_ONEDNN ? 0 : tail->zero_point)),
                  low = _mm512_set1_epi8((char)tail->low);
    __m512i a[QB_AMX_UNIT];
    EACH
    {
        a[n] = _mm512_add_epi32(_mm512_load_si512(acc + n * QB_BLOCK),
                                _mm512_load_si512(t->comp + n % Q * QB_BLOCK));
    }
    if (t->minus_zw) {
        EACH
        {
            const __m512i minus = _mm512_load_si512(t->minus_zw + n % Q * QB_BLOCK);
            a[n] = _mm512_add_epi32(a[n], _mm512_mullo_epi32(minus, _mm512_set1_epi32(sums[n / Q])));
        }
    }
    EACH
    {
        const struct qb_tail512_block b = {_mm512_load_ps(t->bia + n % Q * QB_BLOCK),
                                           _mm512_load_ps(t->scale + n % Q * QB_BLOCK)};
        a[n] = qb_tail512_value(form, tail, a[n], b, residual ? res_at(t, res, n, Q) : NULL);
    }
    QB_UNROLL
    for (int i = 0; i < 2; i++) {
        store(dst + (size_t)(i * 4 / Q) * t->dst_step, t->dst_step,
              qb_tail512_pack_affine(a + 4 * i, zero_point, low), Q);
    }
}

/* NAME_1 and NAME_2: units for one and two blocks. */
#define UNIT(name, Q, call)                                                                                  \
    static void name##_##Q(const struct qb_amx_tail *t, const int32_t *acc, uint8_t *dst,                    \
                           const uint8_t *res, const int32_t *sums)                                          \
    {                                                                                                        \
        (void)res, (void)sums;                                                                               \
        call;                                                                                                \
    }
#define UNITS(name, call1, call2) UNIT(name, 1, call1) UNIT(name, 2, call2)
#define ANY(name, form)                                                                                      \
    UNITS(name, any_unit(form, t, acc, dst, res, sums, 1), any_unit(form, t, acc, dst, res, sums, 2))

UNITS(codes, codes_unit(t, acc, dst, 1), codes_unit(t, acc, dst, 2))
UNITS(add, add_unit(t, acc, dst, res, 1, false), add_unit(t, acc, dst, res, 2, false))
UNITS(add_high, add_unit(t, acc, dst, res, 1, true), add_unit(t, acc, dst, res, 2, true))
ANY(fbgemm, QB_FORM_FBGEMM)
ANY(fbgemm_add, QB_FORM_FBGEMM_ADD)
ANY(fbgemm_add_long, QB_FORM_FBGEMM_ADD_LONG)
ANY(tensor, QB_FORM_TENSOR)
ANY(tensor_add, QB_FORM_TENSOR_ADD)
ANY(tensor_add_long, QB_FORM_TENSOR_ADD_LONG)
ANY(onednn, QB_FORM_ONEDNN)
ANY(onednn_sum, QB_FORM_ONEDNN_SUM)

enum qb_amx_finish qb_amx_finish(const struct qb_conv *c)
{
    const enum qb_tail_form form = qb_tail_form(&c->tail);
    if (c->tail.zero_point != 0 || c->tail.low != 0 || c->src_zero_point != 0 || c->wei_zero_points) {
        return QB_AMX_GENERAL;
    }
    return form == QB_FORM_FBGEMM ? QB_AMX_CODES : form == QB_FORM_FBGEMM_ADD ? QB_AMX_ADD : QB_AMX_GENERAL;
}

/* The upper clamp of the convolution's own code may go where that code alone takes the sum to 255, whatever
 * the residual. quick_conv < 2 keeps a larger one within int32 (QB_TAIL_LIMIT). */
static bool no_high(const struct qb_tail *t)
{
    return t->quick_conv <= 1.9F && t->quick_res >= 0.0F &&
           t->quick_conv * t->conv_high + t->quick_offset >= 256.0F;
}

qb_amx_unit_fn *qb_amx_unit(const struct qb_conv *c, int blocks)
{
    static qb_amx_unit_fn *const any[QB_FORM_COUNT][2] = {
        [QB_FORM_FBGEMM] = {fbgemm_1, fbgemm_2},
        [QB_FORM_FBGEMM_ADD] = {fbgemm_add_1, fbgemm_add_2},
        [QB_FORM_FBGEMM_ADD_LONG] = {fbgemm_add_long_1, fbgemm_add_long_2},
        [QB_FORM_TENSOR] = {tensor_1, tensor_2},
        [QB_FORM_TENSOR_ADD] = {tensor_add_1, tensor_add_2},
        [QB_FORM_TENSOR_ADD_LONG] = {tensor_add_long_1, tensor_add_long_2},
        [QB_FORM_ONEDNN] = {onednn_1, onednn_2},
        [QB_FORM_ONEDNN_SUM] = {onednn_sum_1, onednn_sum_2},
    };
    const bool two = blocks == 2;
    switch (qb_amx_finish(c)) {
    case QB_AMX_CODES: return two ? codes_2 : codes_1;
    case QB_AMX_ADD: return no_high(&c->tail) ? (two ? add_2 : add_1) : (two ? add_high_2 : add_high_1);
    case QB_AMX_GENERAL: break;
    }
    return any[qb_tail_form(&c->tail)][two];
}
