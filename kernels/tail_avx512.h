/* The tails of tail.h for AVX512: four vectors of 16 accumulators become 64 codes. Only for files compiled
 * with AVX512F, BW. */
#ifndef QB_KERNELS_TAIL_AVX512_H
#define QB_KERNELS_TAIL_AVX512_H

#include <immintrin.h>

#include "kernels/simd.h"
#include "kernels/tail.h"

/* Per-channel constants of one block. */
struct qb_tail512_block {
    __m512 bia, scale;                     /* not of INTEGER */
    __m512i start;                         /* FIXED and INTEGER */
    __m512i patch;                         /* FIXED */
    __m512i multiplier, odd, round, shift; /* INTEGER; odd: multipliers of odd channels, one place lower */
};

/* Of the block that starts at channel k. `form` is a constant where this is inlined. */
QB_INLINE struct qb_tail512_block qb_tail512_load(enum qb_tail_form form, const struct qb_tail *t, size_t k)
{
    struct qb_tail512_block b;
    if (form == QB_FORM_INTEGER || form == QB_FORM_INTEGER_ADD) {
        b.start = _mm512_load_si512(t->start + k);
        b.multiplier = _mm512_load_si512(t->multiplier + k);
        b.odd = _mm512_srli_epi64(b.multiplier, 32);
        b.round = _mm512_load_si512(t->round + k);
        b.shift = _mm512_load_si512(t->shift + k);
        return b;
    }
    b.bia = _mm512_load_ps(t->bia + k);
    b.scale = _mm512_load_ps(t->scale + k);
    if (form == QB_FORM_FIXED || form == QB_FORM_FIXED_ADD) {
        b.start = _mm512_load_si512(t->start + k);
        b.patch = _mm512_load_si512(t->patch + k);
    }
    return b;
}

/* 16 residual codes as float. */
QB_INLINE __m512 qb_tail512_res(const uint8_t *res)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)res)));
}

/* y of the add rule. */
QB_INLINE __m512 qb_tail512_conv_code(__m512 v, __m512 low, __m512 high)
{
    return _mm512_roundscale_ps(_mm512_min_ps(_mm512_max_ps(v, low), high),
                                _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

QB_INLINE __m512i qb_tail512_order(__m512i lanes)
{
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                                    lanes);
}

/* sat(t[0]), sat(t[1]) ... in memory order. */
QB_INLINE __m512i qb_tail512_pack(const __m512i t[4])
{
    return qb_tail512_order(
        _mm512_packus_epi16(_mm512_packs_epi32(t[0], t[1]), _mm512_packs_epi32(t[2], t[3])));
}

/* max(sat(t + zero_point), low): int16 saturation cannot change a result that is clamped to 0..255
 * afterwards. */
QB_INLINE __m512i qb_tail512_pack_affine(const __m512i t[4], __m512i zero_point16, __m512i low8)
{
    const __m512i a = _mm512_adds_epi16(_mm512_packs_epi32(t[0], t[1]), zero_point16),
                  b = _mm512_adds_epi16(_mm512_packs_epi32(t[2], t[3]), zero_point16);
    return qb_tail512_order(_mm512_max_epu8(_mm512_packus_epi16(a, b), low8));
}

/* FIXED: up to the patch; 0x78 is a ^ (b & c). */
QB_INLINE __m512i qb_tail512_fixed(const struct qb_tail *t, __m512i acc, struct qb_tail512_block b)
{
    const __m512i x = _mm512_add_epi32(acc, b.start), ones = _mm512_set1_epi32(1);
    const __m512i bia =
        _mm512_ternarylogic_epi32(_mm512_castps_si512(b.bia), x, _mm512_set1_epi32(t->sign), 0x78);
    const __m512i code =
        _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(x), b.scale, _mm512_castsi512_ps(bia)));
    return _mm512_mask_add_epi32(code, _mm512_cmpeq_epi32_mask(x, b.patch), code, ones);
}

/* INTEGER: v. Products of even channels, of odd ones, and the high halves of both; h < 0 is the sign bit,
 * which a shift by 32 leaves out. */
QB_INLINE __m512i qb_tail512_integer(const struct qb_tail *t, __m512i acc, struct qb_tail512_block b)
{
    const __m512i x = _mm512_add_epi32(acc, b.start), twice = _mm512_add_epi32(x, x),
                  nudge = _mm512_set1_epi64(t->once ? 0 : INT64_C(1) << 31);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(twice, b.multiplier), nudge),
                  odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(twice, 32), b.odd), nudge);
    const __m512i h = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB),
                  negative = _mm512_srlv_epi32(h, _mm512_set1_epi32(t->once ? 32 : 31));
    return _mm512_srav_epi32(_mm512_sub_epi32(_mm512_add_epi32(h, b.round), negative), b.shift);
}

/* v of the other rules. Two roundings where tail.h has two: no FMA there. */
QB_INLINE __m512 qb_tail512_v(enum qb_tail_form form, const struct qb_tail *t, __m512i acc,
                              struct qb_tail512_block b, const uint8_t *res)
{
    const __m512 a = _mm512_cvtepi32_ps(acc);
    if (qb_form_onednn(form)) {
        const __m512 scaled = form >= QB_FORM_APART ? _mm512_mul_ps(a, _mm512_set1_ps(t->acc_scale)) : a;
        __m512 s = _mm512_add_ps(_mm512_mul_ps(scaled, b.scale), b.bia);
        if (qb_form_sums(form)) {
            const __m512 y = _mm512_sub_ps(qb_tail512_res(res), _mm512_set1_ps((float)t->res_zero_point));
            s = _mm512_fmadd_ps(_mm512_set1_ps(t->res_scale), y, s);
        }
        s = _mm512_mul_ps(s, _mm512_set1_ps(t->own_inverse));
        return _mm512_add_ps(s, _mm512_set1_ps(t->own_zero_point));
    }
    const __m512 sum = form < QB_FORM_TENSOR ? _mm512_add_ps(a, b.bia)
                                             : _mm512_fmadd_ps(b.bia, _mm512_set1_ps(t->bia_factor), a);
    return _mm512_mul_ps(sum, b.scale);
}

/* One vector up to rne. `form` is a constant where this is inlined. */
QB_INLINE __m512i qb_tail512_value(enum qb_tail_form form, const struct qb_tail *t, __m512i acc,
                                   struct qb_tail512_block b, const uint8_t *res)
{
    if (form >= QB_FORM_FIXED) {
        const __m512i code =
            form >= QB_FORM_INTEGER ? qb_tail512_integer(t, acc, b) : qb_tail512_fixed(t, acc, b);
        if (!qb_form_reads(form)) {
            return code;
        }
        const __m512i y = _mm512_min_epi32(_mm512_max_epi32(code, _mm512_set1_epi32((int32_t)t->conv_low)),
                                           _mm512_set1_epi32((int32_t)t->conv_high));
        const __m512 other = _mm512_fmadd_ps(_mm512_set1_ps(t->quick_res), qb_tail512_res(res),
                                             _mm512_set1_ps(t->quick_offset));
        return _mm512_cvtps_epi32(
            _mm512_fmadd_ps(_mm512_set1_ps(t->quick_conv), _mm512_cvtepi32_ps(y), other));
    }
    const __m512 v = qb_tail512_v(form, t, acc, b, res);
    if (!qb_form_adds(form)) {
        return _mm512_cvtps_epi32(v);
    }
    const __m512 y = qb_tail512_conv_code(v, _mm512_set1_ps(t->conv_low), _mm512_set1_ps(t->conv_high)),
                 r = qb_tail512_res(res);
    if (form == QB_FORM_FBGEMM_ADD || form == QB_FORM_TENSOR_ADD || form == QB_FORM_APART_ADD) {
        const __m512 other =
            _mm512_fmadd_ps(_mm512_set1_ps(t->quick_res), r, _mm512_set1_ps(t->quick_offset));
        return _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_set1_ps(t->quick_conv), y, other));
    }
    const __m512 code = _mm512_add_ps(y, _mm512_set1_ps((float)t->conv_zero_point));
    const __m512 c =
        _mm512_add_ps(_mm512_fmadd_ps(_mm512_set1_ps(t->conv_scale), code, _mm512_set1_ps(t->conv_offset)),
                      _mm512_fmadd_ps(_mm512_set1_ps(t->res_scale), r, _mm512_set1_ps(t->res_offset)));
    return _mm512_cvtps_epi32(_mm512_mul_ps(c, _mm512_set1_ps(t->dst_inverse)));
}

/* Codes of 4 / Q pixels; a pixel's 16 * Q bytes are contiguous. */
QB_INLINE void qb_store512(uint8_t *dst, size_t step, __m512i codes, int Q)
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

#endif
