/* Codes by a table for AVX2: see recode.h.
 *
 * vpshufb looks up 16 entries and gives 0 where bit 7 of the index is set. With codes as signed numbers and
 * saturating subtraction, step k sees code - 16 k: still negative for every code below 16 k, and then by its
 * low nibble an entry of D_k = T_k ^ T_(k-1) for all others, whose sum (xor) over the steps up to the code's
 * own is T_k. That covers codes 0..127; 128..255 are, with bit 7 flipped, 0..127 of the other half. */
#include <immintrin.h>

#include "kernels/recode/recode_impls.h"
#include "kernels/simd.h"

enum { STEPS = 8 }; /* of 16 entries, in half a table */

struct half {
    __m256i differences[STEPS];
};

QB_INLINE struct half prepare(const uint8_t *table)
{
    struct half h;
    __m256i before = _mm256_setzero_si256();
    for (int k = 0; k < STEPS; k++) {
        const __m256i now =
            _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(table + k * 16)));
        h.differences[k] = _mm256_xor_si256(now, before);
        before = now;
    }
    return h;
}

/* Entries of codes whose bit 7 is clear, 0 for the others. */
QB_INLINE __m256i look_up(const struct half *h, __m256i codes)
{
    const __m256i step = _mm256_set1_epi8(16);
    __m256i found = _mm256_shuffle_epi8(h->differences[0], codes);
    QB_UNROLL
    for (int k = 1; k < STEPS; k++) {
        codes = _mm256_subs_epi8(codes, step);
        found = _mm256_xor_si256(found, _mm256_shuffle_epi8(h->differences[k], codes));
    }
    return found;
}

static void run(const uint8_t table[256], size_t rows, size_t bytes, const uint8_t *src, size_t src_pitch,
                uint8_t *dst, size_t dst_pitch)
{
    const struct half low = prepare(table), high = prepare(table + 128);
    const __m256i top = _mm256_set1_epi8((char)0x80);
    for (size_t y = 0; y < rows; y++, src += src_pitch, dst += dst_pitch) {
        size_t i = 0;
        for (; i + 32 <= bytes; i += 32) {
            const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(src + i));
            const __m256i found = _mm256_or_si256(look_up(&low, v), look_up(&high, _mm256_xor_si256(v, top)));
            _mm256_storeu_si256((__m256i *)(void *)(dst + i), found);
        }
        for (; i < bytes; i++) {
            dst[i] = table[src[i]];
        }
    }
}

const struct qb_recode_impl qb_recode_avx2 = {.name = "avx2", .isa = QB_ISA_AVX2, .run = run};
