/* Average of u8 codes over windows without padding (formulas: src/engine/reference/arithmetic.h):
 *
 *   dst = sat(rne((float)(sum of the window - minus) * inverse) + zero_point)
 *
 * fbgemm, ort of a whole plane: minus = n * z, zero_point = that of dst; onednn: both 0.
 *
 *   floats: v = sum of scale * (float)(q - zero) as floats, row after row
 *           dst = sat(rne((v / count) / dst_scale + offset) + zero_point)
 *
 * A pixel is `step` bytes, the first 16 * blocks of which are read or written, nothing else. Sums fit int32;
 * |sum - minus| * inverse stays below 2^30. No overlap. */
#ifndef QB_KERNELS_AVGPOOL_H
#define QB_KERNELS_AVGPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

struct qb_pool {
    int kh, kw, stride_h, stride_w, dst_h, dst_w, blocks;
    size_t src_step, src_pitch, dst_step, dst_pitch;
    int32_t minus, zero_point;
    float inverse;
    bool floats; /* the rest: ort, windows that are not the whole plane */
    int32_t zero;
    float scale, count, dst_scale, offset;
};

typedef void qb_avgpool_fn(const struct qb_pool *pool, const uint8_t *src, uint8_t *dst);

struct qb_avgpool_impl {
    const char *name; /* the ISA's */
    enum qb_isa isa;
    qb_avgpool_fn *run;
};

/* NULL-terminated; ref first, fastest last. */
extern const struct qb_avgpool_impl *const qb_avgpool_impls[];
/* The last one that this CPU has, not above `cap`; ref at least. */
const struct qb_avgpool_impl *qb_avgpool_select(enum qb_isa cap);

#endif
