/* Graph passes, each testable alone; qb_graph_canonicalize runs them in order. A pass rewrites the graph in place (node
 * arrays are replaced, the arena keeps the old ones) and leaves it valid. */
#ifndef QB_MODEL_PASSES_H
#define QB_MODEL_PASSES_H

#include "model/graph.h"

/* Resolves TRANSPOSE nodes: all tensors become NHWC; AFFINE and FLATTEN of NCHW tensors permute dense weights. */
enum qb_status qb_pass_layout(struct qb_graph *graph, struct qb_error *err);
/* PAD in front of a convolution becomes its padding. */
enum qb_status qb_pass_fold_pad(struct qb_graph *graph, struct qb_error *err);
/* AFFINE behind CONV or DENSE is folded into its weights, in PyTorch's order of operations
 * (torch/nn/utils/fusion.py): W' = W * scale, b' = (b - mean) * rsqrt * gamma + beta. */
enum qb_status qb_pass_fold_affine(struct qb_graph *graph, struct qb_error *err);
/* FLATTEN nodes vanish; their consumer reads the source. */
enum qb_status qb_pass_flatten(struct qb_graph *graph, struct qb_error *err);
/* Execution order and canonical names: depth first from the output, the longer branch of an ADD first, so that the
 * published network's layers are conv .. conv_8 whichever exporter wrote it. */
enum qb_status qb_pass_order(struct qb_graph *graph, struct qb_error *err);
/* Shapes from the input on; every mismatch is an error naming the node. */
enum qb_status qb_pass_shapes(struct qb_graph *graph, struct qb_error *err);

enum qb_status qb_graph_canonicalize(struct qb_graph *graph, struct qb_error *err);

#endif
