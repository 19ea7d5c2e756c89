/* Residual addition for AVX2 and FMA: see add.h. */
#include <immintrin.h>

#include "kernels/add/add_impls.h"
#include "kernels/tail_avx2.h"

/* 8 codes of one source, without and with the distance from the zero point. */
QB_INLINE __m256i load(const uint8_t *src)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)src));
}

QB_INLINE __m256 distance(const struct qb_addition *a, int source, const uint8_t *src)
{
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(load(src), _mm256_set1_epi32(a->zero[source])));
}

QB_INLINE __m256 dequantize(enum qb_add_rule rule, const struct qb_addition *a, int source,
                            const uint8_t *src)
{
    const __m256 scale = _mm256_set1_ps(a->scale[source]);
    return rule == QB_ADD_ONEDNN
               ? _mm256_mul_ps(scale, distance(a, source, src))
               : _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(load(src)), _mm256_set1_ps(a->offset[source]));
}

/* 8 sums up to rne. Limited so that the conversion is defined; codes end at 0 and 255 long before. */
QB_INLINE __m256i value(enum qb_add_rule rule, const struct qb_addition *a, const uint8_t *src0,
                        const uint8_t *src1)
{
    __m256 v;
    if (rule == QB_ADD_ORT) {
        v = _mm256_fmadd_ps(_mm256_set1_ps(a->scale[1]), distance(a, 1, src1), _mm256_set1_ps(a->offset[0]));
        v = _mm256_fmadd_ps(_mm256_set1_ps(a->scale[0]), distance(a, 0, src0), v);
    } else {
        v = _mm256_add_ps(dequantize(rule, a, 0, src0), dequantize(rule, a, 1, src1));
        v = _mm256_mul_ps(v, _mm256_set1_ps(a->dst_inverse));
    }
    if (rule == QB_ADD_ONEDNN) {
        v = _mm256_add_ps(v, _mm256_set1_ps((float)a->zero_point));
    }
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-1024.0F)), _mm256_set1_ps(1024.0F));
    return _mm256_cvtps_epi32(v);
}

QB_INLINE void run_as(enum qb_add_rule rule, const struct qb_addition *add, size_t bytes, const uint8_t *src0,
                      const uint8_t *src1, uint8_t *dst)
{
    const __m256i zero_point = _mm256_set1_epi16((short)(rule == QB_ADD_ONEDNN ? 0 : add->zero_point)),
                  low = _mm256_set1_epi8((char)add->low);
    size_t i = 0;
    for (; i + 32 <= bytes; i += 32) {
        const __m256i t[4] = {
            value(rule, add, src0 + i, src1 + i), value(rule, add, src0 + i + 8, src1 + i + 8),
            value(rule, add, src0 + i + 16, src1 + i + 16), value(rule, add, src0 + i + 24, src1 + i + 24)};
        _mm256_storeu_si256((__m256i *)(void *)(dst + i), qb_tail256_pack(t, zero_point, low));
    }
    for (; i < bytes; i += 16) {
        const __m256i a = value(rule, add, src0 + i, src1 + i),
                      b = value(rule, add, src0 + i + 8, src1 + i + 8), t[4] = {a, b, a, b};
        _mm_storeu_si128((__m128i *)(void *)(dst + i),
                         _mm256_castsi256_si128(qb_tail256_pack(t, zero_point, low)));
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

const struct qb_add_impl qb_add_avx2 = {.name = "avx2", .isa = QB_ISA_AVX2, .run = run};
