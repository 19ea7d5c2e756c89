/* ONNX operators that only rearrange: Transpose, Reshape, Flatten, Squeeze. */
#include "model/onnx_import.h"

#include <string.h>

/* A constant: weights before a MatMul or Gemm, as exporters of QDQ models put them behind DequantizeLinear.
 */
static enum qb_status transpose_constant(const struct onnx_op *op, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    const int64_t *perm = NULL;
    size_t count = 0;
    QB_TRY(qb_onnx_floats(op, 0, &c, err));
    QB_TRY(qb_onnx_attr_ints(op, "perm", &perm, &count, err));
    const bool reversed = !perm || (count == 2 && perm[0] == 1 && perm[1] == 0);
    if (c->rank != 2 || c->count == 0 || !reversed) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "a constant of rank %d; of constants only a matrix of weights may be transposed (perm 1,0)",
            c->rank);
    }
    QB_TRY(qb_onnx_transpose_matrix(op, c, &c, err));
    return qb_onnx_define_constant(op, c, err);
}

enum qb_status qb_onnx_transpose(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    if (qb_onnx_is_constant(src)) {
        return transpose_constant(op, err);
    }
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    const int64_t *perm = NULL;
    size_t count = 0;
    QB_TRY(qb_onnx_attr_ints(op, "perm", &perm, &count, err));
    if (src->rank != 4 || count != 4) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "attribute perm has %zu numbers, its source rank %d; 4 is expected", count,
                            src->rank);
    }
    struct onnx_value out = *src;
    int axes[4];
    unsigned seen = 0;
    for (int k = 0; k < 4; k++) {
        if (perm[k] < 0 || perm[k] > 3 || (seen >> perm[k] & 1)) {
            return qb_onnx_fail(op, err, QB_EINPUT, "attribute perm is not a permutation of 0,1,2,3");
        }
        seen |= 1U << perm[k];
        axes[k] = (int)perm[k];
        out.axes[k] = src->axes[perm[k]];
    }
    QB_TRY(qb_onnx_emit_transpose(op, src->node, axes, &out.node, err));
    return qb_onnx_alias(op, &out, err);
}

/* `features`: as qb_node.oc of FLATTEN. */
static enum qb_status emit_flatten(const struct onnx_op *op, const struct onnx_value *src, int features,
                                   struct qb_error *err)
{
    struct qb_node node = {.op = QB_OP_FLATTEN, .oc = features};
    return qb_onnx_emit_unary(op, &node, src, 2, err);
}

enum qb_status qb_onnx_reshape(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    const struct onnx_constant *shape = NULL;
    int64_t allow_zero = 0;
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_int64s(op, 1, &shape, err));
    QB_TRY(qb_onnx_attr_int(op, "allowzero", 0, &allow_zero, err));
    if (shape->count != 2) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "a shape of %zu numbers; [N, features] is expected",
                            shape->count);
    }
    const int64_t batch = ((const int64_t *)shape->data)[0], features = ((const int64_t *)shape->data)[1];
    /* 0 copies the source's size; 1 is what exporters write who traced one image. */
    const bool keeps_batch =
        batch == -1 || batch == 1 || (batch == 0 && !allow_zero) || batch == op->im->batch;
    if (!keeps_batch || features < -1 || features == 0 || features > QB_MODEL_MAX_COUNT ||
        (batch == -1 && features == -1)) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "shape [%lld, %lld]; [batch, features] is expected",
                            (long long)batch, (long long)features);
    }
    return emit_flatten(op, src, features > 0 ? (int)features : 0, err);
}

enum qb_status qb_onnx_flatten(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    int64_t axis = 1;
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_attr_int(op, "axis", 1, &axis, err));
    if (axis != 1 && axis != 1 - src->rank) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "attribute axis is %lld; 1 is expected",
                            (long long)axis);
    }
    return emit_flatten(op, src, 0, err);
}

enum qb_status qb_onnx_squeeze(const struct onnx_op *op, struct qb_error *err)
{
    struct onnx_value *src = NULL;
    unsigned mask = 0;
    size_t count = 0;
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_axes(op, 1, src->rank, &mask, &count, err));
    if (src->rank != 4 || (mask != 0xc && mask != 0x6)) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "axes of a source of rank %d: height and width (2,3 of N,C,H,W or 1,2 of N,H,W,C) are expected",
            src->rank);
    }
    return emit_flatten(op, src, QB_FLATTEN_SQUEEZE, err);
}
