/* Cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721, section 4.1; AIMET's
 * cross_layer_equalization): where convolution a feeds convolution b through nothing but a ReLU, channel c of
 * the tensor between them can be divided by any s > 0 and b's weights multiplied by it, without changing what
 * the network computes. With
 *
 *     s_c = sqrt(r1_c / r2_c),  r1_c = max|Wa[c]|,  r2_c = max|Wb[:, c]|
 *
 * both have the range sqrt(r1_c r2_c) in every channel. A tensor that something else reads too (a residual
 * addition, a shortcut) cannot be scaled. */
#ifndef QB_QUANT_EQUALIZE_H
#define QB_QUANT_EQUALIZE_H

#include "model/graph.h"

/* A copy of `graph` with all such pairs equalized; it shares names and untouched weights with `graph`, which
 * must outlive it. Free with qb_graph_free. *note (a string of the copy) lists the pairs. A graph without any
 * is QB_EINPUT. */
enum qb_status qb_equalize(const struct qb_graph *graph, struct qb_graph **out, const char **note,
                           struct qb_error *err);

#endif
