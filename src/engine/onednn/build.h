/* From graphs to lists of steps. The lists keep pointers into the graph they are made from. */
#ifndef QB_ENGINE_ONEDNN_BUILD_H
#define QB_ENGINE_ONEDNN_BUILD_H

#include "engine/onednn/list.h"

/* Steps of a float graph; *logits is where the logits of the batch appear. `fuse`: ReLU and additions inside
 * the convolutions in front of them, so that fused tensors do not exist; else every node has its tensor (but
 * SOFTMAX, which is not run). Failures are the list's. */
void qb_dnnl_build_f32(struct qb_dnnl_list *list, const struct qb_graph *graph, bool fuse,
                       const float **logits);

/* Steps of an integer graph; *exactness says what the result can claim. `fused`: requantization inside oneDNN
 * wherever it has a primitive for it. */
void qb_dnnl_build_int8(struct qb_dnnl_list *list, const struct qb_qgraph *graph, bool fused,
                        const float **logits, enum qb_exactness *exactness);

#endif
