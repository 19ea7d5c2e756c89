/* Average pooling for AVX512: 16 channels at a time; see avgpool.h. */
#include <immintrin.h>

#include "kernels/avgpool/avgpool_impls.h"
#include "kernels/tail_avx512.h"

static void average_floats(const struct qb_pool *p, const uint8_t *window, uint8_t *dst)
{
    const __m512 scale = _mm512_set1_ps(p->scale);
    const __m512i zero = _mm512_set1_epi32(p->zero);
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < p->kh; i++, window += p->src_pitch) {
        const uint8_t *pixel = window;
        for (int j = 0; j < p->kw; j++, pixel += p->src_step) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)pixel);
            const __m512 distance = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(v), zero));
            sum = _mm512_add_ps(sum, _mm512_mul_ps(scale, distance));
        }
    }
    const __m512 code =
        _mm512_div_ps(_mm512_div_ps(sum, _mm512_set1_ps(p->count)), _mm512_set1_ps(p->dst_scale));
    /* Limited so that the conversion is defined; codes end at 0 and 255 long before. */
    const __m512 v =
        _mm512_min_ps(_mm512_max_ps(_mm512_add_ps(code, _mm512_set1_ps(p->offset)), _mm512_set1_ps(-1024.0F)),
                      _mm512_set1_ps(1024.0F));
    const __m512i q = _mm512_cvtps_epi32(v), t[4] = {q, q, q, q};
    const __m512i codes =
        qb_tail512_pack_affine(t, _mm512_set1_epi16((short)p->zero_point), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)(void *)dst, _mm512_castsi512_si128(codes));
}

static void average(const struct qb_pool *p, const uint8_t *window, uint8_t *dst)
{
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < p->kh; i++, window += p->src_pitch) {
        const uint8_t *pixel = window;
        for (int j = 0; j < p->kw; j++, pixel += p->src_step) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)pixel);
            sum = _mm512_add_epi32(sum, _mm512_cvtepu8_epi32(v));
        }
    }
    const __m512 v = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_set1_epi32(p->minus)));
    const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(p->inverse))), t[4] = {q, q, q, q};
    const __m512i codes =
        qb_tail512_pack_affine(t, _mm512_set1_epi16((short)p->zero_point), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)(void *)dst, _mm512_castsi512_si128(codes));
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

const struct qb_avgpool_impl qb_avgpool_avx512vnni = {
    .name = "avx512vnni", .isa = QB_ISA_AVX512VNNI, .run = run};
