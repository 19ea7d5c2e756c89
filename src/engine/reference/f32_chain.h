/* Chains of float additions, several side by side.
 *
 * Every term of a chain is one FMA on the sum of the terms before it, so a chain alone waits for each: 4
 * cycles a term. Chains of other output channels (lanes) and of other pixels are independent, and fill the
 * machine without a change to any order. */
#ifndef QB_ENGINE_REFERENCE_F32_CHAIN_H
#define QB_ENGINE_REFERENCE_F32_CHAIN_H

#include <stddef.h>

#include "base/cpu.h"

enum { QB_CHAIN_LANES = 16, QB_CHAIN_PIXELS = 8 };
typedef float qb_lanes[QB_CHAIN_LANES];

/* For t = 0 .. terms - 1, in this order: acc[p][lane] = fma(src[p * step + t], wei[t][lane], acc[p][lane]),
 * for `pixels` p. acc overlaps neither src nor wei. */
typedef void qb_chain_fn(const float *src, size_t step, const float *wei, size_t terms, int pixels,
                         qb_lanes *acc);

struct qb_chain {
    int pixels; /* that run() takes at most, and that its registers hold: 1 .. QB_CHAIN_PIXELS */
    qb_chain_fn *run;
};
/* The fastest of this CPU, not above `cap`; all give the same bits. */
const struct qb_chain *qb_chain_select(enum qb_isa cap);

#endif
