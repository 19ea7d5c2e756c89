/* Product in plain C: the meaning of mul.h. */
#include "kernels/mul/mul_impls.h"
#include "kernels/tail_ref.h"

static void run(const struct qb_product *mul, size_t rows, size_t bytes, const uint8_t *src0, size_t pitch0,
                const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src0 += pitch0, src1 += pitch1, dst += dst_pitch) {
        for (size_t i = 0; i < bytes; i++) {
            const float product = (float)((src0[i] - mul->zero[0]) * (src1[i] - mul->zero[1]));
            dst[i] = qb_tail_code(product * mul->ratio + mul->offset, mul->zero_point, 0);
        }
    }
}

const struct qb_mul_impl qb_mul_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
