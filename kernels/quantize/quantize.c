/* The table of input quantizations: see quantize.h. */
#include "kernels/quantize/quantize_impls.h"

#include <math.h>

const struct qb_quantize_impl *const qb_quantize_impls[] = {&qb_quantize_ref, &qb_quantize_avx2,
                                                            &qb_quantize_avx512vnni, NULL};

const struct qb_quantize_impl *qb_quantize_select(enum qb_isa cap)
{
    const struct qb_quantize_impl *best = &qb_quantize_ref;
    for (int i = 0; qb_quantize_impls[i]; i++) {
        if (qb_quantize_impls[i]->isa <= cap && qb_cpu_has(qb_quantize_impls[i]->isa)) {
            best = qb_quantize_impls[i];
        }
    }
    return best;
}

void qb_quantize_init(float inverse, int32_t zero_point, struct qb_quantize *out)
{
    out->inverse = inverse;
    out->zero_point = zero_point;
    for (int p = 0; p < 256; p++) {
        const float code = fmaf((float)p, inverse, (float)zero_point);
        out->table[p] = (uint8_t)(int32_t)rintf(fminf(code, 255.0F));
    }
}
