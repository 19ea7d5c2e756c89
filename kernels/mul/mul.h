/* Product of u8 codes (arithmetic ort: src/engine/reference/arithmetic.h):
 *
 *   dst = sat(rne((float)((q0 - zero[0]) * (q1 - zero[1])) * ratio + offset) + zero_point)
 *
 * with two roundings before rne. `rows` rows of `bytes` codes, a multiple of 16, `pitch` bytes apart; exactly
 * those are read and written. A pitch of 0 repeats one row of a source. dst may be one of the sources. ratio
 * is positive, |offset| <= 255, and 65,536 * ratio is finite. */
#ifndef QB_KERNELS_MUL_H
#define QB_KERNELS_MUL_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

struct qb_product {
    int32_t zero[2];
    float ratio, offset;
    int32_t zero_point;
};

typedef void qb_mul_fn(const struct qb_product *mul, size_t rows, size_t bytes, const uint8_t *src0,
                       size_t pitch0, const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch);

struct qb_mul_impl {
    const char *name; /* the ISA's */
    enum qb_isa isa;
    qb_mul_fn *run;
};

/* NULL-terminated; ref first, fastest last. */
extern const struct qb_mul_impl *const qb_mul_impls[];
/* The last one that this CPU has, not above `cap`; ref at least. */
const struct qb_mul_impl *qb_mul_select(enum qb_isa cap);

#endif
