/* ONNX operators that only rearrange: Transpose, Reshape, Flatten, Squeeze; and Shape, Gather, Unsqueeze,
 * Concat as far as PyTorch's x.view(x.size(0), -1) needs them: arithmetic with the batch size, done at import
 * on a placeholder. */
#include "model/onnx_import.h"

#include <string.h>

/* Elements of a Shape's result: the batch, whatever it is, and sizes that are not known yet. No list of axes,
 * pads or sizes takes such numbers. */
#define BATCH_SIZE INT64_MIN
#define UNKNOWN_SIZE (INT64_MIN + 1)

/* A constant: weights before a MatMul or Gemm, as exporters of QDQ models put them behind DequantizeLinear.
 */
static enum qb_status transpose_constant(const struct onnx_op *op, struct qb_error *err)
{
    const struct onnx_constant *c = NULL;
    const int64_t *perm = NULL;
    size_t count = 0;
    QB_TRY(qb_onnx_constant(op, 0, &c, err));
    QB_TRY(qb_onnx_attr_ints(op, "perm", &perm, &count, err));
    const bool reversed = !perm || (count == 2 && perm[0] == 1 && perm[1] == 0);
    if (c->rank != 2 || c->count == 0 || !reversed) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED,
                            "a constant of rank %d; of constants only a matrix may be transposed (perm 1,0)",
                            c->rank);
    }
    if (c->type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) {
        return qb_onnx_fold_transpose(op, c, err);
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
    QB_TRY(qb_onnx_any_tensor(op, 0, &src, err));
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
    QB_TRY(qb_onnx_input(op, 0, &src, err));
    if (qb_onnx_is_constant(src)) {
        return qb_onnx_fold_reshape(op, err);
    }
    QB_TRY(qb_onnx_any_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_int64s(op, 1, &shape, err));
    QB_TRY(qb_onnx_attr_int(op, "allowzero", 0, &allow_zero, err));
    if (shape->count != 2) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "a shape of %zu numbers; [N, features] is expected",
                            shape->count);
    }
    const int64_t batch = ((const int64_t *)shape->data)[0], features = ((const int64_t *)shape->data)[1];
    /* 0 copies the source's size; 1 is what exporters write who traced one image. */
    if (batch == UNKNOWN_SIZE || features == UNKNOWN_SIZE || features == BATCH_SIZE) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "its shape is computed from other sizes than the batch; [batch, features] is expected");
    }
    const bool keeps_batch = batch == BATCH_SIZE || batch == -1 || batch == 1 ||
                             (batch == 0 && !allow_zero) || batch == op->im->batch;
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
    QB_TRY(qb_onnx_any_tensor(op, 0, &src, err));
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
    QB_TRY(qb_onnx_any_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_axes(op, 1, src->rank, &mask, &count, err));
    if (src->rank != 4 || (mask != 0xc && mask != 0x6)) {
        return qb_onnx_fail(
            op, err, QB_EUNSUPPORTED,
            "axes of a source of rank %d: height and width (2,3 of N,C,H,W or 1,2 of N,H,W,C) are expected",
            src->rank);
    }
    return emit_flatten(op, src, QB_FLATTEN_SQUEEZE, err);
}

/* A list, or with rank 0 a number, of int64. */
static enum qb_status define_ints(const struct onnx_op *op, int rank, size_t count, const int64_t *values,
                                  struct qb_error *err)
{
    struct onnx_constant *c;
    QB_TRY(qb_onnx_charge(op, 2 * count, err));
    QB_ALLOC(c, op->im->graph, 1, err);
    c->type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    c->rank = rank;
    c->dims[0] = c->count = count;
    c->data = qb_arena_memdup(op->im->graph->arena, values, count * sizeof *values);
    return c->data ? qb_onnx_define_constant(op, c, err) : qb_fail_memory(err, count * sizeof *values);
}

enum qb_status qb_onnx_shape(const struct onnx_op *op, struct qb_error *err)
{
    static const int64_t sizes[4] = {BATCH_SIZE, UNKNOWN_SIZE, UNKNOWN_SIZE, UNKNOWN_SIZE};
    struct onnx_value *src = NULL;
    QB_TRY(qb_onnx_tensor(op, 0, &src, err));
    QB_TRY(qb_onnx_attr_expect(op, "start", 0, 0, err));
    return define_ints(op, 1, (size_t)src->rank, sizes, err);
}

enum qb_status qb_onnx_gather(const struct onnx_op *op, struct qb_error *err)
{
    const struct onnx_constant *list = NULL, *index = NULL;
    QB_TRY(qb_onnx_int64s(op, 0, &list, err));
    QB_TRY(qb_onnx_int64s(op, 1, &index, err));
    QB_TRY(qb_onnx_attr_expect(op, "axis", 0, 0, err));
    const int64_t i = index->count == 1 ? *(const int64_t *)index->data : INT64_MAX;
    const int64_t at = i < 0 ? i + (int64_t)list->count : i;
    if (list->rank != 1 || index->rank > 1 || at < 0 || at >= (int64_t)list->count) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "one element of a list of sizes is expected");
    }
    return define_ints(op, index->rank, 1, (const int64_t *)list->data + at, err);
}

enum qb_status qb_onnx_unsqueeze(const struct onnx_op *op, struct qb_error *err)
{
    const struct onnx_constant *number = NULL;
    unsigned mask = 0;
    size_t count = 0;
    QB_TRY(qb_onnx_int64s(op, 0, &number, err));
    QB_TRY(qb_onnx_axes(op, 1, 1, &mask, &count, err));
    if (number->rank != 0 || mask != 1) {
        return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "a size that becomes a list of one is expected");
    }
    return define_ints(op, 1, 1, number->data, err);
}

enum qb_status qb_onnx_concat(const struct onnx_op *op, struct qb_error *err)
{
    int64_t sizes[8];
    size_t total = 0;
    QB_TRY(qb_onnx_attr_expect(op, "axis", 0, 0, err));
    for (size_t i = 0; i < op->node->n_input; i++) {
        const struct onnx_constant *part = NULL;
        QB_TRY(qb_onnx_int64s(op, i, &part, err));
        if (part->rank != 1 || part->count > sizeof sizes / sizeof *sizes - total) {
            return qb_onnx_fail(op, err, QB_EUNSUPPORTED, "lists of a few sizes are expected");
        }
        memcpy(sizes + total, part->data, part->count * sizeof *sizes);
        total += part->count;
    }
    return define_ints(op, 1, total, sizes, err);
}
