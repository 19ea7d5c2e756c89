/* Codes by a table: dst = table[src]; what gives a tensor another scale or zero point. `rows` rows of `bytes`
 * codes, `pitch` bytes apart; exactly those are read and written. dst may be src. */
#ifndef QB_KERNELS_RECODE_H
#define QB_KERNELS_RECODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

typedef void qb_recode_fn(const uint8_t table[256], size_t rows, size_t bytes, const uint8_t *src,
                          size_t src_pitch, uint8_t *dst, size_t dst_pitch);

struct qb_recode_impl {
    const char *name; /* the ISA's */
    enum qb_isa isa;
    qb_recode_fn *run;
};

/* NULL-terminated; ref first, fastest last. */
extern const struct qb_recode_impl *const qb_recode_impls[];
/* The last one that this CPU has, not above `cap`; ref at least. */
const struct qb_recode_impl *qb_recode_select(enum qb_isa cap);

#endif
