/* Float nodes of an integer graph (struct qb_qnode.f32) and the conversions around them, one image at a time:
 * what every engine computes or approximates. Sums go in the order of f32_sums.h. */
#ifndef QB_ENGINE_REFERENCE_FLOAT_LAYER_H
#define QB_ENGINE_REFERENCE_FLOAT_LAYER_H

#include "base/arena.h"
#include "engine/reference/dynamic.h"
#include "engine/reference/f32_sums.h"
#include "quant/qgraph.h"

struct qb_float_layer {
    const struct qb_qnode *node;
    enum qb_arithmetic arithmetic;
    struct qb_node form; /* the node as one of a float graph */
    struct qb_shape src;
    struct qb_qparams src_q; /* DEQUANTIZE */
    size_t count;            /* of dst */
    struct qb_float_weights weights;
    struct qb_dynamic_dense dynamic; /* DENSE with integer weights */
};

/* Whether node `node` is one of those: f32, or QUANTIZE of floats. */
static inline bool qb_is_float_layer(const struct qb_qgraph *graph, int node)
{
    const struct qb_qnode *const n = &graph->nodes[node];
    return n->f32 || (n->op == QB_QOP_QUANTIZE && !qb_is_recoding(graph, node));
}

/* The node as one of a float graph: geometry, weights and bias. */
struct qb_node qb_float_form(const struct qb_qnode *node);

/* No instruction set above `cap` is used for its sums. */
enum qb_status qb_float_layer_init(const struct qb_qgraph *graph, int node, enum qb_isa cap,
                                   struct qb_arena *arena, struct qb_float_layer *out, struct qb_error *err);
/* Tensors are NHWC floats; codes are u8: pixels at INPUT, src of DEQUANTIZE, dst of QUANTIZE. */
void qb_float_layer_run(const struct qb_float_layer *layer, const void *src0, const float *src1, void *dst);

#endif
