/* What the 256-bit convolutions share: the walk over the picture and the tails of a tile of P pixels x 16
 * channels.
 *
 * Pixels are numbered through the picture, so that a tile may span rows and only the last one is not full: it
 * reaches back over pixels that are done already. */
#ifndef QB_KERNELS_CONV_256_H
#define QB_KERNELS_CONV_256_H

#include "kernels/conv/conv.h"
#include "kernels/tail_avx2.h"

enum { QB_PIXELS = 6 }; /* the most of a tile */

/* One call of run. */
struct qb_run256 {
    const struct qb_conv *conv;
    const uint8_t *src; /* window of pixel 0 */
    const uint8_t *res;
    uint8_t *dst;
    enum qb_tail_form form;
    /* Bytes from pixel to pixel, and from the last of a row to the first of the next. */
    size_t src_next, src_wrap, res_wrap, dst_wrap;
};

/* src_step, src_pitch: of the source that is read, which need not be the caller's. */
QB_INLINE struct qb_run256 qb_run256(const struct qb_conv *c, const uint8_t *src, size_t src_step,
                                     size_t src_pitch, const uint8_t *res, uint8_t *dst)
{
    const size_t last = (size_t)c->dst_w - 1, next = (size_t)c->stride_w * src_step;
    return (struct qb_run256){
        .conv = c,
        .src = src,
        .res = res,
        .dst = dst,
        .form = qb_tail_form(&c->tail),
        .src_next = next,
        .src_wrap = (size_t)c->stride_h * src_pitch - last * next,
        .res_wrap = c->res_pitch - last * c->res_step,
        .dst_wrap = c->dst_pitch - last * c->dst_step,
    };
}

/* Where a tile starts: pixel (y, x), its window, and where its codes go. */
struct qb_at256 {
    size_t y, x;
    const uint8_t *src;
    uint8_t *dst;
    size_t res; /* offset: there need not be a residual */
};

QB_INLINE struct qb_at256 qb_at256(const struct qb_run256 *r, size_t pixel)
{
    const struct qb_conv *const c = r->conv;
    const size_t y = pixel / (size_t)c->dst_w, x = pixel - y * (size_t)c->dst_w;
    const size_t src_row = r->src_wrap + ((size_t)c->dst_w - 1) * r->src_next;
    return (struct qb_at256){.y = y,
                             .x = x,
                             .src = r->src + y * src_row + x * r->src_next,
                             .dst = r->dst + y * c->dst_pitch + x * c->dst_step,
                             .res = y * c->res_pitch + x * c->res_step};
}

/* To the next pixel; behind the last one of the picture it points nowhere. */
QB_INLINE void qb_advance256(const struct qb_run256 *r, struct qb_at256 *at)
{
    const bool wrap = ++at->x == (size_t)r->conv->dst_w;
    at->src += wrap ? r->src_wrap : r->src_next;
    at->dst += wrap ? r->dst_wrap : r->conv->dst_step;
    at->res += wrap ? r->res_wrap : r->conv->res_step;
    at->y += wrap;
    at->x = wrap ? 0 : at->x;
}

/* Codes of the 16 channels from k on of two neighbouring pixels, or of one; moves on behind them. */
QB_INLINE void qb_codes256(enum qb_tail_form form, const struct qb_run256 *r, const __m256i acc[4], bool two,
                           size_t k, struct qb_at256 *at)
{
    const struct qb_tail *const tail = &r->conv->tail;
    const bool residual = qb_form_reads(form);
    const __m256i zero_point = _mm256_set1_epi16((short)tail->zero_point),
                  low = _mm256_set1_epi8((char)tail->low);
    uint8_t *const dst = at->dst + k;
    const uint8_t *res = residual ? r->res + at->res + k : NULL;
    __m256i v[4];
    v[0] = qb_tail256_value(form, tail, acc[0], k, res);
    v[1] = qb_tail256_value(form, tail, acc[1], k + 8, residual ? res + 8 : NULL);
    if (!two) {
        v[2] = v[0], v[3] = v[1];
        _mm_storeu_si128((__m128i *)(void *)dst, _mm256_castsi256_si128(qb_tail256_pack(v, zero_point, low)));
        qb_advance256(r, at);
        return;
    }
    qb_advance256(r, at);
    res = residual ? r->res + at->res + k : NULL;
    v[2] = qb_tail256_value(form, tail, acc[2], k, res);
    v[3] = qb_tail256_value(form, tail, acc[3], k + 8, residual ? res + 8 : NULL);
    const __m256i codes = qb_tail256_pack(v, zero_point, low);
    _mm_storeu_si128((__m128i *)(void *)dst, _mm256_castsi256_si128(codes));
    _mm_storeu_si128((__m128i *)(void *)(at->dst + k), _mm256_extracti128_si256(codes, 1));
    qb_advance256(r, at);
}

/* Any form, by way of memory. */
static struct qb_at256 qb_finish256_any(const struct qb_run256 *r, const __m256i *acc, struct qb_at256 at,
                                        int P, size_t k)
{
    for (int p = 0; p < P; p += 2) {
        const bool two = p + 1 < P;
        switch (r->form) {
        case QB_FORM_FBGEMM: qb_codes256(QB_FORM_FBGEMM, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_FBGEMM_ADD: qb_codes256(QB_FORM_FBGEMM_ADD, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_FBGEMM_ADD_LONG:
            qb_codes256(QB_FORM_FBGEMM_ADD_LONG, r, acc + 2 * p, two, k, &at);
            break;
        case QB_FORM_TENSOR: qb_codes256(QB_FORM_TENSOR, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_TENSOR_ADD: qb_codes256(QB_FORM_TENSOR_ADD, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_TENSOR_ADD_LONG:
            qb_codes256(QB_FORM_TENSOR_ADD_LONG, r, acc + 2 * p, two, k, &at);
            break;
        case QB_FORM_ONEDNN: qb_codes256(QB_FORM_ONEDNN, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_ONEDNN_SUM: qb_codes256(QB_FORM_ONEDNN_SUM, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_APART: qb_codes256(QB_FORM_APART, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_APART_SUM: qb_codes256(QB_FORM_APART_SUM, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_APART_ADD: qb_codes256(QB_FORM_APART_ADD, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_APART_ADD_LONG: qb_codes256(QB_FORM_APART_ADD_LONG, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_FIXED: qb_codes256(QB_FORM_FIXED, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_FIXED_ADD: qb_codes256(QB_FORM_FIXED_ADD, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_INTEGER: qb_codes256(QB_FORM_INTEGER, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_INTEGER_ADD: qb_codes256(QB_FORM_INTEGER_ADD, r, acc + 2 * p, two, k, &at); break;
        case QB_FORM_COUNT: break;
        }
    }
    return at;
}

/* Takes zw times the sum of its window from every pixel; minus_zw of the 16 channels, sums from pixel `at`
 * on. */
QB_INLINE void qb_subtract_sums256(__m256i *acc, const int32_t *minus_zw, const int32_t *sums, int P)
{
    const __m256i m0 = _mm256_load_si256((const __m256i *)(const void *)minus_zw),
                  m1 = _mm256_load_si256((const __m256i *)(const void *)(minus_zw + 8));
    QB_REPEAT_6(p, P, {
        const __m256i sum = _mm256_set1_epi32(sums[p]);
        acc[2 * p] = _mm256_add_epi32(acc[2 * p], _mm256_mullo_epi32(m0, sum));
        acc[2 * p + 1] = _mm256_add_epi32(acc[2 * p + 1], _mm256_mullo_epi32(m1, sum));
    })
}

QB_INLINE struct qb_at256 qb_finish256_as(enum qb_tail_form form, const struct qb_run256 *r,
                                          const __m256i *acc, struct qb_at256 at, int P, size_t k)
{
    QB_REPEAT_4(i, P / 2, qb_codes256(form, r, acc + 4 * i, true, k, &at);)
    return at;
}

/* Codes of pixels at .. at + P - 1 (P is 1 or even; acc[2 * p] and acc[2 * p + 1] are pixel p); returns the
 * pixel behind them. The forms that networks are made of stay in registers. */
QB_INLINE struct qb_at256 qb_finish256(const struct qb_run256 *r, const __m256i *acc, struct qb_at256 at,
                                       int P, size_t k)
{
    if (P > 1) {
        switch (r->form) {
        case QB_FORM_FBGEMM: return qb_finish256_as(QB_FORM_FBGEMM, r, acc, at, P, k);
        case QB_FORM_FBGEMM_ADD: return qb_finish256_as(QB_FORM_FBGEMM_ADD, r, acc, at, P, k);
        case QB_FORM_ONEDNN: return qb_finish256_as(QB_FORM_ONEDNN, r, acc, at, P, k);
        case QB_FORM_ONEDNN_SUM: return qb_finish256_as(QB_FORM_ONEDNN_SUM, r, acc, at, P, k);
        case QB_FORM_APART: return qb_finish256_as(QB_FORM_APART, r, acc, at, P, k);
        case QB_FORM_APART_SUM: return qb_finish256_as(QB_FORM_APART_SUM, r, acc, at, P, k);
        case QB_FORM_APART_ADD: return qb_finish256_as(QB_FORM_APART_ADD, r, acc, at, P, k);
        default: break;
        }
    }
    __m256i kept[2 * QB_PIXELS];
    QB_REPEAT_12(i, 2 * P, kept[i] = acc[i];)
    return qb_finish256_any(r, kept, at, P, k);
}

/* Kernel rows that lie in the picture for at least one pixel of rows top .. bottom: the others see padding
 * only. */
struct qb_rows256 {
    int first, end;
};

QB_INLINE struct qb_rows256 qb_rows256(const struct qb_conv *c, size_t top, size_t bottom)
{
    const int above = c->pad_t - (int)bottom * c->stride_h,
              below = c->src_h + c->pad_t - (int)top * c->stride_h;
    const int first = above < 0 ? 0 : above < c->kh ? above : c->kh, end = below < c->kh ? below : c->kh;
    return (struct qb_rows256){first, end > first ? end : first};
}

#endif
