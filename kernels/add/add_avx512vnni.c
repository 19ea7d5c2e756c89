/* Residual addition for AVX512: see add.h. */
#include <immintrin.h>

#include "kernels/add/add_impls.h"
#include "kernels/tail_avx512.h"

/* 16 codes of one source, without and with the distance from the zero point. */
QB_INLINE __m512i load(const uint8_t *src)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)src));
}

QB_INLINE __m512 distance(const struct qb_addition *a, int source, const uint8_t *src)
{
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(load(src), _mm512_set1_epi32(a->zero[source])));
}

QB_INLINE __m512 dequantize(enum qb_add_rule rule, const struct qb_addition *a, int source,
                            const uint8_t *src)
{
    const __m512 scale = _mm512_set1_ps(a->scale[source]);
    return rule == QB_ADD_ONEDNN
               ? _mm512_mul_ps(scale, distance(a, source, src))
               : _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(load(src)), _mm512_set1_ps(a->offset[source]));
}

/* 16 sums up to rne. Limited so that the conversion is defined; codes end at 0 and 255 long before. */
QB_INLINE __m512i value(enum qb_add_rule rule, const struct qb_addition *a, const uint8_t *src0,
                        const uint8_t *src1)
{
    __m512 v;
    if (rule == QB_ADD_ORT) {
        v = _mm512_fmadd_ps(_mm512_set1_ps(a->scale[1]), distance(a, 1, src1), _mm512_set1_ps(a->offset[0]));
        v = _mm512_fmadd_ps(_mm512_set1_ps(a->scale[0]), distance(a, 0, src0), v);
    } else {
        v = _mm512_add_ps(dequantize(rule, a, 0, src0), dequantize(rule, a, 1, src1));
        v = _mm512_mul_ps(v, _mm512_set1_ps(a->dst_inverse));
    }
    if (rule == QB_ADD_ONEDNN) {
        v = _mm512_add_ps(v, _mm512_set1_ps((float)a->zero_point));
    }
    v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-1024.0F)), _mm512_set1_ps(1024.0F));
    return _mm512_cvtps_epi32(v);
}

QB_INLINE void run_as(enum qb_add_rule rule, const struct qb_addition *add, size_t bytes, const uint8_t *src0,
                      const uint8_t *src1, uint8_t *dst)
{
    const __m512i zero_point = _mm512_set1_epi16((short)(rule == QB_ADD_ONEDNN ? 0 : add->zero_point)),
                  low = _mm512_set1_epi8((char)add->low);
    size_t i = 0;
    for (; i + 64 <= bytes; i += 64) {
        const __m512i t[4] = {
            value(rule, add, src0 + i, src1 + i), value(rule, add, src0 + i + 16, src1 + i + 16),
            value(rule, add, src0 + i + 32, src1 + i + 32), value(rule, add, src0 + i + 48, src1 + i + 48)};
        _mm512_storeu_si512(dst + i, qb_tail512_pack_affine(t, zero_point, low));
    }
    for (; i < bytes; i += 16) {
        const __m512i v = value(rule, add, src0 + i, src1 + i), t[4] = {v, v, v, v};
        _mm_storeu_si128((__m128i *)(void *)(dst + i),
                         _mm512_castsi512_si128(qb_tail512_pack_affine(t, zero_point, low)));
    }
}

static void run(const struct qb_addition *add, size_t rows, size_t bytes, const uint8_t *src0, size_t pitch0,
                const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src0 += pitch0, src1 += pitch1, dst += dst_pitch) {
        switch (add->rule) {
        case QB_ADD_FBGEMM: run_as(QB_ADD_FBGEMM, add, bytes, src0, src1, dst); break;
        case QB_ADD_ONEDNN: run_as(QB_ADD_ONEDNN, add, bytes, src0, src1, dst); break;
        case QB_ADD_ORT: run_as(QB_ADD_ORT, add, bytes, src0, src1, dst); break;
        }
    }
}

const struct qb_add_impl qb_add_avx512vnni = {.name = "avx512vnni", .isa = QB_ISA_AVX512VNNI, .run = run};
