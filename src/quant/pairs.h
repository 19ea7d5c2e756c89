/* Pairs of products that vpmaddubsw adds: p = u[0] * s[0] + u[1] * s[1] of two u8 codes and two s8 weights,
 * clamped to int16. What follows (vpmaddwd with ones, vpaddd) loses nothing, so only the choice of the pairs
 * matters, not the order of the sum: acc = sum of clamp(p, -32768, 32767) - zero points * sums, the
 * corrections exact. u is the raw code (inside form, zero point not subtracted), padding is the code of the
 * zero point, s the raw weight. One product alone, at most 255 * 128, never saturates.
 *
 * Positions count the weights of one output channel in the order kernel row, kernel column, input channel:
 * tap * ic + channel. khwc pairs them as they come, so that with an odd number of channels pairs run on
 * across the taps; the odd last one is alone. pad4 fills each tap up to a multiple of four channels with
 * zeros: an odd last channel is alone in each tap. With an even number of channels both are the same.
 *
 * Source: outputs of fbgemm, ONNX Runtime and oneDNN on a CPU without VNNI, which the golden tests compare
 * with (tests/golden). */
#ifndef QB_QUANT_PAIRS_H
#define QB_QUANT_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/qgraph.h"

/* Whether the sums of `node` saturate as the graph's accumulation says. ONNX Runtime has no vpmaddubsw for u8
 * x u8 (it widens to int16) nor for s8 x s8 (plain C): its arithmetic is exact there. */
bool qb_pairs_saturate(const struct qb_qgraph *graph, int node);

/* Pairs of two weights in one output channel of a CONV or DENSE; `order` is not exact. */
size_t qb_pair_count(const struct qb_qnode *node, enum qb_accumulate order);
/* The positions of pair `index`. */
void qb_pair_at(const struct qb_qnode *node, enum qb_accumulate order, size_t index, size_t position[2]);
/* The weight of output channel `oc` at a position. */
int qb_pair_weight(const struct qb_qnode *node, int oc, size_t position);
/* Whether the sum of products leaves int16 for some codes 0..code_max. */
bool qb_pair_saturates(int weight0, int weight1, int code_max);

/* All pairs of a node for which it does. */
int64_t qb_saturating_pairs(const struct qb_qnode *node, enum qb_accumulate order, int code_max);

#endif
