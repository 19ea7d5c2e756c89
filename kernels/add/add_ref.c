/* Residual addition in plain C: the meaning of add.h. */
#include <math.h>

#include "kernels/add/add_impls.h"
#include "kernels/tail_ref.h"

static float dequantize(const struct qb_addition *a, int source, uint8_t code)
{
    return a->onednn ? a->scale[source] * (float)(code - a->zero[source])
                     : fmaf(a->scale[source], (float)code, a->offset[source]);
}

static void run(const struct qb_addition *add, size_t rows, size_t bytes, const uint8_t *src0, size_t pitch0,
                const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src0 += pitch0, src1 += pitch1, dst += dst_pitch) {
        for (size_t i = 0; i < bytes; i++) {
            if (add->table) {
                const uint8_t code = add->table[src0[i]][src1[i]];
                dst[i] = code > add->low ? code : (uint8_t)add->low;
                continue;
            }
            const float v = (dequantize(add, 0, src0[i]) + dequantize(add, 1, src1[i])) * add->dst_inverse;
            dst[i] = add->onednn ? qb_tail_code(v + (float)add->zero_point, 0, add->low)
                                 : qb_tail_code(v, add->zero_point, add->low);
        }
    }
}

const struct qb_add_impl qb_add_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
