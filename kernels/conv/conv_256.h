/* What the two 256-bit convolutions share: the walk over tiles of 6 pixels x 16 channels (12 of the 16
 * registers are accumulators: 8 do not hide the latency of the dot product) and the tails.
 *
 * Pixels are numbered through the picture, so that a tile may span rows and only the last one is not full: it
 * reaches back over pixels that are done already. Every pixel has its own pointer. */
#ifndef QB_KERNELS_CONV_256_H
#define QB_KERNELS_CONV_256_H

#include "kernels/conv/conv.h"
#include "kernels/tail_avx2.h"

enum { QB_PIXELS = 6 };

/* Where results go. */
struct qb_tile256 {
    const struct qb_conv *conv;
    const uint8_t *res;
    uint8_t *dst;
};

/* Codes of pixels p0 .. p0 + P - 1 (P is 6 or 1) of one block. */
QB_INLINE void qb_finish256_as(enum qb_tail_form form, const struct qb_tile256 *t, const __m256i *acc,
                               size_t p0, int P, size_t block)
{
    const struct qb_conv *const c = t->conv;
    const struct qb_tail *const tail = &c->tail;
    const bool residual = tail->residual != QB_TAIL_NONE;
    const __m256i zero_point =
                      _mm256_set1_epi16((short)(tail->rule == QB_TAIL_ONEDNN ? 0 : tail->zero_point)),
                  low = _mm256_set1_epi8((char)tail->low);
    const size_t k = block * QB_BLOCK, width = (size_t)c->dst_w;
    for (int p = 0; p < P; p += 2) {
        const int pair = p + 1 < P;
        const size_t a = p0 + (size_t)p, b = a + (size_t)pair;
        const size_t ya = a / width, xa = a - ya * width, yb = b / width, xb = b - yb * width;
        const uint8_t *const ra = residual ? t->res + ya * c->res_pitch + xa * c->res_step + k : NULL,
                             *const rb = residual ? t->res + yb * c->res_pitch + xb * c->res_step + k : NULL;
        const __m256i *const second = acc + 2 * (p + pair);
        const __m256i v[4] = {qb_tail256_value(form, tail, acc[2 * p], k, ra),
                              qb_tail256_value(form, tail, acc[2 * p + 1], k + 8, residual ? ra + 8 : NULL),
                              qb_tail256_value(form, tail, second[0], k, rb),
                              qb_tail256_value(form, tail, second[1], k + 8, residual ? rb + 8 : NULL)};
        const __m256i codes = qb_tail256_pack(v, zero_point, low);
        _mm_storeu_si128((__m128i *)(void *)(t->dst + ya * c->dst_pitch + xa * c->dst_step + k),
                         _mm256_castsi256_si128(codes));
        if (pair) {
            _mm_storeu_si128((__m128i *)(void *)(t->dst + yb * c->dst_pitch + xb * c->dst_step + k),
                             _mm256_extracti128_si256(codes, 1));
        }
    }
}

static void qb_finish256(const struct qb_tile256 *t, const __m256i *acc, size_t p0, int P, size_t block)
{
    switch (qb_tail_form(&t->conv->tail)) {
    case QB_FORM_FBGEMM: qb_finish256_as(QB_FORM_FBGEMM, t, acc, p0, P, block); break;
    case QB_FORM_FBGEMM_ADD: qb_finish256_as(QB_FORM_FBGEMM_ADD, t, acc, p0, P, block); break;
    case QB_FORM_FBGEMM_ADD_LONG: qb_finish256_as(QB_FORM_FBGEMM_ADD_LONG, t, acc, p0, P, block); break;
    case QB_FORM_TENSOR: qb_finish256_as(QB_FORM_TENSOR, t, acc, p0, P, block); break;
    case QB_FORM_TENSOR_ADD: qb_finish256_as(QB_FORM_TENSOR_ADD, t, acc, p0, P, block); break;
    case QB_FORM_TENSOR_ADD_LONG: qb_finish256_as(QB_FORM_TENSOR_ADD_LONG, t, acc, p0, P, block); break;
    case QB_FORM_ONEDNN: qb_finish256_as(QB_FORM_ONEDNN, t, acc, p0, P, block); break;
    case QB_FORM_ONEDNN_SUM: qb_finish256_as(QB_FORM_ONEDNN_SUM, t, acc, p0, P, block); break;
    case QB_FORM_COUNT: break;
    }
}

/* Byte offsets of the windows of pixels p0 .. p0 + P - 1. */
QB_INLINE void qb_windows256(const struct qb_conv *c, size_t p0, int P, size_t step, size_t pitch,
                             size_t window[QB_PIXELS])
{
    size_t y = p0 / (size_t)c->dst_w, x = p0 - y * (size_t)c->dst_w;
    for (int p = 0; p < P; p++) {
        window[p] = y * (size_t)c->stride_h * pitch + x * (size_t)c->stride_w * step;
        x++;
        const size_t wrap = x == (size_t)c->dst_w;
        y += wrap;
        x = wrap ? 0 : x;
    }
}

/* Kernel rows that lie in the picture for at least one of these pixels: the others see padding only. */
struct qb_rows256 {
    int first, end;
};

QB_INLINE struct qb_rows256 qb_rows256(const struct qb_conv *c, size_t p0, int P)
{
    const int top = (int)(p0 / (size_t)c->dst_w), bottom = (int)((p0 + (size_t)P - 1) / (size_t)c->dst_w);
    const int above = c->pad_t - bottom * c->stride_h, below = c->src_h + c->pad_t - top * c->stride_h;
    const int first = above < 0 ? 0 : above < c->kh ? above : c->kh, end = below < c->kh ? below : c->kh;
    return (struct qb_rows256){first, end > first ? end : first};
}

#endif
