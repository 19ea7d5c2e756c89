/* Pixels of one row through the table: the whole of the plain C version, and the ends of rows of the others.
 */
#ifndef QB_KERNELS_QUANTIZE_ROW_H
#define QB_KERNELS_QUANTIZE_ROW_H

#include "kernels/quantize/quantize.h"

static inline void qb_quantize_row(const struct qb_quantize *q, const uint8_t *src, size_t w, size_t c,
                                   uint8_t *dst, size_t step)
{
    for (size_t x = 0; x < w; x++, src += c, dst += step) {
        for (size_t k = 0; k < c; k++) {
            dst[k] = q->table[src[k]];
        }
        for (size_t k = c; k < step; k++) {
            dst[k] = 0;
        }
    }
}

#endif
