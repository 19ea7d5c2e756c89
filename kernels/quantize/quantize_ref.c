/* Input quantization in plain C: the meaning of quantize.h. */
#include "kernels/quantize/quantize_impls.h"
#include "kernels/quantize/quantize_row.h"

static void run(const struct qb_quantize *q, const uint8_t *src, int h, int w, int c, uint8_t *dst,
                size_t step, size_t pitch)
{
    for (int y = 0; y < h; y++, src += (size_t)w * (size_t)c, dst += pitch) {
        qb_quantize_row(q, src, (size_t)w, (size_t)c, dst, step);
    }
}

const struct qb_quantize_impl qb_quantize_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
