/* Residual addition for AVX512: see add.h. */
#include <immintrin.h>

#include "kernels/add/add_impls.h"
#include "kernels/tail_avx512.h"

/* 16 codes of one source. */
QB_INLINE __m512 dequantize(int onednn, const struct qb_addition *a, int source, const uint8_t *src)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)src);
    const __m512i q = _mm512_cvtepu8_epi32(bytes);
    if (onednn) {
        return _mm512_mul_ps(_mm512_set1_ps(a->scale[source]),
                             _mm512_cvtepi32_ps(_mm512_sub_epi32(q, _mm512_set1_epi32(a->zero[source]))));
    }
    return _mm512_fmadd_ps(_mm512_set1_ps(a->scale[source]), _mm512_cvtepi32_ps(q),
                           _mm512_set1_ps(a->offset[source]));
}

/* 16 sums up to rne. Limited so that the conversion is defined; codes end at 0 and 255 long before. */
QB_INLINE __m512i value(int onednn, const struct qb_addition *a, const uint8_t *src0, const uint8_t *src1)
{
    __m512 v = _mm512_add_ps(dequantize(onednn, a, 0, src0), dequantize(onednn, a, 1, src1));
    v = _mm512_mul_ps(v, _mm512_set1_ps(a->dst_inverse));
    if (onednn) {
        v = _mm512_add_ps(v, _mm512_set1_ps((float)a->zero_point));
    }
    v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-1024.0F)), _mm512_set1_ps(1024.0F));
    return _mm512_cvtps_epi32(v);
}

QB_INLINE void run_as(int onednn, const struct qb_addition *add, size_t bytes, const uint8_t *src0,
                      const uint8_t *src1, uint8_t *dst)
{
    const __m512i zero_point = _mm512_set1_epi16((short)(onednn ? 0 : add->zero_point)),
                  low = _mm512_set1_epi8((char)add->low);
    size_t i = 0;
    for (; i + 64 <= bytes; i += 64) {
        const __m512i t[4] = {value(onednn, add, src0 + i, src1 + i),
                              value(onednn, add, src0 + i + 16, src1 + i + 16),
                              value(onednn, add, src0 + i + 32, src1 + i + 32),
                              value(onednn, add, src0 + i + 48, src1 + i + 48)};
        _mm512_storeu_si512(dst + i, qb_tail512_pack_affine(t, zero_point, low));
    }
    for (; i < bytes; i += 16) {
        const __m512i v = value(onednn, add, src0 + i, src1 + i), t[4] = {v, v, v, v};
        _mm_storeu_si128((__m128i *)(void *)(dst + i),
                         _mm512_castsi512_si128(qb_tail512_pack_affine(t, zero_point, low)));
    }
}

static void run(const struct qb_addition *add, size_t rows, size_t bytes, const uint8_t *src0, size_t pitch0,
                const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src0 += pitch0, src1 += pitch1, dst += dst_pitch) {
        if (add->onednn) {
            run_as(1, add, bytes, src0, src1, dst);
        } else {
            run_as(0, add, bytes, src0, src1, dst);
        }
    }
}

const struct qb_add_impl qb_add_avx512vnni = {.name = "avx512vnni", .isa = QB_ISA_AVX512VNNI, .run = run};
