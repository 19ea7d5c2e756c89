/* qb_graph_canonicalize: the passes in their order, and the promise of graph.h checked at both ends. */
#include <math.h>

#include "model/graph_build.h"
#include "model/passes.h"

/* The rules for raw graphs that every pass relies on. */
static enum qb_status check_sources(const struct qb_node *node, int index, struct qb_error *err)
{
    for (int k = 0; k < qb_op_sources(node->op); k++) {
        if (node->src[k] < 0 || node->src[k] >= index) {
            return qb_fail_node(err, QB_EINPUT, node, "source %d is missing or does not come before it", k);
        }
    }
    if ((node->op == QB_OP_INPUT) != (index == 0)) {
        return qb_fail_node(err, QB_EINPUT, node, "the first node, and only it, is the input");
    }
    return QB_OK;
}

static enum qb_status check_raw(const struct qb_graph *graph, struct qb_error *err)
{
    if (graph->count == 0) {
        return qb_fail(err, QB_EINPUT, "the model has no nodes");
    }
    for (int i = 0; i < graph->count; i++) {
        QB_TRY(check_sources(&graph->nodes[i], i, err));
    }
    return QB_OK;
}

static enum qb_status check_finite(const struct qb_node *node, const char *what, const float *values,
                                   size_t count, struct qb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return qb_fail_node(err, QB_EINPUT, node, "%s %zu is %g; finite numbers are expected", what, i,
                                (double)values[i]);
        }
    }
    return QB_OK;
}

static enum qb_status check_parameters(struct qb_graph *graph, struct qb_node *node, struct qb_error *err)
{
    const size_t oc = (size_t)node->oc;
    if (!node->bia) {
        float *zeros;
        QB_ALLOC(zeros, graph, oc, err);
        node->bia = zeros;
    }
    QB_TRY(check_finite(node, "weight", node->wei, node->op == QB_OP_AFFINE ? oc : qb_node_params(node) - oc,
                        err));
    return check_finite(node, "bias", node->bia, oc, err);
}

static enum qb_status check_canonical(struct qb_graph *graph, struct qb_error *err)
{
    for (int i = 0; i < graph->count; i++) {
        struct qb_node *const node = &graph->nodes[i];
        const struct qb_node *const src = node->src[0] >= 0 ? &graph->nodes[node->src[0]] : NULL;
        if (node->op >= QB_OP_IMPORT_ONLY) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node, "it cannot be folded into another node");
        }
        if (node->op == QB_OP_CONV || node->op == QB_OP_DENSE || node->op == QB_OP_AFFINE) {
            QB_TRY(check_parameters(graph, node, err));
        }
        if (node->op == QB_OP_SOFTMAX && i != graph->count - 1) {
            return qb_fail_node(err, QB_EUNSUPPORTED, node, "a softmax is expected at the output only");
        }
        if (src && (src->op == QB_OP_QUANTIZE) != (node->op == QB_OP_DEQUANTIZE)) {
            return qb_fail_node(
                err, QB_EINPUT, node,
                "QuantizeLinear and DequantizeLinear of an image or feature tensor are expected in pairs");
        }
    }
    if (graph->nodes[graph->count - 1].op == QB_OP_QUANTIZE) {
        return qb_fail_node(err, QB_EINPUT, &graph->nodes[graph->count - 1],
                            "the output is expected to be float");
    }
    if (graph->nodes[qb_graph_logits(graph)].dst.h != 1 || graph->nodes[qb_graph_logits(graph)].dst.w != 1) {
        return qb_fail_node(err, QB_EUNSUPPORTED, &graph->nodes[qb_graph_logits(graph)],
                            "the output is an image; class scores are expected");
    }
    return QB_OK;
}

enum qb_status qb_graph_canonicalize(struct qb_graph *graph, struct qb_error *err)
{
    QB_TRY(check_raw(graph, err));
    QB_TRY(qb_pass_order(graph, err)); /* drops dead nodes, which would look like further readers below */
    QB_TRY(qb_pass_layout(graph, err));
    QB_TRY(qb_pass_fold_pad(graph, err));
    QB_TRY(qb_pass_flatten(graph, err));
    QB_TRY(qb_pass_fold_affine(graph, err));
    QB_TRY(qb_pass_redundant(graph, err));
    QB_TRY(qb_pass_order(graph, err));
    QB_TRY(qb_pass_shapes(graph, err));
    return check_canonical(graph, err);
}
