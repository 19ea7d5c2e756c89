/* ReLU in plain C: the meaning of relu.h. */
#include "kernels/relu/relu_impls.h"

static void run(struct qb_limits limits, size_t rows, size_t bytes, const uint8_t *src, size_t src_pitch,
                uint8_t *dst, size_t dst_pitch)
{
    const uint8_t low = limits.low, high = limits.high;
    for (size_t y = 0; y < rows; y++, src += src_pitch, dst += dst_pitch) {
        for (size_t i = 0; i < bytes; i++) {
            const uint8_t raised = src[i] < low ? low : src[i];
            dst[i] = raised > high ? high : raised;
        }
    }
}

const struct qb_relu_impl qb_relu_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
