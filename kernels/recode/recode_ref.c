/* Codes by a table in plain C: see recode.h. */
#include "kernels/recode/recode_impls.h"

static void run(const uint8_t table[256], size_t rows, size_t bytes, const uint8_t *src, size_t src_pitch,
                uint8_t *dst, size_t dst_pitch)
{
    for (size_t y = 0; y < rows; y++, src += src_pitch, dst += dst_pitch) {
        for (size_t i = 0; i < bytes; i++) {
            dst[i] = table[src[i]];
        }
    }
}

const struct qb_recode_impl qb_recode_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
