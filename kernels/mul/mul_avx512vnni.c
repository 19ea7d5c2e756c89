/* Product for AVX512: see mul.h. */
#include <immintrin.h>

#include "kernels/mul/mul_impls.h"
#include "kernels/tail_avx512.h"

QB_INLINE __m512i distance(const struct qb_product *m, int source, const uint8_t *src)
{
    return _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)src)),
                            _mm512_set1_epi32(m->zero[source]));
}

/* 16 products up to rne. Limited so that the conversion is defined; codes end at 0 and 255 long before. */
QB_INLINE __m512i value(const struct qb_product *m, const uint8_t *src0, const uint8_t *src1)
{
    const __m512i product = _mm512_mullo_epi32(distance(m, 0, src0), distance(m, 1, src1));
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(product), _mm512_set1_ps(m->ratio));
    v = _mm512_add_ps(v, _mm512_set1_ps(m->offset)); /* two roundings: no FMA */
    v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-1024.0F)), _mm512_set1_ps(1024.0F));
    return _mm512_cvtps_epi32(v);
}

static void run_row(const struct qb_product *m, size_t bytes, const uint8_t *src0, const uint8_t *src1,
                    uint8_t *dst)
{
    const __m512i zero_point = _mm512_set1_epi16((short)m->zero_point), low = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 64 <= bytes; i += 64) {
        const __m512i t[4] = {value(m, src0 + i, src1 + i), value(m, src0 + i + 16, src1 + i + 16),
                              value(m, src0 + i + 32, src1 + i + 32), value(m, src0 + i + 48, src1 + i + 48)};
        _mm512_storeu_si512(dst + i, qb_tail512_pack_affine(t, zero_point, low));
    }
    for (; i < bytes; i += 16) {
        const __m512i v = value(m, src0 + i, src1 + i), t[4] = {v, v, v, v};
        _mm_storeu_si128((__m128i *)(void *)(dst + i),
                         _mm512_castsi512_si128(qb_tail512_pack_affine(t, zero_point, low)));
    }
}

static void run(const struct qb_product *mul, size_t rows, size_t bytes, const uint8_t *src0, size_t pitch0,
                const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src0 += pitch0, src1 += pitch1, dst += dst_pitch) {
        run_row(mul, bytes, src0, src1, dst);
    }
}

const struct qb_mul_impl qb_mul_avx512vnni = {.name = "avx512vnni", .isa = QB_ISA_AVX512VNNI, .run = run};
