/* Limits of u8 codes: dst = min(max(src, low), high) with low <= high. A ReLU has its zero point for low and
 * 255 for high. `rows` rows of `bytes` codes, a multiple of 16, `pitch` bytes apart; exactly those are read
 * and written. dst may be src. */
#ifndef QB_KERNELS_RELU_H
#define QB_KERNELS_RELU_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

struct qb_limits {
    uint8_t low, high;
};

typedef void qb_relu_fn(struct qb_limits limits, size_t rows, size_t bytes, const uint8_t *src,
                        size_t src_pitch, uint8_t *dst, size_t dst_pitch);

struct qb_relu_impl {
    const char *name; /* the ISA's */
    enum qb_isa isa;
    qb_relu_fn *run;
};

/* NULL-terminated; ref first, fastest last. */
extern const struct qb_relu_impl *const qb_relu_impls[];
/* The last one that this CPU has, not above `cap`; ref at least. */
const struct qb_relu_impl *qb_relu_select(enum qb_isa cap);

#endif
