/* Residual addition in plain C: the meaning of add.h. */
#include <math.h>

#include "kernels/add/add_impls.h"
#include "kernels/tail_ref.h"

static float dequantize(const struct qb_addition *a, int source, uint8_t code)
{
    return a->rule == QB_ADD_ONEDNN ? a->scale[source] * (float)(code - a->zero[source])
                                    : fmaf(a->scale[source], (float)code, a->offset[source]);
}

static uint8_t sum(const struct qb_addition *a, uint8_t code0, uint8_t code1)
{
    if (a->table) {
        const uint8_t code = a->table[code0][code1];
        return code > a->low ? code : (uint8_t)a->low;
    }
    if (a->rule == QB_ADD_ORT) {
        const float inner = fmaf(a->scale[1], (float)(code1 - a->zero[1]), a->offset[0]);
        return qb_tail_code(fmaf(a->scale[0], (float)(code0 - a->zero[0]), inner), a->zero_point, a->low);
    }
    const float v = (dequantize(a, 0, code0) + dequantize(a, 1, code1)) * a->dst_inverse;
    return a->rule == QB_ADD_ONEDNN ? qb_tail_code(v + (float)a->zero_point, 0, a->low)
                                    : qb_tail_code(v, a->zero_point, a->low);
}

static void run(const struct qb_addition *add, size_t rows, size_t bytes, const uint8_t *src0, size_t pitch0,
                const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src0 += pitch0, src1 += pitch1, dst += dst_pitch) {
        for (size_t i = 0; i < bytes; i++) {
            dst[i] = sum(add, src0[i], src1[i]);
        }
    }
}

const struct qb_add_impl qb_add_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
