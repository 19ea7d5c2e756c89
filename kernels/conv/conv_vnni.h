/* What the two VNNI convolutions (vpdpbusd: four u8 x s8 products onto an int32) share: packing, and the
 * arithmetic around zero points.
 *
 *   sum (x - zx)(w - zw) = sum x w  +  comp[k]  -  zw[k] * sum x,   comp[k] = n zx zw[k] - zx sum w
 *
 * comp starts the accumulators. sum x, one number a window, is only needed when some zw is not 0
 * (qb_conv_window_sums).
 *
 * Four input channels of one pixel are a quad. Quads of a window are ordered [kernel row][quad of the
 * pixel][column], each with its byte offset from the window's first pixel: one loop over a list of offsets
 * does every kernel shape. Weights: [block of 16 channels][quad][16][4]; two neighbouring blocks may be
 * interleaved as [quad][2][16][4]. */
#ifndef QB_KERNELS_CONV_VNNI_H
#define QB_KERNELS_CONV_VNNI_H

#include <stdbool.h>

#include "kernels/conv/conv.h"

/* Parts of packed memory and of scratch begin at multiples of 64 bytes. */
static inline size_t qb_round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

struct qb_vnni {
    size_t row_quads, quads; /* of a kernel row, of a window */
    const int32_t *offsets;  /* [quads] */
    const int32_t *comp;     /* [16 * blocks] */
    const int32_t *minus_zw; /* [16 * blocks]; NULL when all zw are 0 */
    const int8_t *wei;
};

size_t qb_vnni_bytes(const struct qb_conv *conv);
/* pairs: interleave blocks 2 i and 2 i + 1 (an odd last one stays alone). */
void qb_vnni_pack(const struct qb_conv *conv, bool pairs, void *packed);
struct qb_vnni qb_vnni_open(const struct qb_conv *conv, const void *packed);

/* 0 when all zw are 0. */
size_t qb_vnni_scratch_bytes(const struct qb_conv *conv);
/* Writes sum x of every window to the start of scratch, [dst_h][dst_w]. */
void qb_conv_window_sums(const struct qb_conv *conv, const uint8_t *src, void *scratch);

#endif
