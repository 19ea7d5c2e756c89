/* Graph passes, each testable alone; qb_graph_canonicalize runs them in order. A pass rewrites the graph in
 * place (node arrays are replaced, the arena keeps the old ones) and leaves it valid. On failure the graph
 * may only be freed. QUANTIZE and DEQUANTIZE nodes stay where they are; weights that have integer codes are
 * never rescaled. */
#ifndef QB_MODEL_PASSES_H
#define QB_MODEL_PASSES_H

#include "model/graph.h"

/* Shapes from the input on, whatever the order of axes; SAME padding and whole-image pools become numbers.
 * Every mismatch is an error naming the node. */
enum qb_status qb_pass_shapes(struct qb_graph *graph, struct qb_error *err);
/* Resolves TRANSPOSE nodes: all tensors become NHWC; DENSE weights and per-feature AFFINE constants behind a
 * FLATTEN of another order are permuted. Runs qb_pass_shapes first. */
enum qb_status qb_pass_layout(struct qb_graph *graph, struct qb_error *err);
/* PAD in front of a convolution becomes its padding, also through RELU and Q/DQ (zero stays zero there).
 * Needs shapes. */
enum qb_status qb_pass_fold_pad(struct qb_graph *graph, struct qb_error *err);
/* FLATTEN nodes vanish; their consumer reads the source. */
enum qb_status qb_pass_flatten(struct qb_graph *graph, struct qb_error *err);
/* AFFINE behind CONV or DENSE is folded into its weights, batch normalization in PyTorch's order of
 * operations (torch/nn/utils/fusion.py): r = 1 / sqrt(var + eps); W' = W * (gamma * r); b' = ((b - mean) * r)
 * * gamma + beta. AFFINE in front of CONV or DENSE (image normalization) is folded forward: a scale always, a
 * shift only where the convolution does not pad. In a quantized model what finds no such place, as the
 * weights have codes or a QUANTIZE stands between, stays: a quantizer left it in float. Needs flatten. */
enum qb_status qb_pass_fold_affine(struct qb_graph *graph, struct qb_error *err);
/* Removes what changes nothing: RELU of RELU, QUANTIZE of a DEQUANTIZE with the same scale and zero point
 * (and its DEQUANTIZE then), Q/DQ behind SOFTMAX. */
enum qb_status qb_pass_redundant(struct qb_graph *graph, struct qb_error *err);
/* Execution order and canonical names, whichever exporter wrote the file. Order: depth first from the output,
 * the longer branch of an ADD first (most nodes on the way from the input, Q/DQ not counted; equal: as in the
 * file); ADD then has the longer branch in src[0] and the residual in src[1]. Nodes that the output does not
 * need vanish. Names: operator and running number (conv, conv_1 ..), except that a RELU is called after its
 * source: relu_3 behind conv_3, relu_add_1 behind add_1. */
enum qb_status qb_pass_order(struct qb_graph *graph, struct qb_error *err);

/* All passes, then a check that the graph is canonical and its parameters are finite. */
enum qb_status qb_graph_canonicalize(struct qb_graph *graph, struct qb_error *err);

#endif
