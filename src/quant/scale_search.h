/* QB_REFINE_SCALE_SEARCH: scales for the layer's output, ncnn's "EQ" (Tencent/ncnn,
 * tools/quantize/ncnn2table.cpp, quantize_EQ). Layers are taken in the order of execution. Each weight scale
 * of a layer in turn, then the scale of its source, becomes the one of 100 candidates between half and twice
 * the reciprocal that brings the cosine similarity of the layer's integer output and its float output, behind
 * a fused ReLU, nearest to 1 in the mean of the first 50 calibration images (similarity.h). Sources are the
 * float network's tensors, so that one layer's errors are not another's.
 *
 * Where ncnn quantizes the source of each layer for itself, a tensor here has one scale: it is searched once,
 * for all layers that read it, after the weights of all of them; a tensor that shares its scale with another
 * one (what a pool or a ReLU of its own makes) keeps it. */
#ifndef QB_QUANT_SCALE_SEARCH_H
#define QB_QUANT_SCALE_SEARCH_H

#include "model/graph.h"
#include "quant/qgraph.h"
#include "quant/roles.h"

struct qb_scale_search;

/* Keeps pointers to graph and qgraph, and to the blocks in `roles`. */
enum qb_status qb_scale_search_create(const struct qb_graph *graph, const struct qb_role *roles,
                                      struct qb_qgraph *qgraph, struct qb_scale_search **out,
                                      struct qb_error *err);
/* Whole images of the float network's tensor `node`; those beyond the first 50 are ignored. */
void qb_scale_search_observe(struct qb_scale_search *search, int node, const float *values, size_t count);
/* Writes weights, scales, integer biases and `refinement` of the qgraph. */
enum qb_status qb_scale_search_finish(struct qb_scale_search *search, struct qb_error *err);
/* Accepts NULL. */
void qb_scale_search_free(struct qb_scale_search *search);

#endif
