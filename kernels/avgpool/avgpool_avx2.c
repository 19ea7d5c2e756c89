/* Average pooling for AVX2: 16 channels at a time; see avgpool.h. */
#include <immintrin.h>

#include "kernels/avgpool/avgpool_impls.h"
#include "kernels/tail_avx2.h"

QB_INLINE __m256i value(const struct qb_pool *p, __m256i sum)
{
    const __m256 v = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, _mm256_set1_epi32(p->minus)));
    return _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(p->inverse)));
}

QB_INLINE __m256 term(const struct qb_pool *p, __m128i codes)
{
    const __m256i distance = _mm256_sub_epi32(_mm256_cvtepu8_epi32(codes), _mm256_set1_epi32(p->zero));
    return _mm256_mul_ps(_mm256_set1_ps(p->scale), _mm256_cvtepi32_ps(distance));
}

/* Limited so that the conversion is defined; codes end at 0 and 255 long before. */
QB_INLINE __m256i mean(const struct qb_pool *p, __m256 sum)
{
    const __m256 code =
        _mm256_div_ps(_mm256_div_ps(sum, _mm256_set1_ps(p->count)), _mm256_set1_ps(p->dst_scale));
    const __m256 v = _mm256_add_ps(code, _mm256_set1_ps(p->offset));
    return _mm256_cvtps_epi32(
        _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-1024.0F)), _mm256_set1_ps(1024.0F)));
}

static void average_floats(const struct qb_pool *p, const uint8_t *window, uint8_t *dst)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    for (int i = 0; i < p->kh; i++, window += p->src_pitch) {
        const uint8_t *pixel = window;
        for (int j = 0; j < p->kw; j++, pixel += p->src_step) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)pixel);
            low = _mm256_add_ps(low, term(p, v));
            high = _mm256_add_ps(high, term(p, _mm_bsrli_si128(v, 8)));
        }
    }
    const __m256i a = mean(p, low), b = mean(p, high), t[4] = {a, b, a, b};
    const __m256i codes = qb_tail256_pack(t, _mm256_set1_epi16((short)p->zero_point), _mm256_setzero_si256());
    _mm_storeu_si128((__m128i *)(void *)dst, _mm256_castsi256_si128(codes));
}

static void average(const struct qb_pool *p, const uint8_t *window, uint8_t *dst)
{
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int i = 0; i < p->kh; i++, window += p->src_pitch) {
        const uint8_t *pixel = window;
        for (int j = 0; j < p->kw; j++, pixel += p->src_step) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)pixel);
            low = _mm256_add_epi32(low, _mm256_cvtepu8_epi32(v));
            high = _mm256_add_epi32(high, _mm256_cvtepu8_epi32(_mm_bsrli_si128(v, 8)));
        }
    }
    const __m256i a = value(p, low), b = value(p, high), t[4] = {a, b, a, b};
    const __m256i codes = qb_tail256_pack(t, _mm256_set1_epi16((short)p->zero_point), _mm256_setzero_si256());
    _mm_storeu_si128((__m128i *)(void *)dst, _mm256_castsi256_si128(codes));
}

static void run(const struct qb_pool *p, const uint8_t *src, uint8_t *dst)
{
    for (size_t y = 0; y < (size_t)p->dst_h; y++) {
        for (size_t x = 0; x < (size_t)p->dst_w; x++) {
            const uint8_t *const window =
                src + y * (size_t)p->stride_h * p->src_pitch + x * (size_t)p->stride_w * p->src_step;
            uint8_t *const to = dst + y * p->dst_pitch + x * p->dst_step;
            for (size_t block = 0; block < (size_t)p->blocks; block++) {
                (p->floats ? average_floats : average)(p, window + block * 16, to + block * 16);
            }
        }
    }
}

const struct qb_avgpool_impl qb_avgpool_avx2 = {.name = "avx2", .isa = QB_ISA_AVX2, .run = run};
