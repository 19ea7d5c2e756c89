/* Codes by a table for AVX512: see recode.h. Without VBMI, which Cascade Lake lacks, permutations are of
 * 16-bit words: the table is 128 pairs of entries in four registers, a code's pair is looked up by its upper
 * seven bits and the entry taken out of it by the lowest. Even and odd bytes go their own ways. */
#include <immintrin.h>

#include "kernels/recode/recode_impls.h"
#include "kernels/simd.h"

/* Entries of codes that are 16 bits wide, in the low byte; above it is what came along. */
QB_INLINE __m512i look_up(const __m512i pairs[4], __m512i codes)
{
    const __m512i index = _mm512_srli_epi16(codes, 1); /* of which the permutations see six bits */
    const __m512i lower = _mm512_permutex2var_epi16(pairs[0], index, pairs[1]);
    const __m512i upper = _mm512_permutex2var_epi16(pairs[2], index, pairs[3]);
    const __m512i pair =
        _mm512_mask_blend_epi16(_mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x80)), lower, upper);
    const __mmask32 odd = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(1));
    return _mm512_mask_srli_epi16(pair, odd, pair, 8);
}

QB_INLINE __m512i recode(const __m512i pairs[4], __m512i codes)
{
    const __m512i even = look_up(pairs, _mm512_and_si512(codes, _mm512_set1_epi16(0xff)));
    const __m512i odd = look_up(pairs, _mm512_srli_epi16(codes, 8));
    return _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, even, _mm512_slli_epi16(odd, 8));
}

static void run(const uint8_t table[256], size_t rows, size_t bytes, const uint8_t *src, size_t src_pitch,
                uint8_t *dst, size_t dst_pitch)
{
    const __m512i pairs[4] = {_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                              _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192)};
    for (size_t y = 0; y < rows; y++, src += src_pitch, dst += dst_pitch) {
        size_t i = 0;
        for (; i + 64 <= bytes; i += 64) {
            _mm512_storeu_si512(dst + i, recode(pairs, _mm512_loadu_si512(src + i)));
        }
        if (i < bytes) {
            const __mmask64 rest = ~(__mmask64)0 >> (64 - (bytes - i));
            _mm512_mask_storeu_epi8(dst + i, rest, recode(pairs, _mm512_maskz_loadu_epi8(rest, src + i)));
        }
    }
}

const struct qb_recode_impl qb_recode_avx512vnni = {
    .name = "avx512vnni", .isa = QB_ISA_AVX512VNNI, .run = run};
