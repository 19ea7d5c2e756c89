/* Gemm and MatMul, and the weights and biases of these and of Conv. */
#include "model/onnx_import.h"

#include <string.h>

/* dst[c][r] = src[r][c] */
static const void *transpose(struct qb_graph *graph, const void *src, size_t rows, size_t columns,
                             size_t size, struct qb_error *err)
{
    unsigned char *const dst = qb_graph_array(graph, rows * columns, size, err);
    for (size_t r = 0; dst && r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            memcpy(dst + (c * rows + r) * size, (const unsigned char *)src + (r * columns + c) * size, size);
        }
    }
    return dst;
}

enum qb_status qb_onnx_transpose_matrix(const struct onnx_op *op, const struct onnx_constant *c,
                                        const struct onnx_constant **out, struct qb_error *err)
{
    struct qb_graph *const graph = op->im->graph;
    struct onnx_constant *t;
    QB_TRY(qb_onnx_charge(op, c->count, err));
    QB_ALLOC(t, graph, 1, err);
    *t = *c;
    t->dims[0] = c->dims[1];
    t->dims[1] = c->dims[0];
    t->axis = 1 - c->axis;
    t->bia_codes = NULL;
    t->data = transpose(graph, c->data, c->dims[0], c->dims[1], sizeof(float), err);
    if (!t->data) {
        return QB_ENOMEM;
    }
    if (c->codes) {
        struct qb_weight_codes *codes;
        QB_ALLOC(codes, graph, 1, err);
        *codes = *c->codes;
        codes->codes = transpose(graph, c->codes->codes, c->dims[0], c->dims[1], 1, err);
        if (!codes->codes) {
            return QB_ENOMEM;
        }
        t->codes = codes;
    }
    *out = t;
    return QB_OK;
}

enum qb_status qb_onnx_weights(const struct onnx_op *op, const struct onnx_constant *c, struct qb_node *node,
                               struct qb_error *err)
{
    QB_TRY(qb_onnx_charge(op, c->count, err));
    if (c->codes && c->codes->scale_count > 1 && c->axis != 0) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "its weights have a scale for each input channel; one scale, or one an output "
                            "channel, is expected");
    }
    node->wei = c->data;
    node->codes = c->codes;
    return QB_OK;
}

enum qb_status qb_onnx_bias(const struct onnx_op *op, size_t i, float factor, struct qb_node *node,
                            struct qb_error *err)
{
    if (!qb_onnx_has_input(op, i)) {
        return QB_OK;
    }
    const struct onnx_constant *c = NULL;
    QB_TRY(qb_onnx_floats(op, i, &c, err));
    const size_t oc = (size_t)node->oc;
    if ((c->count != oc && c->count != 1) || (c->count == oc && c->rank > 0 && c->dims[c->rank - 1] != oc)) {
        return qb_onnx_fail(op, err, QB_EINPUT, "the bias has %zu elements; %zu are expected", c->count, oc);
    }
    float *bia;
    QB_ALLOC(bia, op->im->graph, oc, err);
    for (size_t o = 0; o < oc; o++) {
        bia[o] = ((const float *)c->data)[c->count == 1 ? 0 : o] * factor;
    }
    node->bia = bia;
    if (c->count == oc && factor == 1.0f) {
        node->bia_codes = c->bia_codes;
        node->bia_scales = c->bia_scales;
        node->bia_scale_count = c->bia_scale_count;
    }
    return QB_OK;
}

enum qb_status qb_onnx_dense_node(const struct onnx_op *op, const struct onnx_constant *w, bool out_first,
                                  const struct onnx_value *src, struct qb_node *node, struct qb_error *err)
{
    if (src->rank != 2) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "input '%.200s' has rank %d; [N, features] is expected",
                            src->name, src->rank);
    }
    if (w->rank != 2 || w->count == 0) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "the weights have rank %d; a matrix is expected",
                            w->rank);
    }
    if (!out_first) {
        QB_TRY(qb_onnx_transpose_matrix(op, w, &w, err));
    }
    node->op = QB_OP_DENSE;
    node->oc = (int)w->dims[0];
    node->ic = (int)w->dims[1];
    return qb_onnx_weights(op, w, node, err);
}

/* Input 0 [N, ic] times constant input 1. */
static enum qb_status product(const struct onnx_op *op, bool out_first, struct onnx_value **src,
                              struct qb_node *node, struct qb_error *err)
{
    const struct onnx_constant *w = NULL;
    QB_TRY(qb_onnx_tensor(op, 0, src, err));
    QB_TRY(qb_onnx_floats(op, 1, &w, err));
    return qb_onnx_dense_node(op, w, out_first, *src, node, err);
}

enum qb_status qb_onnx_matmul(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qb_node node = {0};
    QB_TRY(product(op, false, &src, &node, err));
    return qb_onnx_emit_unary(op, &node, src, 2, err);
}

enum qb_status qb_onnx_gemm(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    struct qb_node node = {0};
    int64_t trans_b = 0;
    float alpha = 1.0f, beta = 1.0f;
    QB_TRY(qb_onnx_attr_expect(op, "transA", 0, 0, err));
    QB_TRY(qb_onnx_attr_int(op, "transB", 0, &trans_b, err));
    QB_TRY(qb_onnx_attr_float(op, "alpha", 1.0f, &alpha, err));
    QB_TRY(qb_onnx_attr_float(op, "beta", 1.0f, &beta, err));
    QB_TRY(product(op, trans_b != 0, &src, &node, err));
    QB_TRY(qb_onnx_bias(op, 2, beta, &node, err));
    if (alpha != 1.0f) {
        if (node.codes) {
            return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                                "attribute alpha is %g beside quantized weights; 1 is expected",
                                (double)alpha);
        }
        const size_t count = (size_t)node.oc * (size_t)node.ic;
        float *wei;
        QB_ALLOC(wei, op->im->graph, count, err);
        for (size_t i = 0; i < count; i++) {
            wei[i] = node.wei[i] * alpha;
        }
        node.wei = wei;
    }
    return qb_onnx_emit_unary(op, &node, src, 2, err);
}
