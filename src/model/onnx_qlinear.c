/* Integer operators of ONNX and of ONNX Runtime's domain (QLinearConv, QLinearAdd ...), as its quantizer's
 * QOperator format has them. Each becomes what it stands for: DEQUANTIZE nodes, the float operator, a
 * QUANTIZE node; qb_graph.qlinear remembers that the file means integers. Inputs come in threes: codes,
 * scale, zero point. */
#include "model/onnx_import.h"

/* Codes at input `i`, scale and zero point behind them, as floats. */
static enum qb_status dequantized_source(const struct onnx_op *op, size_t i, struct onnx_qparams *q,
                                         struct onnx_value *out, struct qb_error *err)
{
    struct onnx_value *codes = NULL;
    op->im->graph->qlinear = true;
    QB_TRY(qb_onnx_codes(op, i, &codes, err));
    QB_TRY(qb_onnx_read_qparams(op, i + 1, 0, q, err));
    return qb_onnx_dequantize(op, codes, q, out, err);
}

static enum qb_status dequantized_constant(const struct onnx_op *op, size_t i, int64_t axis,
                                           struct onnx_qparams *q, const struct onnx_constant **out,
                                           struct qb_error *err)
{
    QB_TRY(qb_onnx_read_qparams(op, i + 1, axis, q, err));
    QB_TRY(qb_onnx_dequantized(op, i, q, out, err));
    if (!(*out)->codes) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "input '%.200s' is int32; int8 or uint8 is expected",
                            op->node->input[i]);
    }
    return QB_OK;
}

/* Quantizes graph node `index`, shaped like `src` but for its rank, by the scale at input `scale`. */
static enum qb_status finish(const struct onnx_op *op, const struct onnx_value *src, int index, int rank,
                             size_t scale, struct qb_error *err)
{
    struct onnx_qparams q = {0};
    struct onnx_value real = *src;
    real.node = index;
    real.rank = rank;
    QB_TRY(qb_onnx_read_qparams(op, scale, 0, &q, err));
    return qb_onnx_quantize(op, &real, &q, err);
}

/* The int32 bias at input `i`, when there is one: its scale is that of source times weights. */
static enum qb_status integer_bias(const struct onnx_op *op, size_t i, const struct onnx_qparams *src,
                                   const struct onnx_qparams *wei, struct qb_node *node, struct qb_error *err)
{
    const size_t oc = (size_t)node->oc;
    const struct onnx_constant *c = NULL;
    if (!qb_onnx_has_input(op, i)) {
        return QB_OK;
    }
    QB_TRY(qb_onnx_int32s(op, i, &c, err));
    if (c->count != oc) {
        return qb_onnx_fail(op, err, QB_EINPUT, "the bias has %zu elements; %zu are expected", c->count, oc);
    }
    float *bia;
    QB_TRY(qb_onnx_charge(op, oc, err));
    QB_ALLOC(bia, op->im->graph, oc, err);
    for (size_t k = 0; k < oc; k++) {
        bia[k] =
            (float)((const int32_t *)c->data)[k] * (src->scales[0] * wei->scales[wei->count == 1 ? 0 : k]);
    }
    node->bia = bia;
    node->bia_codes = c->data;
    return QB_OK;
}

static enum qb_status check_channels_last(const struct onnx_op *op, struct qb_error *err)
{
    return qb_onnx_attr_expect(op, "channels_last", 0, 0, err);
}

static enum qb_status check_image(const struct onnx_op *op, const struct onnx_value *src,
                                  struct qb_error *err)
{
    return src->rank == 4 ? QB_OK
                          : qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                                         "input '%.200s' has rank %d; an image of rank 4 is expected",
                                         src->name, src->rank);
}

enum qb_status qb_onnx_qlinear_conv(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_qparams src_q = {0}, wei_q = {0};
    struct onnx_value src;
    const struct onnx_constant *w = NULL;
    struct qb_node node;
    int index = 0;
    QB_TRY(check_channels_last(op, err));
    QB_TRY(dequantized_source(op, 0, &src_q, &src, err));
    QB_TRY(check_image(op, &src, err));
    QB_TRY(dequantized_constant(op, 3, 0, &wei_q, &w, err));
    QB_TRY(qb_onnx_conv_node(op, w, &node, err));
    QB_TRY(integer_bias(op, 8, &src_q, &wei_q, &node, err));
    QB_TRY(qb_onnx_emit_on_nchw(op, &node, &src, false, &index, err));
    return finish(op, &src, index, 4, 6, err);
}

/* The product of source 0 and weights 3; `bias` and `dst`: inputs of the bias and of the result's scale. */
static enum qb_status dense(const struct onnx_op *op, bool out_first, size_t bias, size_t dst,
                            struct qb_error *err)
{
    struct onnx_qparams src_q = {0}, wei_q = {0};
    struct onnx_value src;
    const struct onnx_constant *w = NULL;
    struct qb_node node = {0};
    int index = 0;
    QB_TRY(dequantized_source(op, 0, &src_q, &src, err));
    QB_TRY(dequantized_constant(op, 3, out_first ? 0 : 1, &wei_q, &w, err));
    QB_TRY(qb_onnx_dense_node(op, w, out_first, &src, &node, err));
    QB_TRY(integer_bias(op, bias, &src_q, &wei_q, &node, err));
    node.src[0] = src.node;
    QB_TRY(qb_onnx_emit(op, &node, &index, err));
    return finish(op, &src, index, 2, dst, err);
}

enum qb_status qb_onnx_qlinear_matmul(const struct onnx_op *op, struct qb_error *err)
{
    return dense(op, false, SIZE_MAX, 6, err);
}

enum qb_status qb_onnx_qgemm(const struct onnx_op *op, struct qb_error *err)
{
    int64_t trans_b = 0;
    float alpha = 1.0f;
    QB_TRY(qb_onnx_attr_expect(op, "transA", 0, 0, err));
    QB_TRY(qb_onnx_attr_int(op, "transB", 0, &trans_b, err));
    QB_TRY(qb_onnx_attr_float(op, "alpha", 1.0f, &alpha, err));
    if (alpha != 1.0f) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "attribute alpha is %g; 1 is expected", (double)alpha);
    }
    if (!qb_onnx_has_input(op, 7)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "input y_scale is missing, its output is float; integers are expected");
    }
    return dense(op, trans_b != 0, 6, 7, err);
}

/* Two tensors, or one and a constant. */
static enum qb_status pair(const struct onnx_op *op, enum qb_op kind, struct qb_error *err)
{
    struct onnx_value *side[2] = {NULL, NULL}, src, other;
    struct onnx_qparams q = {0}, other_q = {0};
    int index = 0;
    QB_TRY(qb_onnx_input(op, 0, &side[0], err));
    QB_TRY(qb_onnx_input(op, 3, &side[1], err));
    const bool first = qb_onnx_is_constant(side[0]), second = qb_onnx_is_constant(side[1]);
    if (first && second) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "both inputs are constants; fold constants before exporting");
    }
    QB_TRY(dequantized_source(op, first ? 3 : 0, &q, &src, err));
    if (first || second) {
        const struct onnx_constant *c = NULL;
        const size_t constant = first ? 0 : 3;
        QB_TRY(dequantized_constant(op, constant, 0, &other_q, &c, err));
        QB_TRY(qb_onnx_emit_with_constant(op, kind, &src, c, constant, &index, err));
        return finish(op, &src, index, src.rank, 6, err);
    }
    QB_TRY(dequantized_source(op, 3, &other_q, &other, err));
    if (src.rank != other.rank) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "inputs of rank %d and %d; equal shapes are expected",
                            src.rank, other.rank);
    }
    struct qb_node node = {.op = kind, .src = {src.node, other.node}};
    QB_TRY(qb_onnx_emit(op, &node, &index, err));
    return finish(op, &src, index, src.rank, 6, err);
}

enum qb_status qb_onnx_qlinear_add(const struct onnx_op *op, struct qb_error *err)
{
    return pair(op, QB_OP_ADD, err);
}

enum qb_status qb_onnx_qlinear_mul(const struct onnx_op *op, struct qb_error *err)
{
    return pair(op, QB_OP_MUL, err);
}

static enum qb_status average_pool(const struct onnx_op *op, struct qb_node *node, struct qb_error *err)
{
    struct onnx_qparams q = {0};
    struct onnx_value src;
    int index = 0;
    QB_TRY(check_channels_last(op, err));
    QB_TRY(dequantized_source(op, 0, &q, &src, err));
    QB_TRY(check_image(op, &src, err));
    QB_TRY(qb_onnx_emit_on_nchw(op, node, &src, false, &index, err));
    return finish(op, &src, index, 4, 3, err);
}

enum qb_status qb_onnx_qlinear_average_pool(const struct onnx_op *op, struct qb_error *err)
{
    struct qb_node node;
    QB_TRY(qb_onnx_average_pool_node(op, &node, err));
    return average_pool(op, &node, err);
}

enum qb_status qb_onnx_qlinear_global_average_pool(const struct onnx_op *op, struct qb_error *err)
{
    struct qb_node node = {.op = QB_OP_AVGPOOL};
    return average_pool(op, &node, err);
}

enum qb_status qb_onnx_qlinear_softmax(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_qparams q = {0};
    struct onnx_value src;
    struct qb_node node = {.op = QB_OP_SOFTMAX};
    int64_t axis = -1;
    int index = 0;
    QB_TRY(dequantized_source(op, 0, &q, &src, err));
    QB_TRY(qb_onnx_attr_int(op, "axis", -1, &axis, err));
    if (src.rank != 2 || (axis != 1 && axis != -1)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "attribute axis is %lld, its source has rank %d; classes of [N, classes] are "
                            "expected",
                            (long long)axis, src.rank);
    }
    node.src[0] = src.node;
    QB_TRY(qb_onnx_emit(op, &node, &index, err));
    return finish(op, &src, index, 2, 3, err);
}
