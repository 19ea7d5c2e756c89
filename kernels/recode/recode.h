/* Codes by a table: dst = table[src]; a ReLU whose result has another scale than its source. `rows` rows of
 * `bytes` codes, `pitch` bytes apart; exactly those are read and written. dst may be src. Plain C only: no
 * network that is measured spends time here. */
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

extern const struct qb_recode_impl qb_recode_ref;

#endif
