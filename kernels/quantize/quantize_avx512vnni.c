/* Input quantization for AVX512: three channels into pixels of four bytes, 16 pixels at a time, by the
 * formula (a table look-up is one load a byte); other shapes by the table. See quantize.h. */
#include <immintrin.h>

#include "kernels/quantize/quantize_impls.h"
#include "kernels/quantize/quantize_row.h"
#include "kernels/tail_avx512.h"

/* Four pixels. */
QB_INLINE __m512i value(const struct qb_quantize *q, const uint8_t *src, __m128i order)
{
    const __m128i pixels = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)src), order);
    const __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(pixels)),
                                     _mm512_set1_ps(q->inverse), _mm512_set1_ps((float)q->zero_point));
    return _mm512_cvtps_epi32(_mm512_min_ps(v, _mm512_set1_ps(QB_QUANTIZE_LIMIT)));
}

/* 48 bytes: the last load starts four bytes early rather than reach beyond them. */
QB_INLINE __m512i pixels16(const struct qb_quantize *q, const uint8_t *src)
{
    const __m128i first = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1),
                  last = _mm_setr_epi8(4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    const __m512i t[4] = {value(q, src, first), value(q, src + 12, first), value(q, src + 24, first),
                          value(q, src + 32, last)};
    return _mm512_and_si512(qb_tail512_pack(t), _mm512_set1_epi32(0x00ffffff));
}

static void run(const struct qb_quantize *q, const uint8_t *src, int h, int w, int c, uint8_t *dst,
                size_t step, size_t pitch)
{
    const size_t width = (size_t)w, channels = (size_t)c;
    for (int y = 0; y < h; y++, src += width * channels, dst += pitch) {
        size_t x = 0;
        for (; channels == 3 && step == 4 && x + 16 <= width; x += 16) {
            _mm512_storeu_si512(dst + x * 4, pixels16(q, src + x * 3));
        }
        qb_quantize_row(q, src + x * channels, width - x, channels, dst + x * step, step);
    }
}

const struct qb_quantize_impl qb_quantize_avx512vnni = {
    .name = "avx512vnni", .isa = QB_ISA_AVX512VNNI, .run = run};
