/* The tails of tail.h for AVX2 and FMA: four vectors of 8 accumulators (two pixels of one block) become 32
 * codes. */
#ifndef QB_KERNELS_TAIL_AVX2_H
#define QB_KERNELS_TAIL_AVX2_H

#include <immintrin.h>

#include "kernels/simd.h"
#include "kernels/tail.h"

/* Eight residual codes as float. */
QB_INLINE __m256 qb_tail256_res(const uint8_t *res)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)res)));
}

/* max(sat(t + zero_point), low) of two pixels, in memory order. int16 saturation cannot change a result that
 * is clamped to 0..255 afterwards. */
QB_INLINE __m256i qb_tail256_pack(const __m256i t[4], __m256i zero_point16, __m256i low8)
{
    const __m256i a = _mm256_adds_epi16(_mm256_packs_epi32(t[0], t[1]), zero_point16),
                  b = _mm256_adds_epi16(_mm256_packs_epi32(t[2], t[3]), zero_point16);
    return _mm256_permutevar8x32_epi32(_mm256_max_epu8(_mm256_packus_epi16(a, b), low8),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* FIXED: channels k .. k + 7 up to the patch. */
QB_INLINE __m256i qb_tail256_fixed(const struct qb_tail *t, __m256i acc, size_t k)
{
    const __m256i *const start = (const __m256i *)(const void *)(t->start + k),
                         *const patch = (const __m256i *)(const void *)(t->patch + k);
    const __m256i x = _mm256_add_epi32(acc, _mm256_load_si256(start)),
                  sign = _mm256_and_si256(x, _mm256_set1_epi32(t->sign));
    const __m256 bia = _mm256_xor_ps(_mm256_load_ps(t->bia + k), _mm256_castsi256_ps(sign));
    const __m256i code =
        _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(x), _mm256_load_ps(t->scale + k), bia));
    return _mm256_sub_epi32(code, _mm256_cmpeq_epi32(x, _mm256_load_si256(patch)));
}

/* INTEGER: v of channels k .. k + 7. Products of even channels, of odd ones, and the high halves of both;
 * h < 0 is the sign bit, which a shift by 32 leaves out. */
QB_INLINE __m256i qb_tail256_integer(const struct qb_tail *t, __m256i acc, size_t k)
{
    const __m256i *const start = (const __m256i *)(const void *)(t->start + k),
                         *const multiplier = (const __m256i *)(const void *)(t->multiplier + k),
                         *const round = (const __m256i *)(const void *)(t->round + k),
                         *const shift = (const __m256i *)(const void *)(t->shift + k);
    const __m256i x = _mm256_add_epi32(acc, _mm256_load_si256(start)), twice = _mm256_add_epi32(x, x),
                  m = _mm256_load_si256(multiplier),
                  nudge = _mm256_set1_epi64x(t->once ? 0 : INT64_C(1) << 31);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(twice, m), nudge),
                  product = _mm256_mul_epi32(_mm256_srli_epi64(twice, 32), _mm256_srli_epi64(m, 32)),
                  odd = _mm256_add_epi64(product, nudge);
    const __m256i h = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa),
                  negative = _mm256_srlv_epi32(h, _mm256_set1_epi32(t->once ? 32 : 31));
    return _mm256_srav_epi32(_mm256_sub_epi32(_mm256_add_epi32(h, _mm256_load_si256(round)), negative),
                             _mm256_load_si256(shift));
}

/* v of the other rules. Two roundings where tail.h has two: no FMA there. */
QB_INLINE __m256 qb_tail256_v(enum qb_tail_form form, const struct qb_tail *t, __m256i acc, size_t k,
                              const uint8_t *res)
{
    const __m256 a = _mm256_cvtepi32_ps(acc), bia = _mm256_load_ps(t->bia + k),
                 scale = _mm256_load_ps(t->scale + k);
    if (qb_form_onednn(form)) {
        const __m256 scaled = form >= QB_FORM_APART ? _mm256_mul_ps(a, _mm256_set1_ps(t->acc_scale)) : a;
        __m256 s = _mm256_add_ps(_mm256_mul_ps(scaled, scale), bia);
        if (qb_form_sums(form)) {
            const __m256 y = _mm256_sub_ps(qb_tail256_res(res), _mm256_set1_ps((float)t->res_zero_point));
            s = _mm256_fmadd_ps(_mm256_set1_ps(t->res_scale), y, s);
        }
        s = _mm256_mul_ps(s, _mm256_set1_ps(t->own_inverse));
        return _mm256_add_ps(s, _mm256_set1_ps(t->own_zero_point));
    }
    const __m256 sum = form < QB_FORM_TENSOR ? _mm256_add_ps(a, bia)
                                             : _mm256_fmadd_ps(bia, _mm256_set1_ps(t->bia_factor), a);
    return _mm256_mul_ps(sum, scale);
}

/* Channels k .. k + 7 up to rne. `form` is a constant where this is inlined. */
QB_INLINE __m256i qb_tail256_value(enum qb_tail_form form, const struct qb_tail *t, __m256i acc, size_t k,
                                   const uint8_t *res)
{
    if (form >= QB_FORM_FIXED) {
        const __m256i code =
            form >= QB_FORM_INTEGER ? qb_tail256_integer(t, acc, k) : qb_tail256_fixed(t, acc, k);
        if (!qb_form_reads(form)) {
            return code;
        }
        const __m256i y = _mm256_min_epi32(_mm256_max_epi32(code, _mm256_set1_epi32((int32_t)t->conv_low)),
                                           _mm256_set1_epi32((int32_t)t->conv_high));
        const __m256 other = _mm256_fmadd_ps(_mm256_set1_ps(t->quick_res), qb_tail256_res(res),
                                             _mm256_set1_ps(t->quick_offset));
        return _mm256_cvtps_epi32(
            _mm256_fmadd_ps(_mm256_set1_ps(t->quick_conv), _mm256_cvtepi32_ps(y), other));
    }
    const __m256 v = qb_tail256_v(form, t, acc, k, res);
    if (!qb_form_adds(form)) {
        return _mm256_cvtps_epi32(v);
    }
    const __m256 own =
        _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(t->conv_low)), _mm256_set1_ps(t->conv_high));
    const __m256 y = _mm256_round_ps(own, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                 r = qb_tail256_res(res);
    if (form == QB_FORM_FBGEMM_ADD || form == QB_FORM_TENSOR_ADD || form == QB_FORM_APART_ADD) {
        const __m256 other =
            _mm256_fmadd_ps(_mm256_set1_ps(t->quick_res), r, _mm256_set1_ps(t->quick_offset));
        return _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_set1_ps(t->quick_conv), y, other));
    }
    const __m256 code = _mm256_add_ps(y, _mm256_set1_ps((float)t->conv_zero_point));
    const __m256 c =
        _mm256_add_ps(_mm256_fmadd_ps(_mm256_set1_ps(t->conv_scale), code, _mm256_set1_ps(t->conv_offset)),
                      _mm256_fmadd_ps(_mm256_set1_ps(t->res_scale), r, _mm256_set1_ps(t->res_offset)));
    return _mm256_cvtps_epi32(_mm256_mul_ps(c, _mm256_set1_ps(t->dst_inverse)));
}

#endif
