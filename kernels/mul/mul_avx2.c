/* Product for AVX2: see mul.h. */
#include <immintrin.h>

#include "kernels/mul/mul_impls.h"
#include "kernels/tail_avx2.h"

QB_INLINE __m256i distance(const struct qb_product *m, int source, const uint8_t *src)
{
    return _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)src)),
                            _mm256_set1_epi32(m->zero[source]));
}

/* 8 products up to rne. Limited so that the conversion is defined; codes end at 0 and 255 long before. */
QB_INLINE __m256i value(const struct qb_product *m, const uint8_t *src0, const uint8_t *src1)
{
    const __m256i product = _mm256_mullo_epi32(distance(m, 0, src0), distance(m, 1, src1));
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(product), _mm256_set1_ps(m->ratio));
    v = _mm256_add_ps(v, _mm256_set1_ps(m->offset)); /* two roundings: no FMA */
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-1024.0F)), _mm256_set1_ps(1024.0F));
    return _mm256_cvtps_epi32(v);
}

static void run_row(const struct qb_product *m, size_t bytes, const uint8_t *src0, const uint8_t *src1,
                    uint8_t *dst)
{
    const __m256i zero_point = _mm256_set1_epi16((short)m->zero_point), low = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= bytes; i += 32) {
        const __m256i t[4] = {value(m, src0 + i, src1 + i), value(m, src0 + i + 8, src1 + i + 8),
                              value(m, src0 + i + 16, src1 + i + 16), value(m, src0 + i + 24, src1 + i + 24)};
        _mm256_storeu_si256((__m256i *)(void *)(dst + i), qb_tail256_pack(t, zero_point, low));
    }
    for (; i < bytes; i += 16) {
        const __m256i a = value(m, src0 + i, src1 + i), b = value(m, src0 + i + 8, src1 + i + 8),
                      t[4] = {a, b, a, b};
        _mm_storeu_si128((__m128i *)(void *)(dst + i),
                         _mm256_castsi256_si128(qb_tail256_pack(t, zero_point, low)));
    }
}

static void run(const struct qb_product *mul, size_t rows, size_t bytes, const uint8_t *src0, size_t pitch0,
                const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src0 += pitch0, src1 += pitch1, dst += dst_pitch) {
        run_row(mul, bytes, src0, src1, dst);
    }
}

const struct qb_mul_impl qb_mul_avx2 = {.name = "avx2", .isa = QB_ISA_AVX2, .run = run};
