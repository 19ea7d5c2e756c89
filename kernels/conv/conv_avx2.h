/* The two ways of AVX2 without VNNI, both exact for every input they take (conv_avx2.c chooses).
 *
 * bytes: vpmaddubsw multiplies 32 pairs of u8 x s8 and saturates the sum of two products at 16 bits. With 7
 * of the 8 bits of a code a pair always fits (2 * 127 * 128 < 2^15), and mostly several pairs do: weights are
 * rarely all large and of one sign. So quads of a window (conv_vnni.h) whose weights prove it, checked when
 * they are packed, add up in 16 bits and share the widening multiplication (vpmaddwd by ones): 4
 * multiplications for three quads where a library that saturates takes 6. The top bit is added for those
 * quads alone where it is not what it is nearly everywhere: 0, or 1 where the zero point has it (signed
 * codes behind a ReLU). Codes from a 7-bit range have a few such pixels in an image, codes of 8 bits some per
 * cent.
 *
 * words: src - zx and wei - zw as int16, vpmaddwd: any codes, any zero points. */
#ifndef QB_KERNELS_CONV_AVX2_H
#define QB_KERNELS_CONV_AVX2_H

#include "kernels/conv/conv.h"

/* Rows and columns of src that windows reach. */
static inline size_t qb_reach_h(const struct qb_conv *c)
{
    return (size_t)((c->dst_h - 1) * c->stride_h + c->kh);
}

static inline size_t qb_reach_w(const struct qb_conv *c)
{
    return (size_t)((c->dst_w - 1) * c->stride_w + c->kw);
}

/* Quad of pixel (y, x) of what windows reach that holds an unusual top bit. */
struct qb_odd_quad {
    int32_t y, x, quad;
};

struct qb_odd {
    const struct qb_odd_quad *quads;
    size_t count;
    const uint8_t *rows; /* [dst_h]: not 0 where a window of the row has one */
    int32_t *sums;       /* [dst_h * dst_w][16], 64-byte aligned; written */
};

/* The usual top bit. */
static inline bool qb_bytes_top(const struct qb_conv *c)
{
    return c->src_zero_point > 127;
}

size_t qb_bytes_packed(const struct qb_conv *conv);
void qb_bytes_pack(const struct qb_conv *conv, void *packed);
/* sums: of qb_conv_window_sums where there are weight zero points. */
void qb_bytes_run(const struct qb_conv *conv, const void *packed, const uint8_t *src, const uint8_t *res,
                  uint8_t *dst, const struct qb_odd *odd, const int32_t *sums);

size_t qb_words_packed(const struct qb_conv *conv);
void qb_words_pack(const struct qb_conv *conv, void *packed);
size_t qb_words_scratch(const struct qb_conv *conv);
void qb_words_run(const struct qb_conv *conv, const void *packed, const uint8_t *src, const uint8_t *res,
                  uint8_t *dst, void *scratch);

#endif
