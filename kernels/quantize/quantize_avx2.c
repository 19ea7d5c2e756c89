/* Input quantization for AVX2: three channels into pixels of four bytes, eight pixels at a time, by the
 * formula (a table look-up is one load a byte); other shapes by the table. See quantize.h. */
#include <immintrin.h>

#include "kernels/quantize/quantize_impls.h"
#include "kernels/quantize/quantize_row.h"
#include "kernels/tail_avx2.h"

/* Two pixels. */
QB_INLINE __m256i value(const struct qb_quantize *q, __m128i pixels)
{
    const __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(pixels)),
                                     _mm256_set1_ps(q->inverse), _mm256_set1_ps((float)q->zero_point));
    return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(QB_QUANTIZE_LIMIT)));
}

/* Eight pixels: 24 bytes, of which the second load takes the last 12 from 8 on. */
QB_INLINE __m256i pixels8(const struct qb_quantize *q, const uint8_t *src)
{
    const __m128i first = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1),
                  last = _mm_setr_epi8(4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    const __m128i a = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)src), first),
                  b = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(src + 8)), last);
    const __m256i t[4] = {value(q, a), value(q, _mm_bsrli_si128(a, 8)), value(q, b),
                          value(q, _mm_bsrli_si128(b, 8))};
    const __m256i codes = qb_tail256_pack(t, _mm256_setzero_si256(), _mm256_setzero_si256());
    return _mm256_and_si256(codes, _mm256_set1_epi32(0x00ffffff));
}

static void run(const struct qb_quantize *q, const uint8_t *src, int h, int w, int c, uint8_t *dst,
                size_t step, size_t pitch)
{
    const size_t width = (size_t)w, channels = (size_t)c;
    for (int y = 0; y < h; y++, src += width * channels, dst += pitch) {
        size_t x = 0;
        for (; channels == 3 && step == 4 && x + 8 <= width; x += 8) {
            _mm256_storeu_si256((__m256i *)(void *)(dst + x * 4), pixels8(q, src + x * 3));
        }
        qb_quantize_row(q, src + x * channels, width - x, channels, dst + x * step, step);
    }
}

const struct qb_quantize_impl qb_quantize_avx2 = {.name = "avx2", .isa = QB_ISA_AVX2, .run = run};
