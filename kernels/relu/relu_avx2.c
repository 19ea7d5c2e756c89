/* ReLU for AVX2: see relu.h. Bound by memory: wider registers would not help. */
#include <immintrin.h>

#include "kernels/relu/relu_impls.h"

static void run(struct qb_limits limits, size_t rows, size_t bytes, const uint8_t *src, size_t src_pitch,
                uint8_t *dst, size_t dst_pitch)
{
    const __m256i least = _mm256_set1_epi8((char)limits.low), most = _mm256_set1_epi8((char)limits.high);
    for (size_t y = 0; y < rows; y++, src += src_pitch, dst += dst_pitch) {
        size_t i = 0;
        for (; i + 32 <= bytes; i += 32) {
            const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(src + i));
            _mm256_storeu_si256((__m256i *)(void *)(dst + i),
                                _mm256_min_epu8(_mm256_max_epu8(v, least), most));
        }
        if (i < bytes) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(src + i));
            _mm_storeu_si128(
                (__m128i *)(void *)(dst + i),
                _mm_min_epu8(_mm_max_epu8(v, _mm256_castsi256_si128(least)), _mm256_castsi256_si128(most)));
        }
    }
}

const struct qb_relu_impl qb_relu_avx2 = {.name = "avx2", .isa = QB_ISA_AVX2, .run = run};
