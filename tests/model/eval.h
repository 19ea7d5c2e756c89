/* A plain float evaluator of graphs, for tests: obvious loops, everything N,H,W,C. TRANSPOSE counts as
 * nothing, because shapes and values are held by their meaning; a FLATTEN lists in N,H,W,C order. */
#ifndef QB_TESTS_MODEL_EVAL_H
#define QB_TESTS_MODEL_EVAL_H

#include "model/graph.h"

/* Values of node `node` for one image, malloc'd. Shapes must be known (qb_pass_shapes). */
float *eval_node(const struct qb_graph *graph, int node, const float *image);
/* Values of the last node before a softmax. */
float *eval_logits(const struct qb_graph *graph, const float *image);

#endif
