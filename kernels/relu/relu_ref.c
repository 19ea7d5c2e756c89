/* ReLU in plain C: the meaning of relu.h. */
#include "kernels/relu/relu_impls.h"

static void run(uint8_t zero_point, size_t rows, size_t bytes, const uint8_t *src, size_t src_pitch,
                uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src += src_pitch, dst += dst_pitch) {
        for (size_t i = 0; i < bytes; i++) {
            dst[i] = src[i] < zero_point ? zero_point : src[i];
        }
    }
}

const struct qb_relu_impl qb_relu_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
