/* Addition of u8 codes (formulas: src/engine/reference/arithmetic.h).
 *
 *   fbgemm   d(q) = fma(scale, (float)q, offset)
 *            dst = max(sat(rne((d0 + d1) * dst_inverse) + zero_point), low)
 *   onednn   d(q) = scale * (float)(q - zero)
 *            dst = max(sat(rne((d0 + d1) * dst_inverse + (float)zero_point)), low)
 *   ort      v = fma(scale[0], (float)(q0 - zero[0]), fma(scale[1], (float)(q1 - zero[1]), offset[0]))
 *            dst = max(sat(rne(v) + zero_point), low)
 *
 *   table    dst = max(table[q0][q1], low); ref only
 *
 * A ReLU is low = its zero point. `rows` rows of `bytes` codes, a multiple of 16, `pitch` bytes apart;
 * exactly those are read and written. A pitch of 0 repeats one row of a source. dst may be one of the
 * sources. Scales are positive and all products finite. */
#ifndef QB_KERNELS_ADD_H
#define QB_KERNELS_ADD_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

enum qb_add_rule { QB_ADD_FBGEMM, QB_ADD_ONEDNN, QB_ADD_ORT };

struct qb_addition {
    enum qb_add_rule rule;
    float scale[2], offset[2];
    int32_t zero[2];
    float dst_inverse;
    int32_t zero_point, low;
    const uint8_t (*table)[256]; /* [256]; NULL: by the formula */
};

typedef void qb_add_fn(const struct qb_addition *add, size_t rows, size_t bytes, const uint8_t *src0,
                       size_t pitch0, const uint8_t *src1, size_t pitch1, uint8_t *dst, size_t dst_pitch);

struct qb_add_impl {
    const char *name; /* the ISA's */
    enum qb_isa isa;
    qb_add_fn *run;
};

/* NULL-terminated; ref first, fastest last. */
extern const struct qb_add_impl *const qb_add_impls[];
/* The last one that this CPU has, not above `cap`; ref at least. */
const struct qb_add_impl *qb_add_select(enum qb_isa cap);

#endif
