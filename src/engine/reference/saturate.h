/* Emulation of vpmaddubsw's int16 saturation (quant/pairs.h) behind an exact dot product: each pair that
 * leaves int16 moves the accumulator by clamp(p) - p. Only pairs whose weights allow it are looked at. */
#ifndef QB_ENGINE_REFERENCE_SATURATE_H
#define QB_ENGINE_REFERENCE_SATURATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "engine/engine.h"
#include "quant/qgraph.h"

struct qb_risky_pair {
    size_t position[2];
    int16_t wei[2];
};

struct qb_saturate {
    int32_t zero_point; /* of the source: what was subtracted from the window's codes */
    size_t oc;
    const size_t *first; /* [oc + 1] index of an output channel's first pair; NULL: sums are exact */
    const struct qb_risky_pair *pairs; /* those that can saturate, all output channels' */
};

/* Arrays live in `arena`. */
enum qb_status qb_saturate_init(const struct qb_qgraph *graph, int node, struct qb_arena *arena,
                                struct qb_saturate *out, struct qb_error *err);

/* window: code - zero_point at each position of quant/pairs.h; acc [oc]; adds to *seen. */
void qb_saturate_run(const struct qb_saturate *saturate, const int16_t *window, int32_t *acc,
                     struct qb_saturation *seen);

#endif
