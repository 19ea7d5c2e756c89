/* AVX2 without VNNI, words: see conv_avx2.h. src - zx is widened to int16 once a call, wei - zw is packed as
 * int16, and no zero point is left over. It costs twice the bytes loaded and half the products a
 * multiplication.
 *
 * Pairs of a window are ordered [kernel row][column][pair of channels]; weights: [block of 16
 * channels][pair][16][2]. */
#include <immintrin.h>

#include "kernels/conv/conv_256.h"
#include "kernels/conv/conv_avx2.h"

static size_t pixel_pairs(const struct qb_conv *c)
{
    return ((size_t)c->ic + 1) / 2;
}

static size_t window_pairs(const struct qb_conv *c)
{
    return pixel_pairs(c) * (size_t)(c->kh * c->kw);
}

/* The widened source: pixels without gaps, rows without gaps. Sizes in int16 elements. */
static size_t wide_step(const struct qb_conv *c)
{
    return pixel_pairs(c) * 2;
}

size_t qb_words_scratch(const struct qb_conv *c)
{
    return (qb_reach_h(c) * qb_reach_w(c) * wide_step(c) * sizeof(int16_t) + 63) / 64 * 64;
}

size_t qb_words_packed(const struct qb_conv *c)
{
    return (size_t)qb_blocks(c->oc) * window_pairs(c) * 64;
}

void qb_words_pack(const struct qb_conv *c, void *packed)
{
    int16_t *to = packed;
    for (int block = 0; block < qb_blocks(c->oc); block++) {
        for (size_t i = 0; i < (size_t)c->kh; i++) {
            for (size_t j = 0; j < (size_t)c->kw; j++) {
                for (size_t pair = 0; pair < pixel_pairs(c); pair++) {
                    for (int k = block * QB_BLOCK; k < (block + 1) * QB_BLOCK; k++) {
                        for (size_t n = 2 * pair; n < 2 * pair + 2; n++) {
                            const bool real = k < c->oc && n < (size_t)c->ic;
                            *to++ = real ? (int16_t)(c->wei[(size_t)k * c->wei_o + n * c->wei_i +
                                                            i * c->wei_y + j * c->wei_x] -
                                                     (c->wei_zero_points ? c->wei_zero_points[k] : 0))
                                         : 0;
                        }
                    }
                }
            }
        }
    }
}

/* `count` bytes, readable up to the next multiple of 4. */
QB_INLINE void widen_bytes(const uint8_t *src, size_t count, __m256i zero_point, int16_t *to)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(src + i)));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm256_sub_epi16(v, zero_point));
    }
    for (; i < count; i++) {
        to[i] = (int16_t)(src[i] - _mm256_extract_epi16(zero_point, 0));
    }
}

/* src - zx of every pixel that a window reaches. */
static void widen(const struct qb_conv *c, const uint8_t *src, int16_t *wide)
{
    const __m256i zero_point = _mm256_set1_epi16((short)c->src_zero_point);
    const size_t step = wide_step(c), width = qb_reach_w(c);
    src -= (size_t)c->pad_t * c->src_pitch + (size_t)c->pad_l * c->src_step;
    for (size_t y = 0; y < qb_reach_h(c); y++, src += c->src_pitch, wide += width * step) {
        if (step == c->src_step) {
            widen_bytes(src, width * step, zero_point, wide);
            continue;
        }
        for (size_t x = 0; x < width; x++) {
            widen_bytes(src + x * c->src_step, step, zero_point, wide + x * step);
        }
    }
}

QB_INLINE __m256i dot(__m256i acc, __m256i u, __m256i s)
{
    __m256i product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(product) : "x"(u), "x"(s));
    return acc;
}

QB_INLINE __m256i load(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

QB_INLINE struct qb_at256 tile(const struct qb_run256 *r, const int16_t *wei, struct qb_at256 at, int P,
                               size_t block)
{
    const struct qb_conv *const c = r->conv;
    const size_t row = (size_t)c->kw * pixel_pairs(c), pitch = qb_reach_w(c) * wide_step(c) * sizeof(int16_t);
    const uint8_t *window[QB_PIXELS];
    __m256i acc[2 * QB_PIXELS];
    struct qb_at256 end = at;
    QB_REPEAT_6(p, P, {
        window[p] = end.src;
        acc[2 * p] = acc[2 * p + 1] = _mm256_setzero_si256();
        if (p + 1 < P) {
            qb_advance256(r, &end);
        }
    })
    const struct qb_rows256 rows = qb_rows256(c, at.y, end.y); /* padding is 0 here whatever the zero point */
    wei += (block * window_pairs(c) + (size_t)rows.first * row) * 32;
    size_t offset = (size_t)rows.first * pitch;
    QB_NO_UNROLL
    for (int i = rows.first; i < rows.end; i++, offset += pitch) {
        QB_NO_UNROLL
        for (size_t k = offset; k < offset + row * 4; k += 4, wei += 32) {
            const __m256i w0 = load(wei), w1 = load(wei + 16);
            QB_REPEAT_6(p, P, {
                const __m256i u = _mm256_set1_epi32(qb_load32(window[p] + k));
                acc[2 * p] = dot(acc[2 * p], u, w0);
                acc[2 * p + 1] = dot(acc[2 * p + 1], u, w1);
            })
        }
    }
    return qb_finish256(r, acc, at, P, block * QB_BLOCK);
}

void qb_words_run(const struct qb_conv *c, const void *packed, const uint8_t *src, const uint8_t *res,
                  uint8_t *dst, void *scratch)
{
    widen(c, src, scratch);
    const size_t step = wide_step(c) * sizeof(int16_t), pixels = (size_t)c->dst_h * (size_t)c->dst_w;
    const struct qb_run256 r = qb_run256(c, scratch, step, qb_reach_w(c) * step, res, dst);
    for (size_t block = 0; block < (size_t)qb_blocks(c->oc); block++) {
        struct qb_at256 at = qb_at256(&r, 0);
        for (size_t p = 0; pixels < QB_PIXELS && p < pixels; p++) {
            at = tile(&r, packed, at, 1, block);
        }
        for (size_t p = 0; pixels >= QB_PIXELS && p < pixels; p += QB_PIXELS) {
            if (p + QB_PIXELS > pixels) {
                at = qb_at256(&r, pixels - QB_PIXELS);
            }
            at = tile(&r, packed, at, QB_PIXELS, block);
        }
    }
}
