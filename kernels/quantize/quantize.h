/* Pixels to codes: dst = sat(rne(fma(p, inverse, zero_point))), which is table[p].
 *
 * src: h x w x c bytes without gaps. dst: pixels `step` bytes and rows `pitch` bytes apart, step >= c; bytes
 * c .. step - 1 of a pixel become 0. Exactly those are read and written. No overlap. */
#ifndef QB_KERNELS_QUANTIZE_H
#define QB_KERNELS_QUANTIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

/* Rounds to an int32, and saturates like everything above it. */
#define QB_QUANTIZE_LIMIT 1024.0F

struct qb_quantize {
    float inverse;
    int32_t zero_point; /* 0..255 */
    uint8_t table[256];
};
/* inverse is finite and positive. */
void qb_quantize_init(float inverse, int32_t zero_point, struct qb_quantize *out);

typedef void qb_quantize_fn(const struct qb_quantize *quantize, const uint8_t *src, int h, int w, int c,
                            uint8_t *dst, size_t step, size_t pitch);

struct qb_quantize_impl {
    const char *name; /* the ISA's */
    enum qb_isa isa;
    qb_quantize_fn *run;
};

/* NULL-terminated; ref first, fastest last. */
extern const struct qb_quantize_impl *const qb_quantize_impls[];
/* The last one that this CPU has, not above `cap`; ref at least. */
const struct qb_quantize_impl *qb_quantize_select(enum qb_isa cap);

#endif
