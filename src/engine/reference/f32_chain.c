/* Chains of float additions: see f32_chain.h. */
#include "engine/reference/f32_chain.h"

#include <immintrin.h>
#include <math.h>

#include "kernels/simd.h"

enum { LANES = QB_CHAIN_LANES, AVX2_PIXELS = 4, AVX512_PIXELS = 8 };

static void chain_base(const float *src, size_t step, const float *wei, size_t terms, int pixels,
                       qb_lanes *acc)
{
    (void)step, (void)pixels; /* one */
    for (size_t t = 0; t < terms; t++) {
        for (size_t k = 0; k < LANES; k++) {
            (*acc)[k] = fmaf(src[t], wei[t * LANES + k], (*acc)[k]);
        }
    }
}

/* `pixels` is a constant: the sums stay in registers. */
__attribute__((target("avx2,fma"))) QB_INLINE void
several_avx2(const float *src, size_t step, const float *wei, size_t terms, int pixels, qb_lanes *acc)
{
    __m256 low[AVX2_PIXELS], high[AVX2_PIXELS];
    QB_REPEAT_4(p, pixels, low[p] = _mm256_loadu_ps(acc[p]); high[p] = _mm256_loadu_ps(acc[p] + 8);)
    for (size_t t = 0; t < terms; t++) {
        const __m256 wei_low = _mm256_loadu_ps(wei + t * LANES);
        const __m256 wei_high = _mm256_loadu_ps(wei + t * LANES + 8);
        QB_REPEAT_4(p, pixels, const __m256 v = _mm256_broadcast_ss(src + p * step + t);
                    low[p] = _mm256_fmadd_ps(v, wei_low, low[p]);
                    high[p] = _mm256_fmadd_ps(v, wei_high, high[p]);)
    }
    QB_REPEAT_4(p, pixels, _mm256_storeu_ps(acc[p], low[p]); _mm256_storeu_ps(acc[p] + 8, high[p]);)
}

__attribute__((target("avx2,fma"))) static void chain_avx2(const float *src, size_t step, const float *wei,
                                                           size_t terms, int pixels, qb_lanes *acc)
{
    switch (pixels) {
    case 1: several_avx2(src, step, wei, terms, 1, acc); break;
    case 2: several_avx2(src, step, wei, terms, 2, acc); break;
    case 3: several_avx2(src, step, wei, terms, 3, acc); break;
    default: several_avx2(src, step, wei, terms, 4, acc); break;
    }
}

__attribute__((target("avx512f"))) QB_INLINE void
several_avx512(const float *src, size_t step, const float *wei, size_t terms, int pixels, qb_lanes *acc)
{
    __m512 sum[AVX512_PIXELS];
    QB_REPEAT_8(p, pixels, sum[p] = _mm512_loadu_ps(acc[p]);)
    for (size_t t = 0; t < terms; t++) {
        const __m512 w = _mm512_loadu_ps(wei + t * LANES);
        QB_REPEAT_8(p, pixels, sum[p] = _mm512_fmadd_ps(_mm512_set1_ps(src[p * step + t]), w, sum[p]);)
    }
    QB_REPEAT_8(p, pixels, _mm512_storeu_ps(acc[p], sum[p]);)
}

__attribute__((target("avx512f"))) static void chain_avx512(const float *src, size_t step, const float *wei,
                                                            size_t terms, int pixels, qb_lanes *acc)
{
    switch (pixels) {
    case 1: several_avx512(src, step, wei, terms, 1, acc); break;
    case 2: several_avx512(src, step, wei, terms, 2, acc); break;
    case 3: several_avx512(src, step, wei, terms, 3, acc); break;
    case 4: several_avx512(src, step, wei, terms, 4, acc); break;
    case 5: several_avx512(src, step, wei, terms, 5, acc); break;
    case 6: several_avx512(src, step, wei, terms, 6, acc); break;
    case 7: several_avx512(src, step, wei, terms, 7, acc); break;
    default: several_avx512(src, step, wei, terms, 8, acc); break;
    }
}

const struct qb_chain *qb_chain_select(enum qb_isa cap)
{
    static const struct qb_chain base = {1, chain_base}, avx2 = {AVX2_PIXELS, chain_avx2},
                                 avx512 = {AVX512_PIXELS, chain_avx512};
    if (cap >= QB_ISA_AVX512VNNI && qb_cpu_has(QB_ISA_AVX512VNNI)) {
        return &avx512;
    }
    return cap >= QB_ISA_AVX2 && qb_cpu_has(QB_ISA_AVX2) ? &avx2 : &base;
}
